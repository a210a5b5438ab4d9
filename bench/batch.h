/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A batch: the items of the workload that is going on, and the count of their runs. */
#ifndef BENCH_BATCH_H
#define BENCH_BATCH_H

#include "bench.h"

#include <semaphore.h>

#define BENCH_MAX_PRODUCERS 16u
#define BENCH_NR_PRODUCERS  5u

struct bench_batch {
	uint64_t ran, to_run; /* the first is atomic */
	sem_t all_ran;
	const struct bench_peer *peer;
	struct bench_item *items;
	uint64_t nr_items;
};

extern struct bench_batch bench_batch;

/* Items with numbers from 0, and @runs runs of them expected in all. */
struct bench_item *bench_begin(const struct bench_peer *peer, uint64_t nr_items, uint64_t runs,
			       void (*fn)(struct bench_item *item));

/* Queue them all, in their order. */
void bench_queue_all(void);

/* When all runs are over. */
uint64_t bench_wait_all(void);

void bench_end(void);

/*
 * Threads queue so many items that do nothing; with @apart each from a CPU of its own.  Nanoseconds
 * an item until all have run, or NAN: the peer can't do that.
 */
double bench_produce(const struct bench_peer *peer, unsigned nr_producers, bool apart, uint64_t nr,
		     void (*queue)(struct bench_item *item));

/* To be called by each run.  After the count the batch may be another one. */
static inline void bench_count_run(void)
{
	uint64_t to_run = bench_batch.to_run;

	if (__atomic_add_fetch(&bench_batch.ran, 1, __ATOMIC_ACQ_REL) == to_run)
		sem_post(&bench_batch.all_ran);
}

#endif /* BENCH_BATCH_H */
