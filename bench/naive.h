/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The naive pool: one mutex, one condition variable, intrusive items, one thread a
 * CPU.  What many programs have, and faster on empty items than most libraries.
 */
#ifndef BENCH_NAIVE_H
#define BENCH_NAIVE_H

#include <stdbool.h>

struct naive_pool;

struct naive_item {
	struct naive_item *next;
	void (*fn)(struct naive_item *item);
	bool notify; /* somebody will call naive_wait() */
	bool done;
};

struct naive_pool *naive_start(unsigned nr_threads);
void naive_stop(struct naive_pool *pool);
void naive_queue(struct naive_pool *pool, struct naive_item *item);
/* Queue @item with notify set, and wait until it has run. */
void naive_wait(struct naive_pool *pool, struct naive_item *item);

#endif /* BENCH_NAIVE_H */
