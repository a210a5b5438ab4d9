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
#include <stdint.h>
#include <sys/rseq.h>

#include <wq/types.h>

#include "atomic.h"

/* A set of CPUs as large as WQ_MAX_CPUS needs. */
typedef struct {
	cpu_set_t set[WQ_MAX_CPUS / CPU_SETSIZE];
} wqi_cpu_mask;

/* What changes with wq_topology_refresh() is read without a lock, a word at a time. */
struct wqi_cpus {
	unsigned nr;	      /* I: one more than the highest CPU number that can exist; 0 unread */
	unsigned nr_usable;   /* G+ */
	unsigned nr_unbound;  /* G+ */
	unsigned level;	      /* G: unbound items at once: nr_unbound, or what the quota allows */
	unsigned quota;	      /* G+: CPUs that the quota is worth; 0: none */
	bool pretended;	      /* I: they are a description's, and nothing can be pinned to them */
	bool limited;	      /* I: unbound items have a list of CPUs */
	uint32_t epoch;	      /* A, seq_cst: changes after `mask` or `unbound` has */
	wqi_cpu_mask mask;    /* G+: CPUs that the process may use */
	wqi_cpu_mask unbound; /* G+: those of them that are for unbound items */
	wqi_cpu_mask list;    /* I: CPUs for unbound items, if limited */
	wqi_cpu_mask alone;   /* I: isolated ones: only for what is queued there by name */
};

extern struct wqi_cpus wqi_cpus;

/* Read what the process may use; unbound items get all of it.  Under G. */
void wqi_cpus_read(void);

/*
 * Take those of @cpus for the machine's, and for usable; @node has the NUMA node of each.
 * In the place of wqi_cpus_read().  Under G.
 */
void wqi_cpus_pretend(const wqi_cpu_mask *cpus, const uint16_t *node);

/* Leave unbound items the usable ones of @list, as in "0-3,8".  0, or -EINVAL: none. */
int wqi_cpus_limit_unbound(const char *list);

/* Unbound items at once: a CPU each, but no more than @quota, unless that is 0. */
void wqi_cpus_set_level(unsigned quota);

/*
 * Read a list of CPUs.  False: it is not one, or names one that is WQ_MAX_CPUS or
 * higher.  Under no lock.
 */
bool wqi_cpulist_parse(const char *list, wqi_cpu_mask *mask);

/* The NUMA node of a CPU; 0 where it is not known. */
int wqi_cpu_node(unsigned cpu);

/* Of @node's usable CPUs the caller's own (-1), or the first; -1 too if it has none.  AS-safe. */
int wqi_cpu_of_node(unsigned node);

#define WQI_MASK_WORD (8 * sizeof(__cpu_mask))

static inline bool wqi_cpu_is_usable(unsigned cpu)
{
	const __cpu_mask *words = wqi_cpus.mask.set[0].__bits;

	return cpu < wqi_cpus.nr &&
	       wqi_load_relaxed(&words[cpu / WQI_MASK_WORD]) >> cpu % WQI_MASK_WORD & 1;
}

/* Are these all that the process may use? */
bool wqi_cpus_are_all(const wqi_cpu_mask *mask);

/* The calling thread may run on all that the process may use. */
void wqi_cpus_go_to_all(void);

/* A copy of one of the masks in wqi_cpus, or into one. */
void wqi_mask_copy(wqi_cpu_mask *to, const wqi_cpu_mask *from);

/*
 * The process may use these CPUs now.  False: nothing has changed; none: nor does it.  Under G.
 */
bool wqi_cpus_change_locked(const wqi_cpu_mask *mask);

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
