/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ordered queues whose attributes change under load: their order (G3), and items that
 * run with the old attributes while they are pending with the new ones (G2, G6, G7).
 */
#include "observe.h"

#include <sched.h>

static struct wq *wq;
static struct probe gate;

static void apply(struct wq *to, int nice, int cpu)
{
	struct wq_attrs attrs;
	cpu_set_t cpus;

	wq_attrs_init(&attrs);
	wq_attrs_set_nice(&attrs, nice);
	if (cpu >= 0) {
		CPU_ZERO(&cpus);
		CPU_SET(cpu, &cpus);
		if (wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)))
			abort();
	}
	if (wq_apply_attrs(to, &attrs))
		abort();
	wq_attrs_fini(&attrs);
}

/* --- order --- */

#define NR_NUMBERED 256

struct numbered {
	struct wq_work work;
	unsigned long number, busy;
};

struct row {
	struct numbered items[NR_NUMBERED];
	struct wq *wq;
	unsigned long last, inside, wrong, crowded, ran, changes, total, done;
};

static struct row row;

static void numbered_fn(struct wq_work *work, void *ctx)
{
	struct numbered *item = ctx;

	if (count_up(&row.inside) != 1)
		count_up(&row.crowded);
	if (item->number != row.last + 1)
		count_up(&row.wrong);
	row.last = item->number;
	if (item->number % 32 == 0)
		sched_yield();
	__atomic_sub_fetch(&row.inside, 1, __ATOMIC_SEQ_CST);
	count_up(&row.ran);
	count_set(&item->busy, 0);
}

static void row_thread(void *ctx, unsigned index)
{
	unsigned long n;

	if (index) {
		for (n = 0; !count_get(&row.done); n++) {
			apply(row.wq, (int)(n % 3), n % 5 ? -1 : usable_cpu(n % 2));
			count_up(&row.changes);
			if (n % 4 == 0)
				sched_yield();
		}
		return;
	}
	for (n = 1; n <= row.total || count_get(&row.changes) < scaled(300); n++) {
		struct numbered *item = &row.items[n % NR_NUMBERED];

		while (count_get(&item->busy))
			sched_yield();
		item->number = n;
		count_set(&item->busy, 1);
		if (wq_queue(row.wq, &item->work) != 1)
			abort();
		if (n % 64 == 0)
			sched_yield();
	}
	row.total = n - 1;
	count_set(&row.done, 1);
}

static void order_run(unsigned flags, unsigned nr_changers)
{
	unsigned i;

	memset(&row, 0, sizeof(row));
	row.wq = wq_alloc("row", flags | WQ_ORDERED, 0);
	row.total = scaled(50000);
	for (i = 0; i < NR_NUMBERED; i++)
		wq_work_init(&row.items[i].work, numbered_fn, &row.items[i]);
	run_threads(1 + nr_changers, row_thread, &row);
	assert_int_equal(wq_flush(row.wq), 0);
	assert_int_equal(row.wrong, 0);
	assert_int_equal(row.crowded, 0);
	assert_int_equal(row.ran, row.total);
	assert_int_equal(row.last, row.total);
	assert_int_equal(stats_of(row.wq).completed, row.total);
	assert_int_equal(wq_destroy(row.wq), 0);
}

static void order_is_kept_over_changes(void **state)
{
	order_run(0, 1);
}

static void order_is_kept_where_several_threads_change(void **state)
{
	order_run(0, 3);
}

static void order_is_kept_with_a_rescuer(void **state)
{
	order_run(WQ_MEM_RECLAIM | WQ_HIGHPRI, 1);
}

/* --- an item that queues itself --- */

struct again {
	struct wq_work work;
	struct wq *wq;
	struct latch begun;
	unsigned long runs, stop;
	unsigned long nice, tids;
	pid_t tid;
};

static struct again again;

static void again_fn(struct wq_work *work, void *ctx)
{
	struct where where;

	memset(&where, 0, sizeof(where));
	where_note(&where);
	count_set(&again.nice, (unsigned long)where.nice);
	if (count_up(&again.runs) == 1)
		latch_post(&again.begun);
	if (!count_get(&again.stop))
		wq_queue(again.wq, work);
}

/* An ordered queue's moves over at once: what is queued behind it comes next (G3). */
static void item_that_queues_itself_moves_over(void **state)
{
	unsigned long i;

	memset(&again, 0, sizeof(again));
	latch_init(&again.begun);
	again.wq = wq_alloc("again", WQ_ORDERED, 0);
	wq_work_init(&again.work, again_fn, NULL);
	assert_int_equal(wq_queue(again.wq, &again.work), 1);
	latch_wait(&again.begun, 1);
	for (i = 1; i <= 1 + scaled(100); i++) {
		struct probe probe;
		int nice = (int)(i % 3);

		apply(again.wq, nice, -1);
		probe_init(&probe);
		assert_int_equal(wq_queue(again.wq, &probe.work), 1);
		latch_wait(&probe.ended, 1);
		wq_work_flush(&probe.work);
		while (count_get(&again.nice) != (unsigned long)nice_to_get(nice))
			sched_yield();
	}
	assert_int_equal(wq_work_flush(&again.work), 1);
	count_set(&again.stop, 1);
	assert_int_equal(wq_drain(again.wq), 0);
	assert_int_equal(wq_destroy(again.wq), 0);
}

/* An unordered one goes on with the old attributes until it has been idle (wq/attrs.h). */
static void unordered_item_that_queues_itself_starves_nobody(void **state)
{
	struct probe probe;

	memset(&again, 0, sizeof(again));
	latch_init(&again.begun);
	again.wq = wq_alloc("again", 0, 0);
	wq_work_init(&again.work, again_fn, NULL);
	assert_int_equal(wq_queue(again.wq, &again.work), 1);
	latch_wait(&again.begun, 1);
	apply(again.wq, 3, -1);
	probe_init(&probe);
	assert_int_equal(wq_queue(again.wq, &probe.work), 1);
	latch_wait(&probe.ended, 1);
	assert_int_equal(wq_flush(again.wq), 0);
	assert_int_equal(count_get(&again.nice), nice_to_get(0));
	assert_true(wq_work_cancel_sync(&again.work) >= 0);
	count_set(&again.stop, 1);
	assert_int_equal(wq_queue(again.wq, &again.work), 1);
	wq_work_flush(&again.work);
	assert_int_equal(again.nice, nice_to_get(3));
	assert_int_equal(wq_destroy(again.wq), 0);
}

/* --- items that run with the old attributes, and are pending with the new ones --- */

struct call {
	pthread_t thread;
	int (*fn)(struct wq_work *work);
	unsigned long ended;
	pid_t tid;
	int ret;
};

static void *call_main(void *arg)
{
	struct call *call = arg;

	count_set(&call->tid, gettid());
	call->ret = call->fn(&gate.work);
	count_set(&call->ended, 1);
	return NULL;
}

static void call_begin(struct call *call, int (*fn)(struct wq_work *work))
{
	call->fn = fn;
	call->ended = 0;
	call->tid = 0;
	assert_int_equal(pthread_create(&call->thread, NULL, call_main, call), 0);
}

static int call_end(struct call *call)
{
	pthread_join(call->thread, NULL);
	return call->ret;
}

/* It waits for something. */
static void call_goes_on(struct call *call)
{
	while (!count_get(&call->tid))
		sched_yield();
	sleep_ns(1000000);
	task_wait_asleep(call->tid);
	assert_int_equal(count_get(&call->ended), 0);
}

static void begin_on_old(unsigned flags)
{
	wq = wq_alloc("both", flags, 0);
	probe_init_gate(&gate);
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	latch_wait(&gate.started, 1);
	apply(wq, 1, -1);
}

static void begin_on_both(void)
{
	begin_on_old(WQ_ORDERED);
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	assert_int_equal(wq_work_busy(&gate.work), WQ_BUSY_RUNNING | WQ_BUSY_PENDING);
	assert_int_equal(wq_queue(wq, &gate.work), 0);
}

static void item_cancelled_on_the_new_is_waited_for_on_the_old(void **state)
{
	static int (*const fns[])(struct wq_work *) = {wq_work_cancel_sync, wq_work_disable_sync};
	struct call cancel, flush;
	unsigned i;

	for (i = 0; i < 2 * ARRAY_SIZE(fns); i++) {
		begin_on_both();
		if (i % 2) {
			call_begin(&flush, wq_work_flush);
			call_goes_on(&flush);
		}
		call_begin(&cancel, fns[i / 2]);
		call_goes_on(&cancel);
		while (wq_work_busy(&gate.work) & WQ_BUSY_PENDING)
			sched_yield();
		assert_true(wq_work_busy(&gate.work) & WQ_BUSY_RUNNING);
		call_goes_on(&cancel);
		if (i % 2)
			call_goes_on(&flush);
		latch_post(&gate.open);
		assert_int_equal(call_end(&cancel), 1);
		if (i % 2)
			assert_int_equal(call_end(&flush), 1);
		assert_int_equal(gate.runs, 1);
		assert_int_equal(wq_work_busy(&gate.work) & ~WQ_BUSY_DISABLED, 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void item_cancelled_on_the_new_is_flushed_on_the_old(void **state)
{
	struct call flush;

	begin_on_both();
	assert_int_equal(wq_work_cancel(&gate.work), 1);
	assert_int_equal(wq_work_cancel(&gate.work), 0);
	call_begin(&flush, wq_work_flush);
	call_goes_on(&flush);
	latch_post(&gate.open);
	assert_int_equal(call_end(&flush), 1);
	assert_int_equal(gate.runs, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

static void flush_waits_for_the_run_on_the_new(void **state)
{
	struct call flush;

	begin_on_both();
	call_begin(&flush, wq_work_flush);
	call_goes_on(&flush);
	latch_post(&gate.open);
	assert_int_equal(call_end(&flush), 1);
	assert_int_equal(gate.runs, 2);
	assert_int_equal(wq_destroy(wq), 0);
}

/* G2: whichever queue it is queued to, whether it was pending on the new one in between. */
static void item_on_the_old_runs_on_another_queue_only_afterwards(void **state)
{
	static const unsigned kinds[] = {0, WQ_ORDERED};
	unsigned i;

	for (i = 0; i < 2 * ARRAY_SIZE(kinds); i++) {
		struct wq *other = wq_alloc("other", WQ_HIGHPRI, 0);

		begin_on_old(kinds[i / 2]);
		if (i % 2) {
			assert_int_equal(wq_queue(wq, &gate.work), 1);
			assert_int_equal(wq_work_cancel(&gate.work), 1);
		}
		assert_int_equal(wq_queue(other, &gate.work), 1);
		assert_int_equal(wq_queue(wq, &gate.work), 0);
		sleep_ns(3000000);
		assert_int_equal(count_get(&gate.runs), 1);
		latch_post(&gate.open);
		wq_work_flush(&gate.work);
		assert_int_equal(gate.runs, 2);
		/* Where it ran took it. */
		assert_int_equal(stats_of(wq).completed, 2);
		assert_int_equal(stats_of(other).completed, 0);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_destroy(other), 0);
	}
}

/* The old attributes come back: the pool is the same, the place in the row is not. */
static void order_is_kept_where_the_old_attributes_come_back(void **state)
{
	struct where where[3];
	unsigned long turns = 0;
	unsigned i;

	begin_on_both();
	for (i = 0; i < ARRAY_SIZE(where); i++) {
		apply(wq, (int)(i % 2), -1);
		where_init(&where[i], &turns);
		assert_int_equal(wq_queue(wq, &where[i].work), 1);
	}
	assert_int_equal(wq_work_cancel(&gate.work), 1);
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	sleep_ns(3000000);
	assert_int_equal(count_get(&turns), 0);
	latch_post(&gate.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(gate.runs, 2);
	for (i = 0; i < ARRAY_SIZE(where); i++) {
		assert_int_equal(where[i].turn, i + 1);
		assert_int_equal(where[i].nice, nice_to_get(i % 2));
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- waits that can't end --- */

struct waits {
	struct wq_work work;
	struct probe behind, before;
	int flush, self, flushed, drained, destroyed, cancelled;
};

static void waits_fn(struct wq_work *work, void *ctx)
{
	struct waits *waits = ctx;

	wq_queue(wq, &waits->before.work);
	apply(wq, 2, -1);
	wq_queue(wq, &waits->behind.work);
	wq_queue(wq, work);
	waits->flush = wq_work_flush(&waits->behind.work);
	waits->self = wq_work_flush(work);
	waits->cancelled = wq_work_cancel_sync(work);
	waits->flushed = wq_flush(wq);
	waits->drained = wq_drain(wq);
	waits->destroyed = wq_destroy(wq);
}

static void waits_that_cannot_end_are_answered(void **state)
{
	struct waits waits = {.flush = 0};

	wq = wq_alloc("waits", WQ_ORDERED, 0);
	probe_init(&waits.behind);
	probe_init(&waits.before);
	wq_work_init(&waits.work, waits_fn, &waits);
	assert_int_equal(wq_queue(wq, &waits.work), 1);
	wq_work_flush(&waits.work);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(waits.flush, -EDEADLK);
	assert_int_equal(waits.self, -EDEADLK);
	assert_int_equal(waits.cancelled, -EDEADLK);
	assert_int_equal(waits.flushed, -EDEADLK);
	assert_int_equal(waits.drained, -EDEADLK);
	assert_int_equal(waits.destroyed, -EDEADLK);
	assert_int_equal(waits.behind.runs, 1);
	assert_int_equal(waits.before.runs, 1);
	assert_int_equal(stats_of(wq).completed, 3);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_kept_over_changes),
		cmocka_unit_test(order_is_kept_where_several_threads_change),
		cmocka_unit_test(order_is_kept_with_a_rescuer),
		cmocka_unit_test(item_that_queues_itself_moves_over),
		cmocka_unit_test(unordered_item_that_queues_itself_starves_nobody),
		cmocka_unit_test(item_cancelled_on_the_new_is_waited_for_on_the_old),
		cmocka_unit_test(item_cancelled_on_the_new_is_flushed_on_the_old),
		cmocka_unit_test(flush_waits_for_the_run_on_the_new),
		cmocka_unit_test(item_on_the_old_runs_on_another_queue_only_afterwards),
		cmocka_unit_test(order_is_kept_where_the_old_attributes_come_back),
		cmocka_unit_test(waits_that_cannot_end_are_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
