/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Items that are queued to one queue while they run on another, in a different pool. */
#include "support.h"

#include <sched.h>

/* The queue on which an item runs, and the one to which it is queued meanwhile. */
static const struct {
	unsigned here, there;
} pairs[] = {
	{WQ_HIGHPRI, 0},
	{WQ_PERCPU, 0},
	{0, WQ_PERCPU},
	{0, WQ_DEDICATED},
	{WQ_DEDICATED, 0},
	{WQ_ORDERED | WQ_HIGHPRI, WQ_ORDERED},
	{WQ_ORDERED, WQ_DEDICATED},
	{WQ_DEDICATED, WQ_DEDICATED},
};

static struct wq *here, *there;

static void make_pair(unsigned i)
{
	here = wq_alloc("here", pairs[i].here, 0);
	there = wq_alloc("there", pairs[i].there, 0);
	assert_true(here && there);
}

static void end_pair(void)
{
	assert_int_equal(wq_destroy(here), 0);
	assert_int_equal(wq_destroy(there), 0);
}

/* Notes where it runs; each run waits to be let go. */
struct roamer {
	struct wq_work work;
	struct wq *ran_on[4], *to;
	unsigned long runs;
	struct latch started, open;
	int self;
};

static void roamer_fn(struct wq_work *work, void *ctx)
{
	struct roamer *r = ctx;

	r->ran_on[r->runs++] = wq_current_wq();
	latch_post(&r->started);
	latch_wait(&r->open, r->runs);
	if (r->to && r->runs == 1)
		r->self = wq_queue(r->to, work);
}

static void start_roamer(struct roamer *r)
{
	memset(r, 0, sizeof(*r));
	latch_init(&r->started);
	latch_init(&r->open);
	wq_work_init(&r->work, roamer_fn, r);
	assert_int_equal(wq_queue_on(here, &r->work, usable_cpu(0)), 1);
	latch_wait(&r->started, 1);
}

static void let_roamer_go(struct roamer *r)
{
	latch_post(&r->open);
	latch_post(&r->open);
	latch_post(&r->open);
}

static void item_running_elsewhere_is_accepted_where_it_runs(void **state)
{
	struct roamer r;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		make_pair(i);
		start_roamer(&r);
		assert_int_equal(wq_queue(there, &r.work), 1);
		assert_int_equal(wq_queue(there, &r.work), 0);
		assert_int_equal(wq_queue(here, &r.work), 0);
		assert_int_equal(wq_work_busy(&r.work), WQ_BUSY_RUNNING | WQ_BUSY_PENDING);
		/* The other queue has nothing to wait for. */
		assert_int_equal(wq_flush(there), 0);
		assert_int_equal(wq_drain(there), 0);
		assert_int_equal(wq_work_cancel(&r.work), 1);
		assert_int_equal(wq_work_busy(&r.work), WQ_BUSY_RUNNING);
		assert_int_equal(wq_queue_on(there, &r.work, usable_cpu(0)), 1);
		let_roamer_go(&r);
		assert_int_equal(wq_flush(here), 0);
		assert_int_equal(r.runs, 2);
		assert_ptr_equal(r.ran_on[0], here);
		assert_ptr_equal(r.ran_on[1], here);
		/* It is idle now, so the queue named is the one. */
		assert_int_equal(wq_queue(there, &r.work), 1);
		assert_int_equal(wq_flush(there), 0);
		assert_int_equal(r.runs, 3);
		assert_ptr_equal(r.ran_on[2], there);
		end_pair();
	}
}

static void item_that_queues_itself_elsewhere_runs_again_where_it_is(void **state)
{
	struct roamer r;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		make_pair(i);
		start_roamer(&r);
		r.to = there;
		let_roamer_go(&r);
		assert_int_equal(wq_flush(there), 0);
		assert_int_equal(wq_drain(here), 0);
		assert_int_equal(r.self, 1);
		assert_int_equal(r.runs, 2);
		assert_ptr_equal(r.ran_on[1], here);
		end_pair();
	}
}

struct second {
	struct wq_work work;
	struct roamer *r;
	unsigned long runs_before;
};

static void second_fn(struct wq_work *work, void *ctx)
{
	struct second *s = ctx;

	s->runs_before = s->r->runs;
}

/* The order of the queue where it runs holds: behind what waits there. */
static void item_running_elsewhere_keeps_the_order_there(void **state)
{
	struct second s;
	struct roamer r;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (!(pairs[i].here & (WQ_ORDERED | WQ_DEDICATED)))
			continue;
		make_pair(i);
		start_roamer(&r);
		s.r = &r;
		s.runs_before = 0;
		wq_work_init(&s.work, second_fn, &s);
		assert_int_equal(wq_queue(here, &s.work), 1);
		assert_int_equal(wq_queue(there, &r.work), 1);
		let_roamer_go(&r);
		assert_int_equal(wq_drain(here), 0);
		assert_int_equal(s.runs_before, 1);
		assert_int_equal(r.runs, 2);
		end_pair();
	}
}

static void plug_of_the_queue_where_it_runs_counts(void **state)
{
	struct roamer r;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		make_pair(i);
		start_roamer(&r);
		r.to = there;
		assert_int_equal(wq_plug(here), 0);
		assert_int_equal(wq_queue(there, &r.work), -ESHUTDOWN);
		assert_int_equal(wq_work_busy(&r.work), WQ_BUSY_RUNNING);
		let_roamer_go(&r);
		assert_int_equal(wq_flush(here), 0);
		assert_int_equal(r.self, -ESHUTDOWN);
		assert_int_equal(wq_flush(there), 0);
		assert_int_equal(r.runs, 1);
		/* Not running any more: the plug is none of its business. */
		assert_int_equal(wq_queue(there, &r.work), 1);
		assert_int_equal(wq_flush(there), 0);
		assert_ptr_equal(r.ran_on[1], there);
		end_pair();
	}
}

static void plug_of_the_queue_named_does_not_count(void **state)
{
	struct roamer r;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		make_pair(i);
		start_roamer(&r);
		assert_int_equal(wq_plug(there), 0);
		assert_int_equal(wq_queue(there, &r.work), 1);
		let_roamer_go(&r);
		assert_int_equal(wq_flush(here), 0);
		assert_int_equal(r.runs, 2);
		assert_ptr_equal(r.ran_on[1], here);
		assert_int_equal(wq_queue(there, &r.work), -ESHUTDOWN);
		end_pair();
	}
}

struct drainer {
	struct wq *wq;
	int (*call)(struct wq *wq), ret;
	struct roamer *r;
	unsigned long runs;
};

static void *drainer_thread(void *ctx)
{
	struct drainer *d = ctx;

	d->ret = d->call(d->wq);
	d->runs = d->r->runs;
	return NULL;
}

static void nop(struct wq_work *work, void *ctx)
{
}

static void await_refusal(struct wq *wq)
{
	struct wq_work work = WQ_WORK_INIT(nop, NULL);

	while (wq_queue(wq, &work) != -ESHUTDOWN) {
		wq_work_cancel(&work);
		sched_yield();
	}
	wq_work_cancel_sync(&work);
}

/* It counts as chained: a drain takes it, from whomever, and waits for it. */
static void drain_where_it_runs_takes_and_awaits_it(void **state)
{
	struct drainer d;
	pthread_t thread;
	struct roamer r;
	unsigned i;

	for (i = 0; i < 2 * ARRAY_SIZE(pairs); i++) {
		make_pair(i / 2);
		start_roamer(&r);
		d = (struct drainer){.wq = here, .call = i & 1 ? wq_drain : wq_destroy, .r = &r};
		pthread_create(&thread, NULL, drainer_thread, &d);
		await_refusal(here);
		/* In its own pool it is queued to the queue named, which refuses strangers. */
		assert_int_equal(wq_queue_on(here, &r.work, usable_cpu(0)), -ESHUTDOWN);
		assert_int_equal(wq_queue(there, &r.work), 1);
		let_roamer_go(&r);
		pthread_join(thread, NULL);
		assert_int_equal(d.ret, 0);
		assert_int_equal(d.runs, 2);
		assert_ptr_equal(r.ran_on[1], here);
		assert_int_equal(wq_queue(there, &r.work), 1);
		assert_int_equal(wq_destroy(there), 0);
		assert_int_equal(r.runs, 3);
		if (i & 1)
			assert_int_equal(wq_destroy(here), 0);
	}
}

static void drain_of_the_queue_named_does_not_count(void **state)
{
	struct roamer r, holder;
	struct drainer d;
	pthread_t thread;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct wq *swapped;

		make_pair(i);
		start_roamer(&r);
		swapped = here;
		here = there;
		start_roamer(&holder);
		here = swapped;
		d = (struct drainer){.wq = there, .call = wq_drain, .r = &holder};
		pthread_create(&thread, NULL, drainer_thread, &d);
		await_refusal(there);
		assert_int_equal(wq_queue(there, &r.work), 1);
		let_roamer_go(&holder);
		/* Which the first item, still running, does not hold up. */
		pthread_join(thread, NULL);
		assert_int_equal(d.ret, 0);
		assert_int_equal(r.runs, 1);
		let_roamer_go(&r);
		assert_int_equal(wq_flush(here), 0);
		assert_int_equal(r.runs, 2);
		end_pair();
	}
}

static void freeze_of_the_queue_where_it_runs_counts(void **state)
{
	struct roamer r;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		here = wq_alloc("here", pairs[i].here | WQ_FREEZABLE, 0);
		there = wq_alloc("there", pairs[i].there, 0);
		start_roamer(&r);
		assert_int_equal(wq_freeze_all(), 0);
		assert_int_equal(wq_queue(there, &r.work), 1);
		let_roamer_go(&r);
		while (wq_freeze_busy())
			sched_yield();
		assert_int_equal(wq_drain(there), 0);
		assert_int_equal(r.runs, 1);
		assert_int_equal(wq_work_busy(&r.work), WQ_BUSY_PENDING);
		assert_int_equal(wq_thaw_all(), 0);
		assert_int_equal(wq_flush(here), 0);
		assert_int_equal(r.runs, 2);
		assert_ptr_equal(r.ran_on[1], here);
		end_pair();
	}
}

struct storm {
	struct wq *wq[5];
	struct wq_work works[3];
	unsigned long inside[3], accepted[3], runs[3], wrong, stop;
};

static void storm_fn(struct wq_work *work, void *ctx)
{
	struct storm *storm = ctx;
	size_t i = (size_t)(work - storm->works);

	if (count_up(&storm->inside[i]) != 1)
		count_up(&storm->wrong);
	storm->runs[i]++;
	count_add(&storm->inside[i], -1);
}

static void storm_thread(void *ctx, unsigned index)
{
	struct storm *storm = ctx;
	uint64_t rng = test_seed() + index;
	unsigned long i, rounds = scaled(20000);

	for (i = 0; i < rounds; i++) {
		struct wq *wq = storm->wq[random_next(&rng) % ARRAY_SIZE(storm->wq)];
		size_t which = random_next(&rng) % ARRAY_SIZE(storm->works);
		int ret;

		if (!index && i % 8 == 0) {
			(void)(random_next(&rng) & 1 ? wq_plug(wq) : wq_unplug(wq));
			continue;
		}
		ret = wq_queue(wq, &storm->works[which]);
		if (ret == 1)
			count_up(&storm->accepted[which]);
		else if (ret && ret != -ESHUTDOWN)
			count_up(&storm->wrong);
		if (index == 1 && i % 64 == 0 && wq_flush(wq))
			count_up(&storm->wrong);
	}
}

/* G1, G2 with queues of all kinds that are plugged and unplugged meanwhile. */
static void items_on_all_kinds_of_queues_run_once_per_acceptance(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED | WQ_HIGHPRI, WQ_DEDICATED,
					 WQ_DEDICATED | WQ_HIGHPRI};
	static struct storm storm;
	unsigned i;

	memset(&storm, 0, sizeof(storm));
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		storm.wq[i] = wq_alloc("storm", kinds[i], 0);
	for (i = 0; i < ARRAY_SIZE(storm.works); i++)
		wq_work_init(&storm.works[i], storm_fn, &storm);
	run_threads(4, storm_thread, &storm);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		assert_int_equal(wq_destroy(storm.wq[i]), 0);
	assert_int_equal(storm.wrong, 0);
	for (i = 0; i < ARRAY_SIZE(storm.works); i++) {
		assert_true(storm.accepted[i] > 0);
		assert_int_equal(storm.runs[i], storm.accepted[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(item_running_elsewhere_is_accepted_where_it_runs),
		cmocka_unit_test(item_that_queues_itself_elsewhere_runs_again_where_it_is),
		cmocka_unit_test(item_running_elsewhere_keeps_the_order_there),
		cmocka_unit_test(plug_of_the_queue_where_it_runs_counts),
		cmocka_unit_test(plug_of_the_queue_named_does_not_count),
		cmocka_unit_test(drain_where_it_runs_takes_and_awaits_it),
		cmocka_unit_test(drain_of_the_queue_named_does_not_count),
		cmocka_unit_test(freeze_of_the_queue_where_it_runs_counts),
		cmocka_unit_test(items_on_all_kinds_of_queues_run_once_per_acceptance),
	};

	test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
