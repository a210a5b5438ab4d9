/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From queueing to start, under load: one thread queues items that compute 50 µs each, at
 * random times, so many a second that they keep a part of the CPUs busy.  It sleeps in between,
 * and does not wait for them: what a pool can't keep up with piles up, and shows.
 */
#include "batch.h"

#include <stdlib.h>
#include <sys/prctl.h>

#define ITEM_NS	 50000u
#define NR_LOADS 3u

/* What is due so soon is waited for awake. */
#define AWAKE_NS 5000u

static const unsigned loads[NR_LOADS] = {25, 50, 80}; /* percent of the CPUs */

static uint64_t *queued_at, *waited_ns; /* of each item */
static double mean_gap_ns;

/* The CPU's time, so that being preempted does not shorten it. */
static void compute_fn(struct bench_item *item)
{
	uint64_t start;

	waited_ns[item->number] = bench_now() - queued_at[item->number];
	start = bench_clock(CLOCK_THREAD_CPUTIME_ID);
	while (bench_clock(CLOCK_THREAD_CPUTIME_ID) - start < ITEM_NS)
		;
	bench_count_run();
}

/* The same ones each time: from 0 to below 1. */
static double next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (double)(*state >> 11) / (double)(UINT64_C(1) << 53);
}

/* What is due is queued, also if it was due earlier. */
static void produce(void *arg)
{
	uint64_t seed = 88172645463325252u, i, now;
	double due = (double)bench_now();

	(void)arg;
	prctl(PR_SET_TIMERSLACK, 1UL);
	for (i = 0; i < bench_batch.nr_items; i++) {
		due -= mean_gap_ns * log(1 - next_random(&seed));
		while ((now = bench_now()) < (uint64_t)due) {
			if ((uint64_t)due - now > AWAKE_NS)
				bench_sleep_ns((uint64_t)due - now);
		}
		queued_at[i] = bench_now();
		bench_batch.peer->queue(&bench_batch.items[i]);
	}
}

static void run_load(const struct bench_peer *peer, unsigned load, uint64_t nr, double *values)
{
	mean_gap_ns = (double)ITEM_NS * 100 / load / bench_nr_cpus();
	bench_begin(peer, nr, nr, compute_fn);
	bench_call(peer, produce, NULL);
	bench_wait_all();
	bench_end();
	values[0] = bench_percentile_us(waited_ns, nr, 50);
	values[1] = bench_percentile_us(waited_ns, nr, 99);
	values[2] = (double)waited_ns[nr * 999 / 1000] / 1000; /* they are sorted now */
}

void bench_latency(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 1000 : 10000;
	unsigned i;

	queued_at = calloc(nr, sizeof(*queued_at));
	waited_ns = calloc(nr, sizeof(*waited_ns));
	bench_must(queued_at && waited_ns, "allocating figures");
	for (i = 0; i < NR_LOADS; i++)
		run_load(peer, loads[i], nr, &values[3 * i]);
	free(queued_at);
	free(waited_ns);
}
