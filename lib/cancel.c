/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns taking items back.  Does not wait for running ones (flush.c does). */
#include "item.h"

#include <errno.h>

#include "flush.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "worker.h"

#include <wq/work.h>

/* Mark a claimed item that is on no list yet: who puts it on one ends the claim. */
static int cancel_mark(struct wq_work *work, uint64_t state)
{
	if (state & WQI_CANCEL)
		return 0;
	return wqi_cas(&work->wq_state, &state, state | WQI_CANCEL) ? 1 : -EAGAIN;
}

/* 1 taken back, 0 not pending, -EAGAIN it moved on: look again. */
static int cancel_locked(struct wqi_pool *pool, struct wqi_pwq *pwq, struct wq_work *work)
{
	uint64_t state = wqi_state(work);
	struct wqi_worker *worker;

	wqi_assert_held(&pool->lock);

	if (!(state & WQI_PENDING))
		return 0;
	if (state & WQI_TRANSIT || wqi_state_id(state) != wqi_load_relaxed(&pwq->id))
		return -EAGAIN;
	if (!wqi_work_is_listed_locked(work)) {
		/* It runs and has queued itself: its worker gives it up.  Or it is on its way. */
		worker = wqi_pool_find_running_locked(pool, work);
		if (!worker || !wqi_xchg(&worker->requeued, (struct wq_work *)NULL))
			return cancel_mark(work, state);
		return !(wqi_pool_unclaim_locked(pool, work) & WQI_CANCEL);
	}

	wqi_work_unlist_locked(work);
	state = wqi_pool_unclaim_locked(pool, work);
	wqi_pwq_finish_locked(pwq, wqi_state_color(state), state & WQI_COUNTED);
	wqi_pool_hand_over_locked(pool);
	return !(state & WQI_CANCEL);
}

/*
 * Where the caller is a signal handler that interrupted the library, the lock may
 * be held by the very thread that it interrupted: then the item is only marked.
 */
static int cancel_pending(struct wq_work *work)
{
	unsigned token = wqi_rcu_read_lock();
	struct wqi_pool *pool;
	struct wqi_pwq *pwq;
	uint64_t state;
	int ret;

	do {
		ret = -EAGAIN;
		state = wqi_state(work);
		if (!(state & WQI_PENDING)) {
			ret = 0;
		} else if (state & WQI_TRANSIT || wqi_pool_locks_held) {
			ret = cancel_mark(work, state);
		} else {
			pwq = wqi_pwq_of_state(state, &pool);
			if (!pwq)
				continue;
			wqi_pool_lock(pool);
			wqi_pool_splice_locked(pool);
			ret = cancel_locked(pool, pwq, work);
			wqi_pool_unlock(pool);
		}
	} while (ret == -EAGAIN);
	wqi_rcu_read_unlock(token);
	return ret;
}

int wq_work_cancel(struct wq_work *work)
{
	if (!work || !(wqi_state(work) & WQI_INIT))
		return -EINVAL;
	return cancel_pending(work);
}

static int cancel_raise_depth(struct wq_work *work)
{
	uint64_t old = wqi_state(work);

	do {
		if ((old & WQI_DEPTH_MASK) == WQI_DEPTH_MASK)
			return -EOVERFLOW;
	} while (!wqi_cas(&work->wq_state, &old, old + WQI_DEPTH_ONE));
	return 0;
}

/*
 * The depth keeps claims out (ORD-PENDING: the claim's compare-and-swap fails on
 * the changed word), so PENDING, once gone, stays gone.  A claim that was on its
 * way is marked; whoever splices it, or chooses a pool for it, ends it.
 */
int wq_work_cancel_sync(struct wq_work *work)
{
	struct wqi_worker *self = wqi_worker_self;
	int ret;

	if (!work || !(wqi_state(work) & WQI_INIT))
		return -EINVAL;
	if (self && self->current_work == work && self->current_fn == work->wq_fn) {
		cancel_pending(work);
		return -EDEADLK;
	}
	ret = cancel_raise_depth(work);
	if (ret)
		return ret;
	ret = cancel_pending(work);
	while (wqi_state(work) & WQI_PENDING) {
		wqi_flush_claim(work);
		ret |= cancel_pending(work);
	}
	wqi_flush_running(work);
	wqi_sub(&work->wq_state, WQI_DEPTH_ONE);
	return ret;
}
