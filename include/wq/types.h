/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/types.h
 * Version, export macro, forward declarations and flags.
 *
 * Functions return 0 or a positive count on success and a negative errno value
 * on failure; they leave `errno` alone, but for those that return a pointer:
 * they return NULL and set `errno`.
 */
#ifndef WQ_TYPES_H
#define WQ_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WQ_VERSION_MAJOR 0
#define WQ_VERSION_MINOR 1
#define WQ_VERSION_PATCH 0

#if defined(__GNUC__)
#define WQ_API __attribute__((visibility("default")))
#else
#define WQ_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct wq;
struct wq_work;

/**
 * wq_work_fn - the function of an item
 * @work: the item; for container-of.  May be freed or queued again in here.
 * @ctx:  the context that the item was initialised with
 *
 * Called on a thread of the library, with the signals blocked that G10 of the
 * README names.
 */
typedef void (*wq_work_fn)(struct wq_work *work, void *ctx);

/**
 * Flags of wq_alloc().  Those marked (later) are known but not built yet: asking
 * for one answers NULL and EOPNOTSUPP.
 */
enum wq_flags {
	/** Items run on the CPU where they were queued; one running worker a CPU. */
	WQ_PERCPU = 1u << 0,
	/** One item at a time, in the order of queueing, over the whole queue. */
	WQ_ORDERED = 1u << 1,
	/** Ordered, always on one thread, which belongs to the queue. */
	WQ_DEDICATED = 1u << 2,
	/** Served by workers of raised priority. */
	WQ_HIGHPRI = 1u << 3,
	/** Items compute for long: they do not count as running in their pool. */
	WQ_CPU_INTENSIVE = 1u << 4,
	/** Owns a rescuer thread: its items get on where no thread can be made. */
	WQ_MEM_RECLAIM = 1u << 5,
	/** Takes part in wq_freeze_all() and wq_thaw_all(). */
	WQ_FREEZABLE = 1u << 6,
	/** Per CPU, but unbound where the library is set up to save power. */
	WQ_POWER_EFFICIENT = 1u << 7,
	/** Per CPU, on one worker of the highest priority permitted; items must not block. */
	WQ_BH = 1u << 8,
	/** (later) Open to the control tool. */
	WQ_OBSERVE = 1u << 9,
};

/** Limits of wq_alloc()'s @max_active; 0 stands for the default. */
#define WQ_MAX_ACTIVE 2048
#define WQ_DFL_ACTIVE 1024

/** CPU numbers from 0 to WQ_MAX_CPUS - 1 are in range for wq_queue_on(). */
#define WQ_MAX_CPUS 4096

/** NUMA nodes from 0 to WQ_MAX_NODES - 1 are in range for wq_queue_node(). */
#define WQ_MAX_NODES 1024

#ifdef __cplusplus
}
#endif

#endif /* WQ_TYPES_H */
