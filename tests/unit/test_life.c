/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library's end and new beginning: wq_shutdown(), use before main(), threads, descriptors. */
#include "process.h"

#include <sched.h>

static void nop(struct wq_work *work, void *ctx)
{
}

static void nothing(void *ctx)
{
}

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_HIGHPRI, WQ_ORDERED, WQ_DEDICATED};

/* --- Before main() --- */

static unsigned long early_runs, early_called;
static int early_queued, early_flushed;

static void early_fn(struct wq_work *work, void *ctx)
{
	count_up(&early_runs);
}

static void early_call_fn(void *ctx)
{
	count_up(&early_called);
}

__attribute__((constructor)) static void early(void)
{
	static struct wq_work work = WQ_WORK_INIT(early_fn, NULL);
	struct wq *wq = wq_alloc("early", WQ_PERCPU, 0);

	early_queued = wq_schedule(&work);
	wq_work_flush(&work);
	early_flushed = wq_queue(wq, &work) == 1 ? wq_flush(wq) : -1;
	wq_call(wq, early_call_fn, NULL);
	wq_destroy(wq);
}

static void use_before_main_works(void **state)
{
	assert_int_equal(early_queued, 1);
	assert_int_equal(early_flushed, 0);
	assert_int_equal(early_runs, 2);
	assert_int_equal(early_called, 1);
}

/* --- The end --- */

static void shutdown_leaves_no_thread(void **state)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("q", kinds[i], 0);
		struct wq_work work = WQ_WORK_INIT(nop, NULL);

		assert_non_null(wq);
		assert_int_equal(wq_queue(wq, &work), 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_true(nr_threads("wq/") > 0);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(nr_threads_falls_to("wq/", 0), 0);
	if (!TEST_TSAN)
		assert_int_equal(nr_threads_falls_to(NULL, 1), 1);
}

static void shutdown_twice_or_with_nothing_started_is_nothing(void **state)
{
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(nr_threads("wq/"), 0);
}

static void shutdown_with_a_queue_changes_nothing(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0), *ordered = wq_alloc("o", WQ_DEDICATED, 0);
	struct wq *system = wq_system();
	struct probe gate, probe;

	probe_init(&probe);
	probe_init_gate(&gate);
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	latch_wait(&gate.started, 1);
	assert_int_equal(wq_shutdown(), -EBUSY);
	assert_int_equal(wq_queue(ordered, &probe.work), 1);
	assert_int_equal(wq_flush(ordered), 0);
	latch_post(&gate.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_shutdown(), -EBUSY);
	assert_ptr_equal(wq_system(), system);
	assert_int_equal(wq_queue(system, &probe.work), 1);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 2);
	assert_int_equal(wq_destroy(ordered), 0);
	assert_int_equal(wq_shutdown(), 0);
}

struct deadlock {
	struct wq_work work;
	int item, call;
};

static void deadlock_fn(struct wq_work *work, void *ctx)
{
	struct deadlock *deadlock = ctx;

	deadlock->item = wq_shutdown();
}

static void deadlock_call_fn(void *ctx)
{
	struct deadlock *deadlock = ctx;

	deadlock->call = wq_shutdown();
}

static void shutdown_from_an_item_answers_edeadlk(void **state)
{
	struct deadlock deadlock = {.item = 0};
	struct wq *wq = wq_alloc("q", 0, 0);

	wq_work_init(&deadlock.work, deadlock_fn, &deadlock);
	wq_schedule(&deadlock.work);
	wq_work_flush(&deadlock.work);
	assert_int_equal(deadlock.item, -EDEADLK);
	deadlock.item = 0;
	wq_queue(wq, &deadlock.work);
	wq_call(wq, deadlock_call_fn, &deadlock);
	wq_destroy(wq);
	assert_int_equal(deadlock.item, -EDEADLK);
	assert_int_equal(deadlock.call, -EDEADLK);
	deadlock.call = 0;
	assert_int_equal(wq_run_on(usable_cpu(0), deadlock_call_fn, &deadlock), 0);
	assert_int_equal(deadlock.call, -EDEADLK);
	assert_int_equal(wq_shutdown(), 0);
}

static struct wq *(*const system_queues[])(void) = {wq_system,		 wq_system_percpu,
						    wq_system_highpri,	 wq_system_long,
						    wq_system_freezable, wq_system_power_efficient};

static void shutdown_runs_first_what_is_pending(void **state)
{
	unsigned long round, rounds = scaled(50);
	struct probe probes[ARRAY_SIZE(system_queues)][20];
	unsigned q, i;

	for (round = 0; round < rounds; round++) {
		for (q = 0; q < ARRAY_SIZE(system_queues); q++) {
			struct wq *wq = system_queues[q]();

			assert_non_null(wq);
			for (i = 0; i < ARRAY_SIZE(probes[q]); i++) {
				probe_init(&probes[q][i]);
				assert_int_equal(wq_queue(wq, &probes[q][i].work), 1);
			}
		}
		if (round % 2)
			assert_int_equal(wq_freeze_all(), 0);
		assert_int_equal(wq_shutdown(), 0);
		for (q = 0; q < ARRAY_SIZE(system_queues); q++) {
			for (i = 0; i < ARRAY_SIZE(probes[q]); i++) {
				assert_int_equal(probes[q][i].runs, 1);
				assert_int_equal(wq_work_busy(&probes[q][i].work), 0);
			}
		}
		/* Freezing has ended. */
		assert_int_equal(wq_thaw_all(), -EALREADY);
	}
}

struct late {
	struct wq_work work, next;
	struct latch started, open;
	struct wq *wq;
	int queued;
};

static void late_fn(struct wq_work *work, void *ctx)
{
	struct late *late = ctx;

	latch_post(&late->started);
	while (wq_queue(late->wq, &late->next) != -ESHUTDOWN)
		sched_yield();
	late->queued = wq_queue(late->wq, &late->next);
}

static void shutdown_refuses_what_items_queue_meanwhile(void **state)
{
	struct late late = {.wq = wq_system()};

	latch_init(&late.started);
	wq_work_init(&late.work, late_fn, &late);
	wq_work_init(&late.next, nop, &late);
	assert_int_equal(wq_schedule(&late.work), 1);
	latch_wait(&late.started, 1);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(late.queued, -ESHUTDOWN);
	assert_int_equal(wq_work_busy(&late.work), 0);
	assert_int_equal(wq_work_busy(&late.next), 0);
}

static void items_are_usable_after_a_restart(void **state)
{
	unsigned long round, rounds = scaled(200);
	struct probe probe, disabled;

	probe_init(&probe);
	probe_init(&disabled);
	assert_int_equal(wq_work_disable(&disabled.work), 0);
	for (round = 1; round <= rounds; round++) {
		struct wq *wq = wq_alloc("q", kinds[round % ARRAY_SIZE(kinds)], 0);

		assert_non_null(wq);
		assert_int_equal(wq_work_busy(&probe.work), 0);
		assert_int_equal(wq_work_flush(&probe.work), 0);
		assert_int_equal(wq_work_cancel_sync(&probe.work), 0);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		assert_int_equal(wq_queue(wq, &disabled.work), -EBUSY);
		assert_int_equal(wq_call(wq, nothing, NULL), 1);
		wq_work_flush(&probe.work);
		assert_int_equal(probe.runs, round);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_shutdown(), 0);
		/* Of items that are idle these may be asked at any time. */
		assert_int_equal(wq_work_busy(&probe.work), 0);
		assert_int_equal(wq_work_flush(&probe.work), 0);
		assert_int_equal(wq_work_cancel(&probe.work), 0);
		assert_int_equal(wq_work_cancel_sync(&probe.work), 0);
	}
	assert_int_equal(nr_threads_falls_to("wq/", 0), 0);
	assert_int_equal(wq_work_enable(&disabled.work), 1);
}

/* Its cache for wq_call() outlives the library's end. */
struct caller {
	struct latch called, ended;
	unsigned long calls;
};

static void caller_fn(void *ctx)
{
	struct caller *caller = ctx;

	count_up(&caller->calls);
}

static void *caller_thread(void *ctx)
{
	struct caller *caller = ctx;

	wq_call(wq_system(), caller_fn, caller);
	latch_post(&caller->called);
	latch_wait(&caller->ended, 1);
	wq_call(wq_system(), caller_fn, caller);
	latch_post(&caller->called);
	latch_wait(&caller->ended, 2);
	return NULL;
}

static void threads_that_called_outlive_the_library(void **state)
{
	struct caller caller = {.called = LATCH_INIT, .ended = LATCH_INIT};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, caller_thread, &caller), 0);
	latch_wait(&caller.called, 1);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(caller.calls, 1);
	latch_post(&caller.ended);
	latch_wait(&caller.called, 2);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(caller.calls, 2);
	latch_post(&caller.ended);
	pthread_join(thread, NULL);
}

/* --- And fork() --- */

static void shutdown_child(void *ctx)
{
	struct wq_work work = WQ_WORK_INIT(nop, NULL);

	if (ctx)
		CHECK_EQUAL(wq_destroy(ctx), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads("wq/"), 0);
	CHECK_EQUAL(wq_schedule(&work), 1);
	CHECK(wq_work_flush(&work) >= 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void shutdown_in_a_child_ends_what_the_child_has(void **state)
{
	struct probe gate, pending;
	struct wq *wq;

	skip_if_checker_hangs_children();
	/* Nothing started. */
	assert_int_equal(in_child(shutdown_child, NULL), 0);
	/* Only the system's queues, with pending items. */
	probe_init(&pending);
	assert_int_equal(wq_schedule(&pending.work), 1);
	assert_int_equal(in_child(shutdown_child, NULL), 0);
	/* A queue with pending items. */
	wq = wq_alloc("q", WQ_ORDERED, 0);
	probe_init_gate(&gate);
	wq_queue(wq, &gate.work);
	latch_wait(&gate.started, 1);
	assert_int_equal(in_child(shutdown_child, wq), 0);
	latch_post(&gate.open);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(pending.runs, 1);
}

/* --- What a process has --- */

static void use_everything(void)
{
	struct wq_work work = WQ_WORK_INIT(nop, NULL);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("q", kinds[i], 0);

		assert_non_null(wq);
		assert_int_equal(wq_queue(wq, &work), 1);
		assert_int_equal(wq_call(wq, nothing, NULL), 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
	for (i = 0; i < ARRAY_SIZE(system_queues); i++) {
		assert_int_equal(wq_queue(system_queues[i](), &work), 1);
		wq_work_flush(&work);
	}
	assert_int_equal(wq_run_on_each_cpu(nothing, NULL), 0);
}

static void descriptors_are_few_and_given_back(void **state)
{
	unsigned before = nr_descriptors(), round;

	for (round = 0; round < 10; round++) {
		use_everything();
		assert_true(nr_descriptors() <= before + 8);
		assert_int_equal(wq_shutdown(), 0);
		assert_int_equal(nr_descriptors(), before);
	}
}

static void descriptors_child(void *ctx)
{
	unsigned before = nr_descriptors(), *most = ctx;

	use_everything();
	CHECK(nr_descriptors() <= before + 8);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK(nr_descriptors() <= *most);
}

static void descriptors_do_not_add_up_over_fork(void **state)
{
	unsigned most = nr_descriptors();

	skip_if_checker_hangs_children();
	use_everything();
	assert_int_equal(in_child(descriptors_child, &most), 0);
	assert_int_equal(wq_shutdown(), 0);
}

static int begin(void **state)
{
	return wq_shutdown();
}

/* Nothing is left for a leak checker to find. */
static int end(void **state)
{
	return wq_shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(use_before_main_works),
		cmocka_unit_test(shutdown_leaves_no_thread),
		cmocka_unit_test(shutdown_twice_or_with_nothing_started_is_nothing),
		cmocka_unit_test(shutdown_with_a_queue_changes_nothing),
		cmocka_unit_test(shutdown_from_an_item_answers_edeadlk),
		cmocka_unit_test(shutdown_runs_first_what_is_pending),
		cmocka_unit_test(shutdown_refuses_what_items_queue_meanwhile),
		cmocka_unit_test(items_are_usable_after_a_restart),
		cmocka_unit_test(threads_that_called_outlive_the_library),
		cmocka_unit_test(shutdown_in_a_child_ends_what_the_child_has),
		cmocka_unit_test(descriptors_are_few_and_given_back),
		cmocka_unit_test(descriptors_do_not_add_up_over_fork),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
