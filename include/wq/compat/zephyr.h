/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/compat/zephyr.h
 * Zephyr's k_work: code that was written for its work queues, in user space.
 *
 * Semantics: Zephyr's kernel/work.c (2026).  Each call answers as there, and goes through
 * the same states; README.md, "Code from Zephyr", lists what differs.  A k_work_q is a
 * WQ_DEDICATED queue of this library: ordered, with a thread of its own.
 *
 * What Zephyr lets interrupts call is async-signal-safe here ("AS-Safe" below), once the
 * queue has been started: k_sys_work_q and the queues of K_WORK_QUEUE_DEFINE() get their
 * thread at their first use, which allocates; k_work_queue_thread_get() is such a use.
 *
 * Items stay the caller's memory, as in Zephyr: they may be freed when they are idle, after
 * a `_sync` call.  A handler must not free its own item.
 */
#ifndef WQ_COMPAT_ZEPHYR_H
#define WQ_COMPAT_ZEPHYR_H

#include <wq/delayed.h>
#include <wq/work.h>

#include <wq/compat/zephyr_time.h>

#ifndef CONTAINER_OF
#define CONTAINER_OF(ptr, type, field) ((type *)(void *)((char *)(ptr)-offsetof(type, field)))
#endif

#ifndef CONFIG_SYSTEM_WORKQUEUE_PRIORITY
#define CONFIG_SYSTEM_WORKQUEUE_PRIORITY -1
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct k_work;
struct k_work_q;

typedef void (*k_work_handler_t)(struct k_work *work);

enum {
	/* Of an item, from k_work_busy_get(). */
	K_WORK_RUNNING = 1 << 0,
	K_WORK_CANCELING = 1 << 1,
	K_WORK_QUEUED = 1 << 2,
	K_WORK_DELAYED = 1 << 3,
	K_WORK_FLUSHING = 1 << 4, /* never: a flush needs no item */
	K_WORK_MASK = 0x1f,

	/* work.flags, and nothing else in it. */
	K_WORK_DELAYABLE = 1 << 8,

	/* queue.flags */
	K_WORK_QUEUE_STARTED = 1 << 0,
	K_WORK_QUEUE_BUSY = 1 << 1,
	K_WORK_QUEUE_DRAIN = 1 << 2,
	K_WORK_QUEUE_PLUGGED = 1 << 3,
	K_WORK_QUEUE_STOP = 1 << 4,
	K_WORK_QUEUE_NO_YIELD = 1 << 8,
};

/**
 * struct k_work - an item
 * @handler: its function
 * @queue:   the queue that it was queued on last
 * @flags:   K_WORK_DELAYABLE or 0; what the item does is in k_work_busy_get()
 */
struct k_work {
	k_work_handler_t handler;
	struct k_work_q *queue;
	uint32_t flags;
	uint32_t wq_kept;
	void *wq_next;
	struct wq_work wq_work;
};

/** struct k_work_delayable - an item that can be queued after a delay */
struct k_work_delayable {
	struct k_work work;
	struct wq_timer wq_timer;
	uint64_t wq_again;
};

/** struct k_work_sync - accepted, and not used: what waiting needs is on the stack */
struct k_work_sync {
	void *wq_unused;
};

/**
 * struct k_work_queue_config
 * @name:            copied, kept whole; the thread gets what fits; NULL: "k_work_q"
 * @no_yield:        do not yield the CPU between two items
 * @essential:       can't be stopped, but by wq_shutdown()
 * @work_timeout_ms: an item that runs longer is reported, by wq_zephyr_set_timeout(), or else
 *                   as other reports are (wq_set_report()); 0: none.  Its thread goes on
 */
struct k_work_queue_config {
	const char *name;
	bool no_yield;
	bool essential;
	uint32_t work_timeout_ms;
};

/**
 * struct k_work_q - a queue; a zeroed one is valid, and stopped
 * @thread_id: its thread; 0 while it has none
 * @flags:     K_WORK_QUEUE_*
 *
 * Both may change while they are read, as in Zephyr on several processors.  The memory is
 * the library's from the start of the queue until k_work_queue_stop() has answered 0.
 */
struct k_work_q {
	k_tid_t thread_id;
	uint32_t flags;
	uint32_t wq_event;
	struct wq *wq_queue;
	const char *wq_name;
	size_t wq_stack_bytes;
	int wq_prio;
	uint32_t wq_timeout_ms;
	bool wq_static, wq_essential, wq_held;
	uint32_t wq_kept, wq_users;
	uint64_t wq_begun_ns;
	uint64_t wq_reported_ns;
	struct k_work *wq_runs;
	k_work_handler_t wq_handler;
	struct wq_delayed_work wq_watch;
};

/** Private: what all of these items do for the library. */
WQ_API void wq_zephyr_run(struct wq_work *work, void *ctx);

/* --- items --- */

#define Z_WORK_INITIALIZER(work_handler)                                                           \
	{                                                                                          \
		(work_handler), NULL, 0, 0, NULL, WQ_WORK_INIT(wq_zephyr_run, NULL)                \
	}

#define Z_WORK_DELAYABLE_INITIALIZER(work_handler)                                                 \
	{                                                                                          \
		{(work_handler),                                                                   \
		 NULL,                                                                             \
		 K_WORK_DELAYABLE,                                                                 \
		 0,                                                                                \
		 NULL,                                                                             \
		 WQ_WORK_INIT(wq_zephyr_run, NULL)},                                               \
			{{NULL, NULL}, 0, NULL, NULL, 0, WQ_TIMER_ZEPHYR}, 0                       \
	}

/** Define an item; equal, byte by byte, to one that was initialised by the call. */
#define K_WORK_DEFINE(work, work_handler) struct k_work work = Z_WORK_INITIALIZER(work_handler)

#define K_WORK_DELAYABLE_DEFINE(work, work_handler)                                                \
	struct k_work_delayable work = Z_WORK_DELAYABLE_INITIALIZER(work_handler)

/** Private: which kind of timer it is (wq/delayed.h). */
#define WQ_TIMER_ZEPHYR 4u

/**
 * wq_zephyr_work_init, wq_zephyr_delayable_init - k_work_init(), k_work_init_delayable()
 * @work: item, idle or never used
 * @handler: its function; with NULL the item is refused everywhere (-EINVAL)
 *
 * Safety: not MT-Safe on one item; AS-Safe.
 * Since: 0.1
 */
WQ_API void wq_zephyr_work_init(struct k_work *work, k_work_handler_t handler);
WQ_API void wq_zephyr_delayable_init(struct k_work_delayable *dwork, k_work_handler_t handler);

/**
 * wq_zephyr_submit - k_work_submit_to_queue()
 * @queue: NULL: the queue that it was on last
 * @work:  item
 *
 * Return: 1 queued; 2 it is running, and queued where it runs; 0 it was queued already;
 *   -EBUSY it is being cancelled; the queue is draining and the caller is not one of its
 *   items; or is plugged and not draining; -EINVAL no queue, or not initialised; -ENODEV not
 *   started.  Looked at in Zephyr's order: cancelling, queued, running, no queue, not started,
 *   draining, plugged.  -EAGAIN, -ENOMEM the first use in a child of fork(), or of a queue that
 *   starts by itself, could not start a thread; -ESHUTDOWN the latter, while wq_shutdown() is at
 *   work.
 * Context: any, signal handlers included.  Never waits or allocates (but see above).
 * Safety: MT-Safe, AS-Safe.
 * Ordering: what the caller wrote before a call that did not fail is seen by the run that follows.
 * Since: 0.1
 */
WQ_API int wq_zephyr_submit(struct k_work_q *queue, struct k_work *work);

/**
 * wq_zephyr_busy - k_work_busy_get()
 * @work: item
 *
 * Return: a snapshot of K_WORK_RUNNING, K_WORK_CANCELING, K_WORK_QUEUED, K_WORK_DELAYED.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_busy(const struct k_work *work);

/**
 * wq_zephyr_flush - k_work_flush(), k_work_flush_delayable()
 * @work:  item
 * @timer: one that is scheduled is queued at once; else its timer is left alone
 *
 * Return: true: the call waited; false: it was idle, or waiting could not end: it is the
 *   caller's own item, or queued behind it.
 * Context: any thread or item; sleeps.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API bool wq_zephyr_flush(struct k_work *work, bool timer);

/**
 * wq_zephyr_cancel - k_work_cancel(), k_work_cancel_delayable()
 * @work: item
 *
 * While its handler goes on the item is cancelling, and can't be submitted.  The item in a
 * k_work_poll does not wait any more either.
 *
 * Return: 0 it is idle; else what k_work_busy_get() answers now.
 * Context: any, signal handlers included.  Never waits for an item or allocates.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_cancel(struct k_work *work);

/**
 * wq_zephyr_cancel_sync - k_work_cancel_sync(), k_work_cancel_delayable_sync()
 * @work: item
 *
 * Several callers at once are fine; all return.  From the item's own handler it cancels, and
 * does not wait.
 *
 * Return: was it busy in any way?
 * Context: any thread or item; sleeps.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Lifetime: if nobody submits or schedules it again, the memory is the caller's.
 * Since: 0.1
 */
WQ_API bool wq_zephyr_cancel_sync(struct k_work *work);

/**
 * wq_zephyr_schedule, wq_zephyr_reschedule - k_work_schedule_for_queue(), and the other
 * @queue:    NULL: the queue that it was on last
 * @dwork:    item
 * @delay_ns: nanoseconds from now; 0: as wq_zephyr_submit(); UINT64_MAX: for ever
 *
 * The first does nothing unless the item is idle, or just running.  The second sets the timer
 * whatever the state, and leaves alone an instance that is queued.
 *
 * Return: 1 scheduled; 0 the first: it was not idle; -EINVAL, -ENODEV, -EAGAIN, -ENOMEM as
 *   wq_zephyr_submit(); with no delay all that it answers.
 * Context: any, signal handlers included.  Does not allocate.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_schedule(struct k_work_q *queue, struct k_work_delayable *dwork,
			      uint64_t delay_ns);
WQ_API int wq_zephyr_reschedule(struct k_work_q *queue, struct k_work_delayable *dwork,
				uint64_t delay_ns);

/**
 * wq_zephyr_expires_ns - when is it due?
 * @dwork: item
 *
 * Return: nanoseconds on CLOCK_MONOTONIC; 0 it is not scheduled.  A snapshot.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API uint64_t wq_zephyr_expires_ns(const struct k_work_delayable *dwork);

/* --- queues --- */

/** The queue of k_work_submit() and k_work_schedule(); it starts by itself, and is essential. */
WQ_API extern struct k_work_q wq_zephyr_sys_work_q;
#define k_sys_work_q wq_zephyr_sys_work_q

#define WQ_ZEPHYR_QUEUE_DEFINE(queue, stack_size, prio, no_yield, timeout, ...)                     \
	struct k_work_q queue = {                                                                   \
		0,	K_WORK_QUEUE_STARTED | ((no_yield) ? (uint32_t)K_WORK_QUEUE_NO_YIELD : 0u), \
		0,	NULL,                                                                       \
		#queue, (stack_size),                                                               \
		(prio), (timeout),                                                                  \
		true,	false,                                                                      \
		false,	0,                                                                          \
		0,	0,                                                                          \
		0,	NULL,                                                                       \
		NULL,	WQ_DELAYED_WORK_INIT(NULL, NULL)}

/**
 * K_WORK_QUEUE_DEFINE - define a queue that starts by itself
 *
 * (name, stack size, priority, no_yield[, work_timeout_ms]).  Its thread is made at its first
 * use; it shows K_WORK_QUEUE_STARTED from the beginning.
 */
#define K_WORK_QUEUE_DEFINE(name, stack_size, ...)                                                 \
	WQ_ZEPHYR_QUEUE_DEFINE(name, stack_size, __VA_ARGS__, 0, 0)

/**
 * wq_zephyr_queue_start - k_work_queue_start(), which does not answer
 * @queue:      zeroed, or stopped
 * @stack_bytes: a hint
 * @prio:       below 0 cooperative, else preemptible: becomes a nice value, as near as permitted
 * @config:     NULL: the defaults; not kept
 *
 * Return: 0; -EALREADY it is started; -ENOMEM, -EAGAIN no thread could be made; -ESHUTDOWN
 *   wq_shutdown() is at work; -EINVAL NULL.  On failure it stays stopped.
 * Context: any thread or item; allocates, sleeps.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_queue_start(struct k_work_q *queue, size_t stack_bytes, int prio,
				 const struct k_work_queue_config *config);

/**
 * wq_zephyr_queue_run - k_work_queue_run(), which does not answer
 * @queue:  zeroed, or stopped
 * @config: as above
 *
 * The calling thread runs the items, with its name, priority and signal mask, until another
 * stops the queue.
 *
 * Return: 0 it was stopped; -EDEADLK from an item; else as wq_zephyr_queue_start(), at once.
 * Context: any thread; allocates, sleeps.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_queue_run(struct k_work_q *queue, const struct k_work_queue_config *config);

/**
 * k_work_queue_drain - wait until nothing is queued or running
 * @queue: queue
 * @plug:  refuse all afterwards, until k_work_queue_unplug()
 *
 * Meanwhile only its own items may submit to it.  What is scheduled is not waited for, and
 * is kept if its time comes.
 *
 * Return: 0 it was idle, and is not to be plugged; 1 waited; -ENODEV to plug one that is not
 *   started; -EDEADLK from one of its items.
 * Context: any thread or item of another queue; sleeps.
 * Safety: MT-Safe, but not beside wq_shutdown(); AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_queue_drain(struct k_work_q *queue, bool plug);

/**
 * k_work_queue_unplug - take items again
 * @queue: queue
 *
 * Return: 0; -EALREADY it is not plugged.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_queue_unplug(struct k_work_q *queue);

/**
 * wq_zephyr_queue_stop - k_work_queue_stop()
 * @queue:      queue, plugged
 * @timeout_ns: how long to wait for what is queued and running; UINT64_MAX: for ever
 *
 * Return: 0 stopped, and the memory is the caller's; -ENOTSUP essential; -EALREADY not started;
 *   -EBUSY not plugged, or an item is scheduled on it; -ETIMEDOUT it goes on, plugged; -EDEADLK
 *   from one of its items.
 * Context: any thread or item of another queue; sleeps.
 * Safety: MT-Safe, but not beside wq_shutdown(); AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_queue_stop(struct k_work_q *queue, uint64_t timeout_ns);

/**
 * wq_zephyr_queue_thread - k_work_queue_thread_get()
 * @queue: queue; one that starts by itself is started
 *
 * Return: its thread; 0 it has none.
 * Safety: MT-Safe; AS-Safe once it is started.
 * Since: 0.1
 */
WQ_API k_tid_t wq_zephyr_queue_thread(struct k_work_q *queue);

/**
 * wq_zephyr_timers_kept - timers that came to be due while the queue refused them
 * @queue: queue
 *
 * Zephyr loses their items.  Here they are queued when the queue takes items again.
 *
 * Return: how many since the queue was started; one that was set anew counts anew.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API uint32_t wq_zephyr_timers_kept(const struct k_work_q *queue);

typedef void (*wq_zephyr_timeout_fn)(struct k_work_q *queue, struct k_work *work,
				     k_work_handler_t handler);

/**
 * wq_zephyr_set_timeout - what is called for an item that runs longer than work_timeout_ms
 * @fn: called on a thread of the library, once a run; NULL: it is reported instead
 *
 * Safety: MT-Safe.
 * Since: 0.1
 */
WQ_API void wq_zephyr_set_timeout(wq_zephyr_timeout_fn fn);

#ifdef __cplusplus
}
#endif

#include <wq/compat/zephyr_calls.h>
#include <wq/compat/zephyr_poll.h>

#endif /* WQ_COMPAT_ZEPHYR_H */
