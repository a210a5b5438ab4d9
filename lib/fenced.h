/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns a lock whose release is a plain store, for a lock that is hardly ever contended
 * and taken for a few nanoseconds: a locked instruction would be a fifth of that.
 *
 * Who finds it locked and wants to be noticed (a waiter, or a visitor who leaves work
 * for the holder) says so in memory and then has all threads pass a barrier
 * (membarrier).  ORD-FENCED: (a) the holder stores "unlocked", then looks for waiters
 * and work; (b) the other says so, fences, then tries the lock.  Whichever side of the
 * fence the holder's look is on, he sees it, or the other finds the lock free.
 * Where membarrier is not to be had the release is an exchange.
 */
#ifndef WQI_FENCED_H
#define WQI_FENCED_H

#include "lock.h"
#include "runtime.h"

struct wqi_fenced {
	struct wqi_lock lock; /* A: 0 free, 1 held */
	uint32_t waiters;     /* A, seq_cst: threads that sleep or are about to */
};

static inline bool wqi_fenced_try_lock(struct wqi_fenced *fenced)
{
	return wqi_try_lock(&fenced->lock);
}

/* As that, but looks a few times; for who would have to fence otherwise. */
bool wqi_fenced_spin_lock(struct wqi_fenced *fenced);

void wqi_fenced_lock_slow(struct wqi_fenced *fenced);

static inline void wqi_fenced_lock(struct wqi_fenced *fenced)
{
	if (wqi_unlikely(!wqi_fenced_try_lock(fenced)))
		wqi_fenced_lock_slow(fenced);
}

void wqi_fenced_wake(struct wqi_fenced *fenced);

/* What the holder reads after it, he reads after the release: ORD-FENCED (a). */
static inline void wqi_fenced_unlock(struct wqi_fenced *fenced)
{
	wqi_lock_disown(&fenced->lock);
	if (wqi_likely(wqi_runtime.can_fence))
		wqi_store_release(&fenced->lock.word, 0u);
	else
		wqi_xchg(&fenced->lock.word, 0u);
	wqi_compiler_barrier();
	if (wqi_unlikely(wqi_load_relaxed(&fenced->waiters)))
		wqi_fenced_wake(fenced);
}

/* In the child of a fork(): whoever held it is not there. */
static inline void wqi_fenced_reset(struct wqi_fenced *fenced)
{
	wqi_lock_reset(&fenced->lock);
	wqi_store_relaxed(&fenced->waiters, 0u);
}

#endif /* WQI_FENCED_H */
