/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * As a user without privileges: everything works, and what is raised of priority is
 * what the limits permit, and can be read.  Beside it, what a privileged user gets.
 */
#include "host.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const unsigned kinds[] = {0,
				 WQ_PERCPU,
				 WQ_HIGHPRI,
				 WQ_PERCPU | WQ_HIGHPRI,
				 WQ_ORDERED,
				 WQ_DEDICATED,
				 WQ_CPU_INTENSIVE,
				 WQ_FREEZABLE,
				 WQ_POWER_EFFICIENT,
				 WQ_MEM_RECLAIM,
				 WQ_PERCPU | WQ_MEM_RECLAIM,
				 WQ_ORDERED | WQ_MEM_RECLAIM,
				 WQ_HIGHPRI | WQ_MEM_RECLAIM,
				 WQ_BH,
				 WQ_BH | WQ_PERCPU | WQ_HIGHPRI};

static struct wq *(*const system_queues[])(void) = {
	wq_system,	     wq_system_percpu,		wq_system_highpri, wq_system_long,
	wq_system_freezable, wq_system_power_efficient, wq_system_bh,
};

static void end_and_leave_nothing(void)
{
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
}

/* --- Everything works --- */

static void every_kind_works(void *ctx)
{
	struct probe probe;
	unsigned i;

	become_nobody();
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		new_queue_works(kinds[i]);
	for (i = 0; i < ARRAY_SIZE(system_queues); i++) {
		struct wq *wq = system_queues[i]();

		CHECK(wq);
		probe_init(&probe);
		probe_runs(wq, &probe);
	}
	end_and_leave_nothing();
}

static void unprivileged_user_has_every_kind_of_queue(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(every_kind_works, NULL);
}

/* --- Priority --- */

/* What an item finds on its thread. */
struct found {
	struct wq_work work;
	unsigned long runs;
	int nice, policy;
};

static void found_fn(struct wq_work *work, void *ctx)
{
	struct found *found = ctx;

	found->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
	found->policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
	count_up(&found->runs);
}

/* The item runs, and the pool's figures are those that it found. */
static void find(unsigned flags, struct found *found, struct wq_pool_stats *stats)
{
	struct wq *wq = wq_alloc("find", flags, 0);
	int cpu = usable_cpu(0);

	CHECK(wq);
	found->runs = 0;
	wq_work_init(&found->work, found_fn, found);
	CHECK_EQUAL(wq_queue_on(wq, &found->work, cpu), 1);
	CHECK_EQUAL(wq_flush(wq), 0);
	CHECK_EQUAL(found->runs, 1);
	CHECK_EQUAL(wq_pool_stats_read(wq, cpu, stats, sizeof(*stats)), 0);
	CHECK_EQUAL(stats->policy, found->policy);
	if (found->policy == SCHED_OTHER)
		CHECK_EQUAL(stats->nice, found->nice);
	CHECK(stats->nr_workers >= 1);
	CHECK_EQUAL(wq_destroy(wq), 0);
}

/* May a process of this user have it?  Asked of one that ends at once. */
static void try_nice(void *ctx)
{
	if (setpriority(PRIO_PROCESS, 0, *(int *)ctx))
		_exit(2);
}

static void try_real_time(void *ctx)
{
	struct sched_param param = {.sched_priority = 1};

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		_exit(2);
}

/* Both the soft and the hard limit, while it is still permitted to raise them. */
static void limit_to(int resource, rlim_t value)
{
	struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit(resource, &limit))
		skip_child("the limit can't be raised");
}

#define HIGH_NICE -20

static void nice_is(int expected, int real_time)
{
	static const unsigned high[] = {WQ_HIGHPRI, WQ_PERCPU | WQ_HIGHPRI,
					WQ_HIGHPRI | WQ_MEM_RECLAIM};
	struct wq_pool_stats stats;
	struct found found;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(high); i++) {
		find(high[i], &found, &stats);
		CHECK_EQUAL(stats.nice_wanted, HIGH_NICE);
		CHECK_EQUAL(stats.nice, expected);
		CHECK_EQUAL(stats.policy, SCHED_OTHER);
	}
	find(WQ_BH, &found, &stats);
	CHECK_EQUAL(stats.policy, real_time);
	if (real_time == SCHED_OTHER)
		CHECK_EQUAL(stats.nice, expected);
	CHECK_EQUAL(stats.level, 1);
	/* Others are left as they were. */
	find(0, &found, &stats);
	CHECK_EQUAL(stats.nice, getpriority(PRIO_PROCESS, 0));
	CHECK_EQUAL(stats.nice_wanted, 0);
	CHECK_EQUAL(stats.policy, SCHED_OTHER);
	find(WQ_PERCPU, &found, &stats);
	CHECK_EQUAL(stats.nice, getpriority(PRIO_PROCESS, 0));
	CHECK_EQUAL(stats.policy, SCHED_OTHER);
	end_and_leave_nothing();
}

static void nothing_raised(void *ctx)
{
	int better = getpriority(PRIO_PROCESS, 0) - 1;

	limit_to(RLIMIT_NICE, 0);
	limit_to(RLIMIT_RTPRIO, 0);
	become_nobody();
	if (!in_child(try_nice, &better) || !in_child(try_real_time, NULL))
		skip_child("this user is privileged");
	nice_is(better + 1, SCHED_OTHER);
}

static void priority_without_a_limit_raised_stays_and_says_so(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(nothing_raised, NULL);
}

/* RLIMIT_NICE is 20 minus the lowest nice value. */
static void nice_raised(void *ctx)
{
	int permitted = 20 - *(int *)ctx, more = permitted - 1;

	limit_to(RLIMIT_NICE, (rlim_t) * (int *)ctx);
	limit_to(RLIMIT_RTPRIO, 0);
	become_nobody();
	if (in_child(try_nice, &permitted))
		skip_child("the limit is not heeded");
	if (!in_child(try_nice, &more) || !in_child(try_real_time, NULL))
		skip_child("this user is privileged");
	nice_is(permitted, SCHED_OTHER);
}

static void priority_with_a_nice_limit_is_the_nearest_permitted(void **state)
{
	int limits[] = {30, 39, 21}, i;

	skip_if_checker_hangs_children();
	for (i = 0; i < 3; i++)
		holds_in_child(nice_raised, &limits[i]);
}

static void real_time_raised(void *ctx)
{
	int better = getpriority(PRIO_PROCESS, 0) - 1;

	limit_to(RLIMIT_NICE, 0);
	limit_to(RLIMIT_RTPRIO, (rlim_t) * (int *)ctx);
	become_nobody();
	if (in_child(try_real_time, NULL))
		skip_child("real-time threads are not to be had here");
	if (!in_child(try_nice, &better))
		skip_child("this user is privileged");
	nice_is(better + 1, SCHED_FIFO);
}

static void bh_with_a_real_time_limit_is_real_time(void **state)
{
	int limits[] = {1, 99}, i;

	skip_if_checker_hangs_children();
	for (i = 0; i < 2; i++)
		holds_in_child(real_time_raised, &limits[i]);
}

static void all_raised(void *ctx)
{
	int best = HIGH_NICE;

	if (in_child(try_nice, &best))
		skip_child("this user is not privileged");
	nice_is(best, in_child(try_real_time, NULL) ? SCHED_OTHER : SCHED_FIFO);
}

static void priority_of_a_privileged_user_is_the_highest(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(all_raised, NULL);
}

/* The policy of what watches the workers does not pass to them, nor to what items make. */
static void child_fn(struct wq_work *work, void *ctx)
{
	int *status = ctx;
	pid_t pid = fork();

	if (!pid)
		_exit(sched_getscheduler(0) == SCHED_IDLE);
	*status = child_status(pid);
}

static void not_idle(void *ctx)
{
	int status = -1;
	struct wq_work work = WQ_WORK_INIT(child_fn, &status);
	unsigned i;

	become_nobody();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("q", kinds[i], 0);

		/* Late workers too: those that come because others block. */
		if (!kinds[i] || kinds[i] == WQ_PERCPU)
			blocked_let_others_in(wq, usable_cpu(0), 10);
		CHECK_EQUAL(wq_queue_on(wq, &work, usable_cpu(0)), 1);
		CHECK_EQUAL(wq_flush(wq), 0);
		CHECK_EQUAL(status, 0);
		CHECK_EQUAL(wq_destroy(wq), 0);
	}
	end_and_leave_nothing();
}

static void workers_of_an_unprivileged_user_are_never_idle_class(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(not_idle, NULL);
}

/* --- Who blocks lets others in --- */

static void blocked(void *ctx)
{
	become_nobody();
	blocked_let_others_in_everywhere(5);
	end_and_leave_nothing();
}

static void blocked_items_of_an_unprivileged_user_let_others_in(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(blocked, NULL);
}

/* The library's first use is with that CPU only. */
static void blocked_on_one_cpu(void *ctx)
{
	struct wq_pool_stats stats;
	cpu_set_t set;
	struct wq *wq;

	become_nobody();
	CPU_ZERO(&set);
	CPU_SET(*(int *)ctx, &set);
	CHECK_EQUAL(sched_setaffinity(0, sizeof(set), &set), 0);
	blocked_let_others_in_everywhere(5);
	wq = wq_alloc("one", 0, 0);
	CHECK(wq);
	blocked_let_others_in(wq, *(int *)ctx, 100);
	CHECK_EQUAL(wq_pool_stats_read(wq, -1, &stats, sizeof(stats)), 0);
	CHECK_EQUAL(stats.level, 1);
	CHECK_EQUAL(stats.started_above_level, 0);
	CHECK_EQUAL(wq_destroy(wq), 0);
	end_and_leave_nothing();
}

static void blocked_items_with_one_cpu_let_others_in(void **state)
{
	int cpu;
	unsigned i;

	skip_if_cpus_are_pretended();
	skip_if_checker_hangs_children();
	for (i = 0; i < 2 && (cpu = usable_cpu(i)) >= 0; i++)
		holds_in_child(blocked_on_one_cpu, &cpu);
}

/* --- The end --- */

/* Threads of idle priority must get to run to be joined. */
static void shutdown_beside_hogs(void *ctx)
{
	struct hogs hogs;
	unsigned round;

	become_nobody();
	hogs_begin(&hogs);
	for (round = 0; round < 3; round++) {
		blocked_let_others_in_everywhere(1);
		end_and_leave_nothing();
	}
	hogs_end(&hogs);
}

static void shutdown_while_others_hog_each_cpu_leaves_no_thread(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(shutdown_beside_hogs, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unprivileged_user_has_every_kind_of_queue),
		cmocka_unit_test(priority_without_a_limit_raised_stays_and_says_so),
		cmocka_unit_test(priority_with_a_nice_limit_is_the_nearest_permitted),
		cmocka_unit_test(bh_with_a_real_time_limit_is_real_time),
		cmocka_unit_test(priority_of_a_privileged_user_is_the_highest),
		cmocka_unit_test(workers_of_an_unprivileged_user_are_never_idle_class),
		cmocka_unit_test(blocked_items_of_an_unprivileged_user_let_others_in),
		cmocka_unit_test(blocked_items_with_one_cpu_let_others_in),
		cmocka_unit_test(shutdown_while_others_hog_each_cpu_leaves_no_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
