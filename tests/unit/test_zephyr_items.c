/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Zephyr's items without their states: what is read by name and value, times, what signal
 * handlers may call, fork(), and waiting that could not end.
 */
#include "zitem.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

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
	assert_in_range(k_work_delayable_remaining_get(&item.dw), HOUR.ticks / 2, HOUR.ticks);
	at = k_work_delayable_expires_get(&item.dw);
	assert_in_range(at, before + HOUR.ticks, k_uptime_ticks() + 1 + HOUR.ticks);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(initialiser_and_call_give_equal_items),
		cmocka_unit_test(submit_to_a_queue_that_is_not_started_is_refused),
		cmocka_unit_test(times_of_a_delayable_are_ticks),
		cmocka_unit_test(timeouts_are_rounded_up_to_ticks),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
