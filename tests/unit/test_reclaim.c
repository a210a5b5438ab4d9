/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* WQ_MEM_RECLAIM where threads can be made: the rescuer that waits, and waits that are reported. */
#include "observe.h"

#include <sched.h>
#include <sys/wait.h>

/* --- the rescuer --- */

static void reclaim_queue_owns_a_rescuer_from_alloc_to_destroy(void **state)
{
	static const unsigned with[] = {0,
					WQ_PERCPU,
					WQ_ORDERED,
					WQ_HIGHPRI,
					WQ_PERCPU | WQ_HIGHPRI,
					WQ_FREEZABLE,
					WQ_CPU_INTENSIVE,
					WQ_POWER_EFFICIENT};
	struct probe probes[10];
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(with); k++) {
		struct wq *wq = wq_alloc("owner", with[k] | WQ_MEM_RECLAIM, 0);

		assert_non_null(wq);
		assert_int_equal(nr_threads("wq/R-"), 1);
		assert_int_equal(nr_threads("wq/R-owner"), 1);
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			probe_init(&probes[i]);
			assert_int_equal(wq_queue_on(wq, &probes[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			assert_int_equal(probes[i].runs, 1);
		assert_int_equal(stats_of(wq).started, ARRAY_SIZE(probes));
		assert_int_equal(stats_of(wq).completed, ARRAY_SIZE(probes));
		assert_int_equal(nr_threads("wq/R-owner"), 1);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(nr_threads_falls_to("wq/R-", 0), 0);
	}
}

static void reclaim_dedicated_queue_needs_no_rescuer(void **state)
{
	struct wq *wq = wq_alloc("alone", WQ_DEDICATED | WQ_MEM_RECLAIM, 0);
	struct where where;

	assert_non_null(wq);
	assert_int_equal(nr_threads("wq/R-"), 0);
	where_init(&where, NULL);
	assert_int_equal(wq_queue(wq, &where.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_string_equal(where.name, "wq/alone");
	assert_int_equal(wq_destroy(wq), 0);
}

/* What 15 characters hold. */
static void reclaim_rescuer_carries_a_long_name_in_part(void **state)
{
	struct wq *one = wq_alloc("a-queue-with-a-long-name", WQ_MEM_RECLAIM, 0);
	struct wq *two = wq_alloc("a-queue-with-another-name", WQ_MEM_RECLAIM, 0);

	assert_non_null(one);
	assert_non_null(two);
	assert_int_equal(nr_threads("wq/R-a-queue-wi"), 2);
	assert_int_equal(wq_destroy(one), 0);
	assert_int_equal(nr_threads_falls_to("wq/R-a-queue-wi", 1), 1);
	assert_int_equal(wq_destroy(two), 0);
	assert_int_equal(nr_threads_falls_to("wq/R-", 0), 0);
}

static void reclaim_queues_come_and_go_and_leave_no_thread(void **state)
{
	unsigned long i, rounds = scaled(200);
	struct wq *queues[4];
	unsigned k;

	for (i = 0; i < rounds; i++) {
		struct probe probe;

		for (k = 0; k < ARRAY_SIZE(queues); k++) {
			queues[k] =
				wq_alloc("fleeting", WQ_MEM_RECLAIM | (k % 2 ? WQ_PERCPU : 0), 0);
			assert_non_null(queues[k]);
		}
		probe_init(&probe);
		assert_int_equal(wq_queue(queues[i % ARRAY_SIZE(queues)], &probe.work), 1);
		for (k = 0; k < ARRAY_SIZE(queues); k++)
			assert_int_equal(wq_destroy(queues[k]), 0);
		assert_int_equal(probe.runs, 1);
	}
	assert_int_equal(nr_threads_falls_to("wq/R-", 0), 0);
}

/* Workers are there, so nobody calls for help. */
static void reclaim_items_run_on_workers_where_there_are_some(void **state)
{
	static const unsigned with[] = {0, WQ_PERCPU, WQ_ORDERED};
	unsigned long i, rounds = scaled(500);
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(with); k++) {
		struct wq *warm = wq_alloc("warm", with[k], 0);
		struct wq *wq = wq_alloc("normal", with[k] | WQ_MEM_RECLAIM, 0);
		struct where where;

		where_init(&where, NULL);
		assert_int_equal(wq_queue_on(warm, &where.work, usable_cpu(0)), 1);
		assert_int_equal(wq_flush(warm), 0);
		for (i = 0; i < rounds; i++) {
			where_init(&where, NULL);
			assert_int_equal(wq_queue_on(wq, &where.work, usable_cpu(0)), 1);
			assert_int_equal(wq_flush(wq), 0);
			if (checker_is_exact())
				assert_memory_not_equal(where.name, "wq/R-", 5);
		}
		if (checker_is_exact())
			assert_int_equal(stats_of(wq).rescued, 0);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_destroy(warm), 0);
	}
}

#define LIMIT 2

struct limited {
	struct wq_work work;
	struct limits {
		struct latch open;
		unsigned long active, above, ran;
	} * limits;
};

static void limited_fn(struct wq_work *work, void *ctx)
{
	struct limits *limits = ((struct limited *)ctx)->limits;
	unsigned long now = count_up(&limits->active);

	if (now > LIMIT)
		count_up(&limits->above);
	if (now == LIMIT)
		latch_post(&limits->open);
	latch_wait(&limits->open, 1);
	count_up(&limits->ran);
	__atomic_sub_fetch(&limits->active, 1, __ATOMIC_SEQ_CST);
}

static void reclaim_queue_keeps_its_limit(void **state)
{
	static const unsigned with[] = {0, WQ_PERCPU};
	struct limited items[12];
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(with); k++) {
		struct wq *wq = wq_alloc("limited", with[k] | WQ_MEM_RECLAIM, LIMIT);
		struct limits limits = {.open = LATCH_INIT};

		for (i = 0; i < ARRAY_SIZE(items); i++) {
			wq_work_init(&items[i].work, limited_fn, &items[i]);
			items[i].limits = &limits;
			assert_int_equal(wq_queue_on(wq, &items[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(limits.ran, ARRAY_SIZE(items));
		assert_int_equal(limits.above, 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* --- waits for queues without one --- */

static unsigned long nr_reports;
static char last_report[512];

static void report(const char *text)
{
	snprintf(last_report, sizeof(last_report), "%s", text);
	count_up(&nr_reports);
}

enum waits { WAIT_QUEUE, WAIT_ITEM, NR_WAITS };

/* An item that waits for another queue, or for an item of it. */
struct waiter {
	struct wq_work work;
	struct wq *other;
	struct probe gate;
	enum waits how;
	struct latch started;
	int ret;
};

static void waiter_fn(struct wq_work *work, void *ctx)
{
	struct waiter *waiter = ctx;

	latch_post(&waiter->started);
	waiter->ret = waiter->how == WAIT_QUEUE ? wq_flush(waiter->other)
						: wq_work_flush(&waiter->gate.work);
}

/* Begin: something runs on @other, and an item of @wq waits for it. */
static void waiter_begin(struct waiter *waiter, struct wq *wq, struct wq *other, enum waits how)
{
	memset(waiter, 0, sizeof(*waiter));
	waiter->other = other;
	waiter->how = how;
	waiter->ret = -1;
	latch_init(&waiter->started);
	probe_init_gate(&waiter->gate);
	wq_work_init(&waiter->work, waiter_fn, waiter);
	assert_int_equal(wq_queue(other, &waiter->gate.work), 1);
	latch_wait(&waiter->gate.started, 1);
	assert_int_equal(wq_queue(wq, &waiter->work), 1);
	latch_wait(&waiter->started, 1);
}

static void waiter_end(struct waiter *waiter)
{
	latch_post(&waiter->gate.open);
	wq_work_flush(&waiter->work);
	wq_work_flush(&waiter->gate.work);
	/* An item that had ended by then was idle. */
	assert_in_range(waiter->ret, 0, waiter->how == WAIT_QUEUE ? 0 : 1);
}

static void reclaim_item_that_waits_for_a_queue_without_rescuer_is_reported_once(void **state)
{
	struct wq *other = wq_alloc("careless", 0, 0);
	struct waiter waiter;
	unsigned how, k;

	wq_set_report(report);
	for (how = 0; how < NR_WAITS; how++) {
		/* Once a queue. */
		struct wq *wq =
			wq_alloc("careful", how ? WQ_MEM_RECLAIM : WQ_MEM_RECLAIM | WQ_PERCPU, 0);

		count_set(&nr_reports, 0);
		for (k = 1; k <= 4; k++) {
			waiter_begin(&waiter, wq, other, how);
			while (stats_of(wq).reclaim_waits < k)
				sched_yield();
			waiter_end(&waiter);
			assert_int_equal(stats_of(wq).reclaim_waits, k);
			assert_int_equal(count_get(&nr_reports), 1);
		}
		assert_non_null(strstr(last_report, "careful"));
		assert_non_null(strstr(last_report, "careless"));
		assert_null(strchr(last_report, '\n'));
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_int_equal(stats_of(other).reclaim_waits, 0);
	wq_set_report(NULL);
	assert_int_equal(wq_destroy(other), 0);
}

static void reclaim_waits_that_get_on_are_not_reported(void **state)
{
	struct wq *queues[] = {wq_alloc("careful", WQ_MEM_RECLAIM, 0),
			       wq_alloc("too", WQ_MEM_RECLAIM | WQ_PERCPU, 0),
			       wq_alloc("ordered", WQ_MEM_RECLAIM | WQ_ORDERED, 0)};
	struct wq *plain = wq_alloc("plain", 0, 0);
	struct waiter waiter;
	struct probe probe;
	unsigned how, i;

	wq_set_report(report);
	count_set(&nr_reports, 0);
	for (how = 0; how < NR_WAITS; how++) {
		/* Each for the next; those without a rescuer wait for whomever they like. */
		for (i = 0; i < ARRAY_SIZE(queues); i++) {
			waiter_begin(&waiter, queues[i], queues[(i + 1) % ARRAY_SIZE(queues)], how);
			waiter_end(&waiter);
			waiter_begin(&waiter, plain, queues[i], how);
			waiter_end(&waiter);
		}
		waiter_begin(&waiter, wq_system(), plain, how);
		waiter_end(&waiter);
	}
	/* And a thread that is in no item. */
	probe_init(&probe);
	assert_int_equal(wq_queue(plain, &probe.work), 1);
	assert_true(wq_work_flush(&probe.work) >= 0);
	assert_int_equal(wq_flush(plain), 0);
	assert_int_equal(count_get(&nr_reports), 0);
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(stats_of(queues[i]).reclaim_waits, 0);
	assert_int_equal(stats_of(plain).reclaim_waits, 0);
	wq_set_report(NULL);
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(wq_destroy(queues[i]), 0);
	assert_int_equal(wq_destroy(plain), 0);
}

/* --- where reports go from the start --- */

static void stderr_child(void *ctx)
{
	struct wq *wq = wq_alloc("careful", WQ_MEM_RECLAIM, 0), *other = wq_alloc("careless", 0, 0);
	struct wq_stats stats = {0};
	struct waiter waiter;
	int *fds = ctx, i;

	CHECK(wq);
	CHECK(other);
	CHECK_EQUAL(dup2(fds[1], 2), 2);
	for (i = 0; i < 3; i++) {
		memset(&waiter, 0, sizeof(waiter));
		waiter.other = other;
		latch_init(&waiter.started);
		probe_init_gate(&waiter.gate);
		wq_work_init(&waiter.work, waiter_fn, &waiter);
		CHECK_EQUAL(wq_queue(other, &waiter.gate.work), 1);
		latch_wait(&waiter.gate.started, 1);
		CHECK_EQUAL(wq_queue(wq, &waiter.work), 1);
		while (stats.reclaim_waits <= (uint64_t)i) {
			sched_yield();
			CHECK_EQUAL(wq_stats_read(wq, &stats, sizeof(stats)), 0);
		}
		latch_post(&waiter.gate.open);
		CHECK_EQUAL(wq_flush(wq), 0);
		CHECK_EQUAL(wq_flush(other), 0);
	}
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_destroy(other), 0);
}

static void report_goes_to_standard_error_at_first(void **state)
{
	char text[1024];
	size_t length = 0;
	ssize_t nr;
	int fds[2], status;

	skip_if_checker_hangs_children();
	assert_int_equal(pipe(fds), 0);
	status = in_child(stderr_child, fds);
	close(fds[1]);
	while ((nr = read(fds[0], text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)nr;
	close(fds[0]);
	text[length] = '\0';
	if (status)
		print_message("the child said: %s\n", text);
	assert_int_equal(status, 0);
	/* One line. */
	assert_true(length > 1);
	assert_ptr_equal(strchr(text, '\n'), text + length - 1);
	assert_non_null(strstr(text, "careful"));
	assert_non_null(strstr(text, "careless"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(report_goes_to_standard_error_at_first),
		cmocka_unit_test(reclaim_queue_owns_a_rescuer_from_alloc_to_destroy),
		cmocka_unit_test(reclaim_dedicated_queue_needs_no_rescuer),
		cmocka_unit_test(reclaim_rescuer_carries_a_long_name_in_part),
		cmocka_unit_test(reclaim_queues_come_and_go_and_leave_no_thread),
		cmocka_unit_test(reclaim_items_run_on_workers_where_there_are_some),
		cmocka_unit_test(reclaim_queue_keeps_its_limit),
		cmocka_unit_test(
			reclaim_item_that_waits_for_a_queue_without_rescuer_is_reported_once),
		cmocka_unit_test(reclaim_waits_that_get_on_are_not_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
