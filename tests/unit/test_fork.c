/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* G16, fork() from a thread of the application: what the child finds, and that the parent notices
 * nothing. */
#include "process.h"

#include <sched.h>

#define NR_ITEMS 4

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_HIGHPRI, WQ_ORDERED, WQ_DEDICATED};

/* A queue whose one place is held by a gate, itself queued again, with items pending behind it. */
struct scene {
	struct wq *wq;
	struct probe gate, items[NR_ITEMS];
};

static void scene_begin(struct scene *scene, unsigned flags)
{
	unsigned i;

	scene->wq = wq_alloc("scene", flags, 1);
	assert_non_null(scene->wq);
	probe_init_gate(&scene->gate);
	assert_int_equal(wq_queue_on(scene->wq, &scene->gate.work, usable_cpu(0)), 1);
	latch_wait(&scene->gate.started, 1);
	assert_int_equal(wq_queue_on(scene->wq, &scene->gate.work, usable_cpu(0)), 1);
	for (i = 0; i < NR_ITEMS; i++) {
		probe_init(&scene->items[i]);
		assert_int_equal(wq_queue_on(scene->wq, &scene->items[i].work, usable_cpu(0)), 1);
	}
}

/* In the parent: all runs that were accepted come, once. */
static void scene_end(struct scene *scene)
{
	unsigned i;

	assert_int_equal(wq_work_busy(&scene->gate.work), WQ_BUSY_PENDING | WQ_BUSY_RUNNING);
	for (i = 0; i < NR_ITEMS; i++)
		assert_int_equal(wq_work_busy(&scene->items[i].work), WQ_BUSY_PENDING);
	latch_post(&scene->gate.open);
	assert_int_equal(wq_flush(scene->wq), 0);
	assert_int_equal(scene->gate.runs, 2);
	for (i = 0; i < NR_ITEMS; i++)
		assert_int_equal(scene->items[i].runs, 1);
	assert_int_equal(wq_destroy(scene->wq), 0);
}

/* --- Idle --- */

static void idle_child(void *ctx)
{
	struct wq *wq = ctx;
	struct probe probe;
	unsigned i;

	CHECK_EQUAL(nr_threads("wq/"), 0);
	probe_init(&probe);
	probe_runs(wq, &probe);
	probe_runs(wq_system(), &probe);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		new_queue_works(kinds[i]);
	CHECK_EQUAL(wq_destroy(wq), 0);
}

static void fork_of_an_idle_library_leaves_both_sides_working(void **state)
{
	struct probe probe;
	unsigned i;

	skip_if_checker_hangs_children();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("idle", kinds[i], 0);
		unsigned threads;

		assert_non_null(wq);
		probe_init(&probe);
		wq_queue(wq, &probe.work);
		wq_work_flush(&probe.work);
		threads = nr_threads("wq/");
		assert_int_equal(in_child(idle_child, wq), 0);
		assert_true(nr_threads("wq/") >= threads);
		wq_queue(wq, &probe.work);
		wq_work_flush(&probe.work);
		assert_int_equal(probe.runs, 2);
		wq_destroy(wq);
	}
}

/* --- Pending items --- */

static void item_is_idle(struct wq_work *work)
{
	CHECK_EQUAL(wq_work_busy(work), 0);
	CHECK(!wq_work_pending(work));
	CHECK_EQUAL(wq_work_flush(work), 0);
	CHECK_EQUAL(wq_work_cancel(work), 0);
	CHECK_EQUAL(wq_work_cancel_sync(work), 0);
}

static void pending_child(void *ctx)
{
	struct scene *scene = ctx;
	unsigned i;

	item_is_idle(&scene->gate.work);
	for (i = 0; i < NR_ITEMS; i++)
		item_is_idle(&scene->items[i].work);
	CHECK_EQUAL(wq_flush(scene->wq), 0);
	CHECK_EQUAL(wq_drain(scene->wq), 0);
	/* Backwards: whatever order the parent had is nothing here. */
	for (i = NR_ITEMS; i--;) {
		probe_renew(&scene->items[i]);
		CHECK_EQUAL(wq_queue(scene->wq, &scene->items[i].work), 1);
	}
	probe_renew(&scene->gate);
	CHECK_EQUAL(wq_queue(scene->wq, &scene->gate.work), 1);
	CHECK_EQUAL(wq_flush(scene->wq), 0);
	CHECK_EQUAL(scene->gate.runs, 1);
	for (i = 0; i < NR_ITEMS; i++)
		CHECK_EQUAL(scene->items[i].runs, 1);
	CHECK_EQUAL(wq_destroy(scene->wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
}

static void destroying_child(void *ctx)
{
	struct scene *scene = ctx;

	CHECK_EQUAL(wq_destroy(scene->wq), 0);
	CHECK_EQUAL(wq_work_busy(&scene->items[0].work), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	new_queue_works(0);
}

static void fork_with_pending_items_leaves_them_idle_in_the_child(void **state)
{
	struct scene scene;
	unsigned i;

	skip_if_checker_hangs_children();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		scene_begin(&scene, kinds[i]);
		assert_int_equal(in_child(pending_child, &scene), 0);
		assert_int_equal(in_child(destroying_child, &scene), 0);
		scene_end(&scene);
	}
}

/* --- Whatever comes first --- */

static void nothing(void *ctx)
{
}

static unsigned first_call, first_flags;

/* One call as the child's first; false after the last one. */
static bool make_first_call(struct scene *scene)
{
	struct wq_work *work = &scene->items[0].work;
	struct wq *wq;
	unsigned n = 0;

#define FIRST(expression, expected)                                                                \
	do {                                                                                       \
		if (n++ == first_call) {                                                           \
			CHECK_EQUAL(expression, expected);                                         \
			return true;                                                               \
		}                                                                                  \
	} while (0)
	FIRST(wq_work_pending(work), false);
	FIRST(wq_work_busy(work), 0);
	FIRST(wq_work_busy(&scene->gate.work), 0);
	FIRST(wq_work_flush(work), 0);
	FIRST(wq_work_flush(&scene->gate.work), 0);
	FIRST(wq_work_cancel(work), 0);
	FIRST(wq_work_cancel_sync(work), 0);
	FIRST(wq_work_cancel_sync(&scene->gate.work), 0);
	FIRST(wq_work_enable(work), -EINVAL);
	FIRST(wq_enable_and_queue(scene->wq, work), -EINVAL);
	FIRST(wq_work_disable(work) || wq_work_enable(work) != 1, false);
	FIRST(wq_work_disable_sync(work) || wq_work_enable(work) != 1, false);
	FIRST(wq_flush(scene->wq), 0);
	FIRST(wq_drain(scene->wq), 0);
	FIRST(wq_plug(scene->wq) || wq_unplug(scene->wq), false);
	FIRST(wq_unplug(scene->wq), -EALREADY);
	FIRST(wq_congested(scene->wq), false);
	FIRST(wq_set_max_active(scene->wq, 2),
	      first_flags & (WQ_ORDERED | WQ_DEDICATED) ? -EINVAL : 0);
	FIRST(wq_freeze_busy(), 0);
	FIRST(wq_freeze_all() || wq_thaw_all(), false);
	FIRST(wq_thaw_all(), -EALREADY);
	FIRST(wq_shutdown(), -EBUSY);
	FIRST(wq_run_on_each_cpu(nothing, NULL), 0);
	FIRST(wq_run_on(usable_cpu(0), nothing, NULL), 0);
	FIRST(wq_call(scene->wq, nothing, NULL), 1);
	FIRST(wq_queue(scene->wq, work) != 1 || wq_work_cancel_sync(work) < 0, false);
	FIRST(wq_queue_on(scene->wq, work, 0) != 1 || wq_work_cancel_sync(work) < 0, false);
	FIRST(wq_queue_node(scene->wq, work, 0) != 1 || wq_work_cancel_sync(work) < 0, false);
	FIRST(wq_schedule(work) != 1 || wq_work_cancel_sync(work) < 0, false);
	FIRST((wq = wq_alloc("first", WQ_DEDICATED, 0)) && !wq_destroy(wq), true);
	FIRST(wq_system_percpu() != NULL, true);
	return false;
}

static void first_call_child(void *ctx)
{
	struct scene *scene = ctx;
	unsigned i;

	if (!make_first_call(scene))
		_exit(2);
	for (i = 0; i < NR_ITEMS; i++)
		probe_runs(scene->wq, &scene->items[i]);
	probe_runs(scene->wq, &scene->gate);
	CHECK_EQUAL(wq_destroy(scene->wq), 0);
}

static void fork_lets_any_call_be_the_childs_first(void **state)
{
	struct scene scene;
	unsigned i;
	int status;

	skip_if_checker_hangs_children();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		first_flags = kinds[i];
		scene_begin(&scene, first_flags);
		first_call = 0;
		while (!(status = in_child(first_call_child, &scene)))
			first_call++;
		if (status != 2)
			print_error("first call %u, flags %#x\n", first_call, first_flags);
		assert_int_equal(status, 2);
		scene_end(&scene);
	}
}

/* --- What persists --- */

static void disabled_child(void *ctx)
{
	struct scene *scene = ctx;
	struct probe *probe = &scene->items[0];

	CHECK_EQUAL(wq_work_busy(&probe->work), WQ_BUSY_DISABLED);
	CHECK_EQUAL(wq_queue(scene->wq, &probe->work), -EBUSY);
	CHECK_EQUAL(wq_work_enable(&probe->work), 0);
	CHECK_EQUAL(wq_queue(scene->wq, &probe->work), -EBUSY);
	CHECK_EQUAL(wq_work_enable(&probe->work), 1);
	CHECK_EQUAL(wq_work_enable(&probe->work), -EINVAL);
	probe_runs(scene->wq, probe);
	/* The gate: disabled while it was running. */
	CHECK_EQUAL(wq_work_busy(&scene->gate.work), WQ_BUSY_DISABLED);
	CHECK_EQUAL(wq_queue(scene->wq, &scene->gate.work), -EBUSY);
	probe_renew(&scene->gate);
	CHECK_EQUAL(wq_enable_and_queue(scene->wq, &scene->gate.work), 1);
	CHECK_EQUAL(wq_destroy(scene->wq), 0);
	CHECK_EQUAL(scene->gate.runs, 1);
}

static void fork_keeps_items_disabled(void **state)
{
	struct scene scene;

	skip_if_checker_hangs_children();
	scene_begin(&scene, 0);
	assert_int_equal(wq_work_disable(&scene.items[0].work), 1);
	assert_int_equal(wq_work_disable(&scene.items[0].work), 0);
	assert_int_equal(wq_work_disable(&scene.gate.work), 1);
	assert_int_equal(in_child(disabled_child, &scene), 0);
	/* The parent's depths are as they were. */
	assert_int_equal(wq_work_enable(&scene.items[0].work), 0);
	assert_int_equal(wq_enable_and_queue(scene.wq, &scene.items[0].work), 1);
	assert_int_equal(wq_enable_and_queue(scene.wq, &scene.gate.work), 1);
	scene_end(&scene);
}

static void plugged_child(void *ctx)
{
	struct scene *scene = ctx;

	CHECK_EQUAL(wq_queue(scene->wq, &scene->items[0].work), -ESHUTDOWN);
	CHECK_EQUAL(wq_plug(scene->wq), -EALREADY);
	CHECK_EQUAL(wq_unplug(scene->wq), 0);
	probe_runs(scene->wq, &scene->items[0]);
}

static void fork_keeps_queues_plugged(void **state)
{
	struct scene scene;

	skip_if_checker_hangs_children();
	scene_begin(&scene, 0);
	assert_int_equal(wq_plug(scene.wq), 0);
	assert_int_equal(in_child(plugged_child, &scene), 0);
	assert_int_equal(wq_unplug(scene.wq), 0);
	scene_end(&scene);
}

static void frozen_child(void *ctx)
{
	struct scene *scene = ctx;

	CHECK_EQUAL(wq_freeze_all(), -EALREADY);
	CHECK_EQUAL(wq_freeze_busy(), 0);
	probe_renew(&scene->items[0]);
	CHECK_EQUAL(wq_queue(scene->wq, &scene->items[0].work), 1);
	new_queue_works(0);
	CHECK_EQUAL(wq_work_busy(&scene->items[0].work), WQ_BUSY_PENDING);
	CHECK_EQUAL(wq_thaw_all(), 0);
	CHECK_EQUAL(wq_flush(scene->wq), 0);
	CHECK_EQUAL(scene->items[0].runs, 1);
	CHECK_EQUAL(wq_destroy(scene->wq), 0);
}

static void fork_keeps_the_library_frozen(void **state)
{
	static const unsigned flags[] = {WQ_FREEZABLE, WQ_FREEZABLE | WQ_PERCPU,
					 WQ_FREEZABLE | WQ_ORDERED};
	struct scene scene;
	unsigned i;

	skip_if_checker_hangs_children();
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		scene_begin(&scene, flags[i]);
		assert_int_equal(wq_freeze_all(), 0);
		assert_int_equal(in_child(frozen_child, &scene), 0);
		assert_int_equal(wq_thaw_all(), 0);
		scene_end(&scene);
	}
}

/* --- What other threads were in the middle of --- */

struct waiting {
	struct scene scene;
	int (*call)(struct scene *scene);
	int ret;
};

static int waiting_cancel_sync(struct scene *scene)
{
	return wq_work_cancel_sync(&scene->gate.work);
}

static int waiting_disable_sync(struct scene *scene)
{
	return wq_work_disable_sync(&scene->gate.work);
}

static int waiting_drain(struct scene *scene)
{
	return wq_drain(scene->wq);
}

static void *waiting_thread(void *ctx)
{
	struct waiting *waiting = ctx;

	waiting->ret = waiting->call(&waiting->scene);
	return NULL;
}

static bool has_begun(struct waiting *waiting)
{
	if (waiting->call == waiting_drain) {
		struct probe probe;

		probe_init(&probe);
		if (wq_queue(waiting->scene.wq, &probe.work) != 1)
			return true;
		wq_work_cancel_sync(&probe.work);
		return false;
	}
	return wq_work_busy(&waiting->scene.gate.work) & (WQ_BUSY_CANCELING | WQ_BUSY_DISABLED);
}

static void waiting_child(void *ctx)
{
	struct waiting *waiting = ctx;
	struct scene *scene = &waiting->scene;

	if (waiting->call == waiting_disable_sync) {
		/* The depth is the user's; that somebody waits is not. */
		CHECK_EQUAL(wq_work_busy(&scene->gate.work), WQ_BUSY_DISABLED);
		CHECK_EQUAL(wq_queue(scene->wq, &scene->gate.work), -EBUSY);
		CHECK_EQUAL(wq_work_enable(&scene->gate.work), 1);
	}
	CHECK_EQUAL(wq_work_busy(&scene->gate.work), 0);
	probe_runs(scene->wq, &scene->gate);
	probe_runs(scene->wq, &scene->items[0]);
	CHECK_EQUAL(wq_drain(scene->wq), 0);
	probe_runs(scene->wq, &scene->items[0]);
	CHECK_EQUAL(wq_work_cancel_sync(&scene->gate.work), 0);
	probe_runs(scene->wq, &scene->gate);
	CHECK_EQUAL(wq_destroy(scene->wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void fork_beside_a_call_that_waits_leaves_no_trace_of_it(void **state)
{
	static const struct {
		int (*call)(struct scene *scene);
		int ret;
		unsigned long gate_runs;
	} calls[] = {
		{waiting_cancel_sync, 1, 1},
		{waiting_disable_sync, 1, 1},
		{waiting_drain, 0, 2},
	};
	struct waiting waiting;
	pthread_t thread;
	unsigned c, k, i;

	skip_if_checker_hangs_children();
	for (c = 0; c < ARRAY_SIZE(calls); c++) {
		for (k = 0; k < ARRAY_SIZE(kinds); k++) {
			waiting.call = calls[c].call;
			scene_begin(&waiting.scene, kinds[k]);
			assert_int_equal(pthread_create(&thread, NULL, waiting_thread, &waiting),
					 0);
			while (!has_begun(&waiting))
				sched_yield();
			assert_int_equal(in_child(waiting_child, &waiting), 0);
			latch_post(&waiting.scene.gate.open);
			pthread_join(thread, NULL);
			assert_int_equal(waiting.ret, calls[c].ret);
			assert_int_equal(wq_destroy(waiting.scene.wq), 0);
			assert_int_equal(waiting.scene.gate.runs, calls[c].gate_runs);
			for (i = 0; i < NR_ITEMS; i++)
				assert_int_equal(waiting.scene.items[i].runs, 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork_of_an_idle_library_leaves_both_sides_working),
		cmocka_unit_test(fork_with_pending_items_leaves_them_idle_in_the_child),
		cmocka_unit_test(fork_lets_any_call_be_the_childs_first),
		cmocka_unit_test(fork_keeps_items_disabled),
		cmocka_unit_test(fork_keeps_queues_plugged),
		cmocka_unit_test(fork_keeps_the_library_frozen),
		cmocka_unit_test(fork_beside_a_call_that_waits_leaves_no_trace_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
