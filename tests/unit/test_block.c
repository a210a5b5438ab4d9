/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Blocking regions.  The items that are in one compute rather than block, and items
 * that compute are left alone here (WQ_CPU_INTENSIVE_US=0): nothing but the region
 * lets others in.
 */
#include "observe.h"

#include <sched.h>

#define NR_ITEMS 20

static unsigned long nop_runs;

static void nop_fn(struct wq_work *work, void *ctx)
{
	count_up(&nop_runs);
}

/* Settles which CPUs the library uses. */
static int start(void **state)
{
	return wq_system() ? 0 : -1;
}

/* Items begin, compute until another has run, and end what they began. */
struct region {
	struct wq_work work;
	struct latch begun, ended;
	unsigned begins, ends_first;
	unsigned long *until, at_least;
	int wrong_begins, wrong_ends, end_too_many;
};

static void region_fn(struct wq_work *work, void *ctx)
{
	struct region *region = ctx;
	unsigned i;

	for (i = 0; i < region->begins; i++)
		region->wrong_begins += wq_block_begin() != 0;
	for (i = 0; i < region->ends_first; i++)
		region->wrong_ends += wq_block_end() != 0;
	latch_post(&region->begun);
	while (count_get(region->until) < region->at_least)
		sched_yield();
	for (; i < region->begins; i++)
		region->wrong_ends += wq_block_end() != 0;
	region->end_too_many = wq_block_end();
	latch_post(&region->ended);
}

static void region_init(struct region *region, unsigned begins, unsigned ends_first,
			unsigned long *until)
{
	memset(region, 0, sizeof(*region));
	wq_work_init(&region->work, region_fn, region);
	latch_init(&region->begun);
	latch_init(&region->ended);
	region->begins = begins;
	region->ends_first = ends_first;
	region->until = until;
	region->at_least = 1;
}

static void region_was_right(const struct region *region)
{
	assert_int_equal(region->wrong_begins, 0);
	assert_int_equal(region->wrong_ends, 0);
	assert_int_equal(region->end_too_many, -EINVAL);
}

/* --- what a region does --- */

static void block_begin_lets_the_next_of_the_cpu_start(void **state)
{
	struct wq *wq = wq_alloc("block", WQ_PERCPU, 0);
	int cpu = usable_cpu(0);
	unsigned long i, rounds = scaled(200);
	struct wq_pool_stats before = pool_stats_of(wq, cpu), after;
	struct region region;
	struct probe second;

	for (i = 0; i < rounds; i++) {
		probe_init(&second);
		region_init(&region, 1, 0, &second.runs);
		assert_int_equal(wq_queue_on(wq, &region.work, cpu), 1);
		/* What waits already, and what comes later. */
		if (i % 2)
			latch_wait(&region.begun, 1);
		assert_int_equal(wq_queue_on(wq, &second.work, cpu), 1);
		latch_wait(&second.ended, 1);
		latch_wait(&region.ended, 1);
		wq_work_flush(&region.work);
		wq_work_flush(&second.work);
		region_was_right(&region);
	}
	after = pool_stats_of(wq, cpu);
	assert_true(after.blocked_said > before.blocked_said);
	assert_int_equal(after.started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

/* The others go on meanwhile, one at a time. */
static void block_region_leaves_the_others_their_order(void **state)
{
	struct wq *wq = wq_alloc("block", WQ_PERCPU, 0);
	int cpu = usable_cpu(0);
	unsigned long turns = 0;
	struct where wheres[NR_ITEMS];
	struct region region;
	unsigned i;

	skip_if_cpus_are_pretended();
	region_init(&region, 1, 0, &turns);
	region.at_least = ARRAY_SIZE(wheres);
	assert_int_equal(wq_queue_on(wq, &region.work, cpu), 1);
	for (i = 0; i < ARRAY_SIZE(wheres); i++) {
		where_init(&wheres[i], &turns);
		assert_int_equal(wq_queue_on(wq, &wheres[i].work, cpu), 1);
	}
	latch_wait(&region.ended, 1);
	for (i = 0; i < ARRAY_SIZE(wheres); i++) {
		assert_int_equal(wheres[i].turn, i + 1);
		assert_int_equal(wheres[i].cpu, cpu);
	}
	assert_int_equal(wq_flush(wq), 0);
	region_was_right(&region);
	assert_int_equal(wq_destroy(wq), 0);
}

static void block_regions_nest(void **state)
{
	struct wq *wq = wq_alloc("block", WQ_PERCPU, 0);
	int cpu = usable_cpu(0);
	struct region region;
	struct probe second;

	probe_init(&second);
	region_init(&region, 3, 2, &second.runs);
	assert_int_equal(wq_queue_on(wq, &region.work, cpu), 1);
	latch_wait(&region.begun, 1);
	/* The inner ones have ended, the outermost has not. */
	assert_int_equal(wq_queue_on(wq, &second.work, cpu), 1);
	latch_wait(&region.ended, 1);
	assert_int_equal(wq_flush(wq), 0);
	region_was_right(&region);
	assert_int_equal(wq_destroy(wq), 0);
}

static void block_unbound_items_beyond_the_level_start(void **state)
{
	struct wq *wq = wq_alloc("block", 0, 0);
	unsigned i, nr = nr_usable_cpus() + 4;
	struct region *regions = calloc(nr, sizeof(*regions));
	struct probe last;

	assert_non_null(regions);
	probe_init(&last);
	for (i = 0; i < nr; i++) {
		region_init(&regions[i], 1 + i % 3, 0, &last.runs);
		assert_int_equal(wq_queue(wq, &regions[i].work), 1);
	}
	assert_int_equal(wq_queue(wq, &last.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < nr; i++)
		region_was_right(&regions[i]);
	assert_int_equal(pool_stats_of(wq, -1).started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
	free(regions);
}

/* --- where there is none --- */

static void block_outside_an_item_does_nothing(void **state)
{
	assert_int_equal(wq_block_begin(), 0);
	assert_int_equal(wq_block_begin(), 0);
	assert_int_equal(wq_block_end(), 0);
	assert_int_equal(wq_block_end(), 0);
	assert_int_equal(wq_block_end(), 0);
}

struct answers {
	struct wq_work work;
	bool leave_open, quit;
	int before, begin, again, end, end_again, after;
};

static void answers_fn(struct wq_work *work, void *ctx)
{
	struct answers *answers = ctx;

	answers->before = answers->leave_open ? 0 : wq_block_end();
	answers->begin = wq_block_begin();
	answers->again = wq_block_begin();
	if (answers->quit)
		pthread_exit(NULL);
	if (answers->leave_open)
		return;
	answers->end = wq_block_end();
	answers->end_again = wq_block_end();
	answers->after = wq_block_end();
}

static void answers_of(struct wq *wq, struct answers *answers)
{
	wq_work_init(&answers->work, answers_fn, answers);
	assert_int_equal(wq_queue_on(wq, &answers->work, usable_cpu(0)), 1);
	wq_work_flush(&answers->work);
}

static void block_end_without_begin_answers_einval(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_HIGHPRI, WQ_ORDERED};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("block", kinds[i], 0);
		struct answers answers = {.begin = 1, .again = 1, .end = 1, .end_again = 1};

		answers_of(wq, &answers);
		assert_int_equal(answers.before, -EINVAL);
		assert_int_equal(answers.begin, 0);
		assert_int_equal(answers.again, 0);
		assert_int_equal(answers.end, 0);
		assert_int_equal(answers.end_again, 0);
		assert_int_equal(answers.after, -EINVAL);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* Also where the thread ends with it. */
static void block_region_left_open_ends_with_the_item(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED};
	unsigned long i, rounds = scaled(50);
	unsigned k, quit;

	for (k = 0; k < 2 * ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("block", kinds[k / 2], 0);

		quit = k % 2;
		for (i = 0; i < rounds; i++) {
			struct answers left = {.leave_open = true, .quit = quit};
			struct answers next = {.begin = 1, .after = 1};

			answers_of(wq, &left);
			assert_int_equal(left.again, 0);
			answers_of(wq, &next);
			assert_int_equal(next.before, -EINVAL);
			assert_int_equal(next.begin, 0);
			assert_int_equal(next.after, -EINVAL);
		}
		assert_int_equal(pool_stats_of(wq, usable_cpu(0)).started_above_level, 0);
		/* Who left a region open is not counted twice, or less than not at all. */
		while (pool_stats_of(wq, usable_cpu(0)).nr_running != 0)
			sched_yield();
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void block_in_bh_answers_eperm_and_is_counted(void **state)
{
	static const unsigned kinds[] = {WQ_BH, WQ_BH | WQ_HIGHPRI};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("block", kinds[i], 0);
		struct answers answers = {.leave_open = true};

		assert_int_equal(stats_of(wq).bh_blocks, 0);
		answers_of(wq, &answers);
		assert_int_equal(answers.begin, -EPERM);
		assert_int_equal(answers.again, -EPERM);
		assert_int_equal(stats_of(wq).bh_blocks, 2);
		answers.leave_open = false;
		answers_of(wq, &answers);
		assert_int_equal(answers.before, -EPERM);
		assert_int_equal(answers.end, -EPERM);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void block_is_harmless_where_the_thread_does_not_count(void **state)
{
	static const unsigned kinds[] = {WQ_DEDICATED, WQ_CPU_INTENSIVE,
					 WQ_CPU_INTENSIVE | WQ_PERCPU};
	unsigned long i, rounds = scaled(50);
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("block", kinds[k], 0);

		for (i = 0; i < rounds; i++) {
			struct answers answers = {.leave_open = i % 2, .begin = 1, .again = 1};

			answers_of(wq, &answers);
			assert_int_equal(answers.begin, 0);
			assert_int_equal(answers.again, 0);
			assert_int_equal(answers.end, 0);
			assert_int_equal(answers.end_again, 0);
		}
		assert_int_equal(pool_stats_of(wq, usable_cpu(0)).started_above_level, 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void block_region_does_not_break_an_order_or_a_limit(void **state)
{
	static const unsigned kinds[] = {WQ_ORDERED, WQ_PERCPU, 0, WQ_DEDICATED};
	struct wq *other = wq_alloc("other", WQ_PERCPU, 0);
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("block", kinds[k], 1);
		unsigned long go = 0;
		struct region region;
		struct probe second;

		region_init(&region, 1, 0, &go);
		probe_init(&second);
		assert_int_equal(wq_queue_on(wq, &region.work, usable_cpu(0)), 1);
		latch_wait(&region.begun, 1);
		assert_int_equal(wq_queue_on(wq, &second.work, usable_cpu(0)), 1);
		/* Others of the CPU do start. */
		for (i = 0; i < NR_ITEMS; i++) {
			struct wq_work work = WQ_WORK_INIT(nop_fn, NULL);

			assert_int_equal(wq_queue_on(other, &work, usable_cpu(0)), 1);
			wq_work_flush(&work);
		}
		assert_int_equal(count_get(&second.runs), 0);
		count_set(&go, 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(second.runs, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_int_equal(wq_destroy(other), 0);
}

/* --- and all the rest --- */

struct forker {
	struct wq_work work;
	int status;
};

static void forker_fn(struct wq_work *work, void *ctx)
{
	struct forker *forker = ctx;
	pid_t pid;

	wq_block_begin();
	pid = fork();
	if (!pid)
		_exit(wq_block_end() || wq_block_begin() || wq_block_end());
	forker->status = child_status(pid);
	if (wq_block_end())
		forker->status = -2;
}

/* The child is in no item. */
static void block_region_does_not_follow_into_a_child(void **state)
{
	struct forker forker = {.status = -1};

	skip_if_checker_hangs_children();
	wq_work_init(&forker.work, forker_fn, &forker);
	assert_int_equal(wq_queue_on(wq_system_percpu(), &forker.work, usable_cpu(0)), 1);
	wq_work_flush(&forker.work);
	assert_int_equal(forker.status, 0);
}

struct storm {
	struct wq *queues[3];
	unsigned long ran, wrong;
};

static void storm_call(void *ctx)
{
	struct storm *storm = ctx;
	unsigned long i, n = count_up(&storm->ran);

	for (i = 0; i < n % 4; i++)
		if (wq_block_begin())
			count_up(&storm->wrong);
	if (n % 8 == 1)
		sched_yield();
	/* Some are left open. */
	for (i = n % 5 == 0 ? 1 : 0; i < n % 4; i++)
		if (wq_block_end())
			count_up(&storm->wrong);
}

static void storm_thread(void *ctx, unsigned index)
{
	struct storm *storm = ctx;
	unsigned long i, rounds = scaled(5000);

	for (i = 0; i < rounds; i++)
		if (wq_call(storm->queues[(i + index) % 3], storm_call, storm) != 1)
			count_up(&storm->wrong);
}

static void block_storm_of_regions_keeps_the_level(void **state)
{
	struct storm storm = {.queues = {wq_alloc("storm", 0, 0), wq_alloc("storm", WQ_PERCPU, 0),
					 wq_alloc("storm", WQ_PERCPU | WQ_HIGHPRI, 0)}};
	unsigned i, k;
	int cpu;

	run_threads(4, storm_thread, &storm);
	for (k = 0; k < ARRAY_SIZE(storm.queues); k++) {
		assert_int_equal(wq_flush(storm.queues[k]), 0);
		for (i = 0; (cpu = usable_cpu(i)) >= 0; i++)
			assert_int_equal(pool_stats_of(storm.queues[k], cpu).started_above_level,
					 0);
	}
	assert_int_equal(storm.ran, 4 * scaled(5000));
	assert_int_equal(storm.wrong, 0);
	for (k = 0; k < ARRAY_SIZE(storm.queues); k++)
		assert_int_equal(wq_destroy(storm.queues[k]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(block_begin_lets_the_next_of_the_cpu_start),
		cmocka_unit_test(block_region_leaves_the_others_their_order),
		cmocka_unit_test(block_regions_nest),
		cmocka_unit_test(block_unbound_items_beyond_the_level_start),
		cmocka_unit_test(block_outside_an_item_does_nothing),
		cmocka_unit_test(block_end_without_begin_answers_einval),
		cmocka_unit_test(block_region_left_open_ends_with_the_item),
		cmocka_unit_test(block_in_bh_answers_eperm_and_is_counted),
		cmocka_unit_test(block_is_harmless_where_the_thread_does_not_count),
		cmocka_unit_test(block_region_does_not_break_an_order_or_a_limit),
		cmocka_unit_test(block_region_does_not_follow_into_a_child),
		cmocka_unit_test(block_storm_of_regions_keeps_the_level),
	};

	setenv("WQ_CPU_INTENSIVE_US", "0", 1);
	return cmocka_run_group_tests(tests, start, NULL);
}
