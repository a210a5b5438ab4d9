/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of a process: exit(), also in an item, and what runs after it. */
#include "process.h"

static void say(const char *what)
{
	if (write(1, what, strlen(what)) < 0)
		_exit(20);
}

static void say_fn(struct wq_work *work, void *ctx)
{
	say(ctx);
}

static void use(const char *what)
{
	struct wq_work work = WQ_WORK_INIT(say_fn, (void *)(uintptr_t)what);
	struct wq *wq = wq_alloc("use", 0, 0);

	CHECK_EQUAL(wq_schedule(&work), 1);
	CHECK(wq_work_flush(&work) >= 0);
	CHECK_EQUAL(wq_queue(wq, &work), 1);
	CHECK_EQUAL(wq_destroy(wq), 0);
}

static void first_handler(void)
{
	use("a");
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
	say("b");
}

static void second_handler(void)
{
	use("c");
}

static void exiting(void *ctx)
{
	atexit(first_handler);
	use("d");
	atexit(second_handler);
	exit(3);
}

/* The item goes on while handlers run. */
static void exiting_beside_an_item(void *ctx)
{
	static struct probe gate;

	probe_init_gate(&gate);
	CHECK_EQUAL(wq_schedule(&gate.work), 1);
	latch_wait(&gate.started, 1);
	atexit(second_handler);
	exit(4);
}

static void exiting_fn(struct wq_work *work, void *ctx)
{
	exit(5);
}

static void exiting_in_an_item(void *ctx)
{
	struct wq_work work = WQ_WORK_INIT(exiting_fn, NULL);

	atexit(second_handler);
	CHECK_EQUAL(wq_queue(wq_system_percpu(), &work), 1);
	for (;;)
		pause();
}

static void say_in_child(void (*fn)(void *ctx), int status, const char *said)
{
	char buf[40];
	int ends[2];
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		watchdog();
		dup2(ends[1], 1);
		fn(NULL);
		_exit(21);
	}
	close(ends[1]);
	assert_int_equal(child_status(pid), status);
	got = read(ends[0], buf, sizeof(buf) - 1);
	assert_true(got >= 0);
	buf[got] = '\0';
	assert_string_equal(buf, said);
	close(ends[0]);
}

static void exit_handlers_can_use_the_library(void **state)
{
	assert_int_equal(wq_shutdown(), 0);
	say_in_child(exiting, 3, "ddccaab");
	say_in_child(exiting_beside_an_item, 4, "cc");
}

static void exit_in_an_item_ends_the_process(void **state)
{
	say_in_child(exiting_in_an_item, 5, "cc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_handlers_can_use_the_library),
		cmocka_unit_test(exit_in_an_item_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
