/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What only libwq has: queues that keep items on their CPU, cancel and flush, and functions
 * queued with an item of the caller's, or with memory of the library's.
 */
#include "batch.h"

#include <stdlib.h>

static struct wq *calls_wq;
static sem_t gate_reached, gate_open;

static void calls_start(unsigned flags)
{
	calls_wq = wq_alloc("bench-calls", flags, 0);
	bench_must(calls_wq, "wq_alloc");
	bench_must(!sem_init(&gate_reached, 0, 0) && !sem_init(&gate_open, 0, 0), "sem_init");
}

static void calls_stop(void)
{
	bench_must(!wq_destroy(calls_wq), "wq_destroy");
}

static double of_each(uint64_t start_ns, uint64_t nr)
{
	return (double)(bench_now() - start_ns) / (double)nr;
}

/* --- per-CPU queues: as empty_1p, from one CPU and from two, each with a pool of its own --- */

/* Items before those that count: they make the pools' workers. */
#define NR_WARM 2000u

static void calls_queue(struct bench_item *item)
{
	bench_must(wq_queue(calls_wq, &item->work) == 1, "wq_queue");
}

void bench_percpu(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 200000 : 2000000;
	unsigned i;

	calls_start(WQ_PERCPU);
	for (i = 0; i < 2 && i < bench_nr_cpus(); i++) {
		bench_produce(peer, i + 1, true, NR_WARM, calls_queue);
		values[i] = bench_produce(peer, i + 1, true, nr, calls_queue);
	}
	calls_stop();
}

/* --- cancel and flush --- */

static void gate_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	sem_post(&gate_reached);
	while (sem_wait(&gate_open))
		;
}

static void never_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	bench_must(false, "cancelling every item");
}

/* Behind an item that does not end, so that all are pending. */
static void time_pending(struct wq_work *items, uint64_t nr, double *values)
{
	struct wq_work gate;
	uint64_t start, i;

	wq_work_init(&gate, gate_fn, NULL);
	bench_must(wq_queue(calls_wq, &gate) == 1, "wq_queue");
	while (sem_wait(&gate_reached))
		;
	for (i = 0; i < nr; i++)
		bench_must(wq_queue(calls_wq, &items[i]) == 1, "wq_queue");
	start = bench_now();
	for (i = 0; i < nr; i++)
		if (wq_work_cancel(&items[i]) != 1)
			bench_must(false, "cancelling every item");
	values[0] = of_each(start, nr);
	sem_post(&gate_open);
	bench_must(!wq_flush(calls_wq), "wq_flush");
}

static void time_idle(struct wq_work *items, uint64_t nr, double *values)
{
	uint64_t start = bench_now(), i;

	for (i = 0; i < nr; i++)
		if (wq_work_cancel_sync(&items[i]))
			bench_must(false, "cancelling an idle item");
	values[1] = of_each(start, nr);
	start = bench_now();
	for (i = 0; i < nr; i++)
		if (wq_work_flush(&items[i]))
			bench_must(false, "flushing an idle item");
	values[2] = of_each(start, nr);
	start = bench_now();
	for (i = 0; i < nr / 100; i++)
		if (wq_flush(calls_wq))
			bench_must(false, "flushing an idle queue");
	values[3] = of_each(start, nr / 100);
}

void bench_cancel_flush(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 50000 : 500000, i;
	struct wq_work *items = calloc(nr, sizeof(*items));

	(void)peer;
	bench_must(items, "allocating items");
	for (i = 0; i < nr; i++)
		wq_work_init(&items[i], never_fn, NULL);
	calls_start(WQ_ORDERED); /* or others would start beside the one that blocks */
	time_pending(items, nr, values);
	time_idle(items, nr, values);
	calls_stop();
	free(items);
}

/* --- a function: in an item of the caller's, or the library's --- */

static uint64_t nr_called; /* atomic */

static void called_fn(void *ctx)
{
	(void)ctx;
	__atomic_add_fetch(&nr_called, 1, __ATOMIC_RELAXED);
}

static void work_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	called_fn(ctx);
}

static double time_embedded(uint64_t nr)
{
	struct wq_work *items = calloc(nr, sizeof(*items));
	uint64_t start, i;
	double took;

	bench_must(items, "allocating items");
	for (i = 0; i < nr; i++)
		wq_work_init(&items[i], work_fn, NULL);
	start = bench_now();
	for (i = 0; i < nr; i++)
		if (wq_queue(calls_wq, &items[i]) != 1)
			bench_must(false, "wq_queue");
	bench_must(!wq_flush(calls_wq), "wq_flush");
	took = of_each(start, nr);
	free(items);
	return took;
}

static double time_calls(uint64_t nr)
{
	uint64_t start = bench_now(), i;

	for (i = 0; i < nr; i++)
		if (wq_call(calls_wq, called_fn, NULL) < 0)
			bench_must(false, "wq_call");
	bench_must(!wq_flush(calls_wq), "wq_flush");
	return of_each(start, nr);
}

static double time_enqueues(uint64_t nr)
{
	struct wq_closure *closure = wq_closure_new(called_fn, NULL, NULL);
	uint64_t start, i;
	double took;

	bench_must(closure, "wq_closure_new");
	start = bench_now();
	for (i = 0; i < nr; i++)
		if (wq_enqueue(calls_wq, closure) < 0)
			bench_must(false, "wq_enqueue");
	bench_must(!wq_flush(calls_wq), "wq_flush");
	took = of_each(start, nr);
	wq_closure_put(closure);
	return took;
}

/* The first of each meets memory that nobody has touched, and does not count. */
void bench_closure(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 200000 : 1000000;

	(void)peer;
	calls_start(0);
	nr_called = 0;
	time_embedded(nr);
	values[0] = time_embedded(nr);
	time_calls(nr);
	values[1] = time_calls(nr);
	time_enqueues(nr);
	values[2] = time_enqueues(nr);
	bench_must(nr_called == 6 * nr, "running every function once");
	calls_stop();
}
