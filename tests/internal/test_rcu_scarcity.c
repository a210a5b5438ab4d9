/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RCU items from inside: threads and memory that are not to be had, and a flush that is late. */
#include "flavors.h"
#include "process.h"

#include <sched.h>

#include "testing.h"

#define FOR_EVER 1000000

static struct wq *wq;

static int setup(void **state)
{
	struct probe probe;

	wq = wq_alloc("scarcity", 0, 0);
	if (!wq)
		return -1;
	/* What its threads need is there. */
	probe_init(&probe);
	wq_queue(wq, &probe.work);
	wq_work_flush(&probe.work);
	return 0;
}

/* After the shutdown no flavour has a thread, or memory for one. */
static int teardown(void **state)
{
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	return wq_destroy(wq) || wq_shutdown();
}

/* --- what can't be had --- */

static void expect_refused(struct guarded *item, unsigned f, int err)
{
	assert_int_equal(wq_queue_rcu(wq, &item->rw, flavors[f]), err);
	assert_int_equal(wq_rcu_work_busy(&item->rw), 0);
	assert_int_equal(wq_rcu_work_flush(&item->rw), 0);
	assert_int_equal(wq_work_cancel_sync(&item->rw.work), 0);
	assert_int_equal(item->runs, 0);
}

static void queueing_without_a_thread_changes_nothing(void **state)
{
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		wqi_test_fault(WQI_FAULT_THREAD, 0, FOR_EVER);
		expect_refused(&item, f, -EAGAIN);
		expect_refused(&item, f, -EAGAIN);
		wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
		assert_true(guarded_runs(&item, wq, flavors[f]));
		/* From now on it needs none. */
		wqi_test_fault(WQI_FAULT_THREAD, 0, FOR_EVER);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), 1);
		latch_wait(&item.ended, 2);
		wq_rcu_work_flush(&item.rw);
		wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	}
	assert_int_equal(nr_threads("wq/rcu"), NR_FLAVORS);
}

static void queueing_without_memory_changes_nothing(void **state)
{
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		wqi_test_fault(WQI_FAULT_ALLOC, 0, FOR_EVER);
		expect_refused(&item, f, -ENOMEM);
		wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
		assert_true(guarded_runs(&item, wq, flavors[f]));
		wqi_test_fault(WQI_FAULT_ALLOC, 0, FOR_EVER);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), 1);
		latch_wait(&item.ended, 2);
		wq_rcu_work_flush(&item.rw);
		wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	}
}

/* Its flavour is known then, but has no thread: that does not keep the library from ending. */
static void shutdown_after_a_thread_could_not_be_made(void **state)
{
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		wqi_test_fault(WQI_FAULT_THREAD, 0, FOR_EVER);
		expect_refused(&item, f, -EAGAIN);
		wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	}
	assert_int_equal(nr_threads("wq/rcu"), 0);
}

/* --- a call after a delay --- */

static void count_call(void *ctx)
{
	count_up((unsigned long *)ctx);
}

static void call_after_without_memory_answers_enomem(void **state)
{
	unsigned long runs = 0, ended = 0;
	struct wq_closure *closure = wq_closure_new(count_call, &runs, NULL);
	struct wq_closure *refused = wq_closure_new(count_call, &ended, count_call);

	wqi_test_fault(WQI_FAULT_ALLOC, 0, FOR_EVER);
	assert_int_equal(wq_call_after(wq, 1000, count_call, &runs), -ENOMEM);
	assert_int_equal(wq_enqueue_after(wq, 1000, closure), -ENOMEM);
	assert_int_equal(wq_enqueue_after(wq, 1000, refused), -ENOMEM);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(runs, 0);
	/* What was refused holds no reference. */
	wq_closure_put(refused);
	assert_int_equal(ended, 1);
	assert_int_equal(wq_call_after(wq, 1000, count_call, &runs), 1);
	assert_int_equal(wq_enqueue_after(wq, 1000, closure), 1);
	wq_closure_put(closure);
	while (count_get(&runs) < 2)
		sched_yield();
}

/* --- a flush that looks again when the item is already back --- */

struct again {
	struct wq_rcu_work rw;
	const struct rcu_flavor_struct *rcu;
	struct reader first, second;
	struct latch ended;
	unsigned long runs, woken;
	int queued, flushed;
};

static struct again *late; /* whose flush is stopped once it is woken */

static void late_hook(const char *where)
{
	if (strcmp(where, "rcu wait woken"))
		return;
	count_up(&late->woken);
	latch_wait(&late->ended, 1);
}

/* A new reader is inside before it queues itself anew. */
static void again_fn(struct wq_work *work, void *ctx)
{
	struct again *again = ctx;

	if (count_up(&again->runs) == 1) {
		reader_start(&again->second, again->rcu);
		again->queued = wq_queue_rcu(wq, &again->rw, again->rcu);
	}
	latch_post(&again->ended);
}

static void *again_flush(void *ctx)
{
	struct again *again = ctx;

	again->flushed = wq_rcu_work_flush(&again->rw);
	return NULL;
}

/* G6: it returns though the reader that the next run waits for stays until it has. */
static void flush_does_not_wait_for_a_later_grace_period(void **state)
{
	struct again again;
	pthread_t thread;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		memset(&again, 0, sizeof(again));
		again.rcu = flavors[f];
		latch_init(&again.ended);
		wq_rcu_work_init(&again.rw, again_fn, &again);
		late = &again;
		__atomic_store_n(&wqi_test_hook, late_hook, __ATOMIC_RELEASE);

		reader_start(&again.first, flavors[f]);
		assert_int_equal(wq_queue_rcu(wq, &again.rw, flavors[f]), 1);
		assert_int_equal(pthread_create(&thread, NULL, again_flush, &again), 0);
		/* An item of another flavour wakes the flush, too: then it waits in the hook. */
		do {
			struct guarded other;

			guarded_init(&other, NULL);
			assert_true(guarded_runs(&other, wq, flavors[(f + 1) % NR_FLAVORS]));
			sched_yield();
		} while (!count_get(&again.woken));
		reader_end(&again.first);
		latch_wait(&again.ended, 1);
		assert_int_equal(again.queued, 1);
		pthread_join(thread, NULL);
		assert_int_equal(again.flushed, 1);
		assert_int_equal(count_get(&again.runs), 1);
		assert_int_equal(wq_rcu_work_busy(&again.rw), WQ_BUSY_DELAYED);
		reader_end(&again.second);
		latch_wait(&again.ended, 2);
		__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
		wq_rcu_work_flush(&again.rw);
		assert_int_equal(again.runs, 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(queueing_without_a_thread_changes_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(queueing_without_memory_changes_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(shutdown_after_a_thread_could_not_be_made, setup,
						teardown),
		cmocka_unit_test_setup_teardown(call_after_without_memory_answers_enomem, setup,
						teardown),
		cmocka_unit_test_setup_teardown(flush_does_not_wait_for_a_later_grace_period, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
