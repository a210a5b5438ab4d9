/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counters of queues and pools. */
#include "observe.h"

#include <limits.h>
#include <sched.h>
#include <sys/resource.h>

#define UNTOUCHED 0xa5

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_HIGHPRI, WQ_ORDERED, WQ_DEDICATED, WQ_BH};

/* Settles which CPUs the library uses. */
static int start(void **state)
{
	return wq_system() ? 0 : -1;
}

/* --- the calls --- */

static void stats_read_of_nothing_answers_einval(void **state)
{
	struct wq *wq = wq_alloc("stats", 0, 0);
	struct wq_pool_stats pool;
	struct wq_stats stats;

	assert_int_equal(wq_stats_read(NULL, &stats, sizeof(stats)), -EINVAL);
	assert_int_equal(wq_stats_read(wq, NULL, sizeof(stats)), -EINVAL);
	assert_int_equal(wq_pool_stats_read(NULL, -1, &pool, sizeof(pool)), -EINVAL);
	assert_int_equal(wq_pool_stats_read(wq, -1, NULL, sizeof(pool)), -EINVAL);
	assert_int_equal(wq_destroy(wq), 0);
}

static bool all_are(const void *from, size_t nr, unsigned char value)
{
	const unsigned char *p = from;

	while (nr && *p == value)
		p++, nr--;
	return !nr;
}

static void stats_read_of_a_part_leaves_the_rest(void **state)
{
	struct wq *wq = wq_alloc("stats", 0, 0);
	size_t part = offsetof(struct wq_stats, completed);
	size_t pool_part = offsetof(struct wq_pool_stats, nice_wanted);
	struct wq_pool_stats pool;
	struct wq_stats stats;
	struct probe probe;

	probe_init(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	memset(&stats, UNTOUCHED, sizeof(stats));
	memset(&pool, UNTOUCHED, sizeof(pool));
	assert_int_equal(wq_stats_read(wq, &stats, 0), 0);
	assert_int_equal(wq_pool_stats_read(wq, -1, &pool, 0), 0);
	assert_true(all_are(&stats, sizeof(stats), UNTOUCHED));
	assert_true(all_are(&pool, sizeof(pool), UNTOUCHED));
	assert_int_equal(wq_stats_read(wq, &stats, part), 0);
	assert_int_equal(wq_pool_stats_read(wq, -1, &pool, pool_part), 0);
	assert_int_equal(stats.started, 1);
	assert_int_equal(pool.cpu, -1);
	assert_true(all_are((char *)&stats + part, sizeof(stats) - part, UNTOUCHED));
	assert_true(all_are((char *)&pool + pool_part, sizeof(pool) - pool_part, UNTOUCHED));
	assert_int_equal(wq_destroy(wq), 0);
}

static void stats_read_sets_what_it_does_not_know_to_0(void **state)
{
	struct wq *wq = wq_alloc("stats", 0, 0);
	struct {
		struct wq_stats known;
		unsigned char more[100];
	} stats;
	struct {
		struct wq_pool_stats known;
		unsigned char more[100];
	} pool;

	memset(&stats, UNTOUCHED, sizeof(stats));
	memset(&pool, UNTOUCHED, sizeof(pool));
	assert_int_equal(wq_stats_read(wq, &stats.known, offsetof(__typeof__(stats), more) + 60),
			 0);
	assert_int_equal(wq_pool_stats_read(wq, -1, &pool.known,
					    offsetof(__typeof__(pool), more) + 60),
			 0);
	assert_true(all_are(&stats.known, sizeof(stats.known), 0));
	assert_true(all_are(stats.more, 60, 0));
	assert_true(all_are(pool.more, 60, 0));
	assert_true(all_are(stats.more + 60, 40, UNTOUCHED));
	assert_true(all_are(pool.more + 60, 40, UNTOUCHED));
	assert_int_equal(wq_destroy(wq), 0);
}

static void pool_stats_of_a_cpu_that_is_not_there_answer_einval(void **state)
{
	struct wq *wq = wq_alloc("stats", WQ_PERCPU, 0);
	int bad[] = {-2, INT_MIN, WQ_MAX_CPUS, INT_MAX, -1};
	struct wq_pool_stats pool;
	cpu_set_t usable;
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	sched_getaffinity(0, sizeof(usable), &usable);
	for (cpu = 0; cpu < CPU_SETSIZE && bad[4] < 0; cpu++)
		if (!CPU_ISSET(cpu, &usable))
			bad[4] = cpu;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (bad[i] != -1)
			assert_int_equal(wq_pool_stats_read(wq, bad[i], &pool, sizeof(pool)),
					 -EINVAL);
	assert_int_equal(wq_pool_stats_read(wq, -1, &pool, sizeof(pool)), 0);
	assert_true(CPU_ISSET(pool.cpu, &usable));
	assert_int_equal(wq_destroy(wq), 0);
}

static void stats_of_system_queues_can_be_read(void **state)
{
	struct wq *queues[] = {wq_system(),	 wq_system_percpu(),	wq_system_highpri(),
			       wq_system_long(), wq_system_freezable(), wq_system_power_efficient(),
			       wq_system_bh()};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(queues); i++) {
		uint64_t before = stats_of(queues[i]).started;
		struct probe probe;

		probe_init(&probe);
		assert_int_equal(wq_queue(queues[i], &probe.work), 1);
		wq_work_flush(&probe.work);
		assert_int_equal(stats_of(queues[i]).started, before + 1);
		assert_true(pool_stats_of(queues[i], -1).level >= 1);
	}
}

/* --- started, completed --- */

struct counted {
	struct wq_work work;
	struct wq *wq;
	unsigned long left, wrong, runs;
};

/* Sees itself as started, and not as completed. */
static void counted_fn(struct wq_work *work, void *ctx)
{
	struct counted *counted = ctx;
	struct wq_stats stats;

	counted->runs++;
	if (wq_stats_read(counted->wq, &stats, sizeof(stats)) || stats.started != counted->runs ||
	    stats.completed != counted->runs - 1)
		counted->wrong++;
	if (--counted->left)
		wq_queue(counted->wq, work);
}

static void stats_count_each_run(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		unsigned long nr = scaled(500);
		struct counted counted = {.wq = wq_alloc("counted", kinds[k], 0), .left = nr};

		assert_true(all_are(&(struct wq_stats[1]){stats_of(counted.wq)},
				    sizeof(struct wq_stats), 0));
		wq_work_init(&counted.work, counted_fn, &counted);
		assert_int_equal(wq_queue(counted.wq, &counted.work), 1);
		assert_int_equal(wq_drain(counted.wq), 0);
		assert_int_equal(counted.runs, nr);
		assert_int_equal(stats_of(counted.wq).started, nr);
		assert_int_equal(stats_of(counted.wq).completed, nr);
		/* Where it starts in another worker the one before may still be being counted. */
		if (kinds[k] == WQ_DEDICATED || kinds[k] == WQ_ORDERED)
			assert_int_equal(counted.wrong, 0);
		assert_int_equal(wq_destroy(counted.wq), 0);
	}
}

static void stats_do_not_count_what_was_cancelled(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("cancelled", kinds[k], 1);
		struct probe gate, behind[5];
		unsigned i;

		probe_init_gate(&gate);
		assert_int_equal(wq_queue_on(wq, &gate.work, usable_cpu(0)), 1);
		latch_wait(&gate.started, 1);
		for (i = 0; i < ARRAY_SIZE(behind); i++) {
			probe_init(&behind[i]);
			assert_int_equal(wq_queue_on(wq, &behind[i].work, usable_cpu(0)), 1);
		}
		for (i = 0; i < ARRAY_SIZE(behind) - 1; i++)
			assert_int_equal(wq_work_cancel(&behind[i].work), 1);
		assert_int_equal(stats_of(wq).started, 1);
		assert_int_equal(stats_of(wq).completed, 0);
		latch_post(&gate.open);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(stats_of(wq).started, 2);
		assert_int_equal(stats_of(wq).completed, 2);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* Each in a thread that ends by it. */
static void quit_call(void *ctx)
{
	pthread_exit(NULL);
}

static void stats_count_a_run_that_ended_its_thread(void **state)
{
	struct wq *wq = wq_alloc("quit", WQ_PERCPU, 0);
	unsigned i;

	for (i = 0; i < 5; i++)
		assert_int_equal(wq_call(wq, quit_call, NULL), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(stats_of(wq).started, 5);
	assert_int_equal(stats_of(wq).completed, 5);
	assert_int_equal(wq_destroy(wq), 0);
}

static struct wq *inherited;

static void stats_child(void *ctx)
{
	struct wq_stats stats;
	struct probe probe;

	CHECK_EQUAL(wq_stats_read(inherited, &stats, sizeof(stats)), 0);
	CHECK_EQUAL(stats.started, 0);
	CHECK_EQUAL(stats.completed, 0);
	CHECK_EQUAL(stats.cpu_time_ns, 0);
	probe_init(&probe);
	probe_runs(inherited, &probe);
	CHECK_EQUAL(wq_stats_read(inherited, &stats, sizeof(stats)), 0);
	CHECK_EQUAL(stats.started, 1);
}

static void stats_begin_at_0_in_a_child(void **state)
{
	struct probe probe;

	skip_if_checker_hangs_children();
	inherited = wq_alloc("inherited", 0, 0);
	probe_init(&probe);
	assert_int_equal(wq_queue(inherited, &probe.work), 1);
	assert_int_equal(wq_flush(inherited), 0);
	assert_int_equal(in_child(stats_child, NULL), 0);
	assert_int_equal(stats_of(inherited).started, 1);
	assert_int_equal(wq_destroy(inherited), 0);
}

/* --- pools --- */

static void pool_stats_know_cpu_and_level(void **state)
{
	struct wq *percpu = wq_alloc("percpu", WQ_PERCPU, 0), *unbound = wq_alloc("unbound", 0, 0);
	struct wq_pool_stats pool;
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
		pool = pool_stats_of(percpu, cpu);
		assert_int_equal(pool.cpu, cpu);
		assert_int_equal(pool.level, 1);
	}
	pool = pool_stats_of(unbound, -1);
	assert_int_equal(pool.cpu, -1);
	assert_in_range(pool.level, 1, nr_usable_cpus());
	assert_int_equal(wq_destroy(percpu), 0);
	assert_int_equal(wq_destroy(unbound), 0);
}

static void pool_stats_know_what_priority_was_got(void **state)
{
	static const unsigned raised[] = {WQ_HIGHPRI | WQ_PERCPU, WQ_HIGHPRI};
	int own = getpriority(PRIO_PROCESS, 0);
	struct wq_pool_stats pool;
	struct where where;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(raised); i++) {
		struct wq *wq = wq_alloc("raised", raised[i], 0);

		assert_int_equal(pool_stats_of(wq, usable_cpu(0)).nice_wanted, -20);
		where_init(&where, NULL);
		assert_int_equal(wq_queue_on(wq, &where.work, usable_cpu(0)), 1);
		assert_int_equal(wq_flush(wq), 0);
		pool = pool_stats_of(wq, usable_cpu(0));
		assert_int_equal(pool.nice_wanted, -20);
		assert_true(pool.nice >= -20 && pool.nice <= (own > 0 ? own : 0));
		assert_true(pool.nice >= where.nice);
		assert_int_equal(pool.policy, where.policy);
		assert_int_equal(pool.policy, SCHED_OTHER);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void pool_stats_count_threads_and_runs(void **state)
{
	static const unsigned pooled[] = {0, WQ_PERCPU};
	struct wq_pool_stats pool;
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(pooled); k++) {
		struct wq *wq = wq_alloc("threads", pooled[k], 0);
		int cpu = usable_cpu(0);
		uint64_t before = pool_stats_of(wq, cpu).started;
		struct probe gates[5];

		for (i = 0; i < ARRAY_SIZE(gates); i++) {
			probe_init_gate(&gates[i]);
			assert_int_equal(wq_queue_on(wq, &gates[i].work, cpu), 1);
			latch_wait(&gates[i].started, 1);
		}
		assert_true(pool_stats_of(wq, cpu).nr_workers >= ARRAY_SIZE(gates));
		assert_int_equal(pool_stats_of(wq, cpu).started, before + ARRAY_SIZE(gates));
		for (i = 0; i < ARRAY_SIZE(gates); i++)
			latch_post(&gates[i].open);
		assert_int_equal(wq_flush(wq), 0);
		/* At rest those that do not run are idle. */
		do {
			sched_yield();
			pool = pool_stats_of(wq, cpu);
		} while (pool.nr_running || !pool.nr_idle || pool.nr_idle > pool.nr_workers);
		assert_int_equal(pool.started_above_level, 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* --- who let whom in --- */

static void cm_wakeup_is_counted_for_the_queue_that_blocks(void **state)
{
	struct wq *blocks = wq_alloc("blocks", WQ_PERCPU, 0);
	struct wq *waits = wq_alloc("waits", WQ_PERCPU, 0);
	struct wq_pool_stats before, after;
	int cpu = usable_cpu(0);
	struct probe gate, second;

	before = pool_stats_of(blocks, cpu);
	probe_init_gate(&gate);
	probe_init(&second);
	assert_int_equal(wq_queue_on(blocks, &gate.work, cpu), 1);
	assert_int_equal(wq_queue_on(waits, &second.work, cpu), 1);
	latch_wait(&second.ended, 1);
	/* Counted by whoever saw it, which may be a moment later. */
	while (!stats_of(blocks).cm_wakeup)
		sched_yield();
	do
		after = pool_stats_of(waits, cpu);
	while (after.blocked_sleep + after.blocked_disk + after.blocked_monitor +
		       after.blocked_said ==
	       before.blocked_sleep + before.blocked_disk + before.blocked_monitor +
		       before.blocked_said);
	latch_post(&gate.open);
	assert_int_equal(wq_flush(blocks), 0);
	assert_int_equal(wq_flush(waits), 0);
	if (checker_is_exact())
		assert_int_equal(stats_of(waits).cm_wakeup, 0);
	assert_int_equal(wq_destroy(blocks), 0);
	assert_int_equal(wq_destroy(waits), 0);
}

enum { MIXED_QUEUES = 5 };

struct mixed {
	struct wq *queues[MIXED_QUEUES];
	unsigned long ran, refused;
	uint64_t seed;
};

static void mixed_cheap(void *ctx)
{
	count_up(&((struct mixed *)ctx)->ran);
}

static void mixed_block(void *ctx)
{
	sleep_ns(1000000);
	mixed_cheap(ctx);
}

static void mixed_block_twice(void *ctx)
{
	sleep_ns(100000);
	compute_ns(50000);
	sleep_ns(100000);
	mixed_cheap(ctx);
}

static void mixed_say(void *ctx)
{
	wq_block_begin();
	sleep_ns(200000);
	wq_block_end();
	mixed_cheap(ctx);
}

static void mixed_compute(void *ctx)
{
	compute_ns(200000);
	mixed_cheap(ctx);
}

static void mixed_compute_long(void *ctx)
{
	compute_ns(15000000);
	mixed_cheap(ctx);
}

static void mixed_thread(void *ctx, unsigned index)
{
	static const wq_call_fn seldom[] = {mixed_block, mixed_block_twice, mixed_say,
					    mixed_compute};
	struct mixed *mixed = ctx;
	uint64_t rng = mixed->seed + index;
	unsigned long i, rounds = scaled(2000);

	for (i = 0; i < rounds; i++) {
		uint64_t r = random_next(&rng);
		wq_call_fn fn = r % 8 ? mixed_cheap : seldom[(r >> 8) % ARRAY_SIZE(seldom)];

		if (r % 500 == 0)
			fn = mixed_compute_long;
		if (wq_call(mixed->queues[(r >> 16) % MIXED_QUEUES], fn, mixed) != 1)
			count_up(&mixed->refused);
		if (r % 64 == 1)
			sleep_ns(100000);
	}
}

static void pools_never_start_items_above_their_level(void **state)
{
	struct mixed mixed = {.queues = {wq_alloc("mixed", 0, 0), wq_alloc("mixed", WQ_PERCPU, 0),
					 wq_alloc("mixed", WQ_HIGHPRI, 0),
					 wq_alloc("mixed", WQ_PERCPU | WQ_CPU_INTENSIVE, 0),
					 wq_alloc("mixed", WQ_PERCPU | WQ_HIGHPRI, 8)},
			      .seed = test_seed()};
	uint64_t started = 0, completed = 0;
	unsigned q, i;
	int cpu;

	run_threads(4, mixed_thread, &mixed);
	for (q = 0; q < MIXED_QUEUES; q++) {
		assert_int_equal(wq_flush(mixed.queues[q]), 0);
		started += stats_of(mixed.queues[q]).started;
		completed += stats_of(mixed.queues[q]).completed;
		for (i = 0; (cpu = usable_cpu(i)) >= 0; i++)
			assert_int_equal(pool_stats_of(mixed.queues[q], cpu).started_above_level,
					 0);
	}
	assert_int_equal(mixed.refused, 0);
	assert_int_equal(mixed.ran, 4 * scaled(2000));
	assert_int_equal(started, mixed.ran);
	assert_int_equal(completed, mixed.ran);
	for (q = 0; q < MIXED_QUEUES; q++)
		assert_int_equal(wq_destroy(mixed.queues[q]), 0);
}

/* Also of a CPU for which nothing was queued yet. */
static void pool_cpus_of_a_percpu_queue_are_its_cpu(void **state)
{
	struct wq *wq = wq_alloc("cpus", WQ_PERCPU, 0);
	cpu_set_t mask;
	int cpu, i;

	for (i = 0; (cpu = usable_cpu((unsigned)i)) >= 0; i++) {
		assert_int_equal(wq_pool_cpus_read(wq, cpu, &mask, sizeof(mask)), 0);
		assert_int_equal(CPU_COUNT(&mask), 1);
		assert_true(CPU_ISSET(cpu, &mask));
	}
	assert_int_equal(wq_pool_cpus_read(wq, -2, &mask, sizeof(mask)), -EINVAL);
	assert_int_equal(wq_pool_cpus_read(wq, WQ_MAX_CPUS, &mask, sizeof(mask)), -EINVAL);
	assert_int_equal(wq_pool_cpus_read(wq, 0, NULL, sizeof(mask)), -EINVAL);
	assert_int_equal(wq_pool_cpus_read(NULL, 0, &mask, sizeof(mask)), -EINVAL);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stats_read_of_nothing_answers_einval),
		cmocka_unit_test(stats_read_of_a_part_leaves_the_rest),
		cmocka_unit_test(stats_read_sets_what_it_does_not_know_to_0),
		cmocka_unit_test(pool_stats_of_a_cpu_that_is_not_there_answer_einval),
		cmocka_unit_test(stats_of_system_queues_can_be_read),
		cmocka_unit_test(stats_count_each_run),
		cmocka_unit_test(stats_do_not_count_what_was_cancelled),
		cmocka_unit_test(stats_count_a_run_that_ended_its_thread),
		cmocka_unit_test(stats_begin_at_0_in_a_child),
		cmocka_unit_test(pool_stats_know_cpu_and_level),
		cmocka_unit_test(pool_stats_know_what_priority_was_got),
		cmocka_unit_test(pool_stats_count_threads_and_runs),
		cmocka_unit_test(cm_wakeup_is_counted_for_the_queue_that_blocks),
		cmocka_unit_test(pools_never_start_items_above_their_level),
		cmocka_unit_test(pool_cpus_of_a_percpu_queue_are_its_cpu),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
