/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the read side: sections that need no registration, no allocation and no
 * fork handler, that may nest and may be entered from signal handlers, and the
 * grace period that waits for them.  Frees nothing itself.
 *
 * Two pairs of counters a slot, a slot a CPU: a reader adds to "lock" on entry
 * and to "unlock" of the same slot and pair on exit.  A grace period waits until
 * both pairs were seen balanced, the idle one first (the SRCU algorithm).
 *
 * ORD-GP: the writer's stores precede the scan of the "lock" counters, the
 * reader's addition to "lock" precedes its loads; both are seq_cst.  So the scan
 * sees the reader, or the reader sees the stores.
 */
#ifndef WQI_RCU_H
#define WQI_RCU_H

#include "atomic.h"
#include "cpu.h"
#include "testing.h"

#define WQI_RCU_SLOTS 64

struct wqi_rcu_slot {
	uint64_t lock[2];   /* A, seq_cst */
	uint64_t unlock[2]; /* A, seq_cst */
} WQI_CACHE_ALIGNED;

struct wqi_rcu_state {
	struct wqi_rcu_slot slot[WQI_RCU_SLOTS];
	uint32_t pair;	  /* A, relaxed: the pair that new readers count in (its lowest bit) */
	uint32_t waiting; /* A, seq_cst: a grace period sleeps and wants to be woken */
};

extern struct wqi_rcu_state wqi_rcu;

void wqi_rcu_wake(void);

/* Wait until all sections that were entered before the call have ended. */
void wqi_rcu_synchronize(void);

/* In the child of a fork(): no section is open. */
void wqi_rcu_reset(void);

/* Enter a section on CPU @cpu (a hint: any number is correct). */
static inline unsigned wqi_rcu_read_lock_on(unsigned cpu)
{
	unsigned slot = cpu % WQI_RCU_SLOTS;
	unsigned pair = wqi_load_relaxed(&wqi_rcu.pair) & 1;

	wqi_yield_point();
	wqi_add(&wqi_rcu.slot[slot].lock[pair], 1); /* ORD-GP (a) */
	return slot << 1 | pair;
}

static inline unsigned wqi_rcu_read_lock(void)
{
	return wqi_rcu_read_lock_on(wqi_cpu_current());
}

static inline void wqi_rcu_read_unlock(unsigned token)
{
	wqi_add(&wqi_rcu.slot[token >> 1].unlock[token & 1], 1);
	/* ORD-GP-WAKE (a): count, then look whether a grace period sleeps. */
	if (wqi_unlikely(wqi_load_seq_cst(&wqi_rcu.waiting)))
		wqi_rcu_wake();
}

#endif /* WQI_RCU_H */
