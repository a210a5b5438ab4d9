/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How far apart two CPUs are: the round trip of a cache line between them. */
#include "bench.h"

#include <pthread.h>
#include <sched.h>

#define PROBE_TRIPS 20000u

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

static void wait_for(uint32_t value)
{
	while (__atomic_load_n(&line, __ATOMIC_ACQUIRE) != value)
		;
}

static void *echo(void *arg)
{
	uint32_t i;

	if (!bench_pin(1))
		return arg;
	for (i = 1; i < 2 * PROBE_TRIPS; i += 2) {
		wait_for(i);
		__atomic_store_n(&line, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

double bench_probe_line(void)
{
	uint64_t start = 0;
	cpu_set_t before;
	pthread_t thread;
	uint32_t i;

	if (sched_getaffinity(0, sizeof(before), &before) || CPU_COUNT(&before) < 2)
		return 0;
	line = 0;
	if (pthread_create(&thread, NULL, echo, NULL))
		return 0;
	bench_pin(0);
	for (i = 1; i < 2 * PROBE_TRIPS; i += 2) {
		if (i == PROBE_TRIPS + 1)
			start = bench_now();
		__atomic_store_n(&line, i, __ATOMIC_RELEASE);
		wait_for(i + 1);
	}
	start = bench_now() - start;
	pthread_join(thread, NULL);
	pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
	return (double)start / (PROBE_TRIPS / 2);
}
