/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls after a delay. */
#include "process.h"

#include <sched.h>
#include <time.h>

#define MS UINT64_C(1000000)

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI, WQ_DEDICATED};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

struct calls {
	struct wq *wq;
	unsigned long runs, wrong;
	struct latch ran;
};

static void calls_init(struct calls *calls, unsigned flags)
{
	memset(calls, 0, sizeof(*calls));
	latch_init(&calls->ran);
	calls->wq = wq_alloc("after", flags, 0);
	assert_non_null(calls->wq);
}

static void count_call(void *ctx)
{
	struct calls *calls = ctx;

	count_up(&calls->runs);
	latch_post(&calls->ran);
}

/* --- when --- */

struct due {
	struct calls *calls;
	uint64_t ns;
};

static void due_call(void *ctx)
{
	struct due *due = ctx;
	struct calls *calls = due->calls;

	if (now_ns() < due->ns || wq_current_wq() != calls->wq || !wq_current_work())
		count_up(&calls->wrong);
	free(due);
	latch_post(&calls->ran);
}

static void call_runs_after_its_delay_and_not_before(void **state)
{
	unsigned long i, nr = scaled(500) + 1;
	struct calls calls;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		calls_init(&calls, kinds[k]);
		for (i = 0; i < nr; i++) {
			uint64_t delay_ns = i % 7 * MS / 2 + i;
			struct due *due = malloc(sizeof(*due));

			*due = (struct due){&calls, now_ns() + delay_ns};
			assert_int_equal(wq_call_after(calls.wq, delay_ns, due_call, due), 1);
		}
		latch_wait(&calls.ran, nr);
		assert_int_equal(wq_destroy(calls.wq), 0);
		assert_int_equal(calls.ran.count, nr);
		assert_int_equal(calls.wrong, 0);
	}
}

static void delay_of_0_is_a_call_at_once(void **state)
{
	struct calls calls;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		calls_init(&calls, kinds[k]);
		assert_int_equal(wq_call_after(calls.wq, 0, count_call, &calls), 1);
		/* It is queued already: nothing is armed. */
		assert_int_equal(wq_flush(calls.wq), 0);
		assert_int_equal(calls.runs, 1);
		assert_int_equal(wq_destroy(calls.wq), 0);
	}
}

/* --- how often --- */

static void calls_thread(void *ctx, unsigned index)
{
	unsigned long i, nr = scaled(5000);
	struct calls *calls = ctx;

	for (i = 0; i < nr; i++)
		if (wq_call_after(calls->wq, 1 + i % 64 * 10000, count_call, calls) != 1)
			count_up(&calls->wrong);
}

static void call_runs_once_for_each_call(void **state)
{
	struct calls calls;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		calls_init(&calls, kinds[k]);
		run_threads(3, calls_thread, &calls);
		latch_wait(&calls.ran, 3 * scaled(5000));
		assert_int_equal(wq_destroy(calls.wq), 0);
		assert_int_equal(calls.runs, 3 * scaled(5000));
		assert_int_equal(calls.wrong, 0);
	}
}

/* Of the same function and context, all at the same time. */
static void gate_call(void *ctx)
{
	struct probe *gate = ctx;

	latch_post(&gate->started);
	latch_wait(&gate->open, 1);
	latch_post(&gate->ended);
}

static void calls_run_beside_each_other(void **state)
{
	struct wq *wq = wq_alloc("beside", 0, 0);
	struct probe gate;
	unsigned i;

	probe_init(&gate);
	for (i = 0; i < 4; i++)
		assert_int_equal(wq_call_after(wq, 1, gate_call, &gate), 1);
	latch_wait(&gate.started, 4);
	assert_int_equal(gate.ended.count, 0);
	latch_post(&gate.open);
	latch_wait(&gate.ended, 4);
	assert_int_equal(wq_destroy(wq), 0);
}

struct chain {
	struct calls *calls;
	unsigned long left;
};

/* Frees its context, and goes on with a new one. */
static void chain_call(void *ctx)
{
	struct chain *chain = ctx, *next = NULL;
	struct calls *calls = chain->calls;

	if (chain->left)
		next = malloc(sizeof(*next));
	if (next) {
		*next = (struct chain){calls, chain->left - 1};
		if (wq_call_after(calls->wq, 1 + chain->left % 3 * MS / 10, chain_call, next) != 1)
			count_up(&calls->wrong);
	}
	memset(chain, 0xa5, sizeof(*chain));
	free(chain);
	count_call(calls);
}

static void call_in_a_call_frees_its_context(void **state)
{
	struct chain *first;
	struct calls calls;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		calls_init(&calls, kinds[k]);
		first = malloc(sizeof(*first));
		*first = (struct chain){&calls, scaled(200)};
		assert_int_equal(wq_call_after(calls.wq, 1, chain_call, first), 1);
		latch_wait(&calls.ran, scaled(200) + 1);
		assert_int_equal(wq_destroy(calls.wq), 0);
		assert_int_equal(calls.runs, scaled(200) + 1);
		assert_int_equal(calls.wrong, 0);
	}
}

static void exit_call(void *ctx)
{
	count_call(ctx);
	pthread_exit(NULL);
}

/* The call's memory goes with it: leak checkers see to that. */
static void pthread_exit_in_a_call_ends_it(void **state)
{
	struct calls calls;
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		calls_init(&calls, kinds[k]);
		for (i = 0; i < 10; i++)
			assert_int_equal(wq_call_after(calls.wq, 1 + i * 1000, exit_call, &calls),
					 1);
		latch_wait(&calls.ran, 10);
		assert_int_equal(wq_destroy(calls.wq), 0);
		assert_int_equal(calls.runs, 10);
	}
}

/* --- what is refused --- */

static void bad_arguments_are_refused(void **state)
{
	struct calls calls;

	calls_init(&calls, 0);
	assert_int_equal(wq_call_after(NULL, 1, count_call, &calls), -EINVAL);
	assert_int_equal(wq_call_after(NULL, 0, count_call, &calls), -EINVAL);
	assert_int_equal(wq_call_after(calls.wq, 1, NULL, &calls), -EINVAL);
	assert_int_equal(wq_call_after(calls.wq, 0, NULL, &calls), -EINVAL);
	assert_int_equal(wq_destroy(calls.wq), 0);
	assert_int_equal(calls.runs, 0);
}

/* At once it is refused; later it is kept until the queue takes it. */
static void plugged_queue_refuses_calls_at_once_only(void **state)
{
	struct calls calls;
	struct calls marker;

	calls_init(&calls, 0);
	calls_init(&marker, 0);
	assert_int_equal(wq_plug(calls.wq), 0);
	assert_int_equal(wq_call_after(calls.wq, 0, count_call, &calls), -ESHUTDOWN);
	assert_int_equal(wq_call_after(calls.wq, 1, count_call, &calls), 1);
	assert_int_equal(wq_call_after(marker.wq, MS, count_call, &marker), 1);
	latch_wait(&marker.ran, 1);
	assert_int_equal(count_get(&calls.runs), 0);
	assert_int_equal(wq_destroy(calls.wq), -EBUSY);
	assert_int_equal(wq_unplug(calls.wq), 0);
	latch_wait(&calls.ran, 1);
	assert_int_equal(wq_destroy(calls.wq), 0);
	assert_int_equal(wq_destroy(marker.wq), 0);
	assert_int_equal(calls.runs, 1);
}

struct last {
	struct calls calls;
	struct probe gate;
	int at_once, later;
};

static void last_call(void *ctx)
{
	struct last *last = ctx;
	struct probe *gate = &last->gate;

	latch_post(&gate->started);
	latch_wait(&gate->open, 1);
	/* The queue's own items may still queue on it, but arm nothing. */
	last->at_once = wq_call_after(last->calls.wq, 0, count_call, &last->calls);
	last->later = wq_call_after(last->calls.wq, 1, count_call, &last->calls);
}

static void *destroy_main(void *ctx)
{
	return (void *)(intptr_t)wq_destroy(ctx);
}

static void nop(struct wq_work *work, void *ctx)
{
}

static void queue_that_is_being_destroyed_refuses_calls_after_a_delay(void **state)
{
	struct wq_work stranger = WQ_WORK_INIT(nop, NULL);
	struct last last;
	pthread_t thread;
	void *ret;

	memset(&last, 0, sizeof(last));
	calls_init(&last.calls, 0);
	probe_init(&last.gate);
	assert_int_equal(wq_call_after(last.calls.wq, 1, last_call, &last), 1);
	latch_wait(&last.gate.started, 1);
	assert_int_equal(pthread_create(&thread, NULL, destroy_main, last.calls.wq), 0);
	while (wq_queue(last.calls.wq, &stranger) != -ESHUTDOWN)
		sched_yield();
	latch_post(&last.gate.open);
	pthread_join(thread, &ret);
	assert_null(ret);
	assert_int_equal(last.at_once, 1);
	assert_int_equal(last.later, -ESHUTDOWN);
	assert_int_equal(last.calls.runs, 1);
}

static void queue_with_a_call_to_come_is_not_destroyed(void **state)
{
	struct calls calls;
	unsigned k;
	int ret;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		calls_init(&calls, kinds[k]);
		assert_int_equal(wq_plug(calls.wq), 0);
		assert_int_equal(wq_call_after(calls.wq, MS, count_call, &calls), 1);
		/* Armed until the queue takes it; it is not waited for before. */
		assert_int_equal(wq_destroy(calls.wq), -EBUSY);
		assert_int_equal(wq_flush(calls.wq), 0);
		assert_int_equal(wq_drain(calls.wq), 0);
		assert_int_equal(calls.runs, 0);
		assert_int_equal(wq_unplug(calls.wq), 0);
		while ((ret = wq_destroy(calls.wq)) == -EBUSY)
			sched_yield();
		assert_int_equal(ret, 0);
		assert_int_equal(calls.runs, 1);
	}
}

static void library_with_a_call_to_come_is_not_shut_down(void **state)
{
	struct calls calls = {.ran = LATCH_INIT};
	int ret;

	assert_int_equal(wq_call_after(wq_system(), 50 * MS, count_call, &calls), 1);
	do {
		ret = wq_shutdown();
		if (ret)
			sched_yield();
		else if (!count_get(&calls.runs))
			count_up(&calls.wrong);
	} while (ret == -EBUSY);
	assert_int_equal(ret, 0);
	assert_int_equal(calls.wrong, 0);
	assert_int_equal(calls.runs, 1);
}

/* --- fork --- */

static void fork_child(void *ctx)
{
	struct calls *calls = ctx;

	latch_init(&calls->ran);
	CHECK_EQUAL(wq_unplug(calls->wq), 0);
	CHECK_EQUAL(wq_call_after(calls->wq, 20 * MS, count_call, calls), 1);
	latch_wait(&calls->ran, 1);
	/* Nothing is armed any more, and so the queue may go. */
	CHECK_EQUAL(wq_destroy(calls->wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(calls->runs, 1);
}

static void calls_of_the_parent_are_dropped_in_the_child(void **state)
{
	struct calls calls;
	unsigned i;

	skip_if_checker_hangs_children();
	calls_init(&calls, 0);
	/* In the parent they wait for the queue, or it would be a race with the fork. */
	assert_int_equal(wq_plug(calls.wq), 0);
	for (i = 0; i < 10; i++)
		assert_int_equal(wq_call_after(calls.wq, 1 + i * MS, count_call, &calls), 1);
	assert_int_equal(in_child(fork_child, &calls), 0);
	assert_int_equal(calls.runs, 0);
	assert_int_equal(wq_unplug(calls.wq), 0);
	latch_wait(&calls.ran, 10);
	assert_int_equal(wq_destroy(calls.wq), 0);
	assert_int_equal(calls.runs, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_runs_after_its_delay_and_not_before),
		cmocka_unit_test(delay_of_0_is_a_call_at_once),
		cmocka_unit_test(call_runs_once_for_each_call),
		cmocka_unit_test(calls_run_beside_each_other),
		cmocka_unit_test(call_in_a_call_frees_its_context),
		cmocka_unit_test(pthread_exit_in_a_call_ends_it),
		cmocka_unit_test(bad_arguments_are_refused),
		cmocka_unit_test(plugged_queue_refuses_calls_at_once_only),
		cmocka_unit_test(queue_that_is_being_destroyed_refuses_calls_after_a_delay),
		cmocka_unit_test(queue_with_a_call_to_come_is_not_destroyed),
		cmocka_unit_test(library_with_a_call_to_come_is_not_shut_down),
		cmocka_unit_test(calls_of_the_parent_are_dropped_in_the_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
