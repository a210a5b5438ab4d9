/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/compat/linux_calls.h
 * Part of wq/compat/linux.h: what is done with items.
 *
 * Results are as in Linux; where the native call answers an errno:
 *
 *   queueing    false: nothing was queued.  Disabled items are refused without a word;
 *               that a queue is draining, plugged or being destroyed (in Linux the item is
 *               dropped, and the answer is true), that an argument is not valid or threads
 *               could not be made is reported, once for each reason.
 *   waiting     false, and reported: it would have been for ever, so it was not waited for.
 *   taking      false; reported, once, where it was not idle: an RCU item that waits for its
 *   back        grace period stays, and so does one that was disabled too often.
 *   enabling    an item that was not disabled: true, as in Linux, and reported once.
 */
#ifndef WQ_COMPAT_LINUX_CALLS_H
#define WQ_COMPAT_LINUX_CALLS_H

#include <errno.h>

#include <wq/compat/linux.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * wq_linux_refused, wq_linux_kept, wq_linux_not_disabled - the rare results of calls that may
 * be made in a signal handler: queueing, taking back, enabling; private
 *
 * They report, once for each reason.  The first two answer false, the third whether the item
 * is enabled.
 */
WQ_API bool wq_linux_refused(int err);
WQ_API bool wq_linux_kept(void);
WQ_API bool wq_linux_not_disabled(const struct wq_work *work);

/* What is not an errno is 0 or 1: so this takes six instructions beside the native call. */
static inline bool wq_linux_queued(int ret)
{
	if (__builtin_expect(ret < 0, 0))
		return wq_linux_refused(ret);
	return ret & 1;
}

static inline bool wq_linux_taken(int ret)
{
	if (__builtin_expect(ret < 0, 0))
		return wq_linux_kept();
	return ret & 1;
}

static inline bool wq_linux_waited(const char *call, int ret)
{
	if (__builtin_expect(ret < 0, 0))
		return wq_linux_complain(call, ret);
	return ret & 1;
}

/* --- queueing --- */

static inline bool queue_work(struct workqueue_struct *wq, struct work_struct *work)
{
	return wq_linux_queued(wq_queue(wq_from_linux(wq), &work->wq_item));
}

static inline bool queue_work_on(int cpu, struct workqueue_struct *wq, struct work_struct *work)
{
	if (cpu == WORK_CPU_UNBOUND)
		return queue_work(wq, work);
	return wq_linux_queued(wq_queue_on(wq_from_linux(wq), &work->wq_item, cpu));
}

/* On any queue, not only on unbound ones. */
static inline bool queue_work_node(int node, struct workqueue_struct *wq, struct work_struct *work)
{
	if (node == NUMA_NO_NODE)
		return queue_work(wq, work);
	return wq_linux_queued(wq_queue_node(wq_from_linux(wq), &work->wq_item, node));
}

static inline bool queue_delayed_work(struct workqueue_struct *wq, struct delayed_work *dwork,
				      unsigned long delay)
{
	return wq_linux_queued(
		wq_queue_delayed(wq_from_linux(wq), &dwork->wq_item, wq_linux_delay_ns(delay)));
}

static inline bool queue_delayed_work_on(int cpu, struct workqueue_struct *wq,
					 struct delayed_work *dwork, unsigned long delay)
{
	if (cpu == WORK_CPU_UNBOUND)
		return queue_delayed_work(wq, dwork, delay);
	return wq_linux_queued(wq_queue_delayed_on(wq_from_linux(wq), &dwork->wq_item,
						   wq_linux_delay_ns(delay), cpu));
}

/* Not from signal handlers, as the native call. */
static inline bool mod_delayed_work(struct workqueue_struct *wq, struct delayed_work *dwork,
				    unsigned long delay)
{
	return wq_linux_queued(
		wq_mod_delayed(wq_from_linux(wq), &dwork->wq_item, wq_linux_delay_ns(delay)));
}

static inline bool mod_delayed_work_on(int cpu, struct workqueue_struct *wq,
				       struct delayed_work *dwork, unsigned long delay)
{
	if (cpu == WORK_CPU_UNBOUND)
		return mod_delayed_work(wq, dwork, delay);
	return wq_linux_queued(wq_mod_delayed_on(wq_from_linux(wq), &dwork->wq_item,
						 wq_linux_delay_ns(delay), cpu));
}

/**
 * queue_rcu_work - hand an item to a queue after a grace period
 *
 * Of the flavour of liburcu whose names the including file uses: `rcu_flavor`, as <urcu.h>,
 * <urcu-bp.h>, <urcu-qsbr.h> and so on define it.  Of these, <urcu-bp.h> asks nothing of the
 * threads that read, as the kernel.
 *
 * Return: false also where the thread that waits for grace periods could not be made.
 */
#define queue_rcu_work(wq, rwork) wq_linux_queue_rcu((wq), (rwork), &rcu_flavor)

static inline bool wq_linux_queue_rcu(struct workqueue_struct *wq, struct rcu_work *rwork,
				      const struct rcu_flavor_struct *flavor)
{
	return wq_linux_queued(wq_queue_rcu(wq_from_linux(wq), &rwork->wq_item, flavor));
}

static inline bool schedule_work(struct work_struct *work)
{
	return queue_work(system_wq, work);
}

static inline bool schedule_work_on(int cpu, struct work_struct *work)
{
	return queue_work_on(cpu, system_wq, work);
}

static inline bool schedule_delayed_work(struct delayed_work *dwork, unsigned long delay)
{
	return queue_delayed_work(system_wq, dwork, delay);
}

static inline bool schedule_delayed_work_on(int cpu, struct delayed_work *dwork,
					    unsigned long delay)
{
	return queue_delayed_work_on(cpu, system_wq, dwork, delay);
}

/* --- waiting, taking back, disabling --- */

static inline bool flush_work(struct work_struct *work)
{
	return wq_linux_waited("flush_work", wq_work_flush(&work->wq_item));
}

static inline bool flush_delayed_work(struct delayed_work *dwork)
{
	return wq_linux_waited("flush_delayed_work", wq_delayed_work_flush(&dwork->wq_item));
}

static inline bool flush_rcu_work(struct rcu_work *rwork)
{
	return wq_linux_waited("flush_rcu_work", wq_rcu_work_flush(&rwork->wq_item));
}

static inline bool cancel_work(struct work_struct *work)
{
	return wq_linux_taken(wq_work_cancel(&work->wq_item));
}

static inline bool cancel_work_sync(struct work_struct *work)
{
	return wq_linux_waited("cancel_work_sync", wq_work_cancel_sync(&work->wq_item));
}

static inline bool cancel_delayed_work(struct delayed_work *dwork)
{
	return wq_linux_taken(wq_delayed_work_cancel(&dwork->wq_item));
}

static inline bool cancel_delayed_work_sync(struct delayed_work *dwork)
{
	return wq_linux_waited("cancel_delayed_work_sync",
			       wq_delayed_work_cancel_sync(&dwork->wq_item));
}

static inline bool disable_work(struct work_struct *work)
{
	return wq_linux_taken(wq_work_disable(&work->wq_item));
}

static inline bool disable_work_sync(struct work_struct *work)
{
	return wq_linux_waited("disable_work_sync", wq_work_disable_sync(&work->wq_item));
}

static inline bool enable_work(struct work_struct *work)
{
	int ret = wq_work_enable(&work->wq_item);

	return __builtin_expect(ret < 0, 0) ? wq_linux_not_disabled(&work->wq_item) : ret & 1;
}

static inline bool disable_delayed_work(struct delayed_work *dwork)
{
	return wq_linux_taken(wq_delayed_work_disable(&dwork->wq_item));
}

static inline bool disable_delayed_work_sync(struct delayed_work *dwork)
{
	return wq_linux_waited("disable_delayed_work_sync",
			       wq_delayed_work_disable_sync(&dwork->wq_item));
}

static inline bool enable_delayed_work(struct delayed_work *dwork)
{
	return enable_work(&dwork->work);
}

/* As in Linux: true says that it is enabled now, though the queue may have refused it. */
static inline bool enable_and_queue_work(struct workqueue_struct *wq, struct work_struct *work)
{
	int ret = wq_enable_and_queue(wq_from_linux(wq), &work->wq_item);

	if (__builtin_expect(ret >= 0, 1))
		return ret & 1;
	if (ret != -EINVAL)
		wq_linux_refused(ret);
	else if (wq_linux_not_disabled(&work->wq_item))
		queue_work(wq, work);
	else
		return false;
	return true;
}

/* --- states --- */

#define WORK_BUSY_PENDING 1u
#define WORK_BUSY_RUNNING 2u

static inline bool work_pending(const struct work_struct *work)
{
	return wq_work_pending(&work->wq_item);
}

static inline bool delayed_work_pending(const struct delayed_work *dwork)
{
	return wq_delayed_work_pending(&dwork->wq_item);
}

/* What is armed is pending in Linux. */
static inline unsigned int work_busy(const struct work_struct *work)
{
	unsigned busy = wq_work_busy(&work->wq_item);

	return (busy & (WQ_BUSY_PENDING | WQ_BUSY_DELAYED) ? WORK_BUSY_PENDING : 0) |
	       (busy & WQ_BUSY_RUNNING ? WORK_BUSY_RUNNING : 0);
}

/* Of an item that is not one of these, only the address means something. */
static inline struct work_struct *current_work(void)
{
	return (struct work_struct *)(void *)wq_current_work();
}

#define set_worker_desc(...) ((void)wq_set_worker_desc(__VA_ARGS__))

/* --- functions --- */

/**
 * schedule_on_each_cpu - call a function on each CPU that the process may use, and wait
 *
 * Each call has an item of its own, which ends with it and is not current_work().
 *
 * Return: 0; a negative errno as wq_run_on_each_cpu().
 */
#define schedule_on_each_cpu wq_linux_schedule_on_each_cpu
WQ_API int wq_linux_schedule_on_each_cpu(work_func_t func);

/**
 * work_on_cpu - call a function on a CPU, and wait
 *
 * Return: what the function returns; a negative errno as wq_run_on(), and the function has
 *   not been called.
 */
#define work_on_cpu wq_linux_work_on_cpu
WQ_API long wq_linux_work_on_cpu(int cpu, long (*fn)(void *arg), void *arg);

/**
 * execute_in_process_context - call a function, or schedule it where blocking is not allowed
 *
 * That is in an item of a WQ_BH queue.  A signal handler does not look different from the
 * code that it interrupts: there use schedule_work().
 *
 * Return: 0 it was called; 1 it was scheduled.
 */
#define execute_in_process_context wq_linux_execute
WQ_API int wq_linux_execute(work_func_t fn, struct execute_work *ew);

#ifdef __cplusplus
}
#endif

#endif /* WQ_COMPAT_LINUX_CALLS_H */
