/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What affinity scopes cost: items that do nothing, on an unbound queue of each, queued
 * from one CPU or from two.  The fewer pods, the more producers share one.
 */
#include "batch.h"

#include <sched.h>

/* Items before those that count: they make the pool's workers. */
#define NR_WARM 2000u

static struct wq *scope_wq;

static void scope_queue(struct bench_item *item)
{
	bench_must(wq_queue(scope_wq, &item->work) == 1, "wq_queue");
}

static void scope_start(enum wq_affn_scope scope)
{
	struct wq_attrs attrs;

	bench_must(!wq_attrs_init(&attrs) && !wq_attrs_set_affinity(&attrs, scope), "wq_attrs");
	scope_wq = wq_alloc_attrs("bench-scope", 0, 0, &attrs);
	bench_must(scope_wq, "wq_alloc_attrs");
	wq_attrs_fini(&attrs);
}

static void run_scopes(const struct bench_peer *peer, unsigned nr_producers, bool quick,
		       double *values)
{
	uint64_t nr = quick ? 200000 : 1000000;
	unsigned scope;
	cpu_set_t cpus;

	bench_must(!sched_getaffinity(0, sizeof(cpus), &cpus), "sched_getaffinity");
	if ((unsigned)CPU_COUNT(&cpus) < nr_producers)
		return;
	for (scope = WQ_AFFN_CPU; scope <= WQ_AFFN_SYSTEM; scope++) {
		scope_start((enum wq_affn_scope)scope);
		bench_produce(peer, nr_producers, true, NR_WARM, scope_queue);
		values[scope] = bench_produce(peer, nr_producers, true, nr, scope_queue);
		bench_must(!wq_destroy(scope_wq), "wq_destroy");
	}
}

void bench_scopes_1p(const struct bench_peer *peer, bool quick, double *values)
{
	run_scopes(peer, 1, quick, values);
}

void bench_scopes(const struct bench_peer *peer, bool quick, double *values)
{
	run_scopes(peer, 2, quick, values);
}
