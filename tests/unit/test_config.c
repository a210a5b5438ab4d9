/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Settings: wq_configure() and the environment, and a process's end.  The program
 * runs itself again with the name of a scenario, which reports by its exit status.
 */
#include "process.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

static const char *self;

/* What an item sees of the worker that it runs on. */
struct view {
	struct wq_work work;
	size_t stack;
	cpu_set_t cpus;
	bool sigprof_blocked, unbound;
};

static void view_fn(struct wq_work *work, void *ctx)
{
	struct view *view = ctx;
	pthread_attr_t attr;
	char name[16];
	sigset_t mask;

	if (!pthread_getattr_np(pthread_self(), &attr)) {
		pthread_attr_getstacksize(&attr, &view->stack);
		pthread_attr_destroy(&attr);
	}
	sched_getaffinity(0, sizeof(view->cpus), &view->cpus);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	view->sigprof_blocked = sigismember(&mask, SIGPROF);
	pthread_getname_np(pthread_self(), name, sizeof(name));
	view->unbound = !strncmp(name, "wq/u", 4);
}

static struct view view_from(unsigned flags)
{
	struct wq *wq = wq_alloc("view", flags, 0);
	struct view view = {.stack = 0};

	wq_work_init(&view.work, view_fn, &view);
	wq_queue(wq, &view.work);
	wq_destroy(wq);
	return view;
}

static bool is_only_cpu(const cpu_set_t *cpus, int cpu)
{
	return CPU_COUNT(cpus) == 1 && CPU_ISSET(cpu, cpus);
}

#define STACK_BYTES (256u * 1024)

static bool is_small_stack(size_t bytes)
{
	return bytes >= STACK_BYTES && bytes < 2 * STACK_BYTES;
}

/* Items on all pools; how many were inside at once at most. */
struct crowd {
	struct wq_work works[12];
	unsigned long inside, most, ran;
};

static void crowd_fn(struct wq_work *work, void *ctx)
{
	struct crowd *crowd = ctx;
	struct timespec blocked = {.tv_nsec = 200000};
	unsigned long inside = count_up(&crowd->inside), most = count_get(&crowd->most);

	while (most < inside && !__atomic_compare_exchange_n(&crowd->most, &most, inside, false,
							     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	nanosleep(&blocked, NULL);
	count_up(&crowd->ran);
	count_add(&crowd->inside, -1ul);
}

static unsigned long crowd_most(unsigned long rounds)
{
	static const unsigned flags[] = {0,	     WQ_PERCPU,	 WQ_PERCPU | WQ_HIGHPRI,
					 WQ_HIGHPRI, WQ_ORDERED, WQ_PERCPU};
	struct wq *queues[ARRAY_SIZE(flags)];
	struct crowd crowd = {.most = 0};
	unsigned long round;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		queues[i] = wq_alloc("crowd", flags[i], 0);
	for (i = 0; i < ARRAY_SIZE(crowd.works); i++)
		wq_work_init(&crowd.works[i], crowd_fn, &crowd);
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < ARRAY_SIZE(crowd.works); i++) {
			int cpu = usable_cpu(i & 1);

			wq_queue_on(queues[i % ARRAY_SIZE(flags)], &crowd.works[i],
				    cpu < 0 ? 0 : cpu);
		}
		/* In the one order and in the other. */
		for (i = 0; i < ARRAY_SIZE(crowd.works); i++)
			wq_work_flush(&crowd.works[round & 1 ? 11 - i : i]);
	}
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		wq_destroy(queues[i]);
	return count_get(&crowd.ran) == rounds * ARRAY_SIZE(crowd.works) ? crowd.most : ULONG_MAX;
}

/* Many workers for items that wait for each other; how many stay. */
static unsigned workers_left(void)
{
	struct wq *wq = wq_alloc("many", 0, 0);
	struct probe gates[8];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		probe_init_gate(&gates[i]);
		wq_queue(wq, &gates[i].work);
	}
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_wait(&gates[i].started, 1);
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_post(&gates[i].open);
	wq_destroy(wq);
	return nr_threads_falls_to("wq/u", 2);
}

/* --- wq_configure() --- */

static int configured(void **state)
{
	const struct wq_config defaults = WQ_CONFIG_INIT;

	return wq_shutdown() || wq_configure(&defaults);
}

static void configure_refuses_bad_arguments(void **state)
{
	static const char *const lists[] = {"",	   "x",	   "-1",  "0-",	  "1-0",
					    "0,x", "0,,1", "0 x", "4095", "99999999999999999999"};
	struct wq_config config = WQ_CONFIG_INIT;
	unsigned i;

	assert_int_equal(wq_configure(NULL), -EINVAL);
	config.size--;
	assert_int_equal(wq_configure(&config), -EINVAL);
	config.size = 0;
	assert_int_equal(wq_configure(&config), -EINVAL);
	config.size = sizeof(config) + 8;
	assert_int_equal(wq_configure(&config), -EINVAL);
	config.size = sizeof(config);
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		config.unbound_cpus = lists[i];
		if (wq_configure(&config) != -EINVAL)
			fail_msg("the list \"%s\" is not refused", lists[i]);
	}
	config.unbound_cpus = NULL;
	config.stack_bytes = 1;
	assert_int_equal(wq_configure(&config), -EINVAL);
	config.stack_bytes = (size_t)PTHREAD_STACK_MIN - 1;
	assert_int_equal(wq_configure(&config), -EINVAL);
	config.stack_bytes = 0;
	config.topology = "node:2 core:none";
	assert_int_equal(wq_configure(&config), -EINVAL);
	config.topology = "";
	assert_int_equal(wq_configure(&config), -EINVAL);
	config.topology = "node:2 core:2 pu:1";
	config.unbound_cpus = "4";
	assert_int_equal(wq_configure(&config), -EINVAL);
	/* Nothing of all that has changed anything. */
	assert_false(is_small_stack(view_from(0).stack));
}

static void configure_after_the_start_answers_ebusy(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct wq *wq;

	assert_int_equal(wq_configure(&config), 0);
	assert_int_equal(wq_configure(&config), 0);
	wq = wq_alloc("q", 0, 0);
	assert_int_equal(wq_configure(&config), -EBUSY);
	wq_destroy(wq);
	assert_int_equal(wq_configure(&config), -EBUSY);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(wq_configure(&config), 0);
}

static void configure_stack_bytes_sizes_workers_stacks(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.stack_bytes = STACK_BYTES;
	assert_int_equal(wq_configure(&config), 0);
	assert_true(is_small_stack(view_from(0).stack));
	assert_true(is_small_stack(view_from(WQ_PERCPU).stack));
	assert_true(is_small_stack(view_from(WQ_DEDICATED).stack));
	/* It outlives the library's end, until it is set anew. */
	assert_int_equal(wq_shutdown(), 0);
	assert_true(is_small_stack(view_from(0).stack));
	assert_int_equal(wq_shutdown(), 0);
	config.stack_bytes = 0;
	assert_int_equal(wq_configure(&config), 0);
	assert_false(is_small_stack(view_from(0).stack));
}

static void configure_unbound_cpus_pins_unbound_items(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct view view;
	cpu_set_t all;
	char list[40];
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	sched_getaffinity(0, sizeof(all), &all);
	for (i = 0; (cpu = usable_cpu(i)) >= 0 && i < 4; i++) {
		snprintf(list, sizeof(list), i & 1 ? "%d,4095" : "%d-%d", cpu, cpu);
		config.unbound_cpus = list;
		assert_int_equal(wq_configure(&config), 0);
		memset(list, 'x', sizeof(list) - 1);
		view = view_from(0);
		assert_true(is_only_cpu(&view.cpus, cpu));
		view = view_from(WQ_ORDERED);
		assert_true(is_only_cpu(&view.cpus, cpu));
		/* Per-CPU ones go where they are sent. */
		assert_false(view_from(WQ_PERCPU).unbound);
		assert_int_equal(wq_shutdown(), 0);
	}
	config.unbound_cpus = "0-4095";
	assert_int_equal(wq_configure(&config), 0);
	view = view_from(0);
	assert_true(CPU_EQUAL(&view.cpus, &all));
}

static void configure_max_threads_bounds_what_runs_at_once(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	unsigned max;

	for (max = 1; max <= 3; max++) {
		unsigned long most;

		config.max_threads = max;
		assert_int_equal(wq_configure(&config), 0);
		most = crowd_most(scaled(10));
		assert_in_range(most, 1, max);
		assert_int_equal(wq_shutdown(), 0);
	}
}

static void configure_idle_timeout_ends_idle_workers(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.idle_timeout_ms = 20;
	assert_int_equal(wq_configure(&config), 0);
	assert_in_range(workers_left(), 0, 2);
	/* What is left goes on. */
	assert_true(view_from(0).unbound);
}

static void configure_power_efficient_makes_such_queues_unbound(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct view view = {.unbound = false};

	assert_false(view_from(WQ_POWER_EFFICIENT).unbound);
	assert_int_equal(wq_shutdown(), 0);
	config.power_efficient = true;
	assert_int_equal(wq_configure(&config), 0);
	assert_true(view_from(WQ_POWER_EFFICIENT).unbound);
	assert_false(view_from(WQ_PERCPU).unbound);
	wq_work_init(&view.work, view_fn, &view);
	assert_int_equal(wq_queue(wq_system_power_efficient(), &view.work), 1);
	wq_work_flush(&view.work);
	assert_true(view.unbound);
}

static void configure_block_sigprof_lets_a_profiler_in(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;

	assert_true(view_from(0).sigprof_blocked);
	assert_int_equal(wq_shutdown(), 0);
	config.block_sigprof = false;
	assert_int_equal(wq_configure(&config), 0);
	assert_false(view_from(0).sigprof_blocked);
	assert_false(view_from(WQ_PERCPU).sigprof_blocked);
	assert_false(view_from(WQ_DEDICATED).sigprof_blocked);
}

static void configure_spinning_off_works(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	unsigned long i, nr = scaled(1000);
	struct probe probe;

	config.spin_max_us = 0;
	config.cpu_intensive_us = 0;
	assert_int_equal(wq_configure(&config), 0);
	probe_init(&probe);
	for (i = 0; i < nr; i++) {
		wq_schedule(&probe.work);
		wq_work_flush(&probe.work);
	}
	assert_int_equal(probe.runs, nr);
}

/* --- The environment --- */

static void see_defaults(void)
{
	struct view view = view_from(0);
	cpu_set_t all;

	sched_getaffinity(0, sizeof(all), &all);
	CHECK(!is_small_stack(view.stack));
	CHECK(view.sigprof_blocked);
	CHECK(CPU_EQUAL(&view.cpus, &all));
	CHECK(!view_from(WQ_POWER_EFFICIENT).unbound);
	CHECK(crowd_most(10) > 1);
}

static void see_stack(void)
{
	CHECK(is_small_stack(view_from(0).stack));
}

/* Where the program says otherwise too. */
static void see_stack_wins(void)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.stack_bytes = 16 * STACK_BYTES;
	CHECK_EQUAL(wq_configure(&config), 0);
	CHECK(is_small_stack(view_from(0).stack));
	CHECK_EQUAL(wq_shutdown(), 0);
	/* The environment is read anew, and what the program said is kept. */
	unsetenv("WQ_STACK_BYTES");
	CHECK(view_from(0).stack >= 16 * STACK_BYTES);
}

static void see_cpu(void)
{
	struct view view = view_from(0);

	CHECK(is_only_cpu(&view.cpus, usable_cpu(0)));
}

static void see_two_threads(void)
{
	CHECK(crowd_most(10) <= 2);
}

static void see_few_idle(void)
{
	CHECK(workers_left() <= 2);
}

static void see_power_efficient(void)
{
	CHECK(view_from(WQ_POWER_EFFICIENT).unbound);
}

static void see_sigprof_open(void)
{
	CHECK(!view_from(0).sigprof_blocked);
}

static const struct scenario {
	const char *name;
	void (*fn)(void);
} scenarios[] = {
	{"defaults", see_defaults},
	{"stack", see_stack},
	{"stack_wins", see_stack_wins},
	{"cpu", see_cpu},
	{"two_threads", see_two_threads},
	{"few_idle", see_few_idle},
	{"power_efficient", see_power_efficient},
	{"sigprof_open", see_sigprof_open},
};

/* The scenario's exit status, and what it says on standard error. */
static int run_self(const char *scenario, char *env, char *said, size_t bytes)
{
	int ends[2], status;
	size_t len = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (!pid) {
		watchdog();
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		putenv(env);
		execl(self, self, scenario, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	while (len + 1 < bytes && (got = read(ends[0], said + len, bytes - 1 - len)) > 0)
		len += (size_t)got;
	said[len] = '\0';
	close(ends[0]);
	status = child_status(pid);
	return status;
}

static void environment_sets_what_it_names(void **state)
{
	static const char *const cases[][2] = {
		{"stack", "WQ_STACK_BYTES=262144"},
		{"stack_wins", "WQ_STACK_BYTES=262144"},
		{"two_threads", "WQ_MAX_THREADS=2"},
		{"few_idle", "WQ_IDLE_TIMEOUT_MS=20"},
		{"power_efficient", "WQ_POWER_EFFICIENT=1"},
		{"sigprof_open", "WQ_BLOCK_SIGPROF=0"},
		{"defaults", "WQ_SPIN_MAX_US=0"},
		{"defaults", "WQ_CPU_INTENSIVE_US=0"},
		{"defaults", "WQ_MAX_THREADS=0"},
	};
	char said[2000], env[80];
	unsigned i;

	skip_if_cpus_are_pretended();
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		strcpy(env, cases[i][1]);
		if (run_self(cases[i][0], env, said, sizeof(said)) || said[0])
			fail_msg("%s with %s: %s", cases[i][0], env, said);
	}
	snprintf(env, sizeof(env), "WQ_UNBOUND_CPUS=%d", usable_cpu(0));
	assert_int_equal(run_self("cpu", env, said, sizeof(said)), 0);
	assert_string_equal(said, "");
}

static void environment_with_a_bad_value_is_reported_once_and_not_used(void **state)
{
	static const char *const bad[] = {
		"WQ_STACK_BYTES=5",	    "WQ_STACK_BYTES=many",
		"WQ_STACK_BYTES=-1",	    "WQ_STACK_BYTES=99999999999999999999999",
		"WQ_MAX_THREADS=x",	    "WQ_MAX_THREADS=-1",
		"WQ_MAX_THREADS=1x",	    "WQ_MAX_THREADS=99999999999",
		"WQ_IDLE_TIMEOUT_MS=soon",  "WQ_SPIN_MAX_US=-1",
		"WQ_CPU_INTENSIVE_US=1.5",  "WQ_POWER_EFFICIENT=maybe",
		"WQ_BLOCK_SIGPROF=perhaps", "WQ_UNBOUND_CPUS=x",
		"WQ_UNBOUND_CPUS=4095",	    "WQ_UNBOUND_CPUS=0-",
		"WQ_TOPOLOGY=node:2",	    "WQ_TOPOLOGY=",
	};
	char said[2000], env[80], name[40];
	unsigned i;
	int status;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		strcpy(env, bad[i]);
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(bad[i], "="), bad[i]);
		status = run_self("defaults", env, said, sizeof(said));
		if (status || !strstr(said, name) || strchr(said, '\n') != said + strlen(said) - 1)
			fail_msg("%s: status %d, said: %s", env, status, said);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(configure_refuses_bad_arguments, configured),
		cmocka_unit_test_setup(configure_after_the_start_answers_ebusy, configured),
		cmocka_unit_test_setup(configure_stack_bytes_sizes_workers_stacks, configured),
		cmocka_unit_test_setup(configure_unbound_cpus_pins_unbound_items, configured),
		cmocka_unit_test_setup(configure_max_threads_bounds_what_runs_at_once, configured),
		cmocka_unit_test_setup(configure_idle_timeout_ends_idle_workers, configured),
		cmocka_unit_test_setup(configure_power_efficient_makes_such_queues_unbound,
				       configured),
		cmocka_unit_test_setup(configure_block_sigprof_lets_a_profiler_in, configured),
		cmocka_unit_test_setup(configure_spinning_off_works, configured),
		cmocka_unit_test(environment_sets_what_it_names),
		cmocka_unit_test(environment_with_a_bad_value_is_reported_once_and_not_used),
	};
	unsigned i;

	self = argv[0];
	for (i = 0; argc == 2 && i < ARRAY_SIZE(scenarios); i++) {
		if (!strcmp(argv[1], scenarios[i].name)) {
			scenarios[i].fn();
			return 0;
		}
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
