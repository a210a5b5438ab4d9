/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/queue.h
 * The queue: `struct wq`, through which items reach the pools.
 *
 * Semantics: Linux `struct workqueue_struct`.  A queue owns no threads; it has
 * attributes, a limit (max_active) and a life of its own.
 */
#ifndef WQ_QUEUE_H
#define WQ_QUEUE_H

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * wq_alloc - make a queue
 * @name:       copied, any length but empty; kept whole
 * @flags:      0 or WQ_* or-ed together; 0 makes an unbound queue
 * @max_active: items active at once, per CPU for WQ_PERCPU and in all otherwise;
 *              1 to 2048, 0 for the default (1024; 1 with WQ_ORDERED)
 *
 * The first call starts the library's manager thread, and settles which CPUs the
 * library uses: those that the process's main thread may use then.  Workers are
 * made when items come.  Where that fails (limits, memory), items wait and it is
 * tried again every 100 ms; so long a flush of them does not return.
 *
 * Return: the queue, to be ended with wq_destroy(); NULL and errno: EINVAL
 *   @name NULL or empty, unknown flags, WQ_ORDERED with WQ_PERCPU or with
 *   @max_active above 1, @max_active out of range; EOPNOTSUPP a flag that is not
 *   built yet; ENOMEM; EAGAIN the manager thread could not be made.  Nothing has
 *   changed after a failure.
 * Context: any thread or item; allocates, may sleep.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API struct wq *wq_alloc(const char *name, unsigned flags, int max_active);

/**
 * wq_destroy - wait for all of a queue's items, then free it
 * @wq: queue from wq_alloc(), or NULL (answers 0)
 *
 * From the start of the call queueing answers -ESHUTDOWN, but to the queue's own
 * items: what they queue is run and waited for.
 *
 * Return: 0; -EPERM a system queue; -EDEADLK called from one of the queue's
 *   items.  Nothing has changed after a failure.
 * Context: any thread or item of another queue; sleeps.
 * Safety: MT-Safe against queueing on it only; AS-Unsafe.
 * Lifetime: @wq is gone on success.
 * Since: 0.1
 */
WQ_API int wq_destroy(struct wq *wq);

/**
 * wq_queue - hand an item to a queue
 * @wq:   queue
 * @work: item, initialised
 *
 * An item that is running in another pool just now is accepted by the queue
 * where it runs instead of @wq, and runs there again (G2).
 *
 * Return: 1 accepted; 0 already pending: the run that is still to come serves
 *   this call too; -EBUSY being cancelled; -ESHUTDOWN the queue is being
 *   destroyed and the caller is not one of its items; -EINVAL NULL, or an item
 *   that was not initialised.  Looked at in the order -EINVAL, -EBUSY, 0,
 *   -ESHUTDOWN.  Nothing has changed unless the answer is 1.
 * Context: any, signal handlers included.  Takes no lock, never waits, never
 *   allocates.
 * Safety: MT-Safe; AS-Safe once wq_alloc() or a wq_system…() call has returned.
 * Ordering: what the caller wrote before a call that answered 1 or 0 is seen by
 *   the run that follows (G4).
 * Lifetime: on 1, @work belongs to the library until fn is entered.
 * Since: 0.1
 */
WQ_API int wq_queue(struct wq *wq, struct wq_work *work);

/**
 * wq_queue_on - hand an item to a queue, for a given CPU
 * @wq:   queue
 * @work: item, initialised
 * @cpu:  CPU number from 0 to WQ_MAX_CPUS - 1; one that is absent, or that this
 *        process may not use, stands for any
 *
 * Return: as wq_queue(); -EINVAL also for @cpu out of range.
 * Context, Safety, Ordering, Lifetime: as wq_queue().
 * Since: 0.1
 */
WQ_API int wq_queue_on(struct wq *wq, struct wq_work *work, int cpu);

/**
 * wq_schedule - hand an item to the unbound system queue
 * @work: item, initialised
 *
 * Return: as wq_queue(wq_system(), @work); -ENOMEM or -EAGAIN where the system
 *   queue could not be made.
 * Context: as wq_queue(), but the first call in a process may allocate.
 * Safety, Ordering, Lifetime: as wq_queue().
 * Since: 0.1
 */
WQ_API int wq_schedule(struct wq_work *work);

/**
 * wq_flush - wait for all that the queue accepted before the call
 * @wq: queue from wq_alloc()
 *
 * What is queued later, also by items that requeue themselves for ever, does not
 * prolong the wait.  A queueing that was answered 0 counts too: the run that it
 * joined is waited for.
 *
 * Return: 0; -EPERM a system queue; -EDEADLK called from one of the queue's
 *   items; -EINVAL NULL.
 * Context: any thread or item of another queue; sleeps.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what those items did happens before the return.
 * Lifetime: @wq must stay valid until the call returns.
 * Since: 0.1
 */
WQ_API int wq_flush(struct wq *wq);

/**
 * wq_set_max_active - change how many items may be active at once
 * @wq: queue
 * @n:  1 to 2048, or 0 for the default
 *
 * Items that are active stay so; a lower limit takes effect as they finish.
 *
 * Return: 0; -EINVAL NULL, @n out of range, or an ordered queue.  Nothing has
 *   changed after a failure.
 * Context: any thread or item; may sleep.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_set_max_active(struct wq *wq, int n);

/**
 * wq_system, wq_system_percpu, wq_system_highpri, wq_system_long - shared queues
 *
 * wq_system() is unbound; the others are per CPU, as in Linux: the second for
 * short items, the third of raised priority, the fourth for items that may take
 * long.  The remaining three need what is not built yet.
 *
 * They can't be destroyed or flushed (-EPERM): flushing a queue that everyone
 * shares deadlocks sooner or later.
 *
 * Return: the queue; NULL and errno: ENOMEM, EAGAIN as wq_alloc(); EOPNOTSUPP
 *   for the three that are not there yet.
 * Context: any thread; the first call of each allocates, later ones do not.
 * Safety: MT-Safe; AS-Safe from the second call on.
 * Lifetime: until the process ends.
 * Since: 0.1
 */
WQ_API struct wq *wq_system(void);
WQ_API struct wq *wq_system_percpu(void);
WQ_API struct wq *wq_system_highpri(void);
WQ_API struct wq *wq_system_long(void);
WQ_API struct wq *wq_system_freezable(void);
WQ_API struct wq *wq_system_power_efficient(void);
WQ_API struct wq *wq_system_bh(void);

#ifdef __cplusplus
}
#endif

#endif /* WQ_QUEUE_H */
