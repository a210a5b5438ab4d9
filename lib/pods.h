/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the pods: how the CPUs for unbound items are divided for one set of attributes, with
 * a pool for each.  Queues with equal attributes share them, counted by references.
 * Knows no queue.
 */
#ifndef WQI_PODS_H
#define WQI_PODS_H

#include <stdbool.h>
#include <stdint.h>

#include <wq/attrs.h>

#include "atomic.h"
#include "cpu.h"

struct wqi_pool;

/* What a queue asks for. */
struct wqi_pods_key {
	int nice;
	enum wq_affn_scope scope;
	bool strict;
	const wqi_cpu_mask *cpus; /* NULL: all that are for unbound items */
};

#define WQI_NO_NODE (-1)

struct wqi_pod {
	struct wqi_pool *pool; /* I */
	int node;	       /* I: the NUMA node of all its CPUs, or WQI_NO_NODE */
	unsigned nr_cpus;      /* I */
};

struct wqi_pods {
	int nice;	       /* I */
	bool strict;	       /* I */
	bool lends;	       /* I: a pod may use places that others do not use */
	unsigned nr;	       /* I */
	unsigned nr_cpus;      /* I: entries of of_cpu: one for each CPU, usable or not */
	wqi_cpu_mask cpus;     /* I: those on which items run */
	uint16_t *of_cpu;      /* I: which pod an item goes to by the CPU where it is queued */
	struct wqi_pod *pod;   /* I: nr of them */
	unsigned level;	       /* A, relaxed: items at once, on all of them; pool.h */
	uint32_t nr_running;   /* A, relaxed: workers that run in their pools, if it lends */
	unsigned refs;	       /* G: tables that use it */
	bool ended;	       /* G: its workers are told to end */
	uint64_t unused_since; /* G: the number of the put that left it without references */
	struct wqi_pods *next; /* GR: wqi_pods_all */
};

/*
 * Those for the key, with a reference.  0, -ENOMEM, or -EINVAL: none of the CPUs can be
 * used.  Under G.
 */
int wqi_pods_get_locked(const struct wqi_pods_key *key, struct wqi_pods **to);

/*
 * Give the reference back.  The last few that nobody uses are kept, for queues that come
 * and go; of others the workers end by themselves, and so does the rest then.  Under G.
 */
void wqi_pods_put_locked(struct wqi_pods *pods);

/* Keep none that nobody uses: the CPUs have changed.  Under G. */
void wqi_pods_forget_locked(void);

/* Levels follow a changed quota.  Under G. */
void wqi_pods_set_levels_locked(void);

/* A pod's CPUs, and those on which its workers may run. */
void wqi_pods_cpus(const struct wqi_pods *pods, unsigned pod, wqi_cpu_mask *cpus);
void wqi_pods_mask(const struct wqi_pods *pods, unsigned pod, wqi_cpu_mask *mask);

/* Is there room for another worker, beside those that a pool has by itself? */
static inline bool wqi_pods_have_room(const struct wqi_pods *pods)
{
	return wqi_load_relaxed(&pods->nr_running) < wqi_load_relaxed(&pods->level);
}

/* ... or is there one too many? */
static inline bool wqi_pods_are_over(const struct wqi_pods *pods)
{
	return wqi_load_relaxed(&pods->nr_running) > wqi_load_relaxed(&pods->level);
}

/* In the child of a fork(), under G: nobody runs. */
void wqi_pods_reset(void);

/* Free all; no thread uses them.  Under G. */
void wqi_pods_free_all(void);

#endif /* WQI_PODS_H */
