/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/compat/zephyr_poll.h
 * Zephyr's triggered work (k_work_poll) with signals to poll for, and its user mode work.
 *
 * Included by wq/compat/zephyr.h.  Of the kernel's objects k_poll_signal alone can be waited
 * for: descriptors are what wq/trigger.h is for.  Each raise triggers one of those that wait.
 */
#ifndef WQ_COMPAT_ZEPHYR_POLL_H
#define WQ_COMPAT_ZEPHYR_POLL_H

#include <errno.h>

#include <wq/compat/zephyr.h>

#ifdef __cplusplus
extern "C" {
#endif

#define K_POLL_TYPE_IGNORE 0u
#define K_POLL_TYPE_SIGNAL 1u

#define K_POLL_STATE_NOT_READY 0u
#define K_POLL_STATE_SIGNALED  1u

#define K_POLL_MODE_NOTIFY_ONLY 0u

struct k_poll_event;
struct k_work_poll;

/**
 * struct k_poll_signal
 * @signaled: raised, and not reset since
 * @result:   what it was raised with
 */
struct k_poll_signal {
	struct k_poll_event *wq_waiting;
	unsigned int signaled;
	int result;
};

/**
 * struct k_poll_event - what a k_work_poll waits for
 * @tag:    the caller's
 * @type:   K_POLL_TYPE_*
 * @state:  K_POLL_STATE_*: set when the item is triggered
 * @signal: what is waited for
 *
 * The array is the library's until the item's handler is entered or it is cancelled.
 */
struct k_poll_event {
	struct k_poll_event *wq_next;
	struct k_work_poll *wq_poll;
	uint32_t tag, type, state, mode;
	union {
		void *obj;
		struct k_poll_signal *signal;
	};
};

/**
 * struct k_work_poll - an item that can wait for events
 * @work:        what its handler gets, for CONTAINER_OF
 * @poll_result: 0 an event came; -EAGAIN none did in time; -EINPROGRESS it is waiting
 */
struct k_work_poll {
	struct k_work work;
	struct wq_timer wq_timer;
	uint64_t wq_again;
	k_work_handler_t wq_handler;
	struct k_work_q *wq_queue;
	struct k_poll_event *wq_events;
	int wq_nr_events;
	int poll_result;
	uint64_t wq_generation;
	bool wq_waiting, wq_timed;
};

#define K_POLL_SIGNAL_INITIALIZER(obj)                                                             \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

#define K_POLL_EVENT_STATIC_INITIALIZER(event_type, event_mode, event_obj, event_tag)              \
	{                                                                                          \
		NULL, NULL, (event_tag), (event_type), K_POLL_STATE_NOT_READY, (event_mode),       \
		{                                                                                  \
			(event_obj)                                                                \
		}                                                                                  \
	}

#define K_POLL_EVENT_INITIALIZER(event_type, event_mode, event_obj)                                \
	K_POLL_EVENT_STATIC_INITIALIZER(event_type, event_mode, event_obj, 0)

/**
 * wq_zephyr_signal_raise, wq_zephyr_signal_reset, wq_zephyr_signal_check - k_poll_signal_raise(),
 * k_poll_signal_reset(), k_poll_signal_check()
 * @signal: signal, initialised
 *
 * Return: of the first 0.
 * Context: any, signal handlers included.  Does not wait for items, nor allocate.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_signal_raise(struct k_poll_signal *signal, int result);
WQ_API void wq_zephyr_signal_reset(struct k_poll_signal *signal);
WQ_API void wq_zephyr_signal_check(const struct k_poll_signal *signal, unsigned int *signaled,
				   int *result);

/**
 * wq_zephyr_poll_init - k_work_poll_init()
 * @work:    item, idle or never used
 * @handler: its function
 *
 * Safety: not MT-Safe on one item; AS-Safe.
 * Since: 0.1
 */
WQ_API void wq_zephyr_poll_init(struct k_work_poll *work, k_work_handler_t handler);

/**
 * wq_zephyr_poll_submit - k_work_poll_submit_to_queue()
 * @queue:      queue
 * @work:       item; one that is waiting already waits for this instead
 * @events:     what to wait for, one of them; what is ready already counts
 * @nr:         how many
 * @timeout_ns: nanoseconds from now; 0: queued at once; UINT64_MAX: none
 *
 * Where the queue refuses items when an event comes, the item is kept until it takes some.
 *
 * Return: 0 it is waiting, or queued; -EINVAL it has been triggered, and not run; or NULL, not
 *   initialised, an event that can't be waited for; -EADDRINUSE it waits on another queue;
 *   -ENODEV the queue is not started; -EBUSY the item is being cancelled; -EAGAIN, -ENOMEM as
 *   wq_zephyr_submit().
 * Context: any, signal handlers included.  Does not wait for items, nor allocate.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_poll_submit(struct k_work_q *queue, struct k_work_poll *work,
				 struct k_poll_event *events, int nr, uint64_t timeout_ns);

/**
 * wq_zephyr_poll_cancel - k_work_poll_cancel()
 * @work: item
 *
 * Return: 0 it does not wait any more; -EINVAL it did not wait, or has been triggered; NULL.
 * Context: any, signal handlers included.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_zephyr_poll_cancel(struct k_work_poll *work);

static inline void k_poll_signal_init(struct k_poll_signal *sig)
{
	sig->wq_waiting = NULL;
	sig->signaled = 0;
	sig->result = 0;
}

static inline int k_poll_signal_raise(struct k_poll_signal *sig, int result)
{
	return wq_zephyr_signal_raise(sig, result);
}

static inline void k_poll_signal_reset(struct k_poll_signal *sig)
{
	wq_zephyr_signal_reset(sig);
}

static inline void k_poll_signal_check(struct k_poll_signal *sig, unsigned int *signaled,
				       int *result)
{
	wq_zephyr_signal_check(sig, signaled, result);
}

static inline void k_poll_event_init(struct k_poll_event *event, uint32_t type, int mode, void *obj)
{
	event->wq_next = NULL;
	event->wq_poll = NULL;
	event->tag = 0;
	event->type = type;
	event->state = K_POLL_STATE_NOT_READY;
	event->mode = (uint32_t)mode;
	event->obj = obj;
}

static inline void k_work_poll_init(struct k_work_poll *work, k_work_handler_t handler)
{
	wq_zephyr_poll_init(work, handler);
}

static inline int k_work_poll_submit_to_queue(struct k_work_q *queue, struct k_work_poll *work,
					      struct k_poll_event *events, int num_events,
					      k_timeout_t timeout)
{
	return wq_zephyr_poll_submit(queue, work, events, num_events, wq_zephyr_delay_ns(timeout));
}

static inline int k_work_poll_submit(struct k_work_poll *work, struct k_poll_event *events,
				     int num_events, k_timeout_t timeout)
{
	return k_work_poll_submit_to_queue(&k_sys_work_q, work, events, num_events, timeout);
}

static inline int k_work_poll_cancel(struct k_work_poll *work)
{
	return wq_zephyr_poll_cancel(work);
}

/* --- user mode work: the same, for there is but one mode here --- */

struct k_work_user;
typedef void (*k_work_user_handler_t)(struct k_work_user *work);

struct k_work_user {
	k_work_user_handler_t handler;
	struct k_work wq_work;
};

struct k_work_user_q {
	struct k_work_q wq_queue;
};

/** Private: the function of such items. */
WQ_API void wq_zephyr_user_run(struct k_work *work);

#define Z_WORK_USER_INITIALIZER(work_handler)                                                      \
	{                                                                                          \
		(work_handler), Z_WORK_INITIALIZER(wq_zephyr_user_run)                             \
	}

#define K_WORK_USER_DEFINE(work, work_handler)                                                     \
	struct k_work_user work = Z_WORK_USER_INITIALIZER(work_handler)

static inline void k_work_user_init(struct k_work_user *work, k_work_user_handler_t handler)
{
	work->handler = handler;
	wq_zephyr_work_init(&work->wq_work, wq_zephyr_user_run);
}

/** Is it queued, and not running yet? */
static inline bool k_work_user_is_pending(struct k_work_user *work)
{
	return wq_zephyr_busy(&work->wq_work) & K_WORK_QUEUED;
}

/** 0; -EBUSY it is queued already, or refused; else as wq_zephyr_submit(). */
static inline int k_work_user_submit_to_queue(struct k_work_user_q *queue, struct k_work_user *work)
{
	int ret = wq_zephyr_submit(&queue->wq_queue, &work->wq_work);

	return ret > 0 ? 0 : ret ? ret : -EBUSY;
}

static inline void k_work_user_queue_start(struct k_work_user_q *queue, k_thread_stack_t *stack,
					   size_t stack_size, int prio, const char *name)
{
	struct k_work_queue_config config = {name, false, false, 0};

	(void)stack;
	(void)wq_zephyr_queue_start(&queue->wq_queue, stack_size, prio, &config);
}

static inline k_tid_t k_work_user_queue_thread_get(struct k_work_user_q *queue)
{
	return wq_zephyr_queue_thread(&queue->wq_queue);
}

#ifdef __cplusplus
}
#endif

#endif /* WQ_COMPAT_ZEPHYR_POLL_H */
