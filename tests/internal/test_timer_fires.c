/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interleavings with an item whose time has come, made to happen: the clock's thread stops
 * on its way with it, or on its way to sleep.
 */
#include "timed.h"

#include <sched.h>

#include "clock.h"

static int begin(void **state)
{
	timed_begin();
	return 0;
}

static int end(void **state)
{
	timed_end();
	return 0;
}

/* Has claimed it and chooses a pool; has chosen, and not pushed it yet. */
static const char *const fire_points[] = {"settle", "push"};

static void fire_and_stop(struct stop *stop, int at, struct wq *wq, struct timed *timed)
{
	timed_init(timed);
	stop_clock(stop, fire_points[at]);
	assert_int_equal(wq_queue_delayed(wq, &timed->dw, 1), 1);
	stop_wait(stop);
	assert_int_equal(wq_delayed_work_busy(&timed->dw), WQ_BUSY_PENDING);
	assert_true(wq_delayed_work_expires_ns(&timed->dw) == 0);
	assert_int_equal(wq_queue(wq, &timed->dw.work), 0);
	assert_int_equal(wq_queue_delayed(wq, &timed->dw, 1), 0);
}

static void assert_idle_after(struct wq *wq, struct timed *timed, unsigned long runs)
{
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(count_get(&timed->runs), runs);
	assert_int_equal(wq_delayed_work_busy(&timed->dw) & ~WQ_BUSY_DISABLED, 0);
}

static void cancel_of_an_item_that_fires_keeps_it_from_running(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct stop stop;
	int at;

	for (at = 0; at < 2; at++) {
		fire_and_stop(&stop, at, wq, &timed);
		assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
		assert_int_equal(wq_delayed_work_cancel(&timed.dw), 0);
		assert_int_equal(wq_queue_delayed(wq, &timed.dw, 1), -EBUSY);
		stop_let_go(&stop);
		assert_idle_after(wq, &timed, 0);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

static void disable_of_an_item_that_fires_keeps_it_from_running(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct stop stop;
	int at;

	for (at = 0; at < 2; at++) {
		fire_and_stop(&stop, at, wq, &timed);
		assert_int_equal(wq_delayed_work_disable(&timed.dw), 1);
		assert_int_equal(wq_queue_delayed(wq, &timed.dw, 1), -EBUSY);
		stop_let_go(&stop);
		assert_int_equal(wq_delayed_work_disable_sync(&timed.dw), 0);
		assert_idle_after(wq, &timed, 0);
		assert_int_equal(wq_delayed_work_enable(&timed.dw), 0);
		assert_int_equal(wq_delayed_work_enable(&timed.dw), 1);
		assert_int_equal(wq_queue_delayed(wq, &timed.dw, 1), 1);
		latch_wait(&timed.ended, 1);
		assert_idle_after(wq, &timed, 1);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

static void cancel_sync_waits_for_an_item_that_fires(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct caller canceller = {.timed = &timed};
	struct stop stop;
	int at;

	for (at = 0; at < 2; at++) {
		fire_and_stop(&stop, at, wq, &timed);
		caller_start(&canceller, call_cancel_sync, "canceller waits");
		assert_true(wq_delayed_work_busy(&timed.dw) & WQ_BUSY_CANCELING);
		stop_let_go(&canceller.stop);
		stop_let_go(&stop);
		assert_int_equal(caller_finish(&canceller), 1);
		assert_int_equal(wq_delayed_work_busy(&timed.dw), 0);
		assert_idle_after(wq, &timed, 0);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

static void flush_waits_for_the_run_of_an_item_that_fires(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct caller flusher = {.timed = &timed};
	struct stop stop;
	int at;

	for (at = 0; at < 2; at++) {
		fire_and_stop(&stop, at, wq, &timed);
		caller_start(&flusher, call_flush, at ? NULL : "flush transit");
		while (at && !(wqi_state(&timed.dw.work) & WQI_LINKED))
			sched_yield();
		stop_let_go(&flusher.stop);
		stop_let_go(&stop);
		assert_true(caller_finish(&flusher) >= at);
		assert_int_equal(count_get(&timed.ended.count), 1);
		assert_idle_after(wq, &timed, 1);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* Behind a gate, so that the instance that fires is pending until it is taken back. */
static void mod_delayed_of_an_item_that_fires_leaves_one_run(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_ORDERED, 0);
	struct timed gate, timed;
	struct caller moder = {.wq = wq, .timed = &timed};
	struct stop stop;
	unsigned i;

	for (i = 0; i < 4; i++) {
		timed_init_gate(&gate);
		assert_int_equal(wq_queue(wq, &gate.dw.work), 1);
		latch_wait(&gate.started, 1);
		fire_and_stop(&stop, i & 1, wq, &timed);
		moder.delay_ns = i / 2;
		caller_start(&moder, call_mod, "timer looks again");
		stop_let_go(&moder.stop);
		stop_let_go(&stop);
		assert_int_equal(caller_finish(&moder), 1);
		latch_post(&gate.open);
		latch_wait(&timed.ended, 1);
		assert_idle_after(wq, &timed, 1);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* What fires goes where it was armed for, whatever it is armed for meanwhile. */
static void reschedule_of_an_item_that_fires_adds_a_run(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0), *other = wq_alloc("other", 0, 0);
	struct timed timed;
	struct stop stop;
	int at;

	for (at = 0; at < 2; at++) {
		fire_and_stop(&stop, at, wq, &timed);
		assert_int_equal(wq_reschedule(other, &timed.dw, HOUR_NS), 1);
		assert_int_equal(wq_delayed_work_busy(&timed.dw),
				 WQ_BUSY_PENDING | WQ_BUSY_DELAYED);
		stop_let_go(&stop);
		latch_wait(&timed.ended, 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(wq_delayed_work_busy(&timed.dw), WQ_BUSY_DELAYED);
		assert_ptr_equal(timed.wq, wq);
		assert_int_equal(wq_reschedule(other, &timed.dw, 1), 1);
		latch_wait(&timed.ended, 2);
		assert_idle_after(other, &timed, 2);
		assert_ptr_equal(timed.wq, other);
	}
	assert_int_equal(wq_destroy(other), 0);
	assert_int_equal(wq_destroy(wq), 0);
}

/* Pending still when its second time comes: that is one run. */
static void reschedule_fires_into_a_pending_instance(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_ORDERED, 0);
	struct timed gate, timed;

	timed_init_gate(&gate);
	timed_init(&timed);
	assert_int_equal(wq_queue(wq, &gate.dw.work), 1);
	assert_int_equal(wq_queue(wq, &timed.dw.work), 1);
	assert_int_equal(wq_reschedule(wq, &timed.dw, 1), 1);
	while (wq_delayed_work_expires_ns(&timed.dw))
		sched_yield();
	assert_true(wq_delayed_work_busy(&timed.dw) & WQ_BUSY_PENDING);
	latch_post(&gate.open);
	latch_wait(&timed.ended, 1);
	assert_idle_after(wq, &timed, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- queues that refuse --- */

static void park_and_stop(struct stop *stop, struct wq *wq, struct timed *timed)
{
	timed_init(timed);
	stop_clock(stop, "timer parks");
	assert_int_equal(wq_queue_delayed(wq, &timed->dw, 1), 1);
	stop_wait(stop);
	assert_int_equal(wq_delayed_work_busy(&timed->dw), WQ_BUSY_DELAYED);
}

/* ORD-PARK: the clock found it shut and has not parked the item when it opens. */
static void finish_parking(struct caller *opener, struct stop *stop, struct timed *timed)
{
	while (wqi_queue_is_shut(opener->wq))
		sched_yield();
	stop_let_go(stop);
	assert_int_equal(caller_finish(opener), 0);
	latch_wait(&timed->ended, 1);
	assert_idle_after(opener->wq, timed, 1);
	assert_int_equal(wq_destroy(opener->wq), 0);
}

static void unplug_while_an_item_is_being_parked_lets_it_run(void **state)
{
	struct caller opener = {.wq = wq_alloc("q", 0, 0)};
	struct timed timed;
	struct stop stop;

	assert_int_equal(wq_plug(opener.wq), 0);
	park_and_stop(&stop, opener.wq, &timed);
	caller_start(&opener, call_unplug, NULL);
	finish_parking(&opener, &stop, &timed);
}

static void thaw_while_an_item_is_being_parked_lets_it_run(void **state)
{
	struct caller opener = {.wq = wq_alloc("q", WQ_FREEZABLE, 0)};
	struct timed timed;
	struct stop stop;

	assert_int_equal(wq_freeze_all(), 0);
	park_and_stop(&stop, opener.wq, &timed);
	caller_start(&opener, call_thaw, NULL);
	finish_parking(&opener, &stop, &timed);
}

static void end_of_a_drain_while_an_item_is_being_parked_lets_it_run(void **state)
{
	struct caller opener = {.wq = wq_alloc("q", 0, 0)};
	struct timed gate, timed;
	struct stop stop;

	timed_init_gate(&gate);
	assert_int_equal(wq_queue(opener.wq, &gate.dw.work), 1);
	latch_wait(&gate.started, 1);
	caller_start(&opener, call_drain, NULL);
	while (!wqi_queue_is_shut(opener.wq))
		sched_yield();
	/* The section that the clock stops in would hold up the drain: only now. */
	park_and_stop(&stop, opener.wq, &timed);
	latch_post(&gate.open);
	latch_wait(&gate.ended, 1);
	stop_let_go(&stop);
	assert_int_equal(caller_finish(&opener), 0);
	latch_wait(&timed.ended, 1);
	assert_idle_after(opener.wq, &timed, 1);
	assert_int_equal(wq_destroy(opener.wq), 0);
}

/* --- a handler's cancel of what is off the wheel's slots --- */

static void handler_cancels_a_parked_item(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct stop stop;

	assert_int_equal(wq_plug(wq), 0);
	park_and_stop(&stop, wq, &timed);
	stop_let_go(&stop);
	wqi_shard_lock(shard_here());
	assert_false(cds_list_empty(&shard_here()->parked));
	assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
	assert_int_equal(wq_delayed_work_cancel(&timed.dw), 0);
	wqi_shard_unlock(shard_here());
	assert_true(cds_list_empty(&shard_here()->parked));
	assert_int_equal(wq_unplug(wq), 0);
	assert_idle_after(wq, &timed, 0);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, 1), 1);
	latch_wait(&timed.ended, 1);
	assert_idle_after(wq, &timed, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

static void handler_cancels_an_item_that_is_due(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct stop stop;

	timed_init(&timed);
	stop_clock_asleep(&stop);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, 1), 1);
	wqi_shard_lock(shard_here());
	while (cds_list_empty(&shard_here()->wheel.due))
		wqi_wheel_advance(&shard_here()->wheel, wqi_clock_now_ns(), 64);
	assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
	wqi_shard_unlock(shard_here());
	assert_true(cds_list_empty(&shard_here()->wheel.due));
	stop_let_go(&stop);
	assert_idle_after(wq, &timed, 0);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, 1), 1);
	latch_wait(&timed.ended, 1);
	assert_idle_after(wq, &timed, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- the clock's sleep --- */

/* ORD-CLOCK: it has published until when it sleeps, and does not sleep yet. */
static void arm_while_the_clock_goes_to_sleep_is_not_slept_through(void **state)
{
	/* Where it need not sleep at all, and where it has to sleep for less. */
	static const uint64_t delays[] = {1, 1000000};
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct stop stop;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(delays); i++) {
		timed_init(&timed);
		stop_clock_asleep(&stop);
		assert_int_equal(wq_queue_delayed(wq, &timed.dw, delays[i]), 1);
		stop_let_go(&stop);
		latch_wait(&timed.ended, 1);
		assert_idle_after(wq, &timed, 1);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* Neither a timer an hour away nor what is armed and cancelled beyond it wakes it. */
static void clock_sleeps_while_nothing_is_due(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	unsigned long before, i, rounds = scaled(20000);
	struct timed timed, later;
	struct stop stop;

	timed_init(&timed);
	timed_init(&later);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), 1);
	stop_clock_asleep(&stop);
	stop_let_go(&stop);
	before = clock_sleeps();
	for (i = 0; i < rounds; i++) {
		assert_int_equal(wq_queue_delayed(wq, &later.dw, HOUR_NS + 1), 1);
		assert_int_equal(wq_delayed_work_cancel(&later.dw), 1);
	}
	assert_int_equal(clock_sleeps(), before);
	assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
	assert_int_equal(clock_sleeps(), before);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clock_sleeps_while_nothing_is_due),
		cmocka_unit_test(cancel_of_an_item_that_fires_keeps_it_from_running),
		cmocka_unit_test(disable_of_an_item_that_fires_keeps_it_from_running),
		cmocka_unit_test(cancel_sync_waits_for_an_item_that_fires),
		cmocka_unit_test(flush_waits_for_the_run_of_an_item_that_fires),
		cmocka_unit_test(mod_delayed_of_an_item_that_fires_leaves_one_run),
		cmocka_unit_test(reschedule_of_an_item_that_fires_adds_a_run),
		cmocka_unit_test(reschedule_fires_into_a_pending_instance),
		cmocka_unit_test(unplug_while_an_item_is_being_parked_lets_it_run),
		cmocka_unit_test(thaw_while_an_item_is_being_parked_lets_it_run),
		cmocka_unit_test(end_of_a_drain_while_an_item_is_being_parked_lets_it_run),
		cmocka_unit_test(handler_cancels_a_parked_item),
		cmocka_unit_test(handler_cancels_an_item_that_is_due),
		cmocka_unit_test(arm_while_the_clock_goes_to_sleep_is_not_slept_through),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
