/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wq_mod_delayed() while others queue the item: who is told that it was idle holds a
 * reference that the run gives back, as kernel code does.
 */
#include "shot.h"

static struct wq *wq;
static struct wq_delayed_work item;
static unsigned long taken, given, wrong;

static int setup(void **state)
{
	wq = wq_alloc("test", 0, 0);
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

static void give_fn(struct wq_work *work, void *ctx)
{
	count_up(&given);
}

static void take_thread(void *ctx, unsigned index)
{
	unsigned long i, nr = scaled(50000);
	uint64_t rng = test_seed() + index;
	int ret;

	for (i = 0; i < nr; i++) {
		uint64_t r = random_next(&rng), delay_ns = r >> 8 & 1 ? 0 : (r >> 9) % 20000;

		if (r & 1) {
			ret = wq_mod_delayed(wq, &item, delay_ns);
			if (ret == 0)
				count_up(&taken);
		} else {
			ret = wq_queue_delayed(wq, &item, delay_ns);
			if (ret == 1)
				count_up(&taken);
		}
		if (ret < 0 && ret != -EBUSY)
			count_up(&wrong);
	}
}

static void mod_delayed_among_queueings_leaves_a_run_for_each_that_found_it_idle(void **state)
{
	wq_delayed_work_init(&item, give_fn, NULL);
	run_threads(3, take_thread, NULL);
	assert_true(wq_delayed_work_flush(&item) >= 0);
	assert_int_equal(wq_delayed_work_busy(&item), 0);
	assert_int_equal(taken, given);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			mod_delayed_among_queueings_leaves_a_run_for_each_that_found_it_idle),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
