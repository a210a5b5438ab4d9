/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the loop that runs items: what to start next, when to spin, when to sleep,
 * when to fetch help.  Makes no threads.
 */
#include "worker.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "cpu.h"
#include "flush.h"
#include "limit.h"
#include "ids.h"
#include "manager.h"
#include "pwq.h"
#include "queue.h"
#include "watch.h"

/* Items between two readings of the clock. */
#define BATCH_ITEMS 64u

__thread struct wqi_worker *wqi_worker_self;

bool wqi_worker_serves(const struct wq *wq)
{
	struct wqi_worker *self = wqi_worker_self;

	return self && self->current_work && wqi_pwq_wq(self->current_pwq) == wq;
}

/* --- who counts as running --- */

void wqi_worker_uncount_locked(struct wqi_worker *worker)
{
	worker->counted = false;
	worker->pool->nr_running--;
	wqi_pool_hand_over_locked(worker->pool);
}

static void worker_count_locked(struct wqi_worker *self)
{
	self->counted = true;
	self->pool->nr_running++;
	/* ORD-SLEEP: before the inbox is looked at; whoever was to be woken need not be. */
	wqi_xchg(&self->pool->kick, WQI_KICK_NOBODY);
	if (!self->pool->watched)
		wqi_pool_call_watch_locked(self->pool);
}

/* --- what an item costs, and whether help is worth it --- */

static void worker_batch_begin_locked(struct wqi_worker *self)
{
	self->batch_start_ns = wqi_now_ns();
	self->batch_started = self->pool->nr_started;
	self->batch_items = 0;
}

/*
 * Follows a falling cost at once and a rising one by a factor of four a batch, so
 * that a worker that was preempted once does not look expensive.
 */
static void worker_batch_end_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	uint64_t sample;

	if (!self->batch_items)
		return;
	sample = (wqi_now_ns() - self->batch_start_ns) / self->batch_items + 1;
	if (!pool->item_ns || sample < pool->item_ns)
		pool->item_ns = (pool->item_ns + sample) / (pool->item_ns ? 2 : 1);
	else if (sample > 4 * pool->item_ns + 200)
		pool->item_ns = 4 * pool->item_ns + 200;
	else
		pool->item_ns = (3 * pool->item_ns + sample) / 4;
}

/*
 * May this worker go on?  As in Linux; besides, one of several leaves where items
 * are so cheap that it is a burden, if the others do get on.
 */
static bool keep_working_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	uint64_t others;
	bool burden;

	if (pool->nr_running > pool->level || wqi_unlikely(pool->give_up))
		return false;
	if (wqi_likely(self->batch_items < BATCH_ITEMS))
		return true;
	others = pool->nr_started - self->batch_started - self->batch_items;
	burden = pool->nr_running > 1 && others >= BATCH_ITEMS / 4;
	worker_batch_end_locked(self);
	worker_batch_begin_locked(self);
	return !burden || pool->item_ns >= WQI_HELP_BURDEN_NS;
}

/* Another could run, and items wait: wake it, if nobody is on the way already. */
static void worker_fetch_help_locked(struct wqi_pool *pool)
{
	struct wqi_worker *next;

	if (pool->nr_running >= pool->level || !wqi_items_are_worth_help_locked(pool) ||
	    !wqi_pool_has_work_locked(pool))
		return;
	if (cds_list_empty(&pool->idle)) {
		if (!pool->nr_creating && !wqi_load_relaxed(&wqi_limit_reached))
			wqi_manager_request(pool);
		return;
	}
	next = cds_list_first_entry(&pool->idle, struct wqi_worker, idle_node);
	if (!wqi_load_relaxed(&next->wake))
		wqi_pool_wake_one_locked(pool);
}

/* --- running an item --- */

static void worker_set_busy_locked(struct wqi_worker *self, struct wq_work *work,
				   struct wqi_pwq *pwq)
{
	struct wqi_worker **bucket = &self->pool->busy[wqi_pool_bucket(work)];

	self->busy_next = *bucket;
	*bucket = self;
	/* ORD-RUNNING (a): all of it before PENDING clears. */
	wqi_store_release(&self->current_pwq, pwq);
	wqi_store_release(&self->current_fn, work->wq_fn);
	wqi_store_release(&self->current_work, work);
}

static void worker_clear_busy_locked(struct wqi_worker *self)
{
	struct wqi_worker **at = &self->pool->busy[wqi_pool_bucket(self->current_work)];

	while (*at != self)
		at = &(*at)->busy_next;
	*at = self->busy_next;
	wqi_store_release(&self->current_work, (struct wq_work *)NULL);
}

static struct wqi_pwq *worker_pwq_of_locked(struct wq_work *work)
{
	return wqi_ids_get(wqi_state_id(wqi_state(work)));
}

/*
 * The first item that may start, off its list and holding one of its pwq's
 * nr_active; NULL if there is none.
 */
static struct wq_work *worker_next_locked(struct wqi_worker *self, struct wqi_pwq **pwq)
{
	struct wqi_pool *pool = self->pool;
	struct wqi_worker *other;
	struct wq_work *work;

	for (;;) {
		if (wqi_unlikely(!cds_list_empty(&pool->ready_list))) {
			work = wqi_link_work(pool->ready_list.next);
			*pwq = worker_pwq_of_locked(work);
		} else if (!cds_list_empty(&pool->worklist)) {
			work = wqi_link_work(pool->worklist.next);
			*pwq = worker_pwq_of_locked(work);
			if (wqi_unlikely(!wqi_pwq_has_room_locked(*pwq) ||
					 !cds_list_empty(&(*pwq)->inactive))) {
				cds_list_del(wqi_work_link(work));
				cds_list_add_tail(wqi_work_link(work), &(*pwq)->inactive);
				continue;
			}
			(*pwq)->nr_active++;
		} else {
			if (!wqi_pool_splice_locked(pool))
				return NULL;
			continue;
		}
		other = wqi_pool_find_running_locked(pool, work);
		if (wqi_likely(!other)) {
			wqi_work_unlist_locked(work);
			return work;
		}
		/* It runs just now: it waits for that run, and nobody for it (G2). */
		cds_list_del(wqi_work_link(work));
		cds_list_add_tail(wqi_work_link(work), &other->scheduled);
		wqi_state_change(work, 0, WQI_COUNTED);
	}
}

/* The item that runs has queued itself: from here on it is on the worklist. */
static void worker_accept_requeued_locked(struct wqi_worker *self, struct wqi_pwq *pwq)
{
	struct wq_work *work = self->requeued;
	uint64_t state = wqi_state(work);

	wqi_store_relaxed(&self->requeued, (struct wq_work *)NULL);
	if (wqi_unlikely(state & WQI_CANCEL)) {
		wqi_pool_unclaim_locked(self->pool, work);
		return;
	}
	/* What others queued meanwhile goes first, or it might be passed for ever (G3). */
	wqi_pool_splice_locked(self->pool);
	wqi_pwq_accept_requeued_locked(pwq, state);
	cds_list_add_tail(wqi_work_link(work), &self->pool->worklist);
}

void wqi_worker_finish_locked(struct wqi_worker *self, struct wqi_pwq *pwq)
{
	if (wqi_load_relaxed(&self->requeued))
		worker_accept_requeued_locked(self, pwq);
	if (wqi_unlikely(self->described))
		self->described = false;
	worker_clear_busy_locked(self);
	if (wqi_unlikely(!cds_list_empty(&self->waiters)))
		wqi_flush_finished_locked(self);
	wqi_pwq_finish_locked(pwq, self->current_color, true);
}

/*
 * Run one item, off its list and counted as active.  The lock is dropped while fn
 * runs.
 */
static void worker_run_locked(struct wqi_worker *self, struct wq_work *work, struct wqi_pwq *pwq)
{
	struct wqi_pool *pool = self->pool;
	wq_work_fn fn = work->wq_fn;
	void *ctx = work->wq_ctx;
	bool intensive = wqi_pwq_wq(pwq)->flags & WQ_CPU_INTENSIVE && !pool->dedicated;
	uint64_t state;

	worker_set_busy_locked(self, work, pwq);
	wqi_yield_point();
	/* ORD-PENDING (b): from here on the item is its function's. */
	state = wqi_state_change(work, WQI_PENDING_ALL, 0);
	self->current_color = wqi_state_color(state);

	if (wqi_unlikely(state & WQI_LINKED))
		wqi_flush_started_locked(self, work);
	if (wqi_likely(!(state & WQI_CANCEL))) {
		self->batch_items++;
		wqi_count(&pool->nr_started, 1);
		if (intensive)
			wqi_worker_uncount_locked(self);
		else
			worker_fetch_help_locked(pool);
		wqi_pool_unlock(pool);

		wqi_yield_point();
		fn(work, ctx);
		/* The child of a fork() in fn: its only thread has nothing more to do. */
		if (wqi_unlikely(wqi_worker_self != self))
			exit(0);

		wqi_pool_lock(pool);
		if (wqi_unlikely(!self->counted))
			worker_count_locked(self);
		if (wqi_unlikely(!pool->watched))
			wqi_pool_call_watch_locked(pool);
	}
	wqi_worker_finish_locked(self, pwq);
}

static void worker_run_scheduled_locked(struct wqi_worker *self)
{
	struct wq_work *work;

	while (!cds_list_empty(&self->scheduled)) {
		work = wqi_link_work(self->scheduled.next);
		wqi_work_unlist_locked(work);
		worker_run_locked(self, work, worker_pwq_of_locked(work));
	}
}

/* --- waiting for items --- */

/*
 * Wait a little for the inbox without sleeping, if that has paid lately and nobody
 * else does.  After a batch from a producer in full flow the inbox is first left
 * alone for a while: to take items one by one would move its line for each.
 *
 * Returns true if it is worth looking at the inbox.
 */
static bool worker_spin_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	uint64_t start, alone_ns = pool->lazy_ns, max = wqi_load_relaxed(&wqi_config.spin_max_ns);
	uint64_t ns;
	bool hit;

	if (alone_ns > max)
		alone_ns = max;
	ns = alone_ns + wqi_load_relaxed(&pool->idle_spin.ns);

	if (pool->cpu >= 0 || wqi_cpus.nr_usable < 2 || pool->spinning || pool->nr_running > 1 ||
	    !ns)
		return false;
	pool->spinning = true;
	wqi_pool_unlock(pool);

	start = wqi_now_ns();
	while (alone_ns && wqi_now_ns() - start < alone_ns)
		sched_yield();
	hit = wqi_spin_until(!wqi_inbox_is_empty(&pool->inbox), start, ns);

	wqi_pool_lock(pool);
	pool->spinning = false;
	if (!hit)
		pool->lazy_ns = 0;
	return hit || wqi_pool_has_work_locked(pool);
}

static void worker_become_running_locked(struct wqi_worker *self)
{
	worker_count_locked(self);
	worker_batch_begin_locked(self);
}

/* Be idle.  True: there may be work; false: to end. */
static bool worker_idle_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;

	worker_batch_end_locked(self);
	wqi_store_seq_cst(&self->wake, 0);
	self->idle_since_ns = wqi_now_ns();
	pool->last_cpu = wqi_cpu_current();
	self->idle = true;
	cds_list_add(&self->idle_node, &pool->idle);
	pool->nr_idle++;
	wqi_worker_uncount_locked(self);
	if (wqi_too_many_workers_locked(pool) && !pool->retire_timed) {
		pool->retire_timed = true;
		wqi_manager_request(pool);
	}

	if (pool->give_up) {
		pool->give_up = false;
		self->retire = true;
	}
	if (pool->closing || self->retire)
		wqi_xchg(&self->wake, 1);

	wqi_pool_unlock(pool);
	while (!wqi_load_seq_cst(&self->wake))
		wqi_futex_wait(&self->wake, 0, WQI_NO_TIMEOUT);
	wqi_pool_lock(pool);

	cds_list_del(&self->idle_node);
	self->idle = false;
	pool->nr_idle--;
	wqi_spin_adapt(&pool->idle_spin, wqi_now_ns() - self->idle_since_ns);
	return !self->retire && !pool->closing;
}

/* --- waiting inside the library --- */

bool wqi_worker_wait_begin(void)
{
	struct wqi_worker *self = wqi_worker_self;
	bool uncounted;

	if (!self || self->pool->dedicated)
		return false;
	wqi_pool_lock(self->pool);
	uncounted = self->counted;
	if (uncounted)
		wqi_worker_uncount_locked(self);
	wqi_pool_unlock(self->pool);
	return uncounted;
}

void wqi_worker_wait_end(bool uncounted)
{
	struct wqi_worker *self = wqi_worker_self;

	if (!uncounted)
		return;
	wqi_pool_lock(self->pool);
	worker_count_locked(self);
	wqi_pool_unlock(self->pool);
}

/* --- the loop --- */

static bool worker_wants_reserve_locked(const struct wqi_pool *pool)
{
	return !pool->nr_idle && !pool->nr_creating && !pool->dedicated &&
	       !wqi_load_relaxed(&wqi_limit_reached);
}

void wqi_worker_loop_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	struct wqi_pwq *pwq = NULL;
	struct wq_work *work;

	do {
		worker_become_running_locked(self);
		while (keep_working_locked(self)) {
			work = worker_next_locked(self, &pwq);
			if (!work) {
				if (!worker_spin_locked(self))
					break;
				worker_batch_begin_locked(self);
				continue;
			}
			/* One idle worker in reserve, as long as there is work. */
			if (wqi_unlikely(worker_wants_reserve_locked(pool)))
				wqi_manager_request(pool);
			worker_run_locked(self, work, pwq);
			worker_run_scheduled_locked(self);
		}
	} while (worker_idle_locked(self));
}
