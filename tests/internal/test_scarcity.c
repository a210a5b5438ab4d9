/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* No memory, no threads, too many threads; and what a first use does then. */
#include "support.h"

#include <sched.h>

#include "manager.h"
#include "pool.h"
#include "queue.h"
#include "runtime.h"
#include "worker.h"

static void nop(struct wq_work *work, void *ctx)
{
}

/* Every allocation of the first wq_alloc() fails in turn; the last try works. */
static void first_alloc_without_memory_answers_enomem(void **state)
{
	struct wq *wq = NULL;
	unsigned i;

	for (i = 0; !wq && i < 100; i++) {
		wqi_test_fault(WQI_FAULT_ALLOC, i, 1);
		errno = 0;
		wq = wq_alloc("q", WQ_PERCPU, 0);
		assert_int_equal(errno, wq ? 0 : ENOMEM);
	}
	assert_true(i > 3);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

static void alloc_without_a_manager_answers_eagain(void **state)
{
	assert_false(wqi_runtime.started);
	wqi_test_fault(WQI_FAULT_THREAD, 0, 1);
	errno = 0;
	assert_null(wq_alloc("q", 0, 0));
	assert_int_equal(errno, EAGAIN);
	wqi_test_fault(WQI_FAULT_THREAD, 0, 1);
	errno = 0;
	assert_null(wq_system());
	assert_int_equal(errno, EAGAIN);
	assert_false(wqi_runtime.started);
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
}

/* The pool for @nice, which nobody has used yet in this program. */
static struct wqi_pool *pool_of(struct wq *wq)
{
	return wqi_queue_pwq_rcu(wq, 0)->pool;
}

static void items_wait_for_threads_that_can_not_be_made(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct wqi_pool *pool = pool_of(wq);
	struct probe probes[50];
	unsigned i;

	wqi_test_fault(WQI_FAULT_THREAD, 0, 3);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		probe_init(&probes[i]);
		assert_int_equal(wq_queue(wq, &probes[i].work), 1);
	}
	/* The manager tries again by itself. */
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		assert_int_equal(probes[i].runs, 1);
	assert_int_equal(wqi_load_relaxed(&pool->nr_create_failed), 3);
	assert_int_equal(wq_destroy(wq), 0);
}

static void running_workers_go_on_when_no_more_can_be_made(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_HIGHPRI, 0);
	unsigned long i, rounds = scaled(2000);
	struct probe probe;

	wqi_test_fault(WQI_FAULT_THREAD, 1, 1000000);
	for (i = 0; i < rounds; i++) {
		probe_init(&probe);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		wq_work_flush(&probe.work);
		assert_int_equal(probe.runs, 1);
	}
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

/* Cancelled while no worker could be made: nobody may be left responsible for nothing. */
static void pool_without_workers_is_woken_again_after_a_cancel(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU | WQ_HIGHPRI, 0);
	struct wqi_pool *pool = wqi_pool_percpu((unsigned)usable_cpu(0), true);
	struct probe probe;

	wqi_test_fault(WQI_FAULT_THREAD, 0, 1000000);
	probe_init(&probe);
	assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
	while (!wqi_load_relaxed(&pool->nr_create_failed))
		sched_yield();
	assert_int_equal(wq_work_cancel_sync(&probe.work), 1);
	/* The retry finds no work, and must leave word whom to wake. */
	while (wqi_load_seq_cst(&pool->kick) != WQI_KICK_MANAGER)
		sched_yield();
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(probe.runs, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

static unsigned nr_workers(struct wqi_pool *pool)
{
	unsigned nr;

	wqi_pool_lock(pool);
	nr = pool->nr_workers;
	wqi_pool_unlock(pool);
	return nr;
}

static void idle_workers_beyond_the_ratio_retire(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_CPU_INTENSIVE, 0);
	struct wqi_pool *pool = pool_of(wq);
	struct probe gates[8], probe;
	unsigned i, many;

	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		probe_init_gate(&gates[i]);
		wq_queue(wq, &gates[i].work);
		latch_wait(&gates[i].started, 1);
	}
	many = nr_workers(pool);
	assert_true(many >= ARRAY_SIZE(gates));
	wqi_store_relaxed(&wqi_config.idle_timeout_ns, UINT64_C(1000000));
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_post(&gates[i].open);
	wq_flush(wq);
	while (nr_workers(pool) > 2)
		sched_yield();
	wqi_store_relaxed(&wqi_config.idle_timeout_ns, UINT64_C(300000000000));

	/* What is left works, and more come back when they are needed. */
	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		probe_init_gate(&gates[i]);
		wq_queue(wq, &gates[i].work);
		latch_wait(&gates[i].started, 1);
	}
	probe_init(&probe);
	wq_queue(wq, &probe.work);
	latch_wait(&probe.ended, 1);
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_post(&gates[i].open);
	assert_int_equal(wq_destroy(wq), 0);
}

struct retire_storm {
	struct wq *wq;
	unsigned long accepted, ran;
};

static void retire_storm_fn(struct wq_work *work, void *ctx)
{
	struct retire_storm *storm = ctx;

	count_up(&storm->ran);
}

static void retire_storm_thread(void *ctx, unsigned index)
{
	struct retire_storm *storm = ctx;
	unsigned long i, rounds = scaled(5000);
	struct wq_work works[6];
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(works); k++)
		wq_work_init(&works[k], retire_storm_fn, storm);
	for (i = 0; i < rounds; i++) {
		for (k = 0; k < ARRAY_SIZE(works); k++)
			if (wq_queue(storm->wq, &works[k]) == 1)
				count_up(&storm->accepted);
		for (k = 0; k < ARRAY_SIZE(works); k++)
			wq_work_flush(&works[k]);
	}
}

/* Workers end all the time, and threads fail now and then: no item is left behind. */
static void retiring_against_queueing_loses_nothing(void **state)
{
	struct retire_storm storm = {.wq = wq_alloc("q", WQ_CPU_INTENSIVE, 0)};

	wqi_store_relaxed(&wqi_config.idle_timeout_ns, UINT64_C(1));
	wqi_test_yields(test_seed(), 16);
	run_threads(3, retire_storm_thread, &storm);
	wqi_test_yields(0, 0);
	wqi_store_relaxed(&wqi_config.idle_timeout_ns, UINT64_C(300000000000));
	assert_int_equal(wq_destroy(storm.wq), 0);
	assert_int_equal(storm.accepted, storm.ran);
}

static void schedule_reports_why_it_can_not(void **state)
{
	struct wq_work work = WQ_WORK_INIT(nop, NULL);

	wqi_test_fault(WQI_FAULT_ALLOC, 0, 1);
	errno = 0;
	assert_int_equal(wq_schedule(&work), -ENOMEM);
	assert_int_equal(errno, 0);
	assert_int_equal(wq_work_busy(&work), 0);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_int_equal(wq_schedule(&work), 1);
	wq_work_flush(&work);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* These need a library, then a pool, that was never used. */
		cmocka_unit_test(alloc_without_a_manager_answers_eagain),
		cmocka_unit_test(first_alloc_without_memory_answers_enomem),
		cmocka_unit_test(items_wait_for_threads_that_can_not_be_made),
		cmocka_unit_test(schedule_reports_why_it_can_not),
		cmocka_unit_test(pool_without_workers_is_woken_again_after_a_cancel),
		cmocka_unit_test(running_workers_go_on_when_no_more_can_be_made),
		cmocka_unit_test(idle_workers_beyond_the_ratio_retire),
		cmocka_unit_test(retiring_against_queueing_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
