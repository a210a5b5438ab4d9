/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What more CPUs cost: who queues must not pay for them; who makes a queue pays for the
 * table, and the first who needs it for reading the topology.
 */
#include "pretend.h"

#include <sched.h>
#include <stdlib.h>

#define NR_MACHINES 3u

static const struct bench_pretence machines[NR_MACHINES] = {{2, 0}, {64, 0}, {1024, 0}};

/* --- queueing --- */

/* Items between two readings of the clock: not so many that the gate seems to hog its CPU. */
#define BATCH_ITEMS 1000u

struct table_run {
	unsigned flags;
	bool quick;
};

static struct wq *table_wq;
static unsigned gate_reached, gate_open, nr_ran; /* atomic */

/*
 * It computes, or seems to: the pool is full, and nobody is called who would take items
 * while they are being queued.
 */
static void gate_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	__atomic_store_n(&gate_reached, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&gate_open, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void count_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	__atomic_add_fetch(&nr_ran, 1, __ATOMIC_RELAXED);
}

/* The time of queueing, for all of them; the items run afterwards. */
static uint64_t time_batch(struct wq_work *gate, struct wq_work *items)
{
	uint64_t start, took;
	unsigned i;

	gate_reached = gate_open = nr_ran = 0;
	bench_must(wq_queue(table_wq, gate) == 1, "wq_queue");
	while (!__atomic_load_n(&gate_reached, __ATOMIC_ACQUIRE))
		sched_yield();
	start = bench_now();
	for (i = 0; i < BATCH_ITEMS; i++)
		if (wq_queue(table_wq, &items[i]) != 1)
			bench_must(false, "wq_queue");
	took = bench_now() - start;
	bench_must(!__atomic_load_n(&nr_ran, __ATOMIC_RELAXED), "holding items back");
	__atomic_store_n(&gate_open, 1, __ATOMIC_RELEASE);
	bench_must(!wq_flush(table_wq), "wq_flush");
	bench_must(nr_ran == BATCH_ITEMS, "running every item once");
	return took;
}

/* A pod a CPU: no table is larger, and one running item fills a pod. */
static struct wq *table_alloc(unsigned flags)
{
	struct wq_attrs attrs;
	struct wq *wq;

	bench_must(!wq_attrs_init(&attrs) && !wq_attrs_set_affinity(&attrs, WQ_AFFN_CPU) &&
			   !wq_attrs_set_strict(&attrs, true),
		   "wq_attrs");
	wq = wq_alloc_attrs("bench-table", flags, 0, flags & WQ_PERCPU ? NULL : &attrs);
	bench_must(wq, "wq_alloc_attrs");
	wq_attrs_fini(&attrs);
	return wq;
}

/* On one CPU, and so with one pool. */
static void time_queueing(void *arg, double *values)
{
	const struct table_run *run = arg;
	unsigned nr = run->quick ? 200 : 2000, i;
	struct wq_work *items = calloc(BATCH_ITEMS, sizeof(*items)), gate;
	uint64_t *took = calloc(nr, sizeof(*took));

	bench_must(items && took, "allocating items");
	/* The library's threads inherit from who starts them where they may run. */
	table_wq = table_alloc(run->flags);
	bench_must(bench_pin(0), "moving to a CPU");
	wq_work_init(&gate, gate_fn, NULL);
	for (i = 0; i < BATCH_ITEMS; i++)
		wq_work_init(&items[i], count_fn, NULL);
	for (i = 0; i < nr; i++)
		took[i] = time_batch(&gate, items);
	values[0] = bench_percentile_us(took, nr, 50) * 1000 / BATCH_ITEMS;
	bench_must(!wq_destroy(table_wq), "wq_destroy");
}

static void run_table(unsigned flags, bool quick, double *values)
{
	struct table_run run = {.flags = flags, .quick = quick};
	unsigned i;

	for (i = 0; i < NR_MACHINES; i++)
		bench_pretend(machines[i], time_queueing, &run, &values[i], 1);
}

void bench_table(const struct bench_peer *peer, bool quick, double *values)
{
	run_table(0, quick, values);
}

void bench_table_percpu(const struct bench_peer *peer, bool quick, double *values)
{
	run_table(WQ_PERCPU, quick, values);
}

/* --- making a queue --- */

static double time_alloc(enum wq_affn_scope scope)
{
	struct wq_attrs attrs;
	uint64_t start, took;

	bench_must(!wq_attrs_init(&attrs) && !wq_attrs_set_affinity(&attrs, scope), "wq_attrs");
	start = bench_now();
	/* Not destroyed: the next one must find nothing ready that the last one had. */
	bench_must(wq_alloc_attrs("bench-alloc", 0, 0, &attrs), "wq_alloc_attrs");
	took = bench_now() - start;
	wq_attrs_fini(&attrs);
	return (double)took / 1000;
}

/* The first starts the library, the second reads the topology, the third finds all of it. */
static void time_allocs(void *arg, double *values)
{
	(void)arg;
	values[0] = time_alloc(WQ_AFFN_SYSTEM);
	values[1] = time_alloc(WQ_AFFN_CACHE_SHARD);
	values[2] = time_alloc(WQ_AFFN_CACHE_SHARD);
}

/* A pretended machine's topology is read when it is configured. */
static void time_pretended_alloc(void *arg, double *values)
{
	double all[3];

	time_allocs(arg, all);
	values[0] = all[2];
}

void bench_topology(const struct bench_peer *peer, bool quick, double *values)
{
	unsigned i;

	bench_pretend((struct bench_pretence){0}, time_allocs, NULL, values, 3);
	for (i = 0; i < NR_MACHINES; i++)
		bench_pretend(machines[i], time_pretended_alloc, NULL, &values[3 + i], 1);
}
