/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whom a producer is told to call, and whose thread a pool gets that has none. */
#include "support.h"

#include <sched.h>

#include "pool.h"
#include "queue.h"

/* Each begins with a fresh library. */
static int anew(void **state)
{
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	return wq_shutdown();
}

static struct wqi_pool *pool_of(struct wq *wq)
{
	return wqi_queue_pwq_rcu(wq, (unsigned)usable_cpu(0))->pool;
}

/* --- an offer that was taken for nothing --- */

static struct {
	struct wq_work work;
	unsigned long started, stop;
} spinner;

static void spinner_fn(struct wq_work *work, void *ctx)
{
	count_set(&spinner.started, 1);
	while (!count_get(&spinner.stop))
		sched_yield();
}

static bool is_offered(struct wqi_pool *pool)
{
	bool offered;

	wqi_pool_lock(pool);
	offered = pool->offered;
	wqi_pool_unlock(pool);
	return offered;
}

static void wait_until_unwatched(struct wqi_pool *pool)
{
	bool watched;

	do {
		sched_yield();
		wqi_pool_lock(pool);
		watched = pool->watched;
		wqi_pool_unlock(pool);
	} while (watched);
}

/* The item computes all the time, so no sentinel gets to run on its CPU. */
static void offer_taken_for_an_item_that_is_cancelled_leaves_a_watch(void **state)
{
	static const unsigned kinds[] = {WQ_PERCPU, 0};
	unsigned k, round;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("q", kinds[k], 0);
		struct wqi_pool *pool = pool_of(wq);
		struct probe cancelled, probe;

		memset(&spinner, 0, sizeof(spinner));
		wq_work_init(&spinner.work, spinner_fn, NULL);
		assert_int_equal(wq_queue_on(wq, &spinner.work, usable_cpu(0)), 1);
		while (!count_get(&spinner.started) || !is_offered(pool))
			sched_yield();
		for (round = 0; round < 5; round++) {
			/* It may get to run, where another CPU is free. */
			probe_init(&cancelled);
			assert_int_equal(wq_queue_on(wq, &cancelled.work, usable_cpu(0)), 1);
			wq_work_cancel_sync(&cancelled.work);
		}
		wait_until_unwatched(pool);
		probe_init(&probe);
		assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
		latch_wait(&probe.ended, 1);
		count_set(&spinner.stop, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* --- threads of other pools --- */

static unsigned nr_idle(struct wqi_pool *pool)
{
	unsigned nr;

	wqi_pool_lock(pool);
	nr = pool->nr_idle;
	wqi_pool_unlock(pool);
	return nr;
}

/* Workers of @wq's pool, idle afterwards. */
static void make_idle_workers(struct wq *wq, unsigned nr)
{
	struct probe gates[4];
	unsigned i;

	assert_true(nr <= ARRAY_SIZE(gates));
	for (i = 0; i < nr; i++) {
		probe_init_gate(&gates[i]);
		assert_int_equal(wq_queue(wq, &gates[i].work), 1);
		latch_wait(&gates[i].started, 1);
	}
	for (i = 0; i < nr; i++)
		latch_post(&gates[i].open);
	assert_int_equal(wq_flush(wq), 0);
	while (nr_idle(pool_of(wq)) < nr)
		sched_yield();
}

static pthread_key_t slow_key;
static struct latch slow_began, slow_go;

static void slow_destructor(void *value)
{
	latch_post(&slow_began);
	latch_wait(&slow_go, 1);
}

struct keyed {
	struct wq_work work;
	struct latch *started, *open;
};

static void keyed_fn(struct wq_work *work, void *ctx)
{
	struct keyed *keyed = ctx;

	pthread_setspecific(slow_key, &slow_key);
	latch_post(keyed->started);
	latch_wait(keyed->open, 1);
}

/* Every worker that gives way has a destructor that takes its time: the first must not be the last.
 */
static void thread_that_is_long_in_ending_does_not_keep_the_next_from_giving_way(void **state)
{
	struct latch started = LATCH_INIT, open = LATCH_INIT;
	struct wq_config config = WQ_CONFIG_INIT;
	struct keyed keyed[4];
	struct probe probe;
	struct wq *u, *p;
	unsigned i;

	config.max_threads = 5;
	assert_int_equal(wq_configure(&config), 0);
	latch_init(&slow_began);
	latch_init(&slow_go);
	assert_int_equal(pthread_key_create(&slow_key, slow_destructor), 0);
	u = wq_alloc("u", WQ_CPU_INTENSIVE, 0);
	p = wq_alloc("p", WQ_PERCPU, 0);
	for (i = 0; i < ARRAY_SIZE(keyed); i++) {
		keyed[i].started = &started;
		keyed[i].open = &open;
		wq_work_init(&keyed[i].work, keyed_fn, &keyed[i]);
		assert_int_equal(wq_queue(u, &keyed[i].work), 1);
	}
	latch_wait(&started, ARRAY_SIZE(keyed));
	latch_post(&open);
	assert_int_equal(wq_flush(u), 0);
	/* Five threads are there, one of them without the key: it gives way at the latest. */
	probe_init(&probe);
	assert_int_equal(wq_queue_on(p, &probe.work, usable_cpu(0)), 1);
	latch_wait(&probe.ended, 1);
	latch_post(&slow_go);
	assert_int_equal(wq_destroy(u), 0);
	assert_int_equal(wq_destroy(p), 0);
	config.max_threads = 0;
	assert_int_equal(wq_shutdown(), 0);
	pthread_key_delete(slow_key);
	assert_int_equal(wq_configure(&config), 0);
}

/* Not the library's limit: then one of several idle ones gives way, and not the last. */
static void pool_without_a_worker_gets_one_that_is_idle_where_creation_fails(void **state)
{
	struct wq *u = wq_alloc("u", WQ_CPU_INTENSIVE, 0), *p = wq_alloc("p", WQ_PERCPU, 0);
	struct wqi_pool *pool = pool_of(u);
	struct probe probe;
	unsigned idle;

	make_idle_workers(u, 4);
	idle = nr_idle(pool);
	wqi_test_fault(WQI_FAULT_THREAD, 0, 1000000);
	probe_init(&probe);
	assert_int_equal(wq_queue_on(p, &probe.work, usable_cpu(0)), 1);
	while (nr_idle(pool) == idle)
		sched_yield();
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	latch_wait(&probe.ended, 1);
	assert_true(nr_idle(pool) >= 1);
	assert_int_equal(wq_destroy(u), 0);
	assert_int_equal(wq_destroy(p), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(offer_taken_for_an_item_that_is_cancelled_leaves_a_watch,
					  anew),
		cmocka_unit_test_teardown(
			thread_that_is_long_in_ending_does_not_keep_the_next_from_giving_way, anew),
		cmocka_unit_test_teardown(
			pool_without_a_worker_gets_one_that_is_idle_where_creation_fails, anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
