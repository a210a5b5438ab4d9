/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Timers that fire: how late they are, and what it costs. */
#include "timers.h"

#include <stdlib.h>

static void wait_until_all_fired(void)
{
	while (sem_wait(&bench_timers.all_fired))
		;
	bench_timers_settle();
	bench_must(bench_timers.nr_fired == bench_timers.nr, "firing every timer once");
}

/* Of those that are early the lateness is 0. */
void bench_timer_late(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 2000 : 10000, span_ns = quick ? 200000000 : 1000000000, early = 0, i;
	uint64_t *at_ns = calloc(2 * nr, sizeof(*at_ns)), *late_ns = at_ns;

	bench_must(at_ns, "allocating figures");
	bench_timers_begin(peer, nr, 20000000, span_ns);
	bench_timers_keep_times(at_ns);
	bench_timers_arm();
	wait_until_all_fired();
	for (i = 0; i < nr; i++) {
		early += at_ns[nr + i] < at_ns[i];
		late_ns[i] = at_ns[nr + i] < at_ns[i] ? 0 : at_ns[nr + i] - at_ns[i];
	}
	bench_must(!early || !peer->timers->never_early, "firing no timer early");
	values[0] = bench_percentile_us(late_ns, nr, 50);
	values[1] = bench_percentile_us(late_ns, nr, 99);
	values[2] = (double)early;
	bench_timers_end();
	free(at_ns);
}

/*
 * Of those that fire when all are armed and what the peer has put off is done.  On a
 * machine so busy that this takes longer than two seconds there is no figure.
 */
void bench_timer_fire(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 20000 : 200000, cpu_ns, before;

	bench_timers_begin(peer, nr, 2000000000, 100000000);
	bench_timers_arm();
	cpu_ns = bench_timers_settle();
	before = __atomic_load_n(&bench_timers.nr_fired, __ATOMIC_RELAXED);
	wait_until_all_fired();
	cpu_ns = bench_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
	if (before < nr)
		values[0] = (double)cpu_ns / (double)(nr - before);
	bench_timers_end();
}
