/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns k_work: submit, flush, and what an item is doing.  Cancels none (zephyr_cancel.c). */
#include "zephyr.h"

#include <errno.h>
#include <sched.h>

#include "cpu.h"
#include "flush.h"
#include "fork.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "report.h"
#include "timer.h"
#include "worker.h"

#include <wq/wq.h>

void wq_zephyr_work_init(struct k_work *work, k_work_handler_t handler)
{
	static const struct k_work idle = Z_WORK_INITIALIZER(NULL);

	*work = idle;
	work->handler = handler;
	if (!handler)
		work->wq_work.wq_state = 0;
}

void wq_zephyr_delayable_init(struct k_work_delayable *dwork, k_work_handler_t handler)
{
	static const struct k_work_delayable idle = Z_WORK_DELAYABLE_INITIALIZER(NULL);

	*dwork = idle;
	dwork->work.handler = handler;
	if (!handler)
		dwork->work.wq_work.wq_state = 0;
}

void wq_zephyr_run(struct wq_work *wq_work, void *ctx)
{
	struct k_work *work = wqi_zephyr_work(wq_work);
	struct wqi_worker *self = wqi_worker_self;
	k_work_handler_t handler = work->handler;

	if (wqi_likely(self)) {
		struct k_work_q *queue = wqi_pwq_wq(self->current_pwq)->zephyr;

		/* For wq_cpu_hogs(): all share this function. */
		wqi_store_relaxed(&self->call_fn, (const void *)(uintptr_t)handler);
		if (wqi_unlikely(queue && queue->wq_timeout_ms))
			wqi_zephyr_watch(queue, work);
	}
	if (wqi_likely(handler))
		handler(work);
	else
		wqi_report("k_work %p has no function, and was not run", (void *)work);
}

/* --- what it is doing --- */

bool wqi_zephyr_runs_rcu(struct wq_work *work)
{
	struct wqi_pool *pool;

	return wqi_pwq_of_state(wqi_state(work), &pool) && wqi_pool_running_pwq_rcu(pool, work);
}

int wqi_zephyr_flags(uint64_t state)
{
	int flags = 0;

	if (!wqi_state_is_ours(state))
		return 0;
	if (state & WQI_PENDING && !(state & WQI_CANCEL))
		flags |= K_WORK_QUEUED;
	if (state & WQI_ARMED)
		flags |= K_WORK_DELAYED;
	if (state & (WQI_CANCEL | WQI_CANCELLER_MASK) ||
	    (state & (WQI_ARMED | WQI_MOVING)) == WQI_MOVING)
		flags |= K_WORK_CANCELING;
	return flags;
}

int wqi_zephyr_busy_rcu(struct wq_work *item)
{
	uint64_t state = wqi_state(item), before;
	bool runs;

	do {
		before = state;
		runs = wqi_zephyr_runs_rcu(item);
		state = wqi_load_seq_cst(&item->wq_state);
	} while (state != before);
	return wqi_zephyr_flags(state) | (runs ? K_WORK_RUNNING : 0);
}

int wq_zephyr_busy(const struct k_work *work)
{
	struct wq_work *item = (struct wq_work *)&work->wq_work;
	unsigned token;
	int busy;

	if (!wqi_state_is_ours(wqi_state(item)))
		return 0;
	token = wqi_rcu_read_lock();
	busy = wqi_zephyr_busy_rcu(item);
	wqi_rcu_read_unlock(token);
	return busy;
}

/* --- submit --- */

/* Whom a queue's items go to, once it is started: a dedicated queue has one pwq. */
static inline struct wqi_pwq *work_pwq_rcu(struct wq *wq)
{
	return wqi_queue_pwq_rcu(wq, 0);
}

static inline void work_push(struct k_work *work, struct k_work_q *queue, struct wqi_pool *pool)
{
	wqi_zephyr_note_queue(&work->wq_work, queue);
	wqi_pause_point("push");
	wqi_inbox_push(&pool->inbox, &work->wq_work);
	wqi_pool_kick(pool);
}

/*
 * Why the item can't be queued, if that does not depend on the queue; in Zephyr's order.  1: it
 * can; 0: it is queued already.  @idle: only an item that is idle, or running, is to be queued.
 */
static int work_may_be_claimed(uint64_t state, bool idle)
{
	if (!(state & WQI_INIT))
		return -EINVAL;
	if (state & WQI_DEPTH_MASK)
		return -EBUSY;
	if (!wqi_state_is_ours(state))
		return 1;
	if (state & (WQI_CANCEL | WQI_CANCELLER_MASK))
		return idle ? 0 : -EBUSY;
	return !(state & (idle ? WQI_PENDING | WQI_ARMED : WQI_PENDING));
}

/* A claim on its way from @old to a queue. */
struct work_claim {
	struct wqi_pwq *pwq; /* where it is to go */
	uint64_t word;	     /* what the state becomes */
	bool runs;	     /* it was seen running there */
};

/*
 * It runs: to where it does, whatever is asked for (G2).  Else to @queue, or to where it was
 * last.  Then that queue's state counts; read inside the section: ORD-DRAIN (a).
 */
static int work_choose_rcu(struct k_work *work, struct k_work_q *queue, uint64_t old,
			   struct work_claim *claim)
{
	bool ours = wqi_state_is_ours(old);
	struct wqi_pwq *running = NULL;
	struct wqi_pool *pool;
	struct wq *wq;

	if (ours && wqi_pwq_of_state(old, &pool))
		running = wqi_pool_running_pwq_rcu(pool, &work->wq_work);
	if (!queue)
		queue = wqi_load_relaxed(&work->queue);
	if (!running && !queue)
		return -EINVAL;
	wq = running ? wqi_pwq_wq(running) : wqi_load_acquire(&queue->wq_queue);
	if (!wq)
		return -ENODEV;
	if (wqi_queue_refuses(wq))
		return -EBUSY;
	wqi_pause_point("refuse read");
	claim->runs = running;
	claim->pwq = running ? running : work_pwq_rcu(wq);
	if (!ours)
		claim->word = (old & (WQI_INIT | WQI_DEPTH_MASK)) | wqi_fork.generation |
			      WQI_PENDING | WQI_TRANSIT;
	else if (!wqi_state_id(old) || wqi_state_id(old) == wqi_load_relaxed(&claim->pwq->id))
		claim->word = (old & ~WQI_ID_MASK) | WQI_PENDING | wqi_pwq_in_state(claim->pwq);
	else
		claim->word = old | WQI_PENDING | WQI_TRANSIT;
	return 1;
}

/* The word was claimed; settle where it goes, and what the answer is. */
static int work_queue_claimed_rcu(struct k_work *work, uint64_t old, struct work_claim *claim)
{
	struct wqi_pwq *pwq = claim->pwq;
	bool runs = claim->runs;

	if (!wqi_state_is_ours(old))
		wqi_zephyr_forget(&work->wq_work);
	if (claim->word & WQI_TRANSIT) {
		pwq = wqi_work_settle_rcu(&work->wq_work, pwq);
		if (!pwq)
			return 1; /* cancelled meanwhile */
	}
	runs = runs || wqi_zephyr_runs_in(wqi_pwq_pool(pwq), &work->wq_work);
	work_push(work, wqi_pwq_wq(pwq)->zephyr, wqi_pwq_pool(pwq));
	return 1 + runs;
}

static WQI_SLOW int work_submit_slow_rcu(struct k_work_q *queue, struct k_work *work, bool idle)
{
	uint64_t old = wqi_load_relaxed(&work->wq_work.wq_state);
	struct work_claim claim;
	int ret;

	for (;;) {
		ret = work_may_be_claimed(old, idle);
		claim.word = old;
		if (ret < 0)
			return ret;
		if (ret)
			ret = work_choose_rcu(work, queue, old, &claim);
		/* What was refused because of where it runs, and has been queued since, was not. */
		if (ret < 0 && wqi_state(&work->wq_work) == old)
			return ret;
		if (ret >= 0 && wqi_cas(&work->wq_work.wq_state, &old, claim.word))
			break;
		old = wqi_state(&work->wq_work);
	}
	/* 0 by a completed exchange of the word with itself (G4). */
	return ret ? work_queue_claimed_rcu(work, old, &claim) : 0;
}

/*
 * The usual cases: idle, or just running here, and last on this queue or on none; or queued
 * already.  1, 2, 0, or -EAGAIN: look closer.
 */
static inline int work_submit_fast_rcu(struct wq *wq, struct k_work_q *queue, struct k_work *work)
{
	uint64_t usual = wqi_fork.generation | WQI_INIT;
	uint64_t old = wqi_load_relaxed(&work->wq_work.wq_state), new;
	struct wqi_pwq *pwq = work_pwq_rcu(wq);
	uint64_t fresh = WQI_PENDING | wqi_pwq_in_state(pwq);
	struct wqi_pool *pool;
	int ret;

	if (wqi_unlikely((old ^ usual) & WQI_UNUSUAL))
		return -EAGAIN;
	new = old;
	if (!(old & WQI_PENDING)) {
		/* ORD-DRAIN (a): read inside the section, after it began. */
		if (wqi_unlikely(wqi_load_seq_cst(&wq->refuse)) ||
		    (wqi_state_id(old) && (old ^ fresh) & WQI_ID_MASK))
			return -EAGAIN;
		wqi_pause_point("refuse read");
		new = (old & ~WQI_ID_MASK) | fresh;
	}
	if (wqi_unlikely(!wqi_cas(&work->wq_work.wq_state, &old, new)))
		return -EAGAIN;
	if (new == old)
		return 0;
	pool = wqi_pwq_pool(pwq);
	ret = 1 + wqi_zephyr_runs_in(pool, &work->wq_work);
	work_push(work, queue, pool);
	return ret;
}

static inline int work_submit(struct k_work_q *queue, struct k_work *work, bool idle)
{
	int ret = wqi_fork_enter(true);
	unsigned token;
	struct wq *wq;

	if (wqi_unlikely(ret))
		return ret;
	token = wqi_rcu_read_lock();
	wq = wqi_likely(queue) ? wqi_load_acquire(&queue->wq_queue) : NULL;
	ret = wqi_likely(wq) ? work_submit_fast_rcu(wq, queue, work) : -EAGAIN;
	if (wqi_unlikely(ret < 0))
		ret = work_submit_slow_rcu(queue, work, idle);
	wqi_rcu_read_unlock(token);
	return ret;
}

/* Off the usual way. */
static WQI_SLOW int work_submit_aside(struct k_work_q *queue, struct k_work *work, bool idle)
{
	return work_submit(queue, work, idle);
}

/* With no thread yet, the queue may be one that starts by itself. */
static WQI_SLOW int work_submit_first(struct k_work_q *queue, struct k_work *work, bool idle)
{
	int ret = wqi_zephyr_queue_auto(queue ? queue : wqi_load_relaxed(&work->queue));

	return ret ? ret : work_submit_aside(queue, work, idle);
}

int wq_zephyr_submit(struct k_work_q *queue, struct k_work *work)
{
	int ret = work_submit(queue, work, false);

	return wqi_likely(ret != -ENODEV) ? ret : work_submit_first(queue, work, false);
}

int wqi_zephyr_submit_started(struct k_work_q *queue, struct k_work *work)
{
	return work_submit_aside(queue, work, false);
}

int wqi_zephyr_submit_idle(struct k_work_q *queue, struct k_work *work)
{
	int ret = work_submit_aside(queue, work, true);

	return wqi_likely(ret != -ENODEV) ? ret : work_submit_first(queue, work, true);
}

/* --- flush --- */

static WQI_SLOW bool work_flush_armed(struct k_work *work, uint64_t state)
{
	bool beside;

	/* What is being cancelled can't be submitted: its timer is dropped. */
	if (state & WQI_CANCELLER_MASK) {
		wqi_timer_cancel(&work->wq_work, &beside);
		return wqi_flush_item(&work->wq_work) == 1;
	}
	return wq_work_flush(&work->wq_work) == 1;
}

bool wq_zephyr_flush(struct k_work *work, bool timer)
{
	uint64_t state = wqi_state(&work->wq_work);
	bool waited;

	if (!(state & WQI_INIT) || wqi_zephyr_is_own(work))
		return false;
	if (wqi_likely(!timer || !wqi_state_is_armed(state)))
		waited = wqi_flush_item(&work->wq_work) == 1;
	else
		waited = work_flush_armed(work, state);
	if (wqi_unlikely(wqi_load_acquire(&work->wq_next)))
		wqi_zephyr_wait_let_go(NULL);
	return waited;
}
