/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what the parts of Zephyr's header have in common, and what the rest of the library has
 * to know of it: that an item may be a k_work, and a queue a k_work_q.
 *
 * A k_work_q is a WQ_DEDICATED queue, whose pool has a loop of its own (zephyr_thread.c).  Items
 * go through the library's states.  Three things are not native:
 *
 * An item that is cancelled while it runs stays a canceller's (item.h) until its handler
 * returns: it is on its pool's `cancelled` list so long, and whoever takes it from there counts
 * the canceller off.  That is the one case in which the library touches an item after its run.
 *
 * A timer may be set whatever the item does, also by a signal handler: timer.c, `again`.
 *
 * Why a queue refuses follows from the flags that its user reads (wqi_zephyr_follow_flags()).
 */
#ifndef WQI_ZEPHYR_H
#define WQI_ZEPHYR_H

#include <wq/compat/zephyr.h>

#include "item.h"
#include "pool.h"
#include "wheel.h"
#include "worker.h"

struct wq;

/* The end of a pool's list of cancelled items; NULL: the item is on none. */
#define WQI_ZEPHYR_END ((void *)1)

_Static_assert(offsetof(struct k_work_delayable, wq_timer) ==
		       offsetof(struct k_work_delayable, work.wq_work) +
			       offsetof(struct wq_delayed_work, wq_timer),
	       "a k_work_delayable holds a struct wq_delayed_work");
_Static_assert(sizeof(struct k_work) == offsetof(struct k_work, wq_work) + sizeof(struct wq_work),
	       "without padding, or initialisers might differ in it");

static inline struct k_work *wqi_zephyr_work(const struct wq_work *work)
{
	return caa_container_of(work, struct k_work, wq_work);
}

static inline struct wq_delayed_work *wqi_zephyr_timer(struct k_work *work)
{
	return caa_container_of(&work->wq_work, struct wq_delayed_work, work);
}

static inline struct k_work_delayable *wqi_zephyr_delayable(struct wq_delayed_work *dw)
{
	return caa_container_of(wqi_zephyr_work(&dw->work), struct k_work_delayable, work);
}

/* --- items, for work.c, timer.c and shard.c --- */

/*
 * A claimed item goes to @queue (or to no k_work_q).  Where it runs it is queued there again, and
 * nothing is written that its handler may be reading.
 */
static inline void wqi_zephyr_note_queue(struct wq_work *work, struct k_work_q *queue)
{
	struct k_work *item = wqi_zephyr_work(work);

	if (queue && wqi_load_relaxed(&item->queue) != queue)
		wqi_store_relaxed(&item->queue, queue);
}

/* The first claim after a fork(): what the parent had with it is over. */
static inline void wqi_zephyr_forget(struct wq_work *work)
{
	wqi_store_release(&wqi_zephyr_work(work)->wq_next, NULL);
}

/*
 * A time that a signal handler sets, and the queue, in one word: ticks of the wheel, rounded up,
 * and above them the number of its pwq.  0: none.  Inside a section in which the queue was not
 * closed; it is not gone before the item is taken from its shard's inbox, for who closes it looks
 * there.
 */
#define WQI_AGAIN_TICKS ((UINT64_C(1) << WQI_ID_SHIFT) - 1)

uint64_t wqi_zephyr_again(const struct wq *wq, uint64_t expires_ns);

static inline uint64_t wqi_zephyr_again_ns(uint64_t again)
{
	uint64_t ticks = again & WQI_AGAIN_TICKS;

	return ticks == WQI_AGAIN_TICKS ? UINT64_MAX : ticks << WQI_TICK_SHIFT;
}

static inline void wqi_zephyr_drop_again(struct wq_delayed_work *dw)
{
	wqi_store_relaxed(&wqi_zephyr_delayable(dw)->wq_again, UINT64_C(0));
}

/* An item comes out of its shard's inbox: a handler may have set another time for it.  Under T. */
void wqi_zephyr_arm_again(struct wq_delayed_work *dw);

/* A timer came to be due while the queue refuses it; said again when it is looked at again.  Under
 * T. */
void wqi_zephyr_note_kept(struct wq *wq, const struct wq_delayed_work *dw);

/* Is the item running?  A snapshot, in a read-side section. */
bool wqi_zephyr_runs_rcu(struct wq_work *work);

/*
 * ... in this pool, which has one worker at a time; ORD-RUNNING (b) for who has claimed the item.
 * In the function of the item that the caller runs?
 */
static inline bool wqi_zephyr_runs_in(const struct wqi_pool *pool, const struct wq_work *work)
{
	struct wqi_worker *worker = wqi_load_acquire(&pool->workers);

	for (; worker; worker = worker->all_next)
		if (wqi_load_seq_cst(&worker->current_work) == work)
			return true;
	return false;
}

static inline bool wqi_zephyr_is_own(const struct k_work *work)
{
	struct wqi_worker *self = wqi_worker_self;

	return self && self->current_work == &work->wq_work;
}

/*
 * What k_work_busy_get() answers; by the state word alone, without K_WORK_RUNNING.  An item that
 * goes from one to the other between the two looks (it queued itself, and its run has ended) is not
 * taken for idle.
 */
int wqi_zephyr_busy_rcu(struct wq_work *item);
int wqi_zephyr_flags(uint64_t state);

/* Cancelled items that do not run any more are not cancelling any more.  Lock-free. */
void wqi_zephyr_let_go(struct wqi_pool *pool);

/* Items that have run in @pool (NULL: one that was cancelled) are their owners' when it returns. */
void wqi_zephyr_wait_let_go(const struct wqi_pool *pool);

/* wq_work_cancel(), and parts of wq_work_cancel_sync(); cancel.c. */
int wqi_cancel_item(struct wq_work *work);
int wqi_cancel_once_sync(struct wq_work *work);
void wqi_cancel_leave(struct wq_work *work);
bool wqi_cancel_enter_unless_full(struct wq_work *work);

/* k_work_submit_to_queue() of an item that is neither scheduled nor being cancelled: else 0. */
int wqi_zephyr_submit_idle(struct k_work_q *queue, struct k_work *work);

/* k_work_submit_to_queue(), and both ways to schedule, that start no queue: -ENODEV instead. */
int wqi_zephyr_submit_started(struct k_work_q *queue, struct k_work *work);
int wqi_zephyr_schedule_started(struct k_work_q *queue, struct k_work_delayable *dwork,
				uint64_t delay_ns, bool anyway);

/* The function of the item in a k_work_poll; before such an item is cancelled, and after. */
void wqi_zephyr_poll_run(struct k_work *work);
bool wqi_zephyr_poll_leave(struct k_work *work); /* true: it waited */
void wqi_zephyr_poll_left(struct k_work *work);

/* --- queues --- */

/*
 * Give a queue that starts by itself its thread.  0, -ENODEV: it does not, and is not started;
 * or another reason.  Sleeps.
 */
int wqi_zephyr_queue_auto(struct k_work_q *queue);

/* The loop of such a queue's worker, instead of wqi_worker_loop_locked(). */
void wqi_zephyr_loop_locked(struct wqi_worker *self);

/* An item's run has ended; nobody who waited for it has been woken. */
void wqi_zephyr_ended_locked(struct wqi_worker *self);

/* The manager has made the thread of a pool of such a queue. */
void wqi_zephyr_note_thread(struct wqi_pool *pool, pthread_t thread);

/*
 * A run begins that is to be watched.  No lock held.  Before there are any: 0, or -ENOMEM,
 * -EAGAIN, -ESHUTDOWN; not under G.  Before the first of a queue; under G.  After the last; sleeps.
 */
void wqi_zephyr_watch(struct k_work_q *queue, struct k_work *work);
int wqi_zephyr_watch_prepare(void);
void wqi_zephyr_watch_init(struct k_work_q *queue);
void wqi_zephyr_watch_end(struct k_work_q *queue);

/* Returns the flags before. */
uint32_t wqi_zephyr_change_flags(struct k_work_q *queue, uint32_t clear, uint32_t set);

/*
 * The queue refuses as its flags say: while it drains all but its own items, plugged or not;
 * else if it is plugged all.  Whoever changes them looks again after the store, so the last
 * store is of the last flags.  Lock-free, AS-safe.
 */
void wqi_zephyr_follow_flags(const struct k_work_q *queue, struct wq *wq);

/* For wq_shutdown(): refuse all, and take them again; end the watch; it is stopped. */
void wqi_zephyr_queue_hold(struct wq *wq);
void wqi_zephyr_queue_release(struct wq *wq);
void wqi_zephyr_queue_unwatch(struct wq *wq);
void wqi_zephyr_queue_stopped(struct wq *wq);

/* In the child of a fork(). */
void wqi_zephyr_queue_reset(struct wq *wq);
void wqi_zephyr_polls_reset(void);

#endif /* WQI_ZEPHYR_H */
