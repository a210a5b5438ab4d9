/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls that name a CPU, each CPU or a node, and the limit of active items. */
#include "support.h"
#include "process.h"

#include <sched.h>

static unsigned long nop_runs;

static void call_nop(void *ctx)
{
	count_up(&nop_runs);
}

/* The library settles which CPUs it uses: before the tests pin their thread. */
static int start(void **state)
{
	return wq_run_on_each_cpu(call_nop, NULL);
}

/* --- congestion --- */

static void congested_while_items_wait_for_max_active(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED};
	struct probe gate, waiting;
	cpu_set_t before, one;
	unsigned i;

	sched_getaffinity(0, sizeof(before), &before);
	CPU_ZERO(&one);
	CPU_SET(usable_cpu(0), &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *full = wq_alloc("full", kinds[i], 1);

		assert_false(wq_congested(full));
		probe_init_gate(&gate);
		probe_init(&waiting);
		assert_int_equal(wq_queue(full, &gate.work), 1);
		latch_wait(&gate.started, 1);
		assert_false(wq_congested(full));
		assert_int_equal(wq_queue(full, &waiting.work), 1);
		assert_true(wq_congested(full));
		assert_int_equal(wq_work_cancel_sync(&waiting.work), 1);
		assert_false(wq_congested(full));
		assert_int_equal(wq_queue(full, &waiting.work), 1);
		assert_true(wq_congested(full));
		latch_post(&gate.open);
		wq_work_flush(&waiting.work);
		assert_false(wq_congested(full));
		assert_int_equal(wq_destroy(full), 0);
	}
	sched_setaffinity(0, sizeof(before), &before);
}

/* --- a CPU, each CPU, a node --- */

struct cpus {
	unsigned long nr, wrong, plain, runs[CPU_SETSIZE];
	struct latch arrived;
};

static void cpus_fn(void *ctx)
{
	struct cpus *cpus = ctx;
	int cpu = sched_getcpu();
	cpu_set_t set;

	sched_getaffinity(0, sizeof(set), &set);
	if (CPU_COUNT(&set) != 1 || !CPU_ISSET(cpu, &set) || cpus->plain != 1 ||
	    wq_current_wq() != wq_system_percpu())
		count_up(&cpus->wrong);
	count_up(&cpus->runs[cpu]);
	/* All of them are in here at the same time. */
	latch_post(&cpus->arrived);
	latch_wait(&cpus->arrived, cpus->nr);
}

static void run_on_runs_there_and_waits(void **state)
{
	static struct cpus cpus;
	cpu_set_t usable;
	int cpu, nr;

	skip_if_cpus_are_pretended();
	sched_getaffinity(0, sizeof(usable), &usable);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		memset(&cpus, 0, sizeof(cpus));
		latch_init(&cpus.arrived);
		cpus.nr = cpus.plain = 1;
		nr = CPU_ISSET(cpu, &usable) ? 1 : 0;
		assert_int_equal(wq_run_on(cpu, cpus_fn, &cpus), nr ? 0 : -ENODEV);
		assert_int_equal(cpus.runs[cpu], nr);
		assert_int_equal(cpus.arrived.count, nr);
		assert_int_equal(cpus.wrong, 0);
	}
}

static void run_on_each_cpu_runs_on_all_at_the_same_time(void **state)
{
	static struct cpus cpus;
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	memset(&cpus, 0, sizeof(cpus));
	latch_init(&cpus.arrived);
	while (usable_cpu((unsigned)cpus.nr) >= 0)
		cpus.nr++;
	cpus.plain = 1;
	assert_int_equal(wq_run_on_each_cpu(cpus_fn, &cpus), 0);
	assert_int_equal(cpus.arrived.count, cpus.nr);
	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++)
		assert_int_equal(cpus.runs[cpu], 1);
	assert_int_equal(cpus.wrong, 0);
}

struct each {
	struct wq_work work;
	int ret, on;
};

static void each_fn(struct wq_work *work, void *ctx)
{
	struct each *each = ctx;

	each->ret = wq_run_on_each_cpu(call_nop, NULL);
	each->on = wq_run_on(usable_cpu(0), call_nop, NULL);
}

/* On the very worker that the calls need. */
static void run_on_each_cpu_works_inside_an_item(void **state)
{
	struct each each;

	wq_work_init(&each.work, each_fn, &each);
	assert_int_equal(wq_queue_on(wq_system_percpu(), &each.work, usable_cpu(0)), 1);
	wq_work_flush(&each.work);
	assert_int_equal(each.ret, 0);
	assert_int_equal(each.on, 0);
}

struct full {
	struct wq_work work;
	int ret;
	unsigned long runs;
};

static void full_fn(struct wq_work *work, void *ctx)
{
	struct full *full = ctx;

	count_set(&nop_runs, 0);
	full->ret = wq_run_on(usable_cpu(0), call_nop, NULL);
	full->runs = count_get(&nop_runs);
}

/* Behind the very item that waits: no run, no answer 0, and nothing left behind (G9). */
static void run_on_behind_its_caller_does_not_pretend(void **state)
{
	struct full full;

	wq_work_init(&full.work, full_fn, &full);
	assert_int_equal(wq_set_max_active(wq_system_percpu(), 1), 0);
	assert_int_equal(wq_queue_on(wq_system_percpu(), &full.work, usable_cpu(0)), 1);
	wq_work_flush(&full.work);
	assert_int_equal(wq_set_max_active(wq_system_percpu(), 0), 0);
	assert_int_equal(full.ret, full.runs ? 0 : -EDEADLK);
	assert_int_equal(wq_run_on(usable_cpu(0), call_nop, NULL), 0);
	assert_int_equal(count_get(&nop_runs), full.runs + 1);
}

static void node_fn(struct wq_work *work, void *ctx)
{
	*(int *)ctx = sched_getcpu();
}

/* The caller's own CPU where it belongs to the node, or where the node is absent. */
static void queue_node_prefers_the_own_cpu(void **state)
{
	struct wq *percpu = wq_alloc("node", WQ_PERCPU, 0);
	cpu_set_t before, one;
	unsigned i, node, here;
	struct wq_work work;
	int cpu, ran;

	skip_if_cpus_are_pretended();
	sched_getaffinity(0, sizeof(before), &before);
	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		assert_int_equal(getcpu(&here, &node), 0);
		wq_work_init(&work, node_fn, &ran);
		ran = -1;
		assert_int_equal(wq_queue_node(percpu, &work, (int)node), 1);
		wq_work_flush(&work);
		assert_int_equal(ran, cpu);
		ran = -1;
		assert_int_equal(wq_queue_node(percpu, &work, WQ_MAX_NODES - 1), 1);
		wq_work_flush(&work);
		assert_int_equal(ran, cpu);
		sched_setaffinity(0, sizeof(before), &before);
	}
	assert_int_equal(wq_destroy(percpu), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(congested_while_items_wait_for_max_active),
		cmocka_unit_test(run_on_runs_there_and_waits),
		cmocka_unit_test(run_on_each_cpu_runs_on_all_at_the_same_time),
		cmocka_unit_test(run_on_each_cpu_works_inside_an_item),
		cmocka_unit_test(run_on_behind_its_caller_does_not_pretend),
		cmocka_unit_test(queue_node_prefers_the_own_cpu),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
