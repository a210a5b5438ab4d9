/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns counting workers in and out, waits in the library, and the regions in which
 * items say that they block.  Finds nothing out by itself (sentinel.c, monitor.c).
 */
#include "block.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "pwq.h"
#include "queue.h"
#include "report.h"

#include <wq/block.h>

/* Where sentinels find it. */
static void block_take_place_locked(struct wqi_worker *worker)
{
	struct wqi_pool *pool = worker->pool;
	unsigned i;

	for (i = 0; i < pool->nr_runners && pool->runners[i]; i++)
		;
	worker->place = i;
	if (i < pool->nr_runners)
		wqi_store_release(&pool->runners[i], worker);
}

void wqi_worker_count_locked(struct wqi_worker *worker)
{
	struct wqi_pool *pool = worker->pool;

	wqi_store_relaxed(&worker->counted, true);
	pool->nr_running++;
	if (pool->pods && wqi_unlikely(pool->pods->lends))
		wqi_add(&pool->pods->nr_running, 1);
	block_take_place_locked(worker);
	/* ORD-SLEEP: before the inbox is looked at; whoever was to be woken need not be. */
	pool->offered = false;
	wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
	if (!pool->watched)
		wqi_pool_call_watch_locked(pool);
}

void wqi_worker_count_out_locked(struct wqi_worker *worker)
{
	wqi_assert_held(&worker->pool->lock);
	wqi_assert(worker->counted);

	wqi_store_relaxed(&worker->counted, false);
	/* To be counted again at the end of its run, which is no short one. */
	worker->marked = worker->is_long = true;
	worker->pool->nr_running--;
	if (worker->pool->pods && wqi_unlikely(worker->pool->pods->lends))
		wqi_sub(&worker->pool->pods->nr_running, 1);
	if (worker->place < worker->pool->nr_runners)
		wqi_store_release(&worker->pool->runners[worker->place], (struct wqi_worker *)NULL);
}

void wqi_worker_uncount_locked(struct wqi_worker *worker)
{
	wqi_worker_count_out_locked(worker);
	wqi_pool_hand_over_locked(worker->pool);
}

static void block_note_locked(struct wqi_worker *worker, enum wqi_blocked how)
{
	wqi_count(&worker->pool->nr_blocked[how], 1);
	if (worker->current_work && wqi_pool_has_work_locked(worker->pool))
		wqi_count(&worker->current_pwq->nr_cm_wakeup, 1);
}

void wqi_worker_found_blocked_locked(struct wqi_worker *worker, enum wqi_blocked how)
{
	block_note_locked(worker, how);
	wqi_worker_uncount_locked(worker);
	/* Below the level, with others still running: let one more in. */
	if (worker->pool->nr_running && wqi_pool_has_work_locked(worker->pool))
		wqi_pool_wake_one_locked(worker->pool);
}

static void block_believe_locked(struct wqi_worker *worker)
{
	uint64_t run = wqi_load_acquire(&worker->run);

	if (!(run & 1) || run != wqi_load_relaxed(&worker->blocked_run))
		return;
	block_note_locked(worker, wqi_load_relaxed(&worker->blocked_how));
	wqi_worker_count_out_locked(worker);
}

/* The caller takes one of the places that become free. */
void wqi_worker_believe_locked(struct wqi_pool *pool)
{
	unsigned i;

	if (wqi_likely(!wqi_load_relaxed(&pool->told)))
		return;
	wqi_xchg(&pool->told, 0);
	wqi_pool_splice_locked(pool);
	for (i = 0; i < pool->nr_runners; i++)
		if (pool->runners[i])
			block_believe_locked(pool->runners[i]);
}

/* --- waits in the library --- */

static bool block_note_bh(struct wqi_worker *self)
{
	if (!self->pool->bh)
		return false;
	wqi_pool_lock(self->pool);
	wqi_count(&self->current_pwq->nr_bh_blocks, 1);
	wqi_pool_unlock(self->pool);
	return true;
}

static bool block_leave(struct wqi_worker *self)
{
	bool uncounted = false;

	wqi_pool_lock(self->pool);
	self->marked = true; /* the end of the run closes what is open */
	if (self->counted && !self->rescuing && !self->pool->sole) {
		block_note_locked(self, WQI_BLOCKED_SAID);
		wqi_worker_uncount_locked(self);
		uncounted = true;
	}
	wqi_pool_unlock(self->pool);
	return uncounted;
}

/* Not if it was found computing for long meanwhile, or its queue says that it does. */
static void block_return(struct wqi_worker *self)
{
	wqi_pool_lock(self->pool);
	if (!self->counted && !self->hogged && !self->intensive && !self->rescuing)
		wqi_worker_count_locked(self);
	wqi_pool_unlock(self->pool);
}

bool wqi_worker_wait_begin(void)
{
	struct wqi_worker *self = wqi_worker_self;

	if (!self || !self->current_work || block_note_bh(self) || self->pool->sole)
		return false;
	return block_leave(self);
}

void wqi_worker_wait_end(bool uncounted)
{
	struct wqi_worker *self = wqi_worker_self;

	if (uncounted)
		block_return(self);
}

static bool block_is_in_bh(const struct wqi_worker *self)
{
	return self && self->current_work && self->pool->bh;
}

/*
 * An item of a queue with a rescuer waits for one of a queue without: where no
 * thread can be made that may be for long.  Said once a queue, counted always.
 */
bool wqi_worker_note_reclaim(const struct wq *wq, char name[WQI_REPORT_NAME])
{
	struct wqi_worker *self = wqi_worker_self;
	struct wq *own;

	if (!self || !self->current_work || wq->flags & (WQ_MEM_RECLAIM | WQ_DEDICATED))
		return false;
	own = wqi_pwq_wq(self->current_pwq);
	if (!(own->flags & WQ_MEM_RECLAIM))
		return false;
	wqi_pool_lock(self->pool);
	wqi_count(&self->current_pwq->nr_reclaim_waits, 1);
	wqi_pool_unlock(self->pool);
	if (wqi_xchg(&own->reported, true))
		return false;
	snprintf(name, WQI_REPORT_NAME, "%s", wq->name);
	return true;
}

void wqi_worker_report_reclaim(const char *name)
{
	wqi_report("an item of the WQ_MEM_RECLAIM queue \"%s\" waits for the queue \"%s\", "
		   "which has no rescuer",
		   wqi_pwq_wq(wqi_worker_self->current_pwq)->name, name);
}

int wqi_worker_may_wait(struct wq *wq)
{
	struct wqi_worker *self = wqi_worker_self;
	char name[WQI_REPORT_NAME];

	if (wqi_worker_serves(wq))
		return -EDEADLK;
	/* Its items on this CPU come after the caller's, on the same thread. */
	if (wq->flags & WQ_BH && block_is_in_bh(self))
		return -EDEADLK;
	if (wqi_worker_note_reclaim(wq, name))
		wqi_worker_report_reclaim(name);
	return 0;
}

bool wqi_worker_is_in_the_way(const struct wqi_pwq *pwq)
{
	struct wqi_worker *self = wqi_worker_self;

	if (block_is_in_bh(self) && self->pool == wqi_pwq_pool(pwq))
		return true;
	if (!wqi_worker_serves(wqi_pwq_wq(pwq)) || wqi_load_relaxed(&wqi_pwq_share(pwq)->size) != 1)
		return false;
	return pwq == self->current_pwq || (!(wqi_pwq_wq(pwq)->flags & WQ_PERCPU) &&
					    wqi_pwq_share(pwq) == wqi_pwq_share(self->current_pwq));
}

/* --- regions --- */

int wq_block_begin(void)
{
	struct wqi_worker *self = wqi_worker_self;

	if (!self || !self->current_work)
		return 0;
	if (block_note_bh(self))
		return -EPERM;
	if (self->nr_regions == UINT_MAX)
		return -EOVERFLOW;
	if (!self->nr_regions++)
		block_leave(self);
	return 0;
}

int wq_block_end(void)
{
	struct wqi_worker *self = wqi_worker_self;

	if (!self || !self->current_work)
		return 0;
	if (self->pool->bh)
		return -EPERM;
	if (!self->nr_regions)
		return -EINVAL;
	if (!--self->nr_regions && !self->pool->sole)
		block_return(self);
	return 0;
}
