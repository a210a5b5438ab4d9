/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Zephyr's triggered work: signals, time-outs, what is past waiting; and its user mode work. */
#include "zitem.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

static struct k_work_q queue, other;
static struct k_work_sync work_sync;

static int setup(void **state)
{
	zqueue_start(&queue);
	zqueue_start(&other);
	return 0;
}

static int teardown(void **state)
{
	return zqueue_end(&queue) || zqueue_end(&other) || wq_shutdown();
}

/* An item that notes what it found when it ran. */
struct triggered {
	struct k_work_poll poll;
	struct k_poll_event events[2];
	struct latch ran;
	int result;
};

static struct k_poll_signal first, second;

static void triggered_handler(struct k_work *work)
{
	struct triggered *t =
		CONTAINER_OF(CONTAINER_OF(work, struct k_work_poll, work), struct triggered, poll);

	t->result = t->poll.poll_result;
	latch_post(&t->ran);
}

static void triggered_init(struct triggered *t)
{
	k_work_poll_init(&t->poll, triggered_handler);
	latch_init(&t->ran);
	k_poll_event_init(&t->events[0], K_POLL_TYPE_SIGNAL, K_POLL_MODE_NOTIFY_ONLY, &first);
	k_poll_event_init(&t->events[1], K_POLL_TYPE_SIGNAL, K_POLL_MODE_NOTIFY_ONLY, &second);
	k_poll_signal_init(&first);
	k_poll_signal_init(&second);
}

static int triggered_submit(struct triggered *t, k_timeout_t timeout)
{
	return k_work_poll_submit_to_queue(&queue, &t->poll, t->events, 2, timeout);
}

/* It has run @runs times, the last time with @result, and waits for nothing. */
static void triggered_ran(struct triggered *t, unsigned long runs, int result)
{
	latch_wait(&t->ran, runs);
	k_work_flush(&t->poll.work, &work_sync);
	assert_int_equal(t->result, result);
	assert_int_equal(latch_count(&t->ran), runs);
	assert_int_equal(k_work_busy_get(&t->poll.work), 0);
	assert_int_equal(k_work_poll_cancel(&t->poll), -EINVAL);
	assert_null(first.wq_waiting);
	assert_null(second.wq_waiting);
}

static void signal_triggers_what_waits_for_it(void **state)
{
	unsigned int signaled;
	struct triggered t;
	int result;

	triggered_init(&t);
	assert_int_equal(triggered_submit(&t, K_FOREVER), 0);
	assert_int_equal(k_work_busy_get(&t.poll.work), 0);
	assert_int_equal(t.poll.poll_result, -EINPROGRESS);
	assert_int_equal(k_poll_signal_raise(&second, 0x1337), 0);
	triggered_ran(&t, 1, 0);
	assert_int_equal(t.events[0].state, K_POLL_STATE_NOT_READY);
	assert_int_equal(t.events[1].state, K_POLL_STATE_SIGNALED);
	k_poll_signal_check(&second, &signaled, &result);
	assert_int_equal(signaled, 1);
	assert_int_equal(result, 0x1337);
	/* What is ready already counts, until it is reset. */
	assert_int_equal(triggered_submit(&t, K_HOURS(1)), 0);
	triggered_ran(&t, 2, 0);
	k_poll_signal_reset(&second);
	k_poll_signal_check(&second, &signaled, &result);
	assert_int_equal(signaled, 0);
	assert_int_equal(triggered_submit(&t, K_HOURS(1)), 0);
	assert_int_equal(t.poll.poll_result, -EINPROGRESS);
	k_poll_signal_raise(&first, 1);
	triggered_ran(&t, 3, 0);
}

static void timeout_runs_it_with_eagain(void **state)
{
	struct triggered t;

	triggered_init(&t);
	assert_int_equal(triggered_submit(&t, K_TICKS(1)), 0);
	triggered_ran(&t, 1, -EAGAIN);
	assert_int_equal(triggered_submit(&t, K_NO_WAIT), 0);
	triggered_ran(&t, 2, -EAGAIN);
	k_poll_signal_raise(&first, 0);
	assert_int_equal(triggered_submit(&t, K_NO_WAIT), 0);
	triggered_ran(&t, 3, 0);
}

/* The plain calls, of the item in it: it is on no list afterwards, and may wait anew. */
static void plain_cancel_ends_the_wait(void **state)
{
	static const k_ticks_t timeouts[] = {K_TICKS_FOREVER, 1000000};
	struct triggered t;
	unsigned i;

	triggered_init(&t);
	for (i = 0; i < ARRAY_SIZE(timeouts); i++) {
		assert_int_equal(triggered_submit(&t, K_TICKS(timeouts[i])), 0);
		assert_int_equal(k_work_cancel(&t.poll.work), 0);
		assert_null(first.wq_waiting);
		assert_null(second.wq_waiting);
		assert_int_equal(triggered_submit(&t, K_TICKS(timeouts[i])), 0);
		assert_true(k_work_cancel_sync(&t.poll.work, &work_sync));
		assert_false(k_work_cancel_sync(&t.poll.work, &work_sync));
		assert_null(first.wq_waiting);
		assert_int_equal(k_poll_signal_raise(&first, 0), 0);
		assert_int_equal(latch_count(&t.ran), 0);
		k_poll_signal_reset(&first);
	}
	assert_int_equal(triggered_submit(&t, K_FOREVER), 0);
	k_poll_signal_raise(&second, 0);
	triggered_ran(&t, 1, 0);
}

static void plain_cancel_of_what_was_triggered_leaves_it_idle(void **state)
{
	struct triggered t;
	struct zitem hold;

	triggered_init(&t);
	zitem_hold(&queue, &hold);
	assert_int_equal(triggered_submit(&t, K_HOURS(1)), 0);
	k_poll_signal_raise(&first, 0);
	assert_int_equal(k_work_busy_get(&t.poll.work), Q);
	assert_int_equal(k_work_cancel(&t.poll.work), 0);
	k_poll_signal_reset(&first);
	/* It can wait again; elsewhere, too. */
	assert_int_equal(k_work_poll_submit_to_queue(&other, &t.poll, t.events, 2, K_FOREVER), 0);
	k_poll_signal_raise(&first, 0);
	triggered_ran(&t, 1, 0);
	zitem_pass(&hold);
	k_work_flush(&hold.dw.work, &work_sync);
}

static void submit_again_waits_anew_or_is_past_that(void **state)
{
	struct triggered t;
	struct zitem hold;

	triggered_init(&t);
	assert_int_equal(triggered_submit(&t, K_HOURS(1)), 0);
	assert_int_equal(triggered_submit(&t, K_FOREVER), 0);
	assert_int_equal(triggered_submit(&t, K_HOURS(1)), 0);
	assert_int_equal(k_work_poll_submit_to_queue(&other, &t.poll, t.events, 2, K_FOREVER),
			 -EADDRINUSE);
	zitem_hold(&queue, &hold);
	k_poll_signal_raise(&first, 0);
	assert_int_equal(k_work_busy_get(&t.poll.work) & Q, Q);
	assert_int_equal(t.poll.poll_result, 0);
	assert_int_equal(triggered_submit(&t, K_FOREVER), -EINVAL);
	assert_int_equal(k_work_poll_cancel(&t.poll), -EINVAL);
	zitem_pass(&hold);
	triggered_ran(&t, 1, 0);
	k_work_flush(&hold.dw.work, &work_sync);
	/* Idle, it may go anywhere. */
	k_poll_signal_reset(&first);
	assert_int_equal(k_work_poll_submit_to_queue(&other, &t.poll, t.events, 2, K_FOREVER), 0);
	k_poll_signal_raise(&first, 0);
	triggered_ran(&t, 2, 0);
	assert_ptr_equal(t.poll.work.queue, &other);
}

static void cancelled_it_does_not_run(void **state)
{
	struct triggered t;
	struct zitem marker;

	triggered_init(&t);
	assert_int_equal(k_work_poll_cancel(&t.poll), -EINVAL);
	assert_int_equal(k_work_poll_cancel(NULL), -EINVAL);
	assert_int_equal(triggered_submit(&t, K_HOURS(1)), 0);
	assert_int_equal(k_work_poll_cancel(&t.poll), 0);
	assert_int_equal(k_work_poll_cancel(&t.poll), -EINVAL);
	assert_int_equal(triggered_submit(&t, K_FOREVER), 0);
	assert_int_equal(k_work_poll_cancel(&t.poll), 0);
	k_poll_signal_raise(&first, 0);
	zitem_init(&marker);
	k_work_submit_to_queue(&queue, &marker.dw.work);
	k_work_flush(&marker.dw.work, &work_sync);
	assert_int_equal(latch_count(&t.ran), 0);
	assert_int_equal(k_work_busy_get(&t.poll.work), 0);
}

/* Each raise is for one, the one that has waited longest. */
static void raise_triggers_one_of_several(void **state)
{
	struct triggered one, two;

	triggered_init(&one);
	triggered_init(&two);
	assert_int_equal(triggered_submit(&one, K_FOREVER), 0);
	assert_int_equal(triggered_submit(&two, K_HOURS(1)), 0);
	k_poll_signal_raise(&first, 0);
	latch_wait(&one.ran, 1);
	assert_int_equal(two.poll.poll_result, -EINPROGRESS);
	k_poll_signal_raise(&second, 0);
	triggered_ran(&two, 1, 0);
	triggered_ran(&one, 1, 0);
}

/* Zephyr loses it. */
static void trigger_on_a_plugged_queue_is_kept(void **state)
{
	struct triggered t;

	triggered_init(&t);
	assert_int_equal(triggered_submit(&t, K_FOREVER), 0);
	assert_int_equal(k_work_queue_drain(&queue, true), 1);
	k_poll_signal_raise(&first, 0);
	while (!wq_zephyr_timers_kept(&queue))
		sched_yield();
	assert_int_equal(latch_count(&t.ran), 0);
	assert_int_equal(triggered_submit(&t, K_FOREVER), -EINVAL);
	assert_int_equal(k_work_queue_unplug(&queue), 0);
	triggered_ran(&t, 1, 0);
}

static void misuse_is_refused(void **state)
{
	struct k_poll_event unknown = K_POLL_EVENT_INITIALIZER(8, 0, &first);
	struct k_work_q stopped = {0};
	struct triggered t;

	triggered_init(&t);
	assert_int_equal(k_work_poll_submit_to_queue(&queue, &t.poll, &unknown, 1, K_FOREVER),
			 -EINVAL);
	assert_int_equal(k_work_poll_submit_to_queue(NULL, &t.poll, t.events, 2, K_FOREVER),
			 -EINVAL);
	assert_int_equal(k_work_poll_submit_to_queue(&stopped, &t.poll, t.events, 2, K_FOREVER),
			 -ENODEV);
	memset(&t.poll, 0, sizeof(t.poll));
	assert_int_equal(triggered_submit(&t, K_FOREVER), -EINVAL);
}

static void raise_first(int signo)
{
	k_poll_signal_raise(&first, signo);
}

static void signal_handler_triggers(void **state)
{
	struct sigaction action = {.sa_handler = raise_first}, before;
	struct triggered t;
	unsigned i;

	triggered_init(&t);
	sigaction(SIGUSR1, &action, &before);
	for (i = 1; i <= 100; i++) {
		k_poll_signal_reset(&first);
		assert_int_equal(triggered_submit(&t, i % 2 ? K_HOURS(1) : K_FOREVER), 0);
		raise(SIGUSR1);
		triggered_ran(&t, i, 0);
	}
	sigaction(SIGUSR1, &before, NULL);
}

/* What waits in the parent does not in the child, and may be used anew there. */
static void child_of_a_triggered_item(void *ctx)
{
	struct triggered *t = ctx;

	watchdog();
	k_poll_signal_raise(&first, 0);
	CHECK_EQUAL(k_work_busy_get(&t->poll.work), 0);
	k_poll_signal_reset(&first);
	latch_init(&t->ran);
	CHECK_EQUAL(triggered_submit(t, K_HOURS(1)), 0);
	k_poll_signal_raise(&first, 0);
	latch_wait(&t->ran, 1);
	CHECK_EQUAL(t->result, 0);
}

static void child_begins_idle(void **state)
{
	struct triggered t;

	skip_if_checker_hangs_children();
	triggered_init(&t);
	assert_int_equal(triggered_submit(&t, K_HOURS(1)), 0);
	assert_int_equal(in_child(child_of_a_triggered_item, &t), 0);
	assert_int_equal(t.poll.poll_result, -EINPROGRESS);
	k_poll_signal_raise(&first, 0);
	triggered_ran(&t, 1, 0);
}

/* --- user mode work --- */

static unsigned long user_runs;
static struct latch user_ran;

static void user_handler(struct k_work_user *work)
{
	user_runs++;
	latch_post(&user_ran);
}

static K_WORK_USER_DEFINE(defined_user, user_handler);

static void user_work_runs_once_a_submission(void **state)
{
	struct k_work_user_q user_queue = {0};
	struct k_work_user work;
	struct zitem hold;

	latch_init(&user_ran);
	k_work_user_init(&work, user_handler);
	assert_memory_equal(&work, &defined_user, sizeof(work));
	assert_int_equal(k_work_user_submit_to_queue(&user_queue, &work), -ENODEV);
	k_work_user_queue_start(&user_queue, NULL, 0, K_PRIO_PREEMPT(0), "user");
	assert_true(k_work_user_queue_thread_get(&user_queue) != 0);
	zitem_hold(&user_queue.wq_queue, &hold);
	assert_int_equal(k_work_user_submit_to_queue(&user_queue, &work), 0);
	assert_true(k_work_user_is_pending(&work));
	assert_int_equal(k_work_user_submit_to_queue(&user_queue, &work), -EBUSY);
	assert_int_equal(k_work_user_submit_to_queue(&user_queue, &defined_user), 0);
	zitem_pass(&hold);
	latch_wait(&user_ran, 2);
	assert_int_equal(zqueue_end(&user_queue.wq_queue), 0);
	assert_int_equal(user_runs, 2);
	assert_false(k_work_user_is_pending(&work));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signal_triggers_what_waits_for_it),
		cmocka_unit_test(timeout_runs_it_with_eagain),
		cmocka_unit_test(plain_cancel_ends_the_wait),
		cmocka_unit_test(plain_cancel_of_what_was_triggered_leaves_it_idle),
		cmocka_unit_test(submit_again_waits_anew_or_is_past_that),
		cmocka_unit_test(cancelled_it_does_not_run),
		cmocka_unit_test(raise_triggers_one_of_several),
		cmocka_unit_test(trigger_on_a_plugged_queue_is_kept),
		cmocka_unit_test(misuse_is_refused),
		cmocka_unit_test(signal_handler_triggers),
		cmocka_unit_test(child_begins_idle),
		cmocka_unit_test(user_work_runs_once_a_submission),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
