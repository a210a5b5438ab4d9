/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What callgrind counts instructions of: one call of the library a thousand times, one
 * item at a time, on one CPU and without spinning.  counts.sh runs it and reads the
 * counts; they are the same each time, for the clock that the library reads here goes by
 * how often it is read, so that every item is a short one.
 */
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include <wq/wq.h>

#define NR_RUNS	 1000u
#define NR_CALLS 50u
#define HOUR_NS	 3600000000000u
#define CLOCK_NS 16u /* between two readings */

static struct wq *queue;
static struct wq_work items[NR_RUNS], gate;
static struct wq_delayed_work delayed;
static sem_t gate_reached, gate_open;
static unsigned nr_ran; /* by the items of one queue, read after a flush; atomic */
static unsigned nr_to_run;
static uint64_t clock_ns; /* atomic */

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "counts: %s failed\n", what);
		exit(1);
	}
}

/* Instead of the C library's: it goes by how often it is read. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t ns;

	if (id != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, id, ts);
	ns = __atomic_add_fetch(&clock_ns, CLOCK_NS, __ATOMIC_RELAXED);
	ts->tv_sec = (time_t)(ns / 1000000000u);
	ts->tv_nsec = (long)(ns % 1000000000u);
	return 0;
}

/* --- items --- */

static void empty_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	__atomic_add_fetch(&nr_ran, 1, __ATOMIC_RELAXED);
}

static void call_fn(void *ctx)
{
	empty_fn(NULL, ctx);
}

static void again_fn(struct wq_work *work, void *ctx)
{
	empty_fn(work, ctx);
	if (nr_ran < nr_to_run)
		must(wq_queue(queue, work) == 1, "wq_queue");
}

/* What is queued behind it waits. */
static void gate_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	sem_post(&gate_reached);
	while (sem_wait(&gate_open))
		;
}

static void close_gate(void)
{
	must(wq_queue(queue, &gate) == 1, "wq_queue");
	while (sem_wait(&gate_reached))
		;
}

static void open_gate(unsigned nr)
{
	sem_post(&gate_open);
	must(!wq_flush(queue), "wq_flush");
	must(nr_ran == nr, "running every item once");
}

/* --- the phases, each of so many calls --- */

/* Gives the worker time to sleep: callgrind runs one thread at a time. */
static void let_others_run(void)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		sched_yield();
}

/* A worker is woken for each. */
static void phase_wake(unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		must(wq_queue(queue, &items[0]) == 1, "wq_queue");
		must(wq_work_flush(&items[0]) >= 0, "wq_work_flush");
		let_others_run();
	}
	must(nr_ran == nr, "running every item once");
}

/* All wait while a worker runs, which then runs them one after the other. */
static void phase_busy(unsigned nr)
{
	unsigned i;

	close_gate();
	for (i = 0; i < nr; i++)
		must(wq_queue(queue, &items[i]) == 1, "wq_queue");
	open_gate(nr);
}

/* It queues itself. */
static void phase_again(unsigned nr)
{
	struct wq_work again;

	wq_work_init(&again, again_fn, NULL);
	nr_to_run = nr;
	must(wq_queue(queue, &again) == 1 && !wq_flush(queue), "wq_queue");
	while (nr_ran < nr)
		must(!wq_flush(queue), "wq_flush");
}

/* Some at a time, so that the memory of these is used again for the next. */
static void phase_call(unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		if (i % NR_CALLS == 0)
			close_gate();
		must(wq_call(queue, call_fn, NULL) >= 0, "wq_call");
		if (i % NR_CALLS == NR_CALLS - 1)
			open_gate(i + 1);
	}
}

static void phase_timer(unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		must(wq_queue_delayed(queue, &delayed, HOUR_NS) == 1, "wq_queue_delayed");
		must(wq_delayed_work_cancel(&delayed) == 1, "wq_delayed_work_cancel");
	}
}

static void phase_mod(unsigned nr)
{
	unsigned i;

	must(wq_queue_delayed(queue, &delayed, HOUR_NS) == 1, "wq_queue_delayed");
	for (i = 0; i < nr; i++)
		must(wq_mod_delayed(queue, &delayed, HOUR_NS) == 1, "wq_mod_delayed");
	must(wq_delayed_work_cancel(&delayed) == 1, "wq_delayed_work_cancel");
}

/* Of items that wait. */
static void phase_cancel(unsigned nr)
{
	unsigned i;

	close_gate();
	for (i = 0; i < nr; i++) {
		must(wq_queue(queue, &items[0]) == 1, "wq_queue");
		must(wq_work_cancel(&items[0]) == 1, "wq_work_cancel");
	}
	open_gate(0);
}

/* Of one that has run. */
static void phase_idle(unsigned nr)
{
	unsigned i;

	must(wq_queue(queue, &items[0]) == 1 && !wq_flush(queue), "wq_queue");
	for (i = 0; i < nr; i++) {
		must(wq_work_flush(&items[0]) == 0, "wq_work_flush");
		must(wq_work_cancel_sync(&items[0]) == 0, "wq_work_cancel_sync");
	}
}

static const struct {
	const char *name;
	void (*run)(unsigned nr);
} phases[] = {
	{"wake", phase_wake},	  {"busy", phase_busy},	  {"again", phase_again},
	{"call", phase_call},	  {"timer", phase_timer}, {"mod", phase_mod},
	{"cancel", phase_cancel}, {"idle", phase_idle},
};
#define NR_PHASES (sizeof(phases) / sizeof(phases[0]))

/* --- */

/* Counts must not depend on how many CPUs there are. */
static void use_one_cpu(void)
{
	cpu_set_t all, one;
	int cpu = 0;

	must(!sched_getaffinity(0, sizeof(all), &all), "sched_getaffinity");
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	must(!sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

static void start(void)
{
	struct wq_config config = WQ_CONFIG_INIT;
	unsigned i;

	config.max_threads = 1; /* nobody takes items while the gate is closed */
	config.spin_max_us = 0;
	config.cpu_intensive_us = 0;
	must(!wq_configure(&config), "wq_configure");
	queue = wq_alloc("counts", 0, 0);
	must(queue, "wq_alloc");
	must(!sem_init(&gate_reached, 0, 0) && !sem_init(&gate_open, 0, 0), "sem_init");
	for (i = 0; i < NR_RUNS; i++)
		wq_work_init(&items[i], empty_fn, NULL);
	wq_work_init(&gate, gate_fn, NULL);
	wq_delayed_work_init(&delayed, empty_fn, NULL);
}

/* Until the library has made what it makes once. */
static void warm_up(void (*run)(unsigned nr))
{
	unsigned i;

	for (i = 0; i < 5; i++) {
		nr_ran = 0;
		run(NR_RUNS / 5);
	}
	nr_ran = 0;
}

int main(int argc, char **argv)
{
	struct timespec now;
	unsigned p = 0;

	while (argc == 2 && p < NR_PHASES && strcmp(argv[1], phases[p].name))
		p++;
	if (argc != 2 || p == NR_PHASES) {
		fprintf(stderr, "usage: counts PHASE\n  phases:");
		for (p = 0; p < NR_PHASES; p++)
			fprintf(stderr, " %s", phases[p].name);
		fprintf(stderr, "\n");
		return 2;
	}
	use_one_cpu();
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	clock_ns = (uint64_t)now.tv_sec * 1000000000u;
	start();
	warm_up(phases[p].run);
	CALLGRIND_ZERO_STATS;
	phases[p].run(NR_RUNS);
	CALLGRIND_DUMP_STATS_AT(phases[p].name);
	must(!wq_destroy(queue) && !wq_shutdown(), "ending");
	return 0;
}
