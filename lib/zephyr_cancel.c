/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns cancelling a k_work, and an item that is cancelled while it runs.  Waits for no run
 * (flush.c).
 */
#include "zephyr.h"

#include <errno.h>
#include <sched.h>

#include "pwq.h"
#include "rcu.h"
#include "worker.h"

static void cancel_push(struct wqi_pool *pool, struct k_work *work)
{
	struct k_work *top = wqi_load_relaxed(&pool->cancelled);

	do {
		wqi_store_relaxed(&work->wq_next, top ? (void *)top : WQI_ZEPHYR_END);
	} while (!wqi_cas(&pool->cancelled, &top, work));
}

/*
 * The last that is done with it: the item may be gone afterwards.  Who has waited for its run by
 * other means than wq_next waits for that too: see wqi_zephyr_wait_let_go().
 */
static void cancel_let_go(struct k_work *work)
{
	wqi_cancel_leave(&work->wq_work);
	wqi_pause_point("let go");
	wqi_store_release(&work->wq_next, NULL);
}

/*
 * ORD-CANCELLED: who cancels pushes the item, then looks whether it runs (a); the worker stores
 * that it does not, then takes the list (b).  So one of them takes it.
 */
void wqi_zephyr_let_go(struct wqi_pool *pool)
{
	struct k_work *work, *next;
	bool again;

	do {
		again = false;
		work = wqi_xchg(&pool->cancelled, (struct k_work *)NULL);
		for (; work; work = next) {
			void *link = wqi_load_relaxed(&work->wq_next);

			next = link == WQI_ZEPHYR_END ? NULL : link;
			if (!wqi_zephyr_runs_in(pool, &work->wq_work)) {
				cancel_let_go(work);
				continue;
			}
			/* Another's, that still runs. */
			cancel_push(pool, work);
			again |= !wqi_zephyr_runs_in(pool, &work->wq_work);
		}
	} while (again);
}

/* While its handler goes on it can't be queued. */
static void cancel_block_while_running_rcu(struct k_work *work)
{
	void *none = NULL;
	struct wqi_pool *pool;

	if (!wqi_pwq_of_state(wqi_state(&work->wq_work), &pool) ||
	    !wqi_zephyr_runs_in(pool, &work->wq_work) ||
	    !wqi_cas(&work->wq_next, &none, WQI_ZEPHYR_END))
		return;
	if (!wqi_cancel_enter_unless_full(&work->wq_work)) {
		/* As many wait until it does not run, and so keep it from being queued. */
		wqi_store_release(&work->wq_next, NULL);
		return;
	}
	wqi_pause_point("cancelled");
	wqi_store_relaxed(&pool->lets_go, true);
	cancel_push(pool, work);
	if (!wqi_zephyr_runs_in(pool, &work->wq_work))
		wqi_zephyr_let_go(pool);
}

static inline bool cancel_is_plain(uint64_t state)
{
	return !(state & (WQI_UNUSUAL | WQI_PENDING) &
		 ~(WQI_INIT | WQI_DEPTH_MASK | WQI_GENERATION_MASK));
}

/* It did nothing, and does not run, between two looks at its word. */
static inline bool cancel_is_idle_rcu(struct wq_work *item)
{
	uint64_t state = wqi_state(item);

	return cancel_is_plain(state) && !wqi_zephyr_runs_rcu(item) &&
	       wqi_load_seq_cst(&item->wq_state) == state;
}

/* It was queued some time, and may be running. */
static WQI_SLOW int cancel_looking(struct k_work *work)
{
	unsigned token = wqi_rcu_read_lock();
	int busy;

	busy = cancel_is_idle_rcu(&work->wq_work) ? 0 : wqi_zephyr_busy_rcu(&work->wq_work);
	if (busy & K_WORK_RUNNING) {
		cancel_block_while_running_rcu(work);
		busy = wqi_zephyr_busy_rcu(&work->wq_work);
	}
	wqi_rcu_read_unlock(token);
	return busy;
}

static inline int cancel_plain(struct k_work *work)
{
	uint64_t state;

	wqi_cancel_item(&work->wq_work);
	state = wqi_state(&work->wq_work);
	if (wqi_state_id(state))
		return cancel_looking(work);
	return cancel_is_plain(state) ? 0 : wqi_zephyr_flags(state);
}

static inline bool cancel_is_poll(const struct k_work *work)
{
	return work->handler == wqi_zephyr_poll_run;
}

static WQI_SLOW int cancel_poll(struct k_work *work)
{
	int busy;

	wqi_zephyr_poll_leave(work);
	busy = cancel_plain(work);
	wqi_zephyr_poll_left(work);
	return busy;
}

int wq_zephyr_cancel(struct k_work *work)
{
	if (!(wqi_state(&work->wq_work) & WQI_INIT))
		return 0;
	return wqi_unlikely(cancel_is_poll(work)) ? cancel_poll(work) : cancel_plain(work);
}

/* It does not run any more; who has just taken it from the list may not be done with it. */
static void cancel_wait_let_go(struct k_work *work)
{
	struct wqi_pool *pool;
	unsigned token;

	while (wqi_load_acquire(&work->wq_next) && wqi_state_is_ours(wqi_state(&work->wq_work))) {
		token = wqi_rcu_read_lock();
		if (wqi_pwq_of_state(wqi_state(&work->wq_work), &pool))
			wqi_zephyr_let_go(pool);
		wqi_rcu_read_unlock(token);
		sched_yield();
	}
}

/*
 * A thread that cancels may have taken others' items from the list, and their runs have ended
 * since. It lets them go in the section in which it took them.
 */
void wqi_zephyr_wait_let_go(const struct wqi_pool *pool)
{
	if (pool && wqi_likely(!wqi_load_relaxed(&pool->lets_go)))
		return;
	wqi_pause_point("waits let go");
	wqi_rcu_synchronize();
}

static bool cancel_plain_sync(struct k_work *work)
{
	bool busy;
	int ret;

	if (wqi_zephyr_is_own(work)) {
		cancel_plain(work);
		return true;
	}
	busy = wqi_zephyr_flags(wqi_state(&work->wq_work));
	ret = wqi_cancel_once_sync(&work->wq_work);
	if (ret == -EAGAIN)
		return false;
	cancel_wait_let_go(work);
	wqi_cancel_leave(&work->wq_work);
	return busy || ret;
}

bool wq_zephyr_cancel_sync(struct k_work *work)
{
	bool waited, busy;

	if (!(wqi_state(&work->wq_work) & WQI_INIT))
		return false;
	if (wqi_likely(!cancel_is_poll(work)))
		return cancel_plain_sync(work);
	waited = wqi_zephyr_poll_leave(work);
	busy = cancel_plain_sync(work);
	wqi_zephyr_poll_left(work);
	return waited || busy;
}
