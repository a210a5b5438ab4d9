/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G17: misuse is answered, call by call, and errno left alone.  Also what an item
 * can ask of its worker.
 */
#include "support.h"

#include <limits.h>
#include <sched.h>
#include <wchar.h>

#define ERRNO_MARK 4711

static unsigned long nop_runs;

static void nop(struct wq_work *work, void *ctx)
{
	count_up(&nop_runs);
}

static void call_nop(void *ctx)
{
	count_up(&nop_runs);
}

/* A call's answer, and that it left errno alone. */
static void check_answer(const char *call, int ret, int expected)
{
	int err = errno;

	if (ret != expected)
		fail_msg("%s: %d, not %d", call, ret, expected);
	if (err != ERRNO_MARK)
		fail_msg("%s: touches errno", call);
}

#define EXPECT(call, expected) (errno = ERRNO_MARK, check_answer(#call, (call), (expected)))

static struct wq *wq;
static struct wq_work idle, zeroed, without_fn;

static int start(void **state)
{
	wq = wq_alloc("misuse", 0, 0);
	wq_work_init(&idle, nop, NULL);
	wq_work_init(&without_fn, NULL, NULL);
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

static void expect_list_refused(const char *list)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.unbound_cpus = list;
	EXPECT(wq_configure(&config), -EINVAL);
}

/* The first one: before anything has started. */
static void configure_checks_its_settings(void **state)
{
	static const char *const lists[] = {"x", "0-", "3-1", "0,,1", "-1", "0 1 2x", "4095"};
	struct wq_config config = WQ_CONFIG_INIT;
	unsigned i;

	EXPECT(wq_configure(NULL), -EINVAL);
	for (i = 0; i < ARRAY_SIZE(lists); i++)
		expect_list_refused(lists[i]);
	config.size--;
	EXPECT(wq_configure(&config), -EINVAL);
	config.size += 2;
	EXPECT(wq_configure(&config), -EINVAL);
	config.size--;
	config.stack_bytes = 1;
	EXPECT(wq_configure(&config), -EINVAL);
	config.stack_bytes = 0;
	config.topology = "pack:1 core:two";
	EXPECT(wq_configure(&config), -EINVAL);
	config.topology = NULL;
	EXPECT(wq_configure(&config), 0);
	EXPECT(wq_configure(&config), 0);
}

static void g17_calls_refuse_null(void **state)
{
	EXPECT(wq_queue(NULL, &idle), -EINVAL);
	EXPECT(wq_queue(wq, NULL), -EINVAL);
	EXPECT(wq_queue_on(NULL, &idle, 0), -EINVAL);
	EXPECT(wq_queue_on(wq, NULL, 0), -EINVAL);
	EXPECT(wq_queue_node(NULL, &idle, 0), -EINVAL);
	EXPECT(wq_queue_node(wq, NULL, 0), -EINVAL);
	EXPECT(wq_enable_and_queue(NULL, &idle), -EINVAL);
	EXPECT(wq_enable_and_queue(wq, NULL), -EINVAL);
	EXPECT(wq_schedule(NULL), -EINVAL);
	EXPECT(wq_work_flush(NULL), -EINVAL);
	EXPECT(wq_work_cancel(NULL), -EINVAL);
	EXPECT(wq_work_cancel_sync(NULL), -EINVAL);
	EXPECT(wq_work_disable(NULL), -EINVAL);
	EXPECT(wq_work_disable_sync(NULL), -EINVAL);
	EXPECT(wq_work_enable(NULL), -EINVAL);
	EXPECT(wq_work_pending(NULL), 0);
	EXPECT((int)wq_work_busy(NULL), 0);
	EXPECT(wq_flush(NULL), -EINVAL);
	EXPECT(wq_drain(NULL), -EINVAL);
	EXPECT(wq_plug(NULL), -EINVAL);
	EXPECT(wq_unplug(NULL), -EINVAL);
	EXPECT(wq_destroy(NULL), 0);
	EXPECT(wq_set_max_active(NULL, 1), -EINVAL);
	EXPECT(wq_congested(NULL), 0);
	EXPECT(wq_run_on(0, NULL, NULL), -EINVAL);
	EXPECT(wq_run_on_each_cpu(NULL, NULL), -EINVAL);
	EXPECT(wq_call(NULL, call_nop, NULL), -EINVAL);
	EXPECT(wq_call(wq, NULL, NULL), -EINVAL);
	EXPECT(wq_enqueue(wq, NULL), -EINVAL);
	assert_int_equal(wq_work_busy(&idle), 0);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(nop_runs, 0);
}

static void g17_calls_refuse_items_that_were_not_initialised(void **state)
{
	struct wq_work *const items[] = {&zeroed, &without_fn};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(items); i++) {
		struct wq_work *item = items[i], before = *item;

		EXPECT(wq_queue(wq, item), -EINVAL);
		EXPECT(wq_queue_on(wq, item, 0), -EINVAL);
		EXPECT(wq_queue_node(wq, item, 0), -EINVAL);
		EXPECT(wq_enable_and_queue(wq, item), -EINVAL);
		EXPECT(wq_schedule(item), -EINVAL);
		EXPECT(wq_work_flush(item), -EINVAL);
		EXPECT(wq_work_cancel(item), -EINVAL);
		EXPECT(wq_work_cancel_sync(item), -EINVAL);
		EXPECT(wq_work_disable(item), -EINVAL);
		EXPECT(wq_work_disable_sync(item), -EINVAL);
		EXPECT(wq_work_enable(item), -EINVAL);
		EXPECT((int)wq_work_busy(item), 0);
		assert_memory_equal(item, &before, sizeof(before));
	}
}

static void g17_calls_refuse_numbers_out_of_range(void **state)
{
	struct wq *ordered = wq_alloc("o", WQ_ORDERED, 0), *own = wq_alloc("d", WQ_DEDICATED, 0);

	EXPECT(wq_queue_on(wq, &idle, -1), -EINVAL);
	EXPECT(wq_queue_on(wq, &idle, WQ_MAX_CPUS), -EINVAL);
	EXPECT(wq_queue_on(wq, &idle, INT_MIN), -EINVAL);
	EXPECT(wq_queue_on(wq, &idle, INT_MAX), -EINVAL);
	EXPECT(wq_queue_node(wq, &idle, -1), -EINVAL);
	EXPECT(wq_queue_node(wq, &idle, WQ_MAX_NODES), -EINVAL);
	EXPECT(wq_queue_node(wq, &idle, INT_MIN), -EINVAL);
	EXPECT(wq_queue_node(wq, &idle, INT_MAX), -EINVAL);
	EXPECT(wq_run_on(-1, call_nop, NULL), -EINVAL);
	EXPECT(wq_run_on(WQ_MAX_CPUS, call_nop, NULL), -EINVAL);
	EXPECT(wq_run_on(WQ_MAX_CPUS - 1, call_nop, NULL), -ENODEV);
	EXPECT(wq_set_max_active(wq, -1), -EINVAL);
	EXPECT(wq_set_max_active(wq, WQ_MAX_ACTIVE + 1), -EINVAL);
	EXPECT(wq_set_max_active(ordered, 1), -EINVAL);
	EXPECT(wq_set_max_active(own, 0), -EINVAL);
	EXPECT(wq_work_enable(&idle), -EINVAL);
	EXPECT(wq_enable_and_queue(wq, &idle), -EINVAL);
	assert_int_equal(wq_work_busy(&idle), 0);
	assert_int_equal(wq_destroy(ordered), 0);
	assert_int_equal(wq_destroy(own), 0);
	assert_int_equal(nop_runs, 0);
}

/* What is done leaves errno alone too, where it works and where it says no. */
static void calls_that_work_leave_errno_alone(void **state)
{
	struct wq *other = wq_alloc("other", WQ_PERCPU | WQ_FREEZABLE, 0), *shared = wq_system();
	struct wq_config config = WQ_CONFIG_INIT;

	EXPECT(wq_queue_on(other, &idle, WQ_MAX_CPUS - 1), 1);
	EXPECT(wq_drain(other), 0);
	EXPECT(wq_queue_node(other, &idle, 0), 1);
	EXPECT(wq_flush(other), 0);
	EXPECT(wq_queue_node(other, &idle, WQ_MAX_NODES - 1), 1);
	EXPECT(wq_flush(other), 0);
	EXPECT(wq_call(other, call_nop, NULL), 1);
	EXPECT(wq_plug(other), 0);
	EXPECT(wq_plug(other), -EALREADY);
	EXPECT(wq_call(other, call_nop, NULL), -ESHUTDOWN);
	EXPECT(wq_queue(other, &idle), -ESHUTDOWN);
	EXPECT(wq_unplug(other), 0);
	EXPECT(wq_unplug(other), -EALREADY);
	EXPECT(wq_freeze_all(), 0);
	EXPECT(wq_freeze_all(), -EALREADY);
	EXPECT(wq_queue(other, &idle), 1);
	EXPECT(wq_thaw_all(), 0);
	EXPECT(wq_thaw_all(), -EALREADY);
	EXPECT(wq_set_max_active(other, 2), 0);
	EXPECT(wq_run_on_each_cpu(call_nop, NULL), 0);
	EXPECT(wq_flush(shared), -EPERM);
	EXPECT(wq_set_worker_desc("outside %d", 1), -EPERM);
	EXPECT(wq_shutdown(), -EBUSY);
	EXPECT(wq_configure(&config), -EBUSY);
	EXPECT(wq_destroy(other), 0);
	assert_true(nop_runs > 5);
}

static void flags_that_are_not_built_say_so(void **state)
{
	static const struct {
		unsigned flags;
		int err;
	} cases[] = {
		{WQ_OBSERVE, EOPNOTSUPP},
		{WQ_OBSERVE | WQ_PERCPU | WQ_FREEZABLE, EOPNOTSUPP},
		{WQ_OBSERVE | WQ_MEM_RECLAIM | WQ_ORDERED, EOPNOTSUPP},
		{WQ_OBSERVE | WQ_BH, EINVAL},
		{WQ_OBSERVE | WQ_ORDERED | WQ_PERCPU, EINVAL},
		{WQ_OBSERVE << 1, EINVAL},
		{1u << 31 | WQ_BH, EINVAL},
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		errno = 0;
		assert_null(wq_alloc("later", cases[i].flags, 0));
		assert_int_equal(errno, cases[i].err);
	}
}

/* --- what an item can ask of its worker --- */

struct asker {
	struct wq_work work;
	struct wq_work *current;
	struct wq *on, *inner_on;
	int desc, desc_long, desc_null, desc_bad, shutdown;
	unsigned long wrong;
	bool inner;
};

static void asker_call(void *ctx)
{
	struct asker *asker = ctx;

	asker->inner_on = wq_current_wq();
	asker->current = wq_current_work();
}

static void asker_fn(struct wq_work *work, void *ctx)
{
	struct asker *asker = ctx;
	char text[3 * WQ_DESC_BYTES];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	asker->on = wq_current_wq();
	asker->desc = wq_set_worker_desc("item %p of %s", (void *)work, "this test");
	asker->desc_long = wq_set_worker_desc("%s", text);
	asker->desc_null = wq_set_worker_desc(NULL);
	/* No locale was set, so there is no such character. */
	asker->desc_bad = wq_set_worker_desc("%ls", L"\x7fffffff");
	asker->shutdown = wq_shutdown();
	if (wq_run_on(usable_cpu(0), asker_call, asker))
		asker->wrong++;
	if (!asker->current || asker->current == work)
		asker->wrong++;
	asker->current = wq_current_work();
}

static void item_knows_itself_and_its_queue(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI, WQ_DEDICATED};
	unsigned i;

	assert_null(wq_current_work());
	assert_null(wq_current_wq());
	assert_int_equal(wq_set_worker_desc("outside"), -EPERM);
	for (i = 0; i <= ARRAY_SIZE(kinds); i++) {
		struct wq *on = i ? wq_alloc("asked", kinds[i - 1], 0) : wq_system_percpu();
		struct asker asker;

		memset(&asker, 0, sizeof(asker));
		wq_work_init(&asker.work, asker_fn, &asker);
		assert_int_equal(wq_queue_on(on, &asker.work, usable_cpu(0)), 1);
		wq_work_flush(&asker.work);
		assert_ptr_equal(asker.current, &asker.work);
		assert_ptr_equal(asker.on, on);
		assert_ptr_equal(asker.inner_on, wq_system_percpu());
		assert_int_equal(asker.wrong, 0);
		assert_int_equal(asker.desc, 0);
		assert_int_equal(asker.desc_long, 0);
		assert_int_equal(asker.desc_null, -EINVAL);
		assert_int_equal(asker.desc_bad, -EINVAL);
		assert_int_equal(asker.shutdown, -EDEADLK);
		if (i)
			assert_int_equal(wq_destroy(on), 0);
	}
}

struct freed {
	struct wq_work work;
	struct freed *at;
	unsigned long *same;
};

static void freed_fn(struct wq_work *work, void *ctx)
{
	struct freed *freed = ctx, copy = *freed;

	free(freed);
	if (wq_current_work() == &copy.at->work && wq_current_wq() == wq)
		count_up(copy.same);
}

static void item_that_freed_itself_still_has_its_address(void **state)
{
	struct freed *freed = malloc(sizeof(*freed));
	unsigned long same = 0;

	*freed = (struct freed){.at = freed, .same = &same};
	wq_work_init(&freed->work, freed_fn, freed);
	assert_int_equal(wq_queue(wq, &freed->work), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(same, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(configure_checks_its_settings, start),
		cmocka_unit_test(g17_calls_refuse_null),
		cmocka_unit_test(g17_calls_refuse_items_that_were_not_initialised),
		cmocka_unit_test(g17_calls_refuse_numbers_out_of_range),
		cmocka_unit_test(calls_that_work_leave_errno_alone),
		cmocka_unit_test(flags_that_are_not_built_say_so),
		cmocka_unit_test(item_knows_itself_and_its_queue),
		cmocka_unit_test(item_that_freed_itself_still_has_its_address),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
