/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool's lock that is biased to its only worker, and those who want it all the same. */
#include "stops.h"

#include <sched.h>

#include "observe.h"
#include "queue.h"
#include "runtime.h"
#include "table.h"
#include "testing.h"
#include "worker.h"

/* An item that queues itself until it is told to stop. */
static struct chain {
	struct wq_work work;
	unsigned long runs, stop, end_thread, queue_child;
} chain;

/* What it queues beside, and what others do; the turns in which they ran. */
static struct where child, other;
static unsigned long turns;

static struct wq *wq;

static void chain_fn(struct wq_work *work, void *ctx)
{
	count_up(&chain.runs);
	if (!count_get(&chain.stop))
		wq_queue(wq, work);
	if (count_get(&chain.queue_child)) {
		count_set(&chain.queue_child, 0);
		wq_queue(wq, &child.work);
	}
	if (count_get(&chain.end_thread)) {
		count_set(&chain.end_thread, 0);
		pthread_exit(NULL);
	}
}

static struct wqi_pool *pool_of_wq(void)
{
	return wqi_pwq_pool(wqi_load_acquire(&wq->table)->slot[0]);
}

static bool is_biased(void)
{
	return wqi_load_acquire(&pool_of_wq()->bias) != NULL;
}

static int setup(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.topology = "pu:1";
	if (wq_configure(&config))
		return -1;
	wq = wq_alloc("bias", 0, 0);
	memset(&chain, 0, sizeof(chain));
	wq_work_init(&chain.work, chain_fn, NULL);
	turns = 0;
	where_init(&child, &turns);
	where_init(&other, &turns);
	stops_begin();
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	count_set(&chain.stop, 1);
	stops_end();
	wqi_test_yields(0, 0);
	return wq_destroy(wq) || wq_shutdown();
}

static void skip_without_fence(void)
{
	if (!wqi_runtime.can_fence)
		skip();
}

static void chain_begin(void)
{
	skip_without_fence();
	assert_int_equal(wq_queue(wq, &chain.work), 1);
	COMES_TRUE(is_biased());
}

static void chain_end(void)
{
	unsigned long runs = count_get(&chain.runs);

	COMES_TRUE(count_get(&chain.runs) > runs);
	count_set(&chain.stop, 1);
	/* One run may have looked before, and queue the item once more. */
	assert_true(wq_work_flush(&chain.work) >= 0);
	assert_true(wq_work_flush(&chain.work) >= 0);
}

/* Takes the pool's lock. */
static int look(void)
{
	wq_congested(wq);
	return 0;
}

static void cheap_items_bias_the_lock_and_others_take_it_back(void **state)
{
	unsigned i;

	chain_begin();
	for (i = 0; i < 100; i++) {
		COMES_TRUE(is_biased());
		look();
	}
	chain_end();
}

static void stopped_worker_keeps_others_out(const char *where, bool holds)
{
	struct wqi_worker *worker;

	chain_begin();
	COMES_TRUE((worker = wqi_load_acquire(&pool_of_wq()->bias)));
	stop_at(0, where);
	stop_reached(0);
	begin(0, look); /* the monitor may be quicker */
	/* The worker is said to be inside: so it is waited for, whether it holds the lock or not.
	 */
	COMES_TRUE(!is_biased());
	assert_int_equal(wqi_load_acquire(&worker->inside), 1);
	assert_int_equal(wqi_load_relaxed(&pool_of_wq()->lock.owner) != NULL, holds);
	let_go(0);
	end(0);
	chain_end();
}

static void who_takes_the_bias_away_waits_until_the_worker_has_left(void **state)
{
	stopped_worker_keeps_others_out("bias inside", true);
}

static void worker_that_comes_too_late_goes_back(void **state)
{
	stopped_worker_keeps_others_out("bias entered", false);
}

/* Whoever has taken the bias away is not yet waiting when the worker leaves. */
static void worker_leaves_before_it_is_waited_for(void **state)
{
	unsigned long runs;

	chain_begin();
	stop_at(0, "bias revoked");
	begin(0, look);
	stop_reached(0);
	/* The worker leaves, and then waits for the word. */
	COMES_TRUE(wqi_load_acquire(&pool_of_wq()->lock.word) == 2);
	runs = count_get(&chain.runs);
	let_go(0);
	end(0);
	COMES_TRUE(count_get(&chain.runs) > runs);
	chain_end();
}

/* What it held by bias it gives back: the chain goes on with another worker. */
static void worker_that_ends_in_an_item_lets_others_in(void **state)
{
	unsigned i;

	for (i = 0; i < 20; i++) {
		chain_begin();
		count_set(&chain.end_thread, 1);
		COMES_TRUE(!count_get(&chain.end_thread));
		look();
		chain_end();
		count_set(&chain.stop, 0);
	}
}

/* --- what an item queues goes to the worklist itself --- */

/* Where the monitor has just taken the bias away it goes by the inbox, and runs. */
static void child_stops_on_its_way(void)
{
	chain_begin();
	stop_at(0, "put");
	while (!stop_is_reached(0)) {
		count_set(&chain.queue_child, 1);
		sched_yield();
	}
	count_set(&chain.queue_child, 0);
	count_set(&child.runs, 0);
	assert_true(wq_work_pending(&child.work));
}

static void child_arrives(void)
{
	let_go(0);
	assert_true(wq_work_flush(&child.work) >= 0);
}

static void queue_child_again(void)
{
	count_set(&chain.queue_child, 1);
	COMES_TRUE(count_get(&child.runs));
	assert_int_equal(count_get(&child.runs), 1);
	chain_end();
}

/* Also if the lock has been taken from the worker since. */
static void child_runs_with_the_bias_and_without(void **state)
{
	child_stops_on_its_way();
	look();
	assert_false(is_biased());
	child_arrives();
	assert_int_equal(count_get(&child.runs), 1);
	count_set(&child.runs, 0);
	COMES_TRUE(is_biased());
	queue_child_again();
}

static void child_comes_behind_what_was_queued_before(void **state)
{
	child_stops_on_its_way();
	assert_int_equal(wq_queue(wq, &other.work), 1);
	child_arrives();
	assert_int_equal(count_get(&other.runs), 1);
	assert_true(other.turn < child.turn);
	chain_end();
}

static void child_cancelled_on_its_way_does_not_run(void **state)
{
	child_stops_on_its_way();
	assert_int_equal(wq_work_cancel(&child.work), 1);
	assert_false(count_get(&child.runs));
	child_arrives();
	assert_false(count_get(&child.runs));
	queue_child_again();
}

static int cancel_child(void)
{
	return wq_work_cancel_sync(&child.work);
}

static void who_cancels_the_child_waits_until_it_has_arrived(void **state)
{
	child_stops_on_its_way();
	begin(0, cancel_child);
	COMES_TRUE(wq_work_busy(&child.work) & WQ_BUSY_CANCELING);
	child_arrives();
	assert_int_equal(end(0), 1);
	assert_false(count_get(&child.runs));
	queue_child_again();
}

/* --- all at once --- */

#define NR_THREADS 3u

static struct side {
	struct wq_work work;
	unsigned long runs, queued, cancelled;
} sides[NR_THREADS];

static void side_fn(struct wq_work *work, void *ctx)
{
	count_up(&((struct side *)ctx)->runs);
}

static void side_thread(void *ctx, unsigned index)
{
	struct side *side = &sides[index];
	unsigned long i, rounds = scaled(3000);

	for (i = 0; i < rounds; i++) {
		side->queued += (unsigned long)wq_queue(wq, &side->work);
		if (i % 3 == 0)
			side->cancelled += (unsigned long)wq_work_cancel(&side->work);
		else if (i % 3 == 1)
			wq_work_flush(&side->work);
		else
			look();
	}
	wq_work_flush(&side->work);
}

static void nothing_is_lost_while_the_lock_changes_hands(void **state)
{
	unsigned i;

	chain_begin();
	wqi_test_yields(test_seed(), 64);
	for (i = 0; i < NR_THREADS; i++) {
		memset(&sides[i], 0, sizeof(sides[i]));
		wq_work_init(&sides[i].work, side_fn, &sides[i]);
	}
	run_threads(NR_THREADS, side_thread, NULL);
	wqi_test_yields(0, 0);
	for (i = 0; i < NR_THREADS; i++)
		assert_int_equal(sides[i].runs + sides[i].cancelled, sides[i].queued);
	chain_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cheap_items_bias_the_lock_and_others_take_it_back,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			who_takes_the_bias_away_waits_until_the_worker_has_left, setup, teardown),
		cmocka_unit_test_setup_teardown(worker_that_comes_too_late_goes_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(worker_leaves_before_it_is_waited_for, setup,
						teardown),
		cmocka_unit_test_setup_teardown(worker_that_ends_in_an_item_lets_others_in, setup,
						teardown),
		cmocka_unit_test_setup_teardown(child_runs_with_the_bias_and_without, setup,
						teardown),
		cmocka_unit_test_setup_teardown(child_comes_behind_what_was_queued_before, setup,
						teardown),
		cmocka_unit_test_setup_teardown(child_cancelled_on_its_way_does_not_run, setup,
						teardown),
		cmocka_unit_test_setup_teardown(who_cancels_the_child_waits_until_it_has_arrived,
						setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_lost_while_the_lock_changes_hands, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
