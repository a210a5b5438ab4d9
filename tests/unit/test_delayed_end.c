/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Delayed items and the end of queues, and of the library: wq_destroy() and wq_shutdown(). */
#include "shot.h"

#include <sched.h>

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_DEDICATED};

/* Takes items at all times. */
static struct wq *other;

static int setup(void **state)
{
	other = wq_alloc("other", 0, 0);
	return other ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(other);
}

/* --- Destroyed --- */

static void destroy_with_an_armed_item_changes_nothing(void **state)
{
	struct shot shot, soon, plain;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("kept", kinds[i], 0);

		assert_non_null(wq);
		shot_init(&shot);
		shot_init(&soon);
		shot_init(&plain);
		assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
		assert_int_equal(wq_destroy(wq), -EBUSY);
		shot_is_armed(&shot);
		assert_int_equal(wq_queue(wq, &plain.dw.work), 1);
		shot_wait(&plain, 1);
		assert_int_equal(wq_queue_delayed(wq, &soon.dw, 1), 1);
		shot_wait(&soon, 1);
		assert_int_equal(wq_destroy(wq), -EBUSY);
		assert_int_equal(wq_mod_delayed(wq, &shot.dw, 1), 1);
		shot_wait(&shot, 1);
		shot_is_idle(&shot, 1);
		assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
		assert_int_equal(wq_destroy(wq), -EBUSY);
		assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
		assert_int_equal(wq_destroy(wq), 0);
		shot_is_idle(&shot, 1);
	}
}

/* What fires just then is run out; what does not is armed, and the queue stays. */
static void destroy_when_an_item_fires_loses_nothing(void **state)
{
	unsigned long round, rounds = scaled(300), busy = 0;
	struct shot shot;

	shot_init(&shot);
	for (round = 1; round <= rounds; round++) {
		struct wq *wq = wq_alloc("fires", kinds[round % ARRAY_SIZE(kinds)], 0);
		int ret;

		assert_non_null(wq);
		assert_int_equal(wq_queue_delayed(wq, &shot.dw, 1 + round * 1000 % 200000), 1);
		while ((ret = wq_destroy(wq)) == -EBUSY) {
			busy++;
			sched_yield();
		}
		assert_int_equal(ret, 0);
		shot_is_idle(&shot, round);
	}
	print_message("%lu of %lu times it was busy\n", busy, busy + rounds);
}

/* An item that arms itself, and others, on the queue that is being destroyed. */
struct last {
	struct wq_delayed_work dw, pending;
	struct wq *wq;
	struct latch started, open;
	unsigned long runs;
	int queued, modded, rescheduled, now, nowhere;
};

static void last_fn(struct wq_work *work, void *ctx)
{
	struct last *last = ctx;

	if (count_up(&last->runs) > 1)
		return;
	latch_post(&last->started);
	latch_wait(&last->open, 1);
	last->queued = wq_queue_delayed(last->wq, &last->dw, HOUR);
	last->modded = wq_mod_delayed(last->wq, &last->dw, HOUR);
	last->rescheduled = wq_reschedule(last->wq, &last->dw, HOUR);
	/* What is pending is not taken back for nothing. */
	last->nowhere = wq_mod_delayed(last->wq, &last->pending, HOUR);
	last->now = wq_queue_delayed(last->wq, &last->dw, 0);
}

static unsigned long pending_runs;

static void pending_fn(struct wq_work *work, void *ctx)
{
	count_up(&pending_runs);
}

static void arming_on_a_queue_being_destroyed_answers_eshutdown(void **state)
{
	struct last last = {.wq = wq_alloc("last", WQ_ORDERED, 0)};
	struct waiting destroy;
	struct shot stranger;

	latch_init(&last.started);
	latch_init(&last.open);
	shot_init(&stranger);
	pending_runs = 0;
	wq_delayed_work_init(&last.dw, last_fn, &last);
	wq_delayed_work_init(&last.pending, pending_fn, NULL);
	assert_int_equal(wq_queue_delayed(last.wq, &last.dw, 1), 1);
	latch_wait(&last.started, 1);
	assert_int_equal(wq_queue(last.wq, &last.pending.work), 1);
	waiting_begin(&destroy, last.wq, wq_destroy);
	assert_int_equal(wq_queue_delayed(last.wq, &stranger.dw, HOUR), -ESHUTDOWN);
	assert_int_equal(wq_queue_delayed(last.wq, &stranger.dw, 0), -ESHUTDOWN);
	assert_int_equal(wq_mod_delayed(last.wq, &stranger.dw, HOUR), -ESHUTDOWN);
	assert_int_equal(wq_reschedule(last.wq, &stranger.dw, HOUR), -ESHUTDOWN);
	assert_int_equal(wq_queue_delayed(other, &stranger.dw, HOUR), 1);
	assert_int_equal(wq_mod_delayed(last.wq, &stranger.dw, HOUR), -ESHUTDOWN);
	assert_int_equal(wq_mod_delayed(last.wq, &stranger.dw, 0), -ESHUTDOWN);
	assert_int_equal(wq_reschedule(last.wq, &stranger.dw, HOUR), -ESHUTDOWN);
	shot_is_armed(&stranger);
	assert_int_equal(wq_delayed_work_flush(&stranger.dw), 1);
	assert_ptr_equal(stranger.wq, other);
	latch_post(&last.open);
	waiting_end(&destroy);
	assert_int_equal(last.queued, -ESHUTDOWN);
	assert_int_equal(last.modded, -ESHUTDOWN);
	assert_int_equal(last.rescheduled, -ESHUTDOWN);
	assert_int_equal(last.nowhere, -ESHUTDOWN);
	assert_int_equal(last.now, 1);
	assert_int_equal(last.runs, 2);
	assert_int_equal(pending_runs, 1);
	assert_int_equal(wq_delayed_work_busy(&last.dw), 0);
	shot_is_idle(&stranger, 1);
}

/* --- Shut down --- */

static void shutdown_with_an_armed_item_answers_ebusy(void **state)
{
	struct wq *(*const systems[])(void) = {wq_system,	  wq_system_percpu,
					       wq_system_highpri, wq_system_long,
					       wq_system_bh,	  wq_system_freezable};
	struct shot shot, soon;
	unsigned i;

	assert_int_equal(wq_destroy(other), 0);
	for (i = 0; i < ARRAY_SIZE(systems); i++) {
		shot_init(&shot);
		shot_init(&soon);
		assert_int_equal(i ? wq_queue_delayed(systems[i](), &shot.dw, HOUR)
				   : wq_schedule_delayed(&shot.dw, HOUR),
				 1);
		assert_int_equal(wq_shutdown(), -EBUSY);
		shot_is_armed(&shot);
		assert_int_equal(wq_schedule_delayed(&soon.dw, 1), 1);
		shot_wait(&soon, 1);
		assert_int_equal(wq_queue_delayed(systems[i](), &soon.dw, 1), 1);
		shot_wait(&soon, 2);
		assert_int_equal(wq_shutdown(), -EBUSY);
		assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
		assert_int_equal(wq_shutdown(), 0);
		assert_int_equal(nr_threads_falls_to("wq/", 0), 0);
		shot_is_idle(&shot, 0);
		assert_int_equal(wq_schedule_delayed(&shot.dw, 1), 1);
		shot_wait(&shot, 1);
		assert_int_equal(wq_shutdown(), 0);
		shot_is_idle(&shot, 1);
	}
	assert_int_equal(setup(NULL), 0);
}

/* A failed shutdown has plugged the queue for a while; it thaws. */
static void shutdown_does_not_lose_what_is_parked(void **state)
{
	unsigned long round, rounds = scaled(20);
	struct shot shot;
	int ret;

	for (round = 0; round < rounds; round++) {
		assert_int_equal(wq_freeze_all(), 0);
		shot_park(wq_system_freezable(), &shot, other);
		assert_int_equal(wq_destroy(other), 0);
		ret = wq_shutdown();
		if (ret == -EBUSY) {
			shot_wait(&shot, 1);
			ret = wq_shutdown();
		}
		assert_int_equal(ret, 0);
		shot_is_idle(&shot, 1);
		assert_int_equal(setup(NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(destroy_with_an_armed_item_changes_nothing),
		cmocka_unit_test(destroy_when_an_item_fires_loses_nothing),
		cmocka_unit_test(arming_on_a_queue_being_destroyed_answers_eshutdown),
		cmocka_unit_test(shutdown_with_an_armed_item_answers_ebusy),
		cmocka_unit_test(shutdown_does_not_lose_what_is_parked),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
