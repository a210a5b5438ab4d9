/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What it costs to have nothing to do: after a burst of items of which some slept; and
 * beside timers that are not due yet.
 */
#include "batch.h"
#include "timers.h"

#include <sys/resource.h>

#define NR_SLEEPING 64u
#define NR_EMPTY    100000u

/* Timers, an hour away and a millisecond from one to the next. */
#define NR_TIMERS 1000u
#define HOUR_NS	  3600000000000u

struct usage {
	double switches, cpu_us;
};

static void burst_fn(struct bench_item *item)
{
	if (item->number < NR_SLEEPING)
		bench_sleep_ns(10000000);
	bench_count_run();
}

/* Of all threads but the caller's, which sleeps through the time that is looked at. */
static struct usage others_usage(void)
{
	struct rusage all, mine;
	uint64_t all_ns, mine_ns;

	bench_must(!getrusage(RUSAGE_SELF, &all) && !getrusage(RUSAGE_THREAD, &mine), "getrusage");
	all_ns = bench_clock(CLOCK_PROCESS_CPUTIME_ID);
	mine_ns = bench_clock(CLOCK_THREAD_CPUTIME_ID);
	return (struct usage){
		.switches = (double)(all.ru_nvcsw + all.ru_nivcsw - mine.ru_nvcsw - mine.ru_nivcsw),
		.cpu_us = ((double)all_ns - (double)mine_ns) / 1000,
	};
}

static void look_for(uint64_t ns, double *values)
{
	struct usage before, after;

	before = others_usage();
	bench_sleep_ns(ns);
	after = others_usage();
	values[0] = after.switches - before.switches;
	/* Two clocks are read one after the other: less than 1 µs is nothing. */
	values[1] = after.cpu_us - before.cpu_us < 1 ? 0 : after.cpu_us - before.cpu_us;
}

void bench_idle(const struct bench_peer *peer, bool quick, double *values)
{
	bench_begin(peer, NR_SLEEPING + NR_EMPTY, NR_SLEEPING + NR_EMPTY, burst_fn);
	bench_queue_all();
	bench_wait_all();
	bench_end();
	bench_sleep_ns(quick ? 200000000 : 1000000000);
	look_for(quick ? 200000000u : 5000000000u, values);
}

void bench_timer_idle(const struct bench_peer *peer, bool quick, double *values)
{
	bench_timers_begin(peer, NR_TIMERS, HOUR_NS, NR_TIMERS * 1000000u);
	bench_timers_arm();
	bench_timers_settle();
	look_for(quick ? 500000000u : 5000000000u, values);
	bench_timers_cancel();
	bench_timers_end();
}
