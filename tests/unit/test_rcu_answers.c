/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the calls answer for RCU items that wait for a grace period, or for their queue. */
#include "flavors.h"
#include "process.h"

#include <sched.h>

static struct wq *wq;

static int setup(void **state)
{
	wq = wq_alloc("answers", 0, 0);
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

static void nop(struct wq_work *work, void *ctx)
{
}

/*
 * All that was queued for a grace period of that flavour before has been let go, to its
 * queue or to wait for that: it is done in the order of queueing.
 */
static void await_grace_period(const struct rcu_flavor_struct *rcu)
{
	struct guarded marker;

	guarded_init(&marker, NULL);
	assert_true(guarded_runs(&marker, wq, rcu));
}

/* --- waiting for the grace period --- */

static void armed_item_is_queued_already(void **state)
{
	struct reader reader;
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		reader_start(&reader, flavors[f]);
		guarded_init(&item, &reader);
		assert_false(wq_rcu_work_pending(&item.rw));
		assert_int_equal(wq_rcu_work_busy(&item.rw), 0);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), 1);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), 0);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[(f + 1) % NR_FLAVORS]), 0);
		assert_int_equal(wq_queue_rcu(wq_system(), &item.rw, flavors[f]), 0);
		assert_int_equal(wq_queue(wq, &item.rw.work), 0);
		assert_int_equal(wq_schedule(&item.rw.work), 0);
		assert_true(wq_rcu_work_pending(&item.rw));
		assert_true(wq_work_pending(&item.rw.work));
		assert_int_equal(wq_rcu_work_busy(&item.rw), WQ_BUSY_DELAYED);
		assert_int_equal(wq_work_busy(&item.rw.work), WQ_BUSY_DELAYED);
		reader_end(&reader);
		latch_wait(&item.ended, 1);
		await_grace_period(flavors[f]);
		wq_rcu_work_flush(&item.rw);
		assert_int_equal(item.runs, 1);
		assert_int_equal(item.early, 0);
		assert_int_equal(wq_rcu_work_busy(&item.rw), 0);
	}
}

static void armed_item_cannot_be_taken_back(void **state)
{
	int (*const call[])(struct wq_work *) = {wq_work_cancel, wq_work_cancel_sync,
						 wq_work_disable, wq_work_disable_sync};
	struct reader reader;
	struct guarded item;
	unsigned f, i;

	for (f = 0; f < NR_FLAVORS; f++) {
		reader_start(&reader, flavors[f]);
		guarded_init(&item, &reader);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), 1);
		for (i = 0; i < ARRAY_SIZE(call); i++) {
			assert_int_equal(call[i](&item.rw.work), -EBUSY);
			assert_int_equal(wq_rcu_work_busy(&item.rw), WQ_BUSY_DELAYED);
			assert_int_equal(wq_work_enable(&item.rw.work), -EINVAL);
		}
		reader_end(&reader);
		latch_wait(&item.ended, 1);
		wq_rcu_work_flush(&item.rw);
		assert_int_equal(item.runs, 1);
		/* It is not disabled, and neither is it being cancelled. */
		assert_true(guarded_runs(&item, wq, flavors[f]));
		assert_int_equal(wq_queue(wq, &item.rw.work), 1);
		latch_wait(&item.ended, 2);
		wq_rcu_work_flush(&item.rw);
	}
}

struct own {
	struct guarded next;
	const struct rcu_flavor_struct *rcu;
	struct wq_rcu_work rw;
	unsigned long runs;
	struct latch ended;
	int queue, cancel, cancel_sync, disable, disable_sync, flush, busy;
};

/* Armed again, it is no more to be cancelled than from outside. */
static void own_fn(struct wq_work *work, void *ctx)
{
	struct own *own = ctx;

	if (count_up(&own->runs) == 1) {
		own->queue = wq_queue_rcu(wq, &own->rw, own->rcu);
		own->cancel = wq_work_cancel(work);
		own->cancel_sync = wq_work_cancel_sync(work);
		own->disable = wq_work_disable(work);
		own->disable_sync = wq_work_disable_sync(work);
		own->flush = wq_rcu_work_flush(&own->rw);
		own->busy = (int)wq_work_busy(work);
	}
	latch_post(&own->ended);
}

static void armed_item_cannot_be_taken_back_by_its_own_function(void **state)
{
	struct reader reader;
	struct own own;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		memset(&own, 0, sizeof(own));
		own.rcu = flavors[f];
		latch_init(&own.ended);
		wq_rcu_work_init(&own.rw, own_fn, &own);
		reader_start(&reader, flavors[f]);
		assert_int_equal(wq_queue(wq, &own.rw.work), 1);
		latch_wait(&own.ended, 1);
		assert_int_equal(own.queue, 1);
		assert_int_equal(own.cancel, -EBUSY);
		assert_int_equal(own.cancel_sync, -EBUSY);
		assert_int_equal(own.disable, -EBUSY);
		assert_int_equal(own.disable_sync, -EBUSY);
		assert_int_equal(own.flush, -EDEADLK);
		assert_int_equal(own.busy, WQ_BUSY_DELAYED | WQ_BUSY_RUNNING);
		reader_end(&reader);
		latch_wait(&own.ended, 2);
		assert_int_equal(wq_work_cancel_sync(&own.rw.work), 0);
		assert_int_equal(own.runs, 2);
	}
}

static void disabled_item_is_refused(void **state)
{
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		assert_int_equal(wq_work_disable(&item.rw.work), 0);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), -EBUSY);
		assert_int_equal(wq_rcu_work_busy(&item.rw), WQ_BUSY_DISABLED);
		assert_int_equal(wq_work_enable(&item.rw.work), 1);
		assert_true(guarded_runs(&item, wq, flavors[f]));
	}
}

static void queue_with_an_armed_item_is_not_destroyed(void **state)
{
	struct reader reader;
	struct guarded item;
	struct probe probe;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		struct wq *held = wq_alloc("held", 0, 0);

		reader_start(&reader, flavors[f]);
		guarded_init(&item, &reader);
		assert_int_equal(wq_queue_rcu(held, &item.rw, flavors[f]), 1);
		assert_int_equal(wq_destroy(held), -EBUSY);
		/* It goes on as if nothing had been; what is armed is not waited for. */
		probe_init(&probe);
		assert_int_equal(wq_queue(held, &probe.work), 1);
		assert_int_equal(wq_flush(held), 0);
		assert_int_equal(probe.runs, 1);
		assert_int_equal(wq_drain(held), 0);
		assert_int_equal(item.runs, 0);
		reader_end(&reader);
		latch_wait(&item.ended, 1);
		assert_int_equal(wq_destroy(held), 0);
		assert_int_equal(item.early, 0);
	}
}

static void shutdown_waits_for_no_item_and_ends_the_threads(void **state)
{
	struct guarded item, others[NR_FLAVORS];
	struct reader reader;
	unsigned f, i;

	for (f = 0; f < NR_FLAVORS; f++) {
		reader_start(&reader, flavors[f]);
		guarded_init(&item, &reader);
		assert_int_equal(wq_queue_rcu(wq_system(), &item.rw, flavors[f]), 1);
		assert_int_equal(wq_shutdown(), -EBUSY);
		for (i = 0; i < NR_FLAVORS; i++) {
			guarded_init(&others[i], NULL);
			if (i != f)
				assert_true(guarded_runs(&others[i], wq_system(), flavors[i]));
		}
		/* The one that has still to begin has no name yet. */
		while (nr_threads("wq/rcu") < NR_FLAVORS)
			sched_yield();
		assert_int_equal(nr_threads("wq/rcu"), NR_FLAVORS);
		assert_int_equal(count_get(&item.runs), 0);
		reader_end(&reader);
		assert_true(wq_rcu_work_flush(&item.rw) >= 0);
		assert_int_equal(item.runs, 1);
		assert_int_equal(item.early, 0);
		assert_int_equal(wq_shutdown(), 0);
		assert_int_equal(nr_threads_falls_to("wq/", 0), 0);
	}
}

/* --- waiting for the queue --- */

static void expect_parked(struct guarded *item, const struct rcu_flavor_struct *rcu)
{
	await_grace_period(rcu);
	assert_int_equal(wq_rcu_work_busy(&item->rw), WQ_BUSY_DELAYED);
	assert_int_equal(count_get(&item->runs), 0);
	assert_int_equal(wq_work_cancel(&item->rw.work), -EBUSY);
	assert_int_equal(wq_queue_rcu(wq, &item->rw, rcu), 0);
}

static void expect_run(struct guarded *item)
{
	latch_wait(&item->ended, 1);
	assert_int_equal(wq_work_cancel_sync(&item->rw.work), 0);
	assert_int_equal(item->runs, 1);
}

static void item_waits_for_a_plugged_queue(void **state)
{
	struct wq *plugged = wq_alloc("plugged", 0, 0);
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		assert_int_equal(wq_plug(plugged), 0);
		assert_int_equal(wq_queue_rcu(plugged, &item.rw, flavors[f]), 1);
		expect_parked(&item, flavors[f]);
		assert_int_equal(wq_destroy(plugged), -EBUSY);
		assert_int_equal(wq_unplug(plugged), 0);
		expect_run(&item);
	}
	assert_int_equal(wq_destroy(plugged), 0);
}

static void item_waits_for_a_frozen_queue(void **state)
{
	struct wq *frozen = wq_alloc("frozen", WQ_FREEZABLE, 0);
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		assert_int_equal(wq_freeze_all(), 0);
		assert_int_equal(wq_queue_rcu(frozen, &item.rw, flavors[f]), 1);
		expect_parked(&item, flavors[f]);
		assert_int_equal(wq_thaw_all(), 0);
		expect_run(&item);
	}
	assert_int_equal(wq_destroy(frozen), 0);
}

static void *drain_main(void *ctx)
{
	return (void *)(intptr_t)wq_drain(ctx);
}

static void item_waits_for_the_end_of_a_drain(void **state)
{
	struct wq *drained = wq_alloc("drained", 0, 0);
	struct wq_work stranger = WQ_WORK_INIT(nop, NULL);
	struct guarded item;
	struct probe gate;
	pthread_t thread;
	void *ret;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		probe_init_gate(&gate);
		assert_int_equal(wq_queue(drained, &gate.work), 1);
		latch_wait(&gate.started, 1);
		assert_int_equal(pthread_create(&thread, NULL, drain_main, drained), 0);
		while (wq_queue(drained, &stranger) != -ESHUTDOWN)
			sched_yield();
		assert_int_equal(wq_queue_rcu(drained, &item.rw, flavors[f]), 1);
		expect_parked(&item, flavors[f]);
		latch_post(&gate.open);
		pthread_join(thread, &ret);
		assert_null(ret);
		expect_run(&item);
		wq_work_cancel_sync(&stranger);
	}
	assert_int_equal(wq_destroy(drained), 0);
}

/* --- after the grace period --- */

static void pending_item_is_taken_back_like_any(void **state)
{
	struct wq *ordered = wq_alloc("ordered", WQ_ORDERED, 0);
	struct guarded item;
	struct probe gate;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		probe_init_gate(&gate);
		assert_int_equal(wq_queue(ordered, &gate.work), 1);
		assert_int_equal(wq_queue_rcu(ordered, &item.rw, flavors[f]), 1);
		await_grace_period(flavors[f]);
		assert_int_equal(wq_rcu_work_busy(&item.rw), WQ_BUSY_PENDING);
		assert_int_equal(wq_queue_rcu(ordered, &item.rw, flavors[f]), 0);
		if (f & 1) {
			assert_int_equal(wq_work_disable_sync(&item.rw.work), 1);
			assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), -EBUSY);
			assert_int_equal(wq_work_enable(&item.rw.work), 1);
		} else {
			assert_int_equal(wq_work_cancel(&item.rw.work), 1);
		}
		assert_int_equal(wq_work_cancel_sync(&item.rw.work), 0);
		latch_post(&gate.open);
		assert_int_equal(wq_flush(ordered), 0);
		assert_int_equal(item.runs, 0);
		assert_true(guarded_runs(&item, ordered, flavors[f]));
	}
	assert_int_equal(wq_destroy(ordered), 0);
}

static void free_fn(struct wq_work *work, void *ctx)
{
	struct wq_rcu_work *rw = container_of(work, struct wq_rcu_work, work);

	memset(rw, 0xa5, sizeof(*rw));
	free(rw);
	latch_post(ctx);
}

static void function_may_free_its_item(void **state)
{
	struct latch freed = LATCH_INIT;
	unsigned long i, nr = scaled(400) + NR_FLAVORS;
	struct wq_rcu_work *rw;

	for (i = 0; i < nr; i++) {
		rw = malloc(sizeof(*rw));
		wq_rcu_work_init(rw, free_fn, &freed);
		assert_int_equal(wq_queue_rcu(wq, rw, flavors[i % NR_FLAVORS]), 1);
	}
	latch_wait(&freed, nr);
}

/* --- misuse --- */

static void bad_arguments_are_refused(void **state)
{
	static const struct rcu_flavor_struct no_flavor;
	static struct wq_rcu_work fixed = WQ_RCU_WORK_INIT(nop, NULL);
	struct wq_rcu_work rw, zeroed, other;
	struct wq_delayed_work dw;

	memset(&zeroed, 0, sizeof(zeroed));
	wq_rcu_work_init(&rw, nop, NULL);
	assert_int_equal(wq_queue_rcu(NULL, &rw, flavors[0]), -EINVAL);
	assert_int_equal(wq_queue_rcu(wq, NULL, flavors[0]), -EINVAL);
	assert_int_equal(wq_queue_rcu(wq, &rw, NULL), -EINVAL);
	assert_int_equal(wq_queue_rcu(wq, &rw, &no_flavor), -EINVAL);
	assert_int_equal(wq_queue_rcu(wq, &zeroed, flavors[0]), -EINVAL);
	assert_int_equal(wq_rcu_work_flush(NULL), -EINVAL);
	assert_int_equal(wq_rcu_work_flush(&zeroed), -EINVAL);
	assert_int_equal(wq_rcu_work_busy(NULL), 0);
	assert_false(wq_rcu_work_pending(NULL));

	/* A delayed item, and an item of no kind, that somebody took for one of RCU. */
	wq_delayed_work_init(&dw, nop, NULL);
	memset(&other, 0, sizeof(other));
	memcpy(&other, &dw, sizeof(dw));
	assert_int_equal(wq_queue_rcu(wq, &other, flavors[0]), -EINVAL);
	memset(&other, 0, sizeof(other));
	wq_work_init(&other.work, nop, NULL);
	assert_int_equal(wq_queue_rcu(wq, &other, flavors[0]), -EINVAL);

	/* And the other way round. */
	memcpy(&dw, &rw, sizeof(dw));
	assert_int_equal(wq_queue_delayed(wq, &dw, 1), -EINVAL);
	assert_int_equal(wq_mod_delayed(wq, &dw, 1), -EINVAL);
	assert_int_equal(wq_reschedule(wq, &dw, 1), -EINVAL);

	assert_int_equal(wq_rcu_work_busy(&rw), 0);
	assert_int_equal(wq_queue_rcu(wq, &fixed, flavors[0]), 1);
	assert_true(wq_rcu_work_flush(&fixed) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(armed_item_is_queued_already, setup, teardown),
		cmocka_unit_test_setup_teardown(armed_item_cannot_be_taken_back, setup, teardown),
		cmocka_unit_test_setup_teardown(armed_item_cannot_be_taken_back_by_its_own_function,
						setup, teardown),
		cmocka_unit_test_setup_teardown(disabled_item_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(queue_with_an_armed_item_is_not_destroyed, setup,
						teardown),
		cmocka_unit_test(shutdown_waits_for_no_item_and_ends_the_threads),
		cmocka_unit_test_setup_teardown(item_waits_for_a_plugged_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(item_waits_for_a_frozen_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(item_waits_for_the_end_of_a_drain, setup, teardown),
		cmocka_unit_test_setup_teardown(pending_item_is_taken_back_like_any, setup,
						teardown),
		cmocka_unit_test_setup_teardown(function_may_free_its_item, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_arguments_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
