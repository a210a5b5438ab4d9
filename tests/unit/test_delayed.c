/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The calls for delayed items and what they answer; bad input. */
#include "shot.h"

#define ERRNO_MARK 4711

static struct wq *wq, *ordered, *plugged;

static int setup(void **state)
{
	wq = wq_alloc("test", 0, 0);
	ordered = wq_alloc("ordered", WQ_ORDERED, 0);
	plugged = wq_alloc("plugged", 0, 0);
	return wq && ordered && plugged ? wq_plug(plugged) : -1;
}

/* Whatever a test has left armed shows here, as -EBUSY. */
static int teardown(void **state)
{
	return wq_destroy(wq) || wq_destroy(ordered) || wq_destroy(plugged);
}

/* --- Time --- */

/* How late it was. */
static uint64_t fire_once(struct wq *queue, uint64_t delay_ns)
{
	uint64_t before, expires_ns;
	struct shot shot;

	shot_init(&shot);
	before = now_ns();
	assert_int_equal(wq_queue_delayed(queue, &shot.dw, delay_ns), 1);
	expires_ns = wq_delayed_work_expires_ns(&shot.dw);
	shot_wait(&shot, 1);
	assert_true(!expires_ns || expires_ns >= before + delay_ns);
	assert_true(shot.ran_ns >= before + delay_ns);
	assert_true(shot.ran_ns >= expires_ns);
	assert_ptr_equal(shot.wq, queue);
	shot_is_idle(&shot, 1);
	return shot.ran_ns - before - delay_ns;
}

static void delayed_item_is_never_early(void **state)
{
	static const uint64_t delays[] = {1, 1000, TICK - 1, TICK, TICK + 1, MS, 20 * MS};
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_DEDICATED, WQ_BH};
	struct wq *queues[ARRAY_SIZE(kinds)];
	unsigned long round, rounds;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		assert_non_null(queues[i] = wq_alloc("kinds", kinds[i], 0));
	for (i = 0; i < ARRAY_SIZE(delays); i++) {
		uint64_t late, latest = 0;

		rounds = scaled(delays[i] > MS ? 10 : 200);
		for (round = 0; round < rounds; round++) {
			late = fire_once(queues[round % ARRAY_SIZE(queues)], delays[i]);
			latest = late > latest ? late : latest;
		}
		print_message("delay %9llu ns: at most %llu ns late\n",
			      (unsigned long long)delays[i], (unsigned long long)latest);
	}
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		assert_int_equal(wq_destroy(queues[i]), 0);
}

static void armed_item_tells_when_it_is_due(void **state)
{
	uint64_t before, after, expires_ns, remaining_ns;
	struct shot shot;

	shot_init(&shot);
	shot_is_idle(&shot, 0);
	before = now_ns();
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	after = now_ns();
	expires_ns = wq_delayed_work_expires_ns(&shot.dw);
	assert_in_range(expires_ns, before + HOUR, after + HOUR + READING);
	remaining_ns = wq_delayed_work_remaining_ns(&shot.dw);
	assert_true(remaining_ns <= expires_ns - after);
	assert_true(remaining_ns >= expires_ns - now_ns());
	shot_is_armed(&shot);
	assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
	shot_is_idle(&shot, 0);
}

/* Beyond what 64 bits of nanoseconds can say, it is for ever. */
static void delay_beyond_the_end_of_time_is_for_ever(void **state)
{
	static const uint64_t delays[] = {UINT64_MAX, UINT64_MAX - 1};
	struct shot shot;
	unsigned i;

	shot_init(&shot);
	for (i = 0; i < ARRAY_SIZE(delays); i++) {
		assert_int_equal(wq_queue_delayed(wq, &shot.dw, delays[i]), 1);
		assert_true(wq_delayed_work_expires_ns(&shot.dw) == UINT64_MAX);
		clock_passes(wq, now_ns());
		shot_is_armed(&shot);
		assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
		assert_int_equal(wq_mod_delayed(wq, &shot.dw, delays[i]), 0);
		assert_int_equal(wq_mod_delayed(wq, &shot.dw, delays[i]), 1);
		assert_true(wq_delayed_work_expires_ns(&shot.dw) == UINT64_MAX);
		assert_int_equal(wq_reschedule(wq, &shot.dw, delays[i]), 1);
		assert_true(wq_delayed_work_expires_ns(&shot.dw) == UINT64_MAX);
		assert_int_equal(wq_delayed_work_cancel_sync(&shot.dw), 1);
		shot_is_idle(&shot, 0);
	}
}

/* --- wq_queue_delayed() --- */

static void queue_delayed_armed_item_answers_0(void **state)
{
	uint64_t expires_ns;
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	expires_ns = wq_delayed_work_expires_ns(&shot.dw);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, 1), 0);
	assert_int_equal(wq_queue_delayed(ordered, &shot.dw, 2 * HOUR), 0);
	assert_int_equal(wq_queue_delayed_on(wq, &shot.dw, 1, usable_cpu(0)), 0);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, 0), 0);
	assert_int_equal(wq_queue(wq, &shot.dw.work), 0);
	assert_true(wq_delayed_work_expires_ns(&shot.dw) == expires_ns);
	shot_is_armed(&shot);
	assert_int_equal(wq_delayed_work_cancel_sync(&shot.dw), 1);
	shot_is_idle(&shot, 0);
}

static void queue_delayed_pending_item_answers_0(void **state)
{
	struct probe gate;
	struct shot shot;

	shot_init(&shot);
	gate_begin(ordered, &gate);
	assert_int_equal(wq_queue(ordered, &shot.dw.work), 1);
	assert_int_equal(wq_queue_delayed(ordered, &shot.dw, HOUR), 0);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, 1), 0);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, 0), 0);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_PENDING);
	assert_int_equal(wq_delayed_work_expires_ns(&shot.dw), 0);
	gate_end(&gate);
	shot_wait(&shot, 1);
	assert_ptr_equal(shot.wq, ordered);
	shot_is_idle(&shot, 1);
}

static void queue_delayed_running_item_arms_it(void **state)
{
	struct shot shot;

	shot_init_gate(&shot);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, 1), 1);
	latch_wait(&shot.started, 1);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_RUNNING | WQ_BUSY_DELAYED);
	assert_int_equal(wq_queue(wq, &shot.dw.work), 0);
	assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_RUNNING);
	latch_post(&shot.open);
	assert_true(wq_delayed_work_cancel_sync(&shot.dw) == 0);
	shot_is_idle(&shot, 1);
}

static void queue_delayed_without_delay_queues_at_once(void **state)
{
	struct probe gate;
	struct shot shot;

	shot_init(&shot);
	gate_begin(ordered, &gate);
	assert_int_equal(wq_queue_delayed(ordered, &shot.dw, 0), 1);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_PENDING);
	assert_int_equal(wq_queue_delayed(ordered, &shot.dw, 0), 0);
	gate_end(&gate);
	shot_wait(&shot, 1);
	assert_int_equal(wq_queue_delayed(plugged, &shot.dw, 0), -ESHUTDOWN);
	shot_is_idle(&shot, 1);
	assert_int_equal(wq_queue_delayed_on(wq, &shot.dw, 0, usable_cpu(0)), 1);
	shot_wait(&shot, 2);
	assert_int_equal(wq_schedule_delayed(&shot.dw, 0), 1);
	shot_wait(&shot, 3);
	assert_ptr_equal(shot.wq, wq_system());
}

/* -EINVAL, -EBUSY, 0, -ESHUTDOWN.  That of a queue being destroyed is test_delayed_states.c's. */
static void queue_delayed_looks_at_its_reasons_in_order(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_delayed_work_disable(&shot.dw), 0);
	assert_int_equal(wq_queue_delayed(NULL, &shot.dw, 0), -EINVAL);
	assert_int_equal(wq_queue_delayed(plugged, &shot.dw, 0), -EBUSY);
	assert_int_equal(wq_queue_delayed(plugged, &shot.dw, 1), -EBUSY);
	assert_int_equal(wq_queue_delayed_on(wq, &shot.dw, 1, usable_cpu(0)), -EBUSY);
	assert_int_equal(wq_schedule_delayed(&shot.dw, 1), -EBUSY);
	assert_int_equal(wq_delayed_work_busy(&shot.dw), WQ_BUSY_DISABLED);
	assert_int_equal(wq_delayed_work_enable(&shot.dw), 1);
	assert_int_equal(wq_queue_delayed(plugged, &shot.dw, 0), -ESHUTDOWN);
	assert_int_equal(wq_queue_delayed(plugged, &shot.dw, HOUR), 1);
	assert_int_equal(wq_queue_delayed(plugged, &shot.dw, 0), 0);
	assert_int_equal(wq_delayed_work_cancel(&shot.dw), 1);
	shot_is_idle(&shot, 0);
}

static void schedule_delayed_uses_the_system_queue(void **state)
{
	uint64_t before = now_ns();
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_schedule_delayed(&shot.dw, MS), 1);
	shot_wait(&shot, 1);
	assert_true(shot.ran_ns >= before + MS);
	assert_ptr_equal(shot.wq, wq_system());
}

/* --- Plain calls on the embedded item --- */

static void plain_cancel_of_an_armed_item_disarms_it(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_work_cancel(&shot.dw.work), 1);
	shot_is_idle(&shot, 0);
	assert_int_equal(wq_work_cancel(&shot.dw.work), 0);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_work_cancel_sync(&shot.dw.work), 1);
	shot_is_idle(&shot, 0);
	assert_int_equal(wq_work_cancel_sync(&shot.dw.work), 0);
}

static void plain_disable_of_an_armed_item_disarms_it(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_work_disable(&shot.dw.work), 1);
	assert_int_equal(wq_work_busy(&shot.dw.work), WQ_BUSY_DISABLED);
	assert_int_equal(wq_delayed_work_disable_sync(&shot.dw), 0);
	assert_int_equal(wq_delayed_work_enable(&shot.dw), 0);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), -EBUSY);
	assert_int_equal(wq_enable_and_queue(wq, &shot.dw.work), 1);
	shot_wait(&shot, 1);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_work_disable_sync(&shot.dw.work), 1);
	assert_int_equal(wq_work_enable(&shot.dw.work), 1);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_delayed_work_disable(&shot.dw), 1);
	assert_int_equal(wq_delayed_work_enable(&shot.dw), 1);
	assert_int_equal(wq_delayed_work_enable(&shot.dw), -EINVAL);
	shot_is_idle(&shot, 1);
}

static void plain_flush_of_an_armed_item_fires_it(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_work_flush(&shot.dw.work), 0);
	assert_int_equal(wq_queue_delayed(wq, &shot.dw, HOUR), 1);
	assert_int_equal(wq_work_flush(&shot.dw.work), 1);
	shot_is_idle(&shot, 1);
	assert_ptr_equal(shot.wq, wq);
}

/* --- Bad input --- */

static unsigned long nop_runs;

static void nop(struct wq_work *work, void *ctx)
{
	count_up(&nop_runs);
}

static void check_answer(const char *call, long ret, long expected)
{
	int err = errno;

	if (ret != expected)
		fail_msg("%s: %ld, not %ld", call, ret, expected);
	if (err != ERRNO_MARK)
		fail_msg("%s: touches errno", call);
}

#define EXPECT(call, expected) (errno = ERRNO_MARK, check_answer(#call, (long)(call), (expected)))

static void expect_arming_refused(struct wq *queue, struct wq_delayed_work *dw)
{
	static const uint64_t delays[] = {0, 1, HOUR, UINT64_MAX};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(delays); i++) {
		EXPECT(wq_queue_delayed(queue, dw, delays[i]), -EINVAL);
		EXPECT(wq_queue_delayed_on(queue, dw, delays[i], usable_cpu(0)), -EINVAL);
		EXPECT(wq_mod_delayed(queue, dw, delays[i]), -EINVAL);
		EXPECT(wq_mod_delayed_on(queue, dw, delays[i], usable_cpu(0)), -EINVAL);
		EXPECT(wq_reschedule(queue, dw, delays[i]), -EINVAL);
	}
}

static void expect_schedule_refused(struct wq_delayed_work *dw)
{
	EXPECT(wq_schedule_delayed(dw, 0), -EINVAL);
	EXPECT(wq_schedule_delayed(dw, HOUR), -EINVAL);
}

static void expect_handling_refused(struct wq_delayed_work *dw)
{
	EXPECT(wq_delayed_work_flush(dw), -EINVAL);
	EXPECT(wq_delayed_work_cancel(dw), -EINVAL);
	EXPECT(wq_delayed_work_cancel_sync(dw), -EINVAL);
	EXPECT(wq_delayed_work_disable(dw), -EINVAL);
	EXPECT(wq_delayed_work_disable_sync(dw), -EINVAL);
	EXPECT(wq_delayed_work_enable(dw), -EINVAL);
	EXPECT(wq_delayed_work_expires_ns(dw), 0);
	EXPECT(wq_delayed_work_remaining_ns(dw), 0);
	EXPECT(wq_delayed_work_pending(dw), 0);
	EXPECT(wq_delayed_work_busy(dw), 0);
}

static void delayed_calls_refuse_null(void **state)
{
	struct wq_delayed_work dw = WQ_DELAYED_WORK_INIT(nop, NULL), before = dw;

	expect_arming_refused(NULL, &dw);
	expect_arming_refused(wq, NULL);
	expect_arming_refused(NULL, NULL);
	expect_schedule_refused(NULL);
	expect_handling_refused(NULL);
	assert_memory_equal(&dw, &before, sizeof(dw));
}

static void delayed_calls_refuse_items_that_were_not_initialised(void **state)
{
	struct wq_delayed_work zeroed, without_fn, before;

	memset(&zeroed, 0, sizeof(zeroed));
	before = zeroed;
	expect_arming_refused(wq, &zeroed);
	expect_schedule_refused(&zeroed);
	expect_handling_refused(&zeroed);
	assert_memory_equal(&zeroed, &before, sizeof(before));
	wq_delayed_work_init(&without_fn, NULL, NULL);
	before = without_fn;
	expect_arming_refused(wq, &without_fn);
	expect_schedule_refused(&without_fn);
	expect_handling_refused(&without_fn);
	assert_memory_equal(&without_fn, &before, sizeof(before));
}

/* An item of another kind is not armed by these calls. */
static void delayed_calls_refuse_items_of_another_kind(void **state)
{
	static const unsigned kinds[] = {0, WQ_TIMER_RCU, WQ_TIMER_TRIGGER, 4, UINT32_MAX};
	struct wq_delayed_work dw, before;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		wq_delayed_work_init(&dw, nop, NULL);
		dw.wq_timer.wq_kind = kinds[i];
		before = dw;
		expect_arming_refused(wq, &dw);
		expect_schedule_refused(&dw);
		assert_memory_equal(&dw, &before, sizeof(dw));
	}
	assert_int_equal(nop_runs, 0);
}

static void delayed_calls_refuse_cpus_out_of_range(void **state)
{
	static const int cpus[] = {-1, WQ_MAX_CPUS, INT32_MAX, INT32_MIN};
	struct wq_delayed_work dw = WQ_DELAYED_WORK_INIT(nop, NULL), before = dw;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cpus); i++) {
		EXPECT(wq_queue_delayed_on(wq, &dw, 1, cpus[i]), -EINVAL);
		EXPECT(wq_queue_delayed_on(wq, &dw, 0, cpus[i]), -EINVAL);
		EXPECT(wq_mod_delayed_on(wq, &dw, 1, cpus[i]), -EINVAL);
		EXPECT(wq_mod_delayed_on(wq, &dw, 0, cpus[i]), -EINVAL);
	}
	assert_memory_equal(&dw, &before, sizeof(dw));
	assert_int_equal(nop_runs, 0);
}

static void delayed_calls_leave_errno_alone(void **state)
{
	struct wq_delayed_work dw = WQ_DELAYED_WORK_INIT(nop, NULL);
	unsigned long before = nop_runs;

	EXPECT(wq_queue_delayed(wq, &dw, HOUR), 1);
	EXPECT(wq_queue_delayed(wq, &dw, 1), 0);
	EXPECT(wq_mod_delayed(wq, &dw, 2 * HOUR), 1);
	EXPECT(wq_reschedule(wq, &dw, HOUR), 1);
	EXPECT(wq_delayed_work_flush(&dw), 1);
	EXPECT(wq_delayed_work_flush(&dw), 0);
	EXPECT(wq_schedule_delayed(&dw, HOUR), 1);
	EXPECT(wq_delayed_work_busy(&dw), WQ_BUSY_DELAYED);
	EXPECT(wq_delayed_work_disable(&dw), 1);
	EXPECT(wq_mod_delayed(wq, &dw, 1), -EBUSY);
	EXPECT(wq_delayed_work_enable(&dw), 1);
	EXPECT(wq_delayed_work_cancel_sync(&dw), 0);
	assert_int_equal(nop_runs, before + 1);
}

/* --- The item's memory --- */

static struct wq_delayed_work static_item = WQ_DELAYED_WORK_INIT(nop, &nop_runs);

static void static_initialiser_makes_what_init_makes(void **state)
{
	unsigned long before = nop_runs;
	struct wq_delayed_work dw;

	assert_true(sizeof(dw) <= 96);
	memset(&dw, 0, sizeof(dw));
	wq_delayed_work_init(&dw, nop, &nop_runs);
	assert_memory_equal(&dw, &static_item, sizeof(dw));
	assert_int_equal(wq_queue_delayed(wq, &static_item, HOUR), 1);
	assert_int_equal(wq_delayed_work_flush(&static_item), 1);
	assert_int_equal(nop_runs, before + 1);
	assert_int_equal(wq_work_busy(&static_item.work), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delayed_item_is_never_early),
		cmocka_unit_test(armed_item_tells_when_it_is_due),
		cmocka_unit_test(delay_beyond_the_end_of_time_is_for_ever),
		cmocka_unit_test(queue_delayed_armed_item_answers_0),
		cmocka_unit_test(queue_delayed_pending_item_answers_0),
		cmocka_unit_test(queue_delayed_running_item_arms_it),
		cmocka_unit_test(queue_delayed_without_delay_queues_at_once),
		cmocka_unit_test(queue_delayed_looks_at_its_reasons_in_order),
		cmocka_unit_test(schedule_delayed_uses_the_system_queue),
		cmocka_unit_test(plain_cancel_of_an_armed_item_disarms_it),
		cmocka_unit_test(plain_disable_of_an_armed_item_disarms_it),
		cmocka_unit_test(plain_flush_of_an_armed_item_fires_it),
		cmocka_unit_test(delayed_calls_refuse_null),
		cmocka_unit_test(delayed_calls_refuse_items_that_were_not_initialised),
		cmocka_unit_test(delayed_calls_refuse_items_of_another_kind),
		cmocka_unit_test(delayed_calls_refuse_cpus_out_of_range),
		cmocka_unit_test(delayed_calls_leave_errno_alone),
		cmocka_unit_test(static_initialiser_makes_what_init_makes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
