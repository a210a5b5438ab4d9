/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the taking of a pool's lock by those who are not its only worker, the bias towards
 * that one, and taking that away.
 */
#include "bias.h"

#include "cpu.h"
#include "runtime.h"

/* Batches of cheap items, with nobody else at the lock, before it becomes biased. */
#ifdef WQI_TESTING
#define BIAS_CALM_BATCHES 1u
#else
#define BIAS_CALM_BATCHES 16u
#endif

__thread volatile unsigned wqi_pool_locks_held;

/*
 * ORD-BIAS (b): the word is ours, so that nobody else takes the lock or the bias.  Whoever
 * has that sees that it is gone, or is inside and wakes us when he leaves.
 */
static WQI_SLOW void bias_revoke(struct wqi_pool *pool, struct wqi_worker *owner)
{
	struct wqi_worker *self = wqi_worker_self;

	wqi_store_seq_cst(&pool->bias, (struct wqi_worker *)NULL);
	if (owner == self)
		return;
	wqi_pause_point("bias revoked");
	wqi_runtime_fence();
	if (self)
		wqi_store_relaxed(&self->in_lock, true);
	while (wqi_load_acquire(&owner->inside)) {
		wqi_yield_point();
		wqi_futex_wait(&owner->inside, 1, WQI_NO_TIMEOUT);
	}
	if (self)
		wqi_store_relaxed(&self->in_lock, false);
}

/* Who waits for a pool's lock is not blocked in its item. */
static WQI_SLOW void pool_wait_lock(struct wqi_pool *pool)
{
	struct wqi_worker *self = wqi_worker_self;

	if (self)
		wqi_store_relaxed(&self->in_lock, true);
	wqi_lock_slow(&pool->lock);
	if (self)
		wqi_store_relaxed(&self->in_lock, false);
}

void wqi_pool_lock_unbiased(struct wqi_pool *pool)
{
	struct wqi_worker *owner;

	if (wqi_unlikely(!wqi_lock_try_word(&pool->lock)))
		pool_wait_lock(pool);
	owner = wqi_load_relaxed(&pool->bias);
	if (wqi_unlikely(owner))
		bias_revoke(pool, owner);
	wqi_lock_own(&pool->lock);
	if (owner)
		pool->calm_batches = 0;
	if (wqi_unlikely(!pool->ready))
		wqi_pool_ready_locked(pool);
}

void wqi_pool_lock(struct wqi_pool *pool)
{
	struct wqi_worker *self = wqi_worker_self;

	wqi_pool_lock_begin();
	if (!self || !wqi_bias_enter(self, pool))
		wqi_pool_lock_unbiased(pool);
}

void wqi_pool_unlock(struct wqi_pool *pool)
{
	struct wqi_worker *self = wqi_worker_self;

	if (self) {
		wqi_worker_unlock_pool(self, pool);
	} else {
		wqi_unlock(&pool->lock);
		wqi_pool_locks_held--;
	}
}

WQI_SLOW void wqi_bias_left(struct wqi_worker *self)
{
	wqi_futex_wake(&self->inside, 1);
}

void wqi_bias_batch_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;

	wqi_assert_held(&pool->lock);

	if (self->inside || self->rescuing || !wqi_runtime.can_fence)
		return;
	if (pool->nr_running > 1 || wqi_pool_is_dear_locked(pool, WQI_DEAR_NS)) {
		pool->calm_batches = 0;
		return;
	}
	if (++pool->calm_batches < BIAS_CALM_BATCHES)
		return;
	/* Inside before the word is free: whoever takes that then waits for us. */
	wqi_store_relaxed(&self->inside, 1u);
	wqi_store_release(&pool->bias, self);
	wqi_lock_release_word(&pool->lock);
}
