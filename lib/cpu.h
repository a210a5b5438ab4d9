/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the question "which CPU am I on, and which may this process use?".
 * Does not pin anything.
 */
#ifndef WQI_CPU_H
#define WQI_CPU_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/rseq.h>

#include <wq/types.h>

/* A set of CPUs as large as WQ_MAX_CPUS needs. */
typedef struct {
	cpu_set_t set[WQ_MAX_CPUS / CPU_SETSIZE];
} wqi_cpu_mask;

struct wqi_cpus {
	unsigned nr;	      /* I: one more than the highest CPU number that can exist; 0 unread */
	unsigned nr_usable;   /* I */
	unsigned nr_unbound;  /* I */
	unsigned level;	      /* I: unbound items at once: nr_unbound, or what the quota allows */
	wqi_cpu_mask mask;    /* I: CPUs that the process may use, as read at the start */
	wqi_cpu_mask unbound; /* I: those of them that are for unbound items */
	wqi_cpu_mask alone;   /* I: isolated ones: only for what is queued there by name */
};

extern struct wqi_cpus wqi_cpus;

/* Read what the process may use; unbound items get all of it.  Under G. */
void wqi_cpus_read(void);

/* Leave unbound items the usable ones of @list, as in "0-3,8".  0, or -EINVAL: none. */
int wqi_cpus_limit_unbound(const char *list);

/* Unbound items at once: a CPU each, but no more than @quota, unless that is 0. */
void wqi_cpus_set_level(unsigned quota);

/*
 * Read a list of CPUs.  False: it is not one, or names one that is WQ_MAX_CPUS or
 * higher.  Under no lock.
 */
bool wqi_cpulist_parse(const char *list, wqi_cpu_mask *mask);

/* Of @node's usable CPUs the caller's own (-1), or the first; -1 too if it has none.  AS-safe. */
int wqi_cpu_of_node(unsigned node);

static inline bool wqi_cpu_is_usable(unsigned cpu)
{
	return cpu < wqi_cpus.nr && CPU_ISSET_S(cpu, sizeof(wqi_cpus.mask), wqi_cpus.mask.set);
}

static inline bool wqi_cpu_is_alone(unsigned cpu)
{
	return cpu < WQ_MAX_CPUS && CPU_ISSET_S(cpu, sizeof(wqi_cpus.alone), wqi_cpus.alone.set);
}

/*
 * The CPU that the caller runs on.  glibc keeps it in the thread's rseq area,
 * where the kernel writes it; where that is not registered, the vDSO answers.
 */
static inline unsigned wqi_cpu_current(void)
{
	int cpu = -1;

	if (__rseq_size) {
		const struct rseq *rs =
			(const struct rseq *)((const char *)__builtin_thread_pointer() +
					      __rseq_offset);

		cpu = (int)*(const volatile __u32 *)&rs->cpu_id;
	}
	if (cpu < 0)
		cpu = sched_getcpu();
	return cpu < 0 ? 0 : (unsigned)cpu;
}

#endif /* WQI_CPU_H */
