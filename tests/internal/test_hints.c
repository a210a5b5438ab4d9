/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a sentinel says is a hint: one that marks an idle worker and then does not
 * get to run keeps nobody from calling that worker.  The tests play its part.
 */
#include "observe.h"

#include <sched.h>

#include "block.h"
#include "config.h"
#include "manager.h"
#include "pool.h"
#include "pwq.h"
#include "queue.h"
#include "worker.h"

#define ROUSED		 2u
#define IDLE_FOR_EVER_NS UINT64_C(300000000000)

/* The library is not in use. */
static void set_max_threads(unsigned nr)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.max_threads = nr;
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(wq_configure(&config), 0);
}

/* Each begins with a fresh library: no sentinel, no worker. */
static int anew(void **state)
{
	set_max_threads(0);
	return 0;
}

static struct wqi_pool *pool_of(struct wq *wq)
{
	return wqi_queue_pwq_rcu(wq, (unsigned)usable_cpu(0))->pool;
}

/* --- idle workers and their wake words --- */

static bool all_sleep_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	cds_list_for_each_entry(worker, &pool->idle, idle_node)
		if (wqi_load_seq_cst(&worker->wake) || task_state(worker->tid) != 'S')
			return false;
	return true;
}

/* Wait until the pool has so many idle workers, all asleep, and leave it locked. */
static void lock_when_idle(struct wqi_pool *pool, unsigned nr_idle, unsigned nr_workers)
{
	wqi_pool_lock(pool);
	while (pool->nr_idle != nr_idle || pool->nr_workers != nr_workers || pool->nr_creating ||
	       !all_sleep_locked(pool)) {
		wqi_pool_unlock(pool);
		sched_yield();
		wqi_pool_lock(pool);
	}
}

/* As a sentinel does that is then stopped before it calls the kernel. */
static void mark_idle_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;
	uint32_t asleep;

	cds_list_for_each_entry(worker, &pool->idle, idle_node) {
		asleep = 0;
		wqi_cas(&worker->wake, &asleep, ROUSED); /* or somebody else has */
		wqi_pool_publish_reserve_locked(pool, worker);
	}
}

static void run_probe(struct wq *wq)
{
	struct probe probe;

	probe_init(&probe);
	assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
	latch_wait(&probe.ended, 1);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 1);
}

static void marked_idle_worker_is_woken_by_producers(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wqi_pool *pool;
		struct wq *wq;

		set_max_threads(1);
		wq = wq_alloc("q", kinds[k], 0);
		run_probe(wq);
		pool = pool_of(wq);
		lock_when_idle(pool, 1, 1);
		mark_idle_locked(pool);
		wqi_pool_unlock(pool);
		run_probe(wq);
		/* ... and where whom to kick is published after the mark. */
		lock_when_idle(pool, 1, 1);
		mark_idle_locked(pool);
		wqi_pool_hand_over_locked(pool);
		wqi_pool_unlock(pool);
		run_probe(wq);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void marked_idle_worker_gives_way_to_a_pool_that_has_none(void **state)
{
	struct wq *wq, *needy;
	struct probe gate;

	set_max_threads(2);
	wq = wq_alloc("q", 0, 0);
	needy = wq_alloc("needy", WQ_PERCPU, 0);
	probe_init_gate(&gate);
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	latch_wait(&gate.started, 1);
	lock_when_idle(pool_of(wq), 1, 2);
	mark_idle_locked(pool_of(wq));
	wqi_pool_unlock(pool_of(wq));
	run_probe(needy);
	assert_int_equal(count_get(&gate.ended.count), 0);
	latch_post(&gate.open);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(needy), 0);
}

static void marked_idle_workers_beyond_the_ratio_retire(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_CPU_INTENSIVE, 0);
	struct wqi_pool *pool = pool_of(wq);
	struct probe gates[6];
	unsigned i, nr;

	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		probe_init_gate(&gates[i]);
		assert_int_equal(wq_queue(wq, &gates[i].work), 1);
		latch_wait(&gates[i].started, 1);
	}
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_post(&gates[i].open);
	assert_int_equal(wq_flush(wq), 0);
	do {
		sched_yield();
		wqi_pool_lock(pool);
		nr = pool->nr_idle == pool->nr_workers && !pool->nr_creating ? pool->nr_workers : 0;
		wqi_pool_unlock(pool);
	} while (!nr);
	assert_true(nr >= ARRAY_SIZE(gates));

	lock_when_idle(pool, nr, nr);
	mark_idle_locked(pool);
	wqi_store_relaxed(&wqi_config.idle_timeout_ns, UINT64_C(1000000));
	wqi_pool_unlock(pool);
	wqi_manager_request(pool);
	do {
		sched_yield();
		wqi_pool_lock(pool);
		nr = pool->nr_workers;
		wqi_pool_unlock(pool);
	} while (nr > 2);
	wqi_store_relaxed(&wqi_config.idle_timeout_ns, IDLE_FOR_EVER_NS);
	run_probe(wq);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- what is believed --- */

static void worker_that_has_run_nothing_is_not_believed_blocked(void **state)
{
	static struct wqi_pool pool = {.cpu = -1, .level = 1, .sole = true};
	static struct wqi_worker worker = {.pool = &pool};

	wqi_pool_lock(&pool);
	wqi_worker_count_locked(&worker);
	/* Of another worker; this one's words are still all zero. */
	pool.told = 1;
	wqi_worker_believe_locked(&pool);
	assert_int_equal(pool.told, 0);
	assert_true(worker.counted);
	assert_int_equal(pool.nr_running, 1);

	/* Nor between two runs. */
	worker.run = worker.blocked_run = 2;
	pool.told = 1;
	wqi_worker_believe_locked(&pool);
	assert_true(worker.counted);

	/* In its item it is. */
	worker.run = worker.blocked_run = 3;
	pool.told = 1;
	wqi_worker_believe_locked(&pool);
	assert_false(worker.counted);
	assert_int_equal(pool.nr_running, 0);
	assert_int_equal(pool.nr_blocked[WQI_BLOCKED_SLEEP], 1);
	wqi_pool_unlock(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(marked_idle_worker_is_woken_by_producers, anew),
		cmocka_unit_test_teardown(marked_idle_worker_gives_way_to_a_pool_that_has_none,
					  anew),
		cmocka_unit_test_teardown(marked_idle_workers_beyond_the_ratio_retire, anew),
		cmocka_unit_test(worker_that_has_run_nothing_is_not_believed_blocked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
