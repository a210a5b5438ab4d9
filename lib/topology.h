/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns reading what the CPUs share: cores, caches, NUMA nodes, by hwloc, or by a
 * description of a machine to pretend.  Knows neither queues nor pools, and pins nothing.
 */
#ifndef WQI_TOPOLOGY_H
#define WQI_TOPOLOGY_H

#include <stdint.h>

#include <wq/attrs.h>

#include "cpu.h"

#define WQI_NR_SCOPES ((unsigned)WQ_AFFN_SYSTEM + 1)
#define WQI_NO_GROUP  UINT16_MAX /* of a CPU that is not there */

/* A machine as read at one time.  Constant once made. */
struct wqi_topology {
	unsigned nr_cpus;  /* one more than the highest CPU number in `cpus` */
	bool pretended;	   /* from a description: nothing is to be pinned */
	wqi_cpu_mask cpus; /* CPUs that are there, and that this process may use */
	unsigned nr_nodes; /* one more than the highest number of a NUMA node; at least 1 */
	/*
	 * By scope and CPU (nr_cpus entries each): the number of the group that the CPU
	 * belongs to; WQI_NO_GROUP where it is not in `cpus`.  Groups are numbered from 0
	 * without gaps, in the order of their lowest CPU.
	 */
	uint16_t *group[WQI_NR_SCOPES];
	unsigned nr_groups[WQI_NR_SCOPES];
	uint16_t *node; /* by CPU: the system's number of its NUMA node; 0 where there is none */
};

/*
 * Read it: this machine's where @description is NULL, else that of hwloc's synthetic
 * topologies ("node:2 core:4 pu:2") or of the XML file of that name.  Where hwloc can't
 * read this machine, each CPU is a core, and there is one node.
 *
 * 0; -ENOMEM; of a description also -EINVAL: it is none, has 4096 characters or more,
 * has no CPU below WQ_MAX_CPUS or, as synthetic, more than WQ_MAX_CPUS; -EIO: this is the
 * child of a fork() that came while another thread was in here.  hwloc prints nothing.
 *
 * Takes milliseconds; with hwloc's plug-ins installed some more, in which it loads them.
 * Under no lock but G; leaves the caller's affinity and errno alone.
 */
int wqi_topology_read(const char *description, struct wqi_topology **to);

void wqi_topology_free(struct wqi_topology *topology);

/* The one that the library goes by: this one from now on.  NULL: the machine's.  Under G. */
void wqi_topology_keep_locked(struct wqi_topology *topology);

/* That one; the machine's is read at the first call.  NULL: no memory.  Under G. */
const struct wqi_topology *wqi_topology_get_locked(void);

/*
 * The process may use these CPUs now: where it knows nothing of one of them, it is read
 * anew when it is needed.  Under G.
 */
void wqi_topology_follow_locked(const wqi_cpu_mask *cpus);

/* Forget it; whoever uses what was got must be gone.  Under G. */
void wqi_topology_drop_locked(void);

#endif /* WQI_TOPOLOGY_H */
