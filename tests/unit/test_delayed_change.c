/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changing a delay: wq_mod_delayed() and wq_reschedule(), whatever the item's state. */
#include "shot.h"

#include <sched.h>

static struct wq *wq, *ordered, *plugged;

static int setup(void **state)
{
	wq = wq_alloc("test", 0, 0);
	ordered = wq_alloc("ordered", WQ_ORDERED, 0);
	plugged = wq_alloc("plugged", 0, 0);
	return wq && ordered && plugged ? wq_plug(plugged) : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq) || wq_destroy(ordered) || wq_destroy(plugged);
}

static void is_due_after(struct shot *shot, uint64_t before, uint64_t delay_ns)
{
	assert_in_range(wq_delayed_work_expires_ns(&shot->dw), before + delay_ns,
			now_ns() + delay_ns + READING);
}

/* Pending behind a gate on the ordered queue. */
static void pend(struct shot *shot, struct probe *gate)
{
	shot_init(shot);
	gate_begin(ordered, gate);
	assert_int_equal(wq_queue(ordered, &shot->dw.work), 1);
}

/* Running, until `open` is posted. */
static void run(struct shot *shot, struct wq *queue)
{
	shot_init_gate(shot);
	assert_int_equal(wq_queue(queue, &shot->dw.work), 1);
	latch_wait(&shot->started, 1);
}

/* --- wq_mod_delayed() --- */

static void mod_delayed_idle_item_arms_it(void **state)
{
	uint64_t before = now_ns();
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, HOUR), 0);
	is_due_after(&shot, before, HOUR);
	shot_is_armed(&shot);
	assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
	before = now_ns();
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, 1000), 0);
	shot_wait(&shot, 1);
	assert_true(shot.ran_ns >= before + 1000);
	shot_is_idle(&shot, 1);
}

static void mod_delayed_armed_item_makes_it_earlier(void **state)
{
	struct shot shot;
	uint64_t before;

	shot_init(&shot);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	before = now_ns();
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, MS), 1);
	shot_wait(&shot, 1);
	assert_true(shot.ran_ns >= before + MS);
	shot_is_idle(&shot, 1);
}

/* Again, where it fires before it is made later. */
static void mod_delayed_armed_item_makes_it_later(void **state)
{
	unsigned long runs = 0;
	uint64_t first, before;
	struct shot shot;
	int ret;

	shot_init(&shot);
	do {
		assert_int_equal(wq_queue_delayed(wq, &shot.dw, 5 * MS), 1);
		first = now_ns() + 5 * MS;
		before = now_ns();
		ret = wq_mod_delayed(wq, &shot.dw, HOUR);
		is_due_after(&shot, before, HOUR);
		clock_passes(wq, first);
		if (!ret)
			shot_wait(&shot, ++runs);
		shot_is_armed(&shot);
		assert_int_equal(shot.runs, runs);
		assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
	} while (!ret);
	assert_int_equal(ret, 1);
	shot_is_idle(&shot, runs);
}

static void mod_delayed_armed_item_takes_it_to_another_queue(void **state)
{
	struct wq *left = wq_alloc("left", 0, 0);
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_queue_delayed(left, &shot.dw, HOUR), 1);
	assert_int_equal(wq_destroy(left), -EBUSY);
	assert_int_equal(wq_mod_delayed(ordered, &shot.dw, HOUR), 1);
	assert_int_equal(wq_destroy(left), 0);
	assert_int_equal(wq_mod_delayed(ordered, &shot.dw, 1), 1);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, ordered);
	shot_is_idle(&shot, 1);
}

static void mod_delayed_pending_item_leaves_one_run(void **state)
{
	struct probe gate;
	struct shot shot;
	uint64_t before;

	pend(&shot, &gate);
	before = now_ns();
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, HOUR), 1);
	is_due_after(&shot, before, HOUR);
	shot_is_armed(&shot);
	gate_end(&gate);
	assert_int_equal(wq_flush(ordered), 0);
	assert_int_equal(shot.runs, 0);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, 1), 1);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, wq);
	shot_is_idle(&shot, 1);
}

static void mod_delayed_running_item_answers_0_and_arms_it(void **state)
{
	struct shot shot;

	run(&shot, wq);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, HOUR), 0);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_RUNNING | WQ_BUSY_DELAYED);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, 1), 1);
	latch_post(&shot.open);
	latch_post(&shot.open);
	shot_wait(&shot, 2);
	shot_is_idle(&shot, 2);
}

static void mod_delayed_disabled_item_changes_nothing(void **state)
{
	static const uint64_t delays[] = {0, 1, HOUR};
	struct shot shot;
	unsigned i;

	shot_init(&shot);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_disable(&shot.dw), 1);
	for (i = 0; i < ARRAY_SIZE(delays); i++) {
		assert_int_equal(wq_mod_delayed(wq, &shot.dw, delays[i]), -EBUSY);
		assert_int_equal(wq_reschedule(wq, &shot.dw, delays[i]), -EBUSY);
		assert_int_equal(wq_mod_delayed(plugged, &shot.dw, delays[i]), -EBUSY);
		assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_DISABLED);
		assert_int_equal(wq_delayed_work_expires_ns(&shot.dw), 0);
	}
	assert_int_equal(wq_delayed_work_enable(&shot.dw), 1);
	shot_is_idle(&shot, 0);
}

static void mod_delayed_without_delay_queues_at_once(void **state)
{
	struct probe gate;
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, 0), 0);
	shot_wait(&shot, 1);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_mod_delayed(ordered, &shot.dw, 0), 1);
	shot_wait(&shot, 2);
	assert_ptr_equal(shot.wq, ordered);
	shot_is_idle(&shot, 2);
	pend(&shot, &gate);
	assert_int_equal(wq_mod_delayed(ordered, &shot.dw, 0), 1);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_PENDING);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, 0), 1);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, wq);
	gate_end(&gate);
	shot_is_idle(&shot, 1);
}

/* An idle one is refused; what was to run is not lost, and runs when the queue takes it. */
static void mod_delayed_without_delay_keeps_what_a_plugged_queue_refuses(void **state)
{
	struct shot armed, pending;
	struct probe gate;

	shot_init(&armed);
	assert_int_equal(wq_mod_delayed(plugged, &armed.dw, 0), -ESHUTDOWN);
	shot_is_idle(&armed, 0);
	assert_int_equal(wq_queue_delayed(wq, &armed.dw, HOUR), 1);
	assert_int_equal(wq_mod_delayed(plugged, &armed.dw, 0), 1);
	shot_is_parked(&armed);
	pend(&pending, &gate);
	assert_int_equal(wq_mod_delayed(plugged, &pending.dw, 0), 1);
	gate_end(&gate);
	clock_passes(wq, now_ns());
	shot_is_parked(&armed);
	shot_is_parked(&pending);
	assert_int_equal(wq_unplug(plugged), 0);
	shot_wait(&armed, 1);
	shot_wait(&pending, 1);
	assert_ptr_equal(armed.wq, plugged);
	assert_ptr_equal(pending.wq, plugged);
	shot_is_idle(&armed, 1);
	shot_is_idle(&pending, 1);
	assert_int_equal(wq_plug(plugged), 0);
}

static void mod_delayed_on_a_plugged_queue_arms_with_a_delay(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_mod_delayed(plugged, &shot.dw, HOUR), 0);
	assert_int_equal(wq_mod_delayed(plugged, &shot.dw, 2 * HOUR), 1);
	shot_is_armed(&shot);
	assert_int_equal(wq_delayed_work_cancel_sync(&shot.dw), 1);
	shot_is_idle(&shot, 0);
}

/* --- wq_reschedule() --- */

static void reschedule_idle_or_armed_item_arms_it(void **state)
{
	uint64_t before = now_ns();
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_reschedule(wq, &shot.dw, HOUR), 1);
	is_due_after(&shot, before, HOUR);
	before = now_ns();
	assert_int_equal(wq_reschedule(wq, &shot.dw, 2 * HOUR), 1);
	is_due_after(&shot, before, 2 * HOUR);
	shot_is_armed(&shot);
	before = now_ns();
	assert_int_equal(wq_reschedule(ordered, &shot.dw, MS), 1);
	shot_wait(&shot, 1);
	assert_true(shot.ran_ns >= before + MS);
	assert_ptr_equal(shot.wq, ordered);
	shot_is_idle(&shot, 1);
}

static void reschedule_pending_item_runs_it_twice(void **state)
{
	struct probe gate;
	struct shot shot;

	pend(&shot, &gate);
	assert_int_equal(wq_reschedule(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_PENDING | WQ_BUSY_DELAYED);
	assert_int_equal(wq_reschedule(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, 1), 0);
	gate_end(&gate);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, ordered);
	shot_is_armed(&shot);
	assert_int_equal(wq_reschedule(wq, &shot.dw, 1), 1);
	shot_wait(&shot, 2);
	assert_ptr_equal(shot.wq, wq);
	shot_is_idle(&shot, 2);
}

static void reschedule_item_that_is_pending_when_due_runs_once(void **state)
{
	struct probe gate;
	struct shot shot;

	pend(&shot, &gate);
	assert_int_equal(wq_reschedule(ordered, &shot.dw, 1), 1);
	clock_passes(wq, now_ns());
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_PENDING);
	gate_end(&gate);
	shot_wait(&shot, 1);
	assert_int_equal(wq_flush(ordered), 0);
	shot_is_idle(&shot, 1);
}

static void reschedule_running_item_arms_it(void **state)
{
	struct shot shot;

	run(&shot, wq);
	assert_int_equal(wq_reschedule(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_RUNNING | WQ_BUSY_DELAYED);
	latch_post(&shot.open);
	latch_post(&shot.open);
	shot_wait(&shot, 1);
	shot_is_armed(&shot);
	assert_int_equal(wq_reschedule(wq, &shot.dw, 1), 1);
	shot_wait(&shot, 2);
	shot_is_idle(&shot, 2);
}

static void reschedule_without_delay_queues_at_once(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_reschedule(wq, &shot.dw, 0), 1);
	shot_wait(&shot, 1);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_reschedule(ordered, &shot.dw, 0), 1);
	shot_wait(&shot, 2);
	assert_ptr_equal(shot.wq, ordered);
	shot_is_idle(&shot, 2);
}

static void reschedule_without_delay_of_a_pending_item_disarms_it(void **state)
{
	struct probe gate;
	struct shot shot;

	pend(&shot, &gate);
	assert_int_equal(wq_reschedule(wq, &shot.dw, 0), 0);
	assert_int_equal(wq_reschedule(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_reschedule(wq, &shot.dw, 0), 0);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_PENDING);
	gate_end(&gate);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, ordered);
	shot_is_idle(&shot, 1);
}

static void reschedule_without_delay_keeps_what_a_plugged_queue_refuses(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_reschedule(plugged, &shot.dw, 0), -ESHUTDOWN);
	shot_is_idle(&shot, 0);
	assert_int_equal(wq_reschedule(plugged, &shot.dw, HOUR), 1);
	assert_int_equal(wq_reschedule(plugged, &shot.dw, 0), 1);
	clock_passes(wq, now_ns());
	shot_is_parked(&shot);
	assert_int_equal(wq_unplug(plugged), 0);
	shot_wait(&shot, 1);
	shot_is_idle(&shot, 1);
	assert_int_equal(wq_plug(plugged), 0);
}

/* --- An item that is both pending and armed --- */

static void pend_and_arm(struct shot *shot, struct probe *gate)
{
	pend(shot, gate);
	assert_int_equal(wq_reschedule(ordered, &shot->dw, HOUR), 1);
}

static void cancel_takes_back_both(void **state)
{
	struct probe gate;
	struct shot shot;

	pend_and_arm(&shot, &gate);
	assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
	shot_is_idle(&shot, 0);
	assert_int_equal(wq_queue(ordered, &shot.dw.work), 1);
	assert_int_equal(wq_reschedule(ordered, &shot.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_disable(&shot.dw), 1);
	assert_int_equal(wq_delayed_work_enable(&shot.dw), 1);
	shot_is_idle(&shot, 0);
	assert_int_equal(wq_queue(ordered, &shot.dw.work), 1);
	assert_int_equal(wq_reschedule(ordered, &shot.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_cancel_sync(&shot.dw), 1);
	gate_end(&gate);
	assert_int_equal(wq_flush(ordered), 0);
	shot_is_idle(&shot, 0);
}

static void mod_delayed_takes_back_both(void **state)
{
	struct probe gate;
	struct shot shot;

	pend_and_arm(&shot, &gate);
	assert_int_equal(wq_mod_delayed(ordered, &shot.dw, 2 * HOUR), 1);
	shot_is_armed(&shot);
	gate_end(&gate);
	assert_int_equal(wq_flush(ordered), 0);
	assert_int_equal(shot.runs, 0);
	assert_int_equal(wq_mod_delayed(ordered, &shot.dw, 0), 1);
	shot_wait(&shot, 1);
	shot_is_idle(&shot, 1);
}

struct flusher {
	struct shot *shot;
	pthread_t thread;
	int ret;
};

static void *flusher_thread(void *ctx)
{
	struct flusher *flusher = ctx;

	flusher->ret = wq_delayed_work_flush(&flusher->shot->dw);
	return NULL;
}

/* The timer is off at once, and the instance that is pending is the one waited for. */
static void flush_waits_for_one_run_of_both(void **state)
{
	struct flusher flusher;
	struct probe gate;
	struct shot shot;

	pend_and_arm(&shot, &gate);
	flusher.shot = &shot;
	assert_int_equal(pthread_create(&flusher.thread, NULL, flusher_thread, &flusher), 0);
	while (wq_delayed_work_busy(&shot.dw) & WQ_BUSY_DELAYED)
		sched_yield();
	gate_end(&gate);
	pthread_join(flusher.thread, NULL);
	assert_int_equal(flusher.ret, 1);
	assert_int_equal(wq_flush(ordered), 0);
	shot_is_idle(&shot, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mod_delayed_idle_item_arms_it),
		cmocka_unit_test(mod_delayed_armed_item_makes_it_earlier),
		cmocka_unit_test(mod_delayed_armed_item_makes_it_later),
		cmocka_unit_test(mod_delayed_armed_item_takes_it_to_another_queue),
		cmocka_unit_test(mod_delayed_pending_item_leaves_one_run),
		cmocka_unit_test(mod_delayed_running_item_answers_0_and_arms_it),
		cmocka_unit_test(mod_delayed_disabled_item_changes_nothing),
		cmocka_unit_test(mod_delayed_without_delay_queues_at_once),
		cmocka_unit_test(mod_delayed_without_delay_keeps_what_a_plugged_queue_refuses),
		cmocka_unit_test(mod_delayed_on_a_plugged_queue_arms_with_a_delay),
		cmocka_unit_test(reschedule_idle_or_armed_item_arms_it),
		cmocka_unit_test(reschedule_pending_item_runs_it_twice),
		cmocka_unit_test(reschedule_item_that_is_pending_when_due_runs_once),
		cmocka_unit_test(reschedule_running_item_arms_it),
		cmocka_unit_test(reschedule_without_delay_queues_at_once),
		cmocka_unit_test(reschedule_without_delay_of_a_pending_item_disarms_it),
		cmocka_unit_test(reschedule_without_delay_keeps_what_a_plugged_queue_refuses),
		cmocka_unit_test(cancel_takes_back_both),
		cmocka_unit_test(mod_delayed_takes_back_both),
		cmocka_unit_test(flush_waits_for_one_run_of_both),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
