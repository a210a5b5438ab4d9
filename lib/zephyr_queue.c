/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns a k_work_q's flags, its start, and what wq_shutdown() and fork() do with it.  Its thread is
 * in zephyr_thread.c, its end in zephyr_drain.c.
 */
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

uint32_t wqi_zephyr_change_flags(struct k_work_q *queue, uint32_t clear, uint32_t set)
{
	uint32_t old = wqi_load_relaxed(&queue->flags);

	while (!wqi_cas(&queue->flags, &old, (old & ~clear) | set))
		;
	return old;
}

void wqi_zephyr_follow_flags(const struct k_work_q *queue, struct wq *wq)
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
	if (queue->wq_timeout_ms)
		wqi_zephyr_watch_init(queue);
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
		err = wqi_zephyr_watch_prepare();
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
		self = wqi_worker_new(pool);
	if (!self)
		return NULL;
	wqi_pool_lock(pool);
	pool->nr_workers++;
	self->aside = true;
	self->cpu_mark_ns = self->cpu_mark_run = 0;
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

uint32_t wq_zephyr_timers_kept(const struct k_work_q *queue)
{
	return wqi_load_relaxed(&queue->wq_kept);
}

/* Once for each time that it was set to. */
void wqi_zephyr_note_kept(struct wq *wq, const struct wq_delayed_work *dw)
{
	struct k_work *item = wqi_zephyr_work(&dw->work);
	uint32_t mark = (uint32_t)dw->wq_timer.wq_expires_ns | 1;

	if (item->wq_kept == mark)
		return;
	item->wq_kept = mark;
	wqi_add(&wq->zephyr->wq_kept, 1);
}

/* --- wq_shutdown() and fork() --- */

void wqi_zephyr_queue_hold(struct wq *wq)
{
	wqi_store_seq_cst(&wq->zephyr->wq_held, true);
	wqi_zephyr_follow_flags(wq->zephyr, wq);
	wqi_rcu_synchronize();
}

void wqi_zephyr_queue_release(struct wq *wq)
{
	wqi_store_seq_cst(&wq->zephyr->wq_held, false);
	wqi_zephyr_follow_flags(wq->zephyr, wq);
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
	wqi_zephyr_change_flags(queue, queue_is_static(queue) ? ~(uint32_t)QUEUE_FLAGS_KEPT : ~0u,
				0);
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
		wqi_zephyr_change_flags(queue, ~0u, 0);
		return;
	}
	wqi_zephyr_change_flags(queue, ~(uint32_t)(QUEUE_FLAGS_KEPT | K_WORK_QUEUE_PLUGGED), 0);
	wqi_zephyr_follow_flags(queue, wq);
}
