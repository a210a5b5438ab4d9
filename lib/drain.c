/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns emptying queues: refusing items, waiting until none is left, the end of a queue. */
#include <errno.h>
#include <sched.h>

#include "block.h"
#include "fork.h"
#include "queue.h"
#include "rcu.h"
#include "runtime.h"
#include "timer.h"
#include "worker.h"

bool wqi_queue_refuses(const struct wq *wq)
{
	uint32_t refuse = wqi_load_seq_cst(&wq->refuse);

	return refuse & WQI_QUEUE_PLUGGED || (refuse && !wqi_worker_serves(wq));
}

/* One pass: is nothing in flight?  Adds up what was ever accepted. */
static bool drain_is_idle(struct wq *wq, uint64_t *accepted)
{
	struct wqi_table *table;
	struct wqi_pwq *pwq;
	bool idle = true;

	wqi_lock(&wq->mutex);
	*accepted = wq->past_accepted;
	wqi_for_each_pwq(wq, table, pwq)
	{
		struct wqi_pool *pool = wqi_load_acquire(&pwq->pool);

		if (!pool)
			continue;
		wqi_pool_lock(pool);
		wqi_pool_splice_locked(pool);
		idle = idle && wqi_pwq_is_idle_locked(pwq);
		*accepted += pwq->nr_accepted;
		wqi_pool_unlock(pool);
	}
	wqi_unlock(&wq->mutex);
	return idle;
}

/*
 * ORD-DRAIN (b): refuse was set, then a grace period; every queueing that read the
 * flag too early is in an inbox afterwards.  Chained items may still queue, also
 * from one pwq to another that was looked at already: hence two passes with a
 * grace period between, both idle, with nothing accepted in between.
 */
void wqi_queue_wait_idle(struct wq *wq)
{
	uint64_t before, after;

	do {
		wqi_rcu_synchronize();
		wqi_queue_flush(wq);
		if (!drain_is_idle(wq, &before))
			continue;
		wqi_rcu_synchronize();
		if (drain_is_idle(wq, &after) && before == after)
			return;
	} while (true);
}

static void drain_begin(struct wq *wq)
{
	wqi_lock(&wq->mutex);
	wq->nr_drainers++;
	wqi_store_seq_cst(&wq->refuse, wq->refuse | WQI_QUEUE_DRAINING);
	wqi_unlock(&wq->mutex);
}

/* ORD-PARK (a): it takes items again, then the shards are told. */
static void drain_end(struct wq *wq)
{
	bool last;

	wqi_lock(&wq->mutex);
	last = !--wq->nr_drainers;
	if (last)
		wqi_store_seq_cst(&wq->refuse, wq->refuse & ~WQI_QUEUE_DRAINING);
	wqi_unlock(&wq->mutex);
	if (last)
		wqi_timers_unpark();
}

static void drain_wait_requeueing_in(const struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	for (worker = wqi_load_acquire(&pool->workers); worker; worker = worker->all_next)
		while (worker != wqi_worker_self && wqi_load_acquire(&worker->requeueing)) {
			wqi_pause_point("plug waits");
			sched_yield();
		}
}

/*
 * An item that queues itself, or another, on its own queue does so in no section.  ORD-PLUG (b):
 * refuse is set, then all threads of the process pass a barrier, then `requeueing` is read: who has
 * not said so by then sees the flag.
 */
static void drain_wait_requeueing(struct wq *wq)
{
	struct wqi_table *table;
	struct wqi_pwq *pwq;
	struct wqi_pool *pool;

	if (!wqi_runtime.can_fence)
		return;
	wqi_runtime_fence();
	wqi_lock(&wq->mutex);
	wqi_for_each_pwq(wq, table, pwq)
	{
		pool = wqi_load_acquire(&pwq->pool);
		if (pool)
			drain_wait_requeueing_in(pool);
	}
	wqi_unlock(&wq->mutex);
	if (wq->rescuer)
		drain_wait_requeueing_in(wq->rescuer);
}

int wqi_queue_plug(struct wq *wq)
{
	bool was;

	wqi_lock(&wq->mutex);
	was = wq->refuse & WQI_QUEUE_PLUGGED;
	if (!was) {
		wqi_add(&wqi_queues_plugged, 1);
		wqi_store_seq_cst(&wq->refuse, wq->refuse | WQI_QUEUE_PLUGGED);
	}
	wqi_unlock(&wq->mutex);
	/* ORD-DRAIN (b): who read the flag before is through. */
	wqi_rcu_synchronize();
	drain_wait_requeueing(wq);
	return was ? -EALREADY : 0;
}

int wqi_queue_unplug(struct wq *wq)
{
	bool was;

	wqi_lock(&wq->mutex);
	was = wq->refuse & WQI_QUEUE_PLUGGED;
	if (was) {
		wqi_store_seq_cst(&wq->refuse, wq->refuse & ~WQI_QUEUE_PLUGGED);
		wqi_sub(&wqi_queues_plugged, 1);
	}
	wqi_unlock(&wq->mutex);
	if (was)
		wqi_timers_unpark(); /* ORD-PARK (a) */
	return was ? 0 : -EALREADY;
}

/* What owners may not do to the queues that all share, nor an item to its own. */
static int drain_check(struct wq *wq, bool waits)
{
	if (!wq)
		return -EINVAL;
	if (wq->system)
		return -EPERM;
	wqi_fork_enter(false);
	return waits ? wqi_worker_may_wait(wq) : 0;
}

int wq_plug(struct wq *wq)
{
	int err = drain_check(wq, false);

	return err ? err : wqi_queue_plug(wq);
}

int wq_unplug(struct wq *wq)
{
	int err = drain_check(wq, false);

	return err ? err : wqi_queue_unplug(wq);
}

int wq_drain(struct wq *wq)
{
	int err = drain_check(wq, true);

	if (err)
		return err;
	drain_begin(wq);
	wqi_queue_wait_idle(wq);
	drain_end(wq);
	return 0;
}

int wq_destroy(struct wq *wq)
{
	int err = wq ? drain_check(wq, true) : 0;

	if (!err && wq)
		err = wqi_timers_close(wq);
	if (err || !wq)
		return err;
	wqi_store_relaxed(&wq->ending, true);
	drain_begin(wq);
	wqi_queue_wait_idle(wq);
	wqi_queue_unmake(wq);
	return 0;
}
