/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Timers that are cancelled before they are due.  A first pass does not count: it
 * meets memory that nobody has touched yet.
 */
#include "timers.h"

#include <pthread.h>

#define SECOND_NS 1000000000u

static double of_each(uint64_t ns, uint64_t nr)
{
	return (double)ns / (double)nr;
}

/* --- by one thread: at once, and when they have been armed for a while --- */

static void arm_and_cancel(void *arg)
{
	uint64_t *cancel_ns = arg;

	bench_timers_arm_some(0, bench_timers.nr);
	*cancel_ns = bench_timers_cancel_some(0, bench_timers.nr);
}

void bench_timer_arm_cancel(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 100000 : 1000000, cpu_ns[3], cancel_ns;

	bench_timers_begin(peer, nr, SECOND_NS, 9 * (uint64_t)SECOND_NS);
	bench_timers_call(arm_and_cancel, &cancel_ns);
	bench_timers_call(arm_and_cancel, &cancel_ns);
	values[2] = of_each(cancel_ns, nr);
	cpu_ns[0] = bench_timers_settle();
	values[0] = of_each(bench_timers_arm(), nr);
	cpu_ns[1] = bench_timers_settle();
	values[4] = of_each(bench_timers_cancel(), nr);
	cpu_ns[2] = bench_timers_settle();
	values[1] = of_each(cpu_ns[1] - cpu_ns[0], nr);
	values[3] = of_each(cpu_ns[2] - cpu_ns[1], nr);
	bench_timers_must_be_over(3);
	bench_timers_end();
}

/* --- by two threads, each cancelling what the other one has armed --- */

struct armer {
	pthread_t thread;
	pthread_barrier_t *barrier;
	uint64_t mine, others, nr; /* the first of each, and how many */
	uint64_t arm_ns, cancel_ns;
};

static void *armer_main(void *arg)
{
	struct armer *armer = arg;
	unsigned pass;

	for (pass = 0; pass < 2; pass++) {
		pthread_barrier_wait(armer->barrier);
		armer->arm_ns = bench_timers_arm_some(armer->mine, armer->nr);
		pthread_barrier_wait(armer->barrier);
		armer->cancel_ns = bench_timers_cancel_some(armer->others, armer->nr);
	}
	return NULL;
}

void bench_timer_arm_2p(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t half = quick ? 50000 : 500000;
	pthread_barrier_t barrier;
	struct armer armers[2];
	unsigned i;

	if (peer->timers->call)
		return;
	bench_timers_begin(peer, 2 * half, SECOND_NS, 9 * (uint64_t)SECOND_NS);
	bench_must(!pthread_barrier_init(&barrier, NULL, 2), "pthread_barrier_init");
	for (i = 0; i < 2; i++) {
		armers[i] = (struct armer){
			.barrier = &barrier,
			.mine = i * half,
			.others = (1 - i) * half,
			.nr = half,
		};
		bench_must(!pthread_create(&armers[i].thread, NULL, armer_main, &armers[i]),
			   "making a thread");
	}
	for (i = 0; i < 2; i++)
		pthread_join(armers[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	values[0] = fmax(of_each(armers[0].arm_ns, half), of_each(armers[1].arm_ns, half));
	values[1] = fmax(of_each(armers[0].cancel_ns, half), of_each(armers[1].cancel_ns, half));
	bench_timers_must_be_over(2);
	bench_timers_end();
}

/* --- ten million at once --- */

/* What the process has in memory; its own page tables are not counted. */
static double resident_bytes(void)
{
	FILE *from = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kib = 0;
	char line[256];

	bench_must(from, "opening smaps_rollup");
	while (!kib && fgets(line, sizeof(line), from))
		if (sscanf(line, "Rss: %lu kB", &kib) != 1)
			kib = 0;
	fclose(from);
	bench_must(kib, "reading smaps_rollup");
	return (double)kib * 1024;
}

void bench_timer_10m(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 1000000 : 10000000;
	double beside;

	if (peer->timers->heavy)
		return;
	bench_timers_begin(peer, nr, 60 * (uint64_t)SECOND_NS, 540 * (uint64_t)SECOND_NS);
	beside = -resident_bytes();
	bench_timers_arm();
	beside += resident_bytes();
	bench_timers_cancel();
	values[0] = of_each(bench_timers_arm(), nr);
	values[1] = of_each(bench_timers_cancel(), nr);
	/* Less than a hundredth of a byte is what a thread's stack or a file's buffer took. */
	values[2] = (double)peer->timers->bytes + beside / (double)nr;
	bench_timers_must_be_over(2);
	bench_timers_end();
}
