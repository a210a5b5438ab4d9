/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/trigger.h
 * The trigger item: `struct wq_trigger_work`, queued when a file descriptor is ready.
 *
 * Semantics: Zephyr k_work_poll, with the events of epoll(7).  An item waits for one or
 * several events, for the first of them or a time-out, and is then queued once; to wait
 * again is a new call.  Meanwhile it is armed, as a delayed item is (wq/delayed.h): it
 * can be flushed, cancelled and disabled, its queue can't be destroyed, and where an
 * event comes while the queue is plugged, draining or frozen, the item stays armed until
 * that is over.  Any number of items may wait for the same descriptor: what is ready is
 * ready for all of them.
 *
 * A thread `wq/trigger`, made at the first use, waits for the events, on an epoll
 * descriptor of its own and an eventfd; both are close-on-exec.  In the child of a
 * fork() armed items are idle, and the child gets descriptors of its own when it uses
 * one.
 *
 * A program may close all descriptors that it does not know, as daemons do, and use the
 * numbers for its own: the library then makes new ones at the next use or event, and what
 * is still open goes on being waited for.
 *
 * **Cancel an item before closing what it waits for.**  The kernel tells nobody that a
 * descriptor was closed: where that is noticed later (another item is armed on the same
 * number, or at the time-out), the event says POLLNVAL; where the number has been given
 * to another file by then, nothing is noticed, and the item waits for its time-out.
 */
#ifndef WQ_TRIGGER_H
#define WQ_TRIGGER_H

#include <wq/delayed.h>

#ifdef __cplusplus
extern "C" {
#endif

/** No time-out. */
#define WQ_FOREVER UINT64_MAX

/** So many events fit in one wq_queue_trigger(). */
#define WQ_MAX_EVENTS 64

/**
 * struct wq_event - what a trigger item waits for
 * @fd:      descriptor: of a pipe, a socket, an eventfd, or whatever epoll takes
 * @events:  EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP and their like, or-ed together;
 *           EPOLLHUP and EPOLLERR are waited for in any case.  Not EPOLLET,
 *           EPOLLONESHOT, EPOLLEXCLUSIVE, EPOLLWAKEUP
 * @revents: set to what is ready when the item is queued; POLLNVAL of <poll.h>: the
 *           descriptor is closed.  Of several events more than one may be set, and some
 *           that are ready may be 0
 *
 * The other fields are private.  The array is the library's from wq_queue_trigger() on
 * until the item's function is entered, or until it is cancelled.
 */
struct wq_event {
	int fd;
	uint32_t events, revents;
	void *wq_node[2];
	struct wq_trigger_work *wq_trigger;
};

/**
 * struct wq_trigger_work - an item that can wait for events
 * @work:   the item: what its function gets, for container-of
 * @result: set before the function is entered: 0 an event came; -ETIMEDOUT none did, or
 *          the item was flushed before
 *
 * Initialise it with WQ_TRIGGER_WORK_INIT() or wq_trigger_work_init().
 */
struct wq_trigger_work {
	struct wq_work work;
	struct wq_timer wq_timer;
	int result;
	unsigned wq_nr;
	struct wq_event *wq_events;
};

/**
 * WQ_TRIGGER_WORK_INIT - static initialiser of a struct wq_trigger_work
 * @fn:  wq_work_fn to call
 * @ctx: context handed to @fn
 */
#define WQ_TRIGGER_WORK_INIT(fn, ctx)                                                              \
	{                                                                                          \
		WQ_WORK_INIT(fn, ctx), {{NULL, NULL}, 0, NULL, NULL, 0, WQ_TIMER_TRIGGER}, 0, 0,   \
			NULL                                                                       \
	}

/**
 * wq_trigger_work_init - make a trigger item idle and set its function and context
 * @tw:  item; must be neither armed nor pending
 * @fn:  function to call; not NULL
 * @ctx: context handed to @fn; may be NULL
 *
 * Context, Safety, Lifetime: as wq_work_init().
 * Since: 0.1
 */
WQ_API void wq_trigger_work_init(struct wq_trigger_work *tw, wq_work_fn fn, void *ctx);

/**
 * wq_queue_trigger - hand an item to a queue when a descriptor is ready
 * @wq:         queue
 * @tw:         item, initialised
 * @ev:         array of events, valid until the function is entered or the item is
 *              cancelled
 * @nr:         how many: 1 to WQ_MAX_EVENTS
 * @timeout_ns: nanoseconds from now, on CLOCK_MONOTONIC; 0: queued at once, and the
 *              result says whether one was ready; WQ_FOREVER: no time-out
 *
 * What is ready already counts.  At the time-out the descriptors are looked at once
 * more: -ETIMEDOUT says that none was ready then.
 *
 * Return: 1 armed; 0 armed or pending already, and nothing has changed; -EBUSY disabled,
 *   or being cancelled; -ESHUTDOWN the queue is being destroyed; -EINVAL NULL, an item
 *   that was not initialised as a trigger item, @nr 0, events that are not allowed;
 *   -E2BIG @nr above WQ_MAX_EVENTS; -EBADF a descriptor that is not open; -EPERM one
 *   that epoll does not take, as of a regular file; -ELOOP, -ENOSPC as epoll_ctl(2);
 *   -EMFILE, -ENFILE, -EAGAIN, -ENOMEM the thread, its descriptors or memory could not be
 *   had.  Nothing has changed unless the answer is 1.
 * Context: any thread or item.  Does not wait for events; may sleep for a lock; may
 *   allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what the caller wrote before is seen by the run.
 * Lifetime: on 1, @tw and @ev belong to the library until fn is entered.
 * Since: 0.1
 */
WQ_API int wq_queue_trigger(struct wq *wq, struct wq_trigger_work *tw, struct wq_event *ev,
			    unsigned nr, uint64_t timeout_ns);

/**
 * wq_trigger_work_pending, wq_trigger_work_busy - is it armed or pending; what is it doing?
 * @tw: item, or NULL (answers false, 0)
 *
 * As wq_work_pending() and wq_work_busy() of the embedded item: WQ_BUSY_DELAYED says that
 * it is armed.
 * Since: 0.1
 */
WQ_API bool wq_trigger_work_pending(const struct wq_trigger_work *tw);
WQ_API unsigned wq_trigger_work_busy(const struct wq_trigger_work *tw);

/**
 * wq_trigger_work_flush - run an armed item now, and wait
 * @tw: item
 *
 * As if its time-out had come.
 *
 * Return: as wq_work_flush().
 * Context, Safety, Ordering, Lifetime: as wq_work_flush().
 * Since: 0.1
 */
WQ_API int wq_trigger_work_flush(struct wq_trigger_work *tw);

/**
 * wq_trigger_work_cancel, wq_trigger_work_cancel_sync - disarm an item, and take it back
 * if it has not started; and wait until it does not run
 * @tw: item
 *
 * Return: as wq_work_cancel(), wq_work_cancel_sync(); 1 also if it was armed.
 * Context, Safety, Ordering, Lifetime: as those; the events' array is as the item.  Before
 *   a descriptor is closed, the second should have returned, or the first from a thread
 *   that does not queue the item at the same time.
 * Since: 0.1
 */
WQ_API int wq_trigger_work_cancel(struct wq_trigger_work *tw);
WQ_API int wq_trigger_work_cancel_sync(struct wq_trigger_work *tw);

/**
 * wq_trigger_work_disable, wq_trigger_work_disable_sync, wq_trigger_work_enable - refuse to
 * arm or queue an item, and take it back; undo that
 * @tw: item
 *
 * Return, Context, Safety, Ordering, Lifetime: as wq_work_disable(),
 * wq_work_disable_sync() and wq_work_enable(); 1 of the first two also if it was armed.
 * Since: 0.1
 */
WQ_API int wq_trigger_work_disable(struct wq_trigger_work *tw);
WQ_API int wq_trigger_work_disable_sync(struct wq_trigger_work *tw);
WQ_API int wq_trigger_work_enable(struct wq_trigger_work *tw);

#ifdef __cplusplus
}
#endif

#endif /* WQ_TRIGGER_H */
