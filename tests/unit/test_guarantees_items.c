/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guarantees about items: G1, G2, G4, G5, G7. */
#include "support.h"

#include <sched.h>

#define NR_QUEUES 4

static struct wq *queues[NR_QUEUES];

static int setup(void **state)
{
	static const unsigned flags[NR_QUEUES] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI};
	unsigned i;

	for (i = 0; i < NR_QUEUES; i++) {
		queues[i] = wq_alloc("test", flags[i], 0);
		if (!queues[i])
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	unsigned i;

	for (i = 0; i < NR_QUEUES; i++)
		if (wq_destroy(queues[i]))
			return -1;
	return 0;
}

/* --- G1 --- */

struct g1 {
	struct wq_work works[32];
	unsigned long rounds, accepted, cancelled, ran;
};

static void g1_fn(struct wq_work *work, void *ctx)
{
	struct g1 *g1 = ctx;

	count_up(&g1->ran);
}

static void g1_thread(void *ctx, unsigned index)
{
	struct g1 *g1 = ctx;
	uint64_t rng = test_seed() + index;
	unsigned long i;

	for (i = 0; i < g1->rounds; i++) {
		struct wq_work *work = &g1->works[random_next(&rng) % ARRAY_SIZE(g1->works)];

		switch (random_next(&rng) % 4) {
		case 0:
			if (wq_work_cancel(work) == 1)
				count_up(&g1->cancelled);
			break;
		case 1:
			if (wq_queue_on(queues[random_next(&rng) % NR_QUEUES], work,
					usable_cpu(0)) == 1)
				count_up(&g1->accepted);
			break;
		default:
			if (wq_queue(queues[random_next(&rng) % NR_QUEUES], work) == 1)
				count_up(&g1->accepted);
		}
	}
}

static void g1_each_acceptance_is_one_run_or_one_cancellation(void **state)
{
	static struct g1 g1;
	unsigned i;

	memset(&g1, 0, sizeof(g1));
	g1.rounds = scaled(100000);
	for (i = 0; i < ARRAY_SIZE(g1.works); i++)
		wq_work_init(&g1.works[i], g1_fn, &g1);
	run_threads(3, g1_thread, &g1);
	for (i = 0; i < NR_QUEUES; i++)
		assert_int_equal(wq_flush(queues[i]), 0);
	for (i = 0; i < ARRAY_SIZE(g1.works); i++)
		assert_int_equal(wq_work_busy(&g1.works[i]), 0);
	assert_int_equal(g1.accepted, g1.ran + g1.cancelled);
	assert_true(g1.ran > 0);
}

/* --- G2 --- */

struct g2 {
	struct wq_work work;
	unsigned long rounds, inside, overlaps, runs, busy_spins;
};

static void g2_fn(struct wq_work *work, void *ctx)
{
	struct g2 *g2 = ctx;
	unsigned long i;

	if (__atomic_exchange_n(&g2->inside, 1, __ATOMIC_RELAXED))
		count_up(&g2->overlaps);
	count_up(&g2->runs);
	for (i = 0; i < g2->busy_spins; i++)
		__atomic_load_n(&g2->inside, __ATOMIC_RELAXED);
	__atomic_store_n(&g2->inside, 0, __ATOMIC_RELAXED);
}

static void g2_thread(void *ctx, unsigned index)
{
	struct g2 *g2 = ctx;
	uint64_t rng = test_seed() + index;
	unsigned long i;

	for (i = 0; i < g2->rounds; i++) {
		struct wq *wq = queues[random_next(&rng) % NR_QUEUES];

		if (random_next(&rng) & 1)
			wq_queue_on(wq, &g2->work, usable_cpu(i & 1));
		else
			wq_queue(wq, &g2->work);
	}
}

static void g2_an_item_never_runs_twice_at_once(void **state)
{
	struct g2 g2 = {.rounds = scaled(60000), .busy_spins = 300};
	unsigned i;

	wq_work_init(&g2.work, g2_fn, &g2);
	run_threads(3, g2_thread, &g2);
	for (i = 0; i < NR_QUEUES; i++)
		wq_flush(queues[i]);
	assert_int_equal(wq_work_cancel_sync(&g2.work), 0);
	assert_int_equal(g2.overlaps, 0);
	assert_true(g2.runs > 0);
}

static void g2_item_running_elsewhere_is_accepted_where_it_runs(void **state)
{
	struct probe probe;
	unsigned i;

	for (i = 1; i < NR_QUEUES; i++) {
		probe_init_gate(&probe);
		assert_int_equal(wq_queue(queues[0], &probe.work), 1);
		latch_wait(&probe.started, 1);
		assert_int_equal(wq_queue(queues[i], &probe.work), 1);
		/* The other queue has nothing of it: its flush does not wait. */
		if (i != 2)
			assert_int_equal(wq_flush(queues[i]), 0);
		assert_int_equal(count_get(&probe.runs), 1);
		assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_RUNNING | WQ_BUSY_PENDING);
		latch_post(&probe.open);
		wq_work_flush(&probe.work);
		assert_int_equal(probe.runs, 2);
	}
}

/*
 * Queued on a second queue while it runs, cancelled there, and that queue ended:
 * the run that goes on must still be found, also by a queue that got the ended
 * one's place.
 */
static void g2_running_item_is_found_after_its_last_queue_ended(void **state)
{
	struct wq *first = wq_alloc("first", WQ_PERCPU, 0), *second, *third;
	struct probe probe;
	int cpu = usable_cpu(0);

	probe_init_gate(&probe);
	wq_queue_on(first, &probe.work, cpu);
	latch_wait(&probe.started, 1);
	second = wq_alloc("second", WQ_PERCPU, 0);
	assert_int_equal(wq_queue_on(second, &probe.work, cpu), 1);
	assert_int_equal(wq_work_cancel(&probe.work), 1);
	assert_int_equal(wq_destroy(second), 0);
	third = wq_alloc("third", WQ_PERCPU | WQ_HIGHPRI, 0);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_RUNNING);
	assert_int_equal(wq_queue_on(third, &probe.work, cpu), 1);
	assert_int_equal(wq_flush(third), 0);
	assert_int_equal(count_get(&probe.runs), 1);
	latch_post(&probe.open);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 2);
	wq_destroy(first);
	wq_destroy(third);
}

/* --- G4 --- */

/* On lines of their own: the write may then still be on its way when the item is looked at. */
struct g4 {
	struct wq_work work __attribute__((aligned(128)));
	unsigned long written __attribute__((aligned(128)));
	unsigned long seen __attribute__((aligned(128)));
};

static void g4_fn(struct wq_work *work, void *ctx)
{
	struct g4 *g4 = ctx;

	__atomic_store_n(&g4->seen, __atomic_load_n(&g4->written, __ATOMIC_RELAXED),
			 __ATOMIC_RELAXED);
}

/*
 * The second call comes at any moment of the item's way from the queue to its
 * run.  Answered 0, the run that was still to come must see what it brought.
 */
static void g4_run_sees_what_was_written_before_queueing(void **state)
{
	unsigned long i, rounds = scaled(150000), zeros = 0;
	uint64_t rng = test_seed(), spins;
	struct g4 g4 = {.written = 0};
	int ret;

	wq_work_init(&g4.work, g4_fn, &g4);
	for (i = 1; i <= rounds; i++) {
		assert_int_equal(wq_queue(queues[0], &g4.work), 1);
		for (spins = random_next(&rng) % 512; spins; spins--)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		__atomic_store_n(&g4.written, i, __ATOMIC_RELAXED);
		ret = wq_queue(queues[0], &g4.work);
		assert_true(ret >= 0);
		zeros += ret == 0;
		wq_work_flush(&g4.work);
		assert_int_equal(__atomic_load_n(&g4.seen, __ATOMIC_RELAXED), i);
	}
	assert_true(zeros > 0);
}

/* --- G5 --- */

struct g5 {
	struct wq_work work;
	unsigned long *freed, *left;
};

static void g5_free_fn(struct wq_work *work, void *ctx)
{
	struct g5 *g5 = ctx;
	unsigned long *freed = g5->freed;

	memset(g5, 0xa5, sizeof(*g5));
	free(g5);
	count_up(freed);
}

static void g5_item_may_be_freed_by_its_function(void **state)
{
	unsigned long i, nr = scaled(50000), freed = 0;
	unsigned q;

	for (i = 0; i < nr; i++) {
		struct g5 *g5 = malloc(sizeof(*g5));

		assert_non_null(g5);
		wq_work_init(&g5->work, g5_free_fn, g5);
		g5->freed = &freed;
		assert_int_equal(wq_queue(queues[i % NR_QUEUES], &g5->work), 1);
	}
	for (q = 0; q < NR_QUEUES; q++)
		wq_flush(queues[q]);
	assert_int_equal(freed, nr);
}

/* Hands itself on to a fresh copy, which is queued elsewhere, and frees itself. */
static void g5_move_fn(struct wq_work *work, void *ctx)
{
	struct g5 *g5 = ctx, *next;
	unsigned long *freed = g5->freed, *left = g5->left;

	if (*left && (next = malloc(sizeof(*next)))) {
		--*left;
		wq_work_init(&next->work, g5_move_fn, next);
		next->freed = freed;
		next->left = left;
		wq_queue(queues[*left % NR_QUEUES], &next->work);
	}
	memset(g5, 0x5a, sizeof(*g5));
	free(g5);
	count_up(freed);
}

static void g5_item_may_hand_itself_on(void **state)
{
	unsigned long nr = scaled(20000), left = nr, freed = 0;
	struct g5 *g5 = malloc(sizeof(*g5));

	assert_non_null(g5);
	wq_work_init(&g5->work, g5_move_fn, g5);
	g5->freed = &freed;
	g5->left = &left;
	wq_queue(queues[0], &g5->work);
	while (count_get(&freed) < nr + 1)
		sched_yield();
}

/* --- G7 --- */

struct g7 {
	struct wq_work work;
	struct wq *wq;
	unsigned long runs;
	bool hop;
};

static void g7_fn(struct wq_work *work, void *ctx)
{
	struct g7 *g7 = ctx;

	g7->runs++;
	wq_queue(g7->hop ? queues[g7->runs % NR_QUEUES] : g7->wq, work);
}

static void g7_memory_is_the_callers_after_cancel_sync(void **state)
{
	unsigned long i, rounds = scaled(5000);
	struct g7 *g7;
	int ret;

	for (i = 0; i < rounds; i++) {
		g7 = malloc(sizeof(*g7));
		assert_non_null(g7);
		g7->wq = queues[i % NR_QUEUES];
		g7->runs = 0;
		g7->hop = i & 1;
		wq_work_init(&g7->work, g7_fn, g7);
		assert_int_equal(wq_queue(g7->wq, &g7->work), 1);
		if (i % 3)
			wq_work_flush(&g7->work);
		ret = wq_work_cancel_sync(&g7->work);
		assert_true(ret == 0 || ret == 1);
		assert_int_equal(wq_work_busy(&g7->work), 0);
		memset(g7, 0xa5, sizeof(*g7));
		free(g7);
	}
}

struct g7_storm {
	struct wq_work work;
	unsigned long stop, runs, failed;
};

static void g7_storm_fn(struct wq_work *work, void *ctx)
{
	struct g7_storm *storm = ctx;

	count_up(&storm->runs);
}

static void g7_storm_thread(void *ctx, unsigned index)
{
	struct g7_storm *storm = ctx;
	unsigned long i, rounds = scaled(3000);

	if (index) {
		for (i = index; !count_get(&storm->stop); i++)
			wq_queue(queues[i % NR_QUEUES], &storm->work);
		return;
	}
	for (i = 0; i < rounds; i++)
		if (wq_work_cancel_sync(&storm->work) < 0)
			count_up(&storm->failed);
	count_set(&storm->stop, 1);
}

static void g7_cancel_sync_ends_while_others_queue(void **state)
{
	struct g7_storm storm = {.stop = 0};

	wq_work_init(&storm.work, g7_storm_fn, &storm);
	run_threads(3, g7_storm_thread, &storm);
	assert_int_equal(storm.failed, 0);
	wq_work_cancel_sync(&storm.work);
	assert_int_equal(wq_work_busy(&storm.work), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(g1_each_acceptance_is_one_run_or_one_cancellation),
		cmocka_unit_test(g2_an_item_never_runs_twice_at_once),
		cmocka_unit_test(g2_item_running_elsewhere_is_accepted_where_it_runs),
		cmocka_unit_test(g2_running_item_is_found_after_its_last_queue_ended),
		cmocka_unit_test(g4_run_sees_what_was_written_before_queueing),
		cmocka_unit_test(g5_item_may_be_freed_by_its_function),
		cmocka_unit_test(g5_item_may_hand_itself_on),
		cmocka_unit_test(g7_memory_is_the_callers_after_cancel_sync),
		cmocka_unit_test(g7_cancel_sync_ends_while_others_queue),
	};

	test_seed();
	return cmocka_run_group_tests(tests, setup, teardown);
}
