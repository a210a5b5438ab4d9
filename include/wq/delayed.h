/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/delayed.h
 * The delayed item: `struct wq_delayed_work`, queued when its time has come.
 *
 * Semantics: Linux `struct delayed_work`; wq_reschedule() is Zephyr's
 * k_work_reschedule_for_queue().  While it waits for its time an item is *armed*.
 *
 * All times are nanoseconds of CLOCK_MONOTONIC, which stands still while the
 * machine is suspended and does not jump when its date is set.  An item is never
 * queued early, and late by at most one tick (8.2 µs), a microsecond or two by which the
 * present may be taken for later than it is when a delay begins, and the time that it
 * takes to wake the thread `wq/clock`, if that gets a CPU.  What is due in one tick is queued
 * in no particular order.  A delay that reaches beyond 2^64 ns is as long as that:
 * for ever.
 *
 * Armed items do not keep a queue from being flushed or drained: they have not been
 * accepted yet.  Where an item's time comes while its queue is plugged, draining or
 * frozen, it stays armed, can be cancelled, and is queued when that ends.  A queue
 * with armed items can't be destroyed (-EBUSY).  In the child of a fork() items that
 * were armed are idle.
 *
 * wq_work_pending(), wq_work_busy(), wq_work_flush(), wq_work_cancel() and their like,
 * called on the embedded item, answer as the calls here do.
 */
#ifndef WQ_DELAYED_H
#define WQ_DELAYED_H

#include <wq/work.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What delayed, rcu and trigger items have in common; all fields are private. */
struct wq_timer {
	void *wq_node[2];
	uint64_t wq_expires_ns;
	struct wq *wq_queue;
	void *wq_next;
	int wq_cpu;
	unsigned wq_kind;
};

/**
 * struct wq_delayed_work - an item that can be queued after a delay
 * @work: the item: what its function gets, for container-of
 *
 * Initialise it with WQ_DELAYED_WORK_INIT() or wq_delayed_work_init(); a zeroed one
 * is not valid and is refused with -EINVAL.  88 bytes on LP64, and nothing is
 * allocated beside.  Lifetime: as of a struct wq_work, from an arming call on.
 */
struct wq_delayed_work {
	struct wq_work work;
	struct wq_timer wq_timer;
};

/** Private: which of the three an item is. */
#define WQ_TIMER_DELAYED 1u
#define WQ_TIMER_RCU	 2u
#define WQ_TIMER_TRIGGER 3u

/**
 * WQ_DELAYED_WORK_INIT - static initialiser of a struct wq_delayed_work
 * @fn:  wq_work_fn to call
 * @ctx: context handed to @fn
 */
#define WQ_DELAYED_WORK_INIT(fn, ctx)                                                              \
	{                                                                                          \
		WQ_WORK_INIT(fn, ctx),                                                             \
		{                                                                                  \
			{NULL, NULL}, 0, NULL, NULL, 0, WQ_TIMER_DELAYED                           \
		}                                                                                  \
	}

/**
 * wq_delayed_work_init - make a delayed item idle and set its function and context
 * @dw:  item; must be neither armed nor pending
 * @fn:  function to call; not NULL
 * @ctx: context handed to @fn; may be NULL
 *
 * Context, Safety, Lifetime: as wq_work_init().
 * Since: 0.1
 */
WQ_API void wq_delayed_work_init(struct wq_delayed_work *dw, wq_work_fn fn, void *ctx);

/**
 * wq_queue_delayed - hand an item to a queue after a delay
 * @wq:       queue
 * @dw:       item, initialised
 * @delay_ns: nanoseconds from now; 0 queues at once, as wq_queue()
 *
 * On a WQ_PERCPU queue the item runs on the CPU on which it was armed.
 *
 * Return: 1 armed (with a delay of 0: queued); 0 armed or pending already, and
 *   nothing has changed: the run that is still to come serves this call too; -EBUSY
 *   disabled, or being cancelled; -ESHUTDOWN the queue is being destroyed (with a
 *   delay of 0 as wq_queue()); -EINVAL NULL, or an item that was not initialised as a
 *   delayed one.  Looked at in the order -EINVAL, -EBUSY, 0, -ESHUTDOWN.  -EAGAIN,
 *   -ENOMEM as wq_queue().  Nothing has changed unless the answer is 1.
 * Context: any, signal handlers included.  Never waits or allocates; but the first
 *   call in a child after fork() does both.
 * Safety: MT-Safe; AS-Safe as wq_queue().
 * Ordering: what the caller wrote before a call that answered 1 or 0 is seen by the
 *   run that follows (G4).
 * Lifetime: on 1, @dw belongs to the library until fn is entered or it is cancelled.
 * Since: 0.1
 */
WQ_API int wq_queue_delayed(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns);

/**
 * wq_queue_delayed_on - the same, for a given CPU
 * @cpu: as in wq_queue_on()
 *
 * Return: as wq_queue_delayed(); -EINVAL also for @cpu out of range.
 * Context, Safety, Ordering, Lifetime: as wq_queue_delayed().
 * Since: 0.1
 */
WQ_API int wq_queue_delayed_on(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns,
			       int cpu);

/**
 * wq_mod_delayed - set an item's delay, whatever its state
 * @wq:       queue that it is to run on from now on
 * @dw:       item, initialised
 * @delay_ns: nanoseconds from now; 0 queues at once
 *
 * Afterwards one run is still to come, after the new delay: what was armed or pending
 * before is taken back.
 *
 * Return: 1 it was armed or pending; 0 it was idle, or running only; -EBUSY disabled,
 *   or being cancelled; -ESHUTDOWN, -EAGAIN, -ENOMEM, -EINVAL as wq_queue_delayed().
 *   Nothing has changed on failure.  An item that was armed or pending is not lost to
 *   a queue that refuses it just now: with a delay of 0 it is armed until that takes it.
 * Context: any thread or item; may sleep for a lock, or while another thread is just
 *   queueing the item.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering, Lifetime: as wq_queue_delayed().
 * Since: 0.1
 */
WQ_API int wq_mod_delayed(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns);

/**
 * wq_mod_delayed_on - the same, for a given CPU
 * @cpu: as in wq_queue_on()
 *
 * Return: as wq_mod_delayed(); -EINVAL also for @cpu out of range.
 * Context, Safety, Ordering, Lifetime: as wq_mod_delayed().
 * Since: 0.1
 */
WQ_API int wq_mod_delayed_on(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns, int cpu);

/**
 * wq_reschedule - set the timer of an item, and that alone
 * @wq:       queue
 * @dw:       item, initialised
 * @delay_ns: nanoseconds from now; 0 queues at once
 *
 * An instance that is pending stays so: then the item runs for that one, and again
 * after the delay, unless it is still pending by then.  Source: Zephyr.
 *
 * Return: 1 armed; with a delay of 0 as wq_queue(), the timer being off in any case
 *   but -EINVAL and -EBUSY; -EBUSY disabled, or being cancelled; -ESHUTDOWN, -EAGAIN,
 *   -ENOMEM, -EINVAL as wq_queue_delayed().  What was armed is not lost, as in
 *   wq_mod_delayed().
 * Context, Safety, Ordering, Lifetime: as wq_mod_delayed().
 * Since: 0.1
 */
WQ_API int wq_reschedule(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns);

/**
 * wq_schedule_delayed - hand an item to the unbound system queue after a delay
 * @dw:       item, initialised
 * @delay_ns: nanoseconds from now; 0 queues at once
 *
 * wq_shutdown() answers -EBUSY while the item is armed.
 *
 * Return: as wq_queue_delayed(wq_system(), ...); -ENOMEM or -EAGAIN where the system
 *   queue could not be made, -ESHUTDOWN as wq_system().
 * Context: as wq_queue_delayed(), but the first call in a process may allocate.
 * Safety, Ordering, Lifetime: as wq_queue_delayed().
 * Since: 0.1
 */
WQ_API int wq_schedule_delayed(struct wq_delayed_work *dw, uint64_t delay_ns);

/**
 * wq_delayed_work_expires_ns - when is the item due?
 * @dw: item, or NULL (answers 0)
 *
 * Return: the time on CLOCK_MONOTONIC, in nanoseconds, of an armed item; 0 it is not
 *   armed.  A snapshot, which may be stale before the caller sees it.
 * Context: any, signal handlers included.  Never waits.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API uint64_t wq_delayed_work_expires_ns(const struct wq_delayed_work *dw);

/**
 * wq_delayed_work_remaining_ns - how long until the item is due?
 * @dw: item, or NULL (answers 0)
 *
 * Return: nanoseconds; 0 it is not armed, or due.  A snapshot.
 * Context: any, signal handlers included.  Never waits.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API uint64_t wq_delayed_work_remaining_ns(const struct wq_delayed_work *dw);

/**
 * wq_delayed_work_pending, wq_delayed_work_busy - is it armed or pending; what is it doing?
 * @dw: item, or NULL (answers false, 0)
 *
 * As wq_work_pending() and wq_work_busy() of the embedded item: the first is true, the
 * second has WQ_BUSY_DELAYED, while the item is armed.
 * Since: 0.1
 */
WQ_API bool wq_delayed_work_pending(const struct wq_delayed_work *dw);
WQ_API unsigned wq_delayed_work_busy(const struct wq_delayed_work *dw);

/**
 * wq_delayed_work_flush - run an armed item now, and wait
 * @dw: item
 *
 * The timer fires at once, also where the queue is plugged or draining; otherwise as
 * wq_work_flush().
 *
 * Return: as wq_work_flush().
 * Context, Safety, Ordering, Lifetime: as wq_work_flush().
 * Since: 0.1
 */
WQ_API int wq_delayed_work_flush(struct wq_delayed_work *dw);

/**
 * wq_delayed_work_cancel, wq_delayed_work_cancel_sync - disarm an item, and take it
 * back if it has not started; and wait until it does not run
 * @dw: item
 *
 * Return: as wq_work_cancel(), wq_work_cancel_sync(); 1 also if it was armed.
 * Context, Safety, Ordering, Lifetime: as those.  After the first, where another thread
 *   was just arming the item, its timer is just firing, or the caller is a signal handler
 *   that interrupted the library, the library holds it a moment longer, and arming it so
 *   long answers -EBUSY.
 * Since: 0.1
 */
WQ_API int wq_delayed_work_cancel(struct wq_delayed_work *dw);
WQ_API int wq_delayed_work_cancel_sync(struct wq_delayed_work *dw);

/**
 * wq_delayed_work_disable, wq_delayed_work_disable_sync, wq_delayed_work_enable -
 * refuse to arm or queue an item, and take it back; undo that
 * @dw: item
 *
 * Return, Context, Safety, Ordering, Lifetime: as wq_work_disable(),
 * wq_work_disable_sync() and wq_work_enable(); 1 of the first two also if it was armed.
 * Since: 0.1
 */
WQ_API int wq_delayed_work_disable(struct wq_delayed_work *dw);
WQ_API int wq_delayed_work_disable_sync(struct wq_delayed_work *dw);
WQ_API int wq_delayed_work_enable(struct wq_delayed_work *dw);

#ifdef __cplusplus
}
#endif

#endif /* WQ_DELAYED_H */
