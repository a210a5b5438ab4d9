/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns running out a k_work_q: drain, plug, stop.  Starts none (zephyr_queue.c). */
#include "zephyr.h"

#include <errno.h>

#include "block.h"
#include "clock.h"
#include "fork.h"
#include "futex.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "runtime.h"
#include "table.h"
#include "timer.h"
#include "worker.h"

/* --- drain and plug --- */

static bool drain_finds_idle(struct wq *wq)
{
	struct wqi_pwq *pwq = wq->table->pwqs;
	struct wqi_pool *pool = wqi_pwq_pool(pwq);
	bool idle;

	wqi_pool_lock(pool);
	if (wqi_pool_splice_locked(pool))
		wqi_pool_hand_over_locked(pool);
	wqi_pwq_ready_locked(pwq);
	idle = wqi_pwq_is_idle_locked(pwq);
	wqi_pool_unlock(pool);
	return idle;
}

static void drain_begin(struct k_work_q *queue, struct wq *wq, bool plug)
{
	wqi_lock(&wq->mutex);
	wq->nr_drainers++;
	wqi_zephyr_change_flags(queue, 0,
				K_WORK_QUEUE_DRAIN | (plug ? (uint32_t)K_WORK_QUEUE_PLUGGED : 0));
	wqi_zephyr_follow_flags(queue, wq);
	wqi_unlock(&wq->mutex);
}

/* ORD-PARK (a): it takes items again, then the shards are told. */
static void drain_finish(struct k_work_q *queue, struct wq *wq)
{
	bool last;

	wqi_lock(&wq->mutex);
	last = !--wq->nr_drainers;
	if (last) {
		wqi_zephyr_change_flags(queue, K_WORK_QUEUE_DRAIN, 0);
		wqi_zephyr_follow_flags(queue, wq);
	}
	wqi_unlock(&wq->mutex);
	if (last)
		wqi_timers_unpark();
}

/* Who uses a queue for longer than a section is counted, and waited for by who stops it. */
static struct wq *drain_get(struct k_work_q *queue)
{
	unsigned token = wqi_rcu_read_lock();
	struct wq *wq = wqi_load_acquire(&queue->wq_queue);

	if (wq)
		wqi_add(&queue->wq_users, 1);
	wqi_rcu_read_unlock(token);
	return wq;
}

/* The memory may be its owner's afterwards: only its address is used. */
static void drain_put(struct k_work_q *queue)
{
	if (wqi_sub(&queue->wq_users, 1) == 1)
		wqi_futex_wake(&queue->wq_users, INT_MAX);
}

static void drain_wait_users(struct k_work_q *queue)
{
	uint32_t nr;

	wqi_rcu_synchronize();
	while ((nr = wqi_load_acquire(&queue->wq_users)))
		wqi_futex_wait(&queue->wq_users, nr, WQI_NO_TIMEOUT);
}

static int drain_run(struct k_work_q *queue, struct wq *wq, bool plug)
{
	int err = wqi_worker_may_wait(wq);

	if (err)
		return err;
	/* Our caller may have been answered 0 because of a claim on its way. */
	wqi_rcu_synchronize();
	if (!plug && !(wqi_load_seq_cst(&queue->flags) & K_WORK_QUEUE_DRAIN) &&
	    drain_finds_idle(wq)) {
		wqi_zephyr_wait_let_go(wq->own);
		return 0;
	}
	drain_begin(queue, wq, plug);
	wqi_queue_wait_idle(wq);
	drain_finish(queue, wq);
	return 1;
}

int wq_zephyr_queue_drain(struct k_work_q *queue, bool plug)
{
	struct wq *wq;
	int ret = 0;

	wqi_fork_enter(false);
	if (plug && !wqi_load_acquire(&queue->wq_queue))
		ret = wqi_zephyr_queue_auto(queue);
	wq = drain_get(queue);
	if (!wq)
		return ret;
	ret = drain_run(queue, wq, plug);
	drain_put(queue);
	return ret;
}

int wq_zephyr_queue_unplug(struct k_work_q *queue)
{
	unsigned token;
	struct wq *wq;

	if (!(wqi_zephyr_change_flags(queue, K_WORK_QUEUE_PLUGGED, 0) & K_WORK_QUEUE_PLUGGED))
		return -EALREADY;
	wqi_fork_enter(false);
	token = wqi_rcu_read_lock();
	wq = wqi_load_acquire(&queue->wq_queue);
	if (wq)
		wqi_zephyr_follow_flags(queue, wq);
	wqi_rcu_read_unlock(token);
	wqi_timers_ask_unpark();
	return 0;
}

/* --- stop --- */

/*
 * Another is stopping it: see what becomes of that.  0 it is stopped; -EAGAIN it is not; or
 * -ETIMEDOUT.
 */
static int stop_wait_other(struct k_work_q *queue, uint64_t until_ns)
{
	uint32_t flags;

	while ((flags = wqi_load_seq_cst(&queue->flags)) & K_WORK_QUEUE_STOP) {
		if (wqi_now_ns() >= until_ns)
			return -ETIMEDOUT;
		wqi_futex_wait_until(&queue->flags, flags, until_ns);
	}
	return flags & K_WORK_QUEUE_STARTED ? -EAGAIN : 0;
}

/* In a section, for another may be about to free it.  0: the caller is the one that stops it. */
static int stop_begin_rcu(struct k_work_q *queue, struct wq **wq)
{
	uint32_t flags = wqi_load_seq_cst(&queue->flags);

	*wq = wqi_load_acquire(&queue->wq_queue);
	if (!*wq && flags & K_WORK_QUEUE_STOP)
		return -EINPROGRESS;
	if (!*wq)
		return wqi_load_relaxed(&queue->wq_static) ? -EBUSY : -EALREADY;
	if (wqi_worker_may_wait(*wq))
		return -EDEADLK;
	do {
		if (!(flags & K_WORK_QUEUE_PLUGGED))
			return -EBUSY;
		if (flags & K_WORK_QUEUE_STOP)
			return -EINPROGRESS;
	} while (!wqi_cas(&queue->flags, &flags, flags | K_WORK_QUEUE_STOP));
	return 0;
}

/* The worker changes `wq_event` when it finds nothing more while K_WORK_QUEUE_STOP is set. */
static int stop_wait_idle_until(struct k_work_q *queue, struct wq *wq, uint64_t until_ns)
{
	uint32_t event;

	wqi_rcu_synchronize();
	for (;;) {
		event = wqi_load_seq_cst(&queue->wq_event);
		if (drain_finds_idle(wq))
			return 0;
		if (wqi_now_ns() >= until_ns)
			return -ETIMEDOUT;
		wqi_futex_wait_until(&queue->wq_event, event, until_ns);
	}
}

/* Nothing is armed on it, and it is nobody's but ours; or why not. */
static int stop_close(struct wq *wq)
{
	int err = wqi_timers_close(wq);

	if (err || !wq->system)
		return err;
	wqi_lock(&wqi_runtime.lock);
	err = wqi_system_unlist_locked(wq);
	wqi_unlock(&wqi_runtime.lock);
	if (err)
		wqi_timers_reopen(wq);
	return err;
}

static void stop_wake_others(struct k_work_q *queue)
{
	wqi_futex_wake(&queue->flags, INT_MAX);
}

static void stop_end(struct k_work_q *queue, struct wq *wq)
{
	wqi_store_seq_cst(&queue->wq_held, true);
	wqi_zephyr_follow_flags(queue, wq);
	wqi_store_relaxed(&wq->ending, true);
	wqi_queue_wait_idle(wq);
	wqi_store_release(&queue->wq_queue, (struct wq *)NULL);
	drain_wait_users(queue);
	wqi_zephyr_watch_end(queue);
	wqi_queue_unmake(wq);
	wqi_store_relaxed(&queue->thread_id, (k_tid_t)0);
	wqi_store_relaxed(&queue->wq_static, false);
	/* Whoever else stops it may free it from here on: only its address is used. */
	wqi_store_seq_cst(&queue->flags, 0u);
	stop_wake_others(queue);
}

static int stop_run(struct k_work_q *queue, struct wq *wq, uint64_t until_ns)
{
	int err = stop_wait_idle_until(queue, wq, until_ns);

	if (!err)
		err = stop_close(wq);
	if (!err) {
		stop_end(queue, wq);
		return 0;
	}
	wqi_zephyr_change_flags(queue, K_WORK_QUEUE_STOP, 0);
	stop_wake_others(queue);
	return err;
}

int wq_zephyr_queue_stop(struct k_work_q *queue, uint64_t timeout_ns)
{
	uint64_t now_ns = wqi_now_ns(), until_ns;
	unsigned token;
	struct wq *wq;
	int err;

	until_ns = timeout_ns < WQI_NO_TIMEOUT - now_ns ? now_ns + timeout_ns : WQI_NO_TIMEOUT;
	wqi_fork_enter(false);
	do {
		if (wqi_load_relaxed(&queue->wq_essential))
			return -ENOTSUP;
		token = wqi_rcu_read_lock();
		err = stop_begin_rcu(queue, &wq);
		wqi_rcu_read_unlock(token);
		if (err == -EINPROGRESS)
			err = stop_wait_other(queue, until_ns);
		else if (!err)
			err = stop_run(queue, wq, until_ns);
	} while (err == -EAGAIN);
	return err;
}
