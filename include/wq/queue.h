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
 * The first call starts the library's manager thread, and finds out which CPUs the
 * library uses: those that the process's main thread may use then; see
 * wq_topology_refresh() for what becomes of it.  The first that makes an unbound queue
 * reads what they share, which takes some milliseconds.  Workers are
 * made when items come.  Where that fails (limits, memory), items wait and it is
 * tried again every 100 ms; so long a flush of them does not return.
 *
 * A WQ_DEDICATED queue's thread is made by this call, is named after the queue,
 * and lives as long; only where an item ended it by pthread_exit() or was
 * cancelled it is replaced.  So is a WQ_MEM_RECLAIM queue's rescuer, which runs
 * the queue's items, one at a time, where these wait for a worker and none can be
 * made for 10 ms.  A WQ_DEDICATED queue needs none.
 *
 * Items of a WQ_BH queue run on one worker for each CPU, under SCHED_FIFO where
 * that is permitted, else at the nearest nice value to -20 (wq_pool_stats_read()
 * says which): they must be short and must not block.
 *
 * Return: the queue, to be ended with wq_destroy(); NULL and errno: EINVAL
 *   @name NULL or empty, unknown flags, WQ_ORDERED or WQ_DEDICATED with
 *   WQ_PERCPU, WQ_POWER_EFFICIENT or with @max_active above 1, WQ_BH with others
 *   than WQ_PERCPU and WQ_HIGHPRI (which it implies), @max_active out of
 *   range; EOPNOTSUPP a flag that is not built yet; ENOMEM; EAGAIN the library's
 *   own threads, a WQ_DEDICATED queue's thread or a rescuer could not be made; ESHUTDOWN
 *   wq_shutdown() is ending the threads.  Nothing has changed after a failure.
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
 * items: what they queue is run and waited for.  A frozen queue is waited for
 * until the thaw.
 *
 * Return: 0; -EPERM a system queue; -EDEADLK called from one of the queue's
 *   items, or from an item of a WQ_BH queue for a WQ_BH queue: they share threads;
 *   -EBUSY delayed, RCU or trigger items are armed on it.  Nothing has changed after a
 *   failure; who arms an item at that very time may be answered -ESHUTDOWN.
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
 * where it runs instead of @wq, as if one of that queue's items had called, and
 * runs there again (G2).  It is that queue's being plugged that counts then.
 *
 * Return: 1 accepted; 0 already pending, or armed (wq/delayed.h): the run that is still
 *   to come serves this call too; -EBUSY disabled, or being cancelled; -ESHUTDOWN the queue is
 *   plugged, or it is draining or being destroyed and the caller is not one of its
 *   items; -EINVAL NULL, or an item that was not initialised.  Looked at in the
 *   order -EINVAL, -EBUSY, 0, -ESHUTDOWN.  In a child after fork() the first calls
 *   may answer -EAGAIN or -ENOMEM: the library's threads could not be made there.
 *   Nothing has changed unless the answer is 1.
 * Context: any, signal handlers included.  Takes no lock, never waits, never
 *   allocates; but the first call in a child after fork() does all of it.
 * Safety: MT-Safe; AS-Safe once wq_alloc() or a wq_system…() call has returned, and
 *   in a child after fork() once a call has.
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
 * wq_queue_node - hand an item to a queue, for a CPU of a given NUMA node
 * @wq:   queue
 * @work: item, initialised
 * @node: from 0 to WQ_MAX_NODES - 1; one that is absent, or of which this process
 *        may use no CPU, stands for any
 *
 * The caller's own CPU if it belongs to the node, else the node's first.
 *
 * Return: as wq_queue(); -EINVAL also for @node out of range.
 * Context, Safety, Ordering, Lifetime: as wq_queue().
 * Since: 0.1
 */
WQ_API int wq_queue_node(struct wq *wq, struct wq_work *work, int node);

/**
 * wq_enable_and_queue - undo one wq_work_disable(), and queue if it was the last
 * @wq:   queue
 * @work: item
 *
 * Return: 1 enabled, and a run follows; 0 still disabled by other calls, and not
 *   queued; -ESHUTDOWN, -EBUSY, -EAGAIN or -ENOMEM enabled, but not queued, as
 *   wq_queue() says;
 *   -EINVAL it was not disabled, NULL or not initialised: nothing has changed.
 * Context, Safety, Ordering, Lifetime: as wq_queue().
 * Since: 0.1
 */
WQ_API int wq_enable_and_queue(struct wq *wq, struct wq_work *work);

/**
 * wq_schedule - hand an item to the unbound system queue
 * @work: item, initialised
 *
 * Return: as wq_queue(wq_system(), @work); -ENOMEM or -EAGAIN where the system
 *   queue could not be made, -ESHUTDOWN as wq_system().
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
 * prolong the wait, nor does what is armed (wq/delayed.h).  A queueing that was answered
 * 0 because of a pending run counts too: that run is waited for.
 *
 * Return: 0; -EPERM a system queue; -EDEADLK as wq_destroy(); -EINVAL NULL.
 * Context: any thread or item of another queue; sleeps.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what those items did happens before the return.
 * Lifetime: @wq must stay valid until the call returns.
 * Since: 0.1
 */
WQ_API int wq_flush(struct wq *wq);

/**
 * wq_drain - wait until nothing is queued or running
 * @wq: queue from wq_alloc()
 *
 * Meanwhile only the queue's own items may queue on it; everybody else is answered
 * -ESHUTDOWN.  Items that queue themselves for ever hold it up for ever.  Armed items
 * (wq/delayed.h) are not waited for, and stay armed if their time comes meanwhile.
 * Calls nest: the queue takes items again when the last has returned.
 *
 * Return: 0; -EPERM a system queue; -EDEADLK as wq_destroy(); -EINVAL NULL.
 * Context: any thread or item of another queue; sleeps.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what those items did happens before the return.
 * Since: 0.1
 */
WQ_API int wq_drain(struct wq *wq);

/**
 * wq_plug, wq_unplug - refuse new items; take them again
 * @wq: queue from wq_alloc()
 *
 * A plugged queue answers -ESHUTDOWN to everybody, its own items included.  What
 * was accepted before runs; nothing is accepted any more when wq_plug() returns.
 * Items can be armed on it (wq/delayed.h), and are queued when it is unplugged.
 *
 * Return: 0; -EALREADY plugged, or not plugged, already; -EPERM a system queue;
 *   -EINVAL NULL.
 * Context: any thread or item; may sleep.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_plug(struct wq *wq);
WQ_API int wq_unplug(struct wq *wq);

/**
 * wq_congested - do items wait because max_active of the queue are active?
 * @wq: queue, or NULL (answers false)
 *
 * Of a per-CPU queue, on the caller's CPU.
 *
 * Return: a snapshot, which may be stale before the caller sees it.
 * Context: any thread or item; may sleep for a lock.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API bool wq_congested(struct wq *wq);

/**
 * wq_run_on, wq_run_on_each_cpu - call a function on a CPU, or on each, and wait
 * @cpu: CPU number from 0 to WQ_MAX_CPUS - 1
 * @fn:  function; not NULL.  On each CPU: called on all at the same time.
 * @ctx: handed to @fn; may be NULL
 *
 * Through wq_system_percpu(), so @fn runs on a worker that is pinned to the CPU.
 * Source: Linux work_on_cpu(), schedule_on_each_cpu().
 *
 * Return: 0; -EINVAL @fn NULL or @cpu out of range; -ENODEV this process may not
 *   use @cpu; -ENOMEM, -EAGAIN, -ESHUTDOWN as wq_system(); -EDEADLK called from an item that
 *   has to end first (of that queue, with max_active set to 1).  Unless the answer
 *   is 0, @fn has not been called; on each CPU, not on all.
 * Context: any thread or item; sleeps.  The second allocates.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: what the caller wrote before is seen by @fn, what @fn wrote is seen
 *   after the return.
 * Since: 0.1
 */
WQ_API int wq_run_on(int cpu, void (*fn)(void *ctx), void *ctx);
WQ_API int wq_run_on_each_cpu(void (*fn)(void *ctx), void *ctx);

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
 * wq_system, wq_system_percpu, wq_system_highpri, wq_system_long,
 * wq_system_freezable, wq_system_power_efficient, wq_system_bh - shared queues
 *
 * wq_system() is unbound; the others are per CPU, as in Linux: the second for
 * short items, the third of raised priority, the fourth for items that may take
 * long; the freezable one takes part in wq_freeze_all(), the power efficient one is
 * unbound where power is to be saved; the last is for short items that never block.
 *
 * They can't be destroyed, drained, plugged or flushed (-EPERM): flushing a queue
 * that everyone shares deadlocks sooner or later.
 *
 * Return: the queue; NULL and errno: ENOMEM, EAGAIN as wq_alloc(); ESHUTDOWN it
 *   was not there yet and wq_shutdown() is at work.
 * Context: any thread; the first call of each allocates, later ones do not.
 * Safety: MT-Safe; AS-Safe from the second call on.
 * Lifetime: until wq_shutdown(), or the process's end.
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
