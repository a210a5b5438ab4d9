/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/work.h
 * The item: `struct wq_work`, to be embedded in the caller's own structure.
 *
 * Semantics: Linux `struct work_struct`.  An item is idle, pending (queued, not
 * started), running, or running and pending again.  It never runs on two threads
 * at once, whatever queues it is put on (G2).
 */
#ifndef WQ_WORK_H
#define WQ_WORK_H

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct wq_work - a work item; all fields are private
 *
 * Initialise it with WQ_WORK_INIT() or wq_work_init(); a zeroed one is not
 * valid and is refused with -EINVAL.  Lifetime: the memory belongs to the
 * library from a queueing call until fn is entered, or until
 * wq_work_cancel_sync() returns.
 */
struct wq_work {
	uint64_t wq_state;
	wq_work_fn wq_fn;
	void *wq_ctx;
	void *wq_link[2];
};

/** State of an item that was initialised and never queued; private. */
#define WQ_WORK_STATE_INIT UINT64_C(1)

/**
 * WQ_WORK_INIT - static initialiser of a struct wq_work
 * @fn:  wq_work_fn to call
 * @ctx: context handed to @fn
 */
#define WQ_WORK_INIT(fn, ctx)                                                                      \
	{                                                                                          \
		WQ_WORK_STATE_INIT, (fn), (ctx),                                                   \
		{                                                                                  \
			NULL, NULL                                                                 \
		}                                                                                  \
	}

/**
 * wq_work_init - make an item idle and set its function and context
 * @work: item; must not be pending
 * @fn:   function to call; not NULL
 * @ctx:  context handed to @fn; may be NULL
 *
 * Context: any.  Does not sleep or allocate.
 * Safety: not MT-Safe on one item; AS-Safe.
 * Lifetime: an item that is still running may be initialised again only by its
 *   own function, and then G2 no longer covers the run that is going on.
 * Since: 0.1
 */
WQ_API void wq_work_init(struct wq_work *work, wq_work_fn fn, void *ctx);

/** Bits of wq_work_busy(); WQ_BUSY_DELAYED: armed, see wq/delayed.h. */
#define WQ_BUSY_PENDING	  1u
#define WQ_BUSY_RUNNING	  2u
#define WQ_BUSY_DELAYED	  4u
#define WQ_BUSY_CANCELING 8u
#define WQ_BUSY_DISABLED  16u

/**
 * wq_work_pending - is the item queued and not started, or armed?
 * @work: item, or NULL (answers false)
 *
 * Return: a snapshot, which may be stale before the caller sees it.
 * Context: any, signal handlers included.  Never waits.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API bool wq_work_pending(const struct wq_work *work);

/**
 * wq_work_busy - what is the item doing?
 * @work: item, or NULL (answers 0)
 *
 * Return: WQ_BUSY_* bits, 0 for idle.  A snapshot, which may be stale before
 *   the caller sees it.
 * Context: any, signal handlers included.  Never waits.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API unsigned wq_work_busy(const struct wq_work *work);

/**
 * wq_work_flush - wait for the last queueing that was accepted before the call
 * @work: item
 *
 * Later queueings, also by the item itself, do not prolong the wait.  An
 * instance that is cancelled meanwhile counts as finished.
 *
 * Return: 1 it waited; 0 the item was idle; -EDEADLK called from the item's own
 *   function, or for an item pending on an ordered queue (or one whose
 *   max_active is 1) from an item of that queue, or on a WQ_BH queue from an item
 *   of one on the same CPU; -EINVAL NULL or not initialised.  Nothing changes on failure.
 * Context: any thread or item; sleeps.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what the instance did happens before the return.
 * Lifetime: @work must stay valid until the call returns.
 * Since: 0.1
 */
WQ_API int wq_work_flush(struct wq_work *work);

/**
 * wq_work_cancel - take an item back if it has not started
 * @work: item
 *
 * Return: 1 it was pending, or armed, and will not run for that queueing; 0 it was not
 *   (idle, or running); -EBUSY an RCU item that waits for its grace period (wq/rcu.h);
 *   -EINVAL NULL or not initialised.
 * Context: any, signal handlers included.  Never waits for an item or allocates.
 * Safety: MT-Safe, AS-Safe.
 * Ordering: none.
 * Lifetime: after this call the item may still be running, so the memory is the
 *   caller's only after wq_work_cancel_sync().  Where another thread was just
 *   queueing it, or its timer is just firing, the library holds it a moment longer, and
 *   where the caller is a signal handler that interrupted the library, until its turn
 *   comes or it is cancelled again; so long it shows WQ_BUSY_CANCELING and queueing it
 *   answers -EBUSY.
 * Since: 0.1
 */
WQ_API int wq_work_cancel(struct wq_work *work);

/**
 * wq_work_cancel_sync - take an item back, and wait until it does not run
 * @work: item
 *
 * On return the item was, at one instant, neither pending nor running, also if
 * it requeues itself or others queue it meanwhile: queueing answers -EBUSY until
 * the call ends.  Several callers at once are fine; all return.
 *
 * Return: 1 it was pending, or armed; 0 it was not; -EDEADLK called from the item's own
 *   function: it is cancelled all the same, and not waited for; -EBUSY as
 *   wq_work_cancel(); -EINVAL NULL or not initialised.
 * Context: any thread or item; sleeps.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what the last run did happens before the return.
 * Lifetime: after a return of 0 or 1, and if nobody queues it again, the memory
 *   is the caller's.
 * Since: 0.1
 */
WQ_API int wq_work_cancel_sync(struct wq_work *work);

/** An item can be disabled so many times before it must be enabled. */
#define WQ_MAX_DISABLE_DEPTH 65535

/**
 * wq_work_disable - refuse to queue an item, and take it back
 * @work: item
 *
 * Calls nest: until as many wq_work_enable() have followed, queueing the item
 * answers -EBUSY, on any queue and for any caller, its own function included.
 *
 * Return: 1 it was pending, or armed, and will not run for that queueing; 0 it was not;
 *   -EOVERFLOW disabled WQ_MAX_DISABLE_DEPTH times already; -EBUSY as
 *   wq_work_cancel(); -EINVAL NULL or not initialised.  Nothing has changed on failure.
 * Context: any, signal handlers included.  Never waits for an item or allocates.
 * Safety: MT-Safe, AS-Safe.
 * Lifetime: as after wq_work_cancel(): the item may still be running.
 * Since: 0.1
 */
WQ_API int wq_work_disable(struct wq_work *work);

/**
 * wq_work_disable_sync - the same, and wait until the item does not run
 * @work: item
 *
 * On return the item is neither pending nor running, and stays so until it is
 * enabled.
 *
 * Return: as wq_work_disable(); also -EDEADLK called from the item's own function:
 *   it is disabled and cancelled all the same, and not waited for.
 * Context: any thread or item; sleeps.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what the last run did happens before the return.
 * Lifetime: after a return of 0 or 1 the memory is the caller's.
 * Since: 0.1
 */
WQ_API int wq_work_disable_sync(struct wq_work *work);

/**
 * wq_work_enable - undo one wq_work_disable()
 * @work: item
 *
 * Return: 1 the item is enabled now; 0 still disabled by other calls; -EINVAL it
 *   was not disabled (nothing has changed), NULL or not initialised.
 * Context: any, signal handlers included.  Never waits or allocates.
 * Safety: MT-Safe, AS-Safe.
 * Ordering: as a queueing call's, for whoever queues the item afterwards.
 * Since: 0.1
 */
WQ_API int wq_work_enable(struct wq_work *work);

#ifdef __cplusplus
}
#endif

#endif /* WQ_WORK_H */
