/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of queues under load: all that was accepted runs, all else is told so. */
#include "support.h"

#include <sched.h>

#define NR_PRODUCERS 4

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI, WQ_DEDICATED};

/*
 * Nobody may name the queue after wq_destroy() has returned: an item holds it up
 * until each producer was refused, which is when it stops.
 */
struct load {
	struct wq *wq;
	struct wq_work hold;
	struct load_item {
		struct wq_work work;
		struct load *load;
		unsigned long chain;
	} items[NR_PRODUCERS][8];
	struct latch refused;
	struct wq_closure *closure;
	unsigned long accepted, ran, wrong, destroyed;
};

static void load_count(struct load *load, int ret)
{
	if (ret == 1)
		count_up(&load->accepted);
	else if (ret)
		count_up(&load->wrong);
}

/* Queues itself a few times, also while the queue is being destroyed. */
static void load_fn(struct wq_work *work, void *ctx)
{
	struct load_item *item = ctx;
	struct load *load = item->load;

	count_up(&load->ran);
	if (++item->chain % 4)
		load_count(load, wq_queue(load->wq, work));
}

static void load_call_fn(void *ctx)
{
	struct load *load = ctx;

	count_up(&load->ran);
}

static void load_hold_fn(struct wq_work *work, void *ctx)
{
	struct load *load = ctx;

	latch_wait(&load->refused, NR_PRODUCERS);
	/* Those refusals are for strangers. */
	load_count(load, wq_call(load->wq, load_call_fn, load));
	load_count(load, wq_enqueue(load->wq, load->closure));
}

static void load_produce(struct load *load, unsigned index)
{
	unsigned long i;
	int ret = 0;

	for (i = 0; ret != -ESHUTDOWN; i++) {
		struct load_item *item = &load->items[index][i % ARRAY_SIZE(load->items[0])];

		if (i % 8 == 3)
			ret = wq_call(load->wq, load_call_fn, load);
		else if (i % 8 == 5)
			ret = wq_enqueue(load->wq, load->closure);
		else if (i % 8 == 7)
			ret = wq_queue_on(load->wq, &item->work, usable_cpu(0));
		else
			ret = wq_queue(load->wq, &item->work);
		if (ret != -ESHUTDOWN)
			load_count(load, ret);
		if (i % 32 == 0)
			sched_yield();
	}
	latch_post(&load->refused);
}

static void load_thread(void *ctx, unsigned index)
{
	struct load *load = ctx;

	if (index < NR_PRODUCERS) {
		load_produce(load, index);
		return;
	}
	/* The queue is in use before it goes. */
	while (count_get(&load->accepted) < 20 * NR_PRODUCERS)
		sched_yield();
	if (wq_destroy(load->wq))
		count_up(&load->wrong);
	count_set(&load->destroyed, count_get(&load->ran));
}

static void destroy_under_load_loses_nothing(void **state)
{
	unsigned long round, rounds = scaled(100);
	static struct load load;
	unsigned i, j;

	for (round = 0; round < rounds; round++) {
		memset(&load, 0, sizeof(load));
		latch_init(&load.refused);
		/* Room beside the item that holds the queue, but on an ordered one. */
		load.wq = wq_alloc("load", kinds[round % ARRAY_SIZE(kinds)], 0);
		load.closure = wq_closure_new(load_call_fn, &load, NULL);
		for (i = 0; i < NR_PRODUCERS; i++) {
			for (j = 0; j < ARRAY_SIZE(load.items[i]); j++) {
				load.items[i][j].load = &load;
				wq_work_init(&load.items[i][j].work, load_fn, &load.items[i][j]);
			}
		}
		wq_work_init(&load.hold, load_hold_fn, &load);
		load_count(&load, wq_queue(load.wq, &load.hold));
		count_up(&load.ran);
		run_threads(NR_PRODUCERS + 1, load_thread, &load);
		wq_closure_put(load.closure);
		assert_int_equal(load.wrong, 0);
		assert_int_equal(load.destroyed, load.accepted);
		assert_int_equal(load.ran, load.accepted);
	}
}

struct crossing {
	struct wq *shared;
	unsigned long runs, wrong;
};

static void crossing_fn(struct wq_work *work, void *ctx)
{
	struct crossing *c = ctx;

	count_up(&c->runs);
}

/* An item goes from a queue that ends to one that stays, and back to a new one. */
static void crossing_thread(void *ctx, unsigned index)
{
	unsigned long i, rounds = scaled(300);
	struct crossing *c = ctx;
	struct wq_work work = WQ_WORK_INIT(crossing_fn, c);

	for (i = 0; i < rounds; i++) {
		struct wq *wq = wq_alloc("crossing", kinds[i % ARRAY_SIZE(kinds)], 0);

		if (!wq || wq_queue(wq, &work) != 1 || wq_queue(c->shared, &work) < 0 ||
		    wq_destroy(wq))
			count_up(&c->wrong);
		if (wq_queue(c->shared, &work) < 0)
			count_up(&c->wrong);
		wq_work_flush(&work);
	}
	wq_work_cancel_sync(&work);
}

static void queues_come_and_go_under_items_that_stay(void **state)
{
	struct crossing c;

	memset(&c, 0, sizeof(c));
	c.shared = wq_alloc("shared", WQ_HIGHPRI, 0);
	run_threads(4, crossing_thread, &c);
	assert_int_equal(c.wrong, 0);
	assert_in_range(c.runs, 4 * 2 * scaled(300), 4 * 3 * scaled(300));
	assert_int_equal(wq_destroy(c.shared), 0);
}

struct hop {
	struct wq *wq;
	struct wq_work works[3];
	int cpus[2];
	unsigned long left, wrong;
};

static void hop_fn(struct wq_work *work, void *ctx)
{
	struct hop *hop = ctx;
	size_t next = (size_t)(work - hop->works + 1) % ARRAY_SIZE(hop->works);
	unsigned long left = hop->left - 1;

	count_set(&hop->left, left);
	if (left && wq_queue_on(hop->wq, &hop->works[next], hop->cpus[left & 1]) != 1)
		count_up(&hop->wrong);
}

/* Wherever one looks, the item that goes on is on the other CPU. */
static void drain_and_destroy_follow_a_chain_from_cpu_to_cpu(void **state)
{
	unsigned long round, rounds = scaled(100);
	struct hop hop;
	unsigned i;

	for (round = 0; round < rounds; round++) {
		memset(&hop, 0, sizeof(hop));
		hop.wq = wq_alloc("hop", WQ_PERCPU, 0);
		hop.cpus[0] = usable_cpu(0);
		hop.cpus[1] = usable_cpu(1) < 0 ? hop.cpus[0] : usable_cpu(1);
		for (i = 0; i < ARRAY_SIZE(hop.works); i++)
			wq_work_init(&hop.works[i], hop_fn, &hop);
		for (i = 0; i < 2; i++) {
			hop.left = 100;
			assert_int_equal(wq_queue(hop.wq, &hop.works[0]), 1);
			assert_int_equal(i ? wq_destroy(hop.wq) : wq_drain(hop.wq), 0);
			assert_int_equal(count_get(&hop.left), 0);
		}
		assert_int_equal(hop.wrong, 0);
	}
}

struct inside {
	struct wq_work work;
	unsigned kind;
	struct probe probe;
	int queued, destroyed, system;
};

static void inside_fn(struct wq_work *work, void *ctx)
{
	struct inside *inside = ctx;
	struct wq *inner = wq_alloc("inner", inside->kind, 0);

	inside->queued = wq_queue_on(inner, &inside->probe.work, usable_cpu(0));
	inside->destroyed = wq_destroy(inner);
	inside->system = wq_destroy(wq_system());
}

/* Both share a pool with room for one worker where they are per CPU. */
static void queue_made_and_destroyed_inside_an_item_runs(void **state)
{
	struct inside inside;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("outer", kinds[i], 0);

		inside.kind = kinds[i];
		probe_init(&inside.probe);
		wq_work_init(&inside.work, inside_fn, &inside);
		assert_int_equal(wq_queue_on(wq, &inside.work, usable_cpu(0)), 1);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(inside.queued, 1);
		assert_int_equal(inside.destroyed, 0);
		assert_int_equal(inside.system, -EPERM);
		assert_int_equal(inside.probe.runs, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(destroy_under_load_loses_nothing),
		cmocka_unit_test(queues_come_and_go_under_items_that_stay),
		cmocka_unit_test(drain_and_destroy_follow_a_chain_from_cpu_to_cpu),
		cmocka_unit_test(queue_made_and_destroyed_inside_an_item_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
