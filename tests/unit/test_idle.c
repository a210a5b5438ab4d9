/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G14: an idle library uses no CPU, after any kind of load, and beside items that
 * block for ever where nothing can be done about it.
 */
#include "host.h"

#include <dirent.h>
#include <time.h>

#define WINDOW_MS 100
#define QUIET_MS  1000
#define TRIES	  5

static const unsigned kinds[] = {0,
				 WQ_PERCPU,
				 WQ_HIGHPRI,
				 WQ_PERCPU | WQ_HIGHPRI,
				 WQ_ORDERED,
				 WQ_DEDICATED,
				 WQ_CPU_INTENSIVE,
				 WQ_FREEZABLE,
				 WQ_MEM_RECLAIM,
				 WQ_PERCPU | WQ_MEM_RECLAIM,
				 WQ_BH};

/* --- How often the threads, but for this one, have run --- */

static unsigned long switches_of(const char *tid)
{
	char path[300], line[200];
	unsigned long n, sum = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", tid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n) == 1)
			sum += n;
	fclose(file);
	return sum;
}

static unsigned long switches(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned long sum = 0;

	CHECK(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strtol(entry->d_name, NULL, 10) != (long)getpid())
			sum += switches_of(entry->d_name);
	closedir(dir);
	return sum;
}

static bool quiet_for(unsigned ms)
{
	unsigned long before = switches();

	for (; ms >= WINDOW_MS; ms -= WINDOW_MS) {
		pass_ms(WINDOW_MS);
		if (switches() != before)
			return false;
	}
	return true;
}

/*
 * Quiet once it has settled.  On a busy machine a thread of idle priority may come
 * late to see that there is nothing to do: then it is looked at again.
 */
static void check_quiet(const char *when)
{
	unsigned settling, tries;

	watchdog();
	for (tries = 0; tries < TRIES; tries++) {
		for (settling = 0; settling < 50 && !quiet_for(WINDOW_MS); settling++)
			;
		if (quiet_for(QUIET_MS))
			return;
	}
	dprintf(2, "not quiet: %s\n", when);
	CHECK(false);
}

/* --- Load --- */

#define NR_LOAD 24

enum what { CHEAP, COMPUTES, COMPUTES_LONG, BLOCKS, NR_WHAT };

static void load_fn(struct wq_work *work, void *ctx)
{
	static const long us[NR_WHAT] = {[COMPUTES] = 500, [COMPUTES_LONG] = 12000};
	struct timespec begin, now, nap = {.tv_nsec = 1000000};
	long what = (long)(intptr_t)ctx, spent;

	if (what == BLOCKS)
		nanosleep(&nap, NULL);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
		spent = (now.tv_sec - begin.tv_sec) * 1000000 +
			(now.tv_nsec - begin.tv_nsec) / 1000;
	} while (spent < us[what]);
}

static void burst(struct wq **wqs, unsigned nr)
{
	static struct wq_work works[ARRAY_SIZE(kinds)][NR_LOAD];
	unsigned i, k;
	int cpu;

	for (i = 0; i < NR_LOAD; i++) {
		for (k = 0; k < nr; k++) {
			intptr_t what = i % 12 == 11 ? COMPUTES_LONG
					: i % 3 == 2 ? COMPUTES
					: i % 3	     ? BLOCKS
						     : CHEAP;

			if (kinds[k] & WQ_BH && what != COMPUTES)
				what = CHEAP;
			wq_work_init(&works[k][i], load_fn, (void *)what);
			cpu = usable_cpu(i / 3 % 2);
			CHECK_EQUAL(wq_queue_on(wqs[k], &works[k][i],
						cpu < 0 ? usable_cpu(0) : cpu),
				    1);
		}
	}
	for (k = 0; k < nr; k++)
		CHECK_EQUAL(wq_flush(wqs[k]), 0);
}

static void queues_begin(struct wq **wqs)
{
	unsigned k;

	unsetenv("WQ_IDLE_TIMEOUT_MS");
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		wqs[k] = wq_alloc("idle", kinds[k], 0);
		CHECK(wqs[k]);
	}
}

static void queues_end(struct wq **wqs)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		CHECK_EQUAL(wq_destroy(wqs[k]), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

/* --- With nothing to do --- */

static void quiet_after_load(void *ctx)
{
	struct wq *wqs[ARRAY_SIZE(kinds)];

	queues_begin(wqs);
	check_quiet("with queues that were never used");
	burst(wqs, ARRAY_SIZE(kinds));
	check_quiet("after a load");
	burst(wqs, ARRAY_SIZE(kinds));
	check_quiet("after another");
	queues_end(wqs);
}

static void idle_library_after_any_load_does_not_wake_up(void **state)
{
	skip_under_checkers();
	holds_in_child(quiet_after_load, NULL);
}

/* --- With an item that blocks for ever --- */

/* Each kind in turn, after a load that leaves workers, so that they know what may come. */
static void quiet_beside_one(void *ctx)
{
	struct wq *wqs[ARRAY_SIZE(kinds)];
	struct probe gate;
	unsigned k;

	queues_begin(wqs);
	burst(wqs, ARRAY_SIZE(kinds));
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (kinds[k] & WQ_BH)
			continue;
		probe_init_gate(&gate);
		CHECK_EQUAL(wq_queue_on(wqs[k], &gate.work, usable_cpu(0)), 1);
		latch_wait(&gate.started, 1);
		check_quiet("beside an item that blocks");
		latch_post(&gate.open);
		CHECK_EQUAL(wq_flush(wqs[k]), 0);
	}
	queues_end(wqs);
}

static void library_with_a_blocked_item_does_not_wake_up(void **state)
{
	skip_under_checkers();
	holds_in_child(quiet_beside_one, NULL);
}

/* Blocked items of all kinds at once; others have come and gone beside them. */
static void quiet_beside_many(void *ctx)
{
	struct probe gates[ARRAY_SIZE(kinds)];
	struct wq *wqs[ARRAY_SIZE(kinds)];
	unsigned k;

	queues_begin(wqs);
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (kinds[k] & WQ_BH)
			continue;
		probe_init_gate(&gates[k]);
		CHECK_EQUAL(wq_queue_on(wqs[k], &gates[k].work, usable_cpu(0)), 1);
		latch_wait(&gates[k].started, 1);
	}
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct probe probe;

		if (kinds[k] & (WQ_ORDERED | WQ_DEDICATED))
			continue;
		probe_init(&probe);
		CHECK_EQUAL(wq_queue_on(wqs[k], &probe.work, usable_cpu(0)), 1);
		CHECK(wq_work_flush(&probe.work) >= 0);
	}
	check_quiet("beside blocked items of all kinds");
	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		if (!(kinds[k] & WQ_BH))
			latch_post(&gates[k].open);
	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		CHECK_EQUAL(wq_flush(wqs[k]), 0);
	queues_end(wqs);
}

static void library_with_many_blocked_items_does_not_wake_up(void **state)
{
	skip_under_checkers();
	holds_in_child(quiet_beside_many, NULL);
}

/* --- With items that wait, where nothing can help --- */

#define NR_BEHIND 5

/* One place, held by an item that blocks. */
static void quiet_behind_one(struct wq *wq)
{
	struct probe gate, behind[NR_BEHIND];
	unsigned i;

	CHECK(wq);
	probe_init_gate(&gate);
	CHECK_EQUAL(wq_queue_on(wq, &gate.work, usable_cpu(0)), 1);
	latch_wait(&gate.started, 1);
	for (i = 0; i < NR_BEHIND; i++) {
		probe_init(&behind[i]);
		CHECK_EQUAL(wq_queue_on(wq, &behind[i].work, usable_cpu(0)), 1);
	}
	check_quiet("with items that must wait for a blocked one");
	for (i = 0; i < NR_BEHIND; i++)
		CHECK_EQUAL(behind[i].runs, 0);
	latch_post(&gate.open);
	CHECK_EQUAL(wq_flush(wq), 0);
	for (i = 0; i < NR_BEHIND; i++)
		CHECK_EQUAL(behind[i].runs, 1);
	CHECK_EQUAL(wq_destroy(wq), 0);
}

static void quiet_behind(void *ctx)
{
	quiet_behind_one(wq_alloc("ordered", WQ_ORDERED, 0));
	quiet_behind_one(wq_alloc("dedicated", WQ_DEDICATED, 0));
	quiet_behind_one(wq_alloc("full", 0, 1));
	quiet_behind_one(wq_alloc("full", WQ_PERCPU, 1));
	quiet_behind_one(wq_alloc("reclaim", WQ_ORDERED | WQ_MEM_RECLAIM, 0));
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void library_whose_items_must_wait_for_a_blocked_one_does_not_wake_up(void **state)
{
	skip_under_checkers();
	holds_in_child(quiet_behind, NULL);
}

static void quiet_frozen(void *ctx)
{
	static const unsigned flags[] = {WQ_FREEZABLE, WQ_FREEZABLE | WQ_PERCPU,
					 WQ_FREEZABLE | WQ_MEM_RECLAIM};
	struct wq *wqs[ARRAY_SIZE(flags)];
	struct probe probes[ARRAY_SIZE(flags)];
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(flags); k++) {
		wqs[k] = wq_alloc("frozen", flags[k], 0);
		CHECK(wqs[k]);
		probe_init(&probes[k]);
	}
	CHECK_EQUAL(wq_freeze_all(), 0);
	for (k = 0; k < ARRAY_SIZE(flags); k++)
		CHECK_EQUAL(wq_queue_on(wqs[k], &probes[k].work, usable_cpu(0)), 1);
	check_quiet("while frozen");
	CHECK_EQUAL(wq_thaw_all(), 0);
	for (k = 0; k < ARRAY_SIZE(flags); k++) {
		CHECK_EQUAL(wq_flush(wqs[k]), 0);
		CHECK_EQUAL(probes[k].runs, 1);
		CHECK_EQUAL(wq_destroy(wqs[k]), 0);
	}
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void library_while_frozen_does_not_wake_up(void **state)
{
	skip_under_checkers();
	holds_in_child(quiet_frozen, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_library_after_any_load_does_not_wake_up),
		cmocka_unit_test(library_with_a_blocked_item_does_not_wake_up),
		cmocka_unit_test(library_with_many_blocked_items_does_not_wake_up),
		cmocka_unit_test(library_whose_items_must_wait_for_a_blocked_one_does_not_wake_up),
		cmocka_unit_test(library_while_frozen_does_not_wake_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
