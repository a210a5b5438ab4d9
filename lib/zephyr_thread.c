/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the loop of a k_work_q's thread, which keeps the flags that its user reads, and the watch
 * over items that run for long.  Starts and stops nothing.
 */
#include "zephyr.h"

#include <errno.h>
#include <sched.h>

#include "clock.h"
#include "futex.h"
#include "pwq.h"
#include "queue.h"
#include "report.h"
#include "table.h"
#include "worker.h"

#include <wq/wq.h>

/* Items between two readings of the clock. */
#define THREAD_BATCH 64u

/* Nothing more is there: who stops the queue waits for that. */
static void thread_say_empty(struct k_work_q *queue)
{
	if (wqi_likely(!(wqi_load_seq_cst(&queue->flags) & K_WORK_QUEUE_STOP)))
		return;
	wqi_add(&queue->wq_event, 1);
	wqi_futex_wake(&queue->wq_event, INT_MAX);
}

static struct wq_work *thread_next_locked(struct wqi_worker *self, struct k_work_q *queue,
					  struct wqi_pwq *pwq)
{
	struct wq_work *work;

	while (!(work = wqi_worker_next_of_locked(self->pool, pwq))) {
		thread_say_empty(queue);
		if (!wqi_worker_spin_locked(self))
			return NULL;
		wqi_worker_batch_begin_locked(self);
	}
	return work;
}

/* K_WORK_QUEUE_BUSY is set before the item stops being queued, and cleared when it does not run. */
static void thread_run_locked(struct wqi_worker *self, struct k_work_q *queue, struct wq_work *work,
			      struct wqi_pwq *pwq)
{
	struct wqi_pool *pool = self->pool;

	wqi_or(&queue->flags, (uint32_t)K_WORK_QUEUE_BUSY);
	self->marked = true; /* for wqi_zephyr_ended_locked() */
	wqi_worker_run_locked(self, work, pwq);
	if (self->batch_items >= THREAD_BATCH)
		wqi_worker_batch_end_locked(self);
	if (wqi_load_relaxed(&queue->flags) & K_WORK_QUEUE_NO_YIELD)
		return;
	wqi_pool_unlock(pool);
	sched_yield();
	wqi_pool_lock(pool);
}

void wqi_zephyr_loop_locked(struct wqi_worker *self)
{
	struct wq *wq = self->pool->zephyr;
	struct k_work_q *queue = wq->zephyr;
	struct wqi_pwq *pwq = wqi_load_acquire(&wq->table)->pwqs;
	struct wq_work *work;

	/* Of one that was made in place of another, or in a child of fork(), nobody has said it. */
	wqi_zephyr_note_thread(self->pool, pthread_self());
	do {
		if (!wqi_worker_is_needed_locked(self))
			continue;
		while ((work = thread_next_locked(self, queue, pwq)))
			thread_run_locked(self, queue, work, pwq);
	} while (wqi_worker_idle_locked(self));
}

void wqi_zephyr_ended_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	struct k_work_q *queue = pool->zephyr->zephyr;

	wqi_store_relaxed(&queue->wq_begun_ns, UINT64_C(0));
	wqi_and(&queue->flags, ~(uint32_t)K_WORK_QUEUE_BUSY);
	/* ORD-CANCELLED (b) */
	wqi_store_seq_cst(&self->current_work, (struct wq_work *)NULL);
	if (wqi_unlikely(wqi_load_seq_cst(&pool->cancelled)))
		wqi_zephyr_let_go(pool);
}

/* --- items that run for long --- */

static wq_zephyr_timeout_fn watch_told; /* A, release/acquire */

void wq_zephyr_set_timeout(wq_zephyr_timeout_fn fn)
{
	wqi_store_release(&watch_told, fn);
}

static uint64_t watch_timeout_ns(const struct k_work_q *queue)
{
	return (uint64_t)queue->wq_timeout_ms * 1000000u;
}

static void watch_tell(struct k_work_q *queue, uint64_t begun_ns)
{
	wq_zephyr_timeout_fn told = wqi_load_acquire(&watch_told);
	struct k_work *work = wqi_load_relaxed(&queue->wq_runs);
	k_work_handler_t handler = wqi_load_relaxed(&queue->wq_handler);

	if (wqi_load_acquire(&queue->wq_begun_ns) != begun_ns)
		return; /* it has ended just now */
	if (told)
		told(queue, work, handler);
	else
		wqi_report("k_work_q %p: item %p, function %p, runs for longer than %u ms",
			   (void *)queue, (void *)work, (void *)(uintptr_t)handler,
			   queue->wq_timeout_ms);
}

/*
 * The time-out is set once, and not for each item: when it comes, what runs then is looked at,
 * and it is set anew for that.  An idle queue has none.
 */
static void watch_fn(struct wq_work *work, void *ctx)
{
	struct k_work_q *queue = ctx;
	uint64_t begun_ns = wqi_load_acquire(&queue->wq_begun_ns), now_ns = wqi_now_ns();
	uint64_t until_ns = begun_ns + watch_timeout_ns(queue);

	if (!begun_ns || begun_ns == queue->wq_reported_ns)
		return;
	if (now_ns < until_ns) {
		wq_queue_delayed(wq_current_wq(), &queue->wq_watch, until_ns - now_ns);
		return;
	}
	queue->wq_reported_ns = begun_ns;
	watch_tell(queue, begun_ns);
}

int wqi_zephyr_watch_prepare(void)
{
	int saved = errno, err = 0;

	if (!wq_system())
		err = -errno;
	errno = saved;
	return err;
}

void wqi_zephyr_watch_init(struct k_work_q *queue)
{
	wq_delayed_work_init(&queue->wq_watch, watch_fn, queue);
}

/* Two runs may begin in the same nanosecond of a coarse clock: they are told apart by one. */
void wqi_zephyr_watch(struct k_work_q *queue, struct k_work *work)
{
	uint64_t now_ns = wqi_now_ns();

	wqi_store_relaxed(&queue->wq_runs, work);
	wqi_store_relaxed(&queue->wq_handler, work->handler);
	wqi_store_release(&queue->wq_begun_ns, now_ns);
	wq_queue_delayed(wq_system(), &queue->wq_watch, watch_timeout_ns(queue));
}

void wqi_zephyr_watch_end(struct k_work_q *queue)
{
	if (queue->wq_timeout_ms)
		wq_delayed_work_cancel_sync(&queue->wq_watch);
}
