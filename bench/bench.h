/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the benchmark's parts share: a peer is a pool with a way to queue and a
 * way to wait, a workload is run on any peer.  All times are nanoseconds.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <wq/wq.h>

#include "naive.h"

/* An item that any peer can take; 64 bytes, a cache line each. */
struct bench_item {
	union {
		struct wq_work work;
		struct naive_item naive;
	};
	void (*fn)(struct bench_item *item);
	uint64_t number;
} __attribute__((aligned(64)));

struct bench_peer {
	const char *name;
	void (*start)(void);
	void (*stop)(void);
	void (*init)(struct bench_item *item, void (*fn)(struct bench_item *item));
	void (*queue)(struct bench_item *item);
	/* Through a queue that runs one at a time, in order. */
	void (*queue_serial)(struct bench_item *item);
	/* Queue the item, and wait until it has run. */
	void (*queue_and_wait)(struct bench_item *item);
};

extern const struct bench_peer bench_peer_wq, bench_peer_naive;

struct bench_workload {
	const char *name;
	const char *unit;
	double (*run)(const struct bench_peer *peer, bool quick);
};

extern const struct bench_workload bench_workloads[];
extern const unsigned bench_nr_workloads;

static inline uint64_t bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Print what failed and exit with status 1, if it did. */
void bench_must(bool ok, const char *what);

/* Median of times in ns, in µs; sorts them. */
double bench_median_us(uint64_t *took, uint64_t nr);

/*
 * Medians in µs of fork, exec and wait: beside no pending item, and beside
 * bench_fork_items().  One of the peer's items that waits holds them up.
 */
void bench_fork_exec(const struct bench_peer *peer, bool quick, double *none, double *pending);
unsigned bench_fork_items(bool quick);

/* Round trip of a cache line between the first two CPUs, in ns; 0 with one CPU. */
double bench_probe_line(void);

#endif /* BENCH_H */
