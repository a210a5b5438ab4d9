/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Delayed items and queues that are plugged, draining or frozen.  What comes due
 * meanwhile is parked: it stays armed until the queue takes it.
 */
#include "shot.h"

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

/* --- Parked on a plugged queue --- */

static void parked_item_of_a_plugged_queue_runs_when_unplugged(void **state)
{
	struct shot shot, later;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("plugged", kinds[i], 0);

		assert_non_null(wq);
		assert_int_equal(wq_plug(wq), 0);
		shot_park(wq, &shot, other);
		shot_init(&later);
		assert_int_equal(wq_queue_delayed(wq, &later.dw, HOUR), 1);
		assert_int_equal(wq_queue_delayed(wq, &shot.dw, 1), 0);
		assert_int_equal(wq_queue_delayed(other, &shot.dw, 0), 0);
		assert_int_equal(wq_queue(other, &shot.dw.work), 0);
		shot_is_parked(&shot);
		assert_int_equal(wq_unplug(wq), 0);
		shot_wait(&shot, 1);
		assert_ptr_equal(shot.wq, wq);
		shot_is_idle(&shot, 1);
		shot_is_armed(&later);
		assert_int_equal(wq_delayed_work_cancel_sync(&later.dw), 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void parked_item_can_be_cancelled(void **state)
{
	struct wq *wq = wq_alloc("plugged", 0, 0);
	struct shot shot;

	assert_int_equal(wq_plug(wq), 0);
	shot_park(wq, &shot, other);
	assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
	shot_is_idle(&shot, 0);
	shot_park(wq, &shot, other);
	assert_int_equal(wq_work_cancel_sync(&shot.dw.work), 1);
	shot_is_idle(&shot, 0);
	shot_park(wq, &shot, other);
	assert_int_equal(wq_delayed_work_disable_sync(&shot.dw), 1);
	assert_int_equal(wq_delayed_work_enable(&shot.dw), 1);
	shot_is_idle(&shot, 0);
	assert_int_equal(wq_unplug(wq), 0);
	clock_passes(other, now_ns());
	assert_int_equal(wq_destroy(wq), 0);
	shot_is_idle(&shot, 0);
}

static void parked_item_can_be_moved(void **state)
{
	struct wq *wq = wq_alloc("plugged", 0, 0);
	struct shot shot;

	assert_int_equal(wq_plug(wq), 0);
	shot_park(wq, &shot, other);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, HOUR), 1);
	shot_is_armed(&shot);
	assert_true(wq_delayed_work_remaining_ns(&shot.dw) > 0);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, 0), 1);
	clock_passes(other, now_ns());
	shot_is_parked(&shot);
	assert_int_equal(wq_reschedule(wq, &shot.dw, 1), 1);
	clock_passes(other, now_ns());
	shot_is_parked(&shot);
	assert_int_equal(wq_mod_delayed(other, &shot.dw, 1), 1);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, other);
	shot_is_idle(&shot, 1);
	shot_park(wq, &shot, other);
	assert_int_equal(wq_mod_delayed(other, &shot.dw, 0), 1);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, other);
	shot_is_idle(&shot, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

static void parked_item_does_not_hold_up_drain_or_flush(void **state)
{
	struct wq *wq = wq_alloc("plugged", 0, 0);
	struct shot shot;

	assert_int_equal(wq_plug(wq), 0);
	shot_park(wq, &shot, other);
	assert_int_equal(wq_drain(wq), 0);
	clock_passes(other, now_ns());
	shot_is_parked(&shot);
	assert_int_equal(wq_flush(wq), 0);
	shot_is_parked(&shot);
	assert_int_equal(wq_destroy(wq), -EBUSY);
	shot_is_parked(&shot);
	assert_int_equal(wq_unplug(wq), 0);
	shot_wait(&shot, 1);
	assert_int_equal(wq_destroy(wq), 0);
	shot_is_idle(&shot, 1);
}

/* None is lost, none runs twice. */
static void parked_items_run_once_each(void **state)
{
	enum { NR = 200 };
	struct wq *wq = wq_alloc("plugged", 0, 0);
	static struct shot shots[NR];
	unsigned long round, rounds = scaled(20);
	unsigned i;

	for (i = 0; i < NR; i++)
		shot_init(&shots[i]);
	for (round = 1; round <= rounds; round++) {
		assert_int_equal(wq_plug(wq), 0);
		for (i = 0; i < NR; i++)
			assert_int_equal(wq_queue_delayed(wq, &shots[i].dw, 1 + i * 100), 1);
		/* Every other time they are all parked; else some come due while it is unplugged.
		 */
		if (round % 2)
			clock_passes(other, now_ns());
		assert_int_equal(wq_unplug(wq), 0);
		for (i = 0; i < NR; i++)
			shot_wait(&shots[i], round);
	}
	assert_int_equal(wq_destroy(wq), 0);
	for (i = 0; i < NR; i++)
		shot_is_idle(&shots[i], rounds);
}

/* --- Frozen --- */

static void parked_item_of_a_frozen_queue_runs_when_thawed(void **state)
{
	struct wq *wq = wq_alloc("freezable", WQ_FREEZABLE, 0);
	struct shot shot, cancelled, moved;

	assert_int_equal(wq_freeze_all(), 0);
	shot_park(wq, &shot, other);
	shot_park(wq, &cancelled, other);
	shot_park(wq, &moved, other);
	assert_int_equal(wq_freeze_busy(), 0);
	assert_int_equal(wq_drain(wq), 0);
	assert_int_equal(wq_destroy(wq), -EBUSY);
	assert_int_equal(wq_delayed_work_cancel(&cancelled.dw), 1);
	assert_int_equal(wq_mod_delayed(other, &moved.dw, 1), 1);
	shot_wait(&moved, 1);
	assert_ptr_equal(moved.wq, other);
	shot_is_parked(&shot);
	assert_int_equal(wq_thaw_all(), 0);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, wq);
	assert_int_equal(wq_destroy(wq), 0);
	shot_is_idle(&shot, 1);
	shot_is_idle(&moved, 1);
	shot_is_idle(&cancelled, 0);
}

static void parked_item_of_a_frozen_and_plugged_queue_waits_for_both(void **state)
{
	struct wq *wq = wq_alloc("freezable", WQ_FREEZABLE | WQ_PERCPU, 0);
	struct shot shot;

	assert_int_equal(wq_plug(wq), 0);
	assert_int_equal(wq_freeze_all(), 0);
	shot_park(wq, &shot, other);
	assert_int_equal(wq_unplug(wq), 0);
	clock_passes(other, now_ns());
	shot_is_parked(&shot);
	assert_int_equal(wq_plug(wq), 0);
	assert_int_equal(wq_thaw_all(), 0);
	clock_passes(other, now_ns());
	shot_is_parked(&shot);
	assert_int_equal(wq_unplug(wq), 0);
	shot_wait(&shot, 1);
	assert_int_equal(wq_destroy(wq), 0);
	shot_is_idle(&shot, 1);
}

/* --- Draining --- */

static void parked_item_of_a_draining_queue_runs_when_that_ends(void **state)
{
	struct shot shot, cancelled;
	struct waiting drain;
	struct probe gate;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("draining", kinds[i], 0);

		assert_non_null(wq);
		gate_begin(wq, &gate);
		waiting_begin(&drain, wq, wq_drain);
		shot_park(wq, &shot, other);
		shot_park(wq, &cancelled, other);
		assert_int_equal(wq_delayed_work_cancel(&cancelled.dw), 1);
		gate_end(&gate);
		waiting_end(&drain);
		shot_wait(&shot, 1);
		assert_ptr_equal(shot.wq, wq);
		assert_int_equal(wq_destroy(wq), 0);
		shot_is_idle(&shot, 1);
		shot_is_idle(&cancelled, 0);
	}
}

/* An item that queues and arms another on its own queue. */
struct chained {
	struct wq_work work;
	struct wq *wq;
	struct shot shot;
	struct latch started, open;
	int armed, queued;
};

static void chained_fn(struct wq_work *work, void *ctx)
{
	struct chained *chained = ctx;

	latch_post(&chained->started);
	latch_wait(&chained->open, 1);
	chained->queued = wq_queue_delayed(chained->wq, &chained->shot.dw, 0);
	wq_delayed_work_cancel(&chained->shot.dw);
	chained->armed = wq_queue_delayed(chained->wq, &chained->shot.dw, HOUR);
}

static void drain_does_not_wait_for_what_its_items_arm(void **state)
{
	struct wq *wq = wq_alloc("draining", WQ_ORDERED, 0);
	struct chained chained = {.wq = wq};
	struct waiting drain;

	latch_init(&chained.started);
	latch_init(&chained.open);
	shot_init(&chained.shot);
	wq_work_init(&chained.work, chained_fn, &chained);
	assert_int_equal(wq_queue(wq, &chained.work), 1);
	latch_wait(&chained.started, 1);
	waiting_begin(&drain, wq, wq_drain);
	latch_post(&chained.open);
	waiting_end(&drain);
	assert_int_equal(chained.queued, 1);
	assert_int_equal(chained.armed, 1);
	shot_is_armed(&chained.shot);
	assert_int_equal(wq_delayed_work_flush(&chained.shot.dw), 1);
	assert_int_equal(wq_destroy(wq), 0);
	shot_is_idle(&chained.shot, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parked_item_of_a_plugged_queue_runs_when_unplugged),
		cmocka_unit_test(parked_item_can_be_cancelled),
		cmocka_unit_test(parked_item_can_be_moved),
		cmocka_unit_test(parked_item_does_not_hold_up_drain_or_flush),
		cmocka_unit_test(parked_items_run_once_each),
		cmocka_unit_test(parked_item_of_a_frozen_queue_runs_when_thawed),
		cmocka_unit_test(parked_item_of_a_frozen_and_plugged_queue_waits_for_both),
		cmocka_unit_test(parked_item_of_a_draining_queue_runs_when_that_ends),
		cmocka_unit_test(drain_does_not_wait_for_what_its_items_arm),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
