/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trigger items: what each call answers, and what it does to one that is armed. */
#include "events.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/resource.h>

static struct wq *wq;
static struct ends ends;

static int setup(void **state)
{
	wq = wq_alloc("calls", 0, 0);
	ends_open(&ends);
	return !wq;
}

static int teardown(void **state)
{
	ends_close(&ends);
	return wq_destroy(wq);
}

/* --- armed --- */

static void trigger_armed_item_is_not_armed_or_queued_again(void **state)
{
	struct waiter waiter;
	struct wq_event other[1] = {{.fd = ends.out, .events = EPOLLOUT}};

	waiter_init(&waiter);
	assert_false(wq_trigger_work_pending(&waiter.tw));
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_true(wq_trigger_work_pending(&waiter.tw));
	assert_true(wq_work_pending(&waiter.tw.work));
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_DELAYED);
	assert_int_equal(wq_work_busy(&waiter.tw.work), WQ_BUSY_DELAYED);
	/* Another event, which is ready: nothing has changed. */
	assert_int_equal(wq_queue_trigger(wq, &waiter.tw, other, 1, 0), 0);
	assert_int_equal(wq_queue(wq, &waiter.tw.work), 0);
	assert_int_equal(wq_queue_on(wq, &waiter.tw.work, usable_cpu(0)), 0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_DELAYED);
	byte_write(ends.out);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.ev[0].revents, EPOLLIN);
	assert_int_equal(other[0].revents, 0);
	byte_read(ends.in);
}

static void trigger_pending_item_is_not_armed(void **state)
{
	struct wq *ordered = wq_alloc("ordered", WQ_ORDERED, 0);
	struct waiter waiter;
	struct probe gate;

	waiter_init(&waiter);
	probe_init_gate(&gate);
	assert_int_equal(wq_queue(ordered, &gate.work), 1);
	assert_int_equal(wq_queue(ordered, &waiter.tw.work), 1);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_PENDING);
	latch_post(&gate.open);
	waiter_wait(&waiter, 1);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	assert_int_equal(wq_destroy(ordered), 0);
}

static void trigger_static_initialiser_works(void **state)
{
	static struct waiter waiter;
	struct wq_trigger_work tw;

	waiter_init(&waiter);
	tw = (struct wq_trigger_work)WQ_TRIGGER_WORK_INIT(waiter.tw.work.wq_fn, &waiter);
	waiter.tw = tw;
	byte_write(ends.out);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	waiter_wait(&waiter, 1);
	byte_read(ends.in);
}

/* --- taken back --- */

static int cancel(struct waiter *waiter, unsigned how)
{
	switch (how) {
	case 0:
		return wq_trigger_work_cancel(&waiter->tw);
	case 1:
		return wq_trigger_work_cancel_sync(&waiter->tw);
	case 2:
		return wq_work_cancel(&waiter->tw.work);
	default:
		return wq_work_cancel_sync(&waiter->tw.work);
	}
}

static void trigger_cancelled_item_does_not_run_and_can_be_armed_again(void **state)
{
	unsigned long runs = 0;
	struct waiter waiter;
	unsigned how;

	waiter_init(&waiter);
	for (how = 0; how < 4; how++) {
		assert_int_equal(cancel(&waiter, how), 0);
		assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
		assert_int_equal(cancel(&waiter, how), 1);
		assert_int_equal(cancel(&waiter, how), 0);
		assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
		/* The kernel may still know of it. */
		byte_write(ends.out);
		assert_true(trigger_works(wq));
		assert_int_equal(count_get(&waiter.runs), runs);
		assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
		waiter_wait(&waiter, ++runs);
		byte_read(ends.in);
	}
}

static void trigger_disabled_item_is_not_armed(void **state)
{
	struct waiter waiter;

	waiter_init(&waiter);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(wq_trigger_work_disable(&waiter.tw), 1);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_DISABLED);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), -EBUSY);
	assert_int_equal(wq_trigger_work_disable_sync(&waiter.tw), 0);
	assert_int_equal(wq_trigger_work_enable(&waiter.tw), 0);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, 0), -EBUSY);
	assert_int_equal(wq_trigger_work_enable(&waiter.tw), 1);
	assert_int_equal(wq_trigger_work_enable(&waiter.tw), -EINVAL);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(wq_trigger_work_disable_sync(&waiter.tw), 1);
	assert_int_equal(wq_enable_and_queue(wq, &waiter.tw.work), 1);
	waiter_wait(&waiter, 1);
}

/* --- flushed --- */

static void trigger_flush_runs_an_armed_item_now(void **state)
{
	struct waiter waiter;

	waiter_init(&waiter);
	assert_int_equal(wq_trigger_work_flush(&waiter.tw), 0);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(wq_trigger_work_flush(&waiter.tw), 1);
	assert_int_equal(count_get(&waiter.runs), 1);
	assert_int_equal(waiter.tw.result, -ETIMEDOUT);
	assert_int_equal(waiter.ev[0].revents, 0);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, 3600 * 1000 * MS), 1);
	assert_int_equal(wq_work_flush(&waiter.tw.work), 1);
	assert_int_equal(waiter.tw.result, -ETIMEDOUT);
	assert_int_equal(count_get(&waiter.runs), 2);
	/* An event afterwards does not run it. */
	byte_write(ends.out);
	assert_true(trigger_works(wq));
	assert_int_equal(count_get(&waiter.runs), 2);
	byte_read(ends.in);
}

static void trigger_flush_of_a_parked_item_keeps_its_event(void **state)
{
	struct wq *plugged = wq_alloc("plugged", 0, 0);
	struct waiter parked, witness;

	waiter_init(&parked);
	waiter_init(&witness);
	assert_int_equal(waiter_arm(plugged, &parked, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(waiter_arm(wq, &witness, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(wq_plug(plugged), 0);
	byte_write(ends.out);
	waiter_wait(&witness, 1);
	byte_read(ends.in);
	assert_int_equal(wq_trigger_work_flush(&parked.tw), 1);
	assert_int_equal(parked.tw.result, 0);
	assert_int_equal(parked.ev[0].revents, EPOLLIN);
	assert_int_equal(wq_unplug(plugged), 0);
	assert_int_equal(wq_destroy(plugged), 0);
	assert_int_equal(parked.runs, 1);
}

struct own_calls {
	struct wq_trigger_work tw;
	struct wq_event ev;
	int flush, cancel, cancel_armed, disable;
	struct latch ran;
};

static void own_calls_fn(struct wq_work *work, void *ctx)
{
	struct own_calls *own = ctx;

	own->flush = wq_trigger_work_flush(&own->tw);
	own->cancel = wq_trigger_work_cancel_sync(&own->tw);
	wq_queue_trigger(wq, &own->tw, &own->ev, 1, WQ_FOREVER);
	own->cancel_armed = wq_trigger_work_cancel_sync(&own->tw);
	wq_queue_trigger(wq, &own->tw, &own->ev, 1, WQ_FOREVER);
	own->disable = wq_trigger_work_disable_sync(&own->tw);
	latch_post(&own->ran);
}

static void trigger_waits_of_an_item_for_itself_are_refused(void **state)
{
	struct own_calls own = {.ev = {.fd = ends.out, .events = EPOLLIN}};

	wq_trigger_work_init(&own.tw, own_calls_fn, &own);
	latch_init(&own.ran);
	assert_int_equal(wq_queue_trigger(wq, &own.tw, &own.ev, 1, 0), 1);
	latch_wait(&own.ran, 1);
	wq_flush(wq);
	assert_int_equal(own.flush, -EDEADLK);
	assert_int_equal(own.cancel, -EDEADLK);
	assert_int_equal(own.cancel_armed, -EDEADLK);
	assert_int_equal(own.disable, -EDEADLK);
	/* Cancelled all the same. */
	assert_int_equal(wq_trigger_work_busy(&own.tw), WQ_BUSY_DISABLED);
}

/* --- queues that end, or take nothing just now --- */

static void shutdown_child(void *ctx)
{
	struct waiter waiter;

	waiter_init(&waiter);
	CHECK_EQUAL(waiter_arm(wq_system(), &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), -EBUSY);
	/* It goes on as before. */
	byte_write(ends.out);
	waiter_wait(&waiter, 1);
	byte_read(ends.in);
	CHECK_EQUAL(waiter.tw.result, 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
	CHECK_EQUAL(own_fds_find(3).epoll, -1);
	CHECK_EQUAL(own_fds_find(3).end, -1);
	/* And anew. */
	CHECK(trigger_works(wq_system()));
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void trigger_armed_item_keeps_its_queue(void **state)
{
	struct wq *kept = wq_alloc("kept", 0, 0);
	struct waiter waiter;

	waiter_init(&waiter);
	assert_int_equal(waiter_arm(kept, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(wq_destroy(kept), -EBUSY);
	byte_write(ends.out);
	waiter_wait(&waiter, 1);
	byte_read(ends.in);
	assert_int_equal(waiter_arm(kept, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(wq_destroy(kept), -EBUSY);
	assert_int_equal(wq_trigger_work_cancel(&waiter.tw), 1);
	assert_int_equal(wq_destroy(kept), 0);
}

static void trigger_armed_item_keeps_the_library(void **state)
{
	skip_if_checker_hangs_children();
	assert_int_equal(in_child(shutdown_child, NULL), 0);
}

static void trigger_armed_item_does_not_hold_up_flush_and_drain(void **state)
{
	struct waiter waiter;

	waiter_init(&waiter);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(wq_drain(wq), 0);
	assert_int_equal(wq_trigger_work_cancel(&waiter.tw), 1);
	assert_int_equal(count_get(&waiter.runs), 0);
}

static struct wq *shut;
static struct probe drained_gate;

static void *drain_main(void *arg)
{
	wq_drain(shut);
	return NULL;
}

static pthread_t drainer;

/* 0 plugged, 1 frozen, 2 draining. */
static void shut_queue(unsigned how)
{
	if (how == 0) {
		assert_int_equal(wq_plug(shut), 0);
	} else if (how == 1) {
		assert_int_equal(wq_freeze_all(), 0);
	} else {
		probe_init_gate(&drained_gate);
		assert_int_equal(wq_queue(shut, &drained_gate.work), 1);
		latch_wait(&drained_gate.started, 1);
		assert_int_equal(pthread_create(&drainer, NULL, drain_main, NULL), 0);
		/* It drains when it refuses; until then this is taken back. */
		while (wq_queue(shut, &drained_gate.work) != -ESHUTDOWN) {
			wq_work_cancel(&drained_gate.work);
			sched_yield();
		}
	}
}

static void open_queue(unsigned how)
{
	if (how == 0) {
		assert_int_equal(wq_unplug(shut), 0);
	} else if (how == 1) {
		assert_int_equal(wq_thaw_all(), 0);
	} else {
		latch_post(&drained_gate.open);
		pthread_join(drainer, NULL);
	}
}

static void trigger_event_on_a_queue_that_refuses_is_kept(void **state)
{
	struct waiter parked, cancelled, late, witness;
	unsigned how;

	for (how = 0; how < 3; how++) {
		shut = wq_alloc("shut", WQ_FREEZABLE, 0);
		waiter_init(&parked);
		waiter_init(&cancelled);
		waiter_init(&late);
		waiter_init(&witness);
		assert_int_equal(waiter_arm(shut, &parked, ends.in, EPOLLIN, 3600 * 1000 * MS), 1);
		assert_int_equal(waiter_arm(shut, &cancelled, ends.in, EPOLLIN, WQ_FOREVER), 1);
		shut_queue(how);
		/* Arming is not queueing. */
		assert_int_equal(waiter_arm(shut, &late, ends.in, EPOLLIN, 1), 1);
		assert_int_equal(waiter_arm(wq, &witness, ends.in, EPOLLIN, WQ_FOREVER), 1);
		/* Who waits for the same, last, has run: so the others were looked at. */
		byte_write(ends.out);
		waiter_wait(&witness, 1);
		byte_read(ends.in);
		assert_int_equal(wq_trigger_work_busy(&parked.tw), WQ_BUSY_DELAYED);
		assert_int_equal(wq_trigger_work_busy(&cancelled.tw), WQ_BUSY_DELAYED);
		assert_int_equal(wq_trigger_work_busy(&late.tw), WQ_BUSY_DELAYED);
		assert_int_equal(wq_destroy(shut), -EBUSY);
		assert_int_equal(wq_trigger_work_cancel(&cancelled.tw), 1);
		assert_int_equal(wq_trigger_work_busy(&cancelled.tw), 0);
		assert_int_equal(count_get(&parked.runs) + count_get(&late.runs), 0);
		open_queue(how);
		waiter_wait(&parked, 1);
		/* An event came, though it has been read since. */
		assert_int_equal(parked.tw.result, 0);
		assert_int_equal(parked.ev[0].revents, EPOLLIN);
		waiter_wait(&late, 1);
		assert_int_equal(wq_destroy(shut), 0);
		assert_int_equal(parked.runs + late.runs, 2);
		assert_int_equal(cancelled.runs, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trigger_armed_item_is_not_armed_or_queued_again),
		cmocka_unit_test(trigger_pending_item_is_not_armed),
		cmocka_unit_test(trigger_static_initialiser_works),
		cmocka_unit_test(trigger_cancelled_item_does_not_run_and_can_be_armed_again),
		cmocka_unit_test(trigger_disabled_item_is_not_armed),
		cmocka_unit_test(trigger_flush_runs_an_armed_item_now),
		cmocka_unit_test(trigger_flush_of_a_parked_item_keeps_its_event),
		cmocka_unit_test(trigger_waits_of_an_item_for_itself_are_refused),
		cmocka_unit_test(trigger_armed_item_keeps_its_queue),
		cmocka_unit_test(trigger_armed_item_keeps_the_library),
		cmocka_unit_test(trigger_armed_item_does_not_hold_up_flush_and_drain),
		cmocka_unit_test(trigger_event_on_a_queue_that_refuses_is_kept),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
