/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns taking items back.  Does not wait for running ones (flush.c does). */
#include "item.h"

#include <errno.h>

#include "flush.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "shard.h"
#include "timer.h"
#include "worker.h"
#include "zephyr.h"

#include <wq/wq.h>

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
		return !(wqi_pool_unclaim_locked(pool, work, 0) & WQI_CANCEL);
	}

	wqi_work_unlist_locked(work);
	wqi_pwq_left_locked(pwq, wqi_work_link(work));
	state = wqi_pool_unclaim_locked(pool, work, 0);
	wqi_pwq_finish_locked(pwq, wqi_state_color(state), state & WQI_COUNTED);
	wqi_pool_hand_over_locked(pool);
	return !(state & WQI_CANCEL);
}

/*
 * Where the caller is a signal handler that interrupted the library, the item may be
 * only marked: see wqi_cancel_may_not_lock().
 */
static int cancel_pending(struct wq_work *work)
{
	struct wqi_pool *pool;
	struct wqi_pwq *pwq;
	uint64_t state;
	unsigned token;
	int ret;

	if (!wqi_state_is_pending(wqi_state(work)))
		return 0;
	token = wqi_rcu_read_lock();
	do {
		ret = -EAGAIN;
		state = wqi_state(work);
		if (!wqi_state_is_pending(state)) {
			ret = 0;
		} else if (state & WQI_TRANSIT || wqi_cancel_may_not_lock()) {
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

/* Is there something to be taken back? */
static bool cancel_can_take(uint64_t state)
{
	return wqi_state_is_armed(state) || (wqi_state_is_pending(state) && !(state & WQI_CANCEL));
}

/*
 * From its timer first: if that fires meanwhile, it is pending.  wq_mod_delayed() makes
 * what is pending armed, so look until it is neither.  What is queued after it was
 * taken from its timer is another acceptance, which the answer does not stand for.
 * 1, 0, or -EBUSY: it waits for a grace period.
 */
int wqi_cancel_item(struct wq_work *work)
{
	bool beside;
	int ret;

	do {
		ret = 0;
		beside = true;
		if (wqi_unlikely(wqi_state_is_armed(wqi_state(work))))
			ret = wqi_timer_cancel(work, &beside);
		wqi_pause_point("timer cancelled");
		if (ret < 0)
			return ret;
		if (beside)
			ret |= cancel_pending(work);
	} while (!ret && wqi_unlikely(cancel_can_take(wqi_state(work))));
	return ret;
}

int wq_work_cancel(struct wq_work *work)
{
	if (!work || !(wqi_state(work) & WQI_INIT))
		return -EINVAL;
	return wqi_cancel_item(work);
}

static bool cancel_is_own(const struct wq_work *work)
{
	struct wqi_worker *self = wqi_worker_self;

	return self && self->current_work == work && self->current_fn == work->wq_fn;
}

static bool cancel_is_marked(const struct wq_work *work)
{
	uint64_t state = wqi_state(work);

	return wqi_state_is_pending(state) && state & WQI_CANCEL;
}

/*
 * What was on its way when it was marked is in an inbox after a grace period, and
 * whoever splices that ends the claim: we do, for those who run there may take long,
 * or wait for us.  Only an item that just queues itself is left to its worker.
 */
static void cancel_end_claim(struct wq_work *work)
{
	struct wqi_pool *pool;
	unsigned token;

	wqi_pause_point("canceller waits");
	wqi_rcu_synchronize();
	token = wqi_rcu_read_lock();
	if (cancel_is_marked(work) && wqi_pwq_of_state(wqi_state(work), &pool)) {
		wqi_pool_lock(pool);
		wqi_pool_splice_locked(pool);
		wqi_pool_unlock(pool);
	}
	wqi_rcu_read_unlock(token);
	if (cancel_is_marked(work))
		wqi_flush_claim(work);
}

/* Is somebody still holding the item, though it is cancelled? */
static bool cancel_is_held(uint64_t state)
{
	if (wqi_state_is_in_shard(state) && !(state & WQI_ARMED))
		return true;
	return wqi_state_is_pending(state) && state & WQI_CANCEL;
}

static void cancel_end_hold(struct wq_work *work, uint64_t state)
{
	if (wqi_state_is_in_shard(state))
		wqi_timer_settle(work);
	else
		cancel_end_claim(work);
}

/*
 * Claims are kept out meanwhile, but by a disable that somebody undoes: what is
 * queued then is taken back only if nothing was before, for the answer stands for
 * one acceptance.
 */
static int cancel_until_idle(struct wq_work *work)
{
	int ret = wqi_cancel_item(work);
	uint64_t state = wqi_state(work);

	while (ret >= 0 && (cancel_is_held(state) ||
			    (!ret && (wqi_state_is_pending(state) || wqi_state_is_armed(state))))) {
		if (cancel_is_held(state))
			cancel_end_hold(work, state);
		if (!ret)
			ret = wqi_cancel_item(work);
		state = wqi_state(work);
	}
	if (ret >= 0)
		wqi_flush_running(work);
	return ret;
}

/* 1 held, 0 not pending, -EAGAIN it is on its way, or is in a shard's hands besides. */
static int cancel_hold_locked(struct wqi_pool *pool, struct wqi_pwq *pwq, struct wq_work *work,
			      uint64_t held)
{
	uint64_t state = wqi_state(work);
	struct wqi_worker *worker;
	bool listed;

	wqi_assert_held(&pool->lock);

	if (!(state & WQI_PENDING))
		return 0;
	if (state & (WQI_TRANSIT | WQI_CANCEL) || wqi_state_id(state) != wqi_load_relaxed(&pwq->id))
		return -EAGAIN;
	listed = wqi_work_is_listed_locked(work);
	if (listed) {
		wqi_work_unlist_locked(work);
		wqi_pwq_left_locked(pwq, wqi_work_link(work));
	} else {
		worker = wqi_pool_find_running_locked(pool, work);
		if (!worker || !wqi_xchg(&worker->requeued, (struct wq_work *)NULL))
			return -EAGAIN;
	}
	state = wqi_pool_unclaim_locked(pool, work, held);
	if (listed) {
		wqi_pwq_finish_locked(pwq, wqi_state_color(state), state & WQI_COUNTED);
		wqi_pool_hand_over_locked(pool);
	}
	return state & (WQI_CANCEL | WQI_ARMED | WQI_MOVING) ? -EAGAIN : 1;
}

int wqi_cancel_hold_rcu(struct wq_work *work, uint64_t held)
{
	uint64_t state = wqi_state(work);
	struct wqi_pool *pool;
	struct wqi_pwq *pwq;
	int ret;

	if (!wqi_state_is_pending(state))
		return 0;
	if (state & (WQI_TRANSIT | WQI_CANCEL))
		return -EAGAIN;
	pwq = wqi_pwq_of_state(state, &pool);
	if (!pwq)
		return -EAGAIN;
	wqi_pool_lock(pool);
	wqi_pool_splice_locked(pool);
	ret = cancel_hold_locked(pool, pwq, work, held);
	wqi_pool_unlock(pool);
	return ret;
}

/* The half of the word that holds the number of cancellers, to sleep on. */
static uint32_t *cancel_count_word(struct wq_work *work)
{
	_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && WQI_CANCELLER_SHIFT >= 32,
		       "the number of cancellers is in the second half");
	return (uint32_t *)(void *)&work->wq_state + 1;
}

/*
 * Count the caller in; where no more fit, when another has left.  False: the item
 * is idle since a fork(), and nothing has changed.
 */
static bool cancel_enter(struct wq_work *work)
{
	uint64_t old = wqi_state(work);

	for (;;) {
		if (!wqi_state_is_ours(old))
			return false;
		if ((old & WQI_CANCELLER_MASK) == WQI_CANCELLER_MASK) {
			wqi_pause_point("cancellers");
			wqi_futex_wait(cancel_count_word(work), (uint32_t)(old >> 32),
				       WQI_NO_TIMEOUT);
			old = wqi_state(work);
		} else if (wqi_cas(&work->wq_state, &old, old + WQI_CANCELLER_ONE)) {
			return true;
		}
	}
}

static void cancel_leave(struct wq_work *work)
{
	uint64_t old = wqi_sub(&work->wq_state, WQI_CANCELLER_ONE);

	/* The item may be gone: only its address is used. */
	if ((old & WQI_CANCELLER_MASK) == WQI_CANCELLER_MASK)
		wqi_futex_wake(cancel_count_word(work), INT_MAX);
}

/*
 * Being counted keeps claims out (ORD-PENDING: the claim's compare-and-swap fails
 * on the changed word), so PENDING, once gone, stays gone.
 */
int wq_work_cancel_sync(struct wq_work *work)
{
	int ret;

	if (!work || !(wqi_state(work) & WQI_INIT))
		return -EINVAL;
	if (cancel_is_own(work)) {
		ret = wqi_cancel_item(work);
		return ret < 0 ? ret : -EDEADLK;
	}
	if (!cancel_enter(work))
		return 0;
	ret = cancel_until_idle(work);
	cancel_leave(work);
	return ret;
}

/*
 * Zephyr's, of which zephyr_cancel.c makes a call: as above, but what is armed meanwhile stays so,
 * and only the run that goes on is waited for. -EAGAIN: the item is idle since a fork().  Else the
 * caller is counted until wqi_cancel_leave().
 */
int wqi_cancel_once_sync(struct wq_work *work)
{
	uint64_t state;
	int ret;

	if (!cancel_enter(work))
		return -EAGAIN;
	ret = wqi_cancel_item(work);
	while (cancel_is_held(state = wqi_state(work)))
		cancel_end_hold(work, state);
	return wqi_flush_running(work) || ret == 1;
}

void wqi_cancel_leave(struct wq_work *work)
{
	cancel_leave(work);
}

bool wqi_cancel_enter_unless_full(struct wq_work *work)
{
	uint64_t old = wqi_state(work);

	do {
		if ((old & WQI_CANCELLER_MASK) == WQI_CANCELLER_MASK || !wqi_state_is_ours(old))
			return false;
	} while (!wqi_cas(&work->wq_state, &old, old + WQI_CANCELLER_ONE));
	return true;
}

static int cancel_raise_depth(struct wq_work *work)
{
	uint64_t old = wqi_state(work);

	do {
		if (!(old & WQI_INIT))
			return -EINVAL;
		if ((old & WQI_DEPTH_MASK) == WQI_DEPTH_MASK)
			return -EOVERFLOW;
	} while (!wqi_cas(&work->wq_state, &old, old + WQI_DEPTH_ONE));
	return 0;
}

/* An item that waits for a grace period is not disabled, for it can't be taken back. */
static int cancel_disabled(struct wq_work *work, int ret)
{
	if (ret == -EBUSY)
		wqi_sub(&work->wq_state, WQI_DEPTH_ONE);
	return ret;
}

int wq_work_disable(struct wq_work *work)
{
	int err = work ? cancel_raise_depth(work) : -EINVAL;

	return err ? err : cancel_disabled(work, wqi_cancel_item(work));
}

int wq_work_disable_sync(struct wq_work *work)
{
	int err = work ? cancel_raise_depth(work) : -EINVAL;

	if (err)
		return err;
	if (cancel_is_own(work)) {
		err = cancel_disabled(work, wqi_cancel_item(work));
		return err < 0 ? err : -EDEADLK;
	}
	return cancel_disabled(work, cancel_until_idle(work));
}

int wq_work_enable(struct wq_work *work)
{
	uint64_t old;

	if (!work)
		return -EINVAL;
	old = wqi_state(work);
	do {
		if (!(old & WQI_INIT) || !(old & WQI_DEPTH_MASK))
			return -EINVAL;
	} while (!wqi_cas(&work->wq_state, &old, old - WQI_DEPTH_ONE));
	return (old & WQI_DEPTH_MASK) == WQI_DEPTH_ONE;
}

int wq_enable_and_queue(struct wq *wq, struct wq_work *work)
{
	int ret = wq ? wq_work_enable(work) : -EINVAL;

	if (ret != 1)
		return ret;
	/* Where others queued it meanwhile, their run is ours too. */
	ret = wq_queue(wq, work);
	return ret ? ret : 1;
}
