/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/runtime.h
 * The library as a whole: settings, freezing, the end.
 *
 * Everything starts at the first wq_alloc() or wq_system…() call, also from a
 * constructor before main() or from an atexit() handler.
 */
#ifndef WQ_RUNTIME_H
#define WQ_RUNTIME_H

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct wq_config - settings of the library
 *
 * Begin with WQ_CONFIG_INIT, which holds the defaults, and change what is to
 * differ.  Each field has an environment variable of the same name in capitals
 * with WQ_ before it, read when the library starts; where it is set it wins, so
 * that whoever runs a program can tune it.  Numbers are decimal digits, and so are
 * booleans: 0 or 1.  A variable with a value that is not
 * valid is reported in one line on standard error and counts as not set.
 * Variables are ignored in set-user-ID programs.
 */
struct wq_config {
	/** sizeof(struct wq_config), as WQ_CONFIG_INIT sets it. */
	size_t size;
	/** CPUs for unbound items, as a list ("0-3,8"); NULL: all but isolated ones. */
	const char *unbound_cpus;
	/**
	 * A machine to pretend: one of hwloc's synthetic descriptions, as
	 * "node:4 l3:2 core:8 pu:2", or the name of an XML file that hwloc wrote; NULL:
	 * the real one.  CPU numbers, also those of @unbound_cpus, are then the pretended
	 * ones, no thread is pinned, and a quota of CPU time changes nothing.  For tests.
	 */
	const char *topology;
	/**
	 * At most so many worker threads at once, those of WQ_DEDICATED queues,
	 * rescuers and the library's own not counted; 0: no limit.  Where it is lower
	 * than the number of items that wait for each other, they wait for ever.
	 */
	unsigned max_threads;
	/** Milliseconds after which an idle worker that is one too many ends. */
	unsigned idle_timeout_ms;
	/** Microseconds to wait awake before sleeping, at most; 0: sleep at once. */
	unsigned spin_max_us;
	/**
	 * Microseconds of computing after which an item stops holding up others
	 * (G12); 0: never.
	 */
	unsigned cpu_intensive_us;
	/** Stack of each worker in bytes; 0, and where it can't be had: the C library's default. */
	size_t stack_bytes;
	/** Queues with WQ_POWER_EFFICIENT are unbound rather than per CPU. */
	bool power_efficient;
	/** Workers block SIGPROF too (G10); false lets a profiler's timer in. */
	bool block_sigprof;
};

/** The defaults: a static initialiser of a struct wq_config. */
#define WQ_CONFIG_INIT                                                                             \
	{                                                                                          \
		sizeof(struct wq_config), NULL, NULL, 0, 300000, 50, 10000, 0, false, true         \
	}

/**
 * wq_configure - settle the library's settings before it starts
 * @config: settings; copied, strings too
 *
 * Each call replaces all that an earlier one set.
 *
 * Return: 0; -EBUSY the library has started (and wq_shutdown() has not ended it);
 *   -EINVAL NULL, a size that is not that of a struct wq_config, a list of CPUs
 *   that can't be read, has 4096 characters or more, or of which the process may
 *   use none, @spin_max_us above 4294967, @stack_bytes below PTHREAD_STACK_MIN, a
 *   topology that hwloc can't read, of 4096 characters or more, or of more than
 *   WQ_MAX_CPUS CPUs; of a topology also -ENOMEM, and -EIO in the child of a fork()
 *   that came while one was being read.  Nothing has changed after a failure.
 * Context: any thread; reads and allocates where there is a topology.
 * Safety: MT-Safe, AS-Unsafe.
 * Lifetime: the settings outlive wq_shutdown().
 * Since: 0.1
 */
WQ_API int wq_configure(const struct wq_config *config);

/**
 * wq_shutdown - end the library: join its threads, free its memory
 *
 * What is pending on the system queues is run first, freezing ends, and what
 * their items queue there meanwhile is refused (-ESHUTDOWN), as is a first call of
 * one of wq_system…().  Afterwards a program
 * has no thread and no byte of the library's left, but for what threads that still
 * live keep for wq_call(), until they end.  A later use starts anew, with the
 * environment as it is then; items that were initialised before may be used again.
 *
 * Return: 0, also where nothing was started; -EDEADLK called from an item; -EBUSY
 *   a queue from wq_alloc() exists, an item is armed on a system queue (wq/delayed.h),
 *   or another thread is shutting down.  Nothing
 *   has changed after a failure, except that what was pending may have run, and
 *   that freezing may have ended.
 * Context: any thread that is not the library's; sleeps.
 * Safety: not MT-Safe against other calls of the library, but of items that it
 *   still runs; AS-Unsafe.
 * Lifetime: what wq_system…() answered before is not valid any more.
 * Since: 0.1
 */
WQ_API int wq_shutdown(void);

/**
 * wq_freeze_all - let no further item of a WQ_FREEZABLE queue start
 *
 * Returns at once: what is active already may still start, and runs to its end
 * (see wq_freeze_busy()).  What is queued then or later waits for the thaw, and so
 * do flush, drain and destroy of such a queue.
 *
 * Return: 0; -EALREADY frozen already.
 * Context: any thread or item; may sleep for a lock.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_freeze_all(void);

/**
 * wq_freeze_busy - how many items of WQ_FREEZABLE queues are active
 *
 * Return: their number, 0 for none.  After wq_freeze_all() it falls, but for items
 *   that wait for others; 0 stays so until the thaw.
 * Context: any thread or item; may sleep for a lock.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Ordering: after an answer 0, what those items did happens before the return.
 * Since: 0.1
 */
WQ_API int wq_freeze_busy(void);

/**
 * wq_thaw_all - end freezing; what waited starts
 *
 * Return: 0; -EALREADY not frozen.
 * Context: any thread or item; may sleep for a lock.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_thaw_all(void);

#ifdef __cplusplus
}
#endif

#endif /* WQ_RUNTIME_H */
