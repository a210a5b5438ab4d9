/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the life of a k_work_q: start, drain, plug, stop.  Its thread is in zephyr_thread.c. */
#include "zephyr.h"

#include <errno.h>

#include "block.h"
#include "clock.h"
#include "fork.h"
#include "futex.h"
#include "manager.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "runtime.h"
#include "table.h"
#include "timer.h"
#include "worker.h"

struct k_work_q wq_zephyr_sys_work_q = {
	.flags = K_WORK_QUEUE_STARTED,
	.wq_name = "sysworkq",
	.wq_prio = CONFIG_SYSTEM_WORKQUEUE_PRIORITY,
	.wq_static = true,
	.wq_essential = true,
};

/* What stays of the flags of a queue that is started and at rest. */
#define QUEUE_FLAGS_KEPT (K_WORK_QUEUE_STARTED | K_WORK_QUEUE_NO_YIELD)

/* What a queue refuses for. */
#define QUEUE_FLAGS_SHUT (K_WORK_QUEUE_DRAIN | K_WORK_QUEUE_PLUGGED)

/* --- flags --- */

/* Returns the flags before. */
static uint32_t queue_change_flags(struct k_work_q *queue, uint32_t clear, uint32_t set)
{
	uint32_t old = wqi_load_relaxed(&queue->flags);

	while (!wqi_cas(&queue->flags, &old, (old & ~clear) | set))
		;
	return old;
}

/*
 * The queue refuses as its flags say: while it drains all but its own items, plugged or not;
 * else if it is plugged all.  Whoever changes them looks again after the store, so the last
 * store is of the last flags.  Lock-free, AS-safe.
 */
static void queue_follow_flags(const struct k_work_q *queue, struct wq *wq)
{
	uint32_t flags, refuse;
	bool held;

	do {
		flags = wqi_load_seq_cst(&queue->flags);
		held = wqi_load_seq_cst(&queue->wq_held);
		refuse = flags & K_WORK_QUEUE_PLUGGED ? WQI_QUEUE_PLUGGED : 0;
		if (flags & K_WORK_QUEUE_DRAIN)
			refuse = WQI_QUEUE_DRAINING;
		wqi_store_seq_cst(&wq->refuse, held ? WQI_QUEUE_PLUGGED : refuse);
		wqi_pause_point("flags followed");
	} while ((wqi_load_seq_cst(&queue->flags) ^ flags) & QUEUE_FLAGS_SHUT ||
		 wqi_load_seq_cst(&queue->wq_held) != held);
}

/* --- start --- */

/* Does it start by itself?  Others may be starting it, or asking the same. */
static bool queue_is_static(const struct k_work_q *queue)
{
	return wqi_load_relaxed(&queue->wq_static);
}

/*
 * Cooperative threads come before all preemptible ones there, and a lower number before a higher:
 * as nice values do, where they are permitted.
 */
static int queue_nice(int prio)
{
	int nice = prio < 0 ? prio : wqi_runtime.start_nice + prio;

	if (!prio)
		return 0;
	return nice < -20 ? -20 : nice > 19 ? 19 : nice;
}

static struct wqi_dedicated queue_own(const struct k_work_q *queue, bool adopted)
{
	return (struct wqi_dedicated){.name = queue->wq_name ? queue->wq_name : "k_work_q",
				      .nice = adopted ? 0 : queue_nice(queue->wq_prio),
				      .stack_bytes = queue->wq_stack_bytes,
				      .adopted = adopted};
}

/* Make it, and with a thread of its own let it take items.  -EALREADY: another was quicker. */
static int queue_make_locked(struct k_work_q *queue, bool no_yield, bool adopted, struct wq **to)
{
	bool system = queue_is_static(queue) || wqi_load_relaxed(&queue->wq_essential);
	struct wqi_dedicated own;
	int err;

	wqi_assert_held(&wqi_runtime.lock);

	if (wqi_load_acquire(&queue->wq_queue))
		return -EALREADY;
	err = wqi_runtime_start_locked();
	/* wq_shutdown() runs out those that are there. */
	if (!err && system && wqi_runtime.stopping)
		err = -ESHUTDOWN;
	own = queue_own(queue, adopted);
	if (!err)
		err = wqi_queue_make_zephyr_locked(to, queue, system, &own);
	if (err)
		return err;
	if (system)
		wqi_system_list_locked(*to);
	wqi_store_relaxed(&queue->wq_held, false);
	wqi_store_relaxed(&queue->wq_kept, 0u);
	wqi_store_seq_cst(&queue->flags,
			  K_WORK_QUEUE_STARTED | (no_yield ? (uint32_t)K_WORK_QUEUE_NO_YIELD : 0));
	if (!adopted)
		wqi_store_release(&queue->wq_queue, *to);
	return 0;
}

static int queue_make(struct k_work_q *queue, bool no_yield, bool adopted, struct wq **to)
{
	int err = wqi_fork_enter(true);

	if (!err && queue->wq_timeout_ms)
		err = wqi_zephyr_watch_init(queue);
	if (err)
		return err;
	wqi_lock(&wqi_runtime.lock);
	err = queue_make_locked(queue, no_yield, adopted, to);
	wqi_unlock(&wqi_runtime.lock);
	return err;
}

/* It is not started, so it is the caller's alone. */
static bool queue_configure(struct k_work_q *queue, size_t stack_bytes, int prio,
			    const struct k_work_queue_config *config)
{
	static const struct k_work_queue_config usual;

	if (wqi_load_acquire(&queue->wq_queue) ||
	    wqi_load_seq_cst(&queue->flags) & K_WORK_QUEUE_STARTED)
		return false;
	config = config ? config : &usual;
	queue->wq_name = config->name && *config->name ? config->name : NULL;
	queue->wq_stack_bytes = stack_bytes;
	queue->wq_prio = prio;
	queue->wq_timeout_ms = config->work_timeout_ms;
	wqi_store_relaxed(&queue->wq_static, false);
	wqi_store_relaxed(&queue->wq_essential, config->essential);
	return true;
}

int wq_zephyr_queue_start(struct k_work_q *queue, size_t stack_bytes, int prio,
			  const struct k_work_queue_config *config)
{
	struct wq *wq;
	int err;

	if (!queue)
		return -EINVAL;
	if (!queue_configure(queue, stack_bytes, prio, config))
		return -EALREADY;
	err = queue_make(queue, config && config->no_yield, false, &wq);
	queue->wq_name = NULL; /* the queue has a copy */
	return err;
}

int wqi_zephyr_queue_auto(struct k_work_q *queue)
{
	struct wq *wq;
	int err;

	if (!queue || !queue_is_static(queue))
		return queue ? -ENODEV : -EINVAL;
	err = queue_make(queue, wqi_load_seq_cst(&queue->flags) & K_WORK_QUEUE_NO_YIELD, false,
			 &wq);
	return err == -EALREADY ? 0 : err;
}

/* The record of a worker, on the calling thread.  The pool's lock is held when it returns. */
static struct wqi_worker *queue_adopt_thread(struct wqi_pool *pool)
{
	struct wqi_worker *self;

	wqi_pool_lock(pool);
	self = pool->spare;
	if (self)
		pool->spare = self->spare_next;
	wqi_pool_unlock(pool);
	if (!self)
		self = wqi_manager_new_record(pool);
	if (!self)
		return NULL;
	wqi_pool_lock(pool);
	pool->nr_workers++;
	self->aside = true;
	self->cpu_mark_ns = 0;
	self->thread = pthread_self();
	wqi_worker_self = self;
	return self;
}

static void queue_unmake_unserved(struct k_work_q *queue, struct wq *wq)
{
	wqi_lock(&wqi_runtime.lock);
	if (wq->system)
		wqi_system_unlist_locked(wq);
	wqi_unlock(&wqi_runtime.lock);
	wqi_queue_unmake(wq);
	wqi_store_seq_cst(&queue->flags, 0u);
}

int wq_zephyr_queue_run(struct k_work_q *queue, const struct k_work_queue_config *config)
{
	struct wqi_worker *self;
	struct wq *wq;
	int err;

	if (!queue)
		return -EINVAL;
	if (wqi_worker_self)
		return -EDEADLK;
	if (!queue_configure(queue, 0, 0, config))
		return -EALREADY;
	err = queue_make(queue, config && config->no_yield, true, &wq);
	queue->wq_name = NULL;
	if (err)
		return err;
	self = queue_adopt_thread(wq->own);
	if (!self) {
		queue_unmake_unserved(queue, wq);
		return -ENOMEM;
	}
	wqi_zephyr_note_thread(self->pool, self->thread);
	wqi_store_release(&queue->wq_queue, wq);
	wqi_worker_work_locked(self);
	return 0;
}

void wqi_zephyr_note_thread(struct wqi_pool *pool, pthread_t thread)
{
	wqi_store_relaxed(&pool->zephyr->zephyr->thread_id, thread);
}

k_tid_t wq_zephyr_queue_thread(struct k_work_q *queue)
{
	if (queue_is_static(queue) && !wqi_load_acquire(&queue->wq_queue))
		wqi_zephyr_queue_auto(queue);
	return wqi_load_relaxed(&queue->thread_id);
}

/* --- drain and plug --- */

static bool queue_is_idle(struct wq *wq)
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

static void queue_begin_drain(struct k_work_q *queue, struct wq *wq, bool plug)
{
	wqi_lock(&wq->mutex);
	wq->nr_drainers++;
	queue_change_flags(queue, 0,
			   K_WORK_QUEUE_DRAIN | (plug ? (uint32_t)K_WORK_QUEUE_PLUGGED : 0));
	queue_follow_flags(queue, wq);
	wqi_unlock(&wq->mutex);
}

/* ORD-PARK (a): it takes items again, then the shards are told. */
static void queue_end_drain(struct k_work_q *queue, struct wq *wq)
{
	bool last;

	wqi_lock(&wq->mutex);
	last = !--wq->nr_drainers;
	if (last) {
		queue_change_flags(queue, K_WORK_QUEUE_DRAIN, 0);
		queue_follow_flags(queue, wq);
	}
	wqi_unlock(&wq->mutex);
	if (last)
		wqi_timers_unpark();
}

/* Who uses a queue for longer than a section is counted, and waited for by who stops it. */
static struct wq *queue_get(struct k_work_q *queue)
{
	unsigned token = wqi_rcu_read_lock();
	struct wq *wq = wqi_load_acquire(&queue->wq_queue);

	if (wq)
		wqi_add(&queue->wq_users, 1);
	wqi_rcu_read_unlock(token);
	return wq;
}

/* The memory may be its owner's afterwards: only its address is used. */
static void queue_put(struct k_work_q *queue)
{
	if (wqi_sub(&queue->wq_users, 1) == 1)
		wqi_futex_wake(&queue->wq_users, INT_MAX);
}

static void queue_wait_users(struct k_work_q *queue)
{
	uint32_t nr;

	wqi_rcu_synchronize();
	while ((nr = wqi_load_acquire(&queue->wq_users)))
		wqi_futex_wait(&queue->wq_users, nr, WQI_NO_TIMEOUT);
}

static int queue_drain(struct k_work_q *queue, struct wq *wq, bool plug)
{
	int err = wqi_worker_may_wait(wq);

	if (err)
		return err;
	/* Our caller may have been answered 0 because of a claim on its way. */
	wqi_rcu_synchronize();
	if (!plug && !(wqi_load_seq_cst(&queue->flags) & K_WORK_QUEUE_DRAIN) && queue_is_idle(wq))
		return 0;
	queue_begin_drain(queue, wq, plug);
	wqi_queue_wait_idle(wq);
	queue_end_drain(queue, wq);
	return 1;
}

int wq_zephyr_queue_drain(struct k_work_q *queue, bool plug)
{
	struct wq *wq;
	int ret = 0;

	wqi_fork_enter(false);
	if (plug && !wqi_load_acquire(&queue->wq_queue))
		ret = wqi_zephyr_queue_auto(queue);
	wq = queue_get(queue);
	if (!wq)
		return ret;
	ret = queue_drain(queue, wq, plug);
	queue_put(queue);
	return ret;
}

int wq_zephyr_queue_unplug(struct k_work_q *queue)
{
	unsigned token;
	struct wq *wq;

	if (!(queue_change_flags(queue, K_WORK_QUEUE_PLUGGED, 0) & K_WORK_QUEUE_PLUGGED))
		return -EALREADY;
	wqi_fork_enter(false);
	token = wqi_rcu_read_lock();
	wq = wqi_load_acquire(&queue->wq_queue);
	if (wq)
		queue_follow_flags(queue, wq);
	wqi_rcu_read_unlock(token);
	wqi_timers_ask_unpark();
	return 0;
}

uint32_t wq_zephyr_timers_kept(const struct k_work_q *queue)
{
	return wqi_load_relaxed(&queue->wq_kept);
}

void wqi_zephyr_note_kept(struct wq *wq)
{
	wqi_add(&wq->zephyr->wq_kept, 1);
}

/* --- stop --- */

/*
 * Another is stopping it: see what becomes of that.  0 it is stopped; -EAGAIN it is not; or
 * -ETIMEDOUT.
 */
static int queue_wait_stopper(struct k_work_q *queue, uint64_t until_ns)
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
static int queue_begin_stop_rcu(struct k_work_q *queue, struct wq **wq)
{
	uint32_t flags = wqi_load_seq_cst(&queue->flags);

	*wq = wqi_load_acquire(&queue->wq_queue);
	if (!*wq && flags & K_WORK_QUEUE_STOP)
		return -EINPROGRESS;
	if (!*wq)
		return queue_is_static(queue) ? -EBUSY : -EALREADY;
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
static int queue_wait_idle_until(struct k_work_q *queue, struct wq *wq, uint64_t until_ns)
{
	uint32_t event;

	wqi_rcu_synchronize();
	for (;;) {
		event = wqi_load_seq_cst(&queue->wq_event);
		if (queue_is_idle(wq))
			return 0;
		if (wqi_now_ns() >= until_ns)
			return -ETIMEDOUT;
		wqi_futex_wait_until(&queue->wq_event, event, until_ns);
	}
}

/* Nothing is armed on it, and it is nobody's but ours; or why not. */
static int queue_close(struct wq *wq)
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

static void queue_wake_stoppers(struct k_work_q *queue)
{
	wqi_futex_wake(&queue->flags, INT_MAX);
}

static void queue_end(struct k_work_q *queue, struct wq *wq)
{
	wqi_store_seq_cst(&queue->wq_held, true);
	queue_follow_flags(queue, wq);
	wqi_store_relaxed(&wq->ending, true);
	wqi_queue_wait_idle(wq);
	wqi_store_release(&queue->wq_queue, (struct wq *)NULL);
	queue_wait_users(queue);
	wqi_zephyr_watch_end(queue);
	wqi_queue_unmake(wq);
	wqi_store_relaxed(&queue->thread_id, (k_tid_t)0);
	wqi_store_relaxed(&queue->wq_static, false);
	/* Whoever else stops it may free it from here on: only its address is used. */
	wqi_store_seq_cst(&queue->flags, 0u);
	queue_wake_stoppers(queue);
}

static int queue_stop(struct k_work_q *queue, struct wq *wq, uint64_t until_ns)
{
	int err = queue_wait_idle_until(queue, wq, until_ns);

	if (!err)
		err = queue_close(wq);
	if (!err) {
		queue_end(queue, wq);
		return 0;
	}
	queue_change_flags(queue, K_WORK_QUEUE_STOP, 0);
	queue_wake_stoppers(queue);
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
		err = queue_begin_stop_rcu(queue, &wq);
		wqi_rcu_read_unlock(token);
		if (err == -EINPROGRESS)
			err = queue_wait_stopper(queue, until_ns);
		else if (!err)
			err = queue_stop(queue, wq, until_ns);
	} while (err == -EAGAIN);
	return err;
}

/* --- wq_shutdown() and fork() --- */

void wqi_zephyr_queue_hold(struct wq *wq)
{
	wqi_store_seq_cst(&wq->zephyr->wq_held, true);
	queue_follow_flags(wq->zephyr, wq);
	wqi_rcu_synchronize();
}

void wqi_zephyr_queue_release(struct wq *wq)
{
	wqi_store_seq_cst(&wq->zephyr->wq_held, false);
	queue_follow_flags(wq->zephyr, wq);
	wqi_timers_unpark(); /* ORD-PARK (a) */
}

void wqi_zephyr_queue_unwatch(struct wq *wq)
{
	wqi_zephyr_watch_end(wq->zephyr);
}

/* One that starts by itself will do so again. */
void wqi_zephyr_queue_stopped(struct wq *wq)
{
	struct k_work_q *queue = wq->zephyr;

	wqi_store_release(&queue->wq_queue, (struct wq *)NULL);
	wqi_store_relaxed(&queue->thread_id, (k_tid_t)0);
	queue_change_flags(queue, queue_is_static(queue) ? ~(uint32_t)QUEUE_FLAGS_KEPT : ~0u, 0);
}

/* Plugged stays plugged.  Whoever was stopping it is not there: it is stopped. */
void wqi_zephyr_queue_reset(struct wq *wq)
{
	struct k_work_q *queue = wq->zephyr;

	wqi_store_relaxed(&queue->thread_id, (k_tid_t)0);
	wqi_store_relaxed(&queue->wq_begun_ns, UINT64_C(0));
	wqi_store_relaxed(&queue->wq_held, false);
	wqi_store_relaxed(&queue->wq_users, 0u);
	if (wqi_load_relaxed(&wq->ending)) {
		wqi_store_relaxed(&queue->wq_queue, (struct wq *)NULL);
		queue_change_flags(queue, ~0u, 0);
		return;
	}
	queue_change_flags(queue, ~(uint32_t)(QUEUE_FLAGS_KEPT | K_WORK_QUEUE_PLUGGED), 0);
	queue_follow_flags(queue, wq);
}
