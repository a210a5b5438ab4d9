/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the read side: sections that need no registration, no allocation and no
 * fork handler, that may nest and may be entered from signal handlers, and the
 * grace period that waits for them.  Frees nothing itself.
 *
 * Two pairs of counters a CPU: a reader adds to "lock" on entry and to "unlock" of the
 * same pair on exit, perhaps on another CPU.  A grace period waits until both pairs were
 * seen balanced, the idle one first (the SRCU algorithm).
 *
 * Who can counts by its CPU alone, without a locked instruction (rseq.h); else, or if it was
 * disturbed, by a read-modify-write of other counters.
 *
 * ORD-GP: the writer's stores precede the scan of the "lock" counters, the
 * reader's addition to "lock" precedes its loads.  So the scan sees the reader, or the
 * reader sees the stores.  Both are seq_cst, or the writer has all threads pass a
 * barrier (membarrier) between: whichever side of that a reader's loads are on.
 */
#ifndef WQI_RCU_H
#define WQI_RCU_H

#include "atomic.h"
#include "cpu.h"
#include "rseq.h"
#include "testing.h"

#define WQI_RCU_SLOTS 64

struct wqi_rcu_slot {
	uint64_t lock[2];   /* A, seq_cst */
	uint64_t unlock[2]; /* A, seq_cst */
} WQI_CACHE_ALIGNED;

/* The same, of a CPU whose threads alone write it, by restartable sequences. */
struct wqi_rcu_own {
	uint64_t lock[2];   /* A, in the order of the program */
	uint64_t unlock[2]; /* A, in the order of the program */
} WQI_CACHE_ALIGNED;

struct wqi_rcu_state {
	struct wqi_rcu_slot slot[WQI_RCU_SLOTS];
	struct wqi_rcu_own own[WQI_RCU_SLOTS];
	uint32_t pair;	  /* A, relaxed: the pair that new readers count in (its lowest bit) */
	uint32_t waiting; /* A, seq_cst: a grace period sleeps and wants to be woken */
	bool by_cpu;	  /* A, relaxed: readers count in `own`: grace periods fence */
};

extern struct wqi_rcu_state wqi_rcu;

void wqi_rcu_wake(void);

/* Wait until all sections that were entered before the call have ended. */
void wqi_rcu_synchronize(void);

/* From here on readers may count by their CPU, if grace periods can fence.  Under G. */
void wqi_rcu_start(void);

/* In the child of a fork(): no section is open. */
void wqi_rcu_reset(void);

/* Enter a section on CPU @cpu (a hint: any number is correct). */
static inline unsigned wqi_rcu_read_lock_on(unsigned cpu)
{
	unsigned slot = cpu % WQI_RCU_SLOTS;
	unsigned pair = wqi_load_relaxed(&wqi_rcu.pair) & 1;

	wqi_yield_point();
	/* ORD-GP (a) */
	if (!(wqi_likely(wqi_load_relaxed(&wqi_rcu.by_cpu)) && slot == cpu &&
	      wqi_likely(wqi_rseq_count(&wqi_rcu.own[cpu].lock[pair], cpu))))
		wqi_add(&wqi_rcu.slot[slot].lock[pair], 1);
	return slot << 1 | pair;
}

static inline unsigned wqi_rcu_read_lock(void)
{
	return wqi_rcu_read_lock_on(wqi_cpu_current());
}

static inline void wqi_rcu_read_unlock(unsigned token)
{
	unsigned pair = token & 1, cpu;

	if (!(wqi_likely(wqi_load_relaxed(&wqi_rcu.by_cpu)) &&
	      (cpu = wqi_cpu_current()) < WQI_RCU_SLOTS &&
	      wqi_likely(wqi_rseq_count(&wqi_rcu.own[cpu].unlock[pair], cpu))))
		wqi_add(&wqi_rcu.slot[token >> 1].unlock[pair], 1);
	/* ORD-GP-WAKE (a): count, then look whether a grace period sleeps. */
	if (wqi_unlikely(wqi_load_seq_cst(&wqi_rcu.waiting)))
		wqi_rcu_wake();
}

#endif /* WQI_RCU_H */
