/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns how a pool's lock is taken and released.  Holds nothing else of the pool's.
 *
 * A pool that runs cheap items has one worker, which takes the lock for each of them, and
 * hardly anybody else ever does.  After a while the lock is biased to that worker: it says
 * that it is inside and looks whether the bias is still its own, with no locked instruction.
 * Anybody else takes the lock's word; who finds the lock biased then takes the bias away,
 * has all threads pass a barrier (membarrier), and waits until the worker has left.
 *
 * ORD-BIAS: (a) the worker stores `inside`, then reads `bias`; leaving, it clears `inside`,
 * then reads `bias` again.  (b) Who takes the bias away clears `bias`, fences, then reads
 * `inside`.  On whichever side of the fence the worker's look is: it sees that the bias is
 * gone, or is seen inside; and who sleeps until it leaves is woken.
 */
#ifndef WQI_BIAS_H
#define WQI_BIAS_H

#include "worker.h"

/* Without the bias: take the word. */
void wqi_pool_lock_unbiased(struct wqi_pool *pool);

/* Wake whoever took the bias away from @self while it was inside. */
void wqi_bias_left(struct wqi_worker *self);

/* @self is through with a batch of items: may its pool's lock be biased to it from here on? */
void wqi_bias_batch_locked(struct wqi_worker *self);

/* Before the lock is taken: from here on a signal handler of this thread may not want it. */
static inline void wqi_pool_lock_begin(void)
{
	wqi_yield_point();
	wqi_pool_locks_held++;
}

static inline void wqi_bias_leave(struct wqi_worker *self, struct wqi_pool *pool)
{
	wqi_lock_disown(&pool->lock);
	wqi_yield_point();
	wqi_store_release(&self->inside, 0u);
	wqi_compiler_barrier();
	if (wqi_unlikely(wqi_load_relaxed(&pool->bias) != self))
		wqi_bias_left(self);
}

/* True: @self has the lock. */
static inline bool wqi_bias_enter(struct wqi_worker *self, struct wqi_pool *pool)
{
	if (wqi_load_relaxed(&pool->bias) != self)
		return false;
	wqi_store_relaxed(&self->inside, 1u);
	wqi_compiler_barrier();
	wqi_pause_point("bias entered");
	if (wqi_unlikely(wqi_load_acquire(&pool->bias) != self)) {
		wqi_store_release(&self->inside, 0u);
		wqi_bias_left(self);
		return false;
	}
	wqi_lock_own(&pool->lock);
	wqi_pause_point("bias inside");
	return true;
}

/* As wqi_pool_lock() and wqi_pool_unlock(), for the thread of @self. */
static inline void wqi_worker_lock_pool(struct wqi_worker *self, struct wqi_pool *pool)
{
	wqi_pool_lock_begin();
	if (!wqi_bias_enter(self, pool))
		wqi_pool_lock_unbiased(pool);
}

static inline void wqi_worker_unlock_pool(struct wqi_worker *self, struct wqi_pool *pool)
{
	if (self->inside)
		wqi_bias_leave(self, pool);
	else
		wqi_unlock(&pool->lock);
	wqi_pool_locks_held--;
}

#endif /* WQI_BIAS_H */
