/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUs that go and come, the process's affinity and its cpuset, all changed under load.
 * Only for a machine of one's own: see guest.h.
 */
#include "guest.h"
#include "load.h"

#include <dirent.h>
#include <time.h>

#include <wq/wq.h>

/* What takes CPUs away, and gives all back. */
struct change {
	void (*take)(const cpu_set_t *left);
	void (*give)(void);
};

static void set_online(const cpu_set_t *set)
{
	int cpu;

	for (cpu = 1; cpu < NR_CPUS; cpu++)
		guest_set_online(cpu, CPU_ISSET(cpu, set));
}

static void all_cpus(cpu_set_t *set)
{
	int cpu;

	CPU_ZERO(set);
	for (cpu = 0; cpu < NR_CPUS; cpu++)
		CPU_SET(cpu, set);
}

static void all_online(void)
{
	cpu_set_t all;

	all_cpus(&all);
	set_online(&all);
}

/* The main thread's stands for the process. */
static void set_affinity(const cpu_set_t *set)
{
	assert_int_equal(sched_setaffinity(0, sizeof(*set), set), 0);
}

static void full_affinity(void)
{
	cpu_set_t all;

	all_cpus(&all);
	set_affinity(&all);
}

static void set_cpuset(const cpu_set_t *set)
{
	char list[3 * NR_CPUS] = "";
	unsigned used = 0;
	int cpu;

	for (cpu = 0; cpu < NR_CPUS; cpu++)
		if (CPU_ISSET(cpu, set))
			used += (unsigned)snprintf(list + used, sizeof(list) - used, "%s%d",
						   used ? "," : "", cpu);
	guest_set_cpuset(list);
}

static void full_cpuset(void)
{
	guest_set_cpuset(NULL);
}

static const struct change hotplug = {set_online, all_online},
			   affinity = {set_affinity, full_affinity},
			   cpuset = {set_cpuset, full_cpuset};

/* CPU 0 and some others; or all of the first node. */
static void choose_left(cpu_set_t *left, unsigned round, uint64_t *random)
{
	uint64_t bits = round % 4 == 3 ? 0xf : random_next(random);
	int cpu;

	CPU_ZERO(left);
	CPU_SET(0, left);
	for (cpu = 1; cpu < NR_CPUS; cpu++)
		if (bits >> cpu & 1)
			CPU_SET(cpu, left);
}

#define ITEMS_BETWEEN 100
#define NR_ROUNDS     40 /* emulated, four: the last is that of the node */

static void changes_lose_nothing(const struct change *change)
{
	unsigned round, nr_rounds = (unsigned)scaled(NR_ROUNDS);
	struct load *load = load_start();
	uint64_t random = test_seed();
	cpu_set_t left;

	for (round = 0; round < nr_rounds; round++) {
		choose_left(&left, round, &random);
		change->take(&left);
		load_progress(load, ITEMS_BETWEEN);
		change->give();
		load_progress(load, ITEMS_BETWEEN);
	}
	load_stop_and_check(load);
}

static void hotplug_under_load_loses_nothing(void **state)
{
	changes_lose_nothing(&hotplug);
}

static void affinity_changed_under_load_loses_nothing(void **state)
{
	changes_lose_nothing(&affinity);
}

static void cpuset_changed_under_load_loses_nothing(void **state)
{
	changes_lose_nothing(&cpuset);
}

static void note_cpu(void *ctx)
{
	*(int *)ctx = sched_getcpu();
}

static void note_cpu_fn(struct wq_work *work, void *ctx)
{
	note_cpu(ctx);
}

/* Items of these CPUs run there; of others, on any of these. */
static void items_run_where_they_should(struct wq *percpu, const cpu_set_t *usable)
{
	struct wq_work work;
	int cpu, ran;

	for (cpu = 0; cpu < NR_CPUS; cpu++) {
		bool there = CPU_ISSET(cpu, usable);

		ran = -1;
		assert_int_equal(wq_run_on(cpu, note_cpu, &ran), there ? 0 : -ENODEV);
		assert_int_equal(ran, there ? cpu : -1);
		ran = -1;
		wq_work_init(&work, note_cpu_fn, &ran);
		assert_int_equal(wq_queue_on(percpu, &work, cpu), 1);
		wq_work_flush(&work);
		assert_in_range(ran, 0, NR_CPUS - 1);
		assert_true(there ? ran == cpu : CPU_ISSET(ran, usable));
	}
}

static void refresh_settles(const struct change *change)
{
	unsigned round, nr_rounds = (unsigned)scaled(NR_ROUNDS);
	struct wq *percpu = wq_alloc("percpu", WQ_PERCPU, 0);
	struct load *load = load_start();
	uint64_t random = test_seed();
	cpu_set_t left, all;

	all_cpus(&all);
	for (round = 0; round < nr_rounds; round++) {
		choose_left(&left, round, &random);
		change->take(&left);
		assert_int_equal(wq_topology_refresh(), 0);
		items_run_where_they_should(percpu, &left);
		change->give();
		assert_int_equal(wq_topology_refresh(), 0);
		items_run_where_they_should(percpu, &all);
	}
	load_stop_and_check(load);
	assert_int_equal(wq_destroy(percpu), 0);
}

static void hotplug_once_refreshed_is_settled(void **state)
{
	refresh_settles(&hotplug);
}

static void affinity_once_refreshed_is_settled(void **state)
{
	refresh_settles(&affinity);
}

static void cpuset_once_refreshed_is_settled(void **state)
{
	refresh_settles(&cpuset);
}

/* What taskset -a does. */
static void set_affinity_of_all(const cpu_set_t *set)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;

	assert_non_null(tasks);
	while ((task = readdir(tasks)))
		if (task->d_name[0] != '.')
			sched_setaffinity(atoi(task->d_name), sizeof(*set), set);
	closedir(tasks);
}

static void full_affinity_of_all(void)
{
	cpu_set_t all;

	all_cpus(&all);
	set_affinity_of_all(&all);
}

/* About a second is promised: emulated, and beside others, that may last. */
#define NOTICED_WITHIN_S 30

static void run_on_answers_in_time(int expected)
{
	struct timespec start, now;
	double seconds = 0;
	int ran;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (wq_run_on(NR_CPUS - 1, note_cpu, &ran) != expected) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		seconds = (double)(now.tv_sec - start.tv_sec) +
			  (double)(now.tv_nsec - start.tv_nsec) / 1e9;
		assert_true(seconds < NOTICED_WITHIN_S);
		sched_yield();
	}
	print_message("noticed after %.1f s\n", seconds);
}

/* ... while items run. */
static void changes_are_noticed_without_a_call(void **state)
{
	static const struct change affinity_of_all = {set_affinity_of_all, full_affinity_of_all};
	static const struct change *const changes[] = {&hotplug, &affinity_of_all, &cpuset};
	struct load *load = load_start();
	cpu_set_t left;
	unsigned i;

	all_cpus(&left);
	CPU_CLR(NR_CPUS - 1, &left);
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		changes[i]->take(&left);
		run_on_answers_in_time(-ENODEV);
		changes[i]->give();
		run_on_answers_in_time(0);
	}
	load_stop_and_check(load);
}

/* No item runs, so that the monitor sleeps: the kernel's announcement it is. */
static void hotplug_is_noticed_while_all_is_idle(void **state)
{
	struct wq *percpu = wq_alloc("percpu", WQ_PERCPU, 0);
	struct probe probe;
	cpu_set_t set;
	unsigned i;

	probe_init(&probe);
	assert_int_equal(wq_queue_on(percpu, &probe.work, 0), 1);
	assert_int_equal(wq_flush(percpu), 0);
	for (i = 0; i < 2; i++) {
		guest_set_online(NR_CPUS - 1, false);
		while (wq_pool_cpus_read(percpu, NR_CPUS - 1, &set, sizeof(set)) != -EINVAL)
			sched_yield();
		guest_set_online(NR_CPUS - 1, true);
		while (wq_pool_cpus_read(percpu, NR_CPUS - 1, &set, sizeof(set)))
			sched_yield();
	}
	assert_int_equal(wq_destroy(percpu), 0);
}

/* Also after a test that failed half-way. */
static int give_all_back(void **state)
{
	all_online();
	full_cpuset();
	full_affinity();
	return wq_topology_refresh();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(hotplug_under_load_loses_nothing, give_all_back),
		cmocka_unit_test_teardown(affinity_changed_under_load_loses_nothing, give_all_back),
		cmocka_unit_test_teardown(cpuset_changed_under_load_loses_nothing, give_all_back),
		cmocka_unit_test_teardown(hotplug_once_refreshed_is_settled, give_all_back),
		cmocka_unit_test_teardown(affinity_once_refreshed_is_settled, give_all_back),
		cmocka_unit_test_teardown(cpuset_once_refreshed_is_settled, give_all_back),
		cmocka_unit_test_teardown(changes_are_noticed_without_a_call, give_all_back),
		cmocka_unit_test_teardown(hotplug_is_noticed_while_all_is_idle, give_all_back),
	};

	if (!guest_is_own()) {
		puts("only in a machine of its own");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
