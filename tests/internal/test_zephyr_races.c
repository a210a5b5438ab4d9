/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Zephyr's items: calls where a signal handler makes them, in the middle of the library's own,
 * and cancellations that come as a run ends.  A thread is stopped, or calls, at named points.
 */
#include "zitem.h"

#include "observe.h"
#include "stops.h"

static struct k_work_q queue, elsewhere;
static struct zitem item, hold;
static int answer;

#define HOUR	 K_HOURS(1)
#define TWO	 K_HOURS(2)
#define THREE	 K_HOURS(3)
#define IN(dw)	 k_work_delayable_remaining_get(dw)
#define HOURS(n) ((n)*K_HOURS(1).ticks)

static int setup(void **state)
{
	zqueue_start(&queue);
	zitem_init(&item);
	stops_begin();
	return 0;
}

static int teardown(void **state)
{
	stops_end();
	k_work_cancel_delayable_sync(&item.dw, NULL);
	return zqueue_end(&queue);
}

static int schedule(void)
{
	return k_work_schedule_for_queue(&queue, &item.dw, HOUR);
}

static int schedule_now(void)
{
	return k_work_schedule_for_queue(&queue, &item.dw, K_TICKS(1));
}

static int reschedule_two(void)
{
	return k_work_reschedule_for_queue(&queue, &item.dw, TWO);
}

static int reschedule_three(void)
{
	return k_work_reschedule_for_queue(&queue, &item.dw, THREE);
}

static int cancel(void)
{
	return k_work_cancel_delayable(&item.dw);
}

static int cancel_sync(void)
{
	return k_work_cancel_delayable_sync(&item.dw, NULL);
}

static int submit(void)
{
	return k_work_submit_to_queue(&queue, &item.dw.work);
}

static void handler_reschedules(void)
{
	answer = reschedule_two();
}

static void handler_reschedules_twice(void)
{
	answer = reschedule_three();
	answer += reschedule_two();
}

static void handler_reschedules_for_ever(void)
{
	answer = k_work_reschedule_for_queue(&queue, &item.dw, K_FOREVER);
}

static void handler_cancels(void)
{
	answer = cancel();
}

static void handler_cancels_and_reschedules(void)
{
	cancel();
	answer = reschedule_two();
}

static void handler_cancels_and_schedules(void)
{
	cancel();
	answer = k_work_schedule_for_queue(&queue, &item.dw, TWO);
}

static void handler_cancels_and_submits(void)
{
	cancel();
	answer = submit();
}

static void is_due_in_two_hours(void)
{
	assert_int_equal(zitem_busy(&item), D);
	assert_in_range(IN(&item.dw), HOURS(2) - 6000, HOURS(2) + 1);
	assert_int_equal(cancel(), 0);
	assert_int_equal(zitem_busy(&item), 0);
}

/* --- the caller interrupted the holder of the timers' lock --- */

static void reschedule_over_an_arming_of_the_same_item_wins(void **state)
{
	call_at("timer claimed", handler_reschedules);
	assert_int_equal(schedule(), 1);
	assert_int_equal(answer, 1);
	is_due_in_two_hours();
	call_at("timer claimed", handler_reschedules_twice);
	assert_int_equal(schedule(), 1);
	assert_int_equal(answer, 2);
	is_due_in_two_hours();
}

/* The time, and where to, are of one call. */
static void handler_reschedules_elsewhere(void)
{
	answer = k_work_reschedule_for_queue(&elsewhere, &item.dw, K_TICKS(1));
}

static void reschedule_over_an_arming_takes_it_to_another_queue(void **state)
{
	zqueue_start(&elsewhere);
	call_at("timer claimed", handler_reschedules_elsewhere);
	assert_int_equal(schedule(), 1);
	assert_int_equal(answer, 1);
	latch_wait(&item.ended, 1);
	assert_ptr_equal(item.ran_on, &elsewhere);
	assert_int_equal(zqueue_end(&elsewhere), 0);
}

static void reschedule_over_an_arming_may_be_for_ever(void **state)
{
	call_at("timer claimed", handler_reschedules_for_ever);
	assert_int_equal(schedule(), 1);
	assert_int_equal(answer, 1);
	assert_int_equal(zitem_busy(&item), D);
	assert_true(wq_zephyr_expires_ns(&item.dw) == UINT64_MAX);
}

static void cancel_over_an_arming_takes_it_back(void **state)
{
	call_at("timer claimed", handler_cancels);
	assert_int_equal(schedule(), 1);
	/* The library had it for a moment longer. */
	assert_int_equal(answer, C);
	assert_int_equal(zitem_busy(&item), 0);
	assert_int_equal(schedule(), 1);
	assert_in_range(IN(&item.dw), HOURS(1) - 6000, HOURS(1) + 1);
}

static void schedule_after_such_a_cancel_is_not_refused(void **state)
{
	call_at("timer claimed", handler_cancels_and_reschedules);
	assert_int_equal(schedule(), 1);
	assert_int_equal(answer, 1);
	is_due_in_two_hours();
	call_at("timer claimed", handler_cancels_and_schedules);
	assert_int_equal(schedule(), 1);
	assert_int_equal(answer, 1);
	is_due_in_two_hours();
}

static void submit_after_such_a_cancel_is_not_refused(void **state)
{
	zitem_hold(&queue, &hold);
	call_at("timer claimed", handler_cancels_and_submits);
	assert_int_equal(schedule(), 1);
	assert_int_equal(answer, 1);
	assert_int_equal(zitem_busy(&item), Q);
	zitem_pass(&hold);
	k_work_flush(&item.dw.work, NULL);
	assert_int_equal(count_get(&item.runs), 1);
	k_work_flush(&hold.dw.work, NULL);
}

static void handler_reschedules_and_cancels(void)
{
	answer = reschedule_two();
	cancel();
}

/* A time that was dropped with its arming is not another's. */
static void cancelled_reschedule_leaves_nothing(void **state)
{
	call_at("timer claimed", handler_reschedules_and_cancels);
	assert_int_equal(schedule(), 1);
	assert_int_equal(answer, 1);
	assert_int_equal(zitem_busy(&item), 0);
	call_at("timer claimed", handler_cancels_and_schedules);
	assert_int_equal(k_work_schedule_for_queue(&queue, &item.dw, THREE), 1);
	is_due_in_two_hours();
	assert_int_equal(schedule(), 1);
	assert_in_range(IN(&item.dw), HOURS(1) - 6000, HOURS(1) + 1);
}

/* --- it is just becoming due --- */

static void reschedule_of_what_is_just_due_arms_it_beside(void **state)
{
	zitem_hold(&queue, &hold);
	stop_at(0, "timer due");
	assert_int_equal(schedule_now(), 1);
	stop_reached(0);
	assert_int_equal(reschedule_two(), 1);
	assert_int_equal(zitem_busy(&item), D | Q);
	let_go(0);
	zitem_pass(&hold);
	latch_wait(&item.ended, 1);
	zitem_wait_busy(&item, D);
	is_due_in_two_hours();
	assert_int_equal(count_get(&item.runs), 1);
	k_work_flush(&hold.dw.work, NULL);
}

/* When any queue begins to take items, all that are kept are looked at again. */
static void timer_that_is_kept_counts_once(void **state)
{
	unsigned i;

	zqueue_start(&elsewhere);
	assert_int_equal(k_work_queue_drain(&queue, true), 1);
	assert_int_equal(schedule_now(), 1);
	COMES_TRUE(wq_zephyr_timers_kept(&queue));
	for (i = 0; i < 3; i++) {
		stop_at(0, "timer parks");
		assert_int_equal(k_work_queue_drain(&elsewhere, true), 1);
		stop_reached(0);
		let_go(0);
	}
	assert_int_equal(wq_zephyr_timers_kept(&queue), 1);
	assert_int_equal(k_work_queue_unplug(&queue), 0);
	latch_wait(&item.ended, 1);
	/* Another time is another timer. */
	assert_int_equal(k_work_queue_drain(&queue, true), 1);
	assert_int_equal(schedule_now(), 1);
	COMES_TRUE(wq_zephyr_timers_kept(&queue) == 2);
	assert_int_equal(k_work_queue_unplug(&queue), 0);
	assert_int_equal(k_work_queue_stop(&elsewhere, K_FOREVER), 0);
}

/* --- a run that ends while it is cancelled --- */

static void cancel_of_a_run_that_has_just_ended_leaves_nothing(void **state)
{
	zitem_hold(&queue, &item);
	stop_at(0, "cancelled");
	begin(0, cancel);
	stop_reached(0);
	/* It is counted, and not handed over. */
	assert_int_equal(submit(), -EBUSY);
	zitem_pass(&item);
	zqueue_wait_flags(&queue, K_WORK_QUEUE_STARTED);
	assert_int_equal(submit(), -EBUSY);
	let_go(0);
	assert_int_equal(end(0), 0);
	assert_int_equal(zitem_busy(&item), 0);
	zitem_pass(&item);
	assert_int_equal(submit(), 1);
	k_work_flush(&item.dw.work, NULL);
	assert_int_equal(count_get(&item.runs), 2);
}

/* Whoever took it from the list has not done with it: its memory is not the caller's yet. */
static void cancel_sync_waits_for_who_lets_it_go(void **state)
{
	zitem_hold(&queue, &item);
	assert_int_equal(cancel(), R | C);
	stop_at(0, "let go");
	begin(0, cancel_sync);
	zitem_pass(&item);
	stop_reached(0);
	assert_non_null(__atomic_load_n(&item.dw.work.wq_next, __ATOMIC_SEQ_CST));
	let_go(0);
	end(0);
	assert_null(item.dw.work.wq_next);
	assert_int_equal(zitem_busy(&item), 0);
}

/* --- one that another's canceller has in hand when its run ends --- */

static int cancel_hold(void)
{
	return k_work_cancel(&hold.dw.work);
}

/* Is it anybody's on return? */
static int flush_and_look(void)
{
	k_work_flush(&item.dw.work, NULL);
	return __atomic_load_n(&item.dw.work.wq_next, __ATOMIC_SEQ_CST) != NULL;
}

/* Both are cancelled while they run, and somebody has both in hand, and is at the first. */
static void item_ends_in_hand(void)
{
	zitem_init_gate(&item);
	zitem_hold(&queue, &hold);
	assert_int_equal(submit(), 1);
	stop_at(0, "cancelled");
	begin(0, cancel_hold);
	stop_reached(0);
	zitem_pass(&hold);
	latch_wait(&item.started, 1);
	assert_int_equal(cancel(), R | C);
	stop_at(1, "let go");
	let_go(0);
	stop_reached(1);
	zitem_pass(&item);
	zqueue_wait_flags(&queue, K_WORK_QUEUE_STARTED);
}

static void flush_waits_for_who_lets_it_go(void **state)
{
	item_ends_in_hand();
	stop_at(2, "waits let go");
	begin(1, flush_and_look);
	stop_reached(2);
	let_go(2);
	let_go(1);
	assert_int_equal(end(1), 0);
	end(0);
	assert_int_equal(zitem_busy(&item), 0);
}

static void stop_while_items_are_scheduled_on_it_is_safe(void **state)
{
	struct k_work_q other;

	zqueue_start(&other);
	assert_int_equal(k_work_queue_drain(&other, true), 1);
	assert_int_equal(k_work_schedule_for_queue(&other, &item.dw, HOUR), 1);
	assert_int_equal(k_work_queue_stop(&other, K_FOREVER), -EBUSY);
	assert_int_equal(cancel(), 0);
	assert_int_equal(k_work_queue_stop(&other, K_FOREVER), 0);
	assert_int_equal(k_work_schedule_for_queue(&other, &item.dw, HOUR), -ENODEV);
	assert_int_equal(k_work_reschedule_for_queue(&other, &item.dw, HOUR), -ENODEV);
}

static int end_library(void **state)
{
	return wq_shutdown();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reschedule_over_an_arming_of_the_same_item_wins),
		TEST(reschedule_over_an_arming_takes_it_to_another_queue),
		TEST(reschedule_over_an_arming_may_be_for_ever),
		TEST(cancel_over_an_arming_takes_it_back),
		TEST(schedule_after_such_a_cancel_is_not_refused),
		TEST(submit_after_such_a_cancel_is_not_refused),
		TEST(cancelled_reschedule_leaves_nothing),
		TEST(reschedule_of_what_is_just_due_arms_it_beside),
		TEST(timer_that_is_kept_counts_once),
		TEST(cancel_of_a_run_that_has_just_ended_leaves_nothing),
		TEST(cancel_sync_waits_for_who_lets_it_go),
		TEST(flush_waits_for_who_lets_it_go),
		TEST(stop_while_items_are_scheduled_on_it_is_safe),
	};

	return cmocka_run_group_tests(tests, NULL, end_library);
}
