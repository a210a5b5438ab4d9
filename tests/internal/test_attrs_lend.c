/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pods that are not strict lend each other what they do not use, and take it back; strict
 * ones do not.
 */
#include "observe.h"

#include <sched.h>

#include "testing.h"

static struct wq *wq;

static void begin_lend(bool strict)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct wq_attrs attrs;

	config.topology = "node:2 core:1 pu:1";
	config.cpu_intensive_us = 0;
	assert_int_equal(wq_configure(&config), 0);
	wq_attrs_init(&attrs);
	wq_attrs_set_strict(&attrs, strict);
	wq = wq_alloc_attrs("lend", 0, 0, &attrs);
	assert_non_null(wq);
}

static int end_lend(void **state)
{
	wqi_test_yields(0, 0);
	return wq_shutdown();
}

/* Items that compute until another is there too, or for so long. */
struct meeting {
	struct wq_work works[2];
	unsigned long inside, met, ended;
};

#define PATIENCE_NS 300000000u

static void meet_fn(struct wq_work *work, void *ctx)
{
	struct meeting *meeting = ctx;
	uint64_t end = thread_cpu_ns() + PATIENCE_NS;

	count_up(&meeting->inside);
	while (thread_cpu_ns() < end)
		if (count_get(&meeting->inside) == 2) {
			count_up(&meeting->met);
			break;
		}
	compute_ns(1000000);
	__atomic_sub_fetch(&meeting->inside, 1, __ATOMIC_SEQ_CST);
	count_up(&meeting->ended);
}

static unsigned long meet_on(int first, int second)
{
	struct meeting meeting = {.inside = 0};

	wq_work_init(&meeting.works[0], meet_fn, &meeting);
	wq_work_init(&meeting.works[1], meet_fn, &meeting);
	assert_int_equal(wq_queue_on(wq, &meeting.works[0], first), 1);
	assert_int_equal(wq_queue_on(wq, &meeting.works[1], second), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(meeting.ended, 2);
	return meeting.met;
}

static void pod_borrows_what_others_do_not_use(void **state)
{
	begin_lend(false);
	assert_true(meet_on(0, 0) > 0);
	assert_true(meet_on(1, 1) > 0);
	assert_true(meet_on(0, 1) > 0);
	assert_int_equal(wq_destroy(wq), 0);
}

/* A checker that lets one thread run at a time has the others sleep: then one more is let in. */
static bool has_blocked(int cpu)
{
	struct wq_pool_stats stats = pool_stats_of(wq, cpu);

	return stats.blocked_sleep + stats.blocked_disk + stats.blocked_monitor > 0;
}

static void strict_pod_does_not_borrow(void **state)
{
	begin_lend(true);
	assert_true(meet_on(0, 0) == 0 || has_blocked(0));
	assert_true(meet_on(0, 1) > 0);
	assert_int_equal(pool_stats_of(wq, 0).started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- what is lent is taken back while workers begin items --- */

struct load {
	struct wq_work works[64];
	unsigned long ran;
};

static void load_fn(struct wq_work *work, void *ctx)
{
	compute_ns(5000);
	count_up((unsigned long *)ctx);
}

static void load_thread(void *ctx, unsigned index)
{
	struct load *load = (struct load *)ctx + index;
	unsigned long i, rounds = scaled(100);
	unsigned k;

	for (i = 0; i < rounds; i++) {
		for (k = 0; k < ARRAY_SIZE(load->works); k++)
			if (wq_queue_on(wq, &load->works[k], (int)(index ? i % 2 : 0)) < 0)
				abort();
		wq_work_flush(&load->works[k - 1]);
	}
}

/* wq/stats.h: it stays 0. */
static void nothing_starts_above_the_level(void **state)
{
	static struct load loads[3];
	unsigned i, k;

	begin_lend(false);
	wqi_test_yields(test_seed(), 16);
	for (i = 0; i < ARRAY_SIZE(loads); i++)
		for (k = 0; k < ARRAY_SIZE(loads[i].works); k++)
			wq_work_init(&loads[i].works[k], load_fn, &loads[i].ran);
	run_threads(ARRAY_SIZE(loads), load_thread, loads);
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(pool_stats_of(wq, (int)i).started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(pod_borrows_what_others_do_not_use, end_lend),
		cmocka_unit_test_teardown(strict_pod_does_not_borrow, end_lend),
		cmocka_unit_test_teardown(nothing_starts_above_the_level, end_lend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
