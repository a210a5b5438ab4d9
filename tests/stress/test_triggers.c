/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A storm of trigger items: threads arm, cancel, flush and disable items that wait for a
 * few pipes, and write and read those, with yields at random in the library's protocols.
 * Checked is that each arming that was accepted is one run, or one cancel that said so.
 * WQ_TEST_SEED repeats a run's choices; WQ_STRESS_MS sets the length (default 1000).
 */
#include "events.h"

#include <sched.h>

#include "testing.h"

enum { NR_ITEMS = 8, NR_PIPES = 3, NR_THREADS = 4, NR_SETS = 16 };

static const unsigned flags[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI};

#define NR_QUEUES ARRAY_SIZE(flags)

struct storm_item {
	struct wq_trigger_work tw;
	/* What it may wait for.  Only the library writes there, and for one arming at a time. */
	struct wq_event sets[NR_SETS][MAX_WAITED];
	unsigned nr[NR_SETS];
	unsigned long accepted, cancelled, ran, inside, overlaps;
	unsigned long plain; /* ordered by the library alone */
	uint64_t rng;	     /* used only inside fn */
};

static struct storm {
	struct storm_item items[NR_ITEMS];
	struct ends pipes[NR_PIPES];
	struct wq *queues[NR_QUEUES];
	uint64_t end_ns;
	unsigned long wrong, ops, again;
	int wrong_call, wrong_ret;
} storm;

static void storm_wrong(int call, int ret)
{
	count_set(&storm.wrong_call, call);
	count_set(&storm.wrong_ret, ret);
	count_up(&storm.wrong);
}

static uint64_t storm_timeout(uint64_t r)
{
	switch (r & 7) {
	case 0:
		return 0;
	case 1:
	case 2:
	case 3:
		return WQ_FOREVER;
	default:
		return (r >> 3) % 200000;
	}
}

static void storm_arm(struct storm_item *item, uint64_t r)
{
	unsigned set = (unsigned)(r % NR_SETS);
	int ret = wq_queue_trigger(storm.queues[(r >> 8) % NR_QUEUES], &item->tw, item->sets[set],
				   item->nr[set], storm_timeout(r >> 16));

	if (ret == 1)
		count_up(&item->accepted);
	else if (ret && ret != -EBUSY)
		storm_wrong(0, ret);
}

static void storm_cancelled(struct storm_item *item, int call, int ret)
{
	if (ret == 1)
		count_up(&item->cancelled);
	else if (ret)
		storm_wrong(call, ret);
}

static void storm_fn(struct wq_work *work, void *ctx)
{
	struct storm_item *item = ctx;
	uint64_t r;

	if (__atomic_exchange_n(&item->inside, 1, __ATOMIC_RELAXED))
		count_up(&item->overlaps);
	item->plain++;
	r = random_next(&item->rng);
	if (r % 8 == 0)
		sched_yield();
	if (count_get(&storm.again) && r >> 8 & 1)
		storm_arm(item, r >> 16);
	if (r % 64 == 1)
		storm_cancelled(item, 1, wq_work_cancel(work));
	__atomic_store_n(&item->inside, 0, __ATOMIC_RELAXED);
	count_up(&item->ran);
}

static void storm_write(uint64_t r)
{
	if (write(storm.pipes[r % NR_PIPES].out, "x", 1) < 0 && errno != EAGAIN)
		storm_wrong(2, -errno);
}

static void storm_read(uint64_t r)
{
	char some[64];

	if (read(storm.pipes[r % NR_PIPES].in, some, r & 64 ? sizeof(some) : 1) < 0 &&
	    errno != EAGAIN)
		storm_wrong(3, -errno);
}

/* What comes while a queue refuses is parked.  One thread alone does it. */
static void storm_shut(uint64_t r, unsigned index)
{
	struct wq *wq = storm.queues[r % NR_QUEUES];
	int ret;

	if (index)
		return;
	if (r >> 8 & 1) {
		ret = wq_drain(wq);
	} else {
		ret = wq_plug(wq);
		if (!ret) {
			sched_yield();
			ret = wq_unplug(wq);
		}
	}
	if (ret)
		storm_wrong(4, ret);
}

static void storm_disable(struct storm_item *item, uint64_t r)
{
	int ret = r & 1 ? wq_trigger_work_disable(&item->tw)
			: wq_trigger_work_disable_sync(&item->tw);

	storm_cancelled(item, 5, ret);
	ret = wq_trigger_work_enable(&item->tw);
	if (ret < 0)
		storm_wrong(6, ret);
}

static void storm_op(uint64_t r, unsigned index)
{
	struct storm_item *item = &storm.items[(r >> 8) % NR_ITEMS];
	int ret;

	switch (r % 16) {
	case 0:
	case 1:
		storm_cancelled(item, 7, wq_trigger_work_cancel(&item->tw));
		break;
	case 2:
		storm_cancelled(item, 8, wq_trigger_work_cancel_sync(&item->tw));
		break;
	case 3:
		ret = wq_trigger_work_flush(&item->tw);
		if (ret < 0)
			storm_wrong(9, ret);
		break;
	case 4:
		storm_disable(item, r >> 16);
		break;
	case 5:
	case 6:
		storm_write(r >> 16);
		break;
	case 7:
	case 8:
		storm_read(r >> 16);
		break;
	case 9:
		storm_shut(r >> 16, index);
		break;
	default:
		storm_arm(item, r >> 16);
	}
	count_up(&storm.ops);
}

static void storm_thread(void *ctx, unsigned index)
{
	uint64_t rng = test_seed() * 31 + index;

	while (monotonic_ns() < storm.end_ns)
		storm_op(random_next(&rng), index);
}

static void storm_init_item(struct storm_item *item, uint64_t *rng)
{
	unsigned set, i;

	wq_trigger_work_init(&item->tw, storm_fn, item);
	item->rng = random_next(rng);
	for (set = 0; set < NR_SETS; set++) {
		item->nr[set] = 1 + (unsigned)(random_next(rng) % MAX_WAITED);
		for (i = 0; i < item->nr[set]; i++) {
			uint64_t r = random_next(rng);
			const struct ends *ends = &storm.pipes[r % NR_PIPES];

			/* Mostly for what comes; the writing end is nearly always ready. */
			item->sets[set][i].fd = r >> 8 & 7 ? ends->in : ends->out;
			item->sets[set][i].events = r >> 16 & 3 ? EPOLLIN : EPOLLOUT | EPOLLPRI;
		}
	}
}

static void storm_run(bool again, unsigned one_in)
{
	const char *text = getenv("WQ_STRESS_MS");
	uint64_t rng = test_seed();
	unsigned i;

	memset(&storm, 0, sizeof(storm));
	storm.again = again;
	for (i = 0; i < NR_PIPES; i++)
		ends_open(&storm.pipes[i]);
	for (i = 0; i < NR_QUEUES; i++)
		storm.queues[i] = wq_alloc("storm", flags[i], 0);
	for (i = 0; i < NR_ITEMS; i++)
		storm_init_item(&storm.items[i], &rng);
	wqi_test_yields(test_seed(), one_in);
	storm.end_ns = monotonic_ns() + (text ? strtoull(text, NULL, 10) : 1000) * MS;
	run_threads(NR_THREADS, storm_thread, NULL);
	count_set(&storm.again, 0);
	for (i = 0; i < NR_ITEMS; i++) {
		if (wq_trigger_work_cancel_sync(&storm.items[i].tw) == 1)
			storm.items[i].cancelled++;
		assert_int_equal(wq_trigger_work_busy(&storm.items[i].tw), 0);
	}
	for (i = 0; i < NR_QUEUES; i++)
		assert_int_equal(wq_destroy(storm.queues[i]), 0);
	wqi_test_yields(0, 0);
	for (i = 0; i < NR_PIPES; i++)
		ends_close(&storm.pipes[i]);
	if (storm.wrong)
		print_message("call %d answered %d\n", storm.wrong_call, storm.wrong_ret);
	assert_int_equal(storm.wrong, 0);
	assert_true(storm.ops > 0);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_item *item = &storm.items[i];

		assert_int_equal(item->overlaps, 0);
		assert_int_equal(item->plain, item->ran);
		assert_int_equal(item->accepted, item->ran + item->cancelled);
	}
}

static void trigger_items_survive_a_storm(void **state)
{
	storm_run(false, 16);
}

static void trigger_items_that_arm_themselves_survive_a_storm(void **state)
{
	storm_run(true, 16);
}

static void trigger_items_survive_a_storm_without_yields(void **state)
{
	storm_run(true, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trigger_items_survive_a_storm),
		cmocka_unit_test(trigger_items_that_arm_themselves_survive_a_storm),
		cmocka_unit_test(trigger_items_survive_a_storm_without_yields),
	};

	test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
