/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's names for queues: of which kind they are, their limits and attributes.  The
 * table at the end has a row for each.
 */
#include "kernel.h"

#include <sched.h>
#include <unistd.h>

/* Settles which CPUs the library uses. */
static int setup(void **state)
{
	reports_begin();
	return system_wq ? 0 : -1;
}

/* --- what kind of queue it is --- */

static void flags_mean_what_they_mean_in_linux(void **state)
{
	static const struct {
		unsigned flags;
		struct kind kind;
	} rows[] = {
		{0, {.percpu = true}},
		{WQ_PERCPU, {.percpu = true}},
		{WQ_UNBOUND, {.percpu = false}},
		{WQ_UNBOUND | WQ_SYSFS, {.percpu = false}},
		{WQ_HIGHPRI, {.percpu = true, .highpri = true}},
		{WQ_UNBOUND | WQ_HIGHPRI, {.highpri = true}},
		{WQ_PERCPU | WQ_CPU_INTENSIVE, {.percpu = true}},
		{WQ_FREEZABLE | WQ_MEM_RECLAIM, {.percpu = true}},
		{WQ_POWER_EFFICIENT, {.percpu = true}},
		{WQ_PERCPU | WQ_POWER_EFFICIENT, {.percpu = true}},
		{WQ_UNBOUND | WQ_POWER_EFFICIENT, {.percpu = false}},
		{WQ_UNBOUND | __WQ_ORDERED, {.percpu = false}},
		{WQ_BH, {.percpu = true, .highpri = true, .bh = true}},
		{WQ_BH | WQ_HIGHPRI | WQ_PERCPU, {.percpu = true, .highpri = true, .bh = true}},
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct workqueue_struct *wq = alloc_workqueue("flags-%u", rows[i].flags, 0, i);
		struct kind kind = kind_of(wq);

		assert_memory_equal(&kind, &rows[i].kind, sizeof(kind));
		destroy_workqueue(wq);
	}
}

static void flags_that_contradict_each_other_are_refused(void **state)
{
	static const struct {
		unsigned flags;
		int max_active;
	} rows[] = {
		{WQ_UNBOUND | WQ_PERCPU, 0}, {WQ_BH, 1},
		{WQ_BH | WQ_UNBOUND, 0},     {WQ_BH | WQ_SYSFS, 0},
		{WQ_BH | WQ_FREEZABLE, 0},   {1u << 30, 0},
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		errno = 0;
		assert_null(alloc_workqueue("wrong", rows[i].flags, rows[i].max_active));
		assert_int_equal(errno, EINVAL);
	}
	assert_null(alloc_ordered_workqueue("wrong", WQ_PERCPU));
	assert_null(alloc_ordered_workqueue("wrong", WQ_BH));
	assert_null(alloc_workqueue("%s", 0, 0, ""));
}

/* That a native queue without flags is unbound has not changed by the include. */
static void native_flags_are_what_they_were(void **state)
{
	struct wq *wq = wq_alloc("native", 0, 0);

	assert_false(kind_of(wq_to_linux(wq)).percpu);
	assert_int_equal(wq_destroy(wq), 0);
	errno = 0;
	assert_null(wq_alloc("native", WQ_UNBOUND, 0));
	assert_int_equal(errno, EINVAL);
	assert_null(wq_alloc("native", WQ_SYSFS, 0));
}

/* The name is seen in what is reported of a queue, and of its rescuer's thread. */
static void name_is_made_as_by_printf(void **state)
{
	struct workqueue_struct *wq;
	char name[400];

	wq = alloc_workqueue("%s-%d", WQ_MEM_RECLAIM, 0, "drv", 7);
	assert_int_equal(nr_threads("wq/R-drv-7"), 1);
	destroy_workqueue(wq);
	wq = alloc_ordered_workqueue("%s-%d", WQ_MEM_RECLAIM, "ord", 8);
	assert_int_equal(nr_threads("wq/R-ord-8"), 1);
	destroy_workqueue(wq);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	wq = alloc_workqueue("%s%d", WQ_MEM_RECLAIM, 0, name, 1);
	assert_int_equal(nr_threads("wq/R-nnnnnnnnnn"), 1);
	destroy_workqueue(wq);
	wq = alloc_workqueue("plain", WQ_UNBOUND, 0);
	assert_non_null(wq);
	destroy_workqueue(wq);
}

static void create_workqueue_makes_those_of_old(void **state)
{
	struct workqueue_struct *wq = create_workqueue("cw-each");
	struct job first, second;

	assert_true(kind_of(wq).percpu);
	assert_int_equal(nr_threads("wq/R-cw-each"), 1);
	/* One at a time on each CPU. */
	job_init_gate(&first);
	job_init(&second);
	assert_true(queue_work_on(usable_cpu(0), wq, &first.work));
	latch_wait(&first.started, 1);
	assert_true(queue_work_on(usable_cpu(0), wq, &second.work));
	assert_true(workqueue_congested(usable_cpu(0), wq));
	latch_post(&first.open);
	destroy_workqueue(wq);
	assert_int_equal(second.runs, 1);
	wq = create_singlethread_workqueue("cw-single");
	assert_false(kind_of(wq).percpu);
	assert_int_equal(nr_threads("wq/R-cw-single"), 1);
	assert_int_equal(wq_set_max_active(wq_from_linux(wq), 2), -EINVAL);
	destroy_workqueue(wq);
	wq = create_freezable_workqueue("cw-freeze");
	assert_false(kind_of(wq).percpu);
	assert_int_equal(nr_threads("wq/R-cw-freeze"), 1);
	destroy_workqueue(wq);
}

struct turn {
	struct work_struct work;
	unsigned long *turns, turn;
};

static void turn_fn(struct work_struct *work)
{
	struct turn *turn = from_work(turn, work, work);

	turn->turn = ++*turn->turns;
}

static void ordered_queue_keeps_the_order(void **state)
{
	struct workqueue_struct *wq = alloc_ordered_workqueue("order", WQ_HIGHPRI);
	struct turn items[100];
	unsigned long turns = 0;
	unsigned i;

	assert_true(kind_of(wq).highpri);
	for (i = 0; i < ARRAY_SIZE(items); i++) {
		INIT_WORK(&items[i].work, turn_fn);
		items[i].turns = &turns;
		assert_true(queue_work(wq, &items[i].work));
	}
	flush_workqueue(wq);
	for (i = 0; i < ARRAY_SIZE(items); i++)
		assert_int_equal(items[i].turn, i + 1);
	destroy_workqueue(wq);
}

/* --- limits --- */

/* On some CPU: the caller may have moved to another pod since it queued. */
static bool is_congested(struct workqueue_struct *wq)
{
	bool here = workqueue_congested(WORK_CPU_UNBOUND, wq), any = false;
	unsigned i;

	for (i = 0; usable_cpu(i) >= 0; i++)
		any = any || workqueue_congested(usable_cpu(i), wq);
	assert_true(any || !here);
	return any;
}

/* How many of four items that wait start at once; the rest shows that it is congested. */
static void expect_active(struct workqueue_struct *wq, unsigned long active)
{
	struct job jobs[4];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		job_init_gate(&jobs[i]);
		assert_true(queue_work(wq, &jobs[i].work));
	}
	for (i = 0; i < active; i++)
		latch_wait(&jobs[i].started, 1);
	assert_int_equal(is_congested(wq), active < ARRAY_SIZE(jobs));
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		latch_post(&jobs[i].open);
	flush_workqueue(wq);
}

static void max_active_is_clamped(void **state)
{
	struct workqueue_struct *wq = alloc_workqueue("limit", WQ_UNBOUND, -5);

	expect_active(wq, 1);
	workqueue_set_max_active(wq, 2);
	expect_active(wq, 2);
	workqueue_set_max_active(wq, 0);
	expect_active(wq, 1);
	workqueue_set_max_active(wq, WQ_UNBOUND_MAX_ACTIVE + 1);
	expect_active(wq, 4);
	workqueue_set_min_active(wq, 0);
	workqueue_set_min_active(wq, WQ_DFL_MIN_ACTIVE);
	expect_active(wq, 4);
	destroy_workqueue(wq);
	wq = alloc_workqueue("limit", WQ_UNBOUND, WQ_MAX_ACTIVE + 1);
	expect_active(wq, 4);
	destroy_workqueue(wq);
	assert_int_equal(reports_taken(), 0);
	wq = alloc_ordered_workqueue("limit", 0);
	workqueue_set_max_active(wq, 2);
	workqueue_set_min_active(wq, 2);
	assert_int_equal(reports_taken(), 2);
	expect_active(wq, 1);
	destroy_workqueue(wq);
}

/* What is not frozen, and comes later on the same CPU, has run: so would these have. */
static void frozen_queues_hold(struct workqueue_struct *wq)
{
	struct workqueue_struct *queues[] = {wq, system_freezable_wq,
					     system_freezable_power_efficient_wq};
	struct job waiting[ARRAY_SIZE(queues)], other;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(queues); i++) {
		job_init(&waiting[i]);
		assert_true(queue_work_on(usable_cpu(0), queues[i], &waiting[i].work));
	}
	for (i = 1; i <= 3; i++) {
		job_init(&other);
		assert_true(schedule_work_on(usable_cpu(0), &other.work));
		job_wait(&other, 1);
	}
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(count_get(&waiting[i].runs), 0);
	thaw_workqueues();
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		job_wait(&waiting[i], 1);
}

static void freezing_holds_freezable_queues(void **state)
{
	struct workqueue_struct *wq = create_freezable_workqueue("frozen");
	struct job running;

	job_init_gate(&running);
	assert_true(queue_work(wq, &running.work));
	latch_wait(&running.started, 1);
	freeze_workqueues_begin();
	assert_true(freeze_workqueues_busy());
	freeze_workqueues_begin();
	assert_int_equal(reports_taken(), 1);
	latch_post(&running.open);
	while (freeze_workqueues_busy())
		sched_yield();
	assert_int_equal(running.ended.count, 1);
	frozen_queues_hold(wq);
	thaw_workqueues();
	assert_false(freeze_workqueues_busy());
	destroy_workqueue(wq);
}

/* --- system queues --- */

static void system_queues_have_their_names_old_and_new(void **state)
{
	const struct {
		struct workqueue_struct *wq, *again;
		struct kind kind;
	} rows[] = {
		{system_wq, system_percpu_wq, {.percpu = true}},
		{system_unbound_wq, system_dfl_wq, {.percpu = false}},
		{system_highpri_wq, system_highpri_wq, {.percpu = true, .highpri = true}},
		{system_long_wq, system_long_wq, {.percpu = true}},
		{system_dfl_long_wq, system_dfl_long_wq, {.percpu = false}},
		{system_freezable_wq, system_freezable_wq, {.percpu = true}},
		{system_power_efficient_wq, system_power_efficient_wq, {.percpu = true}},
		{system_freezable_power_efficient_wq,
		 system_freezable_power_efficient_wq,
		 {.percpu = true}},
		{system_bh_wq, system_bh_wq, {.percpu = true, .highpri = true, .bh = true}},
		{system_bh_highpri_wq,
		 system_bh_highpri_wq,
		 {.percpu = true, .highpri = true, .bh = true}},
	};
	unsigned i, k;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kind kind = kind_of(rows[i].wq);

		assert_memory_equal(&kind, &rows[i].kind, sizeof(kind));
		assert_ptr_equal(rows[i].wq, rows[i].again);
		for (k = 0; k < i; k++)
			assert_ptr_not_equal(rows[i].wq, rows[k].wq);
	}
}

/* --- attributes --- */

/* Fresh ones are those of a queue that was given none: the two share their workers. */
static void fresh_attrs_are_the_default(void **state)
{
	struct workqueue_struct *wq = alloc_workqueue("given", WQ_UNBOUND, 0);
	struct workqueue_struct *other = alloc_workqueue("not", WQ_UNBOUND, 0);
	struct workqueue_attrs *attrs = alloc_workqueue_attrs();
	uint64_t started;

	assert_int_equal(apply_workqueue_attrs(wq, attrs), 0);
	assert_false(kind_of(wq).percpu);
	started = pool_stats_of(wq_from_linux(wq), usable_cpu(0)).started;
	assert_false(kind_of(other).percpu);
	assert_int_equal(pool_stats_of(wq_from_linux(wq), usable_cpu(0)).started, started + 1);
	free_workqueue_attrs(attrs);
	destroy_workqueue(wq);
	destroy_workqueue(other);
}

/* Each CPU is a pod, which workers leave or do not. */
static void strict_attrs_keep_workers_in_their_pod(void **state)
{
	struct workqueue_struct *wq = alloc_workqueue("strict", WQ_UNBOUND, 0);
	struct workqueue_attrs *attrs = alloc_workqueue_attrs();
	unsigned i, nr_cpus[2];
	struct job job;

	skip_if_cpus_are_pretended();
	attrs->affn_scope = WQ_AFFN_CPU;
	for (i = 0; i < 2; i++) {
		attrs->affn_strict = i;
		assert_int_equal(apply_workqueue_attrs(wq, attrs), 0);
		job_init(&job);
		assert_true(queue_work(wq, &job.work));
		job_wait(&job, 1);
		nr_cpus[i] = (unsigned)job.where.nr_cpus;
	}
	assert_int_equal(nr_cpus[0], nr_usable_cpus());
	assert_int_equal(nr_cpus[1], 1);
	free_workqueue_attrs(attrs);
	destroy_workqueue(wq);
}

static void attrs_are_applied(void **state)
{
	struct workqueue_attrs *attrs = alloc_workqueue_attrs();
	struct workqueue_struct *wq = alloc_workqueue("attrs", WQ_UNBOUND, 0);
	struct wq *native = wq_from_linux(wq);
	int cpu = usable_cpu(0);
	cpu_set_t cpus;

	assert_non_null(attrs);
	assert_int_equal(attrs->nice, 0);
	assert_int_equal(attrs->affn_scope, WQ_AFFN_DFL);
	assert_false(attrs->affn_strict);
	assert_true(cpumask_test_cpu(WQ_MAX_CPUS - 1, attrs->cpumask));
	assert_int_equal(apply_workqueue_attrs(wq, attrs), 0);
	attrs->nice = 5;
	attrs->affn_scope = WQ_AFFN_CPU;
	attrs->affn_strict = true;
	cpumask_clear(attrs->cpumask);
	cpumask_set_cpu((unsigned)cpu, attrs->cpumask);
	assert_int_equal(apply_workqueue_attrs(wq, attrs), 0);
	assert_false(kind_of(wq).percpu);
	assert_int_equal(pool_stats_of(native, cpu).nice_wanted, 5);
	assert_int_equal(wq_pool_cpus_read(native, cpu, &cpus, sizeof(cpus)), 0);
	assert_int_equal(CPU_COUNT(&cpus), 1);
	assert_true(CPU_ISSET(cpu, &cpus));
	cpumask_clear(attrs->cpumask);
	assert_int_equal(apply_workqueue_attrs(wq, attrs), -EINVAL);
	cpumask_setall(attrs->cpumask);
	attrs->nice = 20;
	assert_int_equal(apply_workqueue_attrs(wq, attrs), -EINVAL);
	attrs->nice = 0;
	assert_int_equal(apply_workqueue_attrs(system_wq, attrs), -EPERM);
	destroy_workqueue(wq);
	wq = alloc_workqueue("attrs", WQ_PERCPU, 0);
	assert_int_equal(apply_workqueue_attrs(wq, attrs), -EINVAL);
	destroy_workqueue(wq);
	free_workqueue_attrs(attrs);
	free_workqueue_attrs(NULL);
}

/* Other scopes than these would break it. */
static void attrs_of_an_ordered_queue_keep_its_order(void **state)
{
	struct workqueue_attrs *attrs = alloc_workqueue_attrs();
	struct workqueue_struct *wq = alloc_ordered_workqueue("attrs", 0);

	attrs->nice = 1;
	assert_int_equal(apply_workqueue_attrs(wq, attrs), 0);
	expect_active(wq, 1);
	attrs->affn_scope = WQ_AFFN_CPU;
	assert_int_equal(apply_workqueue_attrs(wq, attrs), -EINVAL);
	free_workqueue_attrs(attrs);
	destroy_workqueue(wq);
}

static void cpumasks_hold_cpus(void **state)
{
	cpumask_var_t mask;
	cpumask_t copied, *copy = &copied;

	cpumask_clear(mask);
	cpumask_set_cpu(0, mask);
	cpumask_set_cpu(64, mask);
	cpumask_set_cpu(WQ_MAX_CPUS - 1, mask);
	cpumask_set_cpu(WQ_MAX_CPUS, mask);
	cpumask_copy(copy, mask);
	cpumask_clear_cpu(64, mask);
	cpumask_clear_cpu(-1, mask);
	assert_true(cpumask_test_cpu(0, mask));
	assert_false(cpumask_test_cpu(1, mask));
	assert_false(cpumask_test_cpu(64, mask));
	assert_true(cpumask_test_cpu(64, copy));
	assert_true(cpumask_test_cpu(WQ_MAX_CPUS - 1, copy));
	assert_false(cpumask_test_cpu(WQ_MAX_CPUS, copy));
	assert_false(cpumask_test_cpu(-1, copy));
}

/* --- what is seen of it natively --- */

static void nop_fn(struct work_struct *work)
{
}

static void computing_fn(struct work_struct *work)
{
	compute_ns(UINT64_C(30000000));
}

/* They share the item's function: it is their own that is named. */
static void functions_that_hog_are_named(void **state)
{
	struct workqueue_struct *wq = alloc_workqueue("hog", WQ_PERCPU, 0);
	struct wq_cpu_hog hogs[WQ_MAX_CPU_HOGS];
	bool named = false;
	unsigned i, nr;

	while (!named) {
		struct work_struct work, other;

		INIT_WORK_ONSTACK(&work, computing_fn);
		INIT_WORK_ONSTACK(&other, nop_fn);
		queue_work_on(usable_cpu(0), wq, &work);
		queue_work_on(usable_cpu(0), wq, &other);
		flush_workqueue(wq);
		nr = wq_cpu_hogs(hogs, ARRAY_SIZE(hogs));
		for (i = 0; i < nr; i++)
			named = named || hogs[i].fn == (const void *)(uintptr_t)computing_fn;
	}
	for (i = 0; i < nr; i++)
		assert_ptr_not_equal(hogs[i].fn, (const void *)(uintptr_t)wq_linux_run);
	destroy_workqueue(wq);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW("alloc_workqueue, WQ_UNBOUND, WQ_PERCPU, WQ_HIGHPRI, WQ_CPU_INTENSIVE, "
		    "WQ_MEM_RECLAIM, WQ_FREEZABLE, WQ_POWER_EFFICIENT, WQ_BH, WQ_SYSFS, "
		    "__WQ_ORDERED",
		    "per CPU without WQ_UNBOUND", flags_mean_what_they_mean_in_linux),
		ROW("alloc_workqueue, alloc_ordered_workqueue", "NULL where flags do not fit",
		    flags_that_contradict_each_other_are_refused),
		ROW("wq_alloc", "as without the header", native_flags_are_what_they_were),
		ROW("alloc_workqueue, alloc_ordered_workqueue", "name as by printf",
		    name_is_made_as_by_printf),
		ROW("create_workqueue, create_singlethread_workqueue, create_freezable_workqueue",
		    "per CPU, ordered, unbound; with a rescuer",
		    create_workqueue_makes_those_of_old),
		ROW("alloc_ordered_workqueue", "one at a time, in order",
		    ordered_queue_keeps_the_order),
		ROW("workqueue_set_max_active, workqueue_set_min_active, workqueue_congested, "
		    "WQ_MAX_ACTIVE, WQ_UNBOUND_MAX_ACTIVE, WQ_DFL_MIN_ACTIVE",
		    "clamped", max_active_is_clamped),
		ROW("freeze_workqueues_begin, freeze_workqueues_busy, thaw_workqueues",
		    "what is new waits", freezing_holds_freezable_queues),
		ROW("system_wq, system_percpu_wq, system_highpri_wq, system_long_wq, "
		    "system_unbound_wq, system_dfl_wq, system_dfl_long_wq, system_freezable_wq, "
		    "system_power_efficient_wq, system_freezable_power_efficient_wq, "
		    "system_bh_wq, system_bh_highpri_wq",
		    "one each", system_queues_have_their_names_old_and_new),
		ROW("workqueue_attrs, alloc_workqueue_attrs, apply_workqueue_attrs, "
		    "free_workqueue_attrs, WQ_AFFN_DFL",
		    "unbound queues only", attrs_are_applied),
		ROW("alloc_workqueue_attrs", "as of queues that are given none",
		    fresh_attrs_are_the_default),
		ROW("workqueue_attrs", "affn_strict: in the pod",
		    strict_attrs_keep_workers_in_their_pod),
		ROW("apply_workqueue_attrs", "ordered queues keep their order",
		    attrs_of_an_ordered_queue_keep_its_order),
		ROW("cpumask, cpumask_t, cpumask_var_t, cpumask_set_cpu, cpumask_clear_cpu, "
		    "cpumask_test_cpu, "
		    "cpumask_clear, cpumask_setall, cpumask_copy",
		    "hold CPUs", cpumasks_hold_cpus),
		ROW("wq_cpu_hogs", "names func", functions_that_hog_are_named),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
