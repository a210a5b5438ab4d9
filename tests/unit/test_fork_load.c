/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* G16 under load: fork() while other threads are in the middle of every call. */
#include "process.h"

#include <sched.h>

#define NR_THREADS 3
#define NR_QUEUES  5
#define NR_ITEMS   8

struct load_item {
	struct wq_work work;
	struct load *load;
	unsigned long accepted, cancelled, ran;
};

/* The first items are everybody's; the last NR_THREADS belong to a thread each. */
struct load {
	struct wq *queues[NR_QUEUES];
	struct load_item items[NR_ITEMS + NR_THREADS];
	struct wq_work forking;
	unsigned long stop, called, calls, wrong, rounds[NR_THREADS];
	pthread_t threads[NR_THREADS];
	int status;
};

static const unsigned load_flags[NR_QUEUES] = {0, WQ_PERCPU, WQ_ORDERED, WQ_FREEZABLE,
					       WQ_DEDICATED};

static void expect(struct load *load, bool right)
{
	if (!right)
		count_up(&load->wrong);
}

static void load_fn(struct wq_work *work, void *ctx)
{
	struct load_item *item = ctx;

	count_up(&item->ran);
}

static void load_call_fn(void *ctx)
{
	struct load *load = ctx;

	count_up(&load->called);
}

static void load_nothing(void *ctx)
{
}

static void load_queue(struct load *load, struct wq *wq, struct load_item *item, uint64_t r)
{
	int ret = r & 1 ? wq_queue(wq, &item->work)
			: wq_queue_on(wq, &item->work, usable_cpu(r >> 1 & 1));

	if (ret == 1)
		count_up(&item->accepted);
	expect(load, ret == 1 || ret == 0 || ret == -EBUSY || ret == -ESHUTDOWN || ret == -EINVAL);
}

static void load_cancelled(struct load *load, struct load_item *item, int ret)
{
	if (ret == 1)
		count_up(&item->cancelled);
	expect(load, ret == 1 || ret == 0);
}

/* A queue from beginning to end. */
static void load_whole_life(struct load *load, uint64_t r)
{
	struct wq *wq = wq_alloc("life", load_flags[r % NR_QUEUES], 0);
	struct probe probe;

	expect(load, wq != NULL);
	probe_init(&probe);
	expect(load, wq_queue(wq, &probe.work) == 1);
	if (r & 256)
		expect(load, wq_flush(wq) == 0);
	expect(load, wq_destroy(wq) == 0);
	expect(load, probe.runs == 1);
}

static void load_call(struct load *load, struct wq *wq)
{
	int ret = wq_call(wq, load_call_fn, load);

	if (ret == 1)
		count_up(&load->calls);
	expect(load, ret == 1 || ret == -ESHUTDOWN);
}

/* What only one thread may do, for what it begins it must end. */
static void load_pairs(struct load *load, unsigned index, struct wq *wq)
{
	struct load_item *own = &load->items[NR_ITEMS + index];

	if (index == 0) {
		expect(load, wq_plug(wq) == 0);
		load_queue(load, wq, own, 1);
		expect(load, wq_unplug(wq) == 0);
	} else if (index == 1) {
		expect(load, wq_freeze_all() == 0);
		load_queue(load, load->queues[3], own, 1);
		expect(load, wq_freeze_busy() >= 0);
		expect(load, wq_thaw_all() == 0);
	} else {
		load_queue(load, wq, own, 1);
		load_cancelled(load, own, wq_work_disable_sync(&own->work));
		expect(load, wq_queue(wq, &own->work) == -EBUSY);
		expect(load, wq_work_enable(&own->work) == 1);
	}
}

static void load_step(struct load *load, unsigned index, uint64_t r)
{
	struct wq *wq = load->queues[r >> 8 & 255 ? (r >> 16) % NR_QUEUES : 0];
	struct load_item *item = &load->items[(r >> 32) % NR_ITEMS];

	switch (r % 16) {
	default:
		load_queue(load, wq, item, r >> 40);
		break;
	case 5:
		load_cancelled(load, item, wq_work_cancel(&item->work));
		break;
	case 6:
		load_cancelled(load, item, wq_work_cancel_sync(&item->work));
		break;
	case 7:
		expect(load, wq_work_flush(&item->work) >= 0);
		break;
	case 8:
		expect(load, wq_flush(wq) == 0);
		break;
	case 9:
		expect(load, wq_drain(wq) == 0);
		break;
	case 10:
		load_pairs(load, index, wq);
		break;
	case 11:
		load_whole_life(load, r >> 40);
		break;
	case 12:
	case 13:
		load_call(load, wq);
		break;
	case 14:
		expect(load, wq_run_on_each_cpu(load_nothing, NULL) == 0);
		break;
	case 15:
		if (index == 2)
			expect(load,
			       wq_set_max_active(load->queues[r >> 63], 1 + (r >> 60) % 4) == 0);
		break;
	}
}

struct load_arg {
	struct load *load;
	unsigned index;
};

static void *load_thread(void *ctx)
{
	struct load_arg *arg = ctx;
	uint64_t rng = test_seed() + arg->index;

	while (!count_get(&arg->load->stop)) {
		load_step(arg->load, arg->index, random_next(&rng));
		count_up(&arg->load->rounds[arg->index]);
	}
	return NULL;
}

/* What the child finds is of any moment; but the queues are whole, and empty. */
static void load_child(void *ctx)
{
	struct load *load = ctx;
	unsigned i, threads = nr_threads("wq/"); /* the one that forked has such a name */
	struct probe probe;
	struct wq *wq;

	wq_thaw_all();
	probe_init(&probe);
	for (i = 0; i < NR_QUEUES; i++) {
		wq_unplug(load->queues[i]);
		probe_runs(load->queues[i], &probe);
	}
	for (i = 0; i < ARRAY_SIZE(load->items); i++) {
		struct load_item *item = &load->items[i];

		CHECK_EQUAL(wq_work_busy(&item->work) & ~WQ_BUSY_DISABLED, 0);
		while (wq_work_enable(&item->work) >= 0)
			;
		count_set(&item->ran, 0);
		CHECK_EQUAL(wq_queue(load->queues[i % NR_QUEUES], &item->work), 1);
	}
	for (i = 0; i < NR_QUEUES; i++)
		CHECK_EQUAL(wq_flush(load->queues[i]), 0);
	for (i = 0; i < ARRAY_SIZE(load->items); i++)
		CHECK_EQUAL(count_get(&load->items[i].ran), 1);
	wq = wq_alloc("child", WQ_PERCPU, 0);
	CHECK(wq);
	probe_runs(wq, &probe);
	count_set(&load->called, 0);
	CHECK_EQUAL(wq_call(wq, load_call_fn, load), 1);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(count_get(&load->called), 1);
	for (i = 0; i < NR_QUEUES; i++)
		CHECK_EQUAL(wq_destroy(load->queues[i]), 0);
	/* A queue that was being made or destroyed may be left. */
	i = (unsigned)-wq_shutdown();
	CHECK(i == 0 || i == EBUSY);
	if (i == 0)
		CHECK_EQUAL(nr_threads_falls_to("wq/", threads), threads);
}

static void load_forking_fn(struct wq_work *work, void *ctx)
{
	struct load *load = ctx;

	load->status = in_child(load_child, load);
}

static void load_begin(struct load *load, struct load_arg *args)
{
	unsigned i;

	memset(load, 0, sizeof(*load));
	for (i = 0; i < NR_QUEUES; i++) {
		load->queues[i] = wq_alloc("load", load_flags[i], 0);
		assert_non_null(load->queues[i]);
	}
	for (i = 0; i < ARRAY_SIZE(load->items); i++)
		wq_work_init(&load->items[i].work, load_fn, &load->items[i]);
	wq_work_init(&load->forking, load_forking_fn, load);
	test_seed();
	for (i = 0; i < NR_THREADS; i++) {
		args[i].load = load;
		args[i].index = i;
		assert_int_equal(pthread_create(&load->threads[i], NULL, load_thread, &args[i]), 0);
	}
}

/* Also shows that each thread got on, so nothing was blocked for good by a fork. */
static void load_end(struct load *load)
{
	unsigned i;

	count_set(&load->stop, 1);
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(load->threads[i], NULL);
	for (i = 0; i < NR_QUEUES; i++)
		assert_int_equal(wq_destroy(load->queues[i]), 0);
	for (i = 0; i < ARRAY_SIZE(load->items); i++)
		assert_int_equal(load->items[i].accepted,
				 load->items[i].ran + load->items[i].cancelled);
	assert_int_equal(load->calls, load->called);
	assert_int_equal(load->wrong, 0);
	assert_int_equal(wq_shutdown(), 0);
}

static void load_await_round(struct load *load)
{
	unsigned long before = count_get(&load->rounds[0]);

	while (count_get(&load->rounds[0]) == before)
		sched_yield();
}

static void fork_under_load_gives_working_children(void **state)
{
	unsigned long n, nr = scaled(50);
	struct load_arg args[NR_THREADS];
	struct load load;

	skip_if_checker_hangs_children();
	load_begin(&load, args);
	for (n = 0; n < nr; n++) {
		load_await_round(&load);
		assert_int_equal(in_child(load_child, &load), 0);
	}
	load_end(&load);
}

static void fork_under_load_from_items_gives_working_children(void **state)
{
	unsigned long n, nr = scaled(100);
	struct load_arg args[NR_THREADS];
	struct load load;

	skip_if_checker_hangs_children();
	load_begin(&load, args);
	for (n = 0; n < nr; n++) {
		load_await_round(&load);
		load.status = -1;
		assert_int_equal(n % 2 ? wq_schedule(&load.forking)
				       : wq_queue(wq_system_percpu(), &load.forking),
				 1);
		wq_work_flush(&load.forking);
		assert_int_equal(load.status, 0);
	}
	load_end(&load);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork_under_load_gives_working_children),
		cmocka_unit_test(fork_under_load_from_items_gives_working_children),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
