/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes: what is refused, and that nothing has changed then (G17); setting them. */
#include "observe.h"

#include <sched.h>
#include <sys/resource.h>

static struct wq_attrs attrs;

static int begin_attrs(void **state)
{
	return wq_attrs_init(&attrs);
}

static int end_attrs(void **state)
{
	const struct wq_config config = WQ_CONFIG_INIT;

	wq_attrs_fini(&attrs);
	return wq_shutdown() || wq_configure(&config);
}

static void mask_of(cpu_set_t *cpus, int cpu)
{
	CPU_ZERO(cpus);
	CPU_SET(cpu, cpus);
}

static bool runs_one(struct wq *wq)
{
	struct probe probe;

	probe_init(&probe);
	if (wq_queue(wq, &probe.work) != 1)
		return false;
	latch_wait(&probe.ended, 1);
	wq_work_flush(&probe.work);
	return probe.runs == 1;
}

/* The change is refused, and the queue is what it was. */
static void is_refused(struct wq *wq, int err)
{
	struct wq_pool_stats before = pool_stats_of(wq, usable_cpu(0)), after;
	cpu_set_t was, is;

	assert_int_equal(wq_pool_cpus_read(wq, usable_cpu(0), &was, sizeof(was)), 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), err);
	assert_int_equal(wq_pool_cpus_read(wq, usable_cpu(0), &is, sizeof(is)), 0);
	assert_true(CPU_EQUAL(&was, &is));
	after = pool_stats_of(wq, usable_cpu(0));
	assert_int_equal(after.nice_wanted, before.nice_wanted);
	assert_int_equal(after.level, before.level);
	assert_true(runs_one(wq));
}

static void alloc_is_refused(unsigned flags, int err)
{
	errno = 0;
	assert_null(wq_alloc_attrs("refused", flags, 0, &attrs));
	assert_int_equal(errno, err);
}

/* --- setting --- */

static void null_is_refused(void **state)
{
	struct wq *wq = wq_alloc("null", 0, 0);
	cpu_set_t cpus;

	mask_of(&cpus, 0);
	assert_int_equal(wq_attrs_init(NULL), -EINVAL);
	assert_int_equal(wq_attrs_set_nice(NULL, 0), -EINVAL);
	assert_int_equal(wq_attrs_set_cpumask(NULL, &cpus, sizeof(cpus)), -EINVAL);
	assert_int_equal(wq_attrs_set_cpumask(NULL, NULL, 0), -EINVAL);
	assert_int_equal(wq_attrs_set_affinity(NULL, WQ_AFFN_CPU), -EINVAL);
	assert_int_equal(wq_attrs_set_strict(NULL, true), -EINVAL);
	assert_int_equal(wq_apply_attrs(NULL, &attrs), -EINVAL);
	assert_int_equal(wq_apply_attrs(NULL, NULL), -EINVAL);
	assert_int_equal(wq_apply_attrs(wq, NULL), -EINVAL);
	assert_int_equal(wq_pool_cpus_read(NULL, 0, &cpus, sizeof(cpus)), -EINVAL);
	assert_int_equal(wq_pool_cpus_read(wq, 0, NULL, sizeof(cpus)), -EINVAL);
	assert_int_equal(wq_pool_cpus_read(wq, WQ_MAX_CPUS, &cpus, sizeof(cpus)), -EINVAL);
	assert_int_equal(wq_pool_cpus_read(wq, -2, &cpus, sizeof(cpus)), -EINVAL);
	wq_attrs_fini(NULL);
	assert_true(runs_one(wq));
	assert_int_equal(wq_destroy(wq), 0);
}

static void nice_out_of_range_is_refused(void **state)
{
	static const int bad[] = {-21, 20, INT32_MIN, INT32_MAX};
	struct wq *wq;
	unsigned i;

	assert_int_equal(wq_attrs_set_nice(&attrs, 7), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(wq_attrs_set_nice(&attrs, bad[i]), -EINVAL);
	wq = wq_alloc_attrs("nice", 0, 0, &attrs);
	assert_int_equal(pool_stats_of(wq, usable_cpu(0)).nice_wanted, 7);
	assert_int_equal(wq_attrs_set_nice(&attrs, -20), 0);
	assert_int_equal(wq_attrs_set_nice(&attrs, 19), 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	assert_int_equal(pool_stats_of(wq, usable_cpu(0)).nice_wanted, 19);
	assert_int_equal(wq_destroy(wq), 0);
}

static void scope_out_of_range_is_refused(void **state)
{
	assert_int_equal(wq_attrs_set_affinity(&attrs, WQ_AFFN_SYSTEM), 0);
	assert_int_equal(wq_attrs_set_affinity(&attrs, (enum wq_affn_scope)(WQ_AFFN_SYSTEM + 1)),
			 -EINVAL);
	assert_int_equal(wq_attrs_set_affinity(&attrs, (enum wq_affn_scope) - 1), -EINVAL);
	/* It is still SYSTEM, which an ordered queue may have. */
	assert_int_equal(wq_destroy(wq_alloc_attrs("scope", WQ_ORDERED, 0, &attrs)), 0);
}

static void mask_without_cpus_is_refused(void **state)
{
	cpu_set_t large[2 * WQ_MAX_CPUS / CPU_SETSIZE], cpus, is;
	struct wq *wq;

	mask_of(&cpus, usable_cpu(0));
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, 0), -EINVAL);
	CPU_ZERO(&cpus);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), -EINVAL);
	memset(large, 0, sizeof(large));
	CPU_SET_S(WQ_MAX_CPUS, sizeof(large), large);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, large, sizeof(large)), -EINVAL);
	/* What was set stays. */
	wq = wq_alloc_attrs("mask", 0, 0, &attrs);
	assert_int_equal(wq_pool_cpus_read(wq, usable_cpu(0), &is, sizeof(is)), 0);
	mask_of(&cpus, usable_cpu(0));
	assert_true(CPU_EQUAL(&is, &cpus));
	/* And goes when all are asked for. */
	assert_int_equal(wq_attrs_set_cpumask(&attrs, NULL, 0), 0);
	assert_int_equal(wq_attrs_set_affinity(&attrs, WQ_AFFN_SYSTEM), 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	assert_int_equal(wq_pool_cpus_read(wq, usable_cpu(0), &is, sizeof(is)), 0);
	assert_int_equal(CPU_COUNT(&is), nr_usable_cpus());
	assert_int_equal(wq_destroy(wq), 0);
}

/* Queues keep what they were given; fini leaves the defaults. */
static void queues_keep_a_copy(void **state)
{
	cpu_set_t cpus, is;
	struct wq *wq, *plain;

	mask_of(&cpus, usable_cpu(0));
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
	assert_int_equal(wq_attrs_set_nice(&attrs, 3), 0);
	CPU_ZERO(&cpus);
	wq = wq_alloc_attrs("copy", 0, 0, &attrs);
	wq_attrs_fini(&attrs);
	wq_attrs_fini(&attrs);
	assert_true(runs_one(wq));
	assert_int_equal(wq_pool_cpus_read(wq, usable_cpu(0), &is, sizeof(is)), 0);
	assert_int_equal(CPU_COUNT(&is), 1);
	assert_int_equal(pool_stats_of(wq, usable_cpu(0)).nice, nice_to_get(3));
	plain = wq_alloc_attrs("plain", 0, 0, &attrs);
	assert_int_equal(pool_stats_of(plain, usable_cpu(0)).nice_wanted, 0);
	assert_int_equal(wq_destroy(plain), 0);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- CPUs of which none can be used --- */

#define NO_CPU 1000

static void cpus_that_do_not_exist_are_refused(void **state)
{
	struct wq *wq = wq_alloc("none", 0, 0), *ordered = wq_alloc("none", WQ_ORDERED, 0);
	cpu_set_t cpus, is;

	mask_of(&cpus, NO_CPU);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
	alloc_is_refused(0, EINVAL);
	alloc_is_refused(WQ_ORDERED | WQ_MEM_RECLAIM, EINVAL);
	is_refused(wq, -EINVAL);
	is_refused(ordered, -EINVAL);
	/* One of them that exists will do. */
	CPU_SET(usable_cpu(0), &cpus);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	assert_int_equal(wq_pool_cpus_read(wq, usable_cpu(0), &is, sizeof(is)), 0);
	assert_int_equal(CPU_COUNT(&is), 1);
	assert_true(CPU_ISSET(usable_cpu(0), &is));
	assert_true(runs_one(wq));
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(ordered), 0);
}

static void cpus_not_permitted_child(void *ctx)
{
	int cpu = *(int *)ctx;
	cpu_set_t cpus;
	struct wq *wq;

	watchdog();
	mask_of(&cpus, usable_cpu(0));
	CHECK_EQUAL(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
	wq = wq_alloc("permitted", 0, 0);
	CHECK(wq);
	mask_of(&cpus, cpu);
	CHECK_EQUAL(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
	CHECK(!wq_alloc_attrs("not", 0, 0, &attrs));
	CHECK_EQUAL(errno, EINVAL);
	CHECK_EQUAL(wq_apply_attrs(wq, &attrs), -EINVAL);
	CHECK(runs_one(wq));
	CHECK_EQUAL(wq_destroy(wq), 0);
}

static void cpus_that_are_not_permitted_are_refused(void **state)
{
	int cpu = usable_cpu(1);

	if (cpu < 0)
		skip();
	skip_if_checker_hangs_children();
	assert_int_equal(in_child(cpus_not_permitted_child, &cpu), 0);
}

static void cpus_that_are_not_for_unbound_items_are_refused(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	cpu_set_t cpus;
	struct wq *wq;

	config.topology = "node:1 core:4 pu:1";
	config.unbound_cpus = "0-1";
	assert_int_equal(wq_configure(&config), 0);
	wq = wq_alloc("unbound", 0, 0);
	mask_of(&cpus, 2);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
	alloc_is_refused(0, EINVAL);
	is_refused(wq, -EINVAL);
	CPU_SET(1, &cpus);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	assert_int_equal(wq_pool_cpus_read(wq, 3, &cpus, sizeof(cpus)), 0);
	assert_int_equal(CPU_COUNT(&cpus), 1);
	assert_true(CPU_ISSET(1, &cpus));
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- queues that can't have them --- */

static void queues_that_are_not_unbound_refuse(void **state)
{
	static const unsigned flags[] = {WQ_PERCPU, WQ_PERCPU | WQ_HIGHPRI, WQ_DEDICATED, WQ_BH,
					 WQ_POWER_EFFICIENT};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct wq *wq = wq_alloc("bound", flags[i], 0);

		alloc_is_refused(flags[i], EINVAL);
		is_refused(wq, -EINVAL);
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_int_equal(nr_threads_falls_to("wq/refused", 0), 0);
}

static void power_efficient_queue_that_is_unbound_takes_them(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct wq *wq;

	config.power_efficient = true;
	assert_int_equal(wq_configure(&config), 0);
	assert_int_equal(wq_attrs_set_nice(&attrs, 2), 0);
	wq = wq_alloc_attrs("efficient", WQ_POWER_EFFICIENT, 0, &attrs);
	assert_non_null(wq);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	assert_true(runs_one(wq));
	assert_int_equal(wq_destroy(wq), 0);
}

static void ordered_queue_refuses_other_scopes(void **state)
{
	struct wq *wq = wq_alloc("ordered", WQ_ORDERED, 0);
	enum wq_affn_scope scope;

	for (scope = WQ_AFFN_CPU; scope < WQ_AFFN_SYSTEM; scope++) {
		assert_int_equal(wq_attrs_set_affinity(&attrs, scope), 0);
		alloc_is_refused(WQ_ORDERED, EINVAL);
		is_refused(wq, -EINVAL);
	}
	assert_int_equal(wq_attrs_set_affinity(&attrs, WQ_AFFN_SYSTEM), 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	/* Without a scope it is SYSTEM. */
	assert_int_equal(wq_attrs_init(&attrs), 0);
	assert_int_equal(wq_attrs_set_nice(&attrs, 1), 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	assert_true(runs_one(wq));
	assert_int_equal(wq_destroy(wq), 0);
}

static void flags_are_checked_as_in_alloc(void **state)
{
	alloc_is_refused(1u << 30, EINVAL);
	errno = 0;
	assert_null(wq_alloc_attrs(NULL, 0, 0, &attrs));
	assert_int_equal(errno, EINVAL);
	assert_null(wq_alloc_attrs("many", 0, WQ_MAX_ACTIVE + 1, &attrs));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(wq_destroy(wq_alloc_attrs("defaults", WQ_DEDICATED, 0, NULL)), 0);
}

static void system_queues_refuse(void **state)
{
	assert_int_equal(wq_apply_attrs(wq_system(), &attrs), -EPERM);
	assert_int_equal(wq_apply_attrs(wq_system_percpu(), &attrs), -EPERM);
	assert_int_equal(wq_apply_attrs(wq_system_highpri(), &attrs), -EPERM);
	assert_true(runs_one(wq_system()));
}

/* --- from an item --- */

struct late {
	struct wq_work work;
	struct wq *wq;
	struct latch started, open;
	int err;
};

static void late_fn(struct wq_work *work, void *ctx)
{
	struct late *late = ctx;

	latch_post(&late->started);
	latch_wait(&late->open, 1);
	late->err = wq_apply_attrs(late->wq, &attrs);
}

static void *destroy_main(void *arg)
{
	return (void *)(intptr_t)wq_destroy(arg);
}

static void item_of_a_queue_that_is_destroyed_is_refused(void **state)
{
	static const unsigned flags[] = {0, WQ_ORDERED};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct late late = {.started = LATCH_INIT, .open = LATCH_INIT};
		struct probe probe;
		pthread_t thread;
		void *ret;

		late.wq = wq_alloc("late", flags[i], 0);
		wq_attrs_set_nice(&attrs, 1);
		wq_work_init(&late.work, late_fn, &late);
		assert_int_equal(wq_queue(late.wq, &late.work), 1);
		latch_wait(&late.started, 1);
		assert_int_equal(pthread_create(&thread, NULL, destroy_main, late.wq), 0);
		do {
			probe_init(&probe);
		} while (wq_queue(late.wq, &probe.work) == 1 &&
			 wq_work_cancel_sync(&probe.work) >= 0);
		latch_post(&late.open);
		pthread_join(thread, &ret);
		assert_true(ret == 0);
		assert_int_equal(late.err, -ESHUTDOWN);
	}
}

static void item_changes_its_own_queue(void **state)
{
	static const unsigned flags[] = {0, WQ_ORDERED, WQ_MEM_RECLAIM};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct late late = {.started = LATCH_INIT, .open = LATCH_INIT};
		struct where where;

		late.wq = wq_alloc("own", flags[i], 0);
		wq_attrs_set_nice(&attrs, 4);
		wq_work_init(&late.work, late_fn, &late);
		latch_post(&late.open);
		assert_int_equal(wq_queue(late.wq, &late.work), 1);
		wq_work_flush(&late.work);
		assert_int_equal(late.err, 0);
		where_init(&where, NULL);
		assert_int_equal(wq_queue(late.wq, &where.work), 1);
		assert_int_equal(wq_flush(late.wq), 0);
		/* On a slow machine the rescuer may have been quicker than the new pool. */
		if (strncmp(where.name, "wq/R-", 5) != 0)
			assert_int_equal(where.nice, nice_to_get(4));
		assert_int_equal(wq_destroy(late.wq), 0);
	}
}

/* --- priority --- */

static void nice_not_permitted_child(void *ctx)
{
	struct wq_pool_stats stats;
	struct rlimit limit;
	struct where where;
	struct wq *wq;
	int nearest;

	watchdog();
	CHECK_EQUAL(getrlimit(RLIMIT_NICE, &limit), 0);
	limit.rlim_cur = limit.rlim_max = limit.rlim_max < 20 ? limit.rlim_max : 20;
	nearest = limit.rlim_max == 20 ? 0 : 5;
	CHECK_EQUAL(setrlimit(RLIMIT_NICE, &limit), 0);
	CHECK_EQUAL(setpriority(PRIO_PROCESS, 0, 5), 0);
	if (!geteuid())
		CHECK_EQUAL(setuid(65534), 0);
	wq_attrs_set_nice(&attrs, -15);
	wq = wq_alloc_attrs("hopes", 0, 0, &attrs);
	CHECK(wq);
	where_init(&where, NULL);
	CHECK_EQUAL(wq_queue(wq, &where.work), 1);
	wq_work_flush(&where.work);
	CHECK_EQUAL(wq_pool_stats_read(wq, usable_cpu(0), &stats, sizeof(stats)), 0);
	CHECK_EQUAL(stats.nice_wanted, -15);
	CHECK_EQUAL(wq_pool_stats_read(wq, where.cpu, &stats, sizeof(stats)), 0);
	/* RLIMIT_NICE 20 is nice 0; the process has 5. */
	CHECK_EQUAL(where.nice, nearest);
	CHECK_EQUAL(stats.nice, stats.nr_workers ? nearest : -15);
	wq_attrs_set_nice(&attrs, 10);
	CHECK_EQUAL(wq_apply_attrs(wq, &attrs), 0);
	where_init(&where, NULL);
	CHECK_EQUAL(wq_queue(wq, &where.work), 1);
	wq_work_flush(&where.work);
	CHECK_EQUAL(where.nice, 10);
	CHECK_EQUAL(wq_destroy(wq), 0);
}

static void nice_that_is_not_permitted_comes_as_near_as_it_may(void **state)
{
	skip_if_checker_hangs_children();
	assert_int_equal(in_child(nice_not_permitted_child, NULL), 0);
}

#define ATTRS(test) cmocka_unit_test_setup_teardown(test, begin_attrs, end_attrs)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ATTRS(null_is_refused),
		ATTRS(nice_out_of_range_is_refused),
		ATTRS(scope_out_of_range_is_refused),
		ATTRS(mask_without_cpus_is_refused),
		ATTRS(queues_keep_a_copy),
		ATTRS(cpus_that_do_not_exist_are_refused),
		ATTRS(cpus_that_are_not_permitted_are_refused),
		ATTRS(cpus_that_are_not_for_unbound_items_are_refused),
		ATTRS(queues_that_are_not_unbound_refuse),
		ATTRS(power_efficient_queue_that_is_unbound_takes_them),
		ATTRS(ordered_queue_refuses_other_scopes),
		ATTRS(flags_are_checked_as_in_alloc),
		ATTRS(system_queues_refuse),
		ATTRS(item_of_a_queue_that_is_destroyed_is_refused),
		ATTRS(item_changes_its_own_queue),
		ATTRS(nice_that_is_not_permitted_comes_as_near_as_it_may),
	};

	/* They choose their machines themselves. */
	unsetenv("WQ_TOPOLOGY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
