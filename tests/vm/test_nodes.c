/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Strict pods of a real topology: an item runs on the CPUs that share with the one from
 * which it was queued what the scope says, as the kernel tells it.
 */
#include "guest.h"

#include <wq/wq.h>

#define NR_ITEMS 12 /* more than a pod has CPUs, so that its workers are several */

struct item {
	struct wq_work work;
	struct latch *ended;
	int cpu;
};

struct batch {
	struct wq *wq;
	int node; /* or -1: none is named */
	struct latch ended;
	struct item items[NR_ITEMS];
	int refused;
};

static void item_fn(struct wq_work *work, void *ctx)
{
	struct item *item = ctx;

	item->cpu = sched_getcpu();
	latch_post(item->ended);
}

static void batch_queue(void *ctx)
{
	struct batch *batch = ctx;
	unsigned i;

	for (i = 0; i < NR_ITEMS; i++) {
		struct wq_work *work = &batch->items[i].work;
		int ret = batch->node < 0 ? wq_queue(batch->wq, work)
					  : wq_queue_node(batch->wq, work, batch->node);

		batch->refused += ret != 1;
	}
}

/* From a CPU, to a node if one is named: all run on those CPUs. */
static void batch_stays_within(struct wq *wq, int from, int node, const cpu_set_t *cpus)
{
	struct batch batch = {.wq = wq, .node = node};
	unsigned i;

	latch_init(&batch.ended);
	for (i = 0; i < NR_ITEMS; i++) {
		batch.items[i].ended = &batch.ended;
		wq_work_init(&batch.items[i].work, item_fn, &batch.items[i]);
	}
	guest_run_pinned(from, batch_queue, &batch);
	assert_int_equal(batch.refused, 0);
	latch_wait(&batch.ended, NR_ITEMS);
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < NR_ITEMS; i++)
		assert_true(CPU_ISSET(batch.items[i].cpu, cpus));
}

static struct wq *alloc_strict(enum wq_affn_scope scope)
{
	struct wq_attrs attrs;
	struct wq *wq;

	assert_int_equal(wq_attrs_init(&attrs), 0);
	assert_int_equal(wq_attrs_set_affinity(&attrs, scope), 0);
	assert_int_equal(wq_attrs_set_strict(&attrs, true), 0);
	wq = wq_alloc_attrs("strict", 0, 0, &attrs);
	assert_non_null(wq);
	wq_attrs_fini(&attrs);
	return wq;
}

#define OF_CPU "/sys/devices/system/cpu/cpu%u/"

static void cpus_of_node(int node, cpu_set_t *set)
{
	assert_true(guest_cpu_list("/sys/devices/system/node/node%u/cpulist", (unsigned)node, set));
	assert_int_equal(CPU_COUNT(set), NR_CPUS / NR_NODES);
}

static void cpus_of_the_node_of(int cpu, cpu_set_t *set)
{
	int node = 0;

	for (cpus_of_node(node, set); !CPU_ISSET(cpu, set); cpus_of_node(node, set))
		node++;
}

/* What the kernel says that @cpu shares. */
static void shared_with(int cpu, enum wq_affn_scope scope, cpu_set_t *set)
{
	switch (scope) {
	case WQ_AFFN_CPU:
		CPU_ZERO(set);
		CPU_SET(cpu, set);
		break;
	case WQ_AFFN_SMT:
		assert_true(
			guest_cpu_list(OF_CPU "topology/thread_siblings_list", (unsigned)cpu, set));
		assert_int_equal(CPU_COUNT(set), 2);
		break;
	case WQ_AFFN_CACHE:
	case WQ_AFFN_CACHE_SHARD:
		assert_true(
			guest_cpu_list(OF_CPU "cache/index3/shared_cpu_list", (unsigned)cpu, set));
		assert_int_equal(CPU_COUNT(set), 4);
		break;
	case WQ_AFFN_NUMA:
		cpus_of_the_node_of(cpu, set);
		break;
	case WQ_AFFN_SYSTEM:
		assert_true(guest_cpu_list("/sys/devices/system/cpu/online", 0, set));
		break;
	}
}

static void strict_items_stay_in_the_pod_of_the_queueing_cpu(void **state)
{
	static const enum wq_affn_scope scopes[] = {WQ_AFFN_CPU,   WQ_AFFN_SMT,
						    WQ_AFFN_CACHE, WQ_AFFN_CACHE_SHARD,
						    WQ_AFFN_NUMA,  WQ_AFFN_SYSTEM};
	cpu_set_t shared;
	unsigned i;
	int cpu;

	for (i = 0; i < ARRAY_SIZE(scopes); i++) {
		struct wq *wq = alloc_strict(scopes[i]);

		for (cpu = 0; cpu < NR_CPUS; cpu++) {
			shared_with(cpu, scopes[i], &shared);
			batch_stays_within(wq, cpu, -1, &shared);
		}
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void strict_items_queued_for_a_node_run_there(void **state)
{
	struct wq *wq = alloc_strict(WQ_AFFN_NUMA);
	cpu_set_t cpus;
	int from, node;

	for (node = 0; node < NR_NODES; node++) {
		cpus_of_node(node, &cpus);
		for (from = 0; from < NR_CPUS; from++)
			batch_stays_within(wq, from, node, &cpus);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

static void set_node_online(const cpu_set_t *cpus, bool online)
{
	int cpu;

	for (cpu = 0; cpu < NR_CPUS; cpu++)
		if (CPU_ISSET(cpu, cpus))
			guest_set_online(cpu, online);
	assert_int_equal(wq_topology_refresh(), 0);
}

static void node_without_cpus_has_its_items_run_elsewhere(void **state)
{
	struct wq *wq = alloc_strict(WQ_AFFN_NUMA);
	cpu_set_t first, second;

	cpus_of_node(0, &first);
	cpus_of_node(1, &second);
	batch_stays_within(wq, 0, 1, &second);
	set_node_online(&second, false);
	batch_stays_within(wq, 0, 1, &first);
	batch_stays_within(wq, 0, -1, &first);
	set_node_online(&second, true);
	batch_stays_within(wq, 0, 1, &second);
	batch_stays_within(wq, NR_CPUS - 1, -1, &second);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_items_stay_in_the_pod_of_the_queueing_cpu),
		cmocka_unit_test(strict_items_queued_for_a_node_run_there),
		cmocka_unit_test(node_without_cpus_has_its_items_run_elsewhere),
	};

	if (!guest_is_own()) {
		puts("only in a machine of its own");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
