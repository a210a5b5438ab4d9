/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Storms of timers: everything that arms, queues, takes back, waits and shuts queues,
 * against each other, with yields at random in the library's protocols.  Every
 * acceptance must be one run or one cancel that answered 1.  WQ_TEST_SEED repeats a
 * run's choices (not its interleaving); WQ_STRESS_MS sets the length of each storm
 * (default 1000).
 */
#include "support.h"

#include <sched.h>
#include <signal.h>
#include <time.h>

#include "testing.h"

#define NR_ITEMS   6
#define NR_QUEUES  4
#define NR_THREADS 4

#define US   UINT64_C(1000)
#define HOUR (UINT64_C(3600) * 1000000000)

struct storm_item {
	struct wq_delayed_work dw;
	struct storm *storm;
	unsigned long accepted; /* answers 1 of queueing and arming, and 0 of mod_delayed */
	unsigned long cancelled, ran, inside, overlaps;
	unsigned long tried, rescheduled; /* calls of wq_reschedule(), and answers 1 */
	uint64_t rng;			  /* used only inside fn, which never overlaps (G2) */
};

struct storm {
	struct wq *queues[NR_QUEUES];
	struct storm_item items[NR_ITEMS];
	uint64_t end_ns;
	unsigned long wrong, ops, handled;
	unsigned long requeue; /* items arm themselves */
	bool reschedule;
	pthread_t threads[NR_THREADS];
	unsigned long started, left;
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

/* 0 in a quarter of the cases, seldom an hour, else up to 200 µs. */
static uint64_t delay_of(uint64_t r)
{
	if (r % 4 == 0)
		return 0;
	if (r % 32 == 1)
		return HOUR;
	return (r >> 8) % (200 * US) + 1;
}

static void note_accepted(struct storm_item *item, int ret, int accepted)
{
	if (ret == accepted)
		count_up(&item->accepted);
	else if (ret != 0 && ret != 1 && ret != -EBUSY && ret != -ESHUTDOWN)
		count_up(&item->storm->wrong);
}

static void note_cancelled(struct storm_item *item, int ret)
{
	if (ret == 1)
		count_up(&item->cancelled);
	else if (ret)
		count_up(&item->storm->wrong);
}

static struct wq *queue_of(struct storm *storm, uint64_t r)
{
	return storm->queues[r % NR_QUEUES];
}

/* What may be called from a signal handler, too. */
static void do_lock_free(struct storm_item *item, uint64_t r)
{
	struct wq *wq = queue_of(item->storm, r >> 8);

	switch (r % 8) {
	case 0:
	case 1:
		note_accepted(item, wq_queue(wq, &item->dw.work), 1);
		break;
	case 2:
		note_cancelled(item, wq_delayed_work_cancel(&item->dw));
		break;
	case 3:
		if (wq_delayed_work_busy(&item->dw) & ~31u)
			count_up(&item->storm->wrong);
		wq_delayed_work_remaining_ns(&item->dw);
		break;
	default:
		note_accepted(item, wq_queue_delayed(wq, &item->dw, delay_of(r >> 16)), 1);
	}
}

static void do_mod(struct storm_item *item, uint64_t r)
{
	struct wq *wq = queue_of(item->storm, r >> 8);

	note_accepted(item, wq_mod_delayed(wq, &item->dw, delay_of(r >> 16)), 0);
}

static void do_reschedule(struct storm_item *item, uint64_t r)
{
	int ret = wq_reschedule(queue_of(item->storm, r >> 8), &item->dw, delay_of(r >> 16));

	count_up(&item->tried);
	if (ret == 1)
		count_up(&item->rescheduled);
	else if (ret != 0 && ret != -EBUSY && ret != -ESHUTDOWN)
		count_up(&item->storm->wrong);
}

static void storm_fn(struct wq_work *work, void *ctx)
{
	struct storm_item *item = container_of(work, struct storm_item, dw.work);
	uint64_t r;

	if (__atomic_exchange_n(&item->inside, 1, __ATOMIC_RELAXED))
		count_up(&item->overlaps);
	r = random_next(&item->rng);
	if (r % 8 == 0)
		sched_yield();
	if (count_get(&item->storm->requeue) && r >> 8 & 1) {
		if (r >> 9 & 1)
			do_lock_free(item, r >> 16);
		else
			do_mod(item, r >> 16);
	}
	__atomic_store_n(&item->inside, 0, __ATOMIC_RELAXED);
	count_up(&item->ran);
}

static void do_shut(struct storm *storm, struct wq *wq, uint64_t r)
{
	int err;

	switch (r % 3) {
	case 0:
		err = wq_plug(wq);
		sched_yield();
		if (err ? err != -EALREADY : (err = wq_unplug(wq)) && err != -EALREADY)
			count_up(&storm->wrong);
		break;
	case 1:
		wq_freeze_all();
		sched_yield();
		wq_thaw_all();
		break;
	default:
		if (wq_drain(wq))
			count_up(&storm->wrong);
	}
}

static void do_wait(struct storm_item *item, uint64_t r)
{
	int ret;

	switch (r % 4) {
	case 0:
		note_cancelled(item, wq_delayed_work_cancel_sync(&item->dw));
		break;
	case 1:
		if (wq_delayed_work_flush(&item->dw) < 0)
			count_up(&item->storm->wrong);
		break;
	case 2:
		note_cancelled(item, wq_delayed_work_disable_sync(&item->dw));
		ret = wq_delayed_work_enable(&item->dw);
		if (ret != 0 && ret != 1)
			count_up(&item->storm->wrong);
		break;
	default:
		note_cancelled(item, wq_delayed_work_disable(&item->dw));
		ret = wq_delayed_work_enable(&item->dw);
		if (ret != 0 && ret != 1)
			count_up(&item->storm->wrong);
	}
}

static void storm_op(struct storm *storm, uint64_t r)
{
	struct storm_item *item = &storm->items[(r >> 40) % NR_ITEMS];

	switch (r % 16) {
	case 0:
	case 1:
		do_wait(item, r >> 8);
		break;
	case 2:
		if (r >> 4 & 1)
			do_shut(storm, queue_of(storm, r >> 44), r >> 8);
		else if (wq_flush(queue_of(storm, r >> 44)))
			count_up(&storm->wrong);
		break;
	case 3:
	case 4:
	case 5:
		if (storm->reschedule)
			do_reschedule(item, r >> 4);
		else
			do_mod(item, r >> 4);
		break;
	case 6:
		do_mod(item, r >> 4);
		break;
	default:
		do_lock_free(item, r >> 4);
	}
	count_up(&storm->ops);
}

static void storm_thread(void *ctx, unsigned index)
{
	struct storm *storm = ctx;
	uint64_t rng = test_seed() * 31 + index;

	while (now_ns() < storm->end_ns)
		storm_op(storm, random_next(&rng));
}

static void storm_begin(struct storm *storm)
{
	static const unsigned flags[NR_QUEUES] = {0, WQ_ORDERED, WQ_PERCPU | WQ_FREEZABLE,
						  WQ_FREEZABLE};
	unsigned i;

	for (i = 0; i < NR_QUEUES; i++)
		storm->queues[i] = wq_alloc("storm", flags[i], 0);
	for (i = 0; i < NR_ITEMS; i++) {
		wq_delayed_work_init(&storm->items[i].dw, storm_fn, NULL);
		storm->items[i].storm = storm;
		storm->items[i].rng = test_seed() + i;
	}
	storm->end_ns = storm_end();
}

/* All is taken back, and nothing runs any more; then the equation of each item. */
static void storm_finish(struct storm *storm)
{
	unsigned long ran[NR_ITEMS];
	unsigned i;

	count_set(&storm->requeue, 0);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_item *item = &storm->items[i];

		if (wq_delayed_work_cancel_sync(&item->dw) == 1)
			item->cancelled++;
		assert_int_equal(wq_delayed_work_busy(&item->dw), 0);
		assert_true(wq_delayed_work_expires_ns(&item->dw) == 0);
		ran[i] = count_get(&item->ran);
	}
	for (i = 0; i < NR_QUEUES; i++)
		assert_int_equal(wq_destroy(storm->queues[i]), 0);
	wqi_test_yields(0, 0);
	assert_int_equal(storm->wrong, 0);
	assert_true(storm->ops > 0);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_item *item = &storm->items[i];
		unsigned long ended = item->ran + item->cancelled;

		assert_int_equal(item->ran, ran[i]);
		assert_int_equal(item->overlaps, 0);
		if (!storm->reschedule)
			assert_int_equal(item->accepted, ended);
		/* A call may add an instance, or let two become one. */
		assert_true(ended + item->tried >= item->accepted);
		assert_true(ended <= item->accepted + item->rescheduled);
	}
}

static void storm_run(bool reschedule, unsigned one_in)
{
	static struct storm storm;

	memset(&storm, 0, sizeof(storm));
	storm.reschedule = reschedule;
	storm.requeue = 1;
	wqi_test_yields(test_seed(), one_in);
	storm_begin(&storm);
	run_threads(NR_THREADS, storm_thread, &storm);
	storm_finish(&storm);
}

static void every_arming_is_a_run_or_a_cancel(void **state)
{
	storm_run(false, 16);
}

static void every_arming_is_a_run_or_a_cancel_without_yields(void **state)
{
	storm_run(false, 0);
}

static void rescheduled_items_run_within_bounds(void **state)
{
	storm_run(true, 16);
}

/* --- the same, interrupted by handlers that arm and cancel --- */

static struct storm signalled;
static __thread uint64_t handler_rng;

static void storm_handler(int sig)
{
	struct storm *storm = &signalled;
	uint64_t r = random_next(&handler_rng);
	int saved = errno;

	do_lock_free(&storm->items[(r >> 40) % NR_ITEMS], r);
	do_lock_free(&storm->items[(r >> 48) % NR_ITEMS], r >> 4);
	count_up(&storm->handled);
	errno = saved;
}

static void signalled_thread(void *ctx, unsigned index)
{
	struct storm *storm = ctx;
	sigset_t set;

	if (index < NR_THREADS) {
		handler_rng = test_seed() * 17 + index;
		storm->threads[index] = pthread_self();
		count_up(&storm->started);
		storm_thread(ctx, index);
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		count_up(&storm->left);
		/* Its number must stay good until nobody sends to it any more. */
		while (count_get(&storm->left) <= NR_THREADS)
			sched_yield();
		return;
	}
	while (count_get(&storm->started) < NR_THREADS)
		sched_yield();
	for (index = 0; count_get(&storm->left) < NR_THREADS; index++) {
		pthread_kill(storm->threads[index % NR_THREADS], SIGUSR1);
		sched_yield();
	}
	count_up(&storm->left);
}

static void handlers_that_arm_and_cancel(void **state)
{
	struct sigaction action = {.sa_handler = storm_handler, .sa_flags = SA_RESTART};

	memset(&signalled, 0, sizeof(signalled));
	signalled.requeue = 1;
	wqi_test_yields(test_seed(), 16);
	storm_begin(&signalled);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	run_threads(NR_THREADS + 1, signalled_thread, &signalled);
	assert_true(signalled.handled > 0);
	storm_finish(&signalled);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_arming_is_a_run_or_a_cancel),
		cmocka_unit_test(every_arming_is_a_run_or_a_cancel_without_yields),
		cmocka_unit_test(rescheduled_items_run_within_bounds),
		cmocka_unit_test(handlers_that_arm_and_cancel),
	};

	test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
