/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Zephyr's state machine of items, row by row: every call in every state, what it answers and
 * what becomes of the item.
 */
#include "zitem.h"

#include <sched.h>

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

/*
 * An item in a state.  Where it does not run itself, another keeps the queue busy, so that
 * nothing happens to it by itself; where it does, its gate does.
 */
struct scene {
	struct zitem item, hold;
	int busy;
};

#define HOUR K_HOURS(1)

static void scene_set(struct scene *scene, int busy)
{
	struct k_work_delayable *dw = &scene->item.dw;
	int set = busy & R ? R : 0;

	scene->busy = busy;
	if (busy & R) {
		zitem_hold(&queue, &scene->item);
	} else {
		zitem_init(&scene->item);
		zitem_hold(&queue, &scene->hold);
	}
	if (busy & C) {
		assert_int_equal(k_work_cancel_delayable(dw), R | C);
		set |= C;
	}
	if (busy & Q) {
		assert_int_equal(k_work_submit_to_queue(&queue, &dw->work), busy & R ? 2 : 1);
		set |= Q;
	}
	if (busy & D) {
		assert_int_equal(k_work_reschedule_for_queue(&queue, dw, HOUR), 1);
		set |= D;
	}
	assert_int_equal(set, busy);
	assert_int_equal(zitem_busy(&scene->item), busy);
}

/* Take it back: whatever was to come does not come. */
static void scene_end(struct scene *scene)
{
	int busy = zitem_busy(&scene->item), left;

	/* The clock may be just queueing it: then it is cancelling for that moment. */
	do {
		left = k_work_cancel_delayable(&scene->item.dw);
	} while (left == C);
	assert_int_equal(left, busy & R ? R | C : 0);
	if (busy & R)
		assert_int_equal(zitem_busy(&scene->item), R | C);
	zitem_pass(scene->busy & R ? &scene->item : &scene->hold);
	k_work_cancel_delayable_sync(&scene->item.dw, &work_sync);
	if (!(scene->busy & R))
		k_work_flush(&scene->hold.dw.work, &work_sync);
	assert_int_equal(zitem_busy(&scene->item), 0);
	assert_int_equal(count_get(&scene->item.runs), !!(scene->busy & R));
	assert_false(k_work_cancel_delayable_sync(&scene->item.dw, &work_sync));
}

static const int all_states[] = {0, D, Q, D | Q, R, R | Q, R | D, R | C, R | C | D, R | Q | D};

/* --- the rows --- */

struct expected {
	int busy, ret, after;
};

static int call_submit(struct k_work_delayable *dw)
{
	return k_work_submit_to_queue(&queue, &dw->work);
}

static int call_submit_elsewhere(struct k_work_delayable *dw)
{
	return k_work_submit_to_queue(&other, &dw->work);
}

static int call_submit_to_last(struct k_work_delayable *dw)
{
	return k_work_submit_to_queue(NULL, &dw->work);
}

static int call_schedule(struct k_work_delayable *dw)
{
	return k_work_schedule_for_queue(&queue, dw, HOUR);
}

static int call_schedule_now(struct k_work_delayable *dw)
{
	return k_work_schedule_for_queue(&queue, dw, K_NO_WAIT);
}

static int call_reschedule(struct k_work_delayable *dw)
{
	return k_work_reschedule_for_queue(&queue, dw, HOUR);
}

static int call_reschedule_now(struct k_work_delayable *dw)
{
	return k_work_reschedule_for_queue(&queue, dw, K_NO_WAIT);
}

static int call_cancel(struct k_work_delayable *dw)
{
	return k_work_cancel_delayable(dw);
}

static void check_rows(int (*call)(struct k_work_delayable *dw), const struct expected *rows,
		       unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		struct scene scene;

		scene_set(&scene, rows[i].busy);
		assert_int_equal(call(&scene.item.dw), rows[i].ret);
		assert_int_equal(zitem_busy(&scene.item), rows[i].after);
		assert_int_equal(k_work_delayable_is_pending(&scene.item.dw), rows[i].after != 0);
		scene_end(&scene);
	}
}

static void submit_answers_in_every_state(void **state)
{
	static const struct expected rows[] = {
		{0, 1, Q},
		{D, 1, D | Q},
		{Q, 0, Q},
		{D | Q, 0, D | Q},
		{R, 2, R | Q},
		{R | Q, 0, R | Q},
		{R | D, 2, R | Q | D},
		{R | C, -EBUSY, R | C},
		{R | C | D, -EBUSY, R | C | D},
		{R | Q | D, 0, R | Q | D},
	};

	check_rows(call_submit, rows, ARRAY_SIZE(rows));
}

/* Which queue is asked for counts for nothing while it is queued or running. */
static void submit_elsewhere_is_diverted_to_where_it_runs(void **state)
{
	static const struct expected rows[] = {
		{Q, 0, Q},
		{R, 2, R | Q},
		{R | Q, 0, R | Q},
		{R | D, 2, R | Q | D},
		{R | C, -EBUSY, R | C},
	};
	struct scene scene;

	check_rows(call_submit_elsewhere, rows, ARRAY_SIZE(rows));
	scene_set(&scene, R);
	assert_int_equal(call_submit_elsewhere(&scene.item.dw), 2);
	assert_ptr_equal(scene.item.dw.work.queue, &queue);
	zitem_pass(&scene.item);
	zitem_pass(&scene.item);
	assert_true(k_work_flush(&scene.item.dw.work, &work_sync));
	assert_int_equal(scene.item.runs, 2);
	assert_ptr_equal(scene.item.ran_on, &queue);
	assert_true(pthread_equal(scene.item.thread, queue.thread_id));
}

static void submit_without_a_queue_goes_to_the_last(void **state)
{
	static const struct expected rows[] = {{Q, 0, Q}, {R, 2, R | Q}, {R | C, -EBUSY, R | C}};
	struct scene scene;
	struct zitem item;

	check_rows(call_submit_to_last, rows, ARRAY_SIZE(rows));
	scene_set(&scene, 0);
	assert_int_equal(call_submit_to_last(&scene.item.dw), -EINVAL);
	assert_int_equal(zitem_busy(&scene.item), 0);
	scene_end(&scene);
	zitem_init(&item);
	assert_int_equal(k_work_submit_to_queue(&other, &item.dw.work), 1);
	k_work_flush(&item.dw.work, &work_sync);
	assert_ptr_equal(item.dw.work.queue, &other);
	assert_int_equal(k_work_submit_to_queue(NULL, &item.dw.work), 1);
	k_work_flush(&item.dw.work, &work_sync);
	assert_ptr_equal(item.ran_on, &other);
	assert_int_equal(k_work_schedule_for_queue(NULL, &item.dw, K_TICKS(1)), 1);
	zitem_wait_busy(&item, 0);
	assert_int_equal(item.runs, 3);
	assert_ptr_equal(item.ran_on, &other);
}

static void schedule_acts_only_if_idle_or_running(void **state)
{
	static const struct expected rows[] = {
		{0, 1, D},
		{D, 0, D},
		{Q, 0, Q},
		{D | Q, 0, D | Q},
		{R, 1, R | D},
		{R | Q, 0, R | Q},
		{R | D, 0, R | D},
		{R | C, 0, R | C},
		{R | C | D, 0, R | C | D},
		{R | Q | D, 0, R | Q | D},
	};
	static const struct expected now[] = {
		{0, 1, Q},
		{D, 0, D},
		{Q, 0, Q},
		{D | Q, 0, D | Q},
		{R, 2, R | Q},
		{R | Q, 0, R | Q},
		{R | D, 0, R | D},
		{R | C, 0, R | C},
		{R | C | D, 0, R | C | D},
		{R | Q | D, 0, R | Q | D},
	};

	check_rows(call_schedule, rows, ARRAY_SIZE(rows));
	check_rows(call_schedule_now, now, ARRAY_SIZE(now));
}

static void reschedule_sets_the_timer_in_every_state(void **state)
{
	static const struct expected rows[] = {
		{0, 1, D},
		{D, 1, D},
		{Q, 1, D | Q},
		{D | Q, 1, D | Q},
		{R, 1, R | D},
		{R | Q, 1, R | Q | D},
		{R | D, 1, R | D},
		{R | C, 1, R | C | D},
		{R | C | D, 1, R | C | D},
		{R | Q | D, 1, R | Q | D},
	};
	static const struct expected now[] = {
		{0, 1, Q},
		{D, 1, Q},
		{Q, 0, Q},
		{D | Q, 0, Q},
		{R, 2, R | Q},
		{R | Q, 0, R | Q},
		{R | D, 2, R | Q},
		{R | C, -EBUSY, R | C},
		{R | C | D, -EBUSY, R | C},
		{R | Q | D, 0, R | Q},
	};

	check_rows(call_reschedule, rows, ARRAY_SIZE(rows));
	check_rows(call_reschedule_now, now, ARRAY_SIZE(now));
}

static void cancel_takes_back_and_blocks_what_runs(void **state)
{
	static const struct expected rows[] = {
		{0, 0, 0},
		{D, 0, 0},
		{Q, 0, 0},
		{D | Q, 0, 0},
		{R, R | C, R | C},
		{R | Q, R | C, R | C},
		{R | D, R | C, R | C},
		{R | C, R | C, R | C},
		{R | C | D, R | C, R | C},
		{R | Q | D, R | C, R | C},
	};

	check_rows(call_cancel, rows, ARRAY_SIZE(rows));
}

/* --- calls that wait --- */

struct waiting {
	struct scene scene;
	bool (*call)(struct k_work_delayable *dw);
	struct latch begun;
	bool ret;
	unsigned long runs; /* that had ended when the call returned */
};

static bool call_flush(struct k_work_delayable *dw)
{
	return k_work_flush_delayable(dw, &work_sync);
}

static bool call_cancel_sync(struct k_work_delayable *dw)
{
	return k_work_cancel_delayable_sync(dw, &work_sync);
}

static void *waiting_main(void *arg)
{
	struct waiting *w = arg;

	latch_post(&w->begun);
	w->ret = w->call(&w->scene.item.dw);
	w->runs = count_get(&w->scene.item.runs);
	return NULL;
}

/* What tells that the call has got hold of the item, where something does. */
static void waiting_takes_effect(struct waiting *w)
{
	int busy = w->scene.busy;

	if (w->call == call_cancel_sync && busy & R)
		zitem_wait_busy(&w->scene.item, R | C);
	else if (w->call == call_flush && busy & D)
		zitem_wait_busy(&w->scene.item, busy & C ? R | C : (busy & R) | Q);
}

/* False: the gates were opened before the call began to wait. */
static bool waits_once(bool (*call)(struct k_work_delayable *dw), int busy, unsigned long runs)
{
	struct waiting w = {.call = call};
	bool frees = call == call_cancel_sync && !(busy & R);
	pthread_t thread;

	latch_init(&w.begun);
	scene_set(&w.scene, busy);
	assert_int_equal(pthread_create(&thread, NULL, waiting_main, &w), 0);
	latch_wait(&w.begun, 1);
	waiting_takes_effect(&w);
	/* Without a run to wait for it returns by itself. */
	if (frees)
		pthread_join(thread, NULL);
	zitem_pass(busy & R ? &w.scene.item : &w.scene.hold);
	zitem_pass(&w.scene.item);
	if (!frees)
		pthread_join(thread, NULL);
	assert_int_equal(w.runs, runs);
	assert_int_equal(zitem_busy(&w.scene.item), 0);
	if (!(busy & R))
		k_work_flush(&w.scene.hold.dw.work, &work_sync);
	return w.ret;
}

/* @runs have ended when the call returns, and the item is idle. */
static void check_waits(bool (*call)(struct k_work_delayable *dw), int busy, unsigned long runs)
{
	if (!busy)
		assert_false(waits_once(call, 0, runs));
	else
		while (!waits_once(call, busy, runs))
			;
}

static void flush_waits_for_what_is_queued_last(void **state)
{
	check_waits(call_flush, 0, 0);
	check_waits(call_flush, D, 1);
	check_waits(call_flush, Q, 1);
	check_waits(call_flush, D | Q, 1);
	check_waits(call_flush, R, 1);
	check_waits(call_flush, R | Q, 2);
	check_waits(call_flush, R | D, 2);
	check_waits(call_flush, R | C, 1);
	check_waits(call_flush, R | C | D, 1);
}

/* True if it was busy in any way; what had not started does not run. */
static void cancel_sync_waits_for_what_runs(void **state)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(all_states); i++)
		check_waits(call_cancel_sync, all_states[i], !!(all_states[i] & R));
}

/* --- what happens by itself --- */

static void handler_return_leaves_what_came_meanwhile(void **state)
{
	static const struct expected rows[] = {{R, 0, 0},
					       {R | D, 0, D},
					       {R | C, 0, 0},
					       {R | C | D, 0, D}};
	struct scene scene;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		scene_set(&scene, rows[i].busy);
		zitem_pass(&scene.item);
		k_work_flush(&scene.item.dw.work, &work_sync);
		assert_int_equal(zitem_busy(&scene.item), rows[i].after);
		/* Nothing is left of a cancellation. */
		scene.item.gated = false;
		assert_int_equal(call_submit(&scene.item.dw), 1);
		k_work_flush(&scene.item.dw.work, &work_sync);
		assert_int_equal(scene.item.runs, 2);
		k_work_cancel_delayable_sync(&scene.item.dw, &work_sync);
	}
	/* R+Q: behind another, which waits for its own gate. */
	scene_set(&scene, R);
	zitem_init_gate(&scene.hold);
	assert_int_equal(k_work_submit_to_queue(&queue, &scene.hold.dw.work), 1);
	assert_int_equal(call_submit(&scene.item.dw), 2);
	zitem_pass(&scene.item);
	latch_wait(&scene.hold.started, 1);
	assert_int_equal(zitem_busy(&scene.item), Q);
	zitem_pass(&scene.item);
	zitem_pass(&scene.hold);
	k_work_flush(&scene.item.dw.work, &work_sync);
	assert_int_equal(scene.item.runs, 2);
}

static void timer_submits_what_is_due(void **state)
{
	struct scene scene;

	scene_set(&scene, 0);
	assert_int_equal(k_work_schedule_for_queue(&queue, &scene.item.dw, K_TICKS(1)), 1);
	zitem_wait_busy(&scene.item, Q);
	scene_end(&scene);

	/* One run for both. */
	scene_set(&scene, Q);
	assert_int_equal(k_work_reschedule_for_queue(&queue, &scene.item.dw, K_TICKS(1)), 1);
	zitem_wait_busy(&scene.item, Q);
	zitem_pass(&scene.hold);
	k_work_flush(&scene.item.dw.work, &work_sync);
	assert_int_equal(zitem_busy(&scene.item), 0);
	assert_int_equal(scene.item.runs, 1);

	scene_set(&scene, R);
	assert_int_equal(k_work_schedule_for_queue(&other, &scene.item.dw, K_TICKS(1)), 1);
	zitem_wait_busy(&scene.item, R | Q);
	assert_ptr_equal(scene.item.dw.work.queue, &queue);
	scene_end(&scene);
}

/* Zephyr loses it: here it comes when the handler has returned. */
static void timer_of_a_cancelling_item_is_kept(void **state)
{
	struct scene scene;

	scene_set(&scene, R | C);
	assert_int_equal(k_work_reschedule_for_queue(&queue, &scene.item.dw, K_TICKS(1)), 1);
	zitem_wait_busy(&scene.item, R | C | Q);
	zitem_pass(&scene.item);
	zitem_pass(&scene.item);
	k_work_flush(&scene.item.dw.work, &work_sync);
	assert_int_equal(scene.item.runs, 2);
	assert_int_equal(zitem_busy(&scene.item), 0);
}

/* The instance that is queued runs, and then another when the timer comes. */
static void reschedule_of_a_queued_item_runs_twice(void **state)
{
	struct scene scene;

	scene_set(&scene, Q);
	assert_int_equal(call_reschedule(&scene.item.dw), 1);
	zitem_pass(&scene.hold);
	latch_wait(&scene.item.ended, 1);
	zitem_wait_busy(&scene.item, D);
	assert_int_equal(k_work_reschedule_for_queue(&queue, &scene.item.dw, K_TICKS(1)), 1);
	latch_wait(&scene.item.ended, 2);
	zitem_wait_busy(&scene.item, 0);
	assert_int_equal(scene.item.runs, 2);
}

/* --- several at once --- */

static void *cancel_main(void *arg)
{
	struct waiting *w = arg;

	latch_post(&w->begun);
	return k_work_cancel_sync(&w->scene.item.dw.work, NULL) ? w : NULL;
}

/* In Zephyr one of them never returns. */
static void cancel_sync_several_callers_all_return(void **state)
{
	struct waiting w;
	pthread_t threads[20]; /* more than are counted */
	unsigned i;
	void *ret;

	scene_set(&w.scene, R);
	latch_init(&w.begun);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, cancel_main, &w), 0);
	latch_wait(&w.begun, ARRAY_SIZE(threads));
	zitem_wait_busy(&w.scene.item, R | C);
	assert_int_equal(call_submit(&w.scene.item.dw), -EBUSY);
	assert_int_equal(k_work_cancel(&w.scene.item.dw.work), R | C);
	zitem_pass(&w.scene.item);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], &ret);
	assert_int_equal(zitem_busy(&w.scene.item), 0);
	assert_int_equal(call_submit(&w.scene.item.dw), 1);
	zitem_pass(&w.scene.item);
	k_work_flush(&w.scene.item.dw.work, &work_sync);
	assert_int_equal(w.scene.item.runs, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(submit_answers_in_every_state),
		cmocka_unit_test(submit_elsewhere_is_diverted_to_where_it_runs),
		cmocka_unit_test(submit_without_a_queue_goes_to_the_last),
		cmocka_unit_test(schedule_acts_only_if_idle_or_running),
		cmocka_unit_test(reschedule_sets_the_timer_in_every_state),
		cmocka_unit_test(cancel_takes_back_and_blocks_what_runs),
		cmocka_unit_test(flush_waits_for_what_is_queued_last),
		cmocka_unit_test(cancel_sync_waits_for_what_runs),
		cmocka_unit_test(handler_return_leaves_what_came_meanwhile),
		cmocka_unit_test(timer_submits_what_is_due),
		cmocka_unit_test(timer_of_a_cancelling_item_is_kept),
		cmocka_unit_test(reschedule_of_a_queued_item_runs_twice),
		cmocka_unit_test(cancel_sync_several_callers_all_return),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
