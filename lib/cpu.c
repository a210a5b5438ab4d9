/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns reading the set of CPUs.  Does not follow later changes. */
#include "cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "mem.h"

#include <wq/types.h>

struct wqi_cpus wqi_cpus;

int wqi_cpus_read(void)
{
	size_t bytes = CPU_ALLOC_SIZE(WQ_MAX_CPUS);
	cpu_set_t *mask = wqi_zalloc(bytes);
	long conf = sysconf(_SC_NPROCESSORS_CONF);
	unsigned cpu, nr;

	if (!mask)
		return -ENOMEM;
	/* The process's mask is its main thread's; the caller may be pinned. */
	if (sched_getaffinity(getpid(), bytes, mask))
		CPU_SET_S(wqi_cpu_current() % WQ_MAX_CPUS, bytes, mask);

	nr = conf > 0 ? (unsigned)conf : 1;
	for (cpu = nr; cpu < WQ_MAX_CPUS; cpu++)
		if (CPU_ISSET_S(cpu, bytes, mask))
			nr = cpu + 1;
	if (nr > WQ_MAX_CPUS)
		nr = WQ_MAX_CPUS;

	wqi_cpus.nr = nr;
	wqi_cpus.nr_usable = (unsigned)CPU_COUNT_S(bytes, mask);
	wqi_cpus.mask_bytes = bytes;
	wqi_cpus.mask = mask;
	return 0;
}
