/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Workers and flushers that wait awake: what ends that, what it teaches, what it does not cost. */
#include "observe.h"

#include "queue.h"
#include "spin.h"
#include "worker.h"

#define LONG_NS 2000000000u /* a wait in which everything else has happened */

static struct wq *wq;
static struct wqi_pool *pool;

static void note_pool(struct wq_work *work, void *ctx)
{
	pool = wqi_worker_self->pool;
}

static int setup(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct wq_work work;

	config.spin_max_us = LONG_NS / 1000;
	if (wq_configure(&config))
		return -1;
	wq = wq_alloc("spin", 0, 0);
	wq_work_init(&work, note_pool, NULL);
	return wq && wq_queue(wq, &work) == 1 && wq_work_flush(&work) >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq) || wq_shutdown();
}

static void skip_with_one_cpu(void)
{
	if (usable_cpu(1) < 0)
		skip();
}

/* Its worker is to wait for @ns when it has run. */
static void run_one(struct wq_work *work, uint32_t ns)
{
	wqi_store_relaxed(&pool->idle_spin.ns, ns);
	wq_work_init(work, note_pool, NULL);
	assert_int_equal(wq_queue(wq, work), 1);
	assert_true(wq_work_flush(work) >= 0);
}

static bool everybody_sleeps_locked(void)
{
	return pool->nr_idle == pool->nr_workers;
}

static bool everybody_sleeps(void)
{
	bool sleeps;

	wqi_pool_lock(pool);
	sleeps = everybody_sleeps_locked();
	wqi_pool_unlock(pool);
	return sleeps;
}

/* With the pool locked, a worker that waits awake; it began only lately. */
static struct wqi_worker *lock_beside_spinner(struct wq_work *work)
{
	bool over;

	for (;;) {
		run_one(work, LONG_NS);
		do {
			wqi_pool_lock(pool);
			if (pool->spinner)
				return pool->spinner;
			over = everybody_sleeps_locked();
			wqi_pool_unlock(pool);
			sched_yield();
		} while (!over);
	}
}

/* As a flusher does that is quicker than the worker: the inbox is empty when that looks. */
static void who_empties_the_inbox_tells_the_spinner(void **state)
{
	struct wqi_worker *spinner;
	struct wq_work first, second;
	bool told_before, told;
	unsigned nr;

	skip_with_one_cpu();
	wq_work_init(&second, note_pool, NULL);
	spinner = lock_beside_spinner(&first);
	told_before = spinner->others_wait;
	wq_queue(wq, &second);
	nr = wqi_pool_splice_locked(pool);
	told = spinner->others_wait;
	wqi_pool_unlock(pool);
	assert_false(told_before);
	assert_int_equal(nr, 1);
	assert_true(told);
	assert_true(wq_work_flush(&second) >= 0);
}

/* It looks again, and spins anew; one that does not listen sleeps when its time is up. */
static void spinner_listens(void **state)
{
	struct wqi_worker *spinner;
	struct wq_work work;
	bool told, sleeps;

	skip_with_one_cpu();
	spinner = lock_beside_spinner(&work);
	wqi_pool_say_waiting_locked(pool);
	wqi_pool_unlock(pool);
	do {
		wqi_pool_lock(pool);
		told = spinner->others_wait;
		sleeps = everybody_sleeps_locked();
		wqi_pool_unlock(pool);
	} while (told && !sleeps);
	assert_false(told);
}

static void waiting_is_no_cost_of_items(void **state)
{
	struct wq_work work;
	uint64_t item_ns;

	skip_with_one_cpu();
	while (!everybody_sleeps())
		sched_yield();
	wqi_pool_lock(pool);
	pool->item_ns = 0;
	wqi_pool_unlock(pool);
	run_one(&work, LONG_NS);
	while (!everybody_sleeps())
		sched_yield();
	wqi_pool_lock(pool);
	item_ns = pool->item_ns;
	wqi_pool_unlock(pool);
	assert_true(item_ns && item_ns < LONG_NS / 2);
}

#define AWAY_NS 10000000u

static uint64_t least_item_ns;

static void be_away(const char *where)
{
	if (!strcmp(where, "sees to others"))
		sleep_ns(AWAY_NS);
}

static void note_cost(struct wq_work *work, void *ctx)
{
	wqi_pool_lock(pool);
	if (pool->item_ns < least_item_ns)
		least_item_ns = pool->item_ns;
	wqi_pool_unlock(pool);
}

/* Or what is cheap would stay dear, where system calls take long. */
static void seeing_to_others_is_no_cost_of_items(void **state)
{
	static struct wq_work works[200];
	unsigned i;

	while (!everybody_sleeps())
		sched_yield();
	wqi_pool_lock(pool);
	least_item_ns = pool->item_ns = 10 * AWAY_NS;
	wqi_pool_unlock(pool);
	__atomic_store_n(&wqi_test_hook, be_away, __ATOMIC_RELEASE);
	for (i = 0; i < ARRAY_SIZE(works); i++) {
		wq_work_init(&works[i], note_cost, NULL);
		assert_int_equal(wq_queue(wq, &works[i]), 1);
	}
	assert_int_equal(wq_flush(wq), 0);
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	assert_in_range(least_item_ns, 1, AWAY_NS / 2);
}

static uint32_t adapted(uint32_t ns, uint64_t waited_ns, uint64_t woken_after_ns)
{
	struct wqi_spin spin = {ns};
	uint64_t start = wqi_now_ns() - waited_ns;

	wqi_spin_adapt(&spin, start, start + woken_after_ns);
	return spin.ns;
}

static void spins_grow_by_what_they_would_have_bridged(void **state)
{
	uint64_t past = 2 * (uint64_t)LONG_NS;

	assert_int_equal(adapted(0, past, 3000), WQI_SPIN_START_NS);
	assert_int_equal(adapted(WQI_SPIN_START_NS, past, 3000), WQI_SPIN_START_NS);
	assert_int_equal(adapted(WQI_SPIN_START_NS, past, 7000), 2 * WQI_SPIN_START_NS);
	/* Too long, woken or not. */
	assert_int_equal(adapted(10000, past, past), 5000);
	assert_int_equal(adapted(10000, past, 0), 5000);
	assert_int_equal(adapted(WQI_SPIN_MIN_NS, past, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_empties_the_inbox_tells_the_spinner),
		cmocka_unit_test(spinner_listens),
		cmocka_unit_test(waiting_is_no_cost_of_items),
		cmocka_unit_test(seeing_to_others_is_no_cost_of_items),
		cmocka_unit_test(spins_grow_by_what_they_would_have_bridged),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
