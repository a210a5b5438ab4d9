/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the loop that runs items: what to start next, and what belongs to a run.  Makes
 * no threads; help.c fetches other workers, idle.c sleeps.
 */
#include "worker.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "bias.h"
#include "block.h"
#include "charge.h"
#include "cpu.h"
#include "flush.h"
#include "help.h"
#include "ids.h"
#include "manager.h"
#include "place.h"
#include "pwq.h"
#include "queue.h"
#include "rescuer.h"
#include "sentinel.h"
#include "zephyr.h"

/* Items between two readings of the clock; and where they are dear, or seem so. */
#define BATCH_ITEMS 64u
#define BATCH_DEAR  8u

/* So few items that take so long are not cheap ones beside a preemption. */
#define BATCH_FEW     4u
#define BATCH_LONG_NS 500000u

/* Items that cost so much look for a CPU each; of cheaper ones the first of a batch. */
#define PLACE_EACH_NS 50000u

/* Cheap items between two looks whether the CPU's sentinel is armed. */
#define ARM_ITEMS 16u

__thread struct wqi_worker *wqi_worker_self;

bool wqi_worker_serves(const struct wq *wq)
{
	struct wqi_worker *self = wqi_worker_self;

	return self && self->current_work && wqi_pwq_wq(self->current_pwq) == wq;
}

/* --- what an item costs, and whether help is worth it --- */

static void worker_batch_begin_at_locked(struct wqi_worker *self, uint64_t now)
{
	self->batch_start_ns = now;
	self->batch_started = self->pool->nr_started;
	self->batch_items = 0;
}

void wqi_worker_batch_begin_locked(struct wqi_worker *self)
{
	worker_batch_begin_at_locked(self, wqi_now_ns());
}

/*
 * Follows a falling cost at once, and a rising one by a factor of four a batch, so
 * that a worker that was preempted once does not look expensive; but of a few long
 * items at once.
 */
static void worker_learn_cost_locked(struct wqi_pool *pool, uint64_t sample, bool few)
{
	if (!pool->item_ns || sample < pool->item_ns)
		pool->item_ns = (pool->item_ns + sample) / (pool->item_ns ? 2 : 1);
	else if (few && sample >= BATCH_LONG_NS)
		pool->item_ns = (pool->item_ns + sample) / 2;
	else if (sample > 4 * pool->item_ns + 200)
		pool->item_ns = 4 * pool->item_ns + 200;
	else
		pool->item_ns = (3 * pool->item_ns + sample) / 4;
}

void wqi_worker_batch_end_locked(struct wqi_worker *self)
{
	uint64_t now, wall_ns;

	if (!self->batch_items)
		return;
	now = wqi_now_ns();
	wall_ns = now - self->batch_start_ns;
	wqi_charge_batch(self, wall_ns);
	worker_learn_cost_locked(self->pool, wall_ns / self->batch_items + 1,
				 self->batch_items <= BATCH_FEW);
	worker_batch_begin_at_locked(self, now);
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

	if (wqi_pool_is_over_locked(pool) || wqi_unlikely(pool->give_up))
		return false;
	if (wqi_likely(self->batch_items < BATCH_ITEMS) &&
	    (self->batch_items < BATCH_DEAR || pool->item_ns < WQI_DEAR_NS))
		return true;
	others = pool->nr_started - self->batch_started - self->batch_items;
	burden = pool->nr_running > 1 && others >= BATCH_ITEMS / 4;
	wqi_worker_batch_end_locked(self);
	wqi_bias_batch_locked(self);
	return !burden || pool->item_ns >= WQI_HELP_BURDEN_NS;
}

/* Where items are cheap, the next comes before help would; but one may block. */
static inline bool worker_provide_cheaply_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	bool wait = wqi_pool_has_work_locked(pool);

	if (wqi_unlikely(pool->offered))
		wqi_pool_withdraw_locked(pool);
	wqi_help_say_waiting(self, wait);
	if (!wait)
		return false;
	if (wqi_unlikely(wqi_pool_has_room_locked(pool)) && pool->item_ns >= WQI_HELP_WORTH_NS)
		wqi_help_fetch_locked(pool);
	if (wqi_likely(self->batch_items % ARM_ITEMS != 1))
		return false;
	wqi_place_say(self);
	return true;
}

/* --- running an item --- */

static void worker_set_busy_locked(struct wqi_worker *self, struct wq_work *work,
				   struct wqi_pwq *pwq)
{
	struct wqi_worker **bucket = &self->pool->busy[wqi_pool_bucket(work)];

	self->busy_next = *bucket;
	self->busy_bucket = bucket;
	*bucket = self;
	/* ORD-RUNNING (a): all of it before PENDING clears. */
	wqi_store_release(&self->current_pwq, pwq);
	wqi_store_release(&self->current_fn, work->wq_fn);
	wqi_store_release(&self->current_work, work);
}

static void worker_clear_busy_locked(struct wqi_worker *self)
{
	struct wqi_worker **at = self->busy_bucket;

	while (*at != self)
		at = &(*at)->busy_next;
	*at = self->busy_next;
	wqi_store_release(&self->current_work, (struct wq_work *)NULL);
}

static struct wqi_pwq *worker_pwq_of_locked(struct wq_work *work)
{
	return wqi_ids_get(wqi_state_id(wqi_state(work)));
}

/* Where it runs just now, it waits for that run, and nobody for it (G2). */
static bool worker_collides_locked(struct wqi_pool *pool, struct wq_work *work)
{
	struct wqi_worker *other;

	if (wqi_likely(!pool->busy[wqi_pool_bucket(work)]))
		return false;
	other = wqi_pool_find_running_locked(pool, work);
	if (!other)
		return false;
	cds_list_del(wqi_work_link(work));
	cds_list_add_tail(wqi_work_link(work), &other->scheduled);
	wqi_state_change(work, 0, WQI_COUNTED);
	return true;
}

/*
 * Take an item off its list, if it may start: from the worklist, it holds one of its
 * pwq's nr_active then.  False: it waits for others now.
 */
static inline bool worker_take_locked(struct wqi_pool *pool, struct cds_list_head *link,
				      struct wqi_pwq *pwq, bool ready)
{
	if (!ready && wqi_unlikely(!wqi_pwq_start_locked(pwq, link)))
		return false;
	if (worker_collides_locked(pool, wqi_link_work(link)))
		return false;
	wqi_work_unlist_locked(wqi_link_work(link));
	return true;
}

/*
 * The first item that may start, off its list and holding one of its pwq's
 * nr_active; NULL if there is none.
 */
static struct wq_work *worker_next_locked(struct wqi_pool *pool, struct wqi_pwq **pwq)
{
	struct cds_list_head *link;
	bool ready;

	for (;;) {
		ready = wqi_unlikely(!cds_list_empty(&pool->ready_list));
		if (!ready && cds_list_empty(&pool->worklist)) {
			if (!wqi_pool_splice_locked(pool))
				return NULL;
			continue;
		}
		link = ready ? pool->ready_list.next : pool->worklist.next;
		*pwq = worker_pwq_of_locked(wqi_link_work(link));
		if (worker_take_locked(pool, link, *pwq, ready))
			return wqi_link_work(link);
	}
}

static struct cds_list_head *worker_first_of_locked(struct cds_list_head *list,
						    const struct wqi_pwq *pwq)
{
	struct cds_list_head *link;

	for (link = list->next; link != list; link = link->next)
		if (worker_pwq_of_locked(wqi_link_work(link)) == pwq)
			return link;
	return NULL;
}

struct wq_work *wqi_worker_next_of_locked(struct wqi_pool *pool, struct wqi_pwq *pwq)
{
	struct cds_list_head *link, *ready;

	wqi_pool_splice_locked(pool);
	do {
		ready = worker_first_of_locked(&pool->ready_list, pwq);
		link = ready ? ready : worker_first_of_locked(&pool->worklist, pwq);
	} while (link && !worker_take_locked(pool, link, pwq, ready));
	return link ? wqi_link_work(link) : NULL;
}

/* The item that runs has queued itself: from here on it is on the worklist. */
static void worker_accept_requeued_locked(struct wqi_worker *self, struct wqi_pwq *pwq)
{
	struct wq_work *work = self->requeued;
	uint64_t state = wqi_state(work);

	wqi_store_relaxed(&self->requeued, (struct wq_work *)NULL);
	if (wqi_unlikely(state & WQI_CANCEL)) {
		wqi_pool_unclaim_locked(self->pool, work, 0);
		return;
	}
	/* What others queued meanwhile goes first, or it might be passed for ever (G3). */
	wqi_pool_splice_locked(self->pool);
	wqi_pwq_accept_requeued_locked(pwq, state);
	cds_list_add_tail(wqi_work_link(work), &self->pool->worklist);
}

static WQI_SLOW void worker_unmark_locked(struct wqi_worker *self)
{
	self->marked = self->measure = self->is_long = false;
	self->described = self->intensive = self->hogged = false;
	self->nr_regions = 0;
	if (self->pool->zephyr)
		wqi_zephyr_ended_locked(self);
}

void wqi_worker_finish_locked(struct wqi_worker *self, struct wqi_pwq *pwq)
{
	if (wqi_load_relaxed(&self->requeued))
		worker_accept_requeued_locked(self, pwq);
	worker_clear_busy_locked(self);
	if (wqi_unlikely(self->marked))
		worker_unmark_locked(self);
	if (wqi_unlikely(!cds_list_empty(&self->waiters)))
		wqi_flush_finished_locked(self);
	wqi_pwq_finish_locked(pwq, self->current_color, true);
}

/* What worker_begin_locked() wants done when the lock has been dropped. */
#define BEGIN_ARM     1u /* the CPU's sentinel */
#define BEGIN_MEASURE 2u /* the run's CPU time */
#define BEGIN_MOVE    4u /* to a CPU of its own */
#define BEGIN_DEAR    8u /* what was begun at begin_ns */

/* What does not count in its pool needs nobody to provide for what waits there. */
static WQI_SLOW unsigned worker_begin_aside_locked(struct wqi_worker *self, struct wqi_pwq *pwq)
{
	if (self->rescuing) {
		pwq->nr_rescued++;
	} else if (!self->pool->sole) {
		self->intensive = self->marked = true;
		wqi_worker_uncount_locked(self);
	}
	return wqi_charge_begin_locked(self) ? BEGIN_MEASURE : 0;
}

static WQI_SLOW unsigned worker_begin_dear_locked(struct wqi_worker *self)
{
	unsigned todo = BEGIN_DEAR;

	self->begin_ns = wqi_now_ns();
	if (wqi_charge_begin_locked(self))
		todo |= BEGIN_MEASURE;
	if (wqi_help_provide_locked(self))
		todo |= BEGIN_ARM;
	if ((self->batch_items == 1 || wqi_pool_is_dear_locked(self->pool, PLACE_EACH_NS)) &&
	    wqi_place_check_locked(self))
		todo |= BEGIN_MOVE;
	return todo;
}

/*
 * Has keep_working_locked() let through one too many?  Where pods lend, others may have
 * taken back what this one runs on since it looked: they count under other locks.
 */
static inline bool worker_is_above_level_locked(const struct wqi_pool *pool)
{
	return wqi_pool_is_over_locked(pool) && !(pool->pods && pool->pods->lends);
}

/* Let the function begin: all that is decided under the lock. */
static inline unsigned worker_begin_locked(struct wqi_worker *self, struct wqi_pwq *pwq)
{
	struct wqi_pool *pool = self->pool;
	unsigned todo;

	self->batch_items++;
	wqi_count(&pool->nr_started, 1);
	if (wqi_unlikely(self->aside || wqi_pwq_wq(pwq)->flags & WQ_CPU_INTENSIVE)) {
		todo = worker_begin_aside_locked(self, pwq);
	} else {
		if (wqi_unlikely(worker_is_above_level_locked(pool)))
			pool->nr_above_level++;
		if (wqi_unlikely(wqi_pool_is_dear_locked(pool, WQI_DEAR_NS)))
			todo = worker_begin_dear_locked(self);
		else
			todo = worker_provide_cheaply_locked(self) ? BEGIN_ARM : 0;
	}
	wqi_store_release(&self->run, self->run + 1);
	return todo;
}

static WQI_SLOW void worker_end_slow_locked(struct wqi_worker *self, struct wqi_pwq *pwq,
					    wq_work_fn fn)
{
	struct wqi_pool *pool = self->pool;

	wqi_charge_end_locked(self, pwq, fn);
	if (self->rescuing)
		return;
	if (pool->offered && self->counted)
		wqi_pool_withdraw_locked(pool);
	if (!self->counted)
		wqi_worker_count_locked(self);
	if (!pool->watched)
		wqi_pool_call_watch_locked(pool);
}

static inline void worker_end_locked(struct wqi_worker *self, struct wqi_pwq *pwq, wq_work_fn fn)
{
	struct wqi_pool *pool = self->pool;

	pwq->nr_completed++;
	if (wqi_unlikely(self->marked || pool->offered || !pool->watched))
		worker_end_slow_locked(self, pwq, fn);
	else
		pwq->cpu_ns += pool->item_ns;
}

/*
 * Do it.  What system calls took is not what the item costs: or a cheap one would seem to be
 * dear, just because it was treated as one.
 */
static WQI_SLOW void worker_prepare(struct wqi_worker *self, unsigned todo)
{
	uint64_t start = todo & BEGIN_DEAR ? self->begin_ns : wqi_now_ns();

	wqi_pause_point("sees to others");
	if (todo & BEGIN_MOVE)
		wqi_place_move(self);
	if (todo & BEGIN_ARM)
		wqi_sentinel_arm(self);
	self->batch_start_ns += wqi_now_ns() - start;
	if (todo & BEGIN_MEASURE)
		wqi_charge_before(self);
}

/* Run one item, off its list and counted as active; the lock is dropped while fn runs. */
static void worker_run_locked(struct wqi_worker *self, struct wq_work *work, struct wqi_pwq *pwq)
{
	struct wqi_pool *pool = self->pool;
	wq_work_fn fn = work->wq_fn;
	void *ctx = work->wq_ctx;
	uint64_t state;
	unsigned todo;

	worker_set_busy_locked(self, work, pwq);
	wqi_yield_point();
	/* ORD-PENDING (b): from here on the item is its function's. */
	state = wqi_state_change(work, WQI_PENDING_ALL, 0);
	self->current_color = wqi_state_color(state);

	if (wqi_unlikely(state & WQI_LINKED))
		wqi_flush_started_locked(self, work);
	if (wqi_likely(!(state & WQI_CANCEL))) {
		todo = worker_begin_locked(self, pwq);
		wqi_worker_unlock_pool(self, pool);
		if (wqi_unlikely(todo))
			worker_prepare(self, todo);

		wqi_yield_point();
		fn(work, ctx);
		/* The child of a fork() in fn: its only thread has nothing more to do. */
		if (wqi_unlikely(wqi_worker_self != self))
			exit(0);
		wqi_store_release(&self->run, self->run + 1);
		if (wqi_unlikely(todo & BEGIN_MEASURE))
			wqi_charge_after(self);

		wqi_worker_lock_pool(self, pool);
		worker_end_locked(self, pwq, fn);
	}
	wqi_worker_finish_locked(self, pwq);
}

void wqi_worker_run_locked(struct wqi_worker *self, struct wq_work *work, struct wqi_pwq *pwq)
{
	worker_run_locked(self, work, pwq);
}

/* Items that wait for the one it ran: run them, or leave them to others. */
static void worker_run_scheduled_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	struct wq_work *work;

	while (!cds_list_empty(&self->scheduled)) {
		if (wqi_unlikely(wqi_pool_is_over_locked(pool))) {
			/* One too many: nothing keeps them from running elsewhere any more. */
			cds_list_splice(&self->scheduled, &pool->ready_list);
			CDS_INIT_LIST_HEAD(&self->scheduled);
			return;
		}
		work = wqi_link_work(self->scheduled.next);
		wqi_work_unlist_locked(work);
		worker_run_locked(self, work, worker_pwq_of_locked(work));
	}
}

/* --- the loop --- */

static bool worker_wants_reserve_locked(const struct wqi_pool *pool)
{
	/* Cheap items: one will do. */
	if (wqi_likely(pool->nr_idle) && !wqi_pool_is_dear_locked(pool, WQI_DEAR_NS))
		return false;
	if (pool->nr_idle >= 8 || pool->nr_creating || pool->sole)
		return false;
	return 2 * pool->nr_idle < wqi_pool_reserve_locked(pool) && wqi_pool_can_make(pool);
}

void wqi_worker_loop_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	struct wqi_pwq *pwq = NULL;
	struct wq_work *work;

	do {
		if (!wqi_worker_is_needed_locked(self))
			continue;
		while (keep_working_locked(self)) {
			work = worker_next_locked(pool, &pwq);
			if (!work) {
				if (wqi_unlikely(wqi_load_relaxed(&pool->called)))
					wqi_rescuer_go_locked(self);
				else if (!wqi_worker_spin_locked(self))
					break;
				wqi_worker_batch_begin_locked(self);
				continue;
			}
			/* Some idle workers in reserve, as long as there is work. */
			if (wqi_unlikely(worker_wants_reserve_locked(pool)))
				wqi_manager_request(pool);
			worker_run_locked(self, work, pwq);
			worker_run_scheduled_locked(self);
		}
	} while (wqi_worker_idle_locked(self));
}
