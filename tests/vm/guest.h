/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The emulated machine as its own tests see it: lists of CPUs, CPUs on and off, the cpuset. */
#ifndef TEST_GUEST_H
#define TEST_GUEST_H

#include "support.h"

#include <sched.h>

#define NR_CPUS	 8
#define NR_NODES 2

/* In another machine these programs would take its CPUs away: they are skipped there. */
bool guest_is_own(void);

/* The CPUs of a file of sysfs, such as "0-3,6"; %u in @path is @index.  False: no such file. */
bool guest_cpu_list(const char *path, unsigned index, cpu_set_t *set);

/* CPU 0 is always online. */
void guest_set_online(int cpu, bool online);

/* The process moves to a cpuset of these CPUs; NULL: to that of all. */
void guest_set_cpuset(const char *cpus);

/* The process moves to a group with so many CPUs' worth of time; 0: to that of all. */
void guest_set_quota(unsigned cpus);

/* Run @fn(@ctx) on a thread that runs on @cpu alone, and join it. */
void guest_run_pinned(int cpu, void (*fn)(void *ctx), void *ctx);

#endif /* TEST_GUEST_H */
