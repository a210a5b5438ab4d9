/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Machines as hwloc describes them, and how their CPUs are divided by scope. */
#include "process.h"

#include <sched.h>
#include <unistd.h>

#include "config.h"
#include "cpu.h"
#include "runtime.h"
#include "testing.h"
#include "topology.h"

static const char *sources; /* directory of the XML files */

static struct wqi_topology *read_topology(const char *description)
{
	struct wqi_topology *topology = NULL;
	int err = wqi_topology_read(description, &topology);

	if (err)
		fail_msg("\"%s\": %d", description ? description : "this machine", err);
	assert_int_equal(topology->pretended, description != NULL);
	return topology;
}

static struct wqi_topology *read_file(const char *name)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/%s", sources, name);
	return read_topology(path);
}

static bool has(const struct wqi_topology *topology, unsigned cpu)
{
	return CPU_ISSET_S(cpu, sizeof(topology->cpus), topology->cpus.set);
}

/* Groups of @inner are inside those of @outer. */
static void check_nested(const struct wqi_topology *topology, unsigned inner, unsigned outer)
{
	unsigned cpu, before;

	for (cpu = 0; cpu < topology->nr_cpus; cpu++)
		for (before = 0; has(topology, cpu) && before < cpu; before++)
			if (has(topology, before) &&
			    topology->group[inner][cpu] == topology->group[inner][before])
				assert_int_equal(topology->group[outer][cpu],
						 topology->group[outer][before]);
}

/* What holds for every machine. */
static void check_rules(const struct wqi_topology *topology)
{
	unsigned scope, cpu, next;

	assert_in_range(topology->nr_cpus, 1, WQ_MAX_CPUS);
	assert_true(has(topology, topology->nr_cpus - 1));
	assert_in_range(topology->nr_nodes, 1, WQ_MAX_NODES);
	for (scope = 0; scope < WQI_NR_SCOPES; scope++) {
		for (cpu = next = 0; cpu < topology->nr_cpus; cpu++) {
			if (!has(topology, cpu)) {
				assert_int_equal(topology->group[scope][cpu], WQI_NO_GROUP);
				continue;
			}
			assert_in_range(topology->group[scope][cpu], 0, next);
			next += topology->group[scope][cpu] == next;
			assert_in_range(topology->node[cpu], 0, topology->nr_nodes - 1);
		}
		assert_int_equal(topology->nr_groups[scope], next);
	}
	assert_int_equal(topology->nr_groups[WQ_AFFN_SYSTEM], 1);
	assert_int_equal(topology->nr_groups[WQ_AFFN_CPU],
			 CPU_COUNT_S(sizeof(topology->cpus), topology->cpus.set));
	check_nested(topology, WQ_AFFN_SMT, WQ_AFFN_CACHE_SHARD);
	check_nested(topology, WQ_AFFN_CACHE_SHARD, WQ_AFFN_CACHE);
	check_nested(topology, WQ_AFFN_SMT, WQ_AFFN_NUMA);
}

/* Number of the cores, which is that of SMT groups, of which CPUs are in @group of @scope. */
static unsigned cores_of(const struct wqi_topology *topology, unsigned scope, unsigned group)
{
	unsigned cpu, nr = 0, next = 0;

	for (cpu = 0; cpu < topology->nr_cpus; cpu++) {
		if (!has(topology, cpu) || topology->group[WQ_AFFN_SMT][cpu] < next)
			continue;
		next++;
		nr += topology->group[scope][cpu] == group;
	}
	return nr;
}

/* Each cache has round(cores / 8) shards, at least one, whose sizes differ by one at most. */
static void check_shards(const struct wqi_topology *topology)
{
	unsigned cache, cpu, cores, shards, of, last = WQI_NO_GROUP, nr;

	for (cache = 0; cache < topology->nr_groups[WQ_AFFN_CACHE]; cache++) {
		cores = cores_of(topology, WQ_AFFN_CACHE, cache);
		shards = (cores + 4) / 8 ? (cores + 4) / 8 : 1;
		for (cpu = nr = 0; cpu < topology->nr_cpus; cpu++) {
			of = topology->group[WQ_AFFN_CACHE_SHARD][cpu];
			if (topology->group[WQ_AFFN_CACHE][cpu] != cache || of == last)
				continue;
			assert_in_range(cores_of(topology, WQ_AFFN_CACHE_SHARD, of), cores / shards,
					(cores + shards - 1) / shards);
			last = of;
			nr++;
		}
		/* In the machines of these tests CPUs of a shard come one after the other. */
		assert_int_equal(nr, shards);
	}
}

static void check_nr_groups(const struct wqi_topology *topology, const char *description,
			    const unsigned *expected)
{
	unsigned scope;

	for (scope = 0; scope < WQI_NR_SCOPES; scope++)
		if (topology->nr_groups[scope] != expected[scope])
			fail_msg("%s: %u groups of scope %u, not %u", description,
				 topology->nr_groups[scope], scope, expected[scope]);
}

static void topology_synthetic_has_the_groups_that_it_describes(void **state)
{
	static const struct {
		const char *description;
		unsigned nodes, groups[WQI_NR_SCOPES]; /* cpu, smt, cache, shard, numa, system */
	} cases[] = {
		{"pu:1", 1, {1, 1, 1, 1, 1, 1}},
		{"8", 1, {8, 8, 1, 1, 1, 1}},
		{"core:11 pu:2", 1, {22, 11, 1, 1, 1, 1}},
		{"core:12 pu:2", 1, {24, 12, 1, 2, 1, 1}},
		{"l3:2 core:21 pu:1", 1, {42, 42, 2, 6, 1, 1}},
		{"node:2 core:4 pu:2", 2, {16, 8, 2, 2, 2, 1}},
		{"node:2 l3:3 core:1 pu:2", 2, {12, 6, 2, 2, 2, 1}},
		{"node:1 l2:4 core:2 pu:2", 1, {16, 8, 4, 4, 1, 1}},
		{"pack:2 l3:1 l2:4 core:1 pu:2", 1, {16, 8, 2, 2, 1, 1}},
		{"l3:1 node:4 core:4 pu:1", 4, {16, 16, 1, 2, 4, 1}},
		{"pack:2 [numa(memory=1GB)] [numa(memory=1GB)] core:4 pu:1", 4, {8, 8, 2, 2, 2, 1}},
		{"node:4 l3:2 core:8 pu:2", 4, {128, 64, 8, 8, 4, 1}},
		{"node:16 l3:4 core:8 pu:2", 16, {1024, 512, 64, 64, 16, 1}},
	};
	struct wqi_topology *topology;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		topology = read_topology(cases[i].description);
		check_rules(topology);
		check_shards(topology);
		check_nr_groups(topology, cases[i].description, cases[i].groups);
		assert_int_equal(topology->nr_nodes, cases[i].nodes);
		wqi_topology_free(topology);
	}
}

static void check_groups(const struct wqi_topology *topology, unsigned scope, const uint16_t *cpus,
			 const uint16_t *groups, unsigned nr)
{
	unsigned i;

	assert_int_equal(CPU_COUNT_S(sizeof(topology->cpus), topology->cpus.set), nr);
	for (i = 0; i < nr; i++)
		if (topology->group[scope][cpus[i]] != groups[i])
			fail_msg("scope %u: CPU %u is in %u, not %u", scope, cpus[i],
				 topology->group[scope][cpus[i]], groups[i]);
}

/*
 * Package 0: two kinds of memory, a cache of two cores and one of a single core, of which
 * CPU 9 is not allowed.  Package 1: memory at one half only, a cache at the other.
 * Package 2: no memory; a cache of two cores, one of a single core, and a core without.
 * Node 0 has no CPUs; the numbers of CPUs have holes.
 */
static void topology_of_an_odd_machine_is_divided_sensibly(void **state)
{
	static const uint16_t cpus[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 14, 17, 18};
	static const uint16_t smt[] = {0, 1, 2, 3, 0, 1, 4, 5, 6, 7, 8, 9, 10};
	static const uint16_t cache[] = {0, 0, 1, 1, 0, 0, 2, 2, 3, 4, 4, 5, 5};
	static const uint16_t numa[] = {0, 0, 1, 1, 0, 0, 1, 1, 0, 2, 2, 2, 2};
	static const uint16_t nodes[] = {2, 2, 1, 1, 2, 2, 1, 1, 2, 0, 0, 0, 0};
	struct wqi_topology *topology = read_file("topology_odd.xml");
	unsigned i, nr = ARRAY_SIZE(cpus);

	check_rules(topology);
	check_groups(topology, WQ_AFFN_SMT, cpus, smt, nr);
	check_groups(topology, WQ_AFFN_CACHE, cpus, cache, nr);
	check_groups(topology, WQ_AFFN_CACHE_SHARD, cpus, cache, nr);
	check_groups(topology, WQ_AFFN_NUMA, cpus, numa, nr);
	for (i = 0; i < nr; i++)
		assert_int_equal(topology->node[cpus[i]], nodes[i]);
	assert_int_equal(topology->nr_nodes, 5);
	wqi_topology_free(topology);
}

static void topology_without_cores_takes_each_cpu_for_one(void **state)
{
	static const uint16_t cpus[] = {1, 3, 4}, each[] = {0, 1, 2}, all[] = {0, 0, 0};
	struct wqi_topology *topology = read_file("topology_bare.xml");

	check_rules(topology);
	check_groups(topology, WQ_AFFN_SMT, cpus, each, 3);
	check_groups(topology, WQ_AFFN_CACHE, cpus, all, 3);
	check_groups(topology, WQ_AFFN_NUMA, cpus, all, 3);
	wqi_topology_free(topology);
}

static void topology_of_this_machine_has_the_usable_cpus(void **state)
{
	struct wqi_topology *topology;
	wqi_cpu_mask usable, after;

	memset(&usable, 0, sizeof(usable));
	memset(&after, 0, sizeof(after));
	assert_int_equal(sched_getaffinity(getpid(), sizeof(usable), usable.set), 0);
	errno = 77;
	topology = read_topology(NULL);
	assert_int_equal(errno, 77);
	check_rules(topology);
	assert_memory_equal(&topology->cpus, &usable, sizeof(usable));
	wqi_topology_free(topology);
	assert_int_equal(sched_getaffinity(0, sizeof(after), after.set), 0);
	assert_memory_equal(&after, &usable, sizeof(usable));
}

/* What a function prints on standard error. */
static size_t said_of(void (*fn)(void))
{
	int ends[2], err = dup(STDERR_FILENO);
	char said[256];
	ssize_t got;

	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	fn();
	fflush(stderr);
	dup2(err, STDERR_FILENO);
	close(err);
	got = read(ends[0], said, sizeof(said));
	close(ends[0]);
	return got > 0 ? (size_t)got : 0;
}

static const char *refused; /* the first that is not refused as it should */

static void read_bad(void)
{
	static char longest[5001];
	const char *const bad[] = {"",
				   "nonsense",
				   "node:0",
				   "core:0 pu:2",
				   "core:99999999",
				   "pu:99999999",
				   "64 64 2",
				   "pu:4097",
				   "pu:-1",
				   "pu:99999999999999999999999",
				   "node:2 core",
				   "node:2 (",
				   "core:2 node:2 pu:2 pu:2",
				   "pu:2(indexes=4096,4097)",
				   "/etc",
				   "/dev/null",
				   "/nowhere/at/all.xml",
				   "/proc/self/exe",
				   __FILE__,
				   longest};
	struct wqi_topology *topology;
	unsigned i;

	memset(longest, 'x', sizeof(longest) - 1);
	refused = NULL;
	errno = 77;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if ((wqi_topology_read(bad[i], &topology) != -EINVAL || errno != 77) && !refused)
			refused = bad[i];
}

static void topology_that_is_none_is_refused_in_silence(void **state)
{
	assert_int_equal(said_of(read_bad), 0);
	if (refused)
		fail_msg("\"%s\" is not refused", refused);
}

static void topology_description_with_counts_in_attributes_is_read(void **state)
{
	wqi_topology_free(read_topology("node:2(memory=17179869184) l3:2(size=33554432) 2"));
}

static void topology_without_memory_answers_enomem(void **state)
{
	static const char *const descriptions[] = {NULL, "node:2 l3:2 core:4 pu:2"};
	struct wqi_topology *topology;
	unsigned i, after;
	int err;

	for (i = 0; i < ARRAY_SIZE(descriptions); i++) {
		for (after = 0;; after++) {
			wqi_test_fault(WQI_FAULT_ALLOC, after, 1);
			err = wqi_topology_read(descriptions[i], &topology);
			wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
			if (!err)
				break;
			assert_int_equal(err, -ENOMEM);
		}
		wqi_topology_free(topology);
		assert_int_equal(after, 3);
	}
}

static void topology_is_read_once_and_kept(void **state)
{
	const struct wqi_topology *first;

	wqi_lock(&wqi_runtime.lock);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 1);
	assert_null(wqi_topology_get_locked());
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	first = wqi_topology_get_locked();
	assert_non_null(first);
	assert_ptr_equal(wqi_topology_get_locked(), first);
	wqi_topology_drop_locked();
	wqi_topology_drop_locked();
	wqi_unlock(&wqi_runtime.lock);
}

static void nothing_fn(struct wq_work *work, void *ctx)
{
	sched_getaffinity(0, sizeof(cpu_set_t), ctx);
}

/* Items run on every pretended CPU's pool, and no thread is pinned. */
static void pretended_machine_is_the_one_that_the_library_has(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct wq_work work;
	cpu_set_t all, cpus;
	struct wq *wq;
	int cpu;

	CPU_ZERO(&cpus);
	sched_getaffinity(getpid(), sizeof(all), &all);
	config.topology = "node:2 l3:2 core:2 pu:2";
	config.unbound_cpus = "8-15";
	assert_int_equal(wq_configure(&config), 0);
	wq = wq_alloc("percpu", WQ_PERCPU, 0);
	assert_non_null(wq);
	assert_true(wqi_cpus.pretended);
	assert_int_equal(wqi_cpus.nr, 16);
	assert_int_equal(wqi_cpus.nr_usable, 16);
	assert_int_equal(wqi_cpus.nr_unbound, 8);
	assert_int_equal(wqi_cpus.level, 8);
	wq_work_init(&work, nothing_fn, &cpus);
	for (cpu = 0; cpu < 16; cpu++) {
		CPU_ZERO(&cpus);
		assert_int_equal(wq_queue_on(wq, &work, cpu), 1);
		wq_work_flush(&work);
		assert_true(CPU_EQUAL(&cpus, &all));
	}
	assert_int_equal(wq_queue_node(wq, &work, 1), 1);
	wq_destroy(wq);
	assert_int_equal(wqi_cpu_of_node(1), 8);
	assert_int_equal(wqi_cpu_of_node(2), -1);
	wqi_lock(&wqi_runtime.lock);
	assert_string_equal(wqi_config_topology(), "node:2 l3:2 core:2 pu:2");
	assert_true(wqi_topology_get_locked()->pretended);
	wqi_unlock(&wqi_runtime.lock);
	assert_int_equal(wq_shutdown(), 0);
	config.topology = config.unbound_cpus = NULL;
	assert_int_equal(wq_configure(&config), 0);
	assert_non_null(wq_system());
	assert_false(wqi_cpus.pretended);
	wqi_lock(&wqi_runtime.lock);
	assert_null(wqi_config_topology());
	assert_false(wqi_topology_get_locked()->pretended);
	wqi_unlock(&wqi_runtime.lock);
	assert_int_equal(wq_shutdown(), 0);
}

/* A machine of a single CPU, while the caller may be on any. */
static void pretended_single_cpu_takes_items_from_all(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct wq_work work;
	cpu_set_t cpus;
	struct wq *wq;
	unsigned i;

	config.topology = "pu:1";
	assert_int_equal(wq_configure(&config), 0);
	wq = wq_alloc("percpu", WQ_PERCPU, 0);
	wq_work_init(&work, nothing_fn, &cpus);
	for (i = 0; i < 100; i++) {
		assert_int_equal(wq_queue(wq, &work), 1);
		wq_work_flush(&work);
	}
	wq_destroy(wq);
	assert_int_equal(wq_shutdown(), 0);
	config.topology = NULL;
	assert_int_equal(wq_configure(&config), 0);
}

static bool fork_stop;

static void *read_for_ever(void *arg)
{
	struct wqi_topology *topology;

	while (!count_get(&fork_stop))
		if (!wqi_topology_read("node:2 l3:2 core:4 pu:2", &topology))
			wqi_topology_free(topology);
	return NULL;
}

/* A child that comes while another thread is inside hwloc does not wait for its lock. */
static void topology_is_read_in_a_child_of_any_time(void **state)
{
	unsigned i, nr = (unsigned)scaled(50);
	struct wq *wq = wq_system();
	struct wq_work work;
	pthread_t thread;
	cpu_set_t cpus;
	pid_t pid;

	skip_if_checker_hangs_children();
	assert_non_null(wq);
	assert_int_equal(pthread_create(&thread, NULL, read_for_ever, NULL), 0);
	for (i = 0; i < nr; i++) {
		pid = fork();
		if (!pid) {
			watchdog();
			wq_work_init(&work, nothing_fn, &cpus);
			CHECK_EQUAL(wq_queue(wq, &work), 1);
			wq_work_flush(&work);
			wqi_lock(&wqi_runtime.lock);
			/* What the other thread had from hwloc is lost here: no exit, lest a
			 * leak checker counts it. */
			if (wqi_topology_get_locked())
				execl("/bin/true", "true", (char *)NULL);
			_exit(1);
		}
		assert_int_equal(child_status(pid), 0);
	}
	count_set(&fork_stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(wq_shutdown(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(topology_synthetic_has_the_groups_that_it_describes),
		cmocka_unit_test(topology_of_an_odd_machine_is_divided_sensibly),
		cmocka_unit_test(topology_without_cores_takes_each_cpu_for_one),
		cmocka_unit_test(topology_of_this_machine_has_the_usable_cpus),
		cmocka_unit_test(topology_that_is_none_is_refused_in_silence),
		cmocka_unit_test(topology_description_with_counts_in_attributes_is_read),
		cmocka_unit_test(topology_without_memory_answers_enomem),
		cmocka_unit_test(topology_is_read_once_and_kept),
		cmocka_unit_test(pretended_machine_is_the_one_that_the_library_has),
		cmocka_unit_test(pretended_single_cpu_takes_items_from_all),
		cmocka_unit_test(topology_is_read_in_a_child_of_any_time),
	};

	sources = argc > 1 ? argv[1] : ".";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
