/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Items that do nothing: what queueing and running them costs.  Each workload checks
 * that every item ran.
 */
#include "batch.h"

#include <pthread.h>
#include <stdlib.h>

/* --- empty items from 1, 2 and 4 threads, and through a serial queue --- */

static void empty_fn(struct bench_item *item)
{
	bench_count_run();
}

struct producer {
	pthread_t thread;
	pthread_barrier_t *barrier;
	struct bench_item *items;
	uint64_t nr;
	void (*queue)(struct bench_item *item);
	unsigned number;
	bool apart;
	uint64_t start;
};

static void produce_items(void *arg)
{
	struct producer *producer = arg;
	uint64_t i;

	for (i = 0; i < producer->nr; i++)
		producer->queue(&producer->items[i]);
}

static void *producer_main(void *arg)
{
	struct producer *producer = arg;

	if (producer->apart)
		bench_must(bench_pin(producer->number), "moving a producer thread");
	pthread_barrier_wait(producer->barrier);
	producer->start = bench_now();
	bench_call(bench_batch.peer, produce_items, producer);
	return NULL;
}

double bench_produce(const struct bench_peer *peer, unsigned nr_producers, bool apart, uint64_t nr,
		     void (*queue)(struct bench_item *item))
{
	struct producer producers[BENCH_MAX_PRODUCERS];
	struct bench_item *items;
	pthread_barrier_t barrier;
	uint64_t start = 0, end;
	unsigned i;

	if (!queue || (peer->call && nr_producers > 1))
		return NAN;
	items = bench_begin(peer, nr, nr, empty_fn);
	pthread_barrier_init(&barrier, NULL, nr_producers + 1);
	for (i = 0; i < nr_producers; i++) {
		producers[i].barrier = &barrier;
		producers[i].items = items + i * (nr / nr_producers);
		producers[i].nr = nr / nr_producers;
		producers[i].queue = queue;
		producers[i].number = i;
		producers[i].apart = apart;
		bench_must(!pthread_create(&producers[i].thread, NULL, producer_main,
					   &producers[i]),
			   "making a producer thread");
	}
	pthread_barrier_wait(&barrier);
	end = bench_wait_all();
	/* From the first one's start: this thread may get to run later than they do. */
	for (i = 0; i < nr_producers; i++) {
		pthread_join(producers[i].thread, NULL);
		if (!i || producers[i].start < start)
			start = producers[i].start;
	}
	pthread_barrier_destroy(&barrier);
	bench_end();
	return (double)(end - start) / (double)nr;
}

void bench_empty_1p(const struct bench_peer *peer, bool quick, double *values)
{
	values[0] = bench_produce(peer, 1, false, quick ? 400000 : 2000000, peer->queue);
}

void bench_empty_2p(const struct bench_peer *peer, bool quick, double *values)
{
	values[0] = bench_produce(peer, 2, false, quick ? 400000 : 2000000, peer->queue);
}

void bench_empty_4p(const struct bench_peer *peer, bool quick, double *values)
{
	values[0] = bench_produce(peer, 4, false, quick ? 400000 : 2000000, peer->queue);
}

void bench_serial_2p(const struct bench_peer *peer, bool quick, double *values)
{
	values[0] = bench_produce(peer, 2, false, quick ? 200000 : 1000000, peer->queue_serial);
}

static const unsigned nr_producers[BENCH_NR_PRODUCERS] = {1, 2, 4, 8, 16};

void bench_producers(const struct bench_peer *peer, bool quick, double *values)
{
	unsigned i;

	for (i = 0; i < BENCH_NR_PRODUCERS; i++)
		values[i] = bench_produce(peer, nr_producers[i], false, quick ? 96000 : 960000,
					  peer->queue);
}

/* --- a tree of items, each queueing two --- */

static struct bench_item *tree;
static uint64_t tree_nr;

static void tree_fn(struct bench_item *item)
{
	uint64_t child = 2 * item->number + 1;

	if (child < tree_nr) {
		bench_batch.peer->queue(&tree[child]);
		bench_batch.peer->queue(&tree[child + 1]);
	}
	bench_count_run();
}

void bench_spawn_tree(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t start, took;

	if (peer->call)
		return;
	tree_nr = (UINT64_C(2) << (quick ? 17 : 20)) - 1;
	tree = bench_begin(peer, tree_nr, tree_nr, tree_fn);
	start = bench_now();
	peer->queue(&tree[0]);
	took = bench_wait_all() - start;
	bench_end();
	values[0] = (double)took / (double)tree_nr;
}

/* --- an item that queues itself --- */

static void chain_fn(struct bench_item *item)
{
	if (++item->number < bench_batch.to_run)
		bench_batch.peer->queue(item);
	bench_count_run();
}

void bench_resubmit_chain(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t runs = quick ? 200000 : 1000000, start, took;
	struct bench_item *item;

	if (peer->call)
		return;
	item = bench_begin(peer, 1, runs, chain_fn);
	start = bench_now();
	peer->queue(item);
	took = bench_wait_all() - start;
	bench_end();
	values[0] = (double)took / (double)runs;
}

/* --- there and back --- */

/* Median, in µs. */
static double pingpong(const struct bench_peer *peer, uint64_t rounds, uint64_t pause_ns)
{
	uint64_t *took, i, start;
	struct bench_item *item;
	double median;

	if (!peer->queue_and_wait)
		return NAN;
	item = bench_begin(peer, 1, rounds, empty_fn);
	took = calloc(rounds, sizeof(*took));
	bench_must(took, "allocating figures");
	for (i = 0; i < rounds; i++) {
		if (pause_ns)
			bench_sleep_ns(pause_ns);
		start = bench_now();
		peer->queue_and_wait(item);
		took[i] = bench_now() - start;
	}
	bench_wait_all();
	bench_end();
	median = bench_percentile_us(took, rounds, 50);
	free(took);
	return median;
}

void bench_pingpong_hot(const struct bench_peer *peer, bool quick, double *values)
{
	values[0] = pingpong(peer, quick ? 5000 : 50000, 0);
}

void bench_pingpong_cold(const struct bench_peer *peer, bool quick, double *values)
{
	values[0] = pingpong(peer, quick ? 500 : 3000, 200000);
}
