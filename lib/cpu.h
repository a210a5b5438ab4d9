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

struct wqi_cpus {
	unsigned nr;	    /* I: one more than the highest CPU number that can exist */
	unsigned nr_usable; /* I */
	size_t mask_bytes;  /* I */
	cpu_set_t *mask;    /* I: CPUs that the process may use, as read at the start */
};

extern struct wqi_cpus wqi_cpus;

/* Read what the process may use.  0 or -ENOMEM.  Under G. */
int wqi_cpus_read(void);

static inline bool wqi_cpu_is_usable(unsigned cpu)
{
	return cpu < wqi_cpus.nr && CPU_ISSET_S(cpu, wqi_cpus.mask_bytes, wqi_cpus.mask);
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
