/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G13 with a pthread_create() of the program's own, which the library calls too: it
 * fails at random, or takes for ever.
 */
#include "host.h"

#include <dlfcn.h>
#include <time.h>

enum mode { MODE_PASS, MODE_RANDOM, MODE_NEVER, MODE_LATE };

static unsigned long mode, nr_created, nr_failed;
static uint64_t random_state;

/* What a creation waits for in MODE_LATE. */
static struct latch late = LATCH_INIT;
static unsigned long late_count;

/* The sanitizers have theirs, which must be called first. */
#if !TEST_ASAN && !TEST_TSAN
typedef int (*create_fn)(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *ctx),
			 void *ctx);

static create_fn create_next;

__attribute__((constructor)) static void create_find(void)
{
	void *found = dlsym(RTLD_NEXT, "pthread_create");

	memcpy(&create_next, &found, sizeof(found));
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *ctx), void *ctx)
{
	uint64_t state;

	switch (count_get(&mode)) {
	case MODE_RANDOM:
		/* The first always fails. */
		state = count_add(&random_state, UINT64_C(0x9e3779b97f4a7c15));
		if (random_next(&state) % 2 || !count_get(&nr_failed)) {
			count_up(&nr_failed);
			return EAGAIN;
		}
		break;
	case MODE_NEVER:
		count_up(&nr_failed);
		return EAGAIN;
	case MODE_LATE:
		latch_wait(&late, count_get(&late_count));
		break;
	}
	count_up(&nr_created);
	return create_next(thread, attr, fn, ctx);
}
#endif

/* In a child: does the library call ours? */
static struct wq *alloc_counted(const char *name, unsigned flags)
{
	unsigned long before = count_get(&nr_created);
	struct wq *wq = wq_alloc(name, flags, 0);

	CHECK(wq);
	if (flags & WQ_MEM_RECLAIM && count_get(&nr_created) == before)
		skip_child("pthread_create() can't be replaced here");
	return wq;
}

/* --- Failing at random --- */

#define NR_ITEMS 20000

struct random_item {
	struct wq_work work;
	unsigned long runs, place;
	bool blocks;
};

static struct random_item random_items[NR_ITEMS];
static unsigned long places[8];

static void random_fn(struct wq_work *work, void *ctx)
{
	struct random_item *item = container_of(work, struct random_item, work);
	struct timespec nap = {.tv_nsec = 500000};

	item->place = count_up((unsigned long *)ctx);
	count_up(&item->runs);
	if (item->blocks)
		nanosleep(&nap, NULL);
}

static void failing(void *ctx)
{
	static const unsigned kinds[] = {0,
					 WQ_PERCPU,
					 WQ_ORDERED,
					 WQ_HIGHPRI,
					 WQ_MEM_RECLAIM,
					 WQ_PERCPU | WQ_MEM_RECLAIM,
					 WQ_ORDERED | WQ_MEM_RECLAIM};
	uint64_t *seed = ctx, random = *seed;
	struct wq *wqs[ARRAY_SIZE(kinds)];
	struct wq_stats stats;
	unsigned long ran = 0;
	unsigned i, k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		wqs[k] = alloc_counted("mixed", kinds[k]);
	count_set(&random_state, *seed);
	count_set(&mode, MODE_RANDOM);
	for (i = 0; i < NR_ITEMS; i++) {
		k = i % ARRAY_SIZE(kinds);
		random_items[i].blocks = random_next(&random) % 32 == 0;
		wq_work_init(&random_items[i].work, random_fn, &places[k]);
		CHECK_EQUAL(wq_queue(wqs[k], &random_items[i].work), 1);
	}
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		CHECK_EQUAL(wq_flush(wqs[k]), 0);
		CHECK_EQUAL(wq_stats_read(wqs[k], &stats, sizeof(stats)), 0);
		CHECK_EQUAL(stats.started, places[k]);
		CHECK_EQUAL(stats.completed, places[k]);
		CHECK(stats.rescued <= stats.started);
		ran += places[k];
	}
	CHECK_EQUAL(ran, NR_ITEMS);
	for (i = 0; i < NR_ITEMS; i++) {
		k = i % ARRAY_SIZE(kinds);
		CHECK_EQUAL(random_items[i].runs, 1);
		if (kinds[k] & WQ_ORDERED)
			CHECK_EQUAL(random_items[i].place, i / ARRAY_SIZE(kinds) + 1);
	}
	CHECK(nr_failed);
	count_set(&mode, MODE_PASS);
	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		CHECK_EQUAL(wq_destroy(wqs[k]), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void creation_that_fails_at_random_loses_no_item(void **state)
{
	uint64_t seed;

	skip_under_checkers();
	seed = test_seed();
	holds_in_child(failing, &seed);
}

/* --- Failing always, and taking for ever --- */

#define NR_RESCUED 200

/* An item that notes its turn, and how many threads had been made by then. */
struct rescued {
	struct wq_work work;
	unsigned long runs, place, created;
};

static struct rescued rescued_items[NR_RESCUED];
static unsigned long rescued_place;

static void rescued_fn(struct wq_work *work, void *ctx)
{
	struct rescued *rescued = ctx;

	rescued->place = count_up(&rescued_place);
	rescued->created = count_get(&nr_created);
	count_up(&rescued->runs);
	latch_post(&late);
}

/* So many items at a time, and all of them on the rescuer: no worker has been made. */
static void rescued_all(unsigned flags, enum mode as, unsigned batch)
{
	struct wq *reclaim = alloc_counted("reclaim", flags | WQ_MEM_RECLAIM);
	unsigned long created = count_get(&nr_created);
	struct wq_stats stats;
	unsigned i;

	late_count = NR_RESCUED;
	count_set(&mode, as);
	for (i = 0; i < NR_RESCUED; i++) {
		struct rescued *rescued = &rescued_items[i];

		wq_work_init(&rescued->work, rescued_fn, rescued);
		CHECK_EQUAL(wq_queue_on(reclaim, &rescued->work, usable_cpu(0)), 1);
		/* What comes when the rescuer has just left is new to it. */
		if ((i + 1) % batch == 0)
			CHECK_EQUAL(wq_flush(reclaim), 0);
	}
	CHECK_EQUAL(wq_flush(reclaim), 0);
	for (i = 0; i < NR_RESCUED; i++) {
		CHECK_EQUAL(rescued_items[i].runs, 1);
		CHECK_EQUAL(rescued_items[i].created, created);
		if (flags & (WQ_PERCPU | WQ_ORDERED))
			CHECK_EQUAL(rescued_items[i].place, i + 1);
	}
	CHECK_EQUAL(wq_stats_read(reclaim, &stats, sizeof(stats)), 0);
	CHECK_EQUAL(stats.started, NR_RESCUED);
	CHECK_EQUAL(stats.rescued, NR_RESCUED);
	CHECK(stats.mayday >= 1);
	count_set(&mode, MODE_PASS);
	CHECK_EQUAL(wq_destroy(reclaim), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void never_created(void *ctx)
{
	rescued_all(*(unsigned *)ctx, MODE_NEVER, 50);
}

/* A creation that has begun returns when all items have run, and not before. */
static void created_late(void *ctx)
{
	rescued_all(*(unsigned *)ctx, MODE_LATE, NR_RESCUED);
}

static void each_kind(void (*fn)(void *ctx))
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI,
					 WQ_PERCPU | WQ_HIGHPRI};
	unsigned i;

	skip_under_checkers();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		unsigned flags = kinds[i];

		holds_in_child(fn, &flags);
	}
}

static void reclaim_items_without_any_worker_run(void **state)
{
	each_kind(never_created);
}

static void reclaim_items_run_before_a_slow_creation_returns(void **state)
{
	each_kind(created_late);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_that_fails_at_random_loses_no_item),
		cmocka_unit_test(reclaim_items_without_any_worker_run),
		cmocka_unit_test(reclaim_items_run_before_a_slow_creation_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
