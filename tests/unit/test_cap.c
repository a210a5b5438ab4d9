/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* WQ_MAX_THREADS: more blocked items than there may be threads. */
#include "host.h"

#include <dirent.h>
#include <sys/resource.h>

#define CAP	 50
#define NR_ITEMS 1000

struct cap_item {
	struct wq_work work;
	unsigned long runs;
};

static struct cap_item items[NR_ITEMS];
static struct latch started = LATCH_INIT, open_gate = LATCH_INIT;

static void cap_fn(struct wq_work *work, void *ctx)
{
	struct cap_item *item = ctx;

	latch_post(&started);
	latch_wait(&open_gate, 1);
	count_up(&item->runs);
}

/* Worker threads are named after their CPU, or the unbound pool: wq/0:1, wq/u3:7. */
static unsigned nr_workers(void)
{
	char name[300], comm[32];
	struct dirent *entry;
	unsigned nr = 0;
	DIR *dir = opendir("/proc/self/task");

	CHECK(dir);
	while ((entry = readdir(dir))) {
		FILE *file;

		snprintf(name, sizeof(name), "/proc/self/task/%s/comm", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(name, "re");
		if (!file)
			continue;
		if (fgets(comm, sizeof(comm), file) && !strncmp(comm, "wq/", 3) &&
		    strchr("0123456789u", comm[3]) && strchr(comm, ':'))
			nr++;
		fclose(file);
	}
	closedir(dir);
	return nr;
}

static void pool_read(struct wq *wq, struct wq_pool_stats *stats)
{
	CHECK_EQUAL(wq_pool_stats_read(wq, usable_cpu(0), stats, sizeof(*stats)), 0);
}

static void cap_begin(void)
{
	struct wq_config config = WQ_CONFIG_INIT;

	unsetenv("WQ_MAX_THREADS");
	config.max_threads = CAP;
	CHECK_EQUAL(wq_configure(&config), 0);
}

/* One worker may be kept in reserve. */
static void cap_reach(struct wq *wq)
{
	struct wq_pool_stats stats;
	unsigned i;

	for (i = 0; i < NR_ITEMS; i++) {
		wq_work_init(&items[i].work, cap_fn, &items[i]);
		CHECK_EQUAL(wq_queue_on(wq, &items[i].work, usable_cpu(0)), 1);
	}
	latch_wait(&started, CAP - 1);
	do {
		CHECK(nr_workers() <= CAP);
		pass_ms(1);
		pool_read(wq, &stats);
	} while (!stats.limit_waits);
}

static void cap_leave(struct wq *wq)
{
	struct wq_pool_stats stats;
	unsigned i;

	latch_post(&open_gate);
	for (i = 0; i < NR_ITEMS; i++) {
		if (i % 100 == 0)
			CHECK(nr_workers() <= CAP);
		CHECK(wq_work_flush(&items[i].work) >= 0);
	}
	CHECK_EQUAL(wq_flush(wq), 0);
	CHECK(nr_workers() <= CAP);
	for (i = 0; i < NR_ITEMS; i++)
		CHECK_EQUAL(items[i].runs, 1);
	CHECK_EQUAL(started.count, NR_ITEMS);
	pool_read(wq, &stats);
	CHECK(stats.nr_workers <= CAP);
	CHECK(stats.limit_waits > 0);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
}

/* --- Never more, and all of it --- */

static void capped(void *ctx)
{
	struct wq *wq;
	unsigned i;

	cap_begin();
	wq = wq_alloc("cap", *(unsigned *)ctx, 0);
	CHECK(wq);
	cap_reach(wq);
	for (i = 0; i < 100; i++) {
		CHECK(nr_workers() <= CAP);
		CHECK(count_get(&started.count) <= CAP);
		pass_ms(1);
	}
	cap_leave(wq);
}

static void blocked_items_at_the_cap_have_no_more_threads_and_all_run(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_HIGHPRI, WQ_CPU_INTENSIVE};
	unsigned i;

	skip_under_checkers();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		unsigned flags = kinds[i];

		holds_in_child(capped, &flags);
	}
}

/* --- Costs little --- */

static uint64_t cpu_us(void)
{
	struct rusage usage;

	CHECK_EQUAL(getrusage(RUSAGE_SELF, &usage), 0);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void idle_at_the_cap(void *ctx)
{
	uint64_t before;
	struct wq *wq;

	cap_begin();
	wq = wq_alloc("cap", *(unsigned *)ctx, 0);
	CHECK(wq);
	cap_reach(wq);
	before = cpu_us();
	pass_ms(300);
	CHECK(cpu_us() - before < 60000);
	cap_leave(wq);
}

static void waiting_at_the_cap_costs_little(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU};
	unsigned i;

	skip_under_checkers();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		unsigned flags = kinds[i];

		holds_in_child(idle_at_the_cap, &flags);
	}
}

/* --- Who has threads of their own --- */

/* Rescuers and dedicated threads are outside the limit, and get on beside it. */
static void beside_the_cap(void *ctx)
{
	struct wq *wq, *reclaim, *dedicated;
	struct probe rescued, own;

	cap_begin();
	wq = wq_alloc("cap", *(unsigned *)ctx, 0);
	reclaim = wq_alloc("reclaim", *(unsigned *)ctx | WQ_MEM_RECLAIM, 0);
	dedicated = wq_alloc("dedicated", WQ_DEDICATED, 0);
	CHECK(wq);
	CHECK(reclaim);
	CHECK(dedicated);
	cap_reach(wq);
	probe_init(&rescued);
	probe_init(&own);
	CHECK_EQUAL(wq_queue_on(reclaim, &rescued.work, usable_cpu(0)), 1);
	CHECK_EQUAL(wq_queue(dedicated, &own.work), 1);
	latch_wait(&rescued.ended, 1);
	latch_wait(&own.ended, 1);
	CHECK(count_get(&started.count) <= CAP);
	CHECK_EQUAL(wq_destroy(reclaim), 0);
	CHECK_EQUAL(wq_destroy(dedicated), 0);
	cap_leave(wq);
}

static void reclaim_and_dedicated_items_at_the_cap_run(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU};
	unsigned i;

	skip_under_checkers();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		unsigned flags = kinds[i];

		holds_in_child(beside_the_cap, &flags);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocked_items_at_the_cap_have_no_more_threads_and_all_run),
		cmocka_unit_test(waiting_at_the_cap_costs_little),
		cmocka_unit_test(reclaim_and_dedicated_items_at_the_cap_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
