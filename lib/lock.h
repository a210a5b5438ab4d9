/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the library's lock: a futex mutex whose zero value is unlocked and whose
 * release is an exchange.  Nobody relies on that for more than the lock, for that of a
 * pool may be biased (bias.h).
 *
 * Lock order: G (wqi_runtime.lock), then W (wq->mutex), then L (pool->lock).
 * The lock of a share (N) is a leaf under L, and under W.
 * The lock of the read side's grace periods is a leaf under G and W, and is
 * never taken under L.  No lock is held while an item runs.
 */
#ifndef WQI_LOCK_H
#define WQI_LOCK_H

#include <stddef.h>

#include "atomic.h"
#include "testing.h"

struct wqi_lock {
	uint32_t word; /* A: 0 free, 1 held, 2 held and somebody sleeps */
#ifdef WQI_TESTING
	const void *owner; /* A, relaxed: &wqi_lock_self of the holder */
#endif
};

#ifdef WQI_TESTING
extern __thread char wqi_lock_self;
#define wqi_assert_held(l) wqi_assert(wqi_load_relaxed(&(l)->owner) == &wqi_lock_self)
#else
#define wqi_assert_held(l) ((void)0)
#endif

void wqi_lock_slow(struct wqi_lock *lock);
void wqi_unlock_slow(struct wqi_lock *lock);

/* For wqi_assert_held(): the caller holds it; and does not any more. */
static inline void wqi_lock_own(struct wqi_lock *lock)
{
#ifdef WQI_TESTING
	wqi_store_relaxed(&lock->owner, (const void *)&wqi_lock_self);
#endif
}

static inline void wqi_lock_disown(struct wqi_lock *lock)
{
	wqi_assert_held(lock);
#ifdef WQI_TESTING
	wqi_store_relaxed(&lock->owner, (const void *)NULL);
#endif
}

/* Keep others out, but for who is in by other means: see bias.h. */
static inline bool wqi_lock_try_word(struct wqi_lock *lock)
{
	uint32_t free_word = 0;

	return wqi_cas(&lock->word, &free_word, 1);
}

static inline bool wqi_try_lock(struct wqi_lock *lock)
{
	if (!wqi_lock_try_word(lock))
		return false;
	wqi_lock_own(lock);
	return true;
}

static inline void wqi_lock(struct wqi_lock *lock)
{
	if (wqi_unlikely(!wqi_lock_try_word(lock)))
		wqi_lock_slow(lock);
	wqi_lock_own(lock);
}

/* Let them in. */
static inline void wqi_lock_release_word(struct wqi_lock *lock)
{
	if (wqi_unlikely(wqi_xchg(&lock->word, 0) == 2))
		wqi_unlock_slow(lock);
}

static inline void wqi_unlock(struct wqi_lock *lock)
{
	wqi_lock_disown(lock);
	wqi_lock_release_word(lock);
}

/* In the child of a fork(): whoever held it is not there. */
static inline void wqi_lock_reset(struct wqi_lock *lock)
{
	wqi_store_relaxed(&lock->word, 0u);
#ifdef WQI_TESTING
	wqi_store_relaxed(&lock->owner, (const void *)NULL);
#endif
}

#endif /* WQI_LOCK_H */
