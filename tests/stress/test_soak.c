/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A long soak: all calls from several threads and from the items themselves, on
 * several items and queues.  Checked is what holds without a model: each item's
 * acceptances are its runs and cancellations, its disables are undone by as many
 * enables, it never overlaps itself, answers are of those allowed, waits end.
 */
#include "support.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "testing.h"

enum { NR_ITEMS = 8, NR_THREADS = 4, STUCK_SECONDS = 120 };

static struct queue {
	unsigned flags;
	int max_active;
	struct wq *wq;
} queues[] = {
	{0, 0, NULL},
	{0, 1, NULL},
	{WQ_PERCPU, 1, NULL},
	{WQ_ORDERED, 0, NULL},
	{WQ_DEDICATED, 0, NULL},
	{WQ_FREEZABLE, 2, NULL},
	{WQ_FREEZABLE | WQ_PERCPU, 0, NULL},
	{WQ_FREEZABLE | WQ_ORDERED | WQ_HIGHPRI, 0, NULL},
};

static struct soak {
	struct soak_item {
		struct wq_work work;
		unsigned long accepted, cancelled, ran, disabled, enabled;
		unsigned long inside, overlaps;
		unsigned long plain; /* ordered by the library alone */
		uint64_t rng;	     /* used only inside fn */
	} items[NR_ITEMS];
	uint64_t end_ns;
	unsigned long wrong, finished, calls;
	int wrong_call, wrong_ret;
	unsigned long requeue;
} soak;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void soak_wrong(int call, int ret)
{
	count_set(&soak.wrong_call, call);
	count_set(&soak.wrong_ret, ret);
	count_up(&soak.wrong);
}

static void soak_queue(struct wq *wq, struct soak_item *item, uint64_t r)
{
	int cpu = usable_cpu(r >> 1 & 1);
	int ret = r & 1 || cpu < 0 ? wq_queue(wq, &item->work) : wq_queue_on(wq, &item->work, cpu);

	if (ret == 1)
		count_up(&item->accepted);
	else if (ret != 0 && ret != -EBUSY && ret != -ESHUTDOWN)
		soak_wrong(0, ret);
}

static void soak_take(struct soak_item *item, int ret, bool disables)
{
	if (ret < 0 || ret > 1) {
		soak_wrong(1, ret);
		return;
	}
	if (ret)
		count_up(&item->cancelled);
	if (disables)
		count_up(&item->disabled);
}

static void soak_enable(struct soak_item *item)
{
	int ret = wq_work_enable(&item->work);

	if (ret >= 0)
		count_up(&item->enabled);
	else if (ret != -EINVAL)
		soak_wrong(2, ret);
}

/* Nothing in here waits. */
static void soak_act(struct soak_item *item, struct wq *wq, uint64_t r)
{
	switch (r % 16) {
	case 0:
	case 1:
		soak_take(item, wq_work_cancel(&item->work), false);
		break;
	case 2:
		soak_take(item, wq_work_disable(&item->work), true);
		break;
	case 3:
	case 4:
		soak_enable(item);
		break;
	case 5:
		if (wq_work_busy(&item->work) & ~31u)
			soak_wrong(3, 0);
		break;
	default:
		soak_queue(wq, item, r >> 8);
	}
}

static void soak_fn(struct wq_work *work, void *ctx)
{
	struct soak_item *item = container_of(work, struct soak_item, work);
	struct wq *wq;
	uint64_t r;

	if (__atomic_exchange_n(&item->inside, 1, __ATOMIC_RELAXED))
		count_up(&item->overlaps);
	item->plain++;
	r = random_next(&item->rng);
	wq = queues[(r >> 16) % ARRAY_SIZE(queues)].wq;
	if (r % 8 == 0)
		sched_yield();
	if (count_get(&soak.requeue) && r >> 8 & 1)
		soak_act(item, r >> 12 & 1 ? wq : wq_current_wq(), r >> 24);
	__atomic_store_n(&item->inside, 0, __ATOMIC_RELAXED);
	count_up(&item->ran);
}

/* A queue that lives for a moment: its numbers are used again at once. */
static void soak_short_queue(struct soak_item *item, uint64_t r)
{
	const struct queue *like = &queues[r % ARRAY_SIZE(queues)];
	struct wq *wq = wq_alloc("short", like->flags, like->max_active);

	if (!wq) {
		soak_wrong(4, -errno);
		return;
	}
	soak_queue(wq, item, r >> 8);
	if (r >> 16 & 1)
		wq_plug(wq);
	if (r >> 17 & 1)
		wq_flush(wq);
	if (wq_destroy(wq))
		soak_wrong(4, 0);
}

static void soak_wait(struct soak_item *item, struct wq *wq, uint64_t r)
{
	int ret = 0;

	switch (r % 6) {
	case 0:
		soak_take(item, wq_work_cancel_sync(&item->work), false);
		break;
	case 1:
		soak_take(item, wq_work_disable_sync(&item->work), true);
		break;
	case 2:
		ret = wq_work_flush(&item->work);
		ret = ret == 1 ? 0 : ret;
		break;
	case 3:
		ret = wq_flush(wq);
		break;
	case 4:
		ret = wq_drain(wq);
		break;
	default:
		soak_short_queue(item, r >> 8);
	}
	if (ret)
		soak_wrong(5, ret);
}

static void soak_control(struct wq *wq, uint64_t r)
{
	int ret;

	switch (r % 5) {
	case 0:
		ret = wq_plug(wq);
		break;
	case 1:
		ret = wq_unplug(wq);
		break;
	case 2:
		ret = wq_freeze_all();
		break;
	case 3:
		ret = wq_thaw_all();
		break;
	default:
		ret = wq_freeze_busy() < 0 ? -EINVAL : 0;
	}
	if (ret && ret != -EALREADY)
		soak_wrong(6, ret);
}

static void soak_thread(void *ctx, unsigned index)
{
	uint64_t rng = test_seed() * 31 + index;

	while (now_ns() < soak.end_ns) {
		uint64_t r = random_next(&rng);
		struct soak_item *item = &soak.items[(r >> 40) % NR_ITEMS];
		struct wq *wq = queues[(r >> 32) % ARRAY_SIZE(queues)].wq;

		if (r % 16 < 11)
			soak_act(item, wq, r >> 4);
		else if (r % 16 < 15)
			soak_wait(item, wq, r >> 4);
		else
			soak_control(wq, r >> 4);
		count_up(&soak.calls);
	}
	count_up(&soak.finished);
}

/* What others wait for comes from here, or all threads could come to wait. */
static void soak_attend(uint64_t rng)
{
	unsigned i;

	while (count_get(&soak.finished) < NR_THREADS) {
		uint64_t r = random_next(&rng);

		wq_thaw_all();
		wq_unplug(queues[r % ARRAY_SIZE(queues)].wq);
		for (i = r >> 8 & 255; i; i--)
			sched_yield();
	}
}

static void soak_role(void *ctx, unsigned index)
{
	if (index < NR_THREADS)
		soak_thread(ctx, index);
	else
		soak_attend(test_seed());
}

static void soak_check_item(struct soak_item *item)
{
	unsigned long depth = item->disabled - item->enabled;

	while (depth--)
		assert_int_equal(wq_work_enable(&item->work), depth ? 0 : 1);
	assert_int_equal(wq_work_enable(&item->work), -EINVAL);
	if (wq_work_cancel_sync(&item->work) == 1)
		item->cancelled++;
	assert_int_equal(wq_work_busy(&item->work), 0);
	assert_int_equal(item->overlaps, 0);
	assert_int_equal(item->plain, item->ran);
	assert_int_equal(item->accepted, item->ran + item->cancelled);
}

static void soak_run(unsigned one_in)
{
	const char *text = getenv("WQ_STRESS_MS");
	unsigned i;

	memset(&soak, 0, sizeof(soak));
	soak.requeue = 1;
	soak.end_ns = now_ns() + (text ? strtoull(text, NULL, 10) : 1000) * 1000000u / 2;
	for (i = 0; i < ARRAY_SIZE(queues); i++) {
		queues[i].wq = wq_alloc("soak", queues[i].flags, queues[i].max_active);
		assert_non_null(queues[i].wq);
	}
	for (i = 0; i < NR_ITEMS; i++) {
		wq_work_init(&soak.items[i].work, soak_fn, NULL);
		soak.items[i].rng = test_seed() + i;
	}
	alarm((unsigned)((soak.end_ns - now_ns()) / 1000000000u) + STUCK_SECONDS);
	wqi_test_yields(test_seed(), one_in);
	run_threads(NR_THREADS + 1, soak_role, NULL);
	wqi_test_yields(0, 0);
	count_set(&soak.requeue, 0);
	wq_thaw_all();
	for (i = 0; i < NR_ITEMS; i++)
		soak_check_item(&soak.items[i]);
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(wq_destroy(queues[i].wq), 0);
	alarm(0);
	printf("%lu calls; the first item ran %lu times, cancelled %lu, disabled %lu\n", soak.calls,
	       soak.items[0].ran, soak.items[0].cancelled, soak.items[0].disabled);
	if (soak.wrong)
		fail_msg("%lu wrong answers; the last: %d of calls %d", soak.wrong, soak.wrong_ret,
			 soak.wrong_call);
}

static void all_calls_at_once_with_yields(void **state)
{
	soak_run(16);
}

static void all_calls_at_once(void **state)
{
	soak_run(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_calls_at_once_with_yields),
		cmocka_unit_test(all_calls_at_once),
	};

	test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
