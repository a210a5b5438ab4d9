/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many items that sleep; and items that compute behind some that sleep. */
#include "batch.h"

#include <sys/resource.h>

/* --- 256 items that sleep 20 ms: the ideal is 20 ms; 32 for a quick look --- */

static void sleep_20ms_fn(struct bench_item *item)
{
	(void)item;
	bench_sleep_ns(20000000);
	bench_count_run();
}

static double blocking_ms(const struct bench_peer *peer, unsigned nr)
{
	uint64_t start, took;

	bench_begin(peer, nr, nr, sleep_20ms_fn);
	start = bench_now();
	bench_queue_all();
	took = bench_wait_all() - start;
	bench_end();
	return (double)took / 1e6;
}

/*
 * The second figure is the middle of several runs, with the threads of the first
 * there; of one where a run takes seconds.
 */
void bench_blocking(const struct bench_peer *peer, bool quick, double *values)
{
	unsigned i, nr, nr_items = quick ? 32 : 256;
	double warm[5];

	values[0] = blocking_ms(peer, nr_items);
	nr = quick || values[0] > 1000 ? 1 : 5;
	for (i = 0; i < nr; i++)
		warm[i] = blocking_ms(peer, nr_items);
	values[1] = bench_median(warm, nr);
}

/* --- 1,000 items that compute 20 µs behind 64 that sleep 10 ms: 10 ms on 2 CPUs --- */

#define NR_SLEEPING  64u
#define NR_COMPUTING 1000u

static uint64_t computed; /* atomic */
static uint64_t computed_at;
static long switches_before, computed_switches;

static long count_switches(void)
{
	struct rusage usage;

	bench_must(!getrusage(RUSAGE_SELF, &usage), "getrusage");
	return usage.ru_nvcsw + usage.ru_nivcsw;
}

/* The CPU's time, so that being preempted does not shorten it. */
static void compute_20us(void)
{
	uint64_t start = bench_clock(CLOCK_THREAD_CPUTIME_ID);

	while (bench_clock(CLOCK_THREAD_CPUTIME_ID) - start < 20000)
		;
}

static void starvation_fn(struct bench_item *item)
{
	if (item->number < NR_SLEEPING) {
		bench_sleep_ns(10000000);
	} else {
		if (item->number == NR_SLEEPING)
			switches_before = count_switches();
		compute_20us();
		if (__atomic_add_fetch(&computed, 1, __ATOMIC_ACQ_REL) == NR_COMPUTING) {
			computed_at = bench_now();
			computed_switches = count_switches();
		}
	}
	bench_count_run();
}

/*
 * Until the last computing item has run; also the context switches of all threads
 * from the first computing item on: those who slept return meanwhile.
 */
static double starvation_ms(const struct bench_peer *peer, double *switches)
{
	uint64_t start;

	bench_begin(peer, NR_SLEEPING + NR_COMPUTING, NR_SLEEPING + NR_COMPUTING, starvation_fn);
	computed = 0;
	start = bench_now();
	bench_queue_all();
	bench_wait_all();
	bench_end();
	*switches = (double)(computed_switches - switches_before) / NR_COMPUTING;
	return (double)(computed_at - start) / 1e6;
}

void bench_starvation(const struct bench_peer *peer, bool quick, double *values)
{
	if (!quick)
		values[0] = starvation_ms(peer, &values[2]);
	values[1] = starvation_ms(peer, &values[2]);
}
