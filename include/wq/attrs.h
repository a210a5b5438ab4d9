/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/attrs.h
 * Attributes of unbound queues: priority, CPUs, and how the CPUs are divided.
 *
 * An unbound queue's items run in pools of workers, one pool for each *pod*: a group of
 * CPUs that share something, such as a cache.  An item goes to the pod of the CPU from
 * which it is queued, so that it finds its data near.  Queues with equal attributes share
 * their pools.
 *
 * Semantics: Linux `struct workqueue_attrs`.
 */
#ifndef WQ_ATTRS_H
#define WQ_ATTRS_H

#include <sched.h>

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the CPUs of a pod share. */
enum wq_affn_scope {
	/** Nothing: each CPU is a pod. */
	WQ_AFFN_CPU,
	/** A core. */
	WQ_AFFN_SMT,
	/** The last cache that more than one core shares; where there is none, the NUMA node. */
	WQ_AFFN_CACHE,
	/** As WQ_AFFN_CACHE, in shards of about eight cores.  The default. */
	WQ_AFFN_CACHE_SHARD,
	/** The memory of a NUMA node. */
	WQ_AFFN_NUMA,
	/** The machine: there is one pod. */
	WQ_AFFN_SYSTEM,
};

/**
 * struct wq_attrs - attributes; begin with wq_attrs_init(), end with wq_attrs_fini()
 *
 * The fields are private.  Not to be copied.
 */
struct wq_attrs {
	int wq_nice;
	int wq_scope;
	bool wq_has_nice;
	bool wq_has_scope;
	bool wq_strict;
	cpu_set_t *wq_cpumask;
};

/**
 * wq_attrs_init - the defaults: as wq_alloc() makes an unbound queue
 * @attrs: attributes; what they held is overwritten
 *
 * Return: 0; -EINVAL NULL.
 * Context: any.  Does not allocate.
 * Safety: MT-Unsafe on the same attributes, as all of wq_attrs_…(); AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_attrs_init(struct wq_attrs *attrs);

/**
 * wq_attrs_fini - free what the setters have allocated
 * @attrs: attributes, or NULL
 *
 * Queues that were given them keep what they were given.
 *
 * Context: any thread or item.
 * Safety: AS-Unsafe.
 * Since: 0.1
 */
WQ_API void wq_attrs_fini(struct wq_attrs *attrs);

/**
 * wq_attrs_set_nice - priority of the workers
 * @attrs: attributes
 * @nice:  from -20 to 19, as setpriority() has it, but for 0: then it is the process's own;
 *         without this call it is -20 for WQ_HIGHPRI queues and 0 for others
 *
 * Where that is not permitted the workers come as near as RLIMIT_NICE lets them;
 * wq_pool_stats_read() says what they got.
 *
 * Return: 0; -EINVAL NULL or out of range: nothing has changed.
 * Context: any.  Does not allocate.
 * Safety: AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_attrs_set_nice(struct wq_attrs *attrs, int nice);

/**
 * wq_attrs_set_cpumask - CPUs for the workers
 * @attrs: attributes
 * @mask:  CPUs; NULL: all that are for unbound items, which is the default
 * @bytes: size of @mask, as sched_setaffinity() has it
 *
 * Of these, a queue uses those that this process may use and that are for unbound items
 * (`unbound_cpus` of struct wq_config); if none is left when it is made wq_alloc_attrs()
 * and wq_apply_attrs() answer -EINVAL.  If CPUs go later, the rest are used, and without
 * any of them those that the queue would have by default, until one comes back.
 *
 * Return: 0; -EINVAL NULL, or no CPU below WQ_MAX_CPUS in @mask; -ENOMEM.  Nothing has
 *   changed after a failure.
 * Context: any thread or item; allocates.
 * Safety: AS-Unsafe.
 * Lifetime: @mask is copied.
 * Since: 0.1
 */
WQ_API int wq_attrs_set_cpumask(struct wq_attrs *attrs, const cpu_set_t *mask, size_t bytes);

/**
 * wq_attrs_set_affinity - what the CPUs of a pod share
 * @attrs: attributes
 * @scope: WQ_AFFN_CPU to WQ_AFFN_SYSTEM
 *
 * Return: 0; -EINVAL NULL or another value: nothing has changed.
 * Context: any.  Does not allocate.
 * Safety: AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_attrs_set_affinity(struct wq_attrs *attrs, enum wq_affn_scope scope);

/**
 * wq_attrs_set_strict - do workers stay in their pod?
 * @attrs:  attributes
 * @strict: true: they run on their pod's CPUs alone.  false, the default: they belong to
 *          the pod, but the scheduler may run them on the queue's other CPUs, and where
 *          these are idle and items are worth it, a pod runs more items at once than it
 *          has CPUs.
 *
 * Return: 0; -EINVAL NULL.
 * Context: any.  Does not allocate.
 * Safety: AS-Safe.
 * Since: 0.1
 */
WQ_API int wq_attrs_set_strict(struct wq_attrs *attrs, bool strict);

/**
 * wq_alloc_attrs - make an unbound queue with attributes
 * @name, @flags, @max_active: as wq_alloc()
 * @attrs: attributes, or NULL: as wq_alloc(); copied
 *
 * Return: as wq_alloc(); NULL and errno EINVAL also for a per-CPU or dedicated queue, for
 *   CPUs of which none can be used, and for an ordered queue with an affinity scope other
 *   than WQ_AFFN_SYSTEM, which would break its order.
 * Context: any thread or item; allocates, may sleep.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API struct wq *wq_alloc_attrs(const char *name, unsigned flags, int max_active,
				 const struct wq_attrs *attrs);

/**
 * wq_apply_attrs - change a queue's attributes
 * @wq:    unbound queue from wq_alloc() or wq_alloc_attrs()
 * @attrs: attributes; copied
 *
 * What is queued from the call's return on runs with the new attributes; what was queued
 * before, with the old.  An item that is running, or that queues itself, goes on with
 * the old ones until it has been idle once.  An ordered queue keeps its order: what is
 * new waits for the end of what is old.  The queue's limit holds for both together, but
 * where pods that belong to one NUMA node each follow such as span several, or the other
 * way round: each kind has its own then, until what is old has ended.
 *
 * Return: 0, also where nothing differs; -EINVAL NULL, and as wq_alloc_attrs(); -EPERM a
 *   system queue; -ESHUTDOWN the queue is being destroyed; -ENOMEM; -EAGAIN in a child
 *   after fork(), where the library's threads could not be made.  Nothing has changed
 *   after a failure.
 * Context: any thread or item, also the queue's own; allocates, may sleep, but does not
 *   wait for items.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_apply_attrs(struct wq *wq, const struct wq_attrs *attrs);

/**
 * wq_set_min_active - items that may be active on each NUMA node at least
 * @wq: unbound queue
 * @n:  1 to 2048; without this call, and never more than, the smaller of 8 and max_active
 *      unless a larger one is asked for here
 *
 * On several nodes max_active is divided among them by their CPUs; a node's share is at
 * least this, so that so many items that wait for each other do not wait for ever.
 * Source: Linux workqueue_set_min_active().
 *
 * Return: 0; -EINVAL NULL, @n out of range, a per-CPU or an ordered queue.  Nothing has
 *   changed after a failure.
 * Context: any thread or item; may sleep.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_set_min_active(struct wq *wq, int n);

/**
 * wq_topology_refresh - read anew which CPUs there are, may be used, and for how long
 *
 * CPUs that come and go are noticed by the library itself as the kernel announces them, where
 * that reaches the process (README); where not, an affinity that is given to all threads of the
 * process, its cpuset and its CPU quota are within about a second while items run.  After
 * this call they are for certain, and so is the main thread's affinity, which stands for the
 * process's.  Workers of a CPU that has gone run elsewhere until it comes back; nothing is lost.
 *
 * Return: 0 also where nothing has changed; -ENOMEM: what could not be changed is tried
 *   again with the next change.
 * Context: any thread or item; allocates, may sleep, but does not wait for items.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_topology_refresh(void);

#ifdef __cplusplus
}
#endif

#endif /* WQ_ATTRS_H */
