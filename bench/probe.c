/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How far apart two CPUs are: the round trip of a cache line between them. */
#include "bench.h"

#include <pthread.h>
#include <sched.h>

/* The first ones do not count; where others want the CPUs, there are fewer than so many. */
#define PROBE_WARM  2000u
#define PROBE_TRIPS 10000u
#define PROBE_LOOKS 16u /* trips between two looks at the clock */
#define PROBE_NS    10000000u

#define PROBE_END UINT32_MAX /* what ends the other thread */

static uint32_t line __attribute__((aligned(128)));

bool bench_pin(unsigned index)
{
	cpu_set_t all, one;
	int cpu;

	if (sched_getaffinity(0, sizeof(all), &all))
		return false;
	CPU_ZERO(&one);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && !index--) {
			CPU_SET(cpu, &one);
			return !pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
		}
	return false;
}

unsigned bench_nr_cpus(void)
{
	cpu_set_t all;

	bench_must(!sched_getaffinity(0, sizeof(all), &all), "sched_getaffinity");
	return (unsigned)CPU_COUNT(&all);
}

/* False: it is the end. */
static bool wait_for(uint32_t value)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(&line, __ATOMIC_ACQUIRE)) != value && seen != PROBE_END)
		;
	return seen == value;
}

static void *echo(void *arg)
{
	uint32_t i;

	bench_pin(1);
	for (i = 1; wait_for(i); i += 2)
		__atomic_store_n(&line, i + 1, __ATOMIC_RELEASE);
	return arg;
}

/* There and back, from @first on; the mean of those that there was time for. */
static double make_trips(uint32_t *first, unsigned nr)
{
	uint64_t start = bench_now(), took = 0;
	unsigned trips;

	for (trips = 0; trips < nr && took < PROBE_NS; *first += 2) {
		__atomic_store_n(&line, *first, __ATOMIC_RELEASE);
		wait_for(*first + 1);
		if (++trips % PROBE_LOOKS == 0 || trips == nr)
			took = bench_now() - start;
	}
	return (double)took / trips;
}

double bench_probe_line(void)
{
	cpu_set_t before;
	pthread_t thread;
	uint32_t next = 1;
	double ns;

	if (sched_getaffinity(0, sizeof(before), &before) || CPU_COUNT(&before) < 2)
		return 0;
	line = 0;
	if (pthread_create(&thread, NULL, echo, NULL))
		return 0;
	bench_pin(0);
	make_trips(&next, PROBE_WARM);
	ns = make_trips(&next, PROBE_TRIPS);
	__atomic_store_n(&line, PROBE_END, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
	return ns;
}
