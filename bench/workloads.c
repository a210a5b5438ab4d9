/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The workloads.  Each checks that every item ran, and answers with one figure. */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

static uint64_t ran, to_run; /* of the workload that is going on */
static sem_t all_ran;
static const struct bench_peer *peer_now;

static void count_run(void)
{
	if (__atomic_add_fetch(&ran, 1, __ATOMIC_ACQ_REL) == to_run)
		sem_post(&all_ran);
}

static struct bench_item *begin(const struct bench_peer *peer, uint64_t nr_items, uint64_t runs,
				void (*fn)(struct bench_item *item))
{
	struct bench_item *items = aligned_alloc(64, nr_items * sizeof(*items));
	uint64_t i;

	bench_must(items, "allocating items");
	for (i = 0; i < nr_items; i++) {
		peer->init(&items[i], fn);
		items[i].number = i;
	}
	peer_now = peer;
	ran = 0;
	to_run = runs;
	sem_init(&all_ran, 0, 0);
	return items;
}

/* When all items have run. */
static uint64_t wait_all(void)
{
	uint64_t now;

	while (sem_wait(&all_ran))
		;
	now = bench_now();
	if (__atomic_load_n(&ran, __ATOMIC_ACQUIRE) != to_run)
		bench_must(false, "running every item once");
	return now;
}

/* --- empty items from 1, 2 and 4 threads, and through a serial queue --- */

static void empty_fn(struct bench_item *item)
{
	count_run();
}

struct producer {
	pthread_t thread;
	pthread_barrier_t *barrier;
	struct bench_item *items;
	uint64_t nr;
	void (*queue)(struct bench_item *item);
};

static void *producer_main(void *arg)
{
	struct producer *producer = arg;
	uint64_t i;

	pthread_barrier_wait(producer->barrier);
	for (i = 0; i < producer->nr; i++)
		producer->queue(&producer->items[i]);
	return NULL;
}

static double produce(const struct bench_peer *peer, unsigned nr_producers, uint64_t nr,
		      void (*queue)(struct bench_item *item))
{
	struct bench_item *items = begin(peer, nr, nr, empty_fn);
	struct producer producers[4];
	pthread_barrier_t barrier;
	uint64_t start, took;
	unsigned i;

	pthread_barrier_init(&barrier, NULL, nr_producers + 1);
	for (i = 0; i < nr_producers; i++) {
		producers[i].barrier = &barrier;
		producers[i].items = items + i * (nr / nr_producers);
		producers[i].nr = nr / nr_producers;
		producers[i].queue = queue;
		bench_must(!pthread_create(&producers[i].thread, NULL, producer_main,
					   &producers[i]),
			   "making a producer thread");
	}
	pthread_barrier_wait(&barrier);
	start = bench_now();
	took = wait_all() - start;
	for (i = 0; i < nr_producers; i++)
		pthread_join(producers[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	free(items);
	return (double)took / (double)nr;
}

static double empty_1p(const struct bench_peer *peer, bool quick)
{
	return produce(peer, 1, quick ? 400000 : 2000000, peer->queue);
}

static double empty_2p(const struct bench_peer *peer, bool quick)
{
	return produce(peer, 2, quick ? 400000 : 2000000, peer->queue);
}

static double empty_4p(const struct bench_peer *peer, bool quick)
{
	return produce(peer, 4, quick ? 400000 : 2000000, peer->queue);
}

static double serial_2p(const struct bench_peer *peer, bool quick)
{
	return produce(peer, 2, quick ? 200000 : 1000000, peer->queue_serial);
}

/* --- a tree of items, each queueing two --- */

static struct bench_item *tree;
static uint64_t tree_nr;

static void tree_fn(struct bench_item *item)
{
	uint64_t child = 2 * item->number + 1;

	if (child < tree_nr) {
		peer_now->queue(&tree[child]);
		peer_now->queue(&tree[child + 1]);
	}
	count_run();
}

static double spawn_tree(const struct bench_peer *peer, bool quick)
{
	uint64_t start, took;

	tree_nr = (UINT64_C(2) << (quick ? 17 : 20)) - 1;
	tree = begin(peer, tree_nr, tree_nr, tree_fn);
	start = bench_now();
	peer->queue(&tree[0]);
	took = wait_all() - start;
	free(tree);
	return (double)took / (double)tree_nr;
}

/* --- an item that queues itself --- */

static void chain_fn(struct bench_item *item)
{
	if (++item->number < to_run)
		peer_now->queue(item);
	count_run();
}

static double resubmit_chain(const struct bench_peer *peer, bool quick)
{
	uint64_t runs = quick ? 200000 : 1000000, start, took;
	struct bench_item *item = begin(peer, 1, runs, chain_fn);

	start = bench_now();
	peer->queue(item);
	took = wait_all() - start;
	free(item);
	return (double)took / (double)runs;
}

/* --- there and back --- */

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

double bench_median_us(uint64_t *took, uint64_t nr)
{
	qsort(took, nr, sizeof(*took), compare_u64);
	return (double)took[nr / 2] / 1000;
}

/* Median, in µs. */
static double pingpong(const struct bench_peer *peer, uint64_t rounds, long pause_ns)
{
	struct bench_item *item = begin(peer, 1, rounds, empty_fn);
	struct timespec pause = {.tv_nsec = pause_ns};
	uint64_t *took = calloc(rounds, sizeof(*took)), i, start;
	double median;

	bench_must(took, "allocating figures");
	for (i = 0; i < rounds; i++) {
		if (pause_ns)
			nanosleep(&pause, NULL);
		start = bench_now();
		peer->queue_and_wait(item);
		took[i] = bench_now() - start;
	}
	wait_all();
	free(item);
	median = bench_median_us(took, rounds);
	free(took);
	return median;
}

static double pingpong_hot(const struct bench_peer *peer, bool quick)
{
	return pingpong(peer, quick ? 5000 : 50000, 0);
}

static double pingpong_cold(const struct bench_peer *peer, bool quick)
{
	return pingpong(peer, quick ? 500 : 3000, 200000);
}

const struct bench_workload bench_workloads[] = {
	{"empty_1p", "ns/item", empty_1p},
	{"empty_2p", "ns/item", empty_2p},
	{"empty_4p", "ns/item", empty_4p},
	{"spawn_tree", "ns/item", spawn_tree},
	{"resubmit_chain", "ns/hop", resubmit_chain},
	{"serial_2p", "ns/item", serial_2p},
	{"pingpong_hot", "us p50", pingpong_hot},
	{"pingpong_cold", "us p50", pingpong_cold},
};

const unsigned bench_nr_workloads = sizeof(bench_workloads) / sizeof(bench_workloads[0]);
