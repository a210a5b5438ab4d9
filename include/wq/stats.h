/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/stats.h
 * Counters of queues and pools, items that hog CPUs, and reports.
 *
 * All figures are snapshots: each is right by itself, two of them may be of
 * different instants.  After wq_flush(), started and completed count all runs that
 * it waited for.  Counters begin at 0 when the queue, or the library, starts,
 * and in a child after fork().
 */
#ifndef WQ_STATS_H
#define WQ_STATS_H

#include <sched.h>

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Counters of a queue, over all CPUs.  Source: Linux `enum pool_workqueue_stats`. */
struct wq_stats {
	/** Runs that began. */
	uint64_t started;
	/** Runs that ended. */
	uint64_t completed;
	/**
	 * CPU time of the queue's items in nanoseconds: measured where items cost 100 µs
	 * and more; shorter ones are charged what an item of their pool takes on average.
	 */
	uint64_t cpu_time_ns;
	/** Runs that computed for longer than cpu_intensive_us, as far as seen: see wq_cpu_hogs().
	 */
	uint64_t cpu_intensive;
	/** Times that another worker was let in because an item of this queue blocked. */
	uint64_t cm_wakeup;
	/** Calls for the rescuer (WQ_MEM_RECLAIM), by pools that had no worker for its items. */
	uint64_t mayday;
	/** Runs on the rescuer. */
	uint64_t rescued;
	/**
	 * Waits of this WQ_MEM_RECLAIM queue's items for queues without a rescuer,
	 * which may need memory to get on.
	 */
	uint64_t reclaim_waits;
	/** Times that an item of this WQ_BH queue was about to block. */
	uint64_t bh_blocks;
};

/**
 * wq_stats_read - a queue's counters
 * @wq:    queue
 * @stats: where they go
 * @size:  sizeof(*@stats); a library that knows more leaves the rest out, one that
 *         knows less sets it to 0
 *
 * Return: 0; -EINVAL NULL.
 * Context: any thread or item; may sleep for a lock.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Lifetime: @wq must stay valid until the call returns.
 * Since: 0.1
 */
WQ_API int wq_stats_read(struct wq *wq, struct wq_stats *stats, size_t size);

/** What is to be known of a pool: of workers that share their items. */
struct wq_pool_stats {
	/** The CPU that the pool belongs to; -1: any. */
	int cpu;
	/** Workers that may run at once. */
	unsigned level;
	/** Nice value that the pool's workers should have. */
	int nice_wanted;
	/**
	 * The one that they got: of all, the highest; @nice_wanted before the first is
	 * made.  Under SCHED_FIFO it means nothing.
	 */
	int nice;
	/** Scheduling policy that they got: SCHED_OTHER, or for WQ_BH SCHED_FIFO; no flags. */
	int policy;
	/** Threads; those of them that wait for items; and those that run, or look for some. */
	unsigned nr_workers, nr_idle, nr_running;
	/** Runs that began. */
	uint64_t started;
	/**
	 * ... while more workers ran than @level: stays 0.  What a pod that is not strict
	 * borrows from others (wq/attrs.h) does not count.
	 */
	uint64_t started_above_level;
	/**
	 * Workers found blocked in an item, by whom and how: by a CPU's sentinel,
	 * asleep, or in uninterruptible sleep; by the monitor, which looks where a
	 * sentinel does not get to run; by wq_block_begin(), or a flush from an item.
	 */
	uint64_t blocked_sleep, blocked_disk, blocked_monitor, blocked_said;
	/** Runs that computed for longer than cpu_intensive_us, as far as seen. */
	uint64_t cpu_intensive;
	/** Threads that could not be made. */
	uint64_t create_failed;
	/** Times that items had to wait for a thread because there were max_threads. */
	uint64_t limit_waits;
};

/**
 * wq_pool_stats_read - of the pool that serves a queue's items
 * @wq:    queue
 * @cpu:   of the pool that takes what is queued on this CPU; -1: on the calling thread's
 * @stats: where they go
 * @size:  sizeof(*@stats), as in wq_stats_read()
 *
 * Several queues with the same attributes share a pool.  For a WQ_HIGHPRI or
 * WQ_BH queue, `nice` and `policy` say what was permitted.
 *
 * Return: 0; -EINVAL NULL, or @cpu out of range or not one that this process may use.
 * Context: any thread or item; may sleep for a lock.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_pool_stats_read(struct wq *wq, int cpu, struct wq_pool_stats *stats, size_t size);

/**
 * wq_pool_cpus_read - the CPUs for which a pool stands
 * @wq:    queue
 * @cpu:   as for wq_pool_stats_read()
 * @mask:  where they go: of an unbound queue the CPUs of the pod (wq/attrs.h) that takes
 *         what is queued on @cpu; of a per-CPU queue the CPU itself; of a WQ_DEDICATED
 *         queue all
 * @bytes: size of @mask, as sched_getaffinity() has it; what does not fit is left out
 *
 * Workers of a pod that is not strict may run on others of the queue's CPUs.
 *
 * Return: 0; -EINVAL NULL, or @cpu out of range or not one that this process may use.
 * Context: any thread or item.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_pool_cpus_read(struct wq *wq, int cpu, cpu_set_t *mask, size_t bytes);

/** A function whose items computed for longer than cpu_intensive_us. */
struct wq_cpu_hog {
	/** Its address; of a closure (wq/closure.h), the closure's function. */
	const void *fn;
	/** How often it was seen. */
	uint64_t count;
};

/** So many functions are kept; further ones count in their queues only. */
#define WQ_MAX_CPU_HOGS 64

/**
 * wq_cpu_hogs - functions whose items kept a CPU for long
 * @hogs: where they go, most frequent first; NULL only if @max is 0
 * @max:  room in @hogs
 *
 * Such an item stops counting as running while others wait, so that they start
 * beside it (G12).  It should be on a WQ_CPU_INTENSIVE queue, or be split.
 *
 * Return: how many functions are known, which may be more than @max.
 * Context: any thread or item; may sleep for a lock.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API unsigned wq_cpu_hogs(struct wq_cpu_hog *hogs, unsigned max);

/**
 * wq_report_fn - takes a report: one sentence without a line's end
 *
 * Called on the thread that found it, which may be one of the library's or a caller of it,
 * with no lock held; in a signal handler, where that queues items by wq/compat/linux.h and
 * is refused.  Must not call the library.
 */
typedef void (*wq_report_fn)(const char *report);

/**
 * wq_set_report - where reports go
 * @fn: called with each; NULL: a line on standard error, as at the start
 *
 * Reports are rare, and each is made once: that an item of a WQ_MEM_RECLAIM queue
 * waits for a queue without a rescuer (once a queue); and what calls of wq/compat/linux.h
 * have no other answer for.
 *
 * Context: any thread; does not allocate.
 * Safety: MT-Safe, AS-Safe.
 * Lifetime: @fn may still be called for a moment after it was replaced.
 * Since: 0.1
 */
WQ_API void wq_set_report(wq_report_fn fn);

#ifdef __cplusplus
}
#endif

#endif /* WQ_STATS_H */
