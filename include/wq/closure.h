/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/closure.h
 * Closures: a function to be run once, in memory that the library owns.
 *
 * An item (wq/work.h) is the caller's memory and pending at most once; a closure
 * is the library's, and n calls are n runs, also at the same time.
 *
 * Semantics of the reference-counted ones: DragonOS `Arc<Work>` and `enqueue`.
 *
 * The memory of a run comes from a cache of the calling thread, so that in the
 * steady state a call does not reach malloc.  After fork() the runs that were
 * pending in the parent are dropped in the child; their memory, the references
 * that they held and the caches of the other threads stay taken there.
 */
#ifndef WQ_CLOSURE_H
#define WQ_CLOSURE_H

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * wq_call_fn - the function of a closure, and the one that ends its context
 * @ctx: the context that was given with it
 */
typedef void (*wq_call_fn)(void *ctx);

/**
 * wq_call - run a function once on a queue
 * @wq:  queue
 * @fn:  function; not NULL
 * @ctx: handed to @fn; must stay valid until @fn is done with it
 *
 * Return: 1 accepted; -ENOMEM; -ESHUTDOWN, -EAGAIN as wq_queue(); -EINVAL NULL.  Unless
 *   the answer is 1, @fn will not be called and nothing has changed.
 * Context: any thread or item.  Never waits; may allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what the caller wrote before the call is seen by the run.
 * Lifetime: there is no handle, so a single call can't be cancelled or waited
 *   for; wq_flush() and wq_drain() count it.
 * Since: 0.1
 */
WQ_API int wq_call(struct wq *wq, wq_call_fn fn, void *ctx);

/**
 * wq_call_after - run a function once on a queue, after a delay
 * @wq:       queue
 * @delay_ns: nanoseconds from now, on CLOCK_MONOTONIC; 0: as wq_call()
 * @fn:       function; not NULL
 * @ctx:      handed to @fn; must stay valid until @fn is done with it
 *
 * Meanwhile @wq can't be destroyed (-EBUSY), and where it is a system queue the library
 * can't be shut down.  A call that may have to be taken back, or that is hours away,
 * should be a delayed item instead (wq/delayed.h).
 *
 * Return: as wq_call(); -ESHUTDOWN also if the queue is being destroyed.
 * Context: any thread or item.  Never waits; allocates.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: as wq_call().
 * Lifetime: as wq_call(); it is counted by wq_flush() and wq_drain() once it is due.
 * Since: 0.1
 */
WQ_API int wq_call_after(struct wq *wq, uint64_t delay_ns, wq_call_fn fn, void *ctx);

struct wq_closure;

/**
 * wq_closure_new - make a reference-counted closure
 * @fn:      function; not NULL.  May run on several threads at once.
 * @ctx:     handed to @fn and @destroy; may be NULL
 * @destroy: called with @ctx after the last reference went, on whatever thread
 *           that happens; NULL: nothing to do
 *
 * Return: the closure, with one reference, the caller's; NULL and errno: EINVAL
 *   @fn NULL; ENOMEM.
 * Context: any thread or item; allocates.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API struct wq_closure *wq_closure_new(wq_call_fn fn, void *ctx, wq_call_fn destroy);

/**
 * wq_closure_get - take a reference
 * @closure: closure on which the caller holds a reference, or NULL
 *
 * Return: @closure.
 * Context: any.  Never waits or allocates.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API struct wq_closure *wq_closure_get(struct wq_closure *closure);

/**
 * wq_closure_put - give a reference back
 * @closure: closure, or NULL (does nothing)
 *
 * With the last reference `destroy` is called and the closure is freed: naming it
 * afterwards, in wq_enqueue() too, is a use after free, which AddressSanitizer
 * reports and nothing else catches.
 *
 * Context: any thread or item; may call `destroy`.  Where the last reference is a
 *   run's, `destroy` is part of that run: wq_flush() waits for it too.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what other holders did before their put happens before `destroy`.
 * Since: 0.1
 */
WQ_API void wq_closure_put(struct wq_closure *closure);

/**
 * wq_enqueue - run a closure once more
 * @wq:      queue
 * @closure: closure on which the caller holds a reference
 *
 * Each call is one run, also while earlier ones wait or run.  The run holds a
 * reference of its own until its function has returned.
 *
 * Return: 1 accepted; -ENOMEM; -ESHUTDOWN, -EAGAIN as wq_queue(); -EINVAL NULL.  Unless
 *   the answer is 1, nothing has changed.
 * Context: any thread or item.  Never waits; may allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: as wq_call().
 * Since: 0.1
 */
WQ_API int wq_enqueue(struct wq *wq, struct wq_closure *closure);

/**
 * wq_enqueue_after - run a closure once more, after a delay
 * @wq:       queue
 * @delay_ns: nanoseconds from now, on CLOCK_MONOTONIC; 0: as wq_enqueue()
 * @closure:  closure on which the caller holds a reference
 *
 * Each call is one run, also while earlier ones wait for their time.  The run holds a
 * reference from now on until its function has returned.  Meanwhile @wq can't be destroyed
 * (-EBUSY), and where it is a system queue the library can't be shut down.
 *
 * Return: as wq_enqueue(); -ESHUTDOWN also if the queue is being destroyed.
 * Context: any thread or item.  Never waits; allocates.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: as wq_call().
 * Lifetime: as wq_call_after(): a run that waits for its time can't be taken back.
 * Since: 0.1
 */
WQ_API int wq_enqueue_after(struct wq *wq, uint64_t delay_ns, struct wq_closure *closure);

#ifdef __cplusplus
}
#endif

#endif /* WQ_CLOSURE_H */
