/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Beside the way of the items: what they cost, reports, and threads with nothing to do. */
#include "host.h"
#include "observe.h"

#include <dirent.h>
#include <sched.h>
#include <sys/wait.h>

#include "manager.h"
#include "pool.h"
#include "pwq.h"
#include "queue.h"
#include "task.h"
#include "worker.h"

#define FOR_EVER 1000000
#define HOUR_NS	 UINT64_C(3600000000000)

/* The library is not in use. */
static void set_max_threads(unsigned nr)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.max_threads = nr;
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(wq_configure(&config), 0);
}

/* Each begins with a fresh library. */
static int anew(void **state)
{
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	wq_set_report(NULL);
	set_max_threads(0);
	return 0;
}

static struct wqi_pool *pool_of(struct wq *wq)
{
	return wqi_queue_pwq_rcu(wq, (unsigned)usable_cpu(0))->pool;
}

static void run_item(struct wq *wq, wq_work_fn fn)
{
	struct wq_work work = WQ_WORK_INIT(fn, NULL);

	assert_int_equal(wq_queue_on(wq, &work, usable_cpu(0)), 1);
	wq_work_flush(&work);
}

/* --- what items cost --- */

static bool is_hog(wq_work_fn fn)
{
	struct wq_cpu_hog hogs[WQ_MAX_CPU_HOGS];
	unsigned nr = wq_cpu_hogs(hogs, WQ_MAX_CPU_HOGS), i;

	for (i = 0; i < nr; i++)
		if (hogs[i].fn == (const void *)(uintptr_t)fn)
			return true;
	return false;
}

static void quit_fn(struct wq_work *work, void *ctx)
{
	pthread_exit(NULL);
}

static void block_fn(struct wq_work *work, void *ctx)
{
	wq_block_begin();
	sched_yield();
	wq_block_end();
}

/* The pool's only worker has ended: its record, left with the pool locked. */
static struct wqi_worker *lock_with_spare(struct wqi_pool *pool)
{
	wqi_pool_lock(pool);
	while (!pool->spare || pool->nr_workers || pool->nr_creating) {
		wqi_pool_unlock(pool);
		sched_yield();
		wqi_pool_lock(pool);
	}
	return pool->spare;
}

/* The thread before had computed for an hour; the next begins at nothing. */
static void cost_on_a_record_used_again_is_the_new_threads(void **state)
{
	struct wqi_worker *worker;
	struct wqi_pool *pool;
	struct wq *wq;
	unsigned i;

	set_max_threads(1);
	wq = wq_alloc("q", WQ_PERCPU, 0);
	for (i = 0; i < 5; i++) {
		uint64_t before = stats_of(wq).cpu_time_ns;

		run_item(wq, quit_fn);
		pool = pool_of(wq);
		worker = lock_with_spare(pool);
		assert_ptr_equal(worker, pool->workers);
		assert_null(worker->all_next);
		worker->cpu_mark_ns = HOUR_NS;
		pool->item_ns = 1000; /* too cheap to be measured */
		wqi_pool_unlock(pool);
		/* Turns out to be long, for it blocks. */
		run_item(wq, block_fn);
		assert_true(stats_of(wq).cpu_time_ns >= before);
		assert_true(stats_of(wq).cpu_time_ns - before < HOUR_NS / 2);
		assert_false(is_hog(block_fn));
	}
	assert_int_equal(wq_destroy(wq), 0);
}

static void hog_fn(struct wq_work *work, void *ctx)
{
	compute_ns(20000000);
}

static unsigned long reader_ends;

static void *reader_main(void *arg)
{
	while (!count_get(&reader_ends))
		wq_cpu_hogs(NULL, 0);
	return NULL;
}

/* Also where somebody was reading when it was made. */
static void hogs_asked_for_first_in_a_child_are_none(void **state)
{
	unsigned long i, nr = scaled(100);
	pthread_t reader;
	struct wq *wq;

	skip_if_checker_hangs_children();
	wq = wq_alloc("q", 0, 0);
	run_item(wq, hog_fn);
	assert_true(is_hog(hog_fn));
	reader_ends = 0;
	assert_int_equal(pthread_create(&reader, NULL, reader_main, NULL), 0);
	for (i = 0; i < nr; i++) {
		pid_t pid = fork();

		if (!pid) {
			watchdog();
			_exit(wq_cpu_hogs(NULL, 0) ? 1 : 0);
		}
		assert_int_equal(child_status(pid), 0);
	}
	count_set(&reader_ends, 1);
	pthread_join(reader, NULL);
	assert_true(is_hog(hog_fn));
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- reports --- */

static struct latch report_begun, report_open;

static void blocking_report(const char *report)
{
	latch_post(&report_begun);
	latch_wait(&report_open, 1);
}

struct waiter {
	struct wq_work work, *item;
	struct wq *wq;
};

static void waiter_fn(struct wq_work *work, void *ctx)
{
	struct waiter *waiter = ctx;

	if (waiter->item)
		wq_work_flush(waiter->item);
	else
		wq_flush(waiter->wq);
}

static void report_that_blocks_holds_up_no_grace_period(void **state)
{
	unsigned k;

	for (k = 0; k < 2; k++) {
		struct wq *reclaim = wq_alloc("careful", WQ_MEM_RECLAIM, 0);
		struct wq *wq = wq_alloc("careless", 0, 0), *other = wq_alloc("other", 0, 0);
		struct waiter waiter = {.wq = wq};
		struct probe gate;

		latch_init(&report_begun);
		latch_init(&report_open);
		wq_set_report(blocking_report);
		probe_init_gate(&gate);
		assert_int_equal(wq_queue(wq, &gate.work), 1);
		latch_wait(&gate.started, 1);
		waiter.item = k ? &gate.work : NULL;
		wq_work_init(&waiter.work, waiter_fn, &waiter);
		assert_int_equal(wq_queue(reclaim, &waiter.work), 1);
		latch_wait(&report_begun, 1);
		assert_int_equal(wq_flush(other), 0);
		assert_int_equal(wq_destroy(other), 0);
		latch_post(&report_open);
		latch_post(&gate.open);
		assert_int_equal(wq_flush(reclaim), 0);
		assert_int_equal(stats_of(reclaim).reclaim_waits, 1);
		wq_set_report(NULL);
		assert_int_equal(wq_destroy(reclaim), 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* --- threads with nothing to do --- */

static pid_t find_thread(const char *name)
{
	char path[300], line[32];
	struct dirent *entry;
	pid_t tid = 0;
	DIR *dir = opendir("/proc/self/task");

	assert_non_null(dir);
	while (!tid && (entry = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!file)
			continue;
		if (fgets(line, sizeof(line), file) && !strncmp(line, name, strlen(name)))
			tid = atoi(entry->d_name);
		fclose(file);
	}
	closedir(dir);
	return tid;
}

/* It gives itself its name, soon. */
static pid_t thread_called(const char *name)
{
	pid_t tid;

	while (!(tid = find_thread(name)))
		sched_yield();
	return tid;
}

/* How often a thread has gone to sleep. */
static unsigned long nr_sleeps(pid_t tid)
{
	char path[64], line[128];
	unsigned long nr = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "voluntary_ctxt_switches:", 24))
			nr = strtoul(line + 24, NULL, 10);
	fclose(file);
	return nr;
}

static void threads_are_not_woken_where_nothing_waits_and_none_can_be_made(void **state)
{
	unsigned long manager_was, monitor_was;
	pid_t manager, monitor;
	struct probe gate;
	unsigned tries;
	struct wq *wq;

	skip_under_checkers();
	wq = wq_alloc("q", 0, 0);
	manager = thread_called("wq/manager");
	monitor = thread_called("wq/monitor");
	wqi_test_fault(WQI_FAULT_THREAD, 1, FOR_EVER);
	probe_init_gate(&gate);
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	latch_wait(&gate.started, 1);
	/* At first they look what there is to do. */
	for (tries = 0; tries < 20; tries++) {
		manager_was = nr_sleeps(manager);
		monitor_was = nr_sleeps(monitor);
		pass_ms(300);
		if (nr_sleeps(manager) == manager_was && nr_sleeps(monitor) == monitor_was)
			break;
	}
	assert_true(tries < 20);
	latch_post(&gate.open);
	assert_int_equal(wq_destroy(wq), 0);
}

/* The idle worker of a pool that has no other, asleep; the pool is left locked. */
static struct wqi_worker *lock_with_idle(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	for (;;) {
		wqi_pool_lock(pool);
		if (pool->nr_idle == 1 && pool->nr_workers == 1 && !pool->nr_creating) {
			worker = cds_list_first_entry(&pool->idle, struct wqi_worker, idle_node);
			if (task_state(worker->tid) == 'S' && !wqi_load_seq_cst(&worker->wake))
				return worker;
		}
		wqi_pool_unlock(pool);
		sched_yield();
	}
}

static uint64_t cpu_ns_of(pid_t tid)
{
	uint64_t ns = 0;

	assert_true(wqi_task_cpu_ns(tid, &ns));
	return ns;
}

/* It has the word, but no CPU: the test does not call the kernel for it. */
static void manager_sleeps_until_a_worker_that_ends_gets_to_run(void **state)
{
	struct wqi_worker *worker;
	struct wqi_pool *pool;
	struct probe probe;
	unsigned tries;
	pid_t manager;
	struct wq *wq;
	uint64_t was;

	skip_under_checkers();
	set_max_threads(1);
	wq = wq_alloc("q", WQ_PERCPU, 0);
	manager = thread_called("wq/manager");
	probe_init(&probe);
	assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
	assert_int_equal(wq_flush(wq), 0);
	pool = pool_of(wq);
	worker = lock_with_idle(pool);
	worker->retire = pool->retiring = true;
	wqi_store_seq_cst(&worker->wake, 1);
	wqi_pool_publish_reserve_locked(pool, worker);
	wqi_pool_unlock(pool);

	probe_init(&probe);
	assert_int_equal(wq_queue_on(wq, &probe.work, usable_cpu(0)), 1);
	wqi_manager_request(pool);
	for (tries = 0; tries < 40; tries++) {
		was = cpu_ns_of(manager);
		pass_ms(20);
		if (cpu_ns_of(manager) == was)
			break;
	}
	assert_true(tries < 40);
	assert_int_equal(count_get(&probe.runs), 0);
	wqi_futex_wake(&worker->wake, 1);
	latch_wait(&probe.ended, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(cost_on_a_record_used_again_is_the_new_threads, anew),
		cmocka_unit_test_teardown(hogs_asked_for_first_in_a_child_are_none, anew),
		cmocka_unit_test_teardown(report_that_blocks_holds_up_no_grace_period, anew),
		cmocka_unit_test_teardown(
			threads_are_not_woken_where_nothing_waits_and_none_can_be_made, anew),
		cmocka_unit_test_teardown(manager_sleeps_until_a_worker_that_ends_gets_to_run,
					  anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
