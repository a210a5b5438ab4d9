/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/rcu.h
 * The RCU item: `struct wq_rcu_work`, queued after a grace period of liburcu.
 *
 * Semantics: Linux `struct rcu_work`.  While it waits for the grace period an item is
 * armed: queueing it again answers 0, wq_work_busy() has WQ_BUSY_DELAYED, and its queue
 * can't be destroyed.  It can be neither cancelled nor disabled then: wq_work_cancel(),
 * wq_work_cancel_sync(), wq_work_disable() and wq_work_disable_sync() of the embedded
 * item answer -EBUSY, and nothing has changed.  Where the grace period ends while the
 * queue is plugged, draining or frozen, the item stays armed until that is over.
 *
 * A flavour is named by the object that its header declares: after <urcu/urcu-memb.h>,
 * <urcu/urcu-mb.h>, <urcu/urcu-qsbr.h> or <urcu/urcu-bp.h> that is &rcu_flavor.  Grace
 * periods are waited for by a thread `wq/rcu` for each flavour in use, many items in
 * one; it is no reader and need not be registered.  Between the start of such a wait and
 * its end a process that goes on using the flavour in a child should not fork(), as with
 * synchronize_rcu() on a thread of its own: wait for the items before.
 */
#ifndef WQ_RCU_H
#define WQ_RCU_H

#include <wq/delayed.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rcu_flavor_struct; /* <urcu/flavor.h> */

/**
 * struct wq_rcu_work - an item that can be queued after a grace period
 * @work: the item: what its function gets, for container-of
 *
 * Initialise it with WQ_RCU_WORK_INIT() or wq_rcu_work_init().  Often embedded in the
 * object that the function is to free.
 */
struct wq_rcu_work {
	struct wq_work work;
	struct wq_timer wq_timer;
	struct wq_rcu_work *wq_later;
	const struct rcu_flavor_struct *wq_flavor;
	uint64_t wq_armings;
};

/**
 * WQ_RCU_WORK_INIT - static initialiser of a struct wq_rcu_work
 * @fn:  wq_work_fn to call
 * @ctx: context handed to @fn
 */
#define WQ_RCU_WORK_INIT(fn, ctx)                                                                  \
	{                                                                                          \
		WQ_WORK_INIT(fn, ctx), {{NULL, NULL}, 0, NULL, NULL, 0, WQ_TIMER_RCU}, NULL, NULL, \
			0                                                                          \
	}

/**
 * wq_rcu_work_init - make an RCU item idle and set its function and context
 * @rw:  item; must be neither armed nor pending
 * @fn:  function to call; not NULL
 * @ctx: context handed to @fn; may be NULL
 *
 * Context, Safety, Lifetime: as wq_work_init().
 * Since: 0.1
 */
WQ_API void wq_rcu_work_init(struct wq_rcu_work *rw, wq_work_fn fn, void *ctx);

/**
 * wq_queue_rcu - hand an item to a queue after a grace period
 * @wq:     queue
 * @rw:     item, initialised
 * @flavor: the flavour of liburcu whose readers are waited for; must stay loaded
 *
 * Readers that are in a read-side section of that flavour when the call is made have
 * left it when the item's function is entered.  That is promised for a call that
 * answered 1 only.
 *
 * Return: 1 accepted; 0 waiting for a grace period, or pending, already; -EBUSY
 *   disabled, or being cancelled; -ESHUTDOWN the queue is being destroyed; -EINVAL NULL,
 *   or an item that was not initialised as an RCU item; -EAGAIN, -ENOMEM the flavour's
 *   thread could not be made.  Nothing has changed unless the answer is 1.
 * Context: any thread or item, inside a read-side section too.  Never waits for readers;
 *   may sleep for a lock; the first call for a flavour allocates and makes a thread.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what the caller wrote before is seen by the run.
 * Lifetime: on 1, @rw belongs to the library until fn is entered.
 * Since: 0.1
 */
WQ_API int wq_queue_rcu(struct wq *wq, struct wq_rcu_work *rw,
			const struct rcu_flavor_struct *flavor);

/**
 * wq_rcu_work_pending, wq_rcu_work_busy - does the item wait; what is it doing?
 * @rw: item, or NULL (answers false, 0)
 *
 * As wq_work_pending() and wq_work_busy() of the embedded item.
 * Since: 0.1
 */
WQ_API bool wq_rcu_work_pending(const struct wq_rcu_work *rw);
WQ_API unsigned wq_rcu_work_busy(const struct wq_rcu_work *rw);

/**
 * wq_rcu_work_flush - wait for the grace period, and for the run
 * @rw: item
 *
 * Where the item was queued last for the qsbr flavour, a registered thread of that is
 * offline meanwhile.
 *
 * Return: as wq_work_flush(); -EDEADLK also from inside a read-side section of the
 *   flavour that the item waits for, and nothing has changed.
 * Context, Safety, Ordering, Lifetime: as wq_work_flush().
 * Since: 0.1
 */
WQ_API int wq_rcu_work_flush(struct wq_rcu_work *rw);

#ifdef __cplusplus
}
#endif

#endif /* WQ_RCU_H */
