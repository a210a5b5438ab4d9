/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for delayed items: flush, and cancel_sync and disable_sync of one that arms itself. */
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

/* --- Flush of an item --- */

static void flush_armed_item_runs_it_now(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_DEDICATED, WQ_BH};
	struct shot shot;
	unsigned i;

	shot_init(&shot);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *queue = wq_alloc("kind", kinds[i], 0);

		assert_non_null(queue);
		assert_int_equal(wq_delayed_work_flush(&shot.dw), 0);
		assert_int_equal(wq_queue_delayed(queue, &shot.dw, HOUR), 1);
		assert_int_equal(wq_delayed_work_flush(&shot.dw), 1);
		assert_ptr_equal(shot.wq, queue);
		shot_is_idle(&shot, i + 1);
		assert_int_equal(wq_delayed_work_flush(&shot.dw), 0);
		assert_int_equal(wq_destroy(queue), 0);
	}
}

static void flush_armed_item_of_a_plugged_queue_runs_it(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_queue_delayed(plugged, &shot.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_flush(&shot.dw), 1);
	assert_ptr_equal(shot.wq, plugged);
	shot_is_idle(&shot, 1);
	shot_park(plugged, &shot, wq);
	assert_int_equal(wq_work_flush(&shot.dw.work), 1);
	shot_is_idle(&shot, 1);
}

struct flusher {
	struct shot *shot;
	pthread_t thread;
	int ret;
	unsigned long runs;
};

static void *flusher_thread(void *ctx)
{
	struct flusher *flusher = ctx;

	flusher->ret = wq_delayed_work_flush(&flusher->shot->dw);
	flusher->runs = count_get(&flusher->shot->runs);
	return NULL;
}

static void flush_running_and_armed_item_waits_for_both_runs(void **state)
{
	struct flusher flusher;
	struct shot shot;

	shot_init_gate(&shot);
	assert_int_equal(wq_queue(wq, &shot.dw.work), 1);
	latch_wait(&shot.started, 1);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	flusher.shot = &shot;
	assert_int_equal(pthread_create(&flusher.thread, NULL, flusher_thread, &flusher), 0);
	while (wq_delayed_work_busy(&shot.dw) & WQ_BUSY_DELAYED)
		sched_yield();
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_RUNNING | WQ_BUSY_PENDING);
	latch_post(&shot.open);
	latch_wait(&shot.started, 2);
	latch_post(&shot.open);
	pthread_join(flusher.thread, NULL);
	assert_int_equal(flusher.ret, 1);
	assert_int_equal(flusher.runs, 2);
	shot_wait(&shot, 2);
	shot_is_idle(&shot, 2);
}

/* An item that tries what can't end: of itself, or of another that is armed. */
struct deadlock {
	struct wq_delayed_work dw;
	struct shot *other; /* NULL: of itself */
	unsigned long runs;
	unsigned busy;
	int plain, delayed;
};

static void deadlock_fn(struct wq_work *work, void *ctx)
{
	struct deadlock *d = ctx;
	struct wq_delayed_work *dw = d->other ? &d->other->dw : &d->dw;

	if (count_up(&d->runs) > 1)
		return;
	if (!d->other)
		wq_queue_delayed(wq, dw, HOUR);
	d->plain = wq_work_flush(&dw->work);
	d->delayed = wq_delayed_work_flush(dw);
	d->busy = wq_delayed_work_busy(dw);
}

static void flush_from_its_own_function_answers_edeadlk(void **state)
{
	struct deadlock d = {.other = NULL};

	wq_delayed_work_init(&d.dw, deadlock_fn, &d);
	assert_int_equal(wq_queue(wq, &d.dw.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(d.plain, -EDEADLK);
	assert_int_equal(d.delayed, -EDEADLK);
	assert_int_equal(d.busy, WQ_BUSY_RUNNING | WQ_BUSY_DELAYED);
	assert_int_equal(wq_delayed_work_busy(&d.dw), WQ_BUSY_DELAYED);
	assert_int_equal(d.runs, 1);
	assert_int_equal(wq_delayed_work_flush(&d.dw), 1);
	assert_int_equal(d.runs, 2);
}

static void flush_behind_the_caller_answers_edeadlk_on(struct wq *queue)
{
	struct shot other;
	struct deadlock d = {.other = &other};

	assert_non_null(queue);
	shot_init(&other);
	wq_delayed_work_init(&d.dw, deadlock_fn, &d);
	assert_int_equal(wq_queue_delayed(queue, &other.dw, HOUR), 1);
	assert_int_equal(wq_queue(queue, &d.dw.work), 1);
	assert_int_equal(wq_flush(queue), 0);
	assert_int_equal(d.plain, -EDEADLK);
	assert_int_equal(d.delayed, -EDEADLK);
	assert_int_equal(d.busy, WQ_BUSY_DELAYED);
	shot_is_armed(&other);
	assert_int_equal(other.runs, 0);
	assert_int_equal(wq_delayed_work_flush(&other.dw), 1);
	shot_is_idle(&other, 1);
	assert_int_equal(wq_destroy(queue), 0);
}

static void flush_of_what_would_wait_behind_the_caller_answers_edeadlk(void **state)
{
	flush_behind_the_caller_answers_edeadlk_on(wq_alloc("ordered", WQ_ORDERED, 0));
	flush_behind_the_caller_answers_edeadlk_on(wq_alloc("dedicated", WQ_DEDICATED, 0));
	flush_behind_the_caller_answers_edeadlk_on(wq_alloc("one", 0, 1));
}

/* An item of another queue may wait for it. */
static void flush_from_an_item_of_another_queue_runs_it(void **state)
{
	struct shot other;
	struct deadlock d = {.other = &other};

	shot_init(&other);
	wq_delayed_work_init(&d.dw, deadlock_fn, &d);
	assert_int_equal(wq_queue_delayed(ordered, &other.dw, HOUR), 1);
	assert_int_equal(wq_queue_delayed(wq, &d.dw, 1), 1);
	shot_wait(&other, 1);
	assert_int_equal(wq_delayed_work_cancel_sync(&d.dw), 0);
	assert_int_equal(d.plain, 1);
	assert_int_equal(d.delayed, 0);
	shot_is_idle(&other, 1);
}

static void flush_sees_what_the_run_did(void **state)
{
	unsigned long round, rounds = scaled(500);
	struct shot shot;

	shot_init(&shot);
	for (round = 1; round <= rounds; round++) {
		assert_int_equal(wq_queue_delayed(wq, &shot.dw, round % 2 ? HOUR : 1), 1);
		assert_true(wq_delayed_work_flush(&shot.dw) >= 0);
		assert_int_equal(shot.runs, round);
	}
}

/* --- Flush and drain of a queue --- */

static void flush_and_drain_of_a_queue_leave_the_armed(void **state)
{
	struct shot shot, pending;

	shot_init(&shot);
	shot_init(&pending);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_queue(wq, &pending.dw.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	shot_is_idle(&pending, 1);
	shot_is_armed(&shot);
	assert_int_equal(wq_queue(wq, &pending.dw.work), 1);
	assert_int_equal(wq_drain(wq), 0);
	shot_is_idle(&pending, 2);
	shot_is_armed(&shot);
	assert_int_equal(wq_delayed_work_cancel_sync(&shot.dw), 1);
	shot_is_idle(&shot, 0);
}

/* --- An item that arms itself for ever --- */

struct rearming {
	struct wq_delayed_work dw;
	uint64_t delay_ns;
	unsigned how;
	unsigned long runs, wrong;
};

enum { BY_QUEUE, BY_MOD, BY_RESCHEDULE, NR_WAYS };

static void rearming_fn(struct wq_work *work, void *ctx)
{
	struct rearming *r = ctx;
	int ret;

	count_up(&r->runs);
	if (r->how == BY_QUEUE)
		ret = wq_queue_delayed(wq, &r->dw, r->delay_ns);
	else if (r->how == BY_MOD)
		ret = wq_mod_delayed(wq, &r->dw, r->delay_ns) == 0 ? 1 : -EBUSY;
	else
		ret = wq_reschedule(wq, &r->dw, r->delay_ns);
	if (ret != 1 && ret != -EBUSY)
		count_up(&r->wrong);
}

static void rearming_is_ended(unsigned how, uint64_t delay_ns, int (*end)(struct wq_delayed_work *))
{
	struct rearming r = {.how = how, .delay_ns = delay_ns};
	unsigned long runs;
	int ret;

	wq_delayed_work_init(&r.dw, rearming_fn, &r);
	assert_int_equal(wq_queue_delayed(wq, &r.dw, 1), 1);
	while (count_get(&r.runs) < 3)
		sched_yield();
	ret = end(&r.dw);
	assert_in_range(ret, 0, 1);
	runs = count_get(&r.runs);
	assert_false(wq_delayed_work_pending(&r.dw));
	assert_int_equal(wq_delayed_work_busy(&r.dw) & ~WQ_BUSY_DISABLED, 0);
	clock_passes(wq, now_ns() + delay_ns);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(r.runs, runs);
	assert_int_equal(r.wrong, 0);
	if (wq_delayed_work_busy(&r.dw))
		assert_int_equal(wq_delayed_work_enable(&r.dw), 1);
	assert_int_equal(wq_delayed_work_busy(&r.dw), 0);
}

static void cancel_sync_of_an_item_that_arms_itself_ends_it(void **state)
{
	unsigned long round, rounds = scaled(100);

	for (round = 0; round < rounds; round++)
		rearming_is_ended(round % NR_WAYS, round % 2 ? 1 : 3 * TICK,
				  wq_delayed_work_cancel_sync);
}

static void disable_sync_of_an_item_that_arms_itself_ends_it(void **state)
{
	unsigned long round, rounds = scaled(100);

	for (round = 0; round < rounds; round++)
		rearming_is_ended(round % NR_WAYS, round % 2 ? 1 : 3 * TICK,
				  wq_delayed_work_disable_sync);
}

static void cancel_sync_by_many_leaves_the_item_idle_fn(void *ctx, unsigned index)
{
	struct rearming *r = ctx;
	int ret =
		index % 2 ? wq_delayed_work_cancel_sync(&r->dw) : wq_work_cancel_sync(&r->dw.work);

	if (ret < 0 || ret > 1)
		count_up(&r->wrong);
}

static void cancel_sync_by_many_leaves_the_item_idle(void **state)
{
	unsigned long round, rounds = scaled(50), runs;

	for (round = 0; round < rounds; round++) {
		struct rearming r = {.how = round % NR_WAYS, .delay_ns = 1};

		wq_delayed_work_init(&r.dw, rearming_fn, &r);
		assert_int_equal(wq_queue_delayed(wq, &r.dw, 1), 1);
		while (count_get(&r.runs) < 2)
			sched_yield();
		run_threads(4, cancel_sync_by_many_leaves_the_item_idle_fn, &r);
		runs = count_get(&r.runs);
		assert_int_equal(wq_delayed_work_busy(&r.dw), 0);
		clock_passes(wq, now_ns());
		assert_int_equal(r.runs, runs);
		assert_int_equal(r.wrong, 0);
	}
}

/* --- From its own function --- */

struct own {
	struct wq_delayed_work dw;
	int (*end)(struct wq_delayed_work *);
	unsigned long runs;
	unsigned busy;
	int ret;
};

static void own_fn(struct wq_work *work, void *ctx)
{
	struct own *own = ctx;

	count_up(&own->runs);
	wq_queue_delayed(wq, &own->dw, HOUR);
	own->ret = own->end(&own->dw);
	own->busy = wq_delayed_work_busy(&own->dw);
}

static void cancel_sync_from_its_own_function_cancels_and_answers_edeadlk(void **state)
{
	struct own own = {.end = wq_delayed_work_cancel_sync};

	wq_delayed_work_init(&own.dw, own_fn, &own);
	assert_int_equal(wq_queue(wq, &own.dw.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(own.ret, -EDEADLK);
	assert_int_equal(own.busy, WQ_BUSY_RUNNING);
	assert_int_equal(wq_delayed_work_busy(&own.dw), 0);
	own.end = wq_delayed_work_disable_sync;
	assert_int_equal(wq_queue_delayed(wq, &own.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_flush(&own.dw), 1);
	assert_int_equal(own.ret, -EDEADLK);
	assert_int_equal(own.busy, WQ_BUSY_RUNNING | WQ_BUSY_DISABLED);
	assert_int_equal(wq_delayed_work_busy(&own.dw), WQ_BUSY_DISABLED);
	assert_int_equal(wq_delayed_work_enable(&own.dw), 1);
	assert_int_equal(own.runs, 2);
}

/* The thread that waits in cancel_sync keeps everybody from arming. */
static void *cancel_thread(void *ctx)
{
	struct flusher *flusher = ctx;

	flusher->ret = wq_delayed_work_cancel_sync(&flusher->shot->dw);
	return NULL;
}

static void arming_during_cancel_sync_answers_ebusy(void **state)
{
	struct flusher flusher;
	struct shot shot;

	shot_init_gate(&shot);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, 1), 1);
	latch_wait(&shot.started, 1);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	flusher.shot = &shot;
	assert_int_equal(pthread_create(&flusher.thread, NULL, cancel_thread, &flusher), 0);
	while (wq_delayed_work_busy(&shot.dw) != (WQ_BUSY_RUNNING | WQ_BUSY_CANCELING))
		sched_yield();
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), -EBUSY);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, 0), -EBUSY);
	assert_int_equal(wq_mod_delayed(wq, &shot.dw, HOUR), -EBUSY);
	assert_int_equal(wq_mod_delayed(plugged, &shot.dw, 0), -EBUSY);
	assert_int_equal(wq_reschedule(wq, &shot.dw, HOUR), -EBUSY);
	assert_int_equal(wq_reschedule(wq, &shot.dw, 0), -EBUSY);
	assert_int_equal(wq_schedule_delayed(&shot.dw, HOUR), -EBUSY);
	latch_post(&shot.open);
	pthread_join(flusher.thread, NULL);
	assert_int_equal(flusher.ret, 1);
	shot_is_idle(&shot, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flush_armed_item_runs_it_now),
		cmocka_unit_test(flush_armed_item_of_a_plugged_queue_runs_it),
		cmocka_unit_test(flush_running_and_armed_item_waits_for_both_runs),
		cmocka_unit_test(flush_from_its_own_function_answers_edeadlk),
		cmocka_unit_test(flush_of_what_would_wait_behind_the_caller_answers_edeadlk),
		cmocka_unit_test(flush_from_an_item_of_another_queue_runs_it),
		cmocka_unit_test(flush_sees_what_the_run_did),
		cmocka_unit_test(flush_and_drain_of_a_queue_leave_the_armed),
		cmocka_unit_test(cancel_sync_of_an_item_that_arms_itself_ends_it),
		cmocka_unit_test(disable_sync_of_an_item_that_arms_itself_ends_it),
		cmocka_unit_test(cancel_sync_by_many_leaves_the_item_idle),
		cmocka_unit_test(cancel_sync_from_its_own_function_cancels_and_answers_edeadlk),
		cmocka_unit_test(arming_during_cancel_sync_answers_ebusy),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
