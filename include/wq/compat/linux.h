/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/compat/linux.h
 * The workqueue of the Linux kernel by its own names, for code that was written there: only
 * the include lines change.  <wq/wq.h> may be included beside it, and both used on the same
 * queues and items.
 *
 * Everything behaves as in Linux (7.x); the README's section "Code from the Linux kernel"
 * lists what differs.  In short: nothing is dropped in silence.  What is refused answers
 * false.  What can't be answered, or would be taken for something else, is reported as
 * wq_set_report() says.
 *
 * Context, Safety, Ordering and Lifetime are those of the native call in whose stead a name
 * stands: queue_work(), queue_delayed_work(), cancel_work(), cancel_delayed_work(),
 * work_busy() and their like may be called from signal handlers, once the queue they name
 * was made (schedule_work(): once one of the system queue's names was used).
 *
 * Names that take arguments are functions or macros; jiffies and the system queues are
 * expressions.  Since: 0.1
 */
#ifndef WQ_COMPAT_LINUX_H
#define WQ_COMPAT_LINUX_H

#include <stdlib.h>
#include <string.h>

#include <wq/wq.h>
#include <wq/compat/linux_jiffies.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef container_of
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#endif

/* --- items --- */

struct work_struct;
struct workqueue_struct; /* a struct wq by another name: wq_from_linux() */

typedef void (*work_func_t)(struct work_struct *work);

#ifdef __clang__
/* All compilers that we support take anonymous structures in C++ too. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnested-anon-types"
#endif

/**
 * struct work_struct - a work item
 * @func:    its function; assigning another counts from the next run on
 * @wq_item: the same for native calls; its context is @func
 *
 * The native item's function is wq_linux_run(), which calls @func.  The fields that begin
 * with wq_ are private, but for @wq_item.
 */
struct work_struct {
	union {
		__extension__ struct {
			uint64_t wq_state;
			wq_work_fn wq_fn;
			work_func_t func;
			void *wq_link[2];
		};
		struct wq_work wq_item;
	};
};

/** struct delayed_work - an item with a timer; there is no field `timer`, `wq` or `cpu` */
struct delayed_work {
	union {
		__extension__ struct {
			struct work_struct work;
			struct wq_timer wq_timer;
		};
		struct wq_delayed_work wq_item;
	};
};

#ifdef __clang__
#pragma clang diagnostic pop
#endif

/** struct rcu_work - an item that runs after a grace period */
struct rcu_work {
	union {
		struct work_struct work;
		struct wq_rcu_work wq_item;
	};
};

struct execute_work {
	struct work_struct work;
};

/** wq_linux_run - the native function of all these items: calls @func; private */
WQ_API void wq_linux_run(struct wq_work *work, void *func);

#define __WORK_INITIALIZER(n, f)                                                                   \
	{                                                                                          \
		{                                                                                  \
			{                                                                          \
				WQ_WORK_STATE_INIT, wq_linux_run, (f),                             \
				{                                                                  \
					NULL, NULL                                                 \
				}                                                                  \
			}                                                                          \
		}                                                                                  \
	}

/* @flags: of a timer, accepted and not used. */
#define __DELAYED_WORK_INITIALIZER(n, f, flags)                                                    \
	{                                                                                          \
		{                                                                                  \
			{                                                                          \
				__WORK_INITIALIZER((n).work, f),                                   \
				{                                                                  \
					{NULL, NULL}, 0, NULL, NULL, 0, WQ_TIMER_DELAYED           \
				}                                                                  \
			}                                                                          \
		}                                                                                  \
	}

#define DECLARE_WORK(n, f)	      struct work_struct n = __WORK_INITIALIZER(n, f)
#define DECLARE_DELAYED_WORK(n, f)    struct delayed_work n = __DELAYED_WORK_INITIALIZER(n, f, 0)
#define DECLARE_DEFERRABLE_WORK(n, f) DECLARE_DELAYED_WORK(n, f)

/* An item without a function is refused everywhere, as a native one. */
static inline void wq_linux_init_work(struct work_struct *work, work_func_t func)
{
	wq_work_init(&work->wq_item, func ? wq_linux_run : NULL, NULL);
	work->func = func;
}

static inline void wq_linux_init_delayed_work(struct delayed_work *dwork, work_func_t func)
{
	wq_delayed_work_init(&dwork->wq_item, func ? wq_linux_run : NULL, NULL);
	dwork->work.func = func;
}

static inline void wq_linux_init_rcu_work(struct rcu_work *rwork, work_func_t func)
{
	wq_rcu_work_init(&rwork->wq_item, func ? wq_linux_run : NULL, NULL);
	rwork->work.func = func;
}

/* No tick is saved by deferring here: a deferrable item is an ordinary one. */
#define INIT_WORK(work, func)			  wq_linux_init_work((work), (func))
#define INIT_WORK_ONSTACK(work, func)		  INIT_WORK(work, func)
#define INIT_DELAYED_WORK(dwork, func)		  wq_linux_init_delayed_work((dwork), (func))
#define INIT_DELAYED_WORK_ONSTACK(dwork, func)	  INIT_DELAYED_WORK(dwork, func)
#define INIT_DEFERRABLE_WORK(dwork, func)	  INIT_DELAYED_WORK(dwork, func)
#define INIT_DEFERRABLE_WORK_ONSTACK(dwork, func) INIT_DELAYED_WORK(dwork, func)
#define INIT_RCU_WORK(rwork, func)		  wq_linux_init_rcu_work((rwork), (func))
#define INIT_RCU_WORK_ONSTACK(rwork, func)	  INIT_RCU_WORK(rwork, func)

/* As in a kernel that does not debug its objects: nothing. */
static inline void destroy_work_on_stack(struct work_struct *work)
{
	(void)work;
}

static inline void destroy_delayed_work_on_stack(struct delayed_work *dwork)
{
	(void)dwork;
}

static inline struct delayed_work *to_delayed_work(struct work_struct *work)
{
	return container_of(work, struct delayed_work, work);
}

static inline struct rcu_work *to_rcu_work(struct work_struct *work)
{
	return container_of(work, struct rcu_work, work);
}

#define from_work(var, callback_work, work_fieldname)                                              \
	container_of(callback_work, __typeof__(*(var)), work_fieldname)

/* --- queues --- */

/*
 * The flags that libwq has too are libwq's own, of the same names and values in both
 * headers.  The others lie where wq_alloc() knows no flag, and answers EINVAL.
 */
#define WQ_UNBOUND   (1u << 24)
#define WQ_SYSFS     (1u << 25) /* accepted and not used: there is no sysfs */
#define __WQ_ORDERED WQ_ORDERED

#define WQ_UNBOUND_MAX_ACTIVE WQ_MAX_ACTIVE
#define WQ_DFL_MIN_ACTIVE     8

#define WORK_CPU_UNBOUND WQ_MAX_CPUS
#ifndef NUMA_NO_NODE
#define NUMA_NO_NODE (-1)
#endif

/** wq_from_linux, wq_to_linux - the same queue for native calls, and for these */
static inline struct wq *wq_from_linux(struct workqueue_struct *wq)
{
	return (struct wq *)(void *)wq;
}

static inline struct workqueue_struct *wq_to_linux(struct wq *wq)
{
	return (struct workqueue_struct *)(void *)wq;
}

/**
 * alloc_workqueue, alloc_ordered_workqueue - make a queue
 * @fmt:        its name as for printf, kept whole
 * @flags:      WQ_*; without WQ_UNBOUND it is per CPU, as in Linux
 * @max_active: 0 for 1024; what is out of range is brought into it
 *
 * Return: the queue; NULL and errno as wq_alloc(); EINVAL also for WQ_UNBOUND with
 *   WQ_PERCPU, and for WQ_BH with @max_active.
 */
#define alloc_workqueue		wq_linux_alloc
#define alloc_ordered_workqueue wq_linux_alloc_ordered

WQ_API struct workqueue_struct *wq_linux_alloc(const char *fmt, unsigned flags, int max_active, ...)
	__attribute__((format(printf, 1, 4)));
WQ_API struct workqueue_struct *wq_linux_alloc_ordered(const char *fmt, unsigned flags, ...)
	__attribute__((format(printf, 1, 3)));

static inline struct workqueue_struct *create_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_MEM_RECLAIM | WQ_PERCPU, 1, name);
}

static inline struct workqueue_struct *create_freezable_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_FREEZABLE | WQ_UNBOUND | WQ_MEM_RECLAIM, 1, name);
}

static inline struct workqueue_struct *create_singlethread_workqueue(const char *name)
{
	return alloc_ordered_workqueue("%s", WQ_MEM_RECLAIM, name);
}

/* For the system queues without a native name; private. */
enum wq_linux_system {
	WQ_LINUX_SYSTEM_DFL_LONG,
	WQ_LINUX_SYSTEM_FREEZABLE_POWER_EFFICIENT,
	WQ_LINUX_SYSTEM_BH_HIGHPRI,
};

WQ_API struct workqueue_struct *wq_linux_system(enum wq_linux_system which);

#define system_percpu_wq	  wq_to_linux(wq_system_percpu())
#define system_wq		  system_percpu_wq
#define system_highpri_wq	  wq_to_linux(wq_system_highpri())
#define system_long_wq		  wq_to_linux(wq_system_long())
#define system_dfl_wq		  wq_to_linux(wq_system())
#define system_unbound_wq	  system_dfl_wq
#define system_dfl_long_wq	  wq_linux_system(WQ_LINUX_SYSTEM_DFL_LONG)
#define system_freezable_wq	  wq_to_linux(wq_system_freezable())
#define system_power_efficient_wq wq_to_linux(wq_system_power_efficient())
#define system_bh_wq		  wq_to_linux(wq_system_bh())
#define system_bh_highpri_wq	  wq_linux_system(WQ_LINUX_SYSTEM_BH_HIGHPRI)
#define system_freezable_power_efficient_wq                                                        \
	wq_linux_system(WQ_LINUX_SYSTEM_FREEZABLE_POWER_EFFICIENT)

/**
 * wq_linux_destroy, wq_linux_drain, wq_linux_flush - destroy_workqueue() and so on; private
 *
 * They return nothing, so what can't be done is reported, with the queue's name.
 */
WQ_API void wq_linux_destroy(struct workqueue_struct *wq);
WQ_API void wq_linux_drain(struct workqueue_struct *wq);
WQ_API void wq_linux_flush(struct workqueue_struct *wq);

/**
 * destroy_workqueue - wait for a queue's items, then free it
 * @wq: queue, or NULL
 *
 * RCU items that wait for their grace period are waited for.  Where delayed items are armed,
 * which is a bug (in Linux their timers would fire on freed memory), and from one of the
 * queue's own items, that is reported and the queue stays: it may be destroyed later.
 */
static inline void destroy_workqueue(struct workqueue_struct *wq)
{
	wq_linux_destroy(wq);
}

static inline void drain_workqueue(struct workqueue_struct *wq)
{
	wq_linux_drain(wq);
}

/* System queues too, as in Linux: there a flush waits for what it does not know. */
static inline void flush_workqueue(struct workqueue_struct *wq)
{
	wq_linux_flush(wq);
}

static inline void flush_scheduled_work(void)
	__attribute__((deprecated("flush a queue of your own, or the item")));
static inline void flush_scheduled_work(void)
{
	wq_linux_flush(system_wq);
}

/** wq_linux_complain - report that @call was answered @err; false; private */
WQ_API bool wq_linux_complain(const char *call, int err);

static inline int wq_linux_clamp_active(int n)
{
	return n < 1 ? 1 : n > WQ_MAX_ACTIVE ? WQ_MAX_ACTIVE : n;
}

static inline void workqueue_set_max_active(struct workqueue_struct *wq, int max_active)
{
	int err = wq_set_max_active(wq_from_linux(wq), wq_linux_clamp_active(max_active));

	if (err)
		wq_linux_complain("workqueue_set_max_active", err);
}

static inline void workqueue_set_min_active(struct workqueue_struct *wq, int min_active)
{
	int err = wq_set_min_active(wq_from_linux(wq), wq_linux_clamp_active(min_active));

	if (err)
		wq_linux_complain("workqueue_set_min_active", err);
}

/** workqueue_congested - do items of @wq wait on @cpu, or here, for max_active of it? */
#define workqueue_congested wq_linux_congested
WQ_API bool wq_linux_congested(int cpu, struct workqueue_struct *wq);

static inline void freeze_workqueues_begin(void)
{
	int err = wq_freeze_all();

	if (err)
		wq_linux_complain("freeze_workqueues_begin", err);
}

static inline bool freeze_workqueues_busy(void)
{
	return wq_freeze_busy() > 0;
}

static inline void thaw_workqueues(void)
{
	wq_thaw_all();
}

#ifdef __cplusplus
}
#endif

#include <wq/compat/linux_calls.h>
#include <wq/compat/linux_attrs.h>

#endif /* WQ_COMPAT_LINUX_H */
