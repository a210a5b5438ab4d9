/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Closures: single calls, and reference-counted ones. */
#include "support.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI, WQ_DEDICATED};

/* --- wq_call --- */

struct calls {
	struct wq *wq;
	unsigned long runs, wrong, last, left;
	struct latch open;
};

static void calls_fn(void *ctx)
{
	struct calls *calls = ctx;

	count_up(&calls->runs);
}

static void calls_thread(void *ctx, unsigned index)
{
	unsigned long i, nr = scaled(20000);
	struct calls *calls = ctx;

	for (i = 0; i < nr; i++)
		if (wq_call(calls->wq, calls_fn, calls) != 1)
			count_up(&calls->wrong);
}

static void call_runs_once_for_each_call(void **state)
{
	struct calls calls;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		memset(&calls, 0, sizeof(calls));
		calls.wq = wq_alloc("calls", kinds[i], 0);
		run_threads(3, calls_thread, &calls);
		assert_int_equal(wq_flush(calls.wq), 0);
		assert_int_equal(calls.runs, 3 * scaled(20000));
		run_threads(1, calls_thread, &calls);
		assert_int_equal(i & 1 ? wq_drain(calls.wq) : wq_destroy(calls.wq), 0);
		assert_int_equal(calls.runs, 4 * scaled(20000));
		assert_int_equal(calls.wrong, 0);
		if (i & 1)
			assert_int_equal(wq_destroy(calls.wq), 0);
	}
}

static void call_gate_fn(void *ctx)
{
	struct calls *calls = ctx;

	latch_wait(&calls->open, 1);
	count_up(&calls->runs);
}

static void call_and_leave(void *ctx, unsigned index)
{
	struct calls *calls = ctx;
	unsigned i;

	for (i = 0; i < 20; i++)
		if (wq_call(calls->wq, i ? calls_fn : call_gate_fn, calls) != 1)
			count_up(&calls->wrong);
}

/* What the callers' threads keep goes with them; the runs do not. */
static void call_outlives_the_calling_thread(void **state)
{
	unsigned long round, rounds = scaled(20);
	struct calls calls;

	for (round = 0; round < rounds; round++) {
		memset(&calls, 0, sizeof(calls));
		latch_init(&calls.open);
		calls.wq = wq_alloc("leave", kinds[round % ARRAY_SIZE(kinds)], 0);
		run_threads(8, call_and_leave, &calls);
		latch_post(&calls.open);
		assert_int_equal(wq_destroy(calls.wq), 0);
		assert_int_equal(calls.wrong, 0);
		assert_int_equal(calls.runs, 8 * 20);
	}
}

struct link {
	struct calls *calls;
	unsigned long nr;
};

/* Frees its context, and goes on with a new one. */
static void link_fn(void *ctx)
{
	struct link *link = ctx, *next;
	struct calls *calls = link->calls;

	if (link->nr != calls->last++ || wq_current_wq() != calls->wq || !wq_current_work())
		count_up(&calls->wrong);
	next = link->nr + 1 < calls->left ? malloc(sizeof(*next)) : NULL;
	if (next) {
		*next = (struct link){calls, link->nr + 1};
		memset(link, 0xa5, sizeof(*link));
		free(link);
		if (wq_call(calls->wq, link_fn, next) != 1)
			count_up(&calls->wrong);
		return;
	}
	free(link);
}

static void call_in_a_call_frees_its_context(void **state)
{
	struct calls calls;
	struct link *first;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		memset(&calls, 0, sizeof(calls));
		calls.wq = wq_alloc("chain", kinds[i], 0);
		calls.left = scaled(5000);
		first = malloc(sizeof(*first));
		*first = (struct link){&calls, 0};
		assert_int_equal(wq_call(calls.wq, link_fn, first), 1);
		assert_int_equal(wq_destroy(calls.wq), 0);
		assert_int_equal(calls.last, calls.left);
		assert_int_equal(calls.wrong, 0);
	}
}

static void calls_on_an_ordered_queue_keep_their_order(void **state)
{
	static const unsigned ordered[] = {WQ_ORDERED, WQ_DEDICATED};
	unsigned long nr, i, count = scaled(5000);
	struct calls calls;

	for (i = 0; i < ARRAY_SIZE(ordered); i++) {
		memset(&calls, 0, sizeof(calls));
		calls.wq = wq_alloc("order", ordered[i], 0);
		for (nr = 0; nr < count; nr++) {
			struct link *link = malloc(sizeof(*link));

			*link = (struct link){&calls, nr}; /* `left` is 0: no next one */
			assert_int_equal(wq_call(calls.wq, link_fn, link), 1);
		}
		assert_int_equal(wq_destroy(calls.wq), 0);
		assert_int_equal(calls.last, count);
		assert_int_equal(calls.wrong, 0);
	}
}

/* --- reference-counted ones --- */

struct shared {
	struct wq *wq;
	struct wq_closure *closure;
	unsigned long runs, ended, destroyed, ended_then, plain, plain_then, wrong;
	struct latch started, open, gone;
	pthread_t destroyer;
	unsigned long left;
};

static void shared_destroy(void *ctx)
{
	struct shared *s = ctx;

	s->ended_then = count_get(&s->ended);
	s->plain_then = s->plain;
	s->destroyer = pthread_self();
	count_up(&s->destroyed);
	latch_post(&s->gone);
}

static void shared_init(struct shared *s, struct wq *wq, wq_call_fn fn)
{
	memset(s, 0, sizeof(*s));
	latch_init(&s->started);
	latch_init(&s->open);
	latch_init(&s->gone);
	s->wq = wq;
	s->closure = wq_closure_new(fn, s, shared_destroy);
	assert_non_null(s->closure);
}

static void shared_gate_fn(void *ctx)
{
	struct shared *s = ctx;

	count_up(&s->runs);
	latch_post(&s->started);
	latch_wait(&s->open, 1);
	if (count_get(&s->destroyed))
		count_up(&s->wrong);
	count_up(&s->ended);
}

static void call_and_enqueue_refuse_bad_arguments(void **state)
{
	struct wq *wq = wq_alloc("plugged", 0, 0);
	struct shared s;

	errno = 0;
	assert_null(wq_closure_new(NULL, &s, shared_destroy));
	assert_int_equal(errno, EINVAL);
	shared_init(&s, wq, shared_gate_fn);
	assert_int_equal(wq_call(NULL, shared_gate_fn, &s), -EINVAL);
	assert_int_equal(wq_call(wq, NULL, &s), -EINVAL);
	assert_int_equal(wq_enqueue(NULL, s.closure), -EINVAL);
	assert_int_equal(wq_enqueue(wq, NULL), -EINVAL);
	assert_null(wq_closure_get(NULL));
	wq_closure_put(NULL);

	assert_int_equal(wq_plug(wq), 0);
	assert_int_equal(wq_call(wq, shared_gate_fn, &s), -ESHUTDOWN);
	assert_int_equal(wq_enqueue(wq, s.closure), -ESHUTDOWN);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(wq_unplug(wq), 0);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(s.runs, 0);
	/* What was refused holds no reference. */
	assert_int_equal(s.destroyed, 0);
	wq_closure_put(s.closure);
	assert_int_equal(s.destroyed, 1);
	assert_true(pthread_equal(s.destroyer, pthread_self()));
	assert_int_equal(wq_destroy(wq), 0);
}

static void closure_runs_beside_itself(void **state)
{
	static const unsigned wide[] = {0, WQ_PERCPU, WQ_HIGHPRI};
	struct shared s;
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(wide); i++) {
		struct wq *wq = wq_alloc("beside", wide[i], 0);

		shared_init(&s, wq, shared_gate_fn);
		for (j = 0; j < 5; j++)
			assert_int_equal(wq_enqueue(wq, s.closure), 1);
		/* All at the same time, before one of them ends. */
		latch_wait(&s.started, 5);
		assert_int_equal(count_get(&s.ended), 0);
		/* The runs hold it, on whatever queue. */
		assert_int_equal(wq_enqueue(wq_system(), s.closure), 1);
		latch_wait(&s.started, 6);
		wq_closure_put(s.closure);
		assert_int_equal(count_get(&s.destroyed), 0);
		latch_post(&s.open);
		latch_wait(&s.gone, 1);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(s.runs, 6);
		assert_int_equal(s.ended_then, 6);
		assert_int_equal(s.destroyed, 1);
		assert_int_equal(s.wrong, 0);
		assert_false(pthread_equal(s.destroyer, pthread_self()));
	}
}

static void reference_outlives_runs_and_queue(void **state)
{
	struct shared s;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("short", kinds[i], 0);

		shared_init(&s, wq, shared_gate_fn);
		latch_post(&s.open);
		assert_int_equal(wq_enqueue(wq, s.closure), 1);
		assert_int_equal(wq_enqueue(wq, s.closure), 1);
		assert_ptr_equal(wq_closure_get(s.closure), s.closure);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(s.ended, 2);
		wq_closure_put(s.closure);
		assert_int_equal(s.destroyed, 0);
		wq_closure_put(s.closure);
		assert_int_equal(s.destroyed, 1);
		assert_true(pthread_equal(s.destroyer, pthread_self()));
	}
}

/* Gives up the caller's reference while it runs on its own one. */
static void shared_put_fn(void *ctx)
{
	struct shared *s = ctx;

	count_up(&s->runs);
	if (s->left && --s->left && wq_enqueue(s->wq, s->closure) != 1)
		count_up(&s->wrong);
	if (!s->left)
		wq_closure_put(s->closure);
	if (count_get(&s->destroyed))
		count_up(&s->wrong);
	count_up(&s->ended);
}

/* A chain of runs, each enqueued by the one before, on an ordered queue. */
static void closure_enqueues_and_puts_itself(void **state)
{
	static const unsigned ordered[] = {WQ_ORDERED, WQ_DEDICATED};
	struct shared s;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(ordered); i++) {
		struct wq *wq = wq_alloc("self", ordered[i], 0);

		shared_init(&s, wq, shared_put_fn);
		s.left = scaled(1000);
		assert_int_equal(wq_enqueue(wq, s.closure), 1);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(s.wrong, 0);
		assert_int_equal(s.runs, scaled(1000));
		assert_int_equal(s.destroyed, 1);
		assert_int_equal(s.ended_then, scaled(1000));
	}
}

static void closure_without_destroy_is_freed(void **state)
{
	struct calls calls = {.wq = wq_alloc("free", 0, 0)};
	struct wq_closure *closure = wq_closure_new(calls_fn, &calls, NULL);

	assert_int_equal(wq_enqueue(calls.wq, closure), 1);
	wq_closure_put(closure);
	assert_int_equal(wq_destroy(calls.wq), 0);
	assert_int_equal(calls.runs, 1);
}

static void shared_exit_fn(void *ctx)
{
	struct shared *s = ctx;

	count_up(&s->ended);
	pthread_exit(NULL);
}

/* Its end is the run's: counted off, and its reference given back. */
static void pthread_exit_in_a_closure_ends_the_run(void **state)
{
	struct shared s;
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("exit", kinds[i], 0);

		shared_init(&s, wq, shared_exit_fn);
		for (j = 0; j < 5; j++) {
			assert_int_equal(wq_call(wq, shared_exit_fn, &s), 1);
			assert_int_equal(wq_enqueue(wq, s.closure), 1);
		}
		wq_closure_put(s.closure);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(s.ended, 10);
		assert_int_equal(s.destroyed, 1);
	}
}

static void crowd_fn(void *ctx)
{
	struct shared *s = ctx;

	if (count_get(&s->destroyed))
		count_up(&s->wrong);
	count_up(&s->ended);
}

static pthread_mutex_t plain_lock = PTHREAD_MUTEX_INITIALIZER;

/* Each thread comes with a reference, and leaves without; the plain count is its work. */
static void crowd_thread(void *ctx, unsigned index)
{
	unsigned long i, nr = scaled(5000);
	struct shared *s = ctx;

	for (i = 0; i < nr; i++) {
		struct wq_closure *closure = wq_closure_get(s->closure);

		if (closure != s->closure || wq_enqueue(s->wq, closure) != 1)
			count_up(&s->wrong);
		wq_closure_put(closure);
	}
	pthread_mutex_lock(&plain_lock);
	s->plain++;
	pthread_mutex_unlock(&plain_lock);
	wq_closure_put(s->closure);
}

static void references_of_many_threads_end_once(void **state)
{
	struct shared s;
	unsigned i, j;

	for (i = 0; i < 2 * ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("crowd", kinds[i / 2], 0);

		shared_init(&s, wq, crowd_fn);
		for (j = 0; j < 4; j++)
			wq_closure_get(s.closure);
		/* With and without one that outlasts them. */
		if (i & 1)
			wq_closure_put(s.closure);
		run_threads(4, crowd_thread, &s);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(s.ended, 4 * scaled(5000));
		assert_int_equal(s.destroyed, i & 1);
		if (!(i & 1))
			wq_closure_put(s.closure);
		assert_int_equal(s.destroyed, 1);
		assert_int_equal(s.ended_then, 4 * scaled(5000));
		assert_int_equal(s.plain_then, 4);
		assert_int_equal(s.wrong, 0);
	}
}

/* --- misuse that only AddressSanitizer sees --- */

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#define HAS_ASAN __has_feature(address_sanitizer)
#else
#define HAS_ASAN 0
#endif

static void enqueue_after_the_last_put_is_caught_under_asan(void **state)
{
	struct wq *wq = wq_alloc("closures", 0, 0);
	struct wq_closure *closure;
	int status;
	pid_t child;

	child = HAS_ASAN ? fork() : -1;
	if (!child) {
		close(STDERR_FILENO);
		closure = wq_closure_new(calls_fn, NULL, NULL);
		wq_closure_put(closure);
		wq_enqueue(wq, closure);
		_exit(0);
	}
	assert_int_equal(wq_destroy(wq), 0);
	if (!HAS_ASAN)
		skip();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_runs_once_for_each_call),
		cmocka_unit_test(call_outlives_the_calling_thread),
		cmocka_unit_test(call_in_a_call_frees_its_context),
		cmocka_unit_test(calls_on_an_ordered_queue_keep_their_order),
		cmocka_unit_test(call_and_enqueue_refuse_bad_arguments),
		cmocka_unit_test(closure_runs_beside_itself),
		cmocka_unit_test(reference_outlives_runs_and_queue),
		cmocka_unit_test(closure_enqueues_and_puts_itself),
		cmocka_unit_test(closure_without_destroy_is_freed),
		cmocka_unit_test(pthread_exit_in_a_closure_ends_the_run),
		cmocka_unit_test(references_of_many_threads_end_once),
		cmocka_unit_test(enqueue_after_the_last_put_is_caught_under_asan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
