/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Zephyr's items without their states: what is read by name and value, times, what signal
 * handlers may call, fork(), and waiting that could not end.
 */
#include "zitem.h"

#include <sched.h>
#include <signal.h>

#define HOUR K_HOURS(1)

static struct k_work_q queue;
static struct k_work_sync work_sync;

static int setup(void **state)
{
	zqueue_start(&queue);
	return 0;
}

static int teardown(void **state)
{
	return zqueue_end(&queue) || wq_shutdown();
}

/* --- what is read, and answered without a queue --- */

static void handler_nop(struct k_work *work)
{
}

static K_WORK_DEFINE(defined, handler_nop);
static K_WORK_DELAYABLE_DEFINE(defined_delayable, handler_nop);

static void initialiser_and_call_give_equal_items(void **state)
{
	struct k_work_delayable dw;
	struct k_work work;

	memset(&work, 0xa5, sizeof(work));
	memset(&dw, 0xa5, sizeof(dw));
	k_work_init(&work, handler_nop);
	k_work_init_delayable(&dw, handler_nop);
	assert_memory_equal(&work, &defined, sizeof(work));
	assert_memory_equal(&dw, &defined_delayable, sizeof(dw));
	assert_int_equal(work.flags, 0);
	assert_int_equal(dw.work.flags, K_WORK_DELAYABLE);
	assert_int_equal(K_WORK_DELAYABLE, 0x100);
	assert_ptr_equal(k_work_delayable_from_work(&dw.work), &dw);
	assert_null(work.queue);
}

static K_WORK_DEFINE(without_handler, NULL);
static K_WORK_USER_DEFINE(user_without_handler, NULL);
static unsigned long reports;

static void count_report(const char *text)
{
	if (strstr(text, "has no function"))
		count_up(&reports);
}

static void item_without_handler_is_reported_in_place_of_its_run(void **state)
{
	wq_set_report(count_report);
	assert_int_equal(k_work_submit_to_queue(&queue, &without_handler), 1);
	assert_int_equal(k_work_submit_to_queue(&queue, &user_without_handler.wq_work), 1);
	assert_true(k_work_queue_drain(&queue, false) >= 0);
	assert_int_equal(count_get(&reports), 2);
	wq_set_report(NULL);
}

static void submit_to_a_queue_that_is_not_started_is_refused(void **state)
{
	struct k_work_q stopped = {0};
	struct zitem item;

	zitem_init(&item);
	assert_int_equal(k_work_submit_to_queue(&stopped, &item.dw.work), -ENODEV);
	assert_int_equal(k_work_schedule_for_queue(&stopped, &item.dw, K_NO_WAIT), -ENODEV);
	assert_int_equal(k_work_schedule_for_queue(&stopped, &item.dw, HOUR), -ENODEV);
	assert_int_equal(k_work_reschedule_for_queue(&stopped, &item.dw, HOUR), -ENODEV);
	assert_int_equal(k_work_schedule_for_queue(NULL, &item.dw, HOUR), -EINVAL);
	assert_int_equal(zitem_busy(&item), 0);
	assert_null(item.dw.work.queue);
	assert_false(k_work_flush(&item.dw.work, &work_sync));
	assert_false(k_work_flush_delayable(&item.dw, &work_sync));
}

static void times_of_a_delayable_are_ticks(void **state)
{
	k_ticks_t before = k_uptime_ticks(), at;
	struct zitem item;

	zitem_init(&item);
	at = k_work_delayable_expires_get(&item.dw);
	assert_in_range(at, before, k_uptime_ticks());
	assert_int_equal(k_work_delayable_remaining_get(&item.dw), 0);
	assert_int_equal(k_work_schedule_for_queue(&queue, &item.dw, HOUR), 1);
	/* The present may be taken for a microsecond later than it is when a delay begins. */
	assert_in_range(k_work_delayable_remaining_get(&item.dw), HOUR.ticks / 2, HOUR.ticks + 1);
	at = k_work_delayable_expires_get(&item.dw);
	assert_in_range(at, before + HOUR.ticks, k_uptime_ticks() + 2 + HOUR.ticks);
	assert_int_equal(k_work_reschedule_for_queue(&queue, &item.dw, K_FOREVER), 1);
	assert_int_equal(zitem_busy(&item), D);
	assert_int_equal(k_work_reschedule_for_queue(&queue, &item.dw,
						     K_TIMEOUT_ABS_TICKS(k_uptime_ticks() + 500)),
			 1);
	assert_in_range(k_work_delayable_remaining_get(&item.dw), 1, 501);
	assert_int_equal(k_work_cancel_delayable(&item.dw), 0);
	assert_int_equal(k_work_delayable_remaining_get(&item.dw), 0);
	/* One that is past is at once. */
	assert_int_equal(k_work_reschedule_for_queue(&queue, &item.dw, K_TIMEOUT_ABS_TICKS(1)), 1);
	k_work_flush_delayable(&item.dw, &work_sync);
	assert_int_equal(item.runs, 1);
}

static void timeouts_are_rounded_up_to_ticks(void **state)
{
	static const k_timeout_t constant = K_MSEC(25);
	int ms = 11;

	assert_int_equal(CONFIG_SYS_CLOCK_TICKS_PER_SEC, 100);
	assert_int_equal(constant.ticks, 3);
	assert_int_equal(K_MSEC(ms++).ticks, 2);
	assert_int_equal(ms, 12);
	assert_int_equal(K_MSEC(-5).ticks, 0);
	assert_int_equal(K_USEC(1).ticks, 1);
	assert_int_equal(K_SECONDS(2).ticks, 200);
	assert_int_equal(K_MINUTES(1).ticks, 6000);
	assert_int_equal(K_HOURS(1).ticks, 360000);
	assert_true(K_TIMEOUT_EQ(K_NO_WAIT, K_TICKS(0)));
	assert_false(K_TIMEOUT_EQ(K_FOREVER, K_NO_WAIT));
}

/* --- signal handlers --- */

static struct zitem by_handler;
static int answers[12];

static void handler_calls_all(int signo)
{
	struct k_work_delayable *dw = &by_handler.dw;

	answers[0] = k_work_schedule_for_queue(&queue, dw, HOUR);
	answers[1] = k_work_reschedule_for_queue(&queue, dw, K_HOURS(2));
	answers[2] = k_work_delayable_busy_get(dw);
	answers[3] = k_work_delayable_remaining_get(dw) > HOUR.ticks;
	answers[4] = k_work_cancel_delayable(dw);
	answers[5] = k_work_submit_to_queue(&queue, &dw->work);
	answers[6] = k_work_is_pending(&dw->work);
	answers[7] = k_work_queue_unplug(&queue);
	answers[8] = k_work_reschedule_for_queue(&queue, dw, HOUR);
	answers[9] = k_work_cancel_delayable(dw);
	answers[10] = k_work_delayable_busy_get(dw);
	answers[11] = k_work_schedule_for_queue(&queue, dw, K_NO_WAIT);
}

static void signal_handler_may_call_what_interrupts_may(void **state)
{
	static const int expected[] = {1, 1, D, 1, 0, 1, 1, -EALREADY, 1, 0, 0, 1};
	struct sigaction action = {.sa_handler = handler_calls_all}, before;
	struct zitem hold;

	zitem_init(&by_handler);
	zitem_hold(&queue, &hold);
	sigaction(SIGUSR1, &action, &before);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &before, NULL);
	assert_memory_equal(answers, expected, sizeof(expected));
	zitem_pass(&hold);
	k_work_flush(&by_handler.dw.work, &work_sync);
	assert_int_equal(count_get(&by_handler.runs), 1);
}

/* --- fork() --- */

struct parent {
	struct zitem queued, delayed, running, cancelling;
	struct k_work_q own, plugged;
};

static void child_runs(struct k_work_q *of, struct zitem *item)
{
	unsigned long before = count_get(&item->runs);

	item->gated = false;
	latch_init(&item->ended);
	latch_init(&item->started);
	CHECK_EQUAL(zitem_busy(item), 0);
	CHECK_EQUAL(k_work_submit_to_queue(of, &item->dw.work), 1);
	latch_wait(&item->ended, 1);
	k_work_flush(&item->dw.work, &work_sync);
	CHECK_EQUAL(count_get(&item->runs), before + 1);
	CHECK_EQUAL(k_work_cancel_sync(&item->dw.work, &work_sync), 0);
	CHECK_EQUAL(k_work_schedule_for_queue(of, &item->dw, HOUR), 1);
	CHECK_EQUAL(k_work_cancel_delayable(&item->dw), 0);
}

static void child_uses_what_the_parent_had(void *ctx)
{
	struct parent *parent = ctx;

	watchdog();
	child_runs(&parent->own, &parent->delayed);
	CHECK_EQUAL(zqueue_flags(&parent->own), K_WORK_QUEUE_STARTED);
	CHECK(k_work_queue_thread_get(&parent->own) != 0);
	child_runs(&parent->own, &parent->queued);
	child_runs(&parent->own, &parent->running);
	child_runs(&parent->own, &parent->cancelling);
	CHECK_EQUAL(zqueue_flags(&parent->plugged), K_WORK_QUEUE_STARTED | K_WORK_QUEUE_PLUGGED);
	CHECK_EQUAL(k_work_submit_to_queue(&parent->plugged, &parent->queued.dw.work), -EBUSY);
	CHECK_EQUAL(k_work_queue_unplug(&parent->plugged), 0);
	child_runs(&parent->plugged, &parent->queued);
	child_runs(&k_sys_work_q, &parent->delayed);
	CHECK_EQUAL(zqueue_end(&parent->own), 0);
	CHECK_EQUAL(zqueue_end(&parent->plugged), 0);
	CHECK_EQUAL(zqueue_end(&queue), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void child_has_queues_and_idle_items(void **state)
{
	struct parent parent;
	struct zitem hold;

	skip_if_checker_hangs_children();
	zqueue_start(&parent.own);
	zqueue_start(&parent.plugged);
	assert_int_equal(k_work_queue_drain(&parent.plugged, true), 1);
	zitem_hold(&queue, &parent.cancelling);
	assert_int_equal(k_work_cancel(&parent.cancelling.dw.work), R | C);
	zitem_hold(&parent.own, &parent.running);
	zitem_init(&parent.queued);
	zitem_init(&parent.delayed);
	assert_int_equal(k_work_submit_to_queue(&parent.own, &parent.queued.dw.work), 1);
	assert_int_equal(k_work_schedule_for_queue(&parent.own, &parent.delayed.dw, HOUR), 1);
	zitem_init(&hold);
	assert_int_equal(k_work_submit(&hold.dw.work), 1);
	k_work_flush(&hold.dw.work, &work_sync);
	assert_int_equal(in_child(child_uses_what_the_parent_had, &parent), 0);
	zitem_pass(&parent.running);
	zitem_pass(&parent.cancelling);
	k_work_flush(&parent.queued.dw.work, &work_sync);
	assert_true(k_work_cancel_delayable_sync(&parent.delayed.dw, &work_sync));
	assert_int_equal(zqueue_end(&parent.own), 0);
	assert_int_equal(k_work_queue_stop(&parent.plugged, K_FOREVER), 0);
	k_work_flush(&parent.cancelling.dw.work, &work_sync);
	assert_int_equal(parent.queued.runs, 1);
	assert_int_equal(parent.cancelling.runs, 1);
}

/* The thread that serves such a queue is not there: the library makes one. */
static struct k_work_q run_queue;

static void *run_main(void *arg)
{
	k_work_queue_run(&run_queue, NULL);
	return NULL;
}

static void child_serves_what_a_thread_ran(void *ctx)
{
	watchdog();
	child_runs(&run_queue, ctx);
	CHECK_EQUAL(zqueue_end(&run_queue), 0);
}

static void child_has_a_thread_for_a_queue_that_was_run(void **state)
{
	struct zitem item;
	pthread_t thread;

	skip_if_checker_hangs_children();
	zitem_init(&item);
	assert_int_equal(pthread_create(&thread, NULL, run_main, NULL), 0);
	while (k_work_submit_to_queue(&run_queue, &item.dw.work) == -ENODEV)
		sched_yield();
	k_work_flush(&item.dw.work, &work_sync);
	assert_int_equal(in_child(child_serves_what_a_thread_ran, &item), 0);
	assert_int_equal(zqueue_end(&run_queue), 0);
	pthread_join(thread, NULL);
}

/* --- handlers that end their thread --- */

static void handler_exits(struct k_work *work)
{
	pthread_exit(NULL);
}

static void thread_that_ends_in_a_handler_is_replaced(void **state)
{
	struct k_work_q exiting;
	struct zitem item;
	struct k_work work;
	k_tid_t thread;

	zqueue_start(&exiting);
	k_work_init(&work, handler_exits);
	assert_int_equal(k_work_submit_to_queue(&exiting, &work), 1);
	k_work_flush(&work, &work_sync);
	assert_int_equal(k_work_busy_get(&work), 0);
	zitem_init(&item);
	assert_int_equal(k_work_submit_to_queue(&exiting, &item.dw.work), 1);
	k_work_flush(&item.dw.work, &work_sync);
	assert_true(pthread_equal(item.thread, k_work_queue_thread_get(&exiting)));
	assert_int_equal(zqueue_flags(&exiting), K_WORK_QUEUE_STARTED);
	assert_int_equal(zqueue_end(&exiting), 0);
	/* The program's own: the library's takes its place. */
	zitem_init(&item);
	assert_int_equal(pthread_create(&thread, NULL, run_main, NULL), 0);
	while (k_work_submit_to_queue(&run_queue, &work) == -ENODEV)
		sched_yield();
	pthread_join(thread, NULL);
	assert_int_equal(k_work_submit_to_queue(&run_queue, &item.dw.work), 1);
	k_work_flush(&item.dw.work, &work_sync);
	assert_int_equal(count_get(&item.runs), 1);
	assert_int_equal(zqueue_end(&run_queue), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(initialiser_and_call_give_equal_items),
		cmocka_unit_test(item_without_handler_is_reported_in_place_of_its_run),
		cmocka_unit_test(submit_to_a_queue_that_is_not_started_is_refused),
		cmocka_unit_test(times_of_a_delayable_are_ticks),
		cmocka_unit_test(timeouts_are_rounded_up_to_ticks),
		cmocka_unit_test(signal_handler_may_call_what_interrupts_may),
		cmocka_unit_test(child_has_queues_and_idle_items),
		cmocka_unit_test(child_has_a_thread_for_a_queue_that_was_run),
		cmocka_unit_test(thread_that_ends_in_a_handler_is_replaced),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
