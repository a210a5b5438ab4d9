/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the contended paths of the fenced lock. */
#include "fenced.h"

#include "futex.h"

/* Looks at the word before sleeping: about 2 µs. */
#define FENCED_SPINS 64

bool wqi_fenced_spin_lock(struct wqi_fenced *fenced)
{
	int i;

	for (i = 0; i < FENCED_SPINS; i++) {
		if (!wqi_load_relaxed(&fenced->lock.word) && wqi_fenced_try_lock(fenced))
			return true;
		wqi_cpu_relax();
	}
	return false;
}

void wqi_fenced_lock_slow(struct wqi_fenced *fenced)
{
	if (wqi_fenced_spin_lock(fenced))
		return;
	/* ORD-FENCED (b) */
	wqi_add(&fenced->waiters, 1);
	wqi_runtime_fence();
	while (!wqi_fenced_try_lock(fenced)) {
		wqi_yield_point();
		wqi_futex_wait(&fenced->lock.word, 1, WQI_NO_TIMEOUT);
	}
	wqi_sub(&fenced->waiters, 1);
}

/* One of them; whoever gets the lock wakes the next when he releases it. */
void wqi_fenced_wake(struct wqi_fenced *fenced)
{
	wqi_futex_wake(&fenced->lock.word, 1);
}
