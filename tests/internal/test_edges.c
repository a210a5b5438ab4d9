/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What only shows from inside: memory that is not asked for, threads that can't be
 * made, calls that meet at one point.
 */
#include "process.h"

#include <sched.h>
#include <semaphore.h>

#include "cpu.h"
#include "pool.h"
#include "queue.h"
#include "runtime.h"
#include "worker.h"

static struct wq *wq;

static int setup(void **state)
{
	wq = wq_alloc("edges", 0, 0);
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq) || wq_shutdown();
}

/* --- memory --- */

static void count_call(void *ctx)
{
	count_up((unsigned long *)ctx);
}

static void calls_cost_no_allocation_once_warm(void **state)
{
	unsigned long ran = 0, i, k, rounds = scaled(100), burst = 1000;
	struct wq *frozen = wq_alloc("frozen", WQ_FREEZABLE, 0);

	/* So that all are in use at one time. */
	assert_int_equal(wq_freeze_all(), 0);
	for (i = 0; i < burst; i++)
		assert_int_equal(wq_call(frozen, count_call, &ran), 1);
	assert_int_equal(wq_thaw_all(), 0);
	assert_int_equal(wq_destroy(frozen), 0);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, ~0u);
	for (k = 0; k < rounds; k++) {
		/* A burst less what threads keep for themselves: two chains each. */
		for (i = 0; i < burst / 2; i++)
			assert_int_equal(wq_call(wq, count_call, &ran), 1);
		assert_int_equal(wq_drain(wq), 0);
	}
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_int_equal(ran, burst + rounds * (burst / 2));
}

static void call_without_memory_answers_enomem(void **state)
{
	struct wq *frozen = wq_alloc("frozen", WQ_FREEZABLE, 0);
	unsigned long ran = 0, nr = 0;
	struct wq_closure *closure = wq_closure_new(count_call, &ran, NULL);
	int ret;

	assert_int_equal(wq_freeze_all(), 0);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, ~0u);
	/* What the caches hold from before still serves. */
	while ((ret = wq_call(frozen, count_call, &ran)) == 1)
		nr++;
	assert_int_equal(ret, -ENOMEM);
	assert_int_equal(wq_enqueue(frozen, closure), -ENOMEM);
	errno = 0;
	assert_null(wq_closure_new(count_call, NULL, NULL));
	assert_int_equal(errno, ENOMEM);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_int_equal(wq_thaw_all(), 0);
	assert_int_equal(wq_destroy(frozen), 0);
	assert_int_equal(ran, nr);
	wq_closure_put(closure);
}

static void run_on_each_cpu_without_memory_answers_enomem(void **state)
{
	unsigned long ran = 0;

	assert_non_null(wq_system_percpu());
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 1);
	assert_int_equal(wq_run_on_each_cpu(count_call, &ran), -ENOMEM);
	assert_int_equal(ran, 0);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_int_equal(wq_run_on_each_cpu(count_call, &ran), 0);
	assert_int_equal(ran, wqi_cpus.nr_usable);
}

static void end_thread(void *ctx)
{
	count_up((unsigned long *)ctx);
	pthread_exit(NULL);
}

/* The last reference is the run's: the gate keeps it from ending before ours is gone. */
static void closure_and_its_end_may_both_end_the_thread(void **state)
{
	struct wq *ordered = wq_alloc("ordered", WQ_ORDERED, 0);
	unsigned long ended = 0;
	struct wq_closure *closure = wq_closure_new(end_thread, &ended, end_thread);
	struct probe gate;

	probe_init_gate(&gate);
	assert_int_equal(wq_queue(ordered, &gate.work), 1);
	assert_int_equal(wq_enqueue(ordered, closure), 1);
	wq_closure_put(closure);
	latch_post(&gate.open);
	assert_int_equal(wq_destroy(ordered), 0);
	assert_int_equal(ended, 2);
}

/* --- threads --- */

static void dedicated_queue_without_its_thread_is_not_made(void **state)
{
	struct wq *dedicated;
	struct probe probe;
	unsigned i;

	for (i = 0; i < 3; i++) {
		wqi_test_fault(WQI_FAULT_THREAD, 0, 1);
		errno = 0;
		assert_null(wq_alloc("one", WQ_DEDICATED, 0));
		assert_int_equal(errno, EAGAIN);
	}
	dedicated = wq_alloc("one", WQ_DEDICATED, 0);
	assert_non_null(dedicated);
	probe_init(&probe);
	assert_int_equal(wq_queue(dedicated, &probe.work), 1);
	assert_int_equal(wq_destroy(dedicated), 0);
	assert_int_equal(probe.runs, 1);
}

static void exit_fn(struct wq_work *work, void *ctx)
{
	/* Its successor can't be made at first: what waits is not lost. */
	wqi_test_fault(WQI_FAULT_THREAD, 0, 2);
	pthread_exit(NULL);
}

static void dedicated_thread_is_replaced_when_one_can_be_made(void **state)
{
	struct wq *dedicated = wq_alloc("one", WQ_DEDICATED, 0);
	struct wq_work leaver = WQ_WORK_INIT(exit_fn, NULL);
	struct probe probe;

	probe_init(&probe);
	assert_int_equal(wq_queue(dedicated, &leaver), 1);
	assert_int_equal(wq_queue(dedicated, &probe.work), 1);
	assert_true(wq_work_flush(&probe.work) >= 0);
	assert_int_equal(probe.runs, 1);
	assert_int_equal(wq_destroy(dedicated), 0);
}

static void desc_fn(struct wq_work *work, void *ctx)
{
	struct probe *probe = container_of(work, struct probe, work);
	char longer[2 * WQ_DESC_BYTES];

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	probe->runs = wq_set_worker_desc("disk %d", 7) == 0 && wqi_worker_self->described &&
		      !strcmp(wqi_worker_self->desc, "disk 7");
	probe->runs += wq_set_worker_desc("%s", longer) == 0 &&
		       strlen(wqi_worker_self->desc) == WQ_DESC_BYTES - 1;
}

static void plain_fn(struct wq_work *work, void *ctx)
{
	count_set((unsigned long *)ctx, wqi_worker_self->described ? 2 : 1);
}

static void worker_desc_lasts_until_the_function_returns(void **state)
{
	struct wq *dedicated = wq_alloc("one", WQ_DEDICATED, 0);
	unsigned long plain = 0;
	struct probe probe;
	struct wq_work work = WQ_WORK_INIT(plain_fn, &plain);

	probe_init(&probe);
	wq_work_init(&probe.work, desc_fn, NULL);
	assert_int_equal(wq_queue(dedicated, &probe.work), 1);
	assert_int_equal(wq_queue(dedicated, &work), 1);
	assert_int_equal(wq_destroy(dedicated), 0);
	assert_int_equal(probe.runs, 2);
	assert_int_equal(plain, 1);
}

/* --- a child whose threads can't be made at first --- */

static void child_main(void *ctx)
{
	struct probe *probe = ctx;

	wqi_test_fault(WQI_FAULT_THREAD, 0, 2);
	CHECK_EQUAL(wq_queue(wq, &probe->work), -EAGAIN);
	CHECK_EQUAL(wq_work_busy(&probe->work), 0);
	CHECK_EQUAL(wq_flush(wq), 0);
	CHECK_EQUAL(wq_drain(wq), 0);
	CHECK_EQUAL(wq_queue(wq, &probe->work), -EAGAIN);
	CHECK_EQUAL(wq_queue(wq, &probe->work), 1);
	CHECK(wq_work_flush(&probe->work) >= 0);
	CHECK_EQUAL(probe->runs, 1);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void child_without_threads_answers_eagain_and_tries_again(void **state)
{
	struct probe probe;

	skip_if_checker_hangs_children();
	probe_init(&probe);
	assert_int_equal(in_child(child_main, &probe), 0);
	assert_int_equal(probe.runs, 0);
}

/* --- more cancellers than the word can count --- */

static sem_t full;

static void note_full(const char *where)
{
	if (!strcmp(where, "cancellers"))
		sem_post(&full);
}

static void *cancel_thread(void *arg)
{
	return (void *)(intptr_t)(wq_work_cancel_sync(arg) + 100);
}

static void canceller_too_many_waits_for_another_to_leave(void **state)
{
	pthread_t threads[40];
	struct probe probe;
	unsigned i, waited = 0;
	void *ret;

	sem_init(&full, 0, 0);
	probe_init_gate(&probe);
	wq_queue(wq, &probe.work);
	latch_wait(&probe.started, 1);
	count_set(&wqi_test_hook, note_full);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, cancel_thread, &probe.work), 0);
	/* All that find no room; those that are woken in between come here again. */
	for (; waited < ARRAY_SIZE(threads) - 15; waited++)
		sem_wait(&full);
	assert_int_equal(wq_queue(wq, &probe.work), -EBUSY);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_RUNNING | WQ_BUSY_CANCELING);
	latch_post(&probe.open);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &ret);
		assert_int_equal((intptr_t)ret, 100);
	}
	count_set(&wqi_test_hook, NULL);
	assert_int_equal(wq_work_busy(&probe.work), 0);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_int_equal(wq_work_flush(&probe.work) >= 0, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_cost_no_allocation_once_warm),
		cmocka_unit_test(call_without_memory_answers_enomem),
		cmocka_unit_test(run_on_each_cpu_without_memory_answers_enomem),
		cmocka_unit_test(closure_and_its_end_may_both_end_the_thread),
		cmocka_unit_test(dedicated_queue_without_its_thread_is_not_made),
		cmocka_unit_test(dedicated_thread_is_replaced_when_one_can_be_made),
		cmocka_unit_test(worker_desc_lasts_until_the_function_returns),
		cmocka_unit_test(child_without_threads_answers_eagain_and_tries_again),
		cmocka_unit_test(canceller_too_many_waits_for_another_to_leave),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
