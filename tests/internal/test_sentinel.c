/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules under which sentinels live, one by one (lib/sentinel.h, lib/README.md). */
#include "observe.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "block.h"
#include "cpu.h"
#include "limit.h"
#include "place.h"
#include "pool.h"
#include "queue.h"
#include "sentinel.h"
#include "table.h"
#include "task.h"
#include "worker.h"

static void set_hook(void (*hook)(const char *where))
{
	__atomic_store_n(&wqi_test_hook, hook, __ATOMIC_SEQ_CST);
}

/* Each begins with a fresh library: no sentinel, no worker. */
static int anew(void **state)
{
	set_hook(NULL);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(nr_threads_falls_to("wq/", 0), 0);
	return 0;
}

/* --- items of which the first wait for the last --- */

struct crowd {
	struct wq_work works[8];
	struct latch open;
	unsigned long left, wrong_policy;
};

static void crowd_fn(struct wq_work *work, void *ctx)
{
	struct crowd *crowd = ctx;

	if (sched_getscheduler(0) != SCHED_OTHER)
		count_up(&crowd->wrong_policy);
	if (count_add(&crowd->left, -1UL) == 0)
		latch_post(&crowd->open);
	latch_wait(&crowd->open, 1);
}

static void crowd_queue(struct crowd *crowd, struct wq *wq)
{
	unsigned i;

	memset(crowd, 0, sizeof(*crowd));
	latch_init(&crowd->open);
	crowd->left = ARRAY_SIZE(crowd->works);
	for (i = 0; i < ARRAY_SIZE(crowd->works); i++) {
		wq_work_init(&crowd->works[i], crowd_fn, crowd);
		assert_int_equal(wq_queue_on(wq, &crowd->works[i], usable_cpu(0)), 1);
	}
}

static void crowd_gets_on(struct wq *wq)
{
	struct crowd crowd;

	crowd_queue(&crowd, wq);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(crowd.wrong_policy, 0);
}

/* --- the rules --- */

static struct {
	struct latch stopped, go;
	unsigned long kicks;
} stopped;

static void stop_sentinel(const char *where)
{
	if (strcmp(where, "sentinel kicks") != 0)
		return;
	count_up(&stopped.kicks);
	latch_wait(&stopped.go, 1);
}

static void sentinel_that_gets_stuck_holds_up_nobody(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU, 0), *other;
	struct probe probe;

	stopped.kicks = 0;
	latch_init(&stopped.go);
	set_hook(stop_sentinel);
	/* On a busy machine the monitor may be first, and the sentinel finds nothing to do. */
	while (!count_get(&stopped.kicks))
		crowd_gets_on(wq);
	/* Whatever it is in the midst of: all else gets on, by the monitor. */
	crowd_gets_on(wq);
	other = wq_alloc("other", 0, 0);
	probe_init(&probe);
	assert_int_equal(wq_queue(other, &probe.work), 1);
	assert_int_equal(wq_work_cancel_sync(&probe.work) + (int)probe.runs, 1);
	assert_int_equal(wq_destroy(other), 0);
	latch_post(&stopped.go);
	assert_int_equal(wq_destroy(wq), 0);
}

/* Threads that it made could never leave its policy. */
static void sentinel_makes_no_thread(void **state)
{
	static const unsigned kinds[] = {WQ_PERCPU, 0, WQ_PERCPU | WQ_HIGHPRI};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("q", kinds[k], 0);

		crowd_gets_on(wq);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void *sleep_main(void *arg)
{
	struct probe *probe = arg;

	count_set(&probe->runs, (unsigned long)gettid());
	latch_wait(&probe->open, 1);
	return NULL;
}

static void task_state_is_what_the_thread_does(void **state)
{
	struct probe probe;
	pthread_t thread;
	uint64_t ns, later;
	char name[16];
	pid_t tid;

	probe_init_gate(&probe);
	probe.runs = 0;
	assert_int_equal(pthread_create(&thread, NULL, sleep_main, &probe), 0);
	while (!(tid = (pid_t)count_get(&probe.runs)))
		sched_yield();
	task_wait_asleep(tid);
	assert_true(wqi_task_state_is_blocked(wqi_task_state(tid)));
	assert_true(wqi_task_cpu_ns(tid, &ns));
	assert_true(wqi_task_cpu_ns(tid, &later));
	assert_int_equal(ns, later);
	latch_post(&probe.open);
	pthread_join(thread, NULL);
	assert_int_equal(wqi_task_state(0), 0);
	assert_int_equal(wqi_task_state(-1), 0);

	/* Whatever it is called. */
	assert_int_equal(wqi_task_state(gettid()), 'R');
	assert_false(wqi_task_state_is_blocked('R'));
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, "a) S (b) D 1 (");
	assert_int_equal(wqi_task_state(gettid()), 'R');
	prctl(PR_SET_NAME, name);
}

/* --- descriptors that a sentinel keeps --- */

#define NR_SLEEPERS 8u

static struct sleepers {
	struct probe probe[NR_SLEEPERS];
	pthread_t thread[NR_SLEEPERS];
	pid_t tid[NR_SLEEPERS];
} sleepers;

static void sleepers_begin(void)
{
	struct probe *probe;
	unsigned i;

	for (i = 0; i < NR_SLEEPERS; i++) {
		probe = &sleepers.probe[i];
		probe_init_gate(probe);
		probe->runs = 0;
		assert_int_equal(pthread_create(&sleepers.thread[i], NULL, sleep_main, probe), 0);
		while (!(sleepers.tid[i] = (pid_t)count_get(&probe->runs)))
			sched_yield();
		task_wait_asleep(sleepers.tid[i]);
	}
}

static void sleepers_end(void)
{
	unsigned i;

	for (i = 0; i < NR_SLEEPERS; i++) {
		latch_post(&sleepers.probe[i].open);
		pthread_join(sleepers.thread[i], NULL);
	}
}

static struct keeper {
	struct latch asked, ended;
	unsigned long own, right, wrong;
	struct rlimit limit;
} keeper;

static void keeper_ask_all(struct wqi_task_files *files)
{
	unsigned i;
	char state;

	for (i = 0; i < NR_SLEEPERS; i++) {
		state = wqi_task_state_by(files, sleepers.tid[i]);
		/* No more descriptors were to be had: the next look has them. */
		if (!state)
			state = wqi_task_state_by(files, sleepers.tid[i]);
		if (wqi_task_state_is_blocked(state))
			keeper.right++;
	}
}

static void *keeper_main(void *arg)
{
	struct rlimit few = {.rlim_cur = 3, .rlim_max = keeper.limit.rlim_max};
	struct wqi_task_files files;
	unsigned i;

	wqi_task_files_begin(&files);
	keeper.own = files.own;
	keeper_ask_all(&files);
	keeper_ask_all(&files);
	latch_post(&keeper.asked);
	latch_wait(&keeper.ended, 1);
	if (files.own)
		setrlimit(RLIMIT_NOFILE, &few);
	keeper_ask_all(&files);
	setrlimit(RLIMIT_NOFILE, &keeper.limit);
	latch_post(&keeper.asked);
	latch_wait(&keeper.ended, 2);
	for (i = 0; i < NR_SLEEPERS; i++)
		keeper.wrong += wqi_task_state_by(&files, sleepers.tid[i]) != 0;
	keeper.wrong += wqi_task_state_by(&files, 0) != 0 || wqi_task_state_by(&files, -1) != 0;
	keeper.wrong += wqi_task_state_by(&files, gettid()) != 'R';
	return NULL;
}

/* The program does not see them, and neither the limit nor the end of a thread misleads. */
static void descriptors_that_a_sentinel_keeps_are_its_own(void **state)
{
	unsigned long before = nr_descriptors();
	pthread_t thread;

	memset(&keeper, 0, sizeof(keeper));
	latch_init(&keeper.asked);
	latch_init(&keeper.ended);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &keeper.limit), 0);
	sleepers_begin();
	assert_int_equal(pthread_create(&thread, NULL, keeper_main, NULL), 0);
	latch_wait(&keeper.asked, 1);
	assert_int_equal(nr_descriptors(), before);
	assert_int_equal(keeper.right, 2 * NR_SLEEPERS);
	latch_post(&keeper.ended);
	latch_wait(&keeper.asked, 2);
	assert_int_equal(keeper.right, 3 * NR_SLEEPERS);
	sleepers_end();
	latch_post(&keeper.ended);
	pthread_join(thread, NULL);
	assert_int_equal(keeper.wrong, 0);
	assert_int_equal(nr_descriptors(), before);
	if (!keeper.own)
		skip();
}

/* --- a new worker --- */

static unsigned long may_block;

static void block_later_fn(struct wq_work *work, void *ctx)
{
	struct probe *probe = ctx;

	latch_post(&probe->started);
	while (!count_get(&may_block))
		sched_yield();
	latch_wait(&probe->open, 1);
}

static struct wqi_worker *first_runner_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker = pool->workers;

	while (worker && !worker->current_work)
		worker = worker->all_next;
	assert_non_null(worker);
	/* The monitor may have taken its looping for something else. */
	if (!worker->counted)
		wqi_worker_count_locked(worker);
	return worker;
}

/* As it is where nobody else looks: the lock is held, and no sentinel called. */
static void new_worker_finds_who_has_blocked_on_its_cpu(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU, 0);
	unsigned cpu = (unsigned)usable_cpu(0);
	struct probe first, second;
	cpu_set_t one, all;
	struct wqi_pool *pool;
	struct wqi_pwq *pwq;

	probe_init_gate(&first);
	probe_init(&second);
	may_block = 0;
	wq_work_init(&first.work, block_later_fn, &first);
	assert_int_equal(wq_queue_on(wq, &first.work, (int)cpu), 1);
	latch_wait(&first.started, 1);
	pwq = wqi_load_acquire(&wq->table)->slot[cpu];
	pool = wqi_pwq_pool(pwq);
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);

	wqi_pool_lock(pool);
	count_set(&may_block, 1);
	task_wait_asleep(first_runner_locked(pool)->tid);
	second.work.wq_state |= WQI_PENDING | wqi_pwq_in_state(pwq);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	wqi_store_relaxed(&pool->told, 0u);
	wqi_sentinel_stand_in(pool);
	assert_int_equal(wqi_load_relaxed(&pool->told), 0); /* nothing waits */
	wqi_inbox_push(&pool->inbox, &second.work);
	wqi_sentinel_stand_in(pool);
	assert_int_equal(wqi_load_relaxed(&pool->told), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	wqi_pool_unlock(pool);

	/* Whoever is woken believes it. */
	wqi_pool_lock(pool);
	wqi_pool_wake_one_locked(pool);
	wqi_pool_unlock(pool);
	latch_wait(&second.ended, 1);
	latch_post(&first.open);
	assert_int_equal(wq_destroy(wq), 0);
}

static void compute_fn(struct wq_work *work, void *ctx)
{
	compute_ns(500000);
}

static void computing_workers_are_not_found_blocked(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU, 0);
	struct wq_work works[20];
	struct wq_pool_stats stats;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(works); i++) {
		wq_work_init(&works[i], compute_fn, NULL);
		assert_int_equal(wq_queue_on(wq, &works[i], usable_cpu(0)), 1);
	}
	assert_int_equal(wq_flush(wq), 0);
	stats = pool_stats_of(wq, usable_cpu(0));
	if (checker_is_exact())
		assert_int_equal(stats.blocked_sleep + stats.blocked_said, 0);
	assert_int_equal(stats.started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

static void count_kicks(const char *where)
{
	if (!strcmp(where, "sentinel kicks"))
		count_up(&stopped.kicks);
}

/* All threads are blocked that there may be: nobody kicks, for it would change nothing. */
static void sentinel_is_not_armed_at_the_limit_of_threads(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct probe gate, probes[10];
	unsigned i, passed;
	struct wq *wq;

	config.max_threads = 1;
	assert_int_equal(wq_configure(&config), 0);
	wq = wq_alloc("q", WQ_PERCPU, 0);
	/* The one that there may be is there, and that is known. */
	probe_init(&gate);
	assert_int_equal(wq_queue_on(wq, &gate.work, usable_cpu(0)), 1);
	while (!wqi_load_relaxed(&wqi_limit_reached) || wq_work_busy(&gate.work))
		sched_yield();
	stopped.kicks = 0;
	set_hook(count_kicks);
	probe_init_gate(&gate);
	assert_int_equal(wq_queue_on(wq, &gate.work, usable_cpu(0)), 1);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		probe_init(&probes[i]);
		assert_int_equal(wq_queue_on(wq, &probes[i].work, usable_cpu(0)), 1);
	}
	latch_wait(&gate.started, 1);
	/* Long enough for the monitor to find it, and to be told that there is no other thread. */
	do {
		sched_yield();
		passed = (unsigned)pool_stats_of(wq, usable_cpu(0)).limit_waits;
	} while (!passed);
	latch_post(&gate.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(count_get(&stopped.kicks), 0);
	assert_int_equal(wq_destroy(wq), 0);
	config.max_threads = 0;
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(wq_configure(&config), 0);
}

/* More of them in one pool, each waited for on its CPU, and one may be asked whether its own is
 * idle. */
static void lone_items_need_no_sentinel(void **state)
{
	static const unsigned kinds[] = {WQ_PERCPU, 0, WQ_ORDERED, WQ_DEDICATED, WQ_BH};
	unsigned long i, rounds = scaled(WQI_PLACE_TURNS / 2 - 1);
	struct probe probe;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("q", kinds[k], 0);

		for (i = 0; i < rounds; i++) {
			probe_init(&probe);
			assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
			wq_work_flush(&probe.work);
		}
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_int_equal(nr_threads("wq/idle"), 0);
}

static void isolated_cpus_have_one_only_for_what_is_queued_there(void **state)
{
	struct wq *unbound = wq_alloc("u", 0, 0), *percpu = wq_alloc("p", WQ_PERCPU, 0);
	char name[16];

	wqi_cpus.alone = wqi_cpus.mask;
	crowd_gets_on(unbound);
	assert_int_equal(nr_threads("wq/idle"), 0);
	crowd_gets_on(percpu);
	snprintf(name, sizeof(name), "wq/idle-%d", usable_cpu(0));
	while (!nr_threads(name))
		crowd_gets_on(percpu);
	assert_int_equal(nr_threads("wq/idle"), 1);
	assert_int_equal(wq_destroy(unbound), 0);
	assert_int_equal(wq_destroy(percpu), 0);
}

static void sentinel_that_can_not_be_made_is_asked_for_again(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU, 0);
	struct probe probe;

	/* One worker, then for a while nothing. */
	probe_init(&probe);
	assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
	latch_wait(&probe.ended, 1);
	wqi_test_fault(WQI_FAULT_THREAD, 0, 2);
	crowd_gets_on(wq);
	while (!nr_threads("wq/idle"))
		crowd_gets_on(wq);
	assert_int_equal(wq_destroy(wq), 0);
}

static void shutdown_ends_sentinels(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU, 0);

	while (!nr_threads("wq/idle"))
		crowd_gets_on(wq);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(nr_threads_falls_to("wq/idle", 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(sentinel_that_gets_stuck_holds_up_nobody, anew),
		cmocka_unit_test_teardown(sentinel_makes_no_thread, anew),
		cmocka_unit_test_teardown(task_state_is_what_the_thread_does, anew),
		cmocka_unit_test_teardown(descriptors_that_a_sentinel_keeps_are_its_own, anew),
		cmocka_unit_test_teardown(new_worker_finds_who_has_blocked_on_its_cpu, anew),
		cmocka_unit_test_teardown(computing_workers_are_not_found_blocked, anew),
		cmocka_unit_test_teardown(sentinel_is_not_armed_at_the_limit_of_threads, anew),
		cmocka_unit_test_teardown(lone_items_need_no_sentinel, anew),
		cmocka_unit_test_teardown(isolated_cpus_have_one_only_for_what_is_queued_there,
					  anew),
		cmocka_unit_test_teardown(sentinel_that_can_not_be_made_is_asked_for_again, anew),
		cmocka_unit_test_teardown(shutdown_ends_sentinels, anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
