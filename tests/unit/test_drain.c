/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Draining and plugging queues: what is refused meanwhile, and what is waited for. */
#include "support.h"

#include <sched.h>

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI, WQ_DEDICATED};

static void nop(struct wq_work *work, void *ctx)
{
}

/* A call that waits, on a thread of its own; notes how far a count was when it returned. */
struct waiting {
	pthread_t thread;
	int (*call)(struct wq *wq);
	struct wq *wq;
	unsigned long *watched, seen, returned;
	int ret;
};

static void *waiting_thread(void *ctx)
{
	struct waiting *w = ctx;

	w->ret = w->call(w->wq);
	w->seen = count_get(w->watched);
	count_set(&w->returned, 1);
	return NULL;
}

static void waiting_start(struct waiting *w, int (*call)(struct wq *), struct wq *wq,
			  unsigned long *watched)
{
	memset(w, 0, sizeof(*w));
	w->call = call;
	w->wq = wq;
	w->watched = watched;
	assert_int_equal(pthread_create(&w->thread, NULL, waiting_thread, w), 0);
}

static void waiting_end(struct waiting *w)
{
	pthread_join(w->thread, NULL);
	assert_int_equal(w->ret, 0);
}

/* Until strangers are refused.  A running item must hold the drain up. */
static void await_refusal(struct wq *wq)
{
	struct wq_work work = WQ_WORK_INIT(nop, NULL);

	while (wq_queue(wq, &work) != -ESHUTDOWN) {
		wq_work_cancel(&work);
		sched_yield();
	}
	wq_work_cancel_sync(&work);
}

static void start_gate(struct wq *wq, struct probe *gate)
{
	probe_init_gate(gate);
	assert_int_equal(wq_queue_on(wq, &gate->work, usable_cpu(0)), 1);
	latch_wait(&gate->started, 1);
}

/* --- drain --- */

struct tree {
	struct wq *wq;
	struct tree_item {
		struct wq_work work;
		struct tree *tree;
	} items[127];
	struct latch started, open;
	unsigned long runs, accepted, foreign;
};

/* Each item queues two more; the first waits until it is let. */
static void tree_fn(struct wq_work *work, void *ctx)
{
	struct tree_item *item = ctx;
	struct tree *tree = item->tree;
	size_t i = (size_t)(item - tree->items), child;

	if (!i) {
		latch_post(&tree->started);
		latch_wait(&tree->open, 1);
	}
	for (child = 2 * i + 1; child <= 2 * i + 2 && child < ARRAY_SIZE(tree->items); child++)
		if (wq_queue(tree->wq, &tree->items[child].work) == 1)
			count_up(&tree->accepted);
	count_up(&tree->runs);
}

static void tree_init(struct tree *tree, struct wq *wq)
{
	unsigned i;

	memset(tree, 0, sizeof(*tree));
	tree->wq = wq;
	latch_init(&tree->started);
	latch_init(&tree->open);
	for (i = 0; i < ARRAY_SIZE(tree->items); i++) {
		tree->items[i].tree = tree;
		wq_work_init(&tree->items[i].work, tree_fn, &tree->items[i]);
	}
}

static void foreign_fn(struct wq_work *work, void *ctx)
{
	struct tree *tree = ctx;
	struct wq_work probe = WQ_WORK_INIT(nop, NULL);

	tree->foreign = (unsigned long)-wq_queue(tree->wq, &probe);
}

static void drain_takes_chained_items_and_refuses_strangers(void **state)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("drained", kinds[i], 0);
		struct wq_work foreign;
		struct waiting drain;
		struct probe probe;
		struct tree tree;

		tree_init(&tree, wq);
		assert_int_equal(wq_queue(wq, &tree.items[0].work), 1);
		latch_wait(&tree.started, 1);
		waiting_start(&drain, wq_drain, wq, &tree.runs);
		await_refusal(wq);
		assert_int_equal(wq_queue_on(wq, &tree.items[1].work, usable_cpu(0)), -ESHUTDOWN);
		assert_int_equal(wq_queue_node(wq, &tree.items[1].work, 0), -ESHUTDOWN);
		wq_work_init(&foreign, foreign_fn, &tree);
		assert_int_equal(wq_queue(wq_system(), &foreign), 1);
		wq_work_flush(&foreign);
		assert_int_equal(tree.foreign, ESHUTDOWN);
		assert_int_equal(count_get(&drain.returned), 0);
		latch_post(&tree.open);
		waiting_end(&drain);
		assert_int_equal(drain.seen, ARRAY_SIZE(tree.items));
		assert_int_equal(tree.accepted, ARRAY_SIZE(tree.items) - 1);

		probe_init(&probe);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		assert_int_equal(wq_drain(wq), 0);
		assert_int_equal(probe.runs, 1);
		assert_int_equal(wq_drain(wq), 0); /* of an idle queue */
		assert_int_equal(wq_destroy(wq), 0);
	}
}

struct nest {
	struct wq *wq;
	unsigned long wrong, refused, runs, accepted;
};

static void nest_fn(struct wq_work *work, void *ctx)
{
	struct nest *nest = ctx;

	count_up(&nest->runs);
}

/* What a thread queued before its drain has run after it; work lives for one round. */
static void nest_thread(void *ctx, unsigned index)
{
	unsigned long i, rounds = scaled(300);
	struct nest *nest = ctx;

	for (i = 0; i < rounds; i++) {
		struct wq_work work = WQ_WORK_INIT(nest_fn, nest);
		int ret = wq_queue(nest->wq, &work);

		if (ret == 1)
			count_up(&nest->accepted);
		else if (ret == -ESHUTDOWN)
			count_up(&nest->refused);
		else
			count_up(&nest->wrong);
		if (wq_drain(nest->wq) || wq_work_busy(&work))
			count_up(&nest->wrong);
	}
}

static void drains_of_several_threads_nest(void **state)
{
	struct probe probe;
	struct nest nest;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		memset(&nest, 0, sizeof(nest));
		nest.wq = wq_alloc("nested", kinds[i], 0);
		run_threads(3, nest_thread, &nest);
		assert_int_equal(nest.wrong, 0);
		assert_true(nest.accepted > 0);
		assert_int_equal(nest.runs, nest.accepted);
		probe_init(&probe);
		assert_int_equal(wq_queue(nest.wq, &probe.work), 1);
		assert_int_equal(wq_destroy(nest.wq), 0);
		assert_int_equal(probe.runs, 1);
	}
}

struct own {
	struct wq_work work;
	struct wq *wq, *other;
	int drain, flush, destroy, drain_other, plug, replug, plugged, unplug, reunplug, after;
};

static void own_fn(struct wq_work *work, void *ctx)
{
	struct own *own = ctx;

	own->drain = wq_drain(own->wq);
	own->flush = wq_flush(own->wq);
	own->destroy = wq_destroy(own->wq);
	own->drain_other = wq_drain(own->other);
	own->plug = wq_plug(own->wq);
	own->replug = wq_plug(own->wq);
	own->plugged = wq_queue(own->wq, work);
	own->unplug = wq_unplug(own->wq);
	own->reunplug = wq_unplug(own->wq);
	wq_work_init(work, nop, NULL);
	own->after = wq_queue(own->wq, work);
}

static void own_item_may_plug_but_not_wait(void **state)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct own own = {.wq = wq_alloc("own", kinds[i], 0),
				  .other = wq_alloc("other", kinds[i], 0)};
		struct probe probe;

		probe_init(&probe);
		wq_queue(own.other, &probe.work);
		wq_work_init(&own.work, own_fn, &own);
		assert_int_equal(wq_queue(own.wq, &own.work), 1);
		assert_int_equal(wq_flush(own.wq), 0);
		assert_int_equal(own.drain, -EDEADLK);
		assert_int_equal(own.flush, -EDEADLK);
		assert_int_equal(own.destroy, -EDEADLK);
		assert_int_equal(own.drain_other, 0);
		assert_int_equal(own.plug, 0);
		assert_int_equal(own.replug, -EALREADY);
		assert_int_equal(own.plugged, -ESHUTDOWN);
		assert_int_equal(own.unplug, 0);
		assert_int_equal(own.reunplug, -EALREADY);
		assert_int_equal(own.after, 1);
		assert_int_equal(probe.runs, 1);
		assert_int_equal(wq_destroy(own.wq), 0);
		assert_int_equal(wq_destroy(own.other), 0);
	}
}

static void system_queues_are_protected(void **state)
{
	struct wq *(*const get[])(void) = {wq_system,		wq_system_percpu,
					   wq_system_highpri,	wq_system_long,
					   wq_system_freezable, wq_system_power_efficient};
	int (*const call[])(struct wq *) = {wq_destroy, wq_drain, wq_plug, wq_unplug, wq_flush};
	struct probe probe;
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(get); i++) {
		assert_non_null(get[i]());
		for (j = 0; j < ARRAY_SIZE(call); j++)
			assert_int_equal(call[j](get[i]()), -EPERM);
		probe_init(&probe);
		assert_int_equal(wq_queue(get[i](), &probe.work), 1);
		wq_work_flush(&probe.work);
		assert_int_equal(probe.runs, 1);
	}
}

/* --- plug --- */

static void plug_refuses_everybody_and_runs_what_was_accepted(void **state)
{
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("plugged", kinds[i], 0);
		struct probe probes[3];
		struct tree tree;

		tree_init(&tree, wq);
		assert_int_equal(wq_queue(wq, &tree.items[0].work), 1);
		latch_wait(&tree.started, 1);
		for (j = 0; j < ARRAY_SIZE(probes); j++) {
			probe_init(&probes[j]);
			if (j < 2)
				assert_int_equal(wq_queue(wq, &probes[j].work), 1);
		}
		assert_int_equal(wq_plug(wq), 0);
		assert_int_equal(wq_plug(wq), -EALREADY);
		assert_int_equal(wq_queue(wq, &probes[2].work), -ESHUTDOWN);
		assert_int_equal(wq_queue_on(wq, &probes[2].work, usable_cpu(0)), -ESHUTDOWN);
		assert_int_equal(wq_queue_node(wq, &probes[2].work, 0), -ESHUTDOWN);
		assert_false(wq_work_pending(&probes[2].work));
		latch_post(&tree.open);
		assert_int_equal(i & 1 ? wq_drain(wq) : wq_flush(wq), 0);
		assert_int_equal(tree.accepted, 0);
		assert_int_equal(tree.runs, 1);
		assert_int_equal(probes[0].runs + probes[1].runs, 2);
		/* Neither of them unplugs it. */
		assert_int_equal(wq_queue(wq, &probes[2].work), -ESHUTDOWN);
		assert_int_equal(wq_unplug(wq), 0);
		assert_int_equal(wq_unplug(wq), -EALREADY);
		assert_int_equal(wq_queue(wq, &probes[2].work), 1);
		assert_int_equal(wq_plug(wq), 0);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(probes[2].runs, 1);
	}
}

/* The first item would chain the rest. */
static void plug_during_drain_ends_the_chain(void **state)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("plugged", kinds[i], 0);
		struct wq_work work = WQ_WORK_INIT(nop, NULL);
		struct waiting drain;
		struct tree tree;

		tree_init(&tree, wq);
		assert_int_equal(wq_queue(wq, &tree.items[0].work), 1);
		latch_wait(&tree.started, 1);
		waiting_start(&drain, wq_drain, wq, &tree.runs);
		await_refusal(wq);
		assert_int_equal(wq_unplug(wq), -EALREADY);
		assert_int_equal(wq_plug(wq), 0);
		assert_int_equal(wq_unplug(wq), 0);
		assert_int_equal(wq_queue(wq, &work), -ESHUTDOWN); /* it is still draining */
		assert_int_equal(wq_plug(wq), 0);
		latch_post(&tree.open);
		waiting_end(&drain);
		assert_int_equal(drain.seen, 1);
		assert_int_equal(tree.accepted, 0);
		assert_int_equal(wq_queue(wq, &work), -ESHUTDOWN);
		assert_int_equal(wq_unplug(wq), 0);
		assert_int_equal(wq_queue(wq, &work), 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

struct still {
	struct wq *wq;
	struct wq_work works[2], self;
	unsigned long runs, plugged, stop, wrong;
};

static void still_fn(struct wq_work *work, void *ctx)
{
	struct still *still = ctx;

	count_up(&still->runs);
	if (work == &still->self)
		wq_queue(still->wq, work);
}

static void *still_thread(void *ctx)
{
	struct still *still = ctx;
	unsigned long i;

	for (i = 0; !count_get(&still->stop); i++) {
		unsigned long plugged = count_get(&still->plugged);
		int ret = wq_queue(still->wq, &still->works[i & 1]);

		/* Plugged before and after: in between it was so all the time. */
		if (plugged && plugged == count_get(&still->plugged) && ret == 1)
			count_up(&still->wrong);
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

/* All is over, by a flush or by the look of it: then nothing comes any more. */
static void still_await(struct still *still, bool flush)
{
	unsigned i;

	if (flush)
		assert_int_equal(wq_flush(still->wq), 0);
	while (wq_work_busy(&still->self))
		sched_yield();
	for (i = 0; i < ARRAY_SIZE(still->works); i++)
		while (wq_work_busy(&still->works[i]))
			sched_yield();
}

/* Producers outside, and an item that queues itself for ever, against a plug. */
static void plug_makes_a_queue_still(void **state)
{
	unsigned long round, rounds = scaled(60), runs;
	struct still still;
	pthread_t thread;
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		memset(&still, 0, sizeof(still));
		still.wq = wq_alloc("still", kinds[i], 0);
		for (j = 0; j < ARRAY_SIZE(still.works); j++)
			wq_work_init(&still.works[j], still_fn, &still);
		wq_work_init(&still.self, still_fn, &still);
		pthread_create(&thread, NULL, still_thread, &still);
		for (round = 1; round <= rounds; round++) {
			assert_int_equal(wq_queue(still.wq, &still.self), 1);
			assert_int_equal(wq_plug(still.wq), 0);
			count_set(&still.plugged, round);
			still_await(&still, round & 1);
			runs = count_get(&still.runs);
			for (j = 0; j < 10; j++)
				sched_yield();
			assert_int_equal(count_get(&still.runs), runs);
			assert_int_equal(wq_work_busy(&still.self), 0);
			count_set(&still.plugged, 0);
			assert_int_equal(wq_unplug(still.wq), 0);
		}
		count_set(&still.stop, 1);
		pthread_join(thread, NULL);
		assert_int_equal(still.wrong, 0);
		assert_int_equal(wq_destroy(still.wq), 0);
	}
}

/* -EINVAL, then -EBUSY, then 0, and the queue's state last. */
static void queue_looks_at_the_item_before_the_queue(void **state)
{
	struct wq *wq = wq_alloc("order", WQ_ORDERED, 0);
	struct probe gate, pending, disabled;
	struct wq_work zeroed, idle = WQ_WORK_INIT(nop, NULL);
	struct waiting drain;
	unsigned i;

	memset(&zeroed, 0, sizeof(zeroed));
	probe_init(&pending);
	probe_init(&disabled);
	wq_work_disable(&disabled.work);
	for (i = 0; i < 2; i++) {
		start_gate(wq, &gate);
		assert_int_equal(wq_queue(wq, &pending.work), 1);
		if (i) {
			waiting_start(&drain, wq_drain, wq, &pending.runs);
			await_refusal(wq);
		} else {
			wq_plug(wq);
		}
		assert_int_equal(wq_queue(wq, &zeroed), -EINVAL);
		assert_int_equal(wq_queue_on(wq, &disabled.work, -1), -EINVAL);
		assert_int_equal(wq_queue_on(wq, &pending.work, WQ_MAX_CPUS), -EINVAL);
		assert_int_equal(wq_queue(wq, &disabled.work), -EBUSY);
		assert_int_equal(wq_queue(wq, &pending.work), 0);
		assert_int_equal(wq_queue_on(wq, &pending.work, usable_cpu(0)), 0);
		assert_int_equal(wq_queue(wq, &idle), -ESHUTDOWN);
		assert_int_equal(wq_work_disable(&pending.work), 1);
		assert_int_equal(wq_queue(wq, &pending.work), -EBUSY);
		assert_int_equal(wq_enable_and_queue(wq, &pending.work), -ESHUTDOWN);
		assert_int_equal(wq_queue(wq, &gate.work), -ESHUTDOWN); /* running */
		latch_post(&gate.open);
		if (i)
			waiting_end(&drain);
		else
			assert_int_equal(wq_unplug(wq), 0);
		assert_int_equal(wq_flush(wq), 0);
	}
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(pending.runs + disabled.runs, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drain_takes_chained_items_and_refuses_strangers),
		cmocka_unit_test(drains_of_several_threads_nest),
		cmocka_unit_test(own_item_may_plug_but_not_wait),
		cmocka_unit_test(system_queues_are_protected),
		cmocka_unit_test(plug_refuses_everybody_and_runs_what_was_accepted),
		cmocka_unit_test(plug_during_drain_ends_the_chain),
		cmocka_unit_test(plug_makes_a_queue_still),
		cmocka_unit_test(queue_looks_at_the_item_before_the_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
