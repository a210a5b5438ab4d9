/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * max_active of unbound queues on pretended machines: over all pods of a NUMA node, divided
 * among the nodes, before and after a change of attributes.
 */
#include "process.h"

#include <sched.h>

#define NR_ITEMS 48

/* Items that wait until they are let go, counted by the node on whose CPUs they were queued. */
struct crowd {
	struct wq *wq;
	struct latch started[2], open;
	unsigned long active[2], peak[2], runs;
	unsigned nr;
	struct crowd_item {
		struct wq_work work;
		struct crowd *crowd;
		unsigned node;
	} items[NR_ITEMS];
};

static void crowd_fn(struct wq_work *work, void *ctx)
{
	struct crowd_item *item = container_of(work, struct crowd_item, work);
	struct crowd *crowd = item->crowd;
	unsigned long now = count_up(&crowd->active[item->node]), peak;

	peak = count_get(&crowd->peak[item->node]);
	while (now > peak &&
	       !__atomic_compare_exchange_n(&crowd->peak[item->node], &peak, now, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	latch_post(&crowd->started[item->node]);
	wq_block_begin();
	latch_wait(&crowd->open, 1);
	wq_block_end();
	count_add(&crowd->active[item->node], -1);
	count_up(&crowd->runs);
}

static struct crowd *crowd_new(struct wq *wq)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));

	assert_non_null(wq);
	crowd->wq = wq;
	latch_init(&crowd->started[0]);
	latch_init(&crowd->started[1]);
	latch_init(&crowd->open);
	return crowd;
}

/* @nr more, on @cpu, which is of @node. */
static void crowd_add(struct crowd *crowd, unsigned nr, int cpu, unsigned node)
{
	while (nr--) {
		struct crowd_item *item = &crowd->items[crowd->nr++];

		assert_true(crowd->nr <= NR_ITEMS);
		item->crowd = crowd;
		item->node = node;
		wq_work_init(&item->work, crowd_fn, NULL);
		assert_int_equal(wq_queue_on(crowd->wq, &item->work, cpu), 1);
	}
}

/* All go; on no node more than expected ran at once. */
static void crowd_end(struct crowd *crowd, unsigned on_first, unsigned on_second)
{
	latch_post(&crowd->open);
	assert_int_equal(wq_flush(crowd->wq), 0);
	assert_int_equal(crowd->peak[0], on_first);
	assert_int_equal(crowd->peak[1], on_second);
	assert_int_equal(crowd->runs, crowd->nr);
	free(crowd);
}

static void machine(const char *topology)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.topology = topology;
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(wq_configure(&config), 0);
}

static void give_cpus(struct wq_attrs *attrs, unsigned nr_cpus)
{
	cpu_set_t set;
	unsigned cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < nr_cpus; cpu++)
		CPU_SET(cpu, &set);
	assert_int_equal(wq_attrs_set_cpumask(attrs, &set, sizeof(set)), 0);
}

/* @nr_cpus: the first so many are the queue's; 0: all. */
static struct wq *queue_new(enum wq_affn_scope scope, int max_active, unsigned nr_cpus)
{
	struct wq_attrs attrs;
	struct wq *wq;

	wq_attrs_init(&attrs);
	wq_attrs_set_affinity(&attrs, scope);
	if (nr_cpus)
		give_cpus(&attrs, nr_cpus);
	wq = wq_alloc_attrs("shared", 0, max_active, &attrs);
	wq_attrs_fini(&attrs);
	assert_non_null(wq);
	return wq;
}

static void set_scope(struct wq *wq, enum wq_affn_scope scope)
{
	struct wq_attrs attrs;

	wq_attrs_init(&attrs);
	wq_attrs_set_affinity(&attrs, scope);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	wq_attrs_fini(&attrs);
}

/* Two nodes, of the CPUs 0 to 3 and 4 to 7. */
static void each_node_has_its_share(void **state)
{
	static const struct {
		enum wq_affn_scope scope;
		int max_active, min_active;
		unsigned nr_cpus, first, second;
	} cases[] = {
		{WQ_AFFN_NUMA, 1, 0, 0, 1, 1},	 {WQ_AFFN_CPU, 1, 0, 0, 1, 1},
		{WQ_AFFN_NUMA, 3, 0, 0, 3, 3},	 {WQ_AFFN_CPU, 3, 1, 0, 2, 2},
		{WQ_AFFN_CPU, 8, 0, 0, 8, 8},	 {WQ_AFFN_CPU, 9, 0, 0, 8, 8},
		{WQ_AFFN_CPU, 9, 1, 0, 5, 5},	 {WQ_AFFN_NUMA, 9, 20, 0, 9, 9},
		{WQ_AFFN_CPU, 16, 1, 0, 8, 8},	 {WQ_AFFN_CPU, 16, 1, 5, 13, 4},
		{WQ_AFFN_NUMA, 16, 6, 5, 13, 6}, {WQ_AFFN_CPU, 5, 1, 4, 5, 0},
		{WQ_AFFN_CACHE, 4, 1, 0, 2, 2},
	};
	unsigned i, j;

	machine("node:2 core:4 pu:1");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wq *wq = queue_new(cases[i].scope, cases[i].max_active, cases[i].nr_cpus);
		struct crowd *crowd = crowd_new(wq);

		if (cases[i].min_active)
			assert_int_equal(wq_set_min_active(wq, cases[i].min_active), 0);
		for (j = 0; j < 4; j++)
			crowd_add(crowd, 5, (int)j, 0);
		for (j = 4; j < 8 && cases[i].second; j++)
			crowd_add(crowd, 5, cases[i].nr_cpus ? 4 : (int)j, 1);
		latch_wait(&crowd->started[0], cases[i].first);
		latch_wait(&crowd->started[1], cases[i].second);
		crowd_end(crowd, cases[i].first, cases[i].second);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* Where a pod spans nodes, its items count as a whole, wherever they were queued. */
static void pod_of_several_nodes_has_max_active(void **state)
{
	struct wq *wq;
	struct crowd *crowd;
	unsigned cpu;

	machine("node:2 core:4 pu:1");
	wq = queue_new(WQ_AFFN_SYSTEM, 5, 0);
	crowd = crowd_new(wq);
	for (cpu = 0; cpu < 8; cpu++)
		crowd_add(crowd, 2, (int)cpu, 0);
	latch_wait(&crowd->started[0], 5);
	crowd_end(crowd, 5, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

static void min_active_is_checked(void **state)
{
	struct wq *wq = wq_alloc("unbound", 0, 4), *percpu = wq_alloc("percpu", WQ_PERCPU, 4);
	struct wq *ordered = wq_alloc("ordered", WQ_ORDERED, 0);

	assert_int_equal(wq_set_min_active(NULL, 1), -EINVAL);
	assert_int_equal(wq_set_min_active(wq, 0), -EINVAL);
	assert_int_equal(wq_set_min_active(wq, -1), -EINVAL);
	assert_int_equal(wq_set_min_active(wq, WQ_MAX_ACTIVE + 1), -EINVAL);
	assert_int_equal(wq_set_min_active(percpu, 1), -EINVAL);
	assert_int_equal(wq_set_min_active(ordered, 1), -EINVAL);
	assert_int_equal(wq_set_min_active(wq, WQ_MAX_ACTIVE), 0);
	assert_int_equal(wq_set_min_active(wq, 1), 0);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(percpu), 0);
	assert_int_equal(wq_destroy(ordered), 0);
}

/* Raised, what waits in all pods starts; the last to do so was not told by an item. */
static void raised_limits_let_waiting_pods_start(void **state)
{
	struct crowd *crowd;
	struct wq *wq;
	unsigned cpu;

	machine("node:2 core:4 pu:1");
	wq = queue_new(WQ_AFFN_CPU, 2, 0);
	assert_int_equal(wq_set_min_active(wq, 1), 0);
	crowd = crowd_new(wq);
	for (cpu = 0; cpu < 8; cpu++)
		crowd_add(crowd, 4, (int)cpu, cpu / 4);
	latch_wait(&crowd->started[0], 1);
	latch_wait(&crowd->started[1], 1);
	assert_int_equal(wq_set_max_active(wq, 8), 0);
	latch_wait(&crowd->started[0], 4);
	latch_wait(&crowd->started[1], 4);
	assert_int_equal(wq_set_min_active(wq, 7), 0);
	latch_wait(&crowd->started[0], 7);
	latch_wait(&crowd->started[1], 7);
	assert_true(count_get(&crowd->peak[0]) == 7 && count_get(&crowd->peak[1]) == 7);
	assert_int_equal(wq_set_max_active(wq, 1), 0);
	crowd_end(crowd, 7, 7);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- turns --- */

#define NR_TURNS 201

struct turns {
	struct latch started, open;
	unsigned long nr;
	char ran[NR_TURNS + 1];
};

struct turn_item {
	struct wq_work work;
	struct turns *turns;
	char pod;
};

static void turn_fn(struct wq_work *work, void *ctx)
{
	struct turn_item *item = container_of(work, struct turn_item, work);

	latch_post(&item->turns->started);
	latch_wait(&item->turns->open, 1);
	item->turns->ran[count_up(&item->turns->nr) - 1] = item->pod;
}

/* Its worker has looked at what is queued on @cpu, and found that it has to wait. */
static void wait_until_in_line(struct wq *wq, int cpu)
{
	struct wq_pool_stats stats;

	do {
		sched_yield();
		assert_int_equal(wq_pool_stats_read(wq, cpu, &stats, sizeof(stats)), 0);
	} while (!stats.nr_idle || stats.nr_running);
}

/* One holds the place until the items of two others all wait. */
static void pods_with_a_backlog_take_turns(void **state)
{
	static struct turn_item items[NR_TURNS];
	static struct turns turns;
	struct wq *wq;
	unsigned i;

	machine("core:3 pu:1");
	wq = queue_new(WQ_AFFN_CPU, 1, 0);
	latch_init(&turns.started);
	latch_init(&turns.open);
	for (i = 0; i < ARRAY_SIZE(items); i++) {
		unsigned pod = i ? 1 + i % 2 : 0;

		items[i].turns = &turns;
		items[i].pod = "cab"[pod];
		wq_work_init(&items[i].work, turn_fn, NULL);
		assert_int_equal(wq_queue_on(wq, &items[i].work, (int)pod), 1);
		if (!i)
			latch_wait(&turns.started, 1);
	}
	wait_until_in_line(wq, 1);
	wait_until_in_line(wq, 2);
	latch_post(&turns.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(strlen(turns.ran), ARRAY_SIZE(items));
	for (i = 1; i < ARRAY_SIZE(items); i++)
		assert_int_not_equal(turns.ran[i], turns.ran[i - 1]);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- places are not lost --- */

/* As many as before start, and no more. */
static void check_full(struct wq *wq, unsigned nr_pods, unsigned size)
{
	struct crowd *crowd = crowd_new(wq);
	unsigned i;

	for (i = 0; i < nr_pods; i++)
		crowd_add(crowd, 2 * size / nr_pods + 1, (int)i, 0);
	latch_wait(&crowd->started[0], size);
	crowd_end(crowd, size, 0);
}

static void cancelled_items_that_wait_lose_no_places(void **state)
{
	struct crowd *crowd;
	unsigned i, round;
	struct wq *wq;

	machine("core:4 pu:1");
	wq = queue_new(WQ_AFFN_CPU, 3, 0);
	for (round = 0; round < scaled(50); round++) {
		crowd = crowd_new(wq);
		for (i = 0; i < 4; i++)
			crowd_add(crowd, 4, (int)i, 0);
		latch_wait(&crowd->started[0], 3);
		if (round % 2)
			latch_post(&crowd->open);
		for (i = 0; i < crowd->nr; i++)
			if (wq_work_cancel(&crowd->items[i].work) == 1)
				count_up(&crowd->runs);
		latch_post(&crowd->open);
		crowd_end(crowd, 3, 0);
	}
	check_full(wq, 4, 3);
	assert_int_equal(wq_destroy(wq), 0);
}

static void frozen_pods_wait_and_thawed_ones_go_on(void **state)
{
	struct crowd *crowd;
	struct wq_attrs attrs;
	unsigned i;
	struct wq *wq;

	machine("core:4 pu:1");
	wq_attrs_init(&attrs);
	wq_attrs_set_affinity(&attrs, WQ_AFFN_CPU);
	wq = wq_alloc_attrs("frozen", WQ_FREEZABLE, 3, &attrs);
	crowd = crowd_new(wq);
	for (i = 0; i < 4; i++)
		crowd_add(crowd, 4, (int)i, 0);
	latch_wait(&crowd->started[0], 3);
	assert_int_equal(wq_freeze_all(), 0);
	assert_int_equal(wq_freeze_busy(), 3);
	latch_post(&crowd->open);
	while (wq_freeze_busy())
		sched_yield();
	assert_int_equal(count_get(&crowd->runs), 3);
	assert_int_equal(wq_thaw_all(), 0);
	crowd_end(crowd, 3, 0);
	check_full(wq, 4, 3);
	assert_int_equal(wq_destroy(wq), 0);
}

static void open_soon(void *ctx, unsigned index)
{
	struct crowd *crowd = ctx;

	if (index)
		return;
	sched_yield();
	latch_post(&crowd->open);
}

static void drain_thread(void *ctx, unsigned index)
{
	struct crowd *crowd = ctx;

	if (!index)
		open_soon(ctx, index);
	else if (index == 1 ? wq_drain(crowd->wq) : wq_flush(crowd->wq))
		abort();
}

/* Flush, drain and destroy, while pods stand in line. */
static void waits_end_while_pods_wait(void **state)
{
	struct crowd *crowd;
	unsigned i, round;

	machine("core:4 pu:1");
	for (round = 0; round < scaled(50); round++) {
		struct wq *wq = queue_new(WQ_AFFN_CPU, 1 + (int)(round % 3), 0);

		crowd = crowd_new(wq);
		for (i = 0; i < 4; i++)
			crowd_add(crowd, 3, (int)i, 0);
		if (round % 4)
			run_threads(3, drain_thread, crowd);
		else
			latch_post(&crowd->open);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(crowd->runs, crowd->nr);
		free(crowd);
	}
}

/* --- attributes --- */

static void old_and_new_pods_count_together(void **state)
{
	static const enum wq_affn_scope scopes[] = {WQ_AFFN_NUMA, WQ_AFFN_CPU, WQ_AFFN_NUMA,
						    WQ_AFFN_CPU};
	struct probe gates[16];
	unsigned long nr;
	unsigned i;
	struct wq *wq;

	machine("node:2 core:4 pu:1");
	wq = queue_new(WQ_AFFN_CPU, 3, 0);
	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		if (i % 4 == 0)
			set_scope(wq, scopes[i / 4]);
		probe_init_gate(&gates[i]);
		assert_int_equal(wq_queue_on(wq, &gates[i].work, (int)(i % 4)), 1);
		if (i < 3)
			latch_wait(&gates[i].started, 1);
	}
	/* One place becomes free, and one of the others starts, of whichever table. */
	latch_post(&gates[0].open);
	do
		for (i = 3, nr = 0; i < ARRAY_SIZE(gates); i++)
			nr += latch_count(&gates[i].started);
	while (!nr && !sched_yield());
	assert_int_equal(nr, 1);
	for (i = 1; i < ARRAY_SIZE(gates); i++)
		latch_post(&gates[i].open);
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		assert_int_equal(gates[i].runs, 1);
	set_scope(wq, WQ_AFFN_NUMA);
	check_full(wq, 4, 3);
	set_scope(wq, WQ_AFFN_CPU);
	check_full(wq, 4, 3);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- fork --- */

static void child(void *ctx)
{
	struct probe *gates = calloc(12, sizeof(*gates));
	struct crowd *crowd = ctx;
	unsigned long nr;
	unsigned i;

	CHECK(gates);
	for (i = 0; i < 12; i++) {
		probe_init_gate(&gates[i]);
		CHECK_EQUAL(wq_queue_on(crowd->wq, &gates[i].work, (int)(i % 4)), 1);
	}
	do {
		sched_yield();
		for (i = 0, nr = 0; i < 12; i++)
			nr += latch_count(&gates[i].started);
	} while (nr < 3);
	CHECK_EQUAL(nr, 3);
	for (i = 0; i < 12; i++)
		latch_post(&gates[i].open);
	CHECK_EQUAL(wq_flush(crowd->wq), 0);
	CHECK_EQUAL(wq_destroy(crowd->wq), 0);
	free(gates);
}

/* Taken and waited for in the parent, they are free in the child. */
static void child_of_a_fork_has_all_places(void **state)
{
	struct crowd *crowd;
	unsigned i, round;
	struct wq *wq;

	skip_if_checker_hangs_children();
	for (round = 0; round < 4; round++) {
		machine("core:4 pu:1");
		wq = queue_new(round % 2 ? WQ_AFFN_CPU : WQ_AFFN_NUMA, 3, 0);
		crowd = crowd_new(wq);
		for (i = 0; i < 4; i++)
			crowd_add(crowd, 4, (int)i, 0);
		latch_wait(&crowd->started[0], 3);
		if (round >= 2)
			set_scope(wq, round % 2 ? WQ_AFFN_NUMA : WQ_AFFN_CPU);
		assert_int_equal(in_child(child, crowd), 0);
		crowd_end(crowd, 3, 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* --- waits that can't end --- */

struct in_the_way {
	struct wq_work work;
	struct probe same, other;
	struct wq *wq;
	int on_same, on_other;
};

static void in_the_way_fn(struct wq_work *work, void *ctx)
{
	struct in_the_way *way = ctx;

	wq_queue_on(way->wq, &way->same.work, 1);
	wq_queue_on(way->wq, &way->other.work, 4);
	way->on_same = wq_work_flush(&way->same.work);
	way->on_other = wq_work_flush(&way->other.work);
}

/* Of the same node, where one may run; another node's goes on beside. */
static void flush_of_what_waits_for_the_caller_is_refused(void **state)
{
	struct in_the_way way;

	machine("node:2 core:4 pu:1");
	way.wq = queue_new(WQ_AFFN_CPU, 1, 0);
	probe_init(&way.same);
	probe_init(&way.other);
	wq_work_init(&way.work, in_the_way_fn, &way);
	assert_int_equal(wq_queue_on(way.wq, &way.work, 0), 1);
	assert_int_equal(wq_flush(way.wq), 0);
	assert_int_equal(way.on_same, -EDEADLK);
	assert_true(way.on_other == 0 || way.on_other == 1);
	assert_int_equal(wq_destroy(way.wq), 0);
	assert_true(way.same.runs == 1 && way.other.runs == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_node_has_its_share),
		cmocka_unit_test(pod_of_several_nodes_has_max_active),
		cmocka_unit_test(min_active_is_checked),
		cmocka_unit_test(raised_limits_let_waiting_pods_start),
		cmocka_unit_test(pods_with_a_backlog_take_turns),
		cmocka_unit_test(cancelled_items_that_wait_lose_no_places),
		cmocka_unit_test(frozen_pods_wait_and_thawed_ones_go_on),
		cmocka_unit_test(waits_end_while_pods_wait),
		cmocka_unit_test(old_and_new_pods_count_together),
		cmocka_unit_test(child_of_a_fork_has_all_places),
		cmocka_unit_test(flush_of_what_waits_for_the_caller_is_refused),
	};

	/* They choose their machines themselves. */
	unsetenv("WQ_TOPOLOGY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
