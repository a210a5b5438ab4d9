/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shared library opened and closed at run time: it stays, as its threads do.
 * usage: test_dlopen LIBRARY.  Not linked with libwq: of the test support only macros are used.
 */
#include "process.h"

#include <dlfcn.h>
#include <sys/wait.h>

static const char *library;

static struct api {
	__typeof__(&wq_alloc) alloc;
	__typeof__(&wq_destroy) destroy;
	__typeof__(&wq_queue) queue;
	__typeof__(&wq_flush) flush;
	__typeof__(&wq_call) call;
	__typeof__(&wq_system) system;
	__typeof__(&wq_work_flush) work_flush;
	__typeof__(&wq_work_busy) work_busy;
	__typeof__(&wq_shutdown) shutdown;
} api;

static void *symbol(void *handle, const char *name)
{
	void *address = dlsym(handle, name);

	if (!address)
		fail_msg("%s: %s", name, dlerror());
	return address;
}

static void *open_library(void)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		fail_msg("%s", dlerror());
	api.alloc = (__typeof__(api.alloc))symbol(handle, "wq_alloc");
	api.destroy = (__typeof__(api.destroy))symbol(handle, "wq_destroy");
	api.queue = (__typeof__(api.queue))symbol(handle, "wq_queue");
	api.flush = (__typeof__(api.flush))symbol(handle, "wq_flush");
	api.call = (__typeof__(api.call))symbol(handle, "wq_call");
	api.system = (__typeof__(api.system))symbol(handle, "wq_system");
	api.work_flush = (__typeof__(api.work_flush))symbol(handle, "wq_work_flush");
	api.work_busy = (__typeof__(api.work_busy))symbol(handle, "wq_work_busy");
	api.shutdown = (__typeof__(api.shutdown))symbol(handle, "wq_shutdown");
	return handle;
}

static void count_fn(struct wq_work *work, void *ctx)
{
	count_up((unsigned long *)ctx);
}

static void count_call_fn(void *ctx)
{
	count_up((unsigned long *)ctx);
}

static void use(unsigned flags)
{
	unsigned long runs = 0;
	struct wq_work work = WQ_WORK_INIT(count_fn, &runs);
	struct wq *wq = api.alloc("dlopen", flags, 0);

	assert_non_null(wq);
	assert_int_equal(api.queue(wq, &work), 1);
	assert_int_equal(api.call(wq, count_call_fn, &runs), 1);
	assert_int_equal(api.flush(wq), 0);
	assert_int_equal(api.queue(api.system(), &work), 1);
	assert_true(api.work_flush(&work) >= 0);
	assert_int_equal(api.destroy(wq), 0);
	assert_int_equal(count_get(&runs), 3);
}

static void dlclose_leaves_the_library_usable(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_DEDICATED};
	void *first = NULL;
	unsigned i;

	for (i = 0; i < 100; i++) {
		void *handle = open_library();

		if (!first)
			first = (void *)api.alloc;
		assert_ptr_equal((void *)api.alloc, first);
		use(kinds[i % ARRAY_SIZE(kinds)]);
		assert_int_equal(dlclose(handle), 0);
		use(kinds[i / 4 % ARRAY_SIZE(kinds)]);
		if (i % 8 == 7)
			assert_int_equal(api.shutdown(), 0);
	}
}

static void gate_fn(struct wq_work *work, void *ctx)
{
	int *ends = ctx;
	char c;

	if (write(ends[3], "s", 1) != 1 || read(ends[0], &c, 1) != 1)
		abort();
}

static void dlclose_beside_a_running_item_lets_it_end(void **state)
{
	void *handle = open_library();
	unsigned long runs = 0;
	struct wq *wq = api.alloc("gate", WQ_ORDERED, 0);
	int ends[4];
	struct wq_work gate = WQ_WORK_INIT(gate_fn, ends);
	struct wq_work behind = WQ_WORK_INIT(count_fn, &runs);
	char c;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pipe(ends + 2), 0);
	assert_int_equal(api.queue(wq, &gate), 1);
	assert_int_equal(api.queue(wq, &behind), 1);
	assert_int_equal(read(ends[2], &c, 1), 1);
	assert_int_equal(dlclose(handle), 0);
	assert_int_equal(write(ends[1], "o", 1), 1);
	assert_int_equal(api.destroy(wq), 0);
	assert_int_equal(runs, 1);
	assert_int_equal(api.work_busy(&gate), 0);
}

static void dlclose_keeps_fork_handled(void **state)
{
	void *handle = open_library();
	unsigned long runs = 0;
	struct wq *wq = api.alloc("fork", 0, 0);
	struct wq_work work = WQ_WORK_INIT(count_fn, &runs);
	int status;
	pid_t pid;

	assert_int_equal(api.queue(wq, &work), 1);
	api.work_flush(&work);
	assert_int_equal(dlclose(handle), 0);
	pid = fork();
	if (!pid) {
		alarm(60);
		if (api.queue(wq, &work) == 1 && !api.destroy(wq) && count_get(&runs) == 2)
			execlp("true", "true", (char *)NULL); /* no leak checker at its exit */
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(api.destroy(wq), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dlclose_leaves_the_library_usable),
		cmocka_unit_test(dlclose_beside_a_running_item_lets_it_end),
		cmocka_unit_test(dlclose_keeps_fork_handled),
	};

	if (argc != 2)
		return 99;
	library = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
