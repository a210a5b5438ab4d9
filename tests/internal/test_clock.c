/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Timers by a clock that the test sets: it stands still, jumps far, and jumps often. */
#include "timed.h"

#include <sched.h>

#include "clock.h"

#define YEAR_NS (UINT64_C(365) * 24 * HOUR_NS)

static uint64_t test_now_ns; /* atomic */

static uint64_t test_clock(void)
{
	return __atomic_load_n(&test_now_ns, __ATOMIC_SEQ_CST);
}

/* Before the library starts; it must not go back, so this is for good. */
static int begin(void **state)
{
	test_now_ns = wqi_now_ns();
	__atomic_store_n(&wqi_test_clock, test_clock, __ATOMIC_RELEASE);
	timed_begin();
	return 0;
}

static int end(void **state)
{
	timed_end();
	return 0;
}

static void jump(uint64_t ns)
{
	__atomic_fetch_add(&test_now_ns, ns, __ATOMIC_SEQ_CST);
	wqi_clock_wake();
}

/* It has looked at the shards once more, and found nothing due any more. */
static void clock_looks(void)
{
	unsigned long before = clock_sleeps();

	while (clock_sleeps() < before + 2) {
		wqi_clock_wake();
		sched_yield();
	}
}

/* Nothing fires while it stands, nor a nanosecond early; a tick later, that one alone. */
static void clock_that_stands_still_fires_nothing(void **state)
{
	static const uint64_t delays[] = {1000, 1000000, 1000000000, HOUR_NS};
	struct timed timed[ARRAY_SIZE(delays)];
	struct wq *wq = wq_alloc("q", 0, 0);
	uint64_t begin_ns = test_clock();
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(delays); i++) {
		timed_init(&timed[i]);
		assert_int_equal(wq_queue_delayed(wq, &timed[i].dw, delays[i]), 1);
		assert_true(wq_delayed_work_remaining_ns(&timed[i].dw) == delays[i]);
	}
	for (i = 0; i < ARRAY_SIZE(delays); i++) {
		jump(begin_ns + delays[i] - 1 - test_clock());
		clock_looks();
		assert_int_equal(wq_flush(wq), 0);
		for (j = 0; j < ARRAY_SIZE(delays); j++)
			assert_int_equal(count_get(&timed[j].runs), j < i);
		jump(1 + WQI_TICK_NS);
		latch_wait(&timed[i].ended, 1);
	}
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < ARRAY_SIZE(delays); i++)
		assert_int_equal(count_get(&timed[i].runs), 1);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- order --- */

struct turn {
	struct wq_delayed_work dw;
	unsigned long turn, *turns;
	struct latch *ended;
};

static void turn_fn(struct wq_work *work, void *ctx)
{
	struct turn *turn = container_of(work, struct turn, dw.work);

	turn->turn = count_up(turn->turns);
	latch_post(turn->ended);
}

static void turn_init(struct turn *turn, unsigned long *turns, struct latch *ended)
{
	wq_delayed_work_init(&turn->dw, turn_fn, NULL);
	turn->turns = turns;
	turn->ended = ended;
	turn->turn = 0;
}

/* Deadlines that are more than a tick apart, armed in an order that is not theirs. */
static void jump_by_a_year_fires_all_in_the_order_of_deadlines(void **state)
{
	unsigned long nr = scaled(2000), i, turns = 0;
	struct turn *turn = calloc(nr, sizeof(*turn));
	struct wq *wq = wq_alloc("q", WQ_ORDERED, 0);
	struct latch ended;

	latch_init(&ended);
	for (i = 0; i < nr; i++)
		turn_init(&turn[i], &turns, &ended);
	/* Up to half a year, each farther than the last by ever more. */
	for (i = 0; i < nr; i++) {
		unsigned long at = i % 2 ? i / 2 : nr - 1 - i / 2;
		uint64_t delay = YEAR_NS / 2 / nr / nr * at * at + (at + 1) * 2 * WQI_TICK_NS;

		assert_int_equal(wq_queue_delayed(wq, &turn[at].dw, delay), 1);
	}
	clock_looks();
	assert_int_equal(count_get(&turns), 0);
	jump(YEAR_NS);
	latch_wait(&ended, nr);
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < nr; i++)
		assert_int_equal(turn[i].turn, i + 1);
	assert_int_equal(wq_destroy(wq), 0);
	free(turn);
}

/* The inbox keeps the order: with one deadline, that of arming. */
static void items_from_the_inbox_fire_in_the_order_of_arming(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_ORDERED, 0);
	unsigned long turns = 0, i;
	struct turn turn[20];
	struct latch ended;

	latch_init(&ended);
	wqi_shard_lock(shard_here());
	for (i = 0; i < ARRAY_SIZE(turn); i++) {
		turn_init(&turn[i], &turns, &ended);
		assert_int_equal(wq_queue_delayed(wq, &turn[i].dw, HOUR_NS), 1);
		assert_true(wqi_state(&turn[i].dw.work) & WQI_MOVING);
	}
	wqi_shard_unlock(shard_here());
	jump(HOUR_NS + WQI_TICK_NS);
	latch_wait(&ended, ARRAY_SIZE(turn));
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < ARRAY_SIZE(turn); i++)
		assert_int_equal(turn[i].turn, i + 1);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- items that arm themselves --- */

struct again {
	struct wq_delayed_work dw;
	struct wq *wq;
	uint64_t delay_ns;
	unsigned long runs, wrong;
	struct latch ended;
};

static void again_fn(struct wq_work *work, void *ctx)
{
	struct again *again = container_of(work, struct again, dw.work);

	if (wq_queue_delayed(again->wq, &again->dw, again->delay_ns) != 1)
		count_up(&again->wrong);
	count_up(&again->runs);
	latch_post(&again->ended);
}

static void jumps_fire_items_that_arm_themselves_once_each(void **state)
{
	static struct again again[10];
	struct wq *wq = wq_alloc("q", 0, 0);
	unsigned i, round;

	for (i = 0; i < ARRAY_SIZE(again); i++) {
		again[i].wq = wq;
		/* From below a tick to weeks. */
		again[i].delay_ns = UINT64_C(1) << 5 * (i + 1);
		latch_init(&again[i].ended);
		wq_delayed_work_init(&again[i].dw, again_fn, NULL);
		assert_int_equal(wq_queue_delayed(wq, &again[i].dw, again[i].delay_ns), 1);
	}
	for (round = 1; round <= 20; round++) {
		jump(again[ARRAY_SIZE(again) - 1].delay_ns + WQI_TICK_NS);
		for (i = 0; i < ARRAY_SIZE(again); i++)
			latch_wait(&again[i].ended, round);
		clock_looks();
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(again); i++)
			assert_int_equal(count_get(&again[i].runs), round);
	}
	for (i = 0; i < ARRAY_SIZE(again); i++) {
		assert_int_equal(wq_delayed_work_cancel_sync(&again[i].dw), 1);
		assert_int_equal(again[i].wrong, 0);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- many in one slot --- */

struct crowd {
	struct wq *wq;
	struct wq_delayed_work *dw;
	unsigned long nr, ran, rounds, wrong, over;
};

static void crowd_fn(struct wq_work *work, void *ctx)
{
	struct crowd *crowd = ctx;

	count_up(&crowd->ran);
}

/* While the slot moves down, piece by piece: the lock is to be had in between. */
static void *crowd_main(void *arg)
{
	struct crowd *crowd = arg;
	struct wq_delayed_work dw;

	wq_delayed_work_init(&dw, crowd_fn, crowd);
	do {
		if (wq_queue_delayed(crowd->wq, &dw, YEAR_NS) != 1 ||
		    wq_delayed_work_cancel_sync(&dw) != 1)
			count_up(&crowd->wrong);
		count_up(&crowd->rounds);
	} while (!count_get(&crowd->over));
	return NULL;
}

static void slot_of_many_items_moves_down_in_pieces(void **state)
{
	struct crowd crowd = {.nr = scaled(100000)};
	pthread_t thread;
	unsigned long i;

	crowd.wq = wq_alloc("q", 0, 0);
	crowd.dw = calloc(crowd.nr, sizeof(*crowd.dw));
	for (i = 0; i < crowd.nr; i++) {
		wq_delayed_work_init(&crowd.dw[i], crowd_fn, &crowd);
		assert_int_equal(wq_queue_delayed(crowd.wq, &crowd.dw[i], 100 * HOUR_NS + i * 1000),
				 1);
	}
	assert_int_equal(wq_destroy(crowd.wq), -EBUSY);
	assert_int_equal(pthread_create(&thread, NULL, crowd_main, &crowd), 0);
	while (!count_get(&crowd.rounds))
		sched_yield();
	jump(100 * HOUR_NS + crowd.nr * 500);
	clock_looks();
	assert_true(count_get(&crowd.ran) <= crowd.nr / 2 + 1);
	jump(crowd.nr * 500 + WQI_TICK_NS);
	while (count_get(&crowd.ran) < crowd.nr)
		sched_yield();
	count_set(&crowd.over, 1);
	pthread_join(thread, NULL);
	assert_int_equal(wq_flush(crowd.wq), 0);
	assert_int_equal(crowd.ran, crowd.nr);
	assert_int_equal(crowd.wrong, 0);
	assert_int_equal(wq_destroy(crowd.wq), 0);
	free(crowd.dw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clock_that_stands_still_fires_nothing),
		cmocka_unit_test(jump_by_a_year_fires_all_in_the_order_of_deadlines),
		cmocka_unit_test(items_from_the_inbox_fire_in_the_order_of_arming),
		cmocka_unit_test(jumps_fire_items_that_arm_themselves_once_each),
		cmocka_unit_test(slot_of_many_items_moves_down_in_pieces),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
