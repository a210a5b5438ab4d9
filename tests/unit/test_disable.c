/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disabling and enabling items: the depth, what it takes back and whom it refuses. */
#include "support.h"

#include <sched.h>

static struct wq *wq, *plugged;

static int setup(void **state)
{
	wq = wq_alloc("test", 0, 0);
	plugged = wq_alloc("plugged", 0, 0);
	return wq && plugged ? wq_plug(plugged) : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq) || wq_destroy(plugged);
}

/* The item is enabled and idle, and runs when it is queued. */
static void expect_usable(struct probe *probe)
{
	unsigned long runs = probe->runs;

	assert_int_equal(wq_work_busy(&probe->work), 0);
	assert_int_equal(wq_work_enable(&probe->work), -EINVAL);
	latch_post(&probe->open);
	assert_int_equal(wq_queue(wq, &probe->work), 1);
	wq_work_flush(&probe->work);
	assert_int_equal(probe->runs, runs + 1);
	assert_int_equal(wq_work_busy(&probe->work), 0);
}

static void start_gate(struct probe *probe)
{
	probe_init_gate(probe);
	assert_int_equal(wq_queue(wq, &probe->work), 1);
	latch_wait(&probe->started, 1);
}

/* --- the depth --- */

static void disable_nests_until_the_last_enable(void **state)
{
	struct probe probe;
	unsigned i;

	probe_init(&probe);
	for (i = 0; i < 3; i++)
		assert_int_equal(wq_work_disable(&probe.work), 0);
	assert_int_equal(wq_work_disable_sync(&probe.work), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_DISABLED);
		assert_false(wq_work_pending(&probe.work));
		assert_int_equal(wq_queue(wq, &probe.work), -EBUSY);
		assert_int_equal(wq_work_flush(&probe.work), 0);
		assert_int_equal(wq_work_enable(&probe.work), 0);
	}
	assert_int_equal(wq_queue(wq, &probe.work), -EBUSY);
	assert_int_equal(wq_work_enable(&probe.work), 1);
	/* To enable does not queue. */
	assert_int_equal(probe.runs, 0);
	expect_usable(&probe);
}

/* The item has run, so that there is something behind the depth to be spoilt. */
static void disable_at_the_limit_answers_eoverflow(void **state)
{
	struct probe probe;
	unsigned i;

	probe_init(&probe);
	expect_usable(&probe);
	for (i = 0; i < WQ_MAX_DISABLE_DEPTH; i++)
		if (wq_work_disable(&probe.work))
			fail();
	assert_int_equal(wq_work_disable(&probe.work), -EOVERFLOW);
	assert_int_equal(wq_work_disable_sync(&probe.work), -EOVERFLOW);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_DISABLED);
	/* Cancelling has no limit. */
	assert_int_equal(wq_work_cancel(&probe.work), 0);
	assert_int_equal(wq_work_cancel_sync(&probe.work), 0);
	assert_int_equal(wq_queue(wq, &probe.work), -EBUSY);
	for (i = 1; i < WQ_MAX_DISABLE_DEPTH; i++)
		if (wq_work_enable(&probe.work))
			fail();
	assert_int_equal(wq_work_enable(&probe.work), 1);
	expect_usable(&probe);
}

static void *open_gate_thread(void *ctx)
{
	struct probe *probe = ctx;

	latch_post(&probe->open);
	return NULL;
}

static void cancel_sync_at_the_limit_waits(void **state)
{
	struct probe probe;
	pthread_t thread;
	unsigned i;

	start_gate(&probe);
	for (i = 0; i < WQ_MAX_DISABLE_DEPTH; i++)
		wq_work_disable(&probe.work);
	pthread_create(&thread, NULL, open_gate_thread, &probe);
	assert_int_equal(wq_work_cancel_sync(&probe.work), 0);
	assert_int_equal(probe.ended.count, 1);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_DISABLED);
	pthread_join(thread, NULL);
	for (i = 1; i < WQ_MAX_DISABLE_DEPTH; i++)
		wq_work_enable(&probe.work);
	assert_int_equal(wq_work_enable(&probe.work), 1);
	expect_usable(&probe);
}

static void enable_without_disable_answers_einval(void **state)
{
	struct probe probe;

	start_gate(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_int_equal(wq_work_enable(&probe.work), -EINVAL);
	assert_int_equal(wq_enable_and_queue(wq, &probe.work), -EINVAL);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_RUNNING | WQ_BUSY_PENDING);
	latch_post(&probe.open);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 2);
	expect_usable(&probe);
}

static void depth_survives_cancel_sync(void **state)
{
	struct probe probe;
	pthread_t thread;

	start_gate(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_int_equal(wq_work_disable(&probe.work), 1);
	assert_int_equal(wq_work_disable(&probe.work), 0);
	pthread_create(&thread, NULL, open_gate_thread, &probe);
	assert_int_equal(wq_work_cancel_sync(&probe.work), 0);
	pthread_join(thread, NULL);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_DISABLED);
	assert_int_equal(wq_work_enable(&probe.work), 0);
	assert_int_equal(wq_work_enable(&probe.work), 1);
	assert_int_equal(probe.runs, 1);
	expect_usable(&probe);
}

/* --- pending, running, and the item's own function --- */

static void disable_pending_item_takes_it_back(void **state)
{
	static const unsigned flags[] = {WQ_ORDERED, WQ_PERCPU, WQ_DEDICATED};
	struct probe gate, probe, sync;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct wq *one = wq_alloc("one", flags[i], 1);

		probe_init_gate(&gate);
		probe_init(&probe);
		probe_init(&sync);
		assert_int_equal(wq_queue_on(one, &gate.work, usable_cpu(0)), 1);
		latch_wait(&gate.started, 1);
		assert_int_equal(wq_queue_on(one, &probe.work, usable_cpu(0)), 1);
		assert_int_equal(wq_queue_on(one, &sync.work, usable_cpu(0)), 1);
		assert_int_equal(wq_work_disable(&probe.work), 1);
		assert_int_equal(wq_work_disable(&probe.work), 0);
		assert_int_equal(wq_work_disable_sync(&sync.work), 1);
		assert_int_equal(wq_work_busy(&sync.work), WQ_BUSY_DISABLED);
		latch_post(&gate.open);
		assert_int_equal(wq_destroy(one), 0);
		assert_int_equal(probe.runs + sync.runs, 0);
		assert_int_equal(wq_work_enable(&sync.work), 1);
		expect_usable(&sync);
	}
}

struct tries {
	struct wq_work work;
	struct wq *other;
	struct latch started, open;
	int (*call)(struct wq_work *work);
	int before, ret, own, elsewhere, on, node, schedule;
	unsigned long runs;
};

/* Queues itself, makes its call, and tries all ways of being queued again. */
static void tries_fn(struct wq_work *work, void *ctx)
{
	struct tries *t = ctx;

	count_up(&t->runs);
	t->before = wq_queue(wq, work);
	latch_post(&t->started);
	latch_wait(&t->open, 1);
	t->ret = t->call ? t->call(work) : 0;
	t->own = wq_queue(wq, work);
	t->elsewhere = wq_queue(t->other, work);
	t->on = wq_queue_on(wq, work, usable_cpu(0));
	t->node = wq_queue_node(wq, work, 0);
	t->schedule = wq_schedule(work);
}

static void tries_start(struct tries *t, int (*call)(struct wq_work *work))
{
	memset(t, 0, sizeof(*t));
	t->other = plugged;
	t->call = call;
	latch_init(&t->started);
	latch_init(&t->open);
	wq_work_init(&t->work, tries_fn, t);
	assert_int_equal(wq_queue(wq, &t->work), 1);
	latch_wait(&t->started, 1);
}

static void expect_refused_everywhere(const struct tries *t)
{
	assert_int_equal(t->before, 1);
	assert_int_equal(t->own, -EBUSY);
	assert_int_equal(t->elsewhere, -EBUSY);
	assert_int_equal(t->on, -EBUSY);
	assert_int_equal(t->node, -EBUSY);
	assert_int_equal(t->schedule, -EBUSY);
	assert_int_equal(t->runs, 1);
}

static void disabled_running_item_can_not_queue_itself(void **state)
{
	struct tries t;

	tries_start(&t, NULL);
	assert_int_equal(wq_work_disable(&t.work), 1); /* it had queued itself */
	assert_int_equal(wq_work_busy(&t.work), WQ_BUSY_RUNNING | WQ_BUSY_DISABLED);
	assert_int_equal(wq_queue(wq, &t.work), -EBUSY);
	assert_int_equal(wq_schedule(&t.work), -EBUSY);
	latch_post(&t.open);
	wq_work_flush(&t.work);
	expect_refused_everywhere(&t);
	assert_int_equal(wq_work_enable(&t.work), 1);
}

static void disable_of_itself_cancels(void **state)
{
	int (*const call[])(struct wq_work *) = {wq_work_disable, wq_work_disable_sync};
	struct tries t;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(call); i++) {
		tries_start(&t, call[i]);
		latch_post(&t.open);
		wq_work_flush(&t.work);
		assert_int_equal(t.ret, i ? -EDEADLK : 1);
		assert_int_equal(wq_work_cancel_sync(&t.work), 0);
		expect_refused_everywhere(&t);
		assert_int_equal(wq_work_busy(&t.work), WQ_BUSY_DISABLED);
		assert_int_equal(wq_work_enable(&t.work), 1);
		assert_int_equal(wq_work_enable(&t.work), -EINVAL);
	}
}

static void *open_when_disabled(void *ctx)
{
	struct probe *probe = ctx;

	while (wq_work_busy(&probe->work) != (WQ_BUSY_RUNNING | WQ_BUSY_DISABLED))
		sched_yield();
	latch_post(&probe->open);
	return NULL;
}

static void disable_sync_running_item_waits(void **state)
{
	struct probe probe;
	pthread_t thread;

	start_gate(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	pthread_create(&thread, NULL, open_when_disabled, &probe);
	assert_int_equal(wq_work_disable_sync(&probe.work), 1);
	assert_int_equal(probe.ended.count, 1);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_DISABLED);
	pthread_join(thread, NULL);
	assert_int_equal(wq_work_enable(&probe.work), 1);
	assert_int_equal(probe.runs, 1);
	expect_usable(&probe);
}

struct forever {
	struct wq_work work;
	struct wq *wq;
	unsigned long runs; /* plain: what disable_sync orders */
	struct latch started;
};

static void forever_fn(struct wq_work *work, void *ctx)
{
	struct forever *f = ctx;

	if (!f->runs++)
		latch_post(&f->started);
	wq_queue(f->wq, work);
}

static void disable_sync_ends_an_item_that_requeues_itself(void **state)
{
	static const unsigned flags[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_DEDICATED};
	unsigned long round, rounds = scaled(400), runs;
	struct forever f;

	for (round = 0; round < rounds; round++) {
		memset(&f, 0, sizeof(f));
		latch_init(&f.started);
		f.wq = wq_alloc("forever", flags[round % ARRAY_SIZE(flags)], 0);
		wq_work_init(&f.work, forever_fn, &f);
		wq_queue(f.wq, &f.work);
		latch_wait(&f.started, 1);
		assert_in_range(wq_work_disable_sync(&f.work), 0, 1);
		assert_int_equal(wq_work_busy(&f.work), WQ_BUSY_DISABLED);
		runs = f.runs++;
		assert_int_equal(wq_destroy(f.wq), 0);
		assert_int_equal(f.runs, runs + 1);
	}
}

/* --- wq_enable_and_queue --- */

static void enable_and_queue_answers(void **state)
{
	struct probe probe;

	probe_init(&probe);
	wq_work_disable(&probe.work);
	wq_work_disable(&probe.work);
	assert_int_equal(wq_enable_and_queue(wq, &probe.work), 0);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_DISABLED);
	assert_int_equal(wq_enable_and_queue(wq, &probe.work), 1);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 1);

	wq_work_disable(&probe.work);
	wq_work_disable(&probe.work);
	assert_int_equal(wq_enable_and_queue(plugged, &probe.work), 0);
	assert_int_equal(wq_enable_and_queue(plugged, &probe.work), -ESHUTDOWN);
	expect_usable(&probe);
	assert_int_equal(wq_enable_and_queue(wq, &probe.work), -EINVAL);
	assert_int_equal(probe.runs, 2);
}

struct crowd {
	struct probe probe;
	unsigned long ones, wrong;
};

static void crowd_enable_and_queue(void *ctx, unsigned index)
{
	struct crowd *crowd = ctx;
	int ret;

	if (wq_work_disable_sync(&crowd->probe.work) < 0)
		count_up(&crowd->wrong);
	sched_yield();
	ret = wq_enable_and_queue(wq, &crowd->probe.work);
	if (ret == 1)
		count_up(&crowd->ones);
	else if (ret && ret != -EBUSY) /* enabled, and disabled again by another one */
		count_up(&crowd->wrong);
}

/* Whoever enables last finds the depth at 0, and nobody disables after it. */
static void enable_and_queue_of_the_last_one_lets_it_run(void **state)
{
	unsigned long round, rounds = scaled(500);
	struct crowd crowd;

	for (round = 0; round < rounds; round++) {
		memset(&crowd, 0, sizeof(crowd));
		probe_init(&crowd.probe);
		run_threads(4, crowd_enable_and_queue, &crowd);
		wq_work_flush(&crowd.probe.work);
		assert_int_equal(crowd.wrong, 0);
		assert_in_range(crowd.ones, 1, 4);
		assert_in_range(crowd.probe.runs, 1, crowd.ones);
		assert_int_equal(wq_work_busy(&crowd.probe.work), 0);
	}
}

/* --- several threads --- */

struct balance {
	struct wq_work work;
	unsigned long data; /* plain: written by the item, read by who holds it disabled */
	unsigned long inside, wrong, stop, refused;
};

static void balance_fn(struct wq_work *work, void *ctx)
{
	struct balance *b = ctx;

	count_set(&b->inside, 1);
	b->data++;
	sched_yield();
	count_set(&b->inside, 0);
}

static void balance_hold(struct balance *b, unsigned depth)
{
	unsigned long seen;
	unsigned i;

	for (i = 0; i < depth; i++)
		if (wq_work_disable_sync(&b->work) < 0)
			count_up(&b->wrong);
	seen = b->data;
	for (i = 0; i < 3; i++) {
		/* Another thread may be in wq_work_cancel_sync(). */
		if ((wq_work_busy(&b->work) & ~WQ_BUSY_CANCELING) != WQ_BUSY_DISABLED ||
		    count_get(&b->inside))
			count_up(&b->wrong);
		sched_yield();
	}
	if (b->data != seen || wq_queue(wq, &b->work) != -EBUSY)
		count_up(&b->wrong);
	while (depth--)
		if (wq_work_enable(&b->work) < 0)
			count_up(&b->wrong);
}

static void balance_thread(void *ctx, unsigned index)
{
	unsigned long i, rounds = scaled(3000);
	struct balance *b = ctx;
	int ret;

	for (i = 0; i < rounds; i++) {
		if (index < 3) {
			balance_hold(b, 1 + i % 3);
			continue;
		}
		ret = wq_queue(i & 1 ? wq : wq_system_percpu(), &b->work);
		if (ret == -EBUSY)
			count_up(&b->refused);
		else if (ret != 0 && ret != 1)
			count_up(&b->wrong);
		if (i % 16 == 0)
			wq_work_cancel_sync(&b->work);
	}
}

static void disables_of_several_threads_keep_it_out_and_balance(void **state)
{
	struct balance b;

	memset(&b, 0, sizeof(b));
	wq_work_init(&b.work, balance_fn, &b);
	run_threads(5, balance_thread, &b);
	assert_int_equal(b.wrong, 0);
	assert_int_equal(wq_work_enable(&b.work), -EINVAL);
	wq_work_cancel_sync(&b.work);
	assert_int_equal(wq_work_busy(&b.work), 0);
	assert_int_equal(wq_queue(wq, &b.work), 1);
	wq_work_flush(&b.work);
	assert_true(b.data > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disable_nests_until_the_last_enable),
		cmocka_unit_test(disable_at_the_limit_answers_eoverflow),
		cmocka_unit_test(cancel_sync_at_the_limit_waits),
		cmocka_unit_test(enable_without_disable_answers_einval),
		cmocka_unit_test(depth_survives_cancel_sync),
		cmocka_unit_test(disable_pending_item_takes_it_back),
		cmocka_unit_test(disabled_running_item_can_not_queue_itself),
		cmocka_unit_test(disable_of_itself_cancels),
		cmocka_unit_test(disable_sync_running_item_waits),
		cmocka_unit_test(disable_sync_ends_an_item_that_requeues_itself),
		cmocka_unit_test(enable_and_queue_answers),
		cmocka_unit_test(enable_and_queue_of_the_last_one_lets_it_run),
		cmocka_unit_test(disables_of_several_threads_keep_it_out_and_balance),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
