/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cancel_sync in company: many callers on one item, queueing and enabling meanwhile. */
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

/* A running item that is being cancelled, and tries to queue itself at the end of its first run. */
struct cancelled {
	struct wq_work work;
	struct latch started, open;
	pthread_t thread;
	unsigned long ended, runs;
	int own, other, ret;
	unsigned long ended_before;
};

static void cancelled_fn(struct wq_work *work, void *ctx)
{
	struct cancelled *c = ctx;

	if (count_up(&c->runs) > 1)
		return;
	latch_post(&c->started);
	latch_wait(&c->open, 1);
	c->own = wq_queue(wq, work);
	c->other = wq_queue(plugged, work);
	count_up(&c->ended);
}

static void *cancel_thread(void *ctx)
{
	struct cancelled *c = ctx;

	c->ret = wq_work_cancel_sync(&c->work);
	c->ended_before = count_get(&c->ended);
	return NULL;
}

static bool is_being_cancelled(struct wq_work *work)
{
	return wq_work_busy(work) & (WQ_BUSY_CANCELING | WQ_BUSY_DISABLED);
}

/* On return cancel_sync has begun, and can't end before cancelled_end(). */
static void cancelled_start(struct cancelled *c)
{
	memset(c, 0, sizeof(*c));
	latch_init(&c->started);
	latch_init(&c->open);
	wq_work_init(&c->work, cancelled_fn, c);
	assert_int_equal(wq_queue(wq, &c->work), 1);
	latch_wait(&c->started, 1);
	pthread_create(&c->thread, NULL, cancel_thread, c);
	while (!is_being_cancelled(&c->work))
		sched_yield();
}

static void cancelled_end(struct cancelled *c)
{
	latch_post(&c->open);
	pthread_join(c->thread, NULL);
	assert_int_equal(c->ret, 0);
	assert_int_equal(c->ended_before, 1);
	assert_int_equal(c->own, -EBUSY);
	assert_int_equal(c->other, -EBUSY);
}

static void expect_usable(struct cancelled *c)
{
	unsigned long runs = c->runs;

	assert_int_equal(wq_work_enable(&c->work), -EINVAL);
	assert_int_equal(wq_work_busy(&c->work), 0);
	assert_int_equal(wq_queue(wq, &c->work), 1);
	wq_work_flush(&c->work);
	assert_int_equal(c->runs, runs + 1);
}

static void queueing_during_cancel_sync_answers_ebusy(void **state)
{
	struct wq *other = wq_alloc("other", WQ_HIGHPRI, 0);
	struct cancelled c;

	cancelled_start(&c);
	assert_int_equal(wq_queue(wq, &c.work), -EBUSY);
	assert_int_equal(wq_queue(other, &c.work), -EBUSY);
	assert_int_equal(wq_queue(plugged, &c.work), -EBUSY);
	assert_int_equal(wq_queue_on(other, &c.work, usable_cpu(0)), -EBUSY);
	assert_int_equal(wq_queue_node(wq, &c.work, 0), -EBUSY);
	assert_int_equal(wq_schedule(&c.work), -EBUSY);
	cancelled_end(&c);
	expect_usable(&c);
	assert_int_equal(wq_destroy(other), 0);
}

/* What cancel_sync does to keep queueing out must not pass for a disable. */
static void enable_during_cancel_sync_answers_einval(void **state)
{
	struct cancelled c;

	cancelled_start(&c);
	assert_int_equal(wq_work_enable(&c.work), -EINVAL);
	assert_int_equal(wq_enable_and_queue(wq, &c.work), -EINVAL);
	assert_int_equal(wq_queue(wq, &c.work), -EBUSY);
	cancelled_end(&c);
	expect_usable(&c);
}

static void disable_during_cancel_sync_outlives_it(void **state)
{
	struct cancelled c;

	cancelled_start(&c);
	assert_int_equal(wq_work_disable(&c.work), 0);
	assert_int_equal(wq_work_disable(&c.work), 0);
	assert_int_equal(wq_work_enable(&c.work), 0);
	cancelled_end(&c);
	assert_int_equal(wq_work_busy(&c.work), WQ_BUSY_DISABLED);
	assert_int_equal(wq_queue(wq, &c.work), -EBUSY);
	assert_int_equal(wq_work_enable(&c.work), 1);
	expect_usable(&c);
}

/* Enabled by its last owner, but still being cancelled: not queued. */
static void enable_and_queue_during_cancel_sync_does_not_queue(void **state)
{
	struct cancelled c;

	cancelled_start(&c);
	assert_int_equal(wq_work_disable(&c.work), 0);
	assert_int_equal(wq_enable_and_queue(wq, &c.work), -EBUSY);
	cancelled_end(&c);
	assert_int_equal(c.runs, 1);
	expect_usable(&c);
}

struct rival {
	struct wq *wq;
	struct wq_work work;
	unsigned long runs, stop;
};

static void rival_fn(struct wq_work *work, void *ctx)
{
	struct rival *rival = ctx;

	count_up(&rival->runs);
}

static void *rival_thread(void *ctx)
{
	struct rival *rival = ctx;

	while (!count_get(&rival->stop))
		wq_queue(rival->wq, &rival->work);
	return NULL;
}

/* Whoever queues it once it is enabled: the run that follows is also the caller's. */
static void enable_and_queue_beside_a_rival_answers_one(void **state)
{
	unsigned long round, rounds = scaled(30000);
	struct rival rival = {.wq = wq_alloc("rival", WQ_ORDERED, 0)};
	struct probe gate;
	pthread_t thread;

	probe_init_gate(&gate);
	assert_int_equal(wq_queue(rival.wq, &gate.work), 1);
	latch_wait(&gate.started, 1);
	wq_work_init(&rival.work, rival_fn, &rival);
	pthread_create(&thread, NULL, rival_thread, &rival);
	for (round = 0; round < rounds; round++) {
		assert_in_range(wq_work_disable_sync(&rival.work), 0, 1);
		assert_int_equal(wq_enable_and_queue(rival.wq, &rival.work), 1);
		assert_true(wq_work_pending(&rival.work));
	}
	count_set(&rival.stop, 1);
	pthread_join(thread, NULL);
	latch_post(&gate.open);
	assert_int_equal(wq_destroy(rival.wq), 0);
	assert_int_equal(rival.runs, 1);
}

struct crowd {
	struct probe probe;
	unsigned long arrived, left, wrong;
	int (*call[2])(struct wq_work *work);
};

static void *crowd_thread(void *ctx)
{
	struct crowd *crowd = ctx;
	unsigned long i = count_up(&crowd->arrived);
	int ret = crowd->call[i & 1](&crowd->probe.work);

	if (ret || !count_get(&crowd->probe.ended.count))
		count_up(&crowd->wrong);
	count_up(&crowd->left);
	return NULL;
}

static void crowd_run(int (*even)(struct wq_work *), int (*odd)(struct wq_work *))
{
	struct crowd crowd = {.call = {even, odd}};
	pthread_t threads[40];
	unsigned i;

	probe_init_gate(&crowd.probe);
	assert_int_equal(wq_queue(wq, &crowd.probe.work), 1);
	latch_wait(&crowd.probe.started, 1);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_thread, &crowd), 0);
	while (count_get(&crowd.arrived) < ARRAY_SIZE(threads))
		sched_yield();
	assert_int_equal(wq_queue(wq, &crowd.probe.work), -EBUSY);
	assert_int_equal(count_get(&crowd.left), 0);
	latch_post(&crowd.probe.open);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(crowd.wrong, 0);
	assert_int_equal(crowd.probe.runs, 1);
	for (i = 0; odd == wq_work_disable_sync && i < ARRAY_SIZE(threads) / 2; i++)
		assert_int_equal(wq_work_enable(&crowd.probe.work),
				 i + 1 == ARRAY_SIZE(threads) / 2);
	assert_int_equal(wq_work_enable(&crowd.probe.work), -EINVAL);
	assert_int_equal(wq_work_busy(&crowd.probe.work), 0);
	assert_int_equal(wq_queue(wq, &crowd.probe.work), 1);
	wq_work_flush(&crowd.probe.work);
	assert_int_equal(crowd.probe.runs, 2);
}

static void cancel_sync_of_forty_callers_all_return(void **state)
{
	unsigned long round, rounds = scaled(50);

	for (round = 0; round < rounds; round++)
		crowd_run(wq_work_cancel_sync, wq_work_cancel_sync);
}

static void cancel_sync_beside_disable_sync_keeps_the_depth(void **state)
{
	unsigned long round, rounds = scaled(50);

	for (round = 0; round < rounds; round++)
		crowd_run(wq_work_cancel_sync, wq_work_disable_sync);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queueing_during_cancel_sync_answers_ebusy),
		cmocka_unit_test(enable_during_cancel_sync_answers_einval),
		cmocka_unit_test(disable_during_cancel_sync_outlives_it),
		cmocka_unit_test(enable_and_queue_during_cancel_sync_does_not_queue),
		cmocka_unit_test(enable_and_queue_beside_a_rival_answers_one),
		cmocka_unit_test(cancel_sync_of_forty_callers_all_return),
		cmocka_unit_test(cancel_sync_beside_disable_sync_keeps_the_depth),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
