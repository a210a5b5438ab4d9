/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whom producers wake, one after the other.  The pools and workers here are records without
 * threads: what a wake-up is to bring about, the tests do.
 */
#include "support.h"

#include "block.h"
#include "charge.h"
#include "observe.h"
#include "pool.h"
#include "worker.h"

#define DEAR_NS (2 * WQI_DEAR_NS)

static struct wqi_pool pool;
static struct wqi_worker first, second, third;

static void lie_down_locked(struct wqi_worker *worker, unsigned cpu)
{
	worker->pool = &pool;
	worker->wake = 0;
	worker->last_cpu = cpu;
	worker->idle = true;
	cds_list_add(&worker->idle_node, &pool.idle);
	cds_list_add(&worker->on_node, &pool.idle_on[cpu % WQI_RESERVES]);
	pool.nr_idle++;
	wqi_pool_publish_reserve_locked(&pool, worker);
}

static void get_up_locked(struct wqi_worker *worker)
{
	worker->idle = false;
	cds_list_del(&worker->idle_node);
	cds_list_del(&worker->on_node);
	pool.nr_idle--;
	wqi_pool_publish_reserve_locked(&pool, worker);
	wqi_worker_count_locked(worker);
}

static void be_idle_locked(struct wqi_worker *worker, unsigned cpu)
{
	lie_down_locked(worker, cpu);
	wqi_worker_uncount_locked(worker);
}

/* Locked from here on; the first to be woken is `first`, and `second` is on another CPU. */
static int begin(void **state)
{
	memset(&pool, 0, sizeof(pool));
	memset(&first, 0, sizeof(first));
	memset(&second, 0, sizeof(second));
	memset(&third, 0, sizeof(third));
	pool.cpu = -1;
	pool.level = 2;
	pool.watched = true; /* the monitor is not called */
	pool.runners = pool.few;
	pool.nr_runners = WQI_FEW_RUNNERS;
	wqi_pool_lock(&pool);
	pool.item_ns = DEAR_NS;
	lie_down_locked(&second, 1);
	lie_down_locked(&first, 0);
	return 0;
}

static int end(void **state)
{
	wqi_test_hook = NULL;
	wqi_pool_unlock(&pool);
	return 0;
}

static void assert_kick(const struct wqi_worker *worker)
{
	assert_int_equal(pool.kick, worker ? (uintptr_t)worker : WQI_KICK_NOBODY);
}

/* --- the next --- */

static void each_producer_of_dear_items_wakes_another_worker(void **state)
{
	wqi_pool_hand_over_locked(&pool);
	assert_kick(&first);
	wqi_pool_kick(&pool);
	assert_int_equal(first.wake, 1);
	assert_int_equal(second.wake, 0);
	assert_kick(&second);
	wqi_pool_kick(&pool);
	assert_int_equal(second.wake, 1);
	assert_kick(NULL);
	wqi_pool_kick(&pool);
	assert_kick(NULL);
}

static void whoever_comes_first_sees_to_the_rest(void **state)
{
	wqi_pool_hand_over_locked(&pool);
	wqi_pool_kick(&pool);
	assert_kick(&second);
	get_up_locked(&first);
	assert_kick(NULL);
	wqi_pool_kick(&pool);
	assert_int_equal(second.wake, 0);
}

static void assert_no_next(void)
{
	wqi_pool_hand_over_locked(&pool);
	assert_kick(&first);
	wqi_pool_kick(&pool);
	assert_kick(NULL);
	assert_int_equal(second.wake, 0);
}

static void cheap_items_wake_one_worker(void **state)
{
	pool.item_ns = WQI_DEAR_NS - 1;
	assert_no_next();
}

static void next_is_not_beyond_the_level(void **state)
{
	pool.level = 1;
	assert_no_next();
}

static void next_is_not_one_that_was_woken(void **state)
{
	second.wake = 1;
	wqi_pool_hand_over_locked(&pool);
	wqi_pool_kick(&pool);
	assert_kick(NULL);
}

static void next_is_on_another_cpu(void **state)
{
	cds_list_del(&second.on_node);
	cds_list_add(&second.on_node, &pool.idle_on[0]);
	second.last_cpu = 0;
	assert_no_next();
}

/* --- out of date --- */

static void meanwhile(const char *where)
{
	if (strcmp(where, "kick") != 0)
		return;
	wqi_test_hook = NULL;
	/* Another producer wakes the first, and the next one the second; both run. */
	wqi_pool_kick(&pool);
	wqi_pool_kick(&pool);
	get_up_locked(&first);
	get_up_locked(&second);
	/* The second goes, for good, and then the first is named again. */
	wqi_worker_count_out_locked(&second);
	be_idle_locked(&first, 0);
	assert_kick(&first);
}

static void next_that_has_gone_meanwhile_is_woken_in_vain(void **state)
{
	wqi_pool_hand_over_locked(&pool);
	wqi_test_hook = meanwhile;
	wqi_pool_kick(&pool);
	assert_kick(&second); /* as it was read */
	/* But who is to see what was pushed is on its way, and sees what is pushed then. */
	assert_int_equal(first.wake, 1);
	wqi_pool_kick(&pool);
	assert_kick(NULL);
	get_up_locked(&first);
	assert_kick(NULL);
	be_idle_locked(&first, 0);
	assert_kick(&first);
	assert_int_equal(pool.kick_next, WQI_KICK_NOBODY);
}

/* --- offers --- */

static void offer_names_nobody_beyond_who_is_on_its_way(void **state)
{
	get_up_locked(&first);
	lie_down_locked(&third, 2);
	assert_true(wqi_pool_wake(&second));
	assert_false(wqi_pool_offer_locked(&pool, true));
	assert_false(pool.offered);
	assert_kick(NULL);

	/* There is room for both. */
	pool.level = 3;
	assert_false(wqi_pool_offer_locked(&pool, true));
	assert_true(pool.offered);
	assert_kick(&third);
	assert_int_equal(pool.kick_next, WQI_KICK_NOBODY);
}

static void offer_has_a_next_where_there_is_room_for_two(void **state)
{
	get_up_locked(&first);
	lie_down_locked(&third, 2);
	pool.level = 3;
	assert_false(wqi_pool_offer_locked(&pool, false));
	assert_kick(&third);
	wqi_pool_kick(&pool);
	assert_int_equal(third.wake, 1);
	assert_kick(&second);
	wqi_pool_withdraw_locked(&pool);
	assert_kick(NULL);
	wqi_pool_kick(&pool);
	assert_int_equal(second.wake, 0);
}

/* --- what runs cost --- */

static uint64_t charge_run(struct wqi_worker *worker, uint64_t ns)
{
	worker->run++;
	wqi_charge_before(worker);
	compute_ns(ns);
	worker->run++;
	wqi_charge_after(worker);
	return worker->cpu_used_ns;
}

/* All that is between two runs in a row is the second's, and nothing else. */
static void run_is_charged_from_the_end_of_the_one_before(void **state)
{
	static struct wqi_worker worker;
	uint64_t before, all;

	before = thread_cpu_ns();
	compute_ns(3000000);
	all = charge_run(&worker, 1000000);
	assert_true(all < thread_cpu_ns() - before - 3000000); /* not what was before the first */
	compute_ns(3000000);
	all += charge_run(&worker, 1000000);
	assert_in_range(all, 5000000, thread_cpu_ns() - before - 3000000);

	/* One comes between that is not measured. */
	before = thread_cpu_ns();
	worker.run += 2;
	compute_ns(3000000);
	assert_true(charge_run(&worker, 1000000) < thread_cpu_ns() - before - 3000000);

	/* The worker waits, or sleeps. */
	before = thread_cpu_ns();
	wqi_charge_nobody(&worker);
	compute_ns(3000000);
	assert_true(charge_run(&worker, 1000000) < thread_cpu_ns() - before - 3000000);
}

#define ROUND_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUND_TEST(each_producer_of_dear_items_wakes_another_worker),
		ROUND_TEST(whoever_comes_first_sees_to_the_rest),
		ROUND_TEST(cheap_items_wake_one_worker),
		ROUND_TEST(next_is_not_beyond_the_level),
		ROUND_TEST(next_is_not_one_that_was_woken),
		ROUND_TEST(next_is_on_another_cpu),
		ROUND_TEST(next_that_has_gone_meanwhile_is_woken_in_vain),
		ROUND_TEST(offer_names_nobody_beyond_who_is_on_its_way),
		ROUND_TEST(offer_has_a_next_where_there_is_room_for_two),
		cmocka_unit_test(run_is_charged_from_the_end_of_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
