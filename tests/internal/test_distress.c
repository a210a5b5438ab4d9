/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G13 where the pool has been quiet before, or the manager is busy: an item of a
 * WQ_MEM_RECLAIM queue comes, nobody looks at its pool any more, and it is rescued.
 */
#include "observe.h"

#include <sched.h>

#include "pool.h"
#include "pwq.h"
#include "queue.h"
#include "rescuer.h"
#include "testing.h"

#define FOR_EVER 1000000

static const unsigned kinds[] = {0, WQ_PERCPU};

static void no_more_threads_than(unsigned nr)
{
	wqi_test_fault(WQI_FAULT_THREAD, nr, FOR_EVER);
}

static void threads_again(void)
{
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
}

/* The library is not in use. */
static void set_max_threads(unsigned nr)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.max_threads = nr;
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(wq_configure(&config), 0);
}

/* Each begins with a fresh library: no worker. */
static int anew(void **state)
{
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	threads_again();
	set_max_threads(0);
	return 0;
}

static struct wqi_pool *pool_of(struct wq *wq)
{
	return wqi_queue_pwq_rcu(wq, (unsigned)usable_cpu(0))->pool;
}

static void wait_unwatched(struct wqi_pool *pool)
{
	bool watched;

	do {
		sched_yield();
		wqi_pool_lock(pool);
		watched = pool->watched;
		wqi_pool_unlock(pool);
	} while (watched);
}

/* An item comes, and runs on the queue's rescuer. */
static void item_is_rescued(struct wq *wq)
{
	uint64_t before = stats_of(wq).rescued;
	struct probe probe;

	probe_init(&probe);
	assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
	latch_wait(&probe.ended, 1);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 1);
	assert_int_equal(stats_of(wq).rescued, before + 1);
}

/* --- the pool has workers, and all of them are blocked --- */

static void distress_at_the_limit_of_threads_is_seen_again(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq, *reclaim;
		struct probe gate;

		set_max_threads(1);
		wq = wq_alloc("careless", kinds[k], 0);
		reclaim = wq_alloc("careful", kinds[k] | WQ_MEM_RECLAIM, 0);
		probe_init_gate(&gate);
		assert_int_equal(wq_queue_on(wq, &gate.work, usable_cpu(0)), 1);
		latch_wait(&gate.started, 1);
		wait_unwatched(pool_of(wq));
		item_is_rescued(reclaim);
		latch_post(&gate.open);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_destroy(reclaim), 0);
	}
}

/* An item that computes until it is told to block. */
struct late {
	struct wq_work work;
	struct latch started, open;
	unsigned long blocks;
	pid_t tid;
};

static void late_fn(struct wq_work *work, void *ctx)
{
	struct late *late = ctx;

	late->tid = gettid();
	latch_post(&late->started);
	while (!count_get(&late->blocks))
		sched_yield();
	latch_wait(&late->open, 1);
}

/* No other thread could be made, and the one that counts blocks when nobody looks. */
static void distress_behind_a_worker_that_blocks_unwatched_is_seen(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("careless", kinds[k], 0);
		struct wq *reclaim = wq_alloc("careful", kinds[k] | WQ_MEM_RECLAIM, 0);
		struct late late = {.started = LATCH_INIT, .open = LATCH_INIT};

		no_more_threads_than(1);
		wq_work_init(&late.work, late_fn, &late);
		assert_int_equal(wq_queue_on(wq, &late.work, usable_cpu(0)), 1);
		latch_wait(&late.started, 1);
		wait_unwatched(pool_of(wq));
		count_set(&late.blocks, 1);
		task_wait_asleep(late.tid);
		item_is_rescued(reclaim);
		latch_post(&late.open);
		threads_again();
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_destroy(reclaim), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

/* --- the pool has no worker --- */

/* The manager's thread stops there, once. */
static struct stop {
	const char *where;
	unsigned long passed;
	struct latch reached, go;
} stop;

static void stop_hook(const char *where)
{
	if (strcmp(where, stop.where) || count_up(&stop.passed) > 1)
		return;
	latch_post(&stop.reached);
	latch_wait(&stop.go, 1);
}

static void stop_at(const char *where)
{
	stop.where = where;
	stop.passed = 0;
	latch_init(&stop.reached);
	latch_init(&stop.go);
	__atomic_store_n(&wqi_test_hook, stop_hook, __ATOMIC_RELEASE);
}

static void let_go(void)
{
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	latch_post(&stop.go);
}

/* An item that the rescuer runs for long, and that may then wait for another queue's. */
struct first {
	struct wq_work work;
	struct latch started, open;
	struct wq *other;
	struct probe probe;
};

static void first_fn(struct wq_work *work, void *ctx)
{
	struct first *first = ctx;

	latch_post(&first->started);
	latch_wait(&first->open, 1);
	if (!first->other)
		return;
	wq_queue_on(first->other, &first->probe.work, usable_cpu(0));
	wq_work_flush(&first->probe.work);
}

static void first_start(struct first *first, struct wq *wq, struct wq *other)
{
	memset(first, 0, sizeof(*first));
	latch_init(&first->started);
	latch_init(&first->open);
	probe_init(&first->probe);
	first->other = other;
	wq_work_init(&first->work, first_fn, first);
	assert_int_equal(wq_queue_on(wq, &first->work, usable_cpu(0)), 1);
	latch_wait(&first->started, 1);
	assert_int_equal(stats_of(wq).rescued, 1);
	/* The item is all that there was: nobody looks any more. */
	wait_unwatched(pool_of(wq));
}

static void queue_behind_another_rescuer_is_rescued(unsigned kind, bool made_later, bool waits)
{
	struct wq *wq = wq_alloc("one", kind | WQ_MEM_RECLAIM, 0);
	struct wq *other = wq_alloc("two", kind | WQ_MEM_RECLAIM, 0);
	struct first first;

	if (made_later)
		stop_at("worker is made");
	else
		no_more_threads_than(0);
	first_start(&first, wq, waits ? other : NULL);
	if (waits) {
		latch_post(&first.open);
		latch_wait(&first.probe.ended, 1);
		assert_int_equal(wq_flush(wq), 0);
	} else {
		item_is_rescued(other);
		latch_post(&first.open);
	}
	assert_int_equal(wq_flush(other), 0);
	assert_int_equal(stats_of(other).rescued, 1);
	if (made_later)
		let_go();
	threads_again();
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(other), 0);
	assert_int_equal(wq_shutdown(), 0);
}

static void distress_behind_another_rescuer_is_seen_where_creation_fails(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		queue_behind_another_rescuer_is_rescued(kinds[k], false, false);
		queue_behind_another_rescuer_is_rescued(kinds[k], false, true);
	}
}

static void distress_behind_another_rescuer_is_seen_where_creation_blocks(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		queue_behind_another_rescuer_is_rescued(kinds[k], true, false);
		queue_behind_another_rescuer_is_rescued(kinds[k], true, true);
	}
}

static void distress_while_a_sentinel_is_being_made_is_seen(void **state)
{
	struct wq *wq = wq_alloc("careless", WQ_PERCPU, 0);
	struct wq *reclaim = wq_alloc("careful", WQ_PERCPU | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0);
	struct probe probes[8];
	unsigned i;

	stop_at("service is made");
	/* Items before others that wait: one is asked for.  None needs another worker. */
	do {
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			probe_init(&probes[i]);
			assert_int_equal(wq_queue_on(wq, &probes[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
	} while (!count_get(&stop.passed));
	latch_wait(&stop.reached, 1);
	item_is_rescued(reclaim);
	let_go();
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(reclaim), 0);
}

/* --- the rescuer is in demand --- */

/* An item that queues itself where it was queued, until it is told to end. */
struct again {
	struct wq_work work;
	struct wq *wq;
	int cpu;
	struct latch started;
	unsigned long ends;
};

static void again_fn(struct wq_work *work, void *ctx)
{
	struct again *again = ctx;

	latch_post(&again->started);
	if (!count_get(&again->ends))
		wq_queue_on(again->wq, work, again->cpu);
}

static void rescuer_of_an_item_that_comes_back_for_ever_serves_other_cpus(void **state)
{
	struct again again = {.started = LATCH_INIT};
	struct probe probe;

	if (nr_usable_cpus() < 2) {
		print_message("needs two CPUs\n");
		skip();
	}
	again.wq = wq_alloc("q", WQ_PERCPU | WQ_MEM_RECLAIM, 0);
	again.cpu = usable_cpu(0);
	no_more_threads_than(0);
	wq_work_init(&again.work, again_fn, &again);
	assert_int_equal(wq_queue_on(again.wq, &again.work, again.cpu), 1);
	latch_wait(&again.started, 2);
	probe_init(&probe);
	assert_int_equal(wq_queue_on(again.wq, &probe.work, usable_cpu(1)), 1);
	latch_wait(&probe.ended, 1);
	count_set(&again.ends, 1);
	assert_int_equal(wq_drain(again.wq), 0);
	assert_int_equal(stats_of(again.wq).rescued, stats_of(again.wq).completed);
	threads_again();
	assert_int_equal(wq_destroy(again.wq), 0);
}

/* The call comes when an item has waited for a while, not when a thread is tried again. */
static void distress_after_a_failed_creation_is_seen_before_the_next(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_MEM_RECLAIM, 0);
	unsigned long failed, mayday, early = 0;
	unsigned i;

	no_more_threads_than(0);
	for (i = 0; i < 20; i++) {
		failed = pool_stats_of(wq, -1).create_failed;
		mayday = stats_of(wq).mayday;
		item_is_rescued(wq);
		assert_true(stats_of(wq).mayday > mayday);
		early += pool_stats_of(wq, -1).create_failed == failed;
		/* The next is not found by chance. */
		wait_unwatched(pool_of(wq));
		while (wqi_load_seq_cst(&wqi_rescuers_out))
			sched_yield();
	}
	assert_true(early > 0);
	threads_again();
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(distress_at_the_limit_of_threads_is_seen_again, anew),
		cmocka_unit_test_teardown(distress_behind_a_worker_that_blocks_unwatched_is_seen,
					  anew),
		cmocka_unit_test_teardown(
			distress_behind_another_rescuer_is_seen_where_creation_fails, anew),
		cmocka_unit_test_teardown(
			distress_behind_another_rescuer_is_seen_where_creation_blocks, anew),
		cmocka_unit_test_teardown(distress_while_a_sentinel_is_being_made_is_seen, anew),
		cmocka_unit_test_teardown(
			rescuer_of_an_item_that_comes_back_for_ever_serves_other_cpus, anew),
		cmocka_unit_test_teardown(distress_after_a_failed_creation_is_seen_before_the_next,
					  anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
