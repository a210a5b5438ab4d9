/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* G16, fork() from inside items. */
#include "process.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_HIGHPRI, WQ_ORDERED, WQ_DEDICATED};

/* What the process had when the library started. */
static sigset_t start_mask;
static cpu_set_t start_cpus;

static int start(void **state)
{
	sigset_t later;

	sigemptyset(&start_mask);
	sigaddset(&start_mask, SIGUSR2);
	sigaddset(&start_mask, SIGRTMIN + 3);
	pthread_sigmask(SIG_SETMASK, &start_mask, NULL);
	sched_getaffinity(0, sizeof(start_cpus), &start_cpus);
	if (!wq_system())
		return -1;
	sigemptyset(&later);
	sigaddset(&later, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &later, NULL);
	return 0;
}

/* --- From inside an item --- */

/* An item that forks, down to @depth; in the last child it just runs. */
struct inside {
	struct wq_work work;
	struct wq *wq;
	struct probe behind, other;
	struct latch again;
	unsigned level, depth;
	int status;
};

static void surroundings_are_the_processes(void)
{
	sigset_t mask;
	cpu_set_t cpus;
	int sig;

	CHECK_EQUAL(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	for (sig = 1; sig < SIGRTMAX; sig++)
		if (sig < 32 || sig >= SIGRTMIN)
			CHECK_EQUAL(sigismember(&mask, sig), sigismember(&start_mask, sig));
	CHECK_EQUAL(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	CHECK(CPU_EQUAL(&cpus, &start_cpus));
	if (!TEST_TSAN)
		CHECK_EQUAL(nr_threads(NULL), 1);
}

static void inside_child(struct inside *inside)
{
	surroundings_are_the_processes();
	/* The very item that this is the function of, and the one that waits behind it. */
	CHECK_EQUAL(wq_work_busy(&inside->work), 0);
	CHECK_EQUAL(wq_work_busy(&inside->behind.work), 0);
	latch_init(&inside->again);
	inside->level++;
	CHECK_EQUAL(wq_queue(inside->wq, &inside->work), 1);
	latch_wait(&inside->again, 1);
	CHECK(wq_work_flush(&inside->work) >= 0);
	CHECK_EQUAL(wq_work_cancel_sync(&inside->work), 0);
	probe_runs(inside->wq, &inside->behind);
	probe_runs(inside->wq, &inside->other);
	CHECK_EQUAL(wq_flush(inside->wq), 0);
	CHECK_EQUAL(wq_drain(inside->wq), 0);
	new_queue_works(0);
	new_queue_works(WQ_PERCPU);
	CHECK_EQUAL(wq_destroy(inside->wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	new_queue_works(WQ_ORDERED);
}

static void inside_fn(struct wq_work *work, void *ctx)
{
	struct inside *inside = ctx;
	pid_t pid;

	if (inside->level < inside->depth) {
		pid = fork();
		if (!pid) {
			watchdog();
			inside_child(inside);
			_exit(0);
		}
		inside->status = child_status(pid);
		if (inside->level)
			CHECK_EQUAL(inside->status, 0);
	}
	latch_post(&inside->again);
}

static void inside_run(unsigned flags, unsigned depth)
{
	struct inside inside = {.wq = wq_alloc("inside", flags, 1), .depth = depth};

	assert_non_null(inside.wq);
	wq_work_init(&inside.work, inside_fn, &inside);
	latch_init(&inside.again);
	probe_init_gate(&inside.other);
	probe_init_gate(&inside.behind);
	latch_post(&inside.behind.open);
	/* First a gate, so that all is pending when the item starts. */
	assert_int_equal(wq_queue_on(inside.wq, &inside.other.work, usable_cpu(0)), 1);
	latch_wait(&inside.other.started, 1);
	assert_int_equal(wq_queue_on(inside.wq, &inside.work, usable_cpu(0)), 1);
	assert_int_equal(wq_queue_on(inside.wq, &inside.behind.work, usable_cpu(0)), 1);
	latch_post(&inside.other.open);
	assert_int_equal(wq_flush(inside.wq), 0);
	assert_int_equal(inside.status, 0);
	assert_int_equal(inside.behind.runs, 1);
	assert_int_equal(inside.other.runs, 1);
	assert_int_equal(wq_destroy(inside.wq), 0);
}

static void fork_from_an_item_lets_the_child_use_the_library(void **state)
{
	unsigned long round, rounds = scaled(5);
	unsigned i;

	skip_if_checker_hangs_children();
	for (round = 0; round < rounds; round++)
		for (i = 0; i < ARRAY_SIZE(kinds); i++)
			inside_run(kinds[i], 1);
}

static void fork_from_an_item_of_a_childs_child_works(void **state)
{
	unsigned i;

	skip_if_checker_hangs_children();
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		inside_run(kinds[i], 3);
}

struct crowd {
	struct wq *wq;
	struct wq_work works[6];
	int status[6];
};

static void crowd_fn(struct wq_work *work, void *ctx)
{
	struct crowd *crowd = ctx;
	size_t i = (size_t)(work - crowd->works);
	pid_t pid = fork();
	struct probe probe;
	unsigned n;

	if (!pid) {
		watchdog();
		surroundings_are_the_processes();
		for (n = 0; n < ARRAY_SIZE(crowd->works); n++)
			CHECK_EQUAL(wq_work_busy(&crowd->works[n]), 0);
		probe_init(&probe);
		probe_runs(crowd->wq, &probe);
		CHECK_EQUAL(wq_destroy(crowd->wq), 0);
		_exit(0);
	}
	crowd->status[i] = child_status(pid);
}

static void fork_from_several_items_at_once_works(void **state)
{
	static const unsigned flags[] = {0, WQ_PERCPU};
	unsigned long round, rounds = scaled(20);
	struct crowd crowd;
	unsigned i;

	skip_if_checker_hangs_children();
	for (round = 0; round < rounds; round++) {
		crowd.wq = wq_alloc("crowd", flags[round % 2], 0);
		assert_non_null(crowd.wq);
		for (i = 0; i < ARRAY_SIZE(crowd.works); i++) {
			crowd.status[i] = -1;
			wq_work_init(&crowd.works[i], crowd_fn, &crowd);
		}
		for (i = 0; i < ARRAY_SIZE(crowd.works); i++)
			assert_int_equal(wq_queue(crowd.wq, &crowd.works[i]), 1);
		assert_int_equal(wq_flush(crowd.wq), 0);
		for (i = 0; i < ARRAY_SIZE(crowd.works); i++)
			assert_int_equal(crowd.status[i], 0);
		assert_int_equal(wq_destroy(crowd.wq), 0);
	}
}

/* --- The child's end --- */

struct returning {
	struct wq_work work;
	int pipe[2], status;
};

static struct returning *returning_now;

static void returning_exit(void)
{
	if (write(returning_now->pipe[1], "x", 1) != 1)
		_exit(3);
}

static void returning_fn(struct wq_work *work, void *ctx)
{
	struct returning *returning = ctx;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		watchdog();
		returning_now = returning;
		atexit(returning_exit);
		return;
	}
	returning->status = child_status(pid);
}

static void returning_call_fn(void *ctx)
{
	returning_fn(NULL, ctx);
}

static void fork_from_an_item_that_returns_ends_the_child_as_by_exit(void **state)
{
	struct returning returning;
	unsigned i;
	char buf[2];

	skip_if_checker_hangs_children();
	for (i = 0; i <= ARRAY_SIZE(kinds); i++) {
		bool call = i == ARRAY_SIZE(kinds);
		struct wq *wq = wq_alloc("returning", call ? 0 : kinds[i], 0);

		assert_non_null(wq);
		assert_int_equal(pipe(returning.pipe), 0);
		returning.status = -1;
		wq_work_init(&returning.work, returning_fn, &returning);
		if (call)
			assert_int_equal(wq_call(wq, returning_call_fn, &returning), 1);
		else
			assert_int_equal(wq_queue(wq, &returning.work), 1);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(returning.status, 0);
		close(returning.pipe[1]);
		assert_int_equal(read(returning.pipe[0], buf, 2), 1);
		close(returning.pipe[0]);
	}
}

struct executing {
	struct wq_work work;
	char pattern[40];
	int status;
};

static void executing_fn(struct wq_work *work, void *ctx)
{
	struct executing *executing = ctx;
	pid_t pid = fork();

	if (!pid) {
		/* Not through a shell: some change the mask. */
		execlp("grep", "grep", "-q", executing->pattern, "/proc/self/status", (char *)NULL);
		_exit(9);
	}
	executing->status = child_status(pid);
}

static void fork_and_exec_from_an_item_start_with_the_processes_mask(void **state)
{
	struct executing executing;
	uint64_t bits;
	unsigned i;

	memcpy(&bits, &start_mask, sizeof(bits));
	snprintf(executing.pattern, sizeof(executing.pattern), "^SigBlk:.%016llx$",
		 (unsigned long long)bits);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("executing", kinds[i], 0);

		assert_non_null(wq);
		executing.status = -1;
		wq_work_init(&executing.work, executing_fn, &executing);
		wq_queue(wq, &executing.work);
		wq_work_flush(&executing.work);
		assert_int_equal(executing.status, 0);
		wq_destroy(wq);
	}
}

/* --- A dedicated queue --- */

struct where {
	struct wq_work work;
	pthread_t thread;
	char name[16];
};

static void where_fn(struct wq_work *work, void *ctx)
{
	struct where *where = ctx;

	where->thread = pthread_self();
	prctl(PR_GET_NAME, where->name);
}

static void dedicated_child(void *ctx)
{
	struct where a, b;

	wq_work_init(&a.work, where_fn, &a);
	wq_work_init(&b.work, where_fn, &b);
	CHECK_EQUAL(wq_queue(ctx, &a.work), 1);
	CHECK_EQUAL(wq_queue(ctx, &b.work), 1);
	CHECK_EQUAL(wq_flush(ctx), 0);
	CHECK(pthread_equal(a.thread, b.thread));
	CHECK(!strcmp(a.name, "wq/mine"));
	CHECK(!strcmp(b.name, "wq/mine"));
	CHECK_EQUAL(wq_destroy(ctx), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/mine", 0), 0);
}

static void fork_gives_a_dedicated_queue_a_thread_of_its_own(void **state)
{
	struct wq *wq = wq_alloc("mine", WQ_DEDICATED, 0);
	struct probe gate;

	skip_if_checker_hangs_children();
	assert_non_null(wq);
	assert_int_equal(in_child(dedicated_child, wq), 0);
	probe_init_gate(&gate);
	wq_queue(wq, &gate.work);
	latch_wait(&gate.started, 1);
	assert_int_equal(in_child(dedicated_child, wq), 0);
	latch_post(&gate.open);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(gate.runs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork_from_an_item_lets_the_child_use_the_library),
		cmocka_unit_test(fork_from_an_item_of_a_childs_child_works),
		cmocka_unit_test(fork_from_several_items_at_once_works),
		cmocka_unit_test(fork_from_an_item_that_returns_ends_the_child_as_by_exit),
		cmocka_unit_test(fork_and_exec_from_an_item_start_with_the_processes_mask),
		cmocka_unit_test(fork_gives_a_dedicated_queue_a_thread_of_its_own),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
