/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guarantees about queues: G3, G6, G8. */
#include "support.h"

#include <sched.h>

/* --- G3 --- */

struct g3 {
	struct wq *wq;
	struct g3_item {
		struct wq_work work;
		struct g3 *g3;
		pthread_t worker;
	} * items;
	unsigned long per_thread, next, *order;
};

static void g3_fn(struct wq_work *work, void *ctx)
{
	struct g3_item *item = ctx;
	struct g3 *g3 = item->g3;

	item->worker = pthread_self();
	g3->order[__atomic_fetch_add(&g3->next, 1, __ATOMIC_SEQ_CST)] =
		(unsigned long)(item - g3->items);
}

static void g3_thread(void *ctx, unsigned index)
{
	struct g3 *g3 = ctx;
	unsigned long i;

	for (i = 0; i < g3->per_thread; i++)
		wq_queue_on(g3->wq, &g3->items[index * g3->per_thread + i].work, usable_cpu(0));
}

/* Run items from @nr_threads threads and note in which order they start. */
static void g3_run(struct g3 *g3, unsigned flags, int max_active, unsigned nr_threads)
{
	unsigned long i, nr;

	g3->per_thread = scaled(40000);
	nr = nr_threads * g3->per_thread;
	g3->wq = wq_alloc("g3", flags, max_active);
	g3->items = calloc(nr, sizeof(*g3->items));
	g3->order = calloc(nr, sizeof(*g3->order));
	g3->next = 0;
	assert_non_null(g3->wq);
	for (i = 0; i < nr; i++) {
		g3->items[i].g3 = g3;
		wq_work_init(&g3->items[i].work, g3_fn, &g3->items[i]);
	}
	run_threads(nr_threads, g3_thread, g3);
	assert_int_equal(wq_destroy(g3->wq), 0);
	assert_int_equal(g3->next, nr);
}

static void g3_end(struct g3 *g3)
{
	free(g3->items);
	free(g3->order);
}

/*
 * Items of one producer must be noted in their order.  Where the queue lets more
 * than one be active, a worker that is preempted between start and note looks
 * overtaken by another one: then only items of the same worker are compared.
 */
static void g3_check_order(unsigned flags, int max_active, unsigned nr_threads)
{
	bool one_at_a_time = flags & WQ_ORDERED || max_active == 1;
	unsigned long i, compared = 0;
	struct g3_item *last[4] = {NULL};
	struct g3 g3;

	g3_run(&g3, flags, max_active, nr_threads);
	for (i = 0; i < g3.next; i++) {
		unsigned thread = (unsigned)(g3.order[i] / g3.per_thread);
		struct g3_item *item = &g3.items[g3.order[i]], *before = last[thread];

		last[thread] = item;
		if (!before || (!one_at_a_time && !pthread_equal(item->worker, before->worker)))
			continue;
		assert_true(item > before);
		compared++;
	}
	assert_true(compared > g3.next / 2);
	g3_end(&g3);
}

static void g3_ordered_queue_keeps_the_order_of_acceptance(void **state)
{
	g3_check_order(WQ_ORDERED, 0, 1);
	g3_check_order(WQ_ORDERED, 0, 3);
	g3_check_order(WQ_ORDERED | WQ_HIGHPRI | WQ_CPU_INTENSIVE, 0, 2);
}

static void g3_percpu_pool_starts_items_in_order(void **state)
{
	g3_check_order(WQ_PERCPU, 0, 1);
	g3_check_order(WQ_PERCPU, 0, 3);
	g3_check_order(WQ_PERCPU, 1, 2);
}

/*
 * How many later items passed an item: those with higher numbers that were noted
 * before it, counted with a Fenwick tree.  One item active at a time, so that the
 * order noted is the order of starting.
 */
static void g3_unbound_queue_overtakes_boundedly(void **state)
{
	unsigned long i, j, passed, worst = 0;
	unsigned long *tree;
	struct g3 g3;

	g3_run(&g3, 0, 1, 1);
	tree = calloc(g3.next + 1, sizeof(*tree));
	for (i = 0; i < g3.next; i++) {
		passed = i;
		for (j = g3.order[i] + 1; j; j -= j & -j)
			passed -= tree[j];
		if (passed > worst)
			worst = passed;
		for (j = g3.order[i] + 1; j <= g3.next; j += j & -j)
			tree[j]++;
	}
	free(tree);
	g3_end(&g3);
	assert_true(worst <= 256);
}

struct order_probe {
	struct wq_work work;
	struct order_log *log;
	unsigned id;
};

struct order_log {
	unsigned ids[16], nr;
};

static void order_fn(struct wq_work *work, void *ctx)
{
	struct order_probe *probe = ctx;

	probe->log->ids[__atomic_fetch_add(&probe->log->nr, 1, __ATOMIC_SEQ_CST)] = probe->id;
}

/* Cancelling, and queueing again, moves an item to the end; the rest stay in order. */
static void g3_ordered_queue_keeps_order_around_a_cancelled_item(void **state)
{
	struct wq *wq = wq_alloc("ordered", WQ_ORDERED, 0);
	struct order_log log = {.nr = 0};
	struct order_probe probes[5];
	static const unsigned expected[] = {0, 2, 3, 4, 1};
	struct probe gate;
	unsigned i;

	probe_init_gate(&gate);
	wq_queue(wq, &gate.work);
	latch_wait(&gate.started, 1);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		probes[i].log = &log;
		probes[i].id = i;
		wq_work_init(&probes[i].work, order_fn, &probes[i]);
		assert_int_equal(wq_queue(wq, &probes[i].work), 1);
	}
	assert_int_equal(wq_work_cancel(&probes[1].work), 1);
	assert_int_equal(wq_queue(wq, &probes[1].work), 1);
	latch_post(&gate.open);
	wq_destroy(wq);
	assert_int_equal(log.nr, 5);
	assert_memory_equal(log.ids, expected, sizeof(expected));
}

/* --- G6 --- */

struct g6 {
	struct wq_work work;
	struct wq *wq;
	unsigned long stop, runs, waited;
};

static void g6_fn(struct wq_work *work, void *ctx)
{
	struct g6 *g6 = ctx;

	count_up(&g6->runs);
	if (!count_get(&g6->stop))
		wq_queue(g6->wq, work);
}

static void g6_waiter(void *ctx, unsigned index)
{
	struct g6 *g6 = ctx;
	unsigned long i, rounds = scaled(400);

	for (i = 0; i < rounds; i++) {
		if (index & 1)
			wq_flush(g6->wq);
		else
			wq_work_flush(&g6->work);
		count_up(&g6->waited);
	}
}

static void g6_flush_returns_though_items_requeue_themselves(void **state)
{
	static const unsigned flags[] = {0, WQ_PERCPU, WQ_ORDERED};
	struct g6 g6;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		memset(&g6, 0, sizeof(g6));
		g6.wq = wq_alloc("g6", flags[i], 0);
		wq_work_init(&g6.work, g6_fn, &g6);
		assert_int_equal(wq_queue(g6.wq, &g6.work), 1);
		run_threads(4, g6_waiter, &g6);
		assert_int_equal(g6.waited, 4 * scaled(400));
		count_set(&g6.stop, 1);
		assert_int_equal(wq_destroy(g6.wq), 0);
	}
}

static void g6_flush_waits_for_all_accepted_before(void **state)
{
	unsigned long round, rounds = scaled(300);
	static const unsigned flags[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_PERCPU | WQ_HIGHPRI};
	struct probe probes[40];
	unsigned i;

	for (round = 0; round < rounds; round++) {
		struct wq *wq = wq_alloc("g6", flags[round % ARRAY_SIZE(flags)], round % 5);

		if (!wq)
			wq = wq_alloc("g6", flags[round % ARRAY_SIZE(flags)], 1);
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			probe_init(&probes[i]);
			wq_queue_on(wq, &probes[i].work,
				    usable_cpu(i & 1 ? 1 : 0) < 0 ? 0 : usable_cpu(i & 1 ? 1 : 0));
		}
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			assert_int_equal(count_get(&probes[i].runs), 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

struct g6_crowd {
	struct wq *wq;
	unsigned long done, wrong;
};

/* More flushes at once than there are colours. */
static void g6_crowd_thread(void *ctx, unsigned index)
{
	struct g6_crowd *crowd = ctx;
	unsigned long i, rounds = scaled(300);
	struct probe probe;

	for (i = 0; i < rounds; i++) {
		probe_init(&probe);
		wq_queue(crowd->wq, &probe.work);
		wq_flush(crowd->wq);
		if (count_get(&probe.runs) != 1)
			count_up(&crowd->wrong);
		wq_work_cancel_sync(&probe.work);
	}
	count_up(&crowd->done);
}

static void g6_more_flushers_than_colours_all_return(void **state)
{
	struct g6_crowd crowd = {.wq = wq_alloc("g6", 0, 0)};

	run_threads(16, g6_crowd_thread, &crowd);
	assert_int_equal(crowd.done, 16);
	assert_int_equal(crowd.wrong, 0);
	wq_destroy(crowd.wq);
}

/* --- G8 --- */

struct g8 {
	struct wq_work works[24];
	unsigned long active, most, limit, runs;
	struct latch started, open;
};

static void g8_fn(struct wq_work *work, void *ctx)
{
	struct g8 *g8 = ctx;
	unsigned long now = count_up(&g8->active), most = count_get(&g8->most);

	while (now > most && !__atomic_compare_exchange_n(&g8->most, &most, now, false,
							  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	count_up(&g8->runs);
	latch_post(&g8->started);
	latch_wait(&g8->open, 1);
	count_add(&g8->active, -1);
}

static void g8_check(unsigned flags, int max_active)
{
	struct wq *wq = wq_alloc("g8", flags, max_active);
	struct g8 g8 = {.limit = (unsigned long)max_active};
	unsigned i;

	latch_init(&g8.started);
	latch_init(&g8.open);
	for (i = 0; i < ARRAY_SIZE(g8.works); i++) {
		wq_work_init(&g8.works[i], g8_fn, &g8);
		wq_queue_on(wq, &g8.works[i], usable_cpu(0));
	}
	/* All that may be active get there, though each waits for the gate. */
	latch_wait(&g8.started, g8.limit);
	assert_int_equal(count_get(&g8.runs), g8.limit);
	latch_post(&g8.open);
	wq_destroy(wq);
	assert_int_equal(g8.runs, ARRAY_SIZE(g8.works));
	assert_int_equal(g8.most, g8.limit);
}

static void g8_no_more_than_max_active_items_are_active(void **state)
{
	g8_check(0, 1);
	g8_check(0, 2);
	g8_check(0, 3);
	g8_check(WQ_PERCPU, 1);
	g8_check(WQ_PERCPU, 3);
	g8_check(WQ_PERCPU | WQ_CPU_INTENSIVE, 4);
	g8_check(WQ_ORDERED, 1);
}

struct g8_storm {
	struct wq *wq;
	struct wq_work works[64];
	unsigned long active, over, limit, stop, runs;
};

static void g8_storm_fn(struct wq_work *work, void *ctx)
{
	struct g8_storm *storm = ctx;

	if (count_up(&storm->active) > storm->limit)
		count_up(&storm->over);
	count_up(&storm->runs);
	sched_yield();
	count_add(&storm->active, -1);
}

static void g8_storm_thread(void *ctx, unsigned index)
{
	struct g8_storm *storm = ctx;
	uint64_t rng = test_seed() + index;
	unsigned long i, rounds = scaled(30000);

	for (i = 0; i < rounds; i++) {
		struct wq_work *work = &storm->works[random_next(&rng) % ARRAY_SIZE(storm->works)];

		if (random_next(&rng) % 8)
			wq_queue(storm->wq, work);
		else
			wq_work_cancel(work);
		if (index == 0 && i % 64 == 0)
			wq_set_max_active(storm->wq, 1 + (int)(random_next(&rng) % storm->limit));
	}
}

static void g8_limit_holds_while_items_are_cancelled_and_it_changes(void **state)
{
	static struct g8_storm storm;
	unsigned i;

	memset(&storm, 0, sizeof(storm));
	storm.limit = 3;
	storm.wq = wq_alloc("g8", WQ_CPU_INTENSIVE, 3);
	for (i = 0; i < ARRAY_SIZE(storm.works); i++)
		wq_work_init(&storm.works[i], g8_storm_fn, &storm);
	run_threads(3, g8_storm_thread, &storm);
	wq_destroy(storm.wq);
	assert_int_equal(storm.over, 0);
	assert_true(storm.runs > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(g3_ordered_queue_keeps_the_order_of_acceptance),
		cmocka_unit_test(g3_percpu_pool_starts_items_in_order),
		cmocka_unit_test(g3_unbound_queue_overtakes_boundedly),
		cmocka_unit_test(g3_ordered_queue_keeps_order_around_a_cancelled_item),
		cmocka_unit_test(g6_flush_returns_though_items_requeue_themselves),
		cmocka_unit_test(g6_flush_waits_for_all_accepted_before),
		cmocka_unit_test(g6_more_flushers_than_colours_all_return),
		cmocka_unit_test(g8_no_more_than_max_active_items_are_active),
		cmocka_unit_test(g8_limit_holds_while_items_are_cancelled_and_it_changes),
	};

	test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
