/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Storms: everything against everything, with yields at random in the library's
 * protocols.  WQ_TEST_SEED repeats a run's choices (not its interleaving);
 * WQ_STRESS_MS sets the length of each storm (default 1000).
 */
#include "support.h"

#include <sched.h>
#include <time.h>

#include "testing.h"

#define NR_ITEMS  12
#define NR_QUEUES 5

struct storm_item {
	struct wq_work work;
	struct storm *storm;
	unsigned long accepted, cancelled, ran, inside, overlaps;
	uint64_t rng; /* used only inside fn, which never overlaps (G2) */
};

struct storm {
	struct wq *queues[NR_QUEUES];
	struct storm_item items[NR_ITEMS];
	uint64_t end_ns;
	unsigned long wrong, ops;
	unsigned long requeue;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t storm_end(void)
{
	const char *text = getenv("WQ_STRESS_MS");

	return now_ns() + (text ? strtoull(text, NULL, 10) : 1000) * 1000000u;
}

static void storm_queue(struct storm *storm, struct wq *wq, struct storm_item *item, uint64_t r)
{
	int ret = r & 1 ? wq_queue(wq, &item->work)
			: wq_queue_on(wq, &item->work,
				      usable_cpu(r >> 1 & 1) < 0 ? 0 : (int)(r >> 1 & 1));

	if (ret == 1)
		count_up(&item->accepted);
	else if (ret != 0 && ret != -EBUSY)
		count_up(&storm->wrong);
}

static void storm_fn(struct wq_work *work, void *ctx)
{
	struct storm_item *item = container_of(work, struct storm_item, work);
	struct storm *storm = item->storm;
	uint64_t r;

	if (__atomic_exchange_n(&item->inside, 1, __ATOMIC_RELAXED))
		count_up(&item->overlaps);
	r = random_next(&item->rng);
	if (r % 8 == 0)
		sched_yield();
	if (count_get(&storm->requeue) && r >> 8 & 1)
		storm_queue(storm, storm->queues[(r >> 16) % NR_QUEUES], item, r >> 32);
	if (r % 64 == 1 && wq_work_cancel(work) == 1)
		count_up(&item->cancelled);
	__atomic_store_n(&item->inside, 0, __ATOMIC_RELAXED);
	count_up(&item->ran);
}

/* A queue that lives for a moment: its numbers are used again at once. */
static void storm_short_queue(struct storm *storm, struct storm_item *item, uint64_t r)
{
	static const unsigned flags[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI};
	struct wq *wq = wq_alloc("short", flags[r % ARRAY_SIZE(flags)], 1);

	if (!wq) {
		count_up(&storm->wrong);
		return;
	}
	storm_queue(storm, wq, item, r >> 8);
	if (r >> 10 & 1)
		wq_flush(wq);
	if (wq_destroy(wq))
		count_up(&storm->wrong);
}

static void storm_thread(void *ctx, unsigned index)
{
	struct storm *storm = ctx;
	uint64_t rng = test_seed() * 31 + index;

	while (now_ns() < storm->end_ns) {
		uint64_t r = random_next(&rng);
		struct storm_item *item = &storm->items[(r >> 40) % NR_ITEMS];
		struct wq *wq = storm->queues[(r >> 32) % NR_QUEUES];
		int ret = 0;

		switch (r % 16) {
		case 0:
			ret = wq_work_cancel_sync(&item->work);
			break;
		case 1:
		case 2:
			ret = wq_work_cancel(&item->work);
			break;
		case 3:
			if (wq_work_flush(&item->work) < 0)
				count_up(&storm->wrong);
			break;
		case 4:
			if (wq_flush(wq) < 0)
				count_up(&storm->wrong);
			break;
		case 5:
			if (wq_work_busy(&item->work) & ~31u)
				count_up(&storm->wrong);
			break;
		case 6:
			storm_short_queue(storm, item, r >> 8);
			break;
		default:
			storm_queue(storm, wq, item, r >> 8);
		}
		if (ret == 1)
			count_up(&item->cancelled);
		if (ret < 0)
			count_up(&storm->wrong);
		count_up(&storm->ops);
	}
}

static void storm_run(bool requeue, unsigned one_in)
{
	static const unsigned flags[NR_QUEUES] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI,
						  WQ_PERCPU | WQ_CPU_INTENSIVE};
	static struct storm storm;
	unsigned i;

	memset(&storm, 0, sizeof(storm));
	storm.requeue = requeue;
	for (i = 0; i < NR_QUEUES; i++)
		storm.queues[i] = wq_alloc("storm", flags[i], i == 0 ? 0 : 1);
	for (i = 0; i < NR_ITEMS; i++) {
		wq_work_init(&storm.items[i].work, storm_fn, NULL);
		storm.items[i].storm = &storm;
		storm.items[i].rng = test_seed() + i;
	}
	wqi_test_yields(test_seed(), one_in);
	storm.end_ns = storm_end();
	run_threads(4, storm_thread, &storm);
	count_set(&storm.requeue, 0);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_item *item = &storm.items[i];

		if (wq_work_cancel_sync(&item->work) == 1)
			item->cancelled++;
		assert_int_equal(wq_work_busy(&item->work), 0);
	}
	for (i = 0; i < NR_QUEUES; i++)
		assert_int_equal(wq_destroy(storm.queues[i]), 0);
	wqi_test_yields(0, 0);
	assert_int_equal(storm.wrong, 0);
	assert_true(storm.ops > 0);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_item *item = &storm.items[i];

		assert_int_equal(item->overlaps, 0);
		assert_int_equal(item->accepted, item->ran + item->cancelled);
	}
}

static void items_and_queues_survive_a_storm(void **state)
{
	storm_run(false, 16);
}

static void items_that_requeue_themselves_survive_a_storm(void **state)
{
	storm_run(true, 16);
}

static void a_storm_without_yields(void **state)
{
	storm_run(true, 0);
}

/* --- producers far ahead of the workers, and far behind --- */

struct flood {
	struct wq *wq;
	struct wq_work *works;
	unsigned long per_thread, ran, slow;
};

static void flood_fn(struct wq_work *work, void *ctx)
{
	struct flood *flood = ctx;
	unsigned long i;

	for (i = 0; i < flood->slow; i++)
		count_get(&flood->slow);
	count_up(&flood->ran);
}

static void flood_thread(void *ctx, unsigned index)
{
	struct flood *flood = ctx;
	unsigned long i;

	for (i = 0; i < flood->per_thread; i++)
		if (wq_queue(flood->wq, &flood->works[index * flood->per_thread + i]) != 1)
			abort();
}

static void flood_run(unsigned flags, unsigned long slow)
{
	struct flood flood = {.per_thread = scaled(100000), .slow = slow};
	unsigned long i;

	flood.wq = wq_alloc("flood", flags, 0);
	flood.works = calloc(3 * flood.per_thread, sizeof(*flood.works));
	for (i = 0; i < 3 * flood.per_thread; i++)
		wq_work_init(&flood.works[i], flood_fn, &flood);
	run_threads(3, flood_thread, &flood);
	assert_int_equal(wq_flush(flood.wq), 0);
	assert_int_equal(flood.ran, 3 * flood.per_thread);
	assert_int_equal(wq_destroy(flood.wq), 0);
	free(flood.works);
}

static void producers_far_ahead_of_the_workers(void **state)
{
	flood_run(0, 200);
	flood_run(WQ_PERCPU, 200);
	flood_run(WQ_ORDERED, 50);
}

static void producers_far_behind_the_workers(void **state)
{
	static const unsigned flags[] = {0, WQ_PERCPU, WQ_ORDERED};
	unsigned long i, rounds = scaled(20000);
	struct flood flood = {.slow = 0};
	struct wq_work work;
	unsigned f;

	for (f = 0; f < ARRAY_SIZE(flags); f++) {
		flood.wq = wq_alloc("behind", flags[f], 0);
		flood.ran = 0;
		wq_work_init(&work, flood_fn, &flood);
		for (i = 0; i < rounds; i++) {
			assert_int_equal(wq_queue(flood.wq, &work), 1);
			while (wq_work_busy(&work))
				sched_yield();
			assert_int_equal(count_get(&flood.ran), i + 1);
		}
		assert_int_equal(wq_destroy(flood.wq), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_and_queues_survive_a_storm),
		cmocka_unit_test(items_that_requeue_themselves_survive_a_storm),
		cmocka_unit_test(a_storm_without_yields),
		cmocka_unit_test(producers_far_ahead_of_the_workers),
		cmocka_unit_test(producers_far_behind_the_workers),
	};

	test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
