/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the contended paths of the lock.  Does not know what is locked. */
#include "lock.h"

#include "futex.h"

/* Looks at the word before sleeping: about 2 µs, a few hand-overs. */
#define LOCK_SPINS 64

#ifdef WQI_TESTING
__thread char wqi_lock_self;
#endif

void wqi_lock_slow(struct wqi_lock *lock)
{
	uint32_t seen;
	int i;

	wqi_pause_point("lock is taken");
	for (i = 0; i < LOCK_SPINS; i++) {
		seen = wqi_load_relaxed(&lock->word);
		if (seen == 0 && wqi_cas(&lock->word, &seen, 1))
			return;
		if (seen == 2)
			break;
		wqi_cpu_relax();
	}
	/*
	 * Taken with 2, not 1: we can't know whether others sleep too.  The cost
	 * is at most one wake-up for nobody.
	 */
	while (wqi_xchg(&lock->word, 2) != 0)
		wqi_futex_wait(&lock->word, 2, WQI_NO_TIMEOUT);
}

void wqi_unlock_slow(struct wqi_lock *lock)
{
	wqi_futex_wake(&lock->word, 1);
}
