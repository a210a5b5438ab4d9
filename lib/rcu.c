/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the grace period.  Does not know what it protects. */
#include "rcu.h"

#include <string.h>

#include "futex.h"
#include "lock.h"
#include "runtime.h"

/* Scans before sleeping; a section lasts well under a microsecond. */
#define RCU_SPINS 100

struct wqi_rcu_state wqi_rcu;

static struct wqi_lock rcu_lock; /* one grace period at a time */
static uint32_t rcu_event;	 /* A, seq_cst: futex word, changed by every wake-up */

void wqi_rcu_wake(void)
{
	wqi_add(&rcu_event, 1);
	wqi_futex_wake(&rcu_event, INT_MAX);
}

/*
 * "unlock" is summed before "lock": an exit that was counted has its entry
 * counted too, so equal sums mean that every reader seen has left.
 */
static bool rcu_pair_is_idle(unsigned pair)
{
	uint64_t unlocks = 0, locks = 0;
	unsigned i;

	for (i = 0; i < WQI_RCU_SLOTS; i++)
		unlocks += wqi_load_seq_cst(&wqi_rcu.slot[i].unlock[pair]) +
			   wqi_load_seq_cst(&wqi_rcu.own[i].unlock[pair]);
	wqi_yield_point();
	for (i = 0; i < WQI_RCU_SLOTS; i++)
		locks += wqi_load_seq_cst(&wqi_rcu.slot[i].lock[pair]) +
			 wqi_load_seq_cst(&wqi_rcu.own[i].lock[pair]); /* ORD-GP (b) */
	return locks == unlocks;
}

/* All that readers have counted by their CPUs is seen from here on, or they see what came before.
 */
static void rcu_fence(void)
{
	if (wqi_load_relaxed(&wqi_rcu.by_cpu))
		wqi_runtime_fence();
}

static void rcu_wait_pair(unsigned pair)
{
	uint32_t event;
	int i;

	for (i = 0; i < RCU_SPINS; i++) {
		if (rcu_pair_is_idle(pair))
			return;
		wqi_cpu_relax();
	}
	/* ORD-GP-WAKE (b): announce the sleep, then scan. */
	wqi_store_seq_cst(&wqi_rcu.waiting, 1);
	rcu_fence();
	for (;;) {
		event = wqi_load_seq_cst(&rcu_event);
		if (rcu_pair_is_idle(pair))
			break;
		wqi_futex_wait(&rcu_event, event, WQI_NO_TIMEOUT);
	}
	wqi_store_seq_cst(&wqi_rcu.waiting, 0);
}

void wqi_rcu_synchronize(void)
{
	unsigned pair;

	wqi_lock(&rcu_lock);
	rcu_fence();
	pair = wqi_load_relaxed(&wqi_rcu.pair) & 1;
	rcu_wait_pair(!pair); /* stragglers that read an old pair number */
	wqi_store_seq_cst(&wqi_rcu.pair, !pair);
	rcu_wait_pair(pair);
	wqi_unlock(&rcu_lock);
}

void wqi_rcu_start(void)
{
	wqi_store_relaxed(&wqi_rcu.by_cpu, wqi_runtime.can_fence && wqi_rseq_is_registered());
}

void wqi_rcu_reset(void)
{
	wqi_lock_reset(&rcu_lock);
	memset(&wqi_rcu, 0, sizeof(wqi_rcu));
	rcu_event = 0;
}
