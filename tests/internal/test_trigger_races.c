/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trigger items: interleavings of events, time-outs, flushes, cancels and arming, made to
 * happen.  A thread is stopped at a named point of the library while others go on.
 */
#include "events.h"

#include <sched.h>

#include "stops.h"

static struct wq *wq;
static struct waiter waiter, sibling;
static struct ends ends;

static int setup(void **state)
{
	wq = wq_alloc("races", 0, 0);
	waiter_init(&waiter);
	waiter_init(&sibling);
	ends_open(&ends);
	/* The thread is there, and past its first steps. */
	if (!wq || !trigger_works(wq))
		return -1;
	stops_begin();
	return 0;
}

static int teardown(void **state)
{
	stops_end();
	ends_close(&ends);
	return wq_destroy(wq);
}

static int arm_forever(void)
{
	return waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER);
}

static int arm_brief(void)
{
	return waiter_arm(wq, &waiter, ends.in, EPOLLIN, 1);
}

static int arm_badly(void)
{
	waiter.ev[0] = (struct wq_event){.fd = ends.in, .events = EPOLLIN};
	waiter.ev[1] = (struct wq_event){.fd = 250, .events = EPOLLIN};
	return wq_queue_trigger(wq, &waiter.tw, waiter.ev, 2, WQ_FOREVER);
}

static int cancel(void)
{
	return wq_trigger_work_cancel(&waiter.tw);
}

static int cancel_sync(void)
{
	return wq_trigger_work_cancel_sync(&waiter.tw);
}

static int flush(void)
{
	return wq_trigger_work_flush(&waiter.tw);
}

static int destroy(void)
{
	return wq_destroy(wq);
}

/* One that waits for the same, behind it: where that has run, the event has come to both. */
static void event_comes(void)
{
	unsigned long runs = sibling.runs;

	assert_int_equal(waiter_arm(wq, &sibling, ends.in, EPOLLIN, WQ_FOREVER), 1);
	byte_write(ends.out);
	waiter_wait(&sibling, runs + 1);
}

/* Afterwards it works as if nothing had been; @runs until now. */
static void works_on(unsigned long runs)
{
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	assert_int_equal(waiter.runs, runs);
	assert_int_equal(arm_forever(), 1);
	byte_write(ends.out);
	waiter_wait(&waiter, runs + 1);
	byte_read(ends.in);
	assert_int_equal(waiter.overlaps, 0);
}

/* --- event and time-out --- */

static void trigger_event_after_the_time_out_has_claimed_the_item(void **state)
{
	stop_at(0, "timer due");
	assert_int_equal(arm_brief(), 1);
	stop_reached(0);
	event_comes();
	let_go(0);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EPOLLIN);
	byte_read(ends.in);
	works_on(1);
}

/* What was ready in between does not show where none was at the time-out. */
static void trigger_event_that_is_gone_at_the_time_out_shows_nowhere(void **state)
{
	stop_at(0, "timer due");
	assert_int_equal(arm_brief(), 1);
	stop_reached(0);
	event_comes();
	byte_read(ends.in);
	let_go(0);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, -ETIMEDOUT);
	assert_int_equal(waiter.ev[0].revents, 0);
	works_on(1);
}

static void trigger_time_out_while_the_event_is_on_its_way(void **state)
{
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, 2 * MS), 1);
	stop_at(0, "trigger ready");
	byte_write(ends.out);
	stop_reached(0);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EPOLLIN);
	let_go(0);
	assert_true(trigger_works(wq));
	byte_read(ends.in);
	works_on(1);
}

static void trigger_time_out_while_the_item_is_registered(void **state)
{
	uint64_t begun;

	stop_at(0, "trigger attached");
	begin(0, arm_brief);
	stop_reached(0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_DELAYED);
	begun = monotonic_ns();
	while (monotonic_ns() < begun + MS)
		sched_yield();
	assert_int_equal(count_get(&waiter.runs), 0);
	let_go(0);
	assert_int_equal(end(0), 1);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, -ETIMEDOUT);
	works_on(1);
}

static void trigger_event_while_the_item_is_registered(void **state)
{
	stop_at(0, "trigger attached");
	begin(0, arm_forever);
	stop_reached(0);
	byte_write(ends.out);
	assert_int_equal(wq_queue(wq, &waiter.tw.work), 0);
	let_go(0);
	assert_int_equal(end(0), 1);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	byte_read(ends.in);
	works_on(1);
}

/* --- event and cancel --- */

static void cancels_on_the_way(int (*how)(void))
{
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "trigger ready");
	byte_write(ends.out);
	stop_reached(0);
	assert_int_equal(how(), 1);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	/* Armed again, it gets the event anew: once. */
	assert_int_equal(arm_forever(), 1);
	let_go(0);
	waiter_wait(&waiter, 1);
	byte_read(ends.in);
	assert_true(trigger_works(wq));
	works_on(1);
}

static void trigger_cancelled_while_the_event_is_on_its_way(void **state)
{
	cancels_on_the_way(cancel);
}

static void trigger_cancelled_and_waited_for_while_the_event_is_on_its_way(void **state)
{
	cancels_on_the_way(cancel_sync);
}

static void trigger_event_comes_while_it_is_cancelled(void **state)
{
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "trigger cancelled");
	begin(0, cancel);
	stop_reached(0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_CANCELING);
	event_comes();
	let_go(0);
	assert_int_equal(end(0), 1);
	byte_read(ends.in);
	works_on(0);
}

/* The event has claimed it, and is about to queue it: who cancels then takes it back. */
static void trigger_cancelled_while_the_event_queues_it(void **state)
{
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "settle");
	byte_write(ends.out);
	stop_reached(0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_PENDING);
	assert_int_equal(arm_forever(), 0);
	assert_int_equal(cancel(), 1);
	assert_int_equal(cancel(), 0);
	let_go(0);
	assert_int_equal(cancel_sync(), 0);
	byte_read(ends.in);
	works_on(0);
}

static void trigger_armed_again_while_another_thread_cancels_it(void **state)
{
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "trigger cancelled");
	begin(0, cancel);
	stop_reached(0);
	assert_int_equal(arm_forever(), -EBUSY);
	assert_int_equal(cancel(), 0);
	/* Who waits until it is idle waits for that, too. */
	stop_at(1, "timer settles");
	begin(1, cancel_sync);
	stop_reached(1);
	let_go(1);
	let_go(0);
	assert_int_equal(end(1), 0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	assert_int_equal(end(0), 1);
	works_on(0);
}

/* One answer stands for one acceptance: what is queued after the first is not taken back. */
static void trigger_queued_while_it_is_cancelled_runs(void **state)
{
	struct wq *ordered = wq_alloc("ordered", WQ_ORDERED, 0);
	struct probe gate;

	probe_init_gate(&gate);
	assert_int_equal(wq_queue(ordered, &gate.work), 1);
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "timer cancelled");
	begin(0, cancel);
	stop_reached(0);
	assert_int_equal(wq_queue(ordered, &waiter.tw.work), 1);
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_PENDING);
	latch_post(&gate.open);
	waiter_wait(&waiter, 1);
	assert_int_equal(wq_destroy(ordered), 0);
	works_on(1);
}

/* --- cancel of an item on its way in --- */

static void trigger_cancelled_while_it_is_registered(void **state)
{
	stop_at(0, "trigger attached");
	begin(0, arm_forever);
	stop_reached(0);
	byte_write(ends.out);
	assert_int_equal(cancel(), 1);
	assert_int_equal(cancel(), 0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_CANCELING);
	stop_at(1, "timer settles");
	begin(1, cancel_sync);
	stop_reached(1);
	let_go(1);
	let_go(0);
	assert_int_equal(end(1), 0);
	assert_int_equal(end(0), 1);
	assert_true(trigger_works(wq));
	byte_read(ends.in);
	works_on(0);
}

/* What was taken back was accepted: arming does not say that nothing has changed. */
static void trigger_cancelled_while_it_is_refused_counts_once(void **state)
{
	stop_at(0, "trigger attached");
	begin(0, arm_badly);
	/* The table has no entry for the number: refused before it is looked at. */
	assert_int_equal(end(0), -EBADF);
	assert_int_equal(dup2(ends.in, 250), 250);
	assert_int_equal(waiter_arm(wq, &sibling, 250, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(wq_trigger_work_cancel_sync(&sibling.tw), 1);
	close(250);
	stop_at(0, "trigger attached");
	begin(0, arm_badly);
	stop_reached(0);
	assert_int_equal(cancel(), 1);
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(arm_badly(), -EBADF);
	works_on(0);
}

/* --- flush --- */

static void trigger_flush_while_the_event_queues_it(void **state)
{
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "settle");
	byte_write(ends.out);
	stop_reached(0);
	stop_at(1, "flush transit");
	begin(1, flush);
	stop_reached(1);
	let_go(1);
	let_go(0);
	assert_true(end(1) >= 0);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	byte_read(ends.in);
	works_on(1);
}

static void trigger_event_while_a_flush_queues_it(void **state)
{
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "timer due");
	begin(0, flush);
	stop_reached(0);
	event_comes();
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(waiter.runs, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EPOLLIN);
	byte_read(ends.in);
	works_on(1);
}

static void trigger_flush_while_it_is_registered_waits_for_that(void **state)
{
	stop_at(0, "trigger attached");
	begin(0, arm_forever);
	stop_reached(0);
	stop_at(1, "timer settles");
	begin(1, flush);
	stop_reached(1);
	let_go(1);
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(end(1), 1);
	assert_int_equal(waiter.runs, 1);
	assert_int_equal(waiter.tw.result, -ETIMEDOUT);
	works_on(1);
}

/* --- the queue's end --- */

static void trigger_destroy_waits_for_arming_and_is_refused(void **state)
{
	stop_at(0, "trigger attached");
	begin(0, arm_forever);
	stop_reached(0);
	stop_at(1, "timers closed");
	begin(1, destroy);
	stop_reached(1);
	let_go(1);
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(end(1), -EBUSY);
	assert_int_equal(cancel_sync(), 1);
	works_on(0);
}

static void trigger_arming_after_the_queue_was_closed_is_refused(void **state)
{
	struct wq *kept = wq;

	wq = wq_alloc("going", 0, 0);
	stop_at(0, "trigger arms");
	begin(0, arm_forever);
	stop_reached(0);
	stop_at(1, "timers closed");
	begin(1, destroy);
	stop_reached(1);
	let_go(0);
	assert_int_equal(end(0), -ESHUTDOWN);
	let_go(1);
	assert_int_equal(end(1), 0);
	wq = kept;
	works_on(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			trigger_event_after_the_time_out_has_claimed_the_item, setup, teardown),
		cmocka_unit_test_setup_teardown(
			trigger_event_that_is_gone_at_the_time_out_shows_nowhere, setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_time_out_while_the_event_is_on_its_way,
						setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_time_out_while_the_item_is_registered,
						setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_event_while_the_item_is_registered, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trigger_cancelled_while_the_event_is_on_its_way,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			trigger_cancelled_and_waited_for_while_the_event_is_on_its_way, setup,
			teardown),
		cmocka_unit_test_setup_teardown(trigger_event_comes_while_it_is_cancelled, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trigger_cancelled_while_the_event_queues_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trigger_armed_again_while_another_thread_cancels_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_queued_while_it_is_cancelled_runs, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trigger_cancelled_while_it_is_registered, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trigger_cancelled_while_it_is_refused_counts_once,
						setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_flush_while_the_event_queues_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trigger_event_while_a_flush_queues_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trigger_flush_while_it_is_registered_waits_for_that,
						setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_destroy_waits_for_arming_and_is_refused,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			trigger_arming_after_the_queue_was_closed_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
