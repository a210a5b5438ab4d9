/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns waiting: for an item, by a waiter on the caller's stack, and for a queue,
 * by colours.  Cancels nothing.
 *
 * A waiter for a pending item hangs on the pool and the item is marked LINKED;
 * when the item starts, the waiter moves to the worker; when the run ends, or the
 * item is cancelled, it is woken.
 */
#include "flush.h"

#include <errno.h>

#include "block.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "rcu_work.h"
#include "spin.h"
#include "timer.h"
#include "worker.h"

#include <wq/wq.h>

static void flush_wake(struct wqi_waiter *waiter)
{
	cds_list_del(&waiter->node);
	if (wqi_futex_is_slept_on(&waiter->done))
		waiter->posted_ns = wqi_now_ns();
	wqi_futex_post(&waiter->done); /* the waiter may be gone from here on */
}

void wqi_flush_started_locked(struct wqi_worker *worker, const struct wq_work *work)
{
	struct wqi_waiter *waiter, *next;

	cds_list_for_each_entry_safe(waiter, next, &worker->pool->waiters, node) {
		if (waiter->work != work)
			continue;
		cds_list_del(&waiter->node);
		cds_list_add_tail(&waiter->node, &worker->waiters);
	}
}

void wqi_flush_cancelled_locked(struct wqi_pool *pool, const struct wq_work *work,
				struct wqi_worker *worker, bool running)
{
	struct wqi_waiter *waiter, *next;

	if (worker) {
		wqi_flush_started_locked(worker, work);
		return;
	}
	cds_list_for_each_entry_safe(waiter, next, &pool->waiters, node) {
		if (waiter->work != work)
			continue;
		waiter->elsewhere = running;
		flush_wake(waiter);
	}
}

void wqi_flush_finished_locked(struct wqi_worker *worker)
{
	unsigned here = wqi_cpu_current();
	struct wqi_waiter *waiter, *next;
	bool beside = false;

	cds_list_for_each_entry_safe(waiter, next, &worker->waiters, node) {
		beside = beside || waiter->cpu == here;
		flush_wake(waiter);
	}
	worker->beside = beside ? worker->beside + 1 : 0;
}

/*
 * Where the worker still has to wake up on this CPU, sleeping at once lets it.
 * Pools live as long as the library: the pool's hint may be used outside its lock.
 */
static void flush_wait(struct wqi_pool *pool, struct wqi_waiter *waiter)
{
	uint64_t start = wqi_now_ns(), ns = wqi_load_relaxed(&pool->flush_spin.ns);
	bool uncounted = wqi_worker_wait_begin();

	if (wqi_load_relaxed(&wqi_cpus.nr_usable) < 2 || !waiter->spin)
		ns = 0;
	if (!wqi_spin_until(wqi_load_acquire(&waiter->done), start, ns))
		wqi_futex_wait_post(&waiter->done);
	wqi_spin_adapt(&pool->flush_spin, start, waiter->posted_ns);
	wqi_worker_wait_end(uncounted);
}

static bool flush_attach_running_locked(struct wqi_pool *pool, struct wqi_waiter *waiter)
{
	struct wqi_worker *worker = wqi_pool_find_running_locked(pool, waiter->work);

	if (worker)
		cds_list_add_tail(&waiter->node, &worker->waiters);
	return worker != NULL;
}

/*
 * An item that is claimed and not pushed yet is marked and waited for like one on
 * a list: with the lock held nobody else ends its claim.
 *
 * 1 attached, 0 nothing to wait for, -EAGAIN the item moved on: look again,
 * -EINPROGRESS a claimer is choosing its pool, -EDEADLK.
 */
static int flush_attach_locked(struct wqi_pool *pool, struct wqi_pwq *pwq,
			       struct wqi_waiter *waiter, bool settled)
{
	struct wq_work *work = waiter->work;
	uint64_t state = wqi_state(work);

	if (wqi_state_id(state) != wqi_load_relaxed(&pwq->id))
		return -EAGAIN;
	waiter->cpu = wqi_cpu_current();
	waiter->spin = pool->nr_running || pool->last_cpu != waiter->cpu;
	if (state & WQI_TRANSIT && !settled)
		return -EINPROGRESS;
	if (!(state & WQI_PENDING) || state & WQI_TRANSIT)
		return flush_attach_running_locked(pool, waiter);
	if (wqi_worker_is_in_the_way(pwq) && !(state & WQI_CANCEL))
		return -EDEADLK;
	wqi_state_change(work, 0, WQI_LINKED);
	cds_list_add_tail(&waiter->node, &pool->waiters);
	return 1;
}

static int flush_attach(struct wqi_waiter *waiter, bool settled, struct wqi_pool **in)
{
	unsigned token = wqi_rcu_read_lock();
	char name[WQI_REPORT_NAME];
	struct wqi_pool *pool;
	struct wqi_pwq *pwq;
	bool report = false;
	int ret;

	do {
		uint64_t state = wqi_state(waiter->work);

		ret = 0;
		pwq = wqi_pwq_of_state(state, &pool);
		if (!pwq) {
			/* A queue that is gone, so it does not run; or it moved on. */
			if (wqi_state(waiter->work) != state)
				ret = -EAGAIN;
			else if (state & WQI_TRANSIT && !settled)
				ret = -EINPROGRESS;
			continue;
		}
		wqi_pool_lock(pool);
		if (wqi_pool_splice_locked(pool))
			wqi_pool_say_waiting_locked(pool);
		ret = flush_attach_locked(pool, pwq, waiter, settled);
		wqi_pool_unlock(pool);
		*in = pool;
		if (ret == 1)
			report = wqi_worker_note_reclaim(wqi_pwq_wq(pwq), name);
	} while (ret == -EAGAIN);
	wqi_rcu_read_unlock(token);
	if (report)
		wqi_worker_report_reclaim(name);
	return ret;
}

int wqi_flush_item(struct wq_work *work)
{
	struct wqi_waiter waiter = {.work = work};
	struct wqi_pool *pool = NULL;
	int ret;

	if (!wqi_state_is_ours(wqi_state(work)))
		return 0;
	ret = flush_attach(&waiter, false, &pool);

	if (ret == -EINPROGRESS) {
		/*
		 * Another thread is looking where to push; our caller may have
		 * been answered 0 because of it.  After a grace period it is
		 * through, and whoever is looking then came after us.
		 */
		wqi_pause_point("flush transit");
		wqi_rcu_synchronize();
		ret = flush_attach(&waiter, true, &pool);
	}
	if (ret == 1)
		flush_wait(pool, &waiter);
	if (ret == 1 && wqi_unlikely(waiter.elsewhere))
		wqi_flush_running(work);
	return ret;
}

/* An armed item is queued now.  It may have run before we look: that is waiting, too. */
static int flush_armed(struct wq_work *work)
{
	int waited = wqi_rcu_work_wait(work), fired, ret;

	if (waited < 0)
		return waited;
	fired = wqi_timer_fire(work);
	/* -EAGAIN: it has run, and was queued again since our call. */
	if (fired < 0 && fired != -EAGAIN)
		return fired;
	ret = wqi_flush_item(work);
	return ret ? ret : waited || fired == 1;
}

int wq_work_flush(struct wq_work *work)
{
	struct wqi_worker *self = wqi_worker_self;

	if (!work || !(wqi_state(work) & WQI_INIT))
		return -EINVAL;
	if (self && self->current_work == work && self->current_fn == work->wq_fn)
		return -EDEADLK;
	if (wqi_unlikely(wqi_state_is_armed(wqi_state(work))))
		return flush_armed(work);
	return wqi_flush_item(work);
}

void wqi_flush_claim(struct wq_work *work)
{
	wqi_flush_item(work);
}

static bool flush_attach_in(struct wqi_pool *pool, struct wqi_waiter *waiter)
{
	bool attached;

	wqi_pool_lock(pool);
	attached = flush_attach_running_locked(pool, waiter);
	wqi_pool_unlock(pool);
	return attached;
}

bool wqi_flush_running(struct wq_work *work)
{
	struct wqi_waiter waiter = {.work = work};
	bool attached = false;
	struct wqi_pool *pool;
	struct wqi_pwq *pwq;
	unsigned token;

	if (!wqi_state_is_ours(wqi_state(work)))
		return false;
	token = wqi_rcu_read_lock();
	pwq = wqi_pwq_of_state(wqi_state(work), &pool);
	if (pwq)
		attached = flush_attach_in(pool, &waiter);
	/* Queued again meanwhile, on a newer table than it runs on. */
	if (pwq && !attached && (pwq = wqi_table_runs_before(pwq, work))) {
		pool = wqi_pwq_pool(pwq);
		attached = flush_attach_in(pool, &waiter);
	}
	wqi_rcu_read_unlock(token);
	if (attached)
		flush_wait(pool, &waiter);
	return attached;
}

void wqi_queue_color_done(struct wq *wq, unsigned color)
{
	/* ORD-FLUSH (a) */
	if (wqi_sub(&wq->nr_to_flush[color], 1) == 1) {
		wqi_add(&wq->flush_event, 1);
		wqi_futex_wake(&wq->flush_event, INT_MAX);
	}
}

/* Sleep while nothing happened since @event was read; wq->mutex is dropped meanwhile. */
static void flush_wait_event(struct wq *wq, uint32_t event)
{
	wqi_pause_point("flush event");
	wqi_unlock(&wq->mutex);
	while (wqi_load_acquire(&wq->flush_event) == event)
		wqi_futex_wait(&wq->flush_event, event, WQI_NO_TIMEOUT);
	wqi_lock(&wq->mutex);
}

/* Count off the flushes whose colour has run out, in the order in which they began. */
static void flush_advance(struct wq *wq)
{
	uint64_t done = wq->done_seq;

	while (done < wq->color_seq && !wqi_load_seq_cst(&wq->nr_to_flush[done % WQI_NR_COLORS]))
		done++;
	if (done == wq->done_seq)
		return;
	wq->done_seq = done;
	/* Those that wait for a free colour, or for an earlier flush, look again. */
	wqi_add(&wq->flush_event, 1);
	wqi_futex_wake(&wq->flush_event, INT_MAX);
}

/* Give the new colour to a pwq that has the old one, and count it if it owes some. */
static void flush_flip_pwq(struct wq *wq, struct wqi_pwq *pwq, unsigned color, unsigned next)
{
	struct wqi_pool *pool = wqi_load_seq_cst(&pwq->pool);

	if (!pool)
		return;
	wqi_pool_lock(pool);
	wqi_pwq_ready_locked(pwq);
	if (pwq->work_color != next) {
		wqi_pool_splice_locked(pool);
		wqi_store_relaxed(&pwq->work_color, next);
		if (pwq->nr_in_flight[color]) {
			pwq->flush_mask |= 1u << color;
			wqi_add(&wq->nr_to_flush[color], 1);
		}
	}
	wqi_pool_unlock(pool);
}

/*
 * Take the present colour for this flush: new items get the next one.
 *
 * The first round reaches every pwq that accepted something before the call.
 * ORD-FLUSH-NEW (b): then the queue's colour changes, then each pwq's `pool` is
 * read again.  Partner (a): a pwq's `pool` is stored, then its first splice reads
 * the queue's colour.  So a new pwq either starts with the new colour or is seen
 * by the second round.
 */
static void flush_flip(struct wq *wq)
{
	unsigned color = wq->color_seq % WQI_NR_COLORS;
	unsigned next = (wq->color_seq + 1) % WQI_NR_COLORS;
	struct wqi_table *table;
	struct wqi_pwq *pwq;

	wq->color_seq++;
	wqi_store_seq_cst(&wq->nr_to_flush[color], 1); /* until all pwqs are looked at */
	wqi_for_each_pwq(wq, table, pwq) flush_flip_pwq(wq, pwq, color, next);
	wqi_pause_point("flip");
	wqi_store_seq_cst(&wq->work_color, next);
	wqi_for_each_pwq(wq, table, pwq) flush_flip_pwq(wq, pwq, color, next);
	wqi_queue_color_done(wq, color);
}

/*
 * A flush owns the number color_seq had when it began, and ends when done_seq has
 * passed it.  Where all colours are taken it waits; whoever flips first then
 * flips for all who waited since before.
 *
 * ORD-FLUSH (b): flush_event is read, then the counts.  Partner (a), in
 * wqi_queue_color_done(): the count falls to 0, then flush_event changes.
 */
void wqi_queue_flush(struct wq *wq)
{
	bool uncounted = wqi_worker_wait_begin();
	uint32_t event;
	uint64_t mine;

	wqi_lock(&wq->mutex);
	mine = wq->color_seq;
	for (;;) {
		event = wqi_load_seq_cst(&wq->flush_event);
		flush_advance(wq);
		wqi_yield_point();
		if (wq->done_seq > mine)
			break;
		if (wq->color_seq == mine && wq->color_seq - wq->done_seq < WQI_NR_COLORS - 1)
			flush_flip(wq);
		else
			flush_wait_event(wq, event);
	}
	wqi_unlock(&wq->mutex);
	wqi_worker_wait_end(uncounted);
}

int wq_flush(struct wq *wq)
{
	return wq && wq->system ? -EPERM : wqi_flush_any(wq);
}

int wqi_flush_any(struct wq *wq)
{
	int err;

	if (!wq)
		return -EINVAL;
	wqi_fork_enter(false);
	err = wqi_worker_may_wait(wq);
	if (err)
		return err;
	/* Our caller may have been answered 0 because of a claim on its way. */
	wqi_rcu_synchronize();
	wqi_queue_flush(wq);
	return 0;
}
