/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Freezing and thawing: what still runs, what waits, and who waits for it. */
#include "support.h"

#include <sched.h>

static const unsigned kinds[] = {WQ_FREEZABLE, WQ_FREEZABLE | WQ_PERCPU, WQ_FREEZABLE | WQ_ORDERED,
				 WQ_FREEZABLE | WQ_HIGHPRI, WQ_FREEZABLE | WQ_DEDICATED};

/* A failed test must not leave the next ones frozen. */
static int thaw(void **state)
{
	wq_thaw_all();
	return 0;
}

/* Items and queues that are not frozen get on; so would the frozen ones have. */
static void let_others_run(unsigned flags)
{
	struct wq *wq = wq_alloc("others", flags & ~(unsigned)WQ_FREEZABLE, 0);
	struct probe probes[3];
	unsigned i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			probe_init(&probes[i]);
			assert_int_equal(wq_queue_on(wq, &probes[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			assert_int_equal(probes[i].runs, 1);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

static void await_not_busy(void)
{
	while (wq_freeze_busy())
		sched_yield();
}

static void freeze_and_thaw_answer_ealready(void **state)
{
	assert_int_equal(wq_thaw_all(), -EALREADY);
	assert_int_equal(wq_freeze_all(), 0);
	assert_int_equal(wq_freeze_all(), -EALREADY);
	assert_int_equal(wq_freeze_busy(), 0);
	assert_int_equal(wq_thaw_all(), 0);
	assert_int_equal(wq_thaw_all(), -EALREADY);
}

static void frozen_items_wait_for_the_thaw_and_others_run(void **state)
{
	struct probe probes[5];
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("frozen", kinds[i], 0);

		assert_non_null(wq);
		assert_int_equal(wq_freeze_all(), 0);
		for (j = 0; j < ARRAY_SIZE(probes); j++) {
			probe_init(&probes[j]);
			assert_int_equal(wq_queue_on(wq, &probes[j].work, usable_cpu(0)), 1);
		}
		let_others_run(kinds[i]);
		assert_int_equal(wq_freeze_busy(), 0);
		for (j = 0; j < ARRAY_SIZE(probes); j++) {
			assert_int_equal(count_get(&probes[j].runs), 0);
			assert_int_equal(wq_work_busy(&probes[j].work), WQ_BUSY_PENDING);
			assert_int_equal(wq_queue(wq, &probes[j].work), 0);
		}
		assert_int_equal(wq_thaw_all(), 0);
		assert_int_equal(wq_flush(wq), 0);
		for (j = 0; j < ARRAY_SIZE(probes); j++)
			assert_int_equal(probes[j].runs, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void active_items_end_and_are_counted(void **state)
{
	struct wq *wq = wq_alloc("a", WQ_FREEZABLE, 0), *b = wq_alloc("b", kinds[1], 0);
	struct wq *other = wq_alloc("other", 0, 0);
	struct probe gates[3], stranger, late;
	unsigned i;

	probe_init_gate(&stranger);
	assert_int_equal(wq_queue(other, &stranger.work), 1);
	latch_wait(&stranger.started, 1);
	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		probe_init_gate(&gates[i]);
		assert_int_equal(wq_queue(i ? wq : b, &gates[i].work), 1);
		latch_wait(&gates[i].started, 1);
	}
	assert_int_equal(wq_freeze_all(), 0);
	assert_int_equal(wq_freeze_busy(), 3);
	probe_init(&late);
	assert_int_equal(wq_queue(wq, &late.work), 1);
	assert_int_equal(wq_freeze_busy(), 3);
	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		latch_post(&gates[i].open);
		while (wq_freeze_busy() > (int)(ARRAY_SIZE(gates) - 1 - i))
			sched_yield();
		assert_int_equal(wq_freeze_busy(), ARRAY_SIZE(gates) - 1 - i);
		assert_int_equal(wq_work_busy(&gates[i].work), 0);
	}
	let_others_run(0);
	assert_int_equal(late.runs, 0);
	assert_int_equal(wq_freeze_busy(), 0);
	assert_int_equal(wq_thaw_all(), 0);
	latch_post(&stranger.open);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(late.runs, 1);
	assert_int_equal(wq_destroy(b), 0);
	assert_int_equal(wq_destroy(other), 0);
}

struct forever {
	struct wq_work work;
	struct wq *wq;
	unsigned long runs; /* plain: ordered by freeze_busy's answer 0 */
	unsigned long stop;
	struct latch started;
};

static void forever_fn(struct wq_work *work, void *ctx)
{
	struct forever *f = ctx;

	f->runs++;
	latch_post(&f->started);
	if (!count_get(&f->stop))
		wq_queue(f->wq, work);
}

static void item_that_requeues_itself_freezes(void **state)
{
	unsigned long round, rounds = scaled(30), runs;
	struct forever f;
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		memset(&f, 0, sizeof(f));
		latch_init(&f.started);
		f.wq = wq_alloc("forever", kinds[i], 0);
		wq_work_init(&f.work, forever_fn, &f);
		assert_int_equal(wq_queue(f.wq, &f.work), 1);
		for (round = 0; round < rounds; round++) {
			latch_reset(&f.started);
			latch_wait(&f.started, 3);
			assert_int_equal(wq_freeze_all(), 0);
			await_not_busy();
			runs = f.runs;
			for (j = 0; j < 10; j++)
				sched_yield();
			assert_int_equal(f.runs, runs);
			assert_int_equal(wq_work_busy(&f.work), WQ_BUSY_PENDING);
			assert_int_equal(wq_freeze_busy(), 0);
			assert_int_equal(wq_thaw_all(), 0);
		}
		count_set(&f.stop, 1);
		assert_int_equal(wq_destroy(f.wq), 0);
	}
}

struct order {
	struct order_item {
		struct wq_work work;
		struct order *order;
	} items[12];
	unsigned noted[12], nr;
};

static void order_fn(struct wq_work *work, void *ctx)
{
	struct order_item *item = ctx;
	struct order *order = item->order;

	order->noted[order->nr++] = (unsigned)(item - order->items);
}

/* Some queued before and some after the freeze; one is cancelled, one requeued at the end. */
static void thaw_starts_what_waited_in_order(void **state)
{
	static const unsigned ordered[] = {WQ_FREEZABLE | WQ_ORDERED, WQ_FREEZABLE | WQ_DEDICATED,
					   WQ_FREEZABLE | WQ_PERCPU};
	static const unsigned expected[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 7};
	struct order order;
	struct probe gate;
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(ordered); i++) {
		struct wq *wq = wq_alloc("ordered", ordered[i], 1);

		memset(&order, 0, sizeof(order));
		probe_init_gate(&gate);
		assert_int_equal(wq_queue_on(wq, &gate.work, usable_cpu(0)), 1);
		latch_wait(&gate.started, 1);
		for (j = 0; j < ARRAY_SIZE(order.items); j++) {
			order.items[j].order = &order;
			wq_work_init(&order.items[j].work, order_fn, &order.items[j]);
			if (j == 6)
				assert_int_equal(wq_freeze_all(), 0);
			assert_int_equal(wq_queue_on(wq, &order.items[j].work, usable_cpu(0)), 1);
		}
		latch_post(&gate.open);
		await_not_busy();
		assert_int_equal(wq_work_cancel(&order.items[3].work), 1);
		assert_int_equal(wq_work_cancel(&order.items[7].work), 1);
		assert_int_equal(wq_queue_on(wq, &order.items[7].work, usable_cpu(0)), 1);
		assert_int_equal(order.nr, 0);
		assert_int_equal(wq_thaw_all(), 0);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(order.nr, ARRAY_SIZE(expected));
		assert_memory_equal(order.noted, expected, sizeof(expected));
	}
}

struct waiting {
	struct wq *wq;
	struct probe probe;
	int (*call)(struct wq *wq), ret;
	unsigned long called, returned, seen;
};

static void *waiting_thread(void *ctx)
{
	struct waiting *w = ctx;

	count_set(&w->called, 1);
	w->ret = w->call ? w->call(w->wq) : wq_work_flush(&w->probe.work);
	w->seen = count_get(&w->probe.runs);
	count_set(&w->returned, 1);
	return NULL;
}

static void waits_for_a_frozen_queue_end_after_the_thaw(void **state)
{
	int (*const call[])(struct wq *) = {wq_flush, wq_drain, wq_destroy, NULL};
	struct waiting w[ARRAY_SIZE(call)];
	pthread_t thread[ARRAY_SIZE(call)];
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		assert_int_equal(wq_freeze_all(), 0);
		for (j = 0; j < ARRAY_SIZE(call); j++) {
			w[j] = (struct waiting){.call = call[j]};
			w[j].wq = wq_alloc("waited", kinds[i], 0);
			probe_init(&w[j].probe);
			assert_int_equal(wq_queue(w[j].wq, &w[j].probe.work), 1);
			pthread_create(&thread[j], NULL, waiting_thread, &w[j]);
		}
		for (j = 0; j < ARRAY_SIZE(call); j++)
			while (!count_get(&w[j].called))
				sched_yield();
		let_others_run(kinds[i]);
		for (j = 0; j < ARRAY_SIZE(call); j++)
			assert_int_equal(count_get(&w[j].returned), 0);
		assert_int_equal(wq_thaw_all(), 0);
		for (j = 0; j < ARRAY_SIZE(call); j++) {
			pthread_join(thread[j], NULL);
			assert_int_equal(w[j].ret, !call[j]);
			assert_int_equal(w[j].seen, 1);
			if (call[j] != wq_destroy)
				assert_int_equal(wq_destroy(w[j].wq), 0);
		}
	}
}

static void item_that_waits_frozen_can_be_taken_back(void **state)
{
	int (*const call[])(struct wq_work *) = {wq_work_cancel, wq_work_cancel_sync,
						 wq_work_disable, wq_work_disable_sync};
	struct probe probe;
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("cancelled", kinds[i], 0);

		for (j = 0; j < ARRAY_SIZE(call); j++) {
			probe_init(&probe);
			assert_int_equal(wq_freeze_all(), 0);
			assert_int_equal(wq_queue(wq, &probe.work), 1);
			let_others_run(0);
			assert_int_equal(call[j](&probe.work), 1);
			assert_int_equal(call[j](&probe.work), 0);
			assert_false(wq_work_pending(&probe.work));
			assert_int_equal(wq_flush(wq), 0); /* nothing waits */
			assert_int_equal(wq_thaw_all(), 0);
			assert_int_equal(wq_flush(wq), 0);
			assert_int_equal(probe.runs, 0);
		}
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void queue_made_while_frozen_is_frozen(void **state)
{
	struct probe probe;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq;

		assert_int_equal(wq_freeze_all(), 0);
		wq = wq_alloc("late", kinds[i], 0);
		probe_init(&probe);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		let_others_run(kinds[i]);
		assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_PENDING);
		assert_int_equal(count_get(&probe.runs), 0);
		assert_int_equal(wq_thaw_all(), 0);
		latch_wait(&probe.ended, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void system_freezable_queue_takes_part(void **state)
{
	struct probe gate, probe, other;

	probe_init_gate(&gate);
	probe_init(&probe);
	probe_init(&other);
	assert_int_equal(wq_queue(wq_system_freezable(), &gate.work), 1);
	latch_wait(&gate.started, 1);
	assert_int_equal(wq_freeze_busy(), 1); /* also before the freeze */
	assert_int_equal(wq_freeze_all(), 0);
	assert_int_equal(wq_queue(wq_system_freezable(), &probe.work), 1);
	assert_int_equal(wq_schedule(&other.work), 1);
	latch_wait(&other.ended, 1);
	assert_int_equal(wq_freeze_busy(), 1);
	latch_post(&gate.open);
	await_not_busy();
	assert_int_equal(count_get(&probe.runs), 0);
	assert_int_equal(wq_thaw_all(), 0);
	latch_wait(&probe.ended, 1);
	wq_work_cancel_sync(&probe.work);
	wq_work_cancel_sync(&gate.work);
	wq_work_cancel_sync(&other.work);
}

static void set_max_active_while_frozen_holds_after_the_thaw(void **state)
{
	static const unsigned limited[] = {WQ_FREEZABLE, WQ_FREEZABLE | WQ_PERCPU};
	struct probe gates[6];
	unsigned i, j, runs;

	for (i = 0; i < ARRAY_SIZE(limited); i++) {
		struct wq *wq = wq_alloc("limit", limited[i], 1);

		assert_int_equal(wq_freeze_all(), 0);
		for (j = 0; j < ARRAY_SIZE(gates); j++) {
			probe_init_gate(&gates[j]);
			assert_int_equal(wq_queue_on(wq, &gates[j].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_set_max_active(wq, 3), 0);
		let_others_run(limited[i]);
		assert_int_equal(wq_freeze_busy(), 0);
		assert_int_equal(wq_thaw_all(), 0);
		do {
			sched_yield();
			for (runs = 0, j = 0; j < ARRAY_SIZE(gates); j++)
				runs += (unsigned)count_get(&gates[j].runs);
		} while (runs < 3);
		let_others_run(limited[i]);
		for (runs = 0, j = 0; j < ARRAY_SIZE(gates); j++)
			runs += (unsigned)count_get(&gates[j].runs);
		assert_int_equal(runs, 3);
		for (j = 0; j < ARRAY_SIZE(gates); j++)
			latch_post(&gates[j].open);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

struct storm {
	struct wq *wq[ARRAY_SIZE(kinds)];
	struct wq_work works[16];
	unsigned long accepted, ran, stop, data[16]; /* data plain: one item each */
};

static void storm_fn(struct wq_work *work, void *ctx)
{
	struct storm *storm = ctx;

	storm->data[work - storm->works]++;
	count_up(&storm->ran);
}

static void storm_thread(void *ctx, unsigned index)
{
	unsigned long i, j, rounds = scaled(100), seen[16];
	struct storm *storm = ctx;

	if (index == 0) {
		for (i = 0; i < rounds; i++) {
			wq_freeze_all();
			await_not_busy();
			memcpy(seen, storm->data, sizeof(seen));
			for (j = 0; j < 10; j++)
				sched_yield();
			if (memcmp(seen, storm->data, sizeof(seen)))
				count_set(&storm->stop, 2);
			wq_thaw_all();
		}
		if (count_get(&storm->stop) == 0)
			count_set(&storm->stop, 1);
		return;
	}
	for (i = index; !count_get(&storm->stop); i++) {
		if (wq_queue(storm->wq[i % ARRAY_SIZE(kinds)], &storm->works[i % 16]) == 1)
			count_up(&storm->accepted);
		if (i % 16 == 0)
			sched_yield();
	}
}

static void nothing_runs_between_busy_zero_and_the_thaw(void **state)
{
	static struct storm storm;
	unsigned i;

	memset(&storm, 0, sizeof(storm));
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		storm.wq[i] = wq_alloc("storm", kinds[i], 0);
	for (i = 0; i < ARRAY_SIZE(storm.works); i++)
		wq_work_init(&storm.works[i], storm_fn, &storm);
	run_threads(3, storm_thread, &storm);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		assert_int_equal(wq_destroy(storm.wq[i]), 0);
	assert_int_equal(storm.stop, 1);
	assert_int_equal(storm.ran, storm.accepted);
}

/* The last one: it ends the library, and begins it anew. */
static void shutdown_thaws(void **state)
{
	struct probe probe;
	struct wq *wq;

	probe_init(&probe);
	assert_int_equal(wq_freeze_all(), 0);
	assert_int_equal(wq_queue(wq_system_freezable(), &probe.work), 1);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(probe.runs, 1);
	assert_int_equal(wq_thaw_all(), -EALREADY);
	wq = wq_alloc("anew", WQ_FREEZABLE, 0);
	assert_non_null(wq);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(probe.runs, 2);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(freeze_and_thaw_answer_ealready),
		cmocka_unit_test_teardown(frozen_items_wait_for_the_thaw_and_others_run, thaw),
		cmocka_unit_test_teardown(active_items_end_and_are_counted, thaw),
		cmocka_unit_test_teardown(item_that_requeues_itself_freezes, thaw),
		cmocka_unit_test_teardown(thaw_starts_what_waited_in_order, thaw),
		cmocka_unit_test_teardown(waits_for_a_frozen_queue_end_after_the_thaw, thaw),
		cmocka_unit_test_teardown(item_that_waits_frozen_can_be_taken_back, thaw),
		cmocka_unit_test_teardown(queue_made_while_frozen_is_frozen, thaw),
		cmocka_unit_test_teardown(system_freezable_queue_takes_part, thaw),
		cmocka_unit_test_teardown(set_max_active_while_frozen_holds_after_the_thaw, thaw),
		cmocka_unit_test_teardown(nothing_runs_between_busy_zero_and_the_thaw, thaw),
		cmocka_unit_test(shutdown_thaws),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
