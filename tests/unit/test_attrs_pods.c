/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How CPUs are divided by attributes, on pretended machines and on this one; which queues
 * share pools, and what becomes of pools that nobody uses.
 */
#include "observe.h"

#include <malloc.h>
#include <sched.h>

static struct wq_attrs attrs;

/* NULL: this machine. */
static void pretend(const char *topology)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.topology = topology;
	assert_int_equal(wq_configure(&config), 0);
	assert_int_equal(wq_attrs_init(&attrs), 0);
}

static int end_pods(void **state)
{
	wq_attrs_fini(&attrs);
	return wq_shutdown();
}

static cpu_set_t pod_of(struct wq *wq, int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	assert_int_equal(wq_pool_cpus_read(wq, cpu, &cpus, sizeof(cpus)), 0);
	return cpus;
}

/* The pod of each CPU is the block of @size CPUs that it is in. */
static void pods_are_blocks(struct wq *wq, int nr, int size)
{
	int cpu, i;

	for (cpu = 0; cpu < nr; cpu++) {
		cpu_set_t is = pod_of(wq, cpu), expected;

		CPU_ZERO(&expected);
		for (i = cpu / size * size; i < cpu / size * size + size; i++)
			CPU_SET(i, &expected);
		assert_true(CPU_EQUAL(&is, &expected));
		assert_int_equal(pool_stats_of(wq, cpu).level, size);
	}
}

static struct where run_on(struct wq *wq, int cpu)
{
	struct where where;

	where_init(&where, NULL);
	assert_int_equal(wq_queue_on(wq, &where.work, cpu), 1);
	wq_work_flush(&where.work);
	assert_int_equal(where.runs, 1);
	return where;
}

/* The number of the pool, from the thread's name. */
static unsigned pool_number(const struct where *where)
{
	assert_memory_equal(where->name, "wq/u", 4);
	return (unsigned)strtoul(where->name + 4, NULL, 10);
}

static unsigned pool_that_runs(struct wq *wq, int cpu)
{
	struct where where = run_on(wq, cpu);

	return pool_number(&where);
}

/* --- how CPUs are divided --- */

static const struct machine {
	const char *topology;
	int nr_cpus;
	int size[WQ_AFFN_SYSTEM + 1]; /* of a pod, by scope */
} machines[] = {
	{"node:2 l3:2 core:4 pu:2", 32, {1, 2, 8, 8, 16, 32}},
	/* Four shards of eight cores. */
	{"node:1 l3:1 core:32 pu:1", 32, {1, 1, 32, 8, 32, 32}},
	{"node:2 l3:1 core:16 pu:2", 64, {1, 2, 32, 16, 32, 64}},
	/* No cache that cores share: the node. */
	{"node:2 core:4 pu:1", 8, {1, 1, 4, 4, 4, 8}},
	{"node:4 l3:1 core:1 pu:1", 4, {1, 1, 1, 1, 1, 4}},
	{"node:1 core:1 pu:1", 1, {1, 1, 1, 1, 1, 1}},
};

static void each_scope_divides_each_machine(void **state)
{
	const struct machine *machine;
	enum wq_affn_scope scope;
	struct wq *wq, *made;

	for (machine = machines; machine < machines + ARRAY_SIZE(machines); machine++) {
		pretend(machine->topology);
		wq = wq_alloc("scopes", 0, 0);
		pods_are_blocks(wq, machine->nr_cpus, machine->size[WQ_AFFN_CACHE_SHARD]);
		for (scope = WQ_AFFN_CPU; scope <= WQ_AFFN_SYSTEM; scope++) {
			assert_int_equal(wq_attrs_set_affinity(&attrs, scope), 0);
			assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
			pods_are_blocks(wq, machine->nr_cpus, machine->size[scope]);
			made = wq_alloc_attrs("made", 0, 0, &attrs);
			pods_are_blocks(made, machine->nr_cpus, machine->size[scope]);
			run_on(wq, machine->nr_cpus - 1);
			assert_int_equal(wq_destroy(made), 0);
		}
		assert_int_equal(wq_destroy(wq), 0);
		made = wq_alloc("ordered", WQ_ORDERED, 0);
		pods_are_blocks(made, machine->nr_cpus, machine->nr_cpus);
		assert_int_equal(wq_destroy(made), 0);
		end_pods(state);
	}
}

/* What is queued on a CPU runs in the pool of its pod. */
static void items_run_in_their_pod(void **state)
{
	struct wq *wq;
	unsigned strict;
	int cpu;

	for (strict = 0; strict < 2; strict++) {
		uint64_t started[4] = {0};

		pretend("node:2 l3:2 core:2 pu:1");
		wq_attrs_set_strict(&attrs, strict);
		wq = wq_alloc_attrs("pods", 0, 0, &attrs);
		for (cpu = 0; cpu < 8; cpu++) {
			unsigned number = pool_that_runs(wq, cpu);

			started[cpu / 2]++;
			assert_int_equal(pool_stats_of(wq, cpu).started, started[cpu / 2]);
			assert_int_equal(number, pool_that_runs(wq, cpu ^ 1));
			assert_int_not_equal(number, pool_that_runs(wq, cpu ^ 2));
			started[cpu / 2]++;
			started[(cpu ^ 2) / 2]++;
		}
		assert_int_equal(wq_destroy(wq), 0);
		end_pods(state);
	}
}

static void mask_limits_pods(void **state)
{
	static const int in[] = {0, 1, 9, 10, 20};
	cpu_set_t mask, got;
	struct wq *wq;
	unsigned i;
	int cpu;

	pretend("node:2 l3:2 core:4 pu:2");
	CPU_ZERO(&mask);
	for (i = 0; i < ARRAY_SIZE(in); i++)
		CPU_SET(in[i], &mask);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &mask, sizeof(mask)), 0);
	assert_int_equal(wq_attrs_set_affinity(&attrs, WQ_AFFN_CACHE), 0);
	wq = wq_alloc("mask", 0, 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	for (cpu = 0; cpu < 32; cpu++) {
		cpu_set_t pod = pod_of(wq, cpu), both;

		CPU_AND(&both, &pod, &mask);
		assert_true(CPU_EQUAL(&both, &pod));
		assert_int_equal(pool_stats_of(wq, cpu).level, CPU_COUNT(&pod));
		/* From CPUs outside of it items go to a pod of the same node. */
		for (i = 0; i < 32; i++)
			if (CPU_ISSET(i, &pod))
				assert_int_equal((int)i / 16, cpu / 16);
		run_on(wq, cpu);
	}
	got = pod_of(wq, 1);
	assert_int_equal(CPU_COUNT(&got), 2);
	assert_true(CPU_ISSET(0, &got));
	got = pod_of(wq, 10);
	assert_int_equal(CPU_COUNT(&got), 2);
	assert_true(CPU_ISSET(9, &got));
	got = pod_of(wq, 31);
	assert_int_equal(CPU_COUNT(&got), 1);
	assert_true(CPU_ISSET(20, &got));
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- this machine --- */

struct seen {
	struct wq_work work;
	cpu_set_t cpus;
	int nice;
};

static void seen_fn(struct wq_work *work, void *ctx)
{
	struct seen *seen = ctx;
	struct where where;

	memset(&where, 0, sizeof(where));
	where_note(&where);
	seen->nice = where.nice;
	sched_getaffinity(0, sizeof(seen->cpus), &seen->cpus);
}

static struct seen see_on(struct wq *wq, int cpu)
{
	struct seen seen;

	memset(&seen, 0, sizeof(seen));
	wq_work_init(&seen.work, seen_fn, &seen);
	assert_int_equal(wq_queue_on(wq, &seen.work, cpu), 1);
	wq_work_flush(&seen.work);
	return seen;
}

static void workers_run_on_the_cpus_that_were_asked_for(void **state)
{
	enum wq_affn_scope scope;
	cpu_set_t all, one;
	struct wq *wq;
	unsigned i, strict;
	int cpu;

	pretend(NULL);
	wq = wq_alloc("here", 0, 0);
	sched_getaffinity(0, sizeof(all), &all);
	for (strict = 0; strict < 2; strict++) {
		wq_attrs_set_strict(&attrs, strict);
		for (scope = WQ_AFFN_CPU; scope <= WQ_AFFN_SYSTEM; scope++) {
			wq_attrs_set_affinity(&attrs, scope);
			assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
			for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
				struct seen seen = see_on(wq, cpu);
				cpu_set_t pod = pod_of(wq, cpu);

				assert_true(CPU_ISSET(cpu, &pod));
				assert_true(CPU_EQUAL(&seen.cpus, strict ? &pod : &all));
			}
		}
	}
	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
		struct seen seen;

		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		wq_attrs_set_cpumask(&attrs, &one, sizeof(one));
		wq_attrs_set_nice(&attrs, (int)i);
		assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
		seen = see_on(wq, usable_cpu(0));
		assert_true(CPU_EQUAL(&seen.cpus, &one));
		assert_int_equal(seen.nice, nice_to_get((int)i));
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- sharing --- */

static void equal_attributes_share_a_pool(void **state)
{
	struct wq *a, *b, *other;
	cpu_set_t all;
	int cpu;

	pretend("node:2 core:2 pu:1");
	wq_attrs_set_nice(&attrs, 5);
	a = wq_alloc_attrs("a", 0, 0, &attrs);
	b = wq_alloc("b", WQ_HIGHPRI, 0);
	other = wq_alloc("other", 0, 0);
	assert_int_not_equal(pool_that_runs(a, 0), pool_that_runs(b, 0));
	assert_int_not_equal(pool_that_runs(a, 0), pool_that_runs(other, 0));
	/* What comes to the same is equal: all CPUs named, a scope that divides alike. */
	CPU_ZERO(&all);
	for (cpu = 0; cpu < 4; cpu++)
		CPU_SET(cpu, &all);
	wq_attrs_set_cpumask(&attrs, &all, sizeof(all));
	wq_attrs_set_affinity(&attrs, WQ_AFFN_NUMA);
	assert_int_equal(wq_apply_attrs(b, &attrs), 0);
	for (cpu = 0; cpu < 4; cpu++)
		assert_int_equal(pool_that_runs(a, cpu), pool_that_runs(b, cpu));
	/* Strictness is a difference, and so is a CPU less. */
	wq_attrs_set_strict(&attrs, true);
	assert_int_equal(wq_apply_attrs(b, &attrs), 0);
	assert_int_not_equal(pool_that_runs(a, 0), pool_that_runs(b, 0));
	wq_attrs_set_strict(&attrs, false);
	CPU_CLR(3, &all);
	wq_attrs_set_cpumask(&attrs, &all, sizeof(all));
	assert_int_equal(wq_apply_attrs(b, &attrs), 0);
	assert_int_not_equal(pool_that_runs(a, 0), pool_that_runs(b, 0));
	assert_int_equal(wq_destroy(a), 0);
	assert_int_equal(wq_destroy(b), 0);
	assert_int_equal(wq_destroy(other), 0);
}

/* The last few that nobody uses are kept; of others the threads end. */
static void threads_of_unused_pools_end(void **state)
{
	unsigned nice, most;
	struct wq *wq;

	pretend("node:1 core:2 pu:1");
	wq = wq_alloc("unused", 0, 0);
	for (nice = 0; nice < 19; nice++) {
		wq_attrs_set_nice(&attrs, (int)nice);
		assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
		run_on(wq, 0);
		assert_int_equal(pool_stats_of(wq, 0).nice, nice_to_get((int)nice));
	}
	/* The one in use, and four: each may have a worker in reserve besides. */
	most = 5 * 2;
	assert_true(nr_threads_falls_to("wq/u", most) <= most);
	assert_int_equal(wq_destroy(wq), 0);
}

static void cycle(struct wq *keep, unsigned long n)
{
	struct probe probe;
	struct wq *wq;

	wq_attrs_set_nice(&attrs, (int)(n % 11));
	wq_attrs_set_strict(&attrs, n / 11 % 2);
	wq_attrs_set_affinity(&attrs, (enum wq_affn_scope)(n / 22 % 6));
	wq = wq_alloc_attrs("cycle", 0, 0, &attrs);
	assert_non_null(wq);
	if (n % 16 == 0) {
		probe_init(&probe);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		assert_true(wq_queue(keep, &probe.work) >= 0);
	}
	assert_int_equal(wq_apply_attrs(keep, &attrs), 0);
	assert_int_equal(wq_destroy(wq), 0);
	if (n % 16 == 0)
		wq_work_flush(&probe.work);
}

/* Records of pools and workers are used again. */
static void changes_do_not_use_up_memory(void **state)
{
	unsigned long n, warm = scaled(2000), nr = scaled(10000);
	struct mallinfo2 before, after;
	struct wq *keep;

	pretend("node:2 l3:2 core:2 pu:1");
	keep = wq_alloc("keep", 0, 0);
	for (n = 0; n < warm; n++)
		cycle(keep, n);
	before = mallinfo2();
	for (; n < warm + nr; n++)
		cycle(keep, n);
	after = mallinfo2();
	if (checker_is_exact())
		assert_true(after.uordblks + after.hblkhd <=
			    before.uordblks + before.hblkhd + 512u * 1024);
	assert_int_equal(wq_destroy(keep), 0);
}

static size_t bytes_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* hwloc keeps some for itself, and the C library what threads may need again. */
static void shutdown_leaves_nothing_after_many_changes(void **state)
{
	size_t before = 0, after = 0;
	unsigned long n;
	unsigned round;

	for (round = 0; round < 6; round++) {
		struct wq *keep;

		pretend("node:2 l3:2 core:2 pu:1");
		keep = wq_alloc("keep", WQ_MEM_RECLAIM, 0);
		for (n = 0; n < scaled(100); n++)
			cycle(keep, n);
		assert_int_equal(wq_destroy(keep), 0);
		assert_int_equal(end_pods(state), 0);
		after = bytes_in_use();
		if (round == 1)
			before = after;
	}
	if (checker_is_exact())
		assert_true(after <= before + 128u * 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_scope_divides_each_machine),
		cmocka_unit_test(items_run_in_their_pod),
		cmocka_unit_test_teardown(mask_limits_pods, end_pods),
		cmocka_unit_test_teardown(workers_run_on_the_cpus_that_were_asked_for, end_pods),
		cmocka_unit_test_teardown(equal_attributes_share_a_pool, end_pods),
		cmocka_unit_test_teardown(threads_of_unused_pools_end, end_pods),
		cmocka_unit_test_teardown(changes_do_not_use_up_memory, end_pods),
		cmocka_unit_test(shutdown_leaves_nothing_after_many_changes),
	};

	/* They choose their machines themselves. */
	unsetenv("WQ_TOPOLOGY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
