/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The batch, and what workloads do with their times. */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>

struct bench_batch bench_batch;

struct bench_item *bench_begin(const struct bench_peer *peer, uint64_t nr_items, uint64_t runs,
			       void (*fn)(struct bench_item *item))
{
	struct bench_item *items = aligned_alloc(64, nr_items * sizeof(*items));
	uint64_t i;

	bench_must(items, "allocating items");
	for (i = 0; i < nr_items; i++) {
		peer->init(&items[i], fn);
		items[i].number = i;
	}
	bench_batch.peer = peer;
	bench_batch.items = items;
	bench_batch.nr_items = nr_items;
	bench_batch.ran = 0;
	bench_batch.to_run = runs;
	bench_must(!sem_init(&bench_batch.all_ran, 0, 0), "sem_init");
	return items;
}

static void queue_all(void *arg)
{
	uint64_t i;

	(void)arg;
	for (i = 0; i < bench_batch.nr_items; i++)
		bench_batch.peer->queue(&bench_batch.items[i]);
}

void bench_queue_all(void)
{
	bench_call(bench_batch.peer, queue_all, NULL);
}

uint64_t bench_wait_all(void)
{
	uint64_t now;

	if (bench_batch.peer->help)
		bench_batch.peer->help();
	while (sem_wait(&bench_batch.all_ran))
		;
	now = bench_now();
	if (__atomic_load_n(&bench_batch.ran, __ATOMIC_ACQUIRE) != bench_batch.to_run)
		bench_must(false, "running every item once");
	return now;
}

void bench_end(void)
{
	uint64_t i;

	if (bench_batch.peer->settle)
		bench_batch.peer->settle();
	if (__atomic_load_n(&bench_batch.ran, __ATOMIC_ACQUIRE) != bench_batch.to_run)
		bench_must(false, "running no item twice");
	for (i = 0; i < bench_batch.nr_items && bench_batch.peer->fini; i++)
		bench_batch.peer->fini(&bench_batch.items[i]);
	free(bench_batch.items);
}

void bench_must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "wq-bench: %s failed\n", what);
		exit(1);
	}
}

void bench_sleep_ns(uint64_t ns)
{
	struct timespec left = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	while (nanosleep(&left, &left))
		bench_must(errno == EINTR, "nanosleep");
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

double bench_percentile_us(uint64_t *took, uint64_t nr, unsigned percent)
{
	qsort(took, nr, sizeof(*took), compare_u64);
	return (double)took[nr * percent / 100] / 1000;
}
