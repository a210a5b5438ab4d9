/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a delayed item brings along over fork(): stopped where it matters. */
#include "shot.h"

#include "testing.h"

/* A thread that has set `stops_here` stops at the point, once, until it is let go. */
static const char *stop_where;
static struct latch reached = LATCH_INIT, go = LATCH_INIT;
static __thread bool stops_here;

static void stop_hook(const char *where)
{
	if (!stops_here || strcmp(where, stop_where))
		return;
	stops_here = false;
	latch_post(&reached);
	latch_wait(&go, 1);
}

struct child {
	struct wq *wq;
	struct shot before, shot, after;
	int queued;
};

static void *queue_late(void *ctx)
{
	struct child *child = ctx;

	stops_here = true;
	child->queued = wq_queue(child->wq, &child->shot.dw.work);
	return NULL;
}

/* Armed and disarmed, it is this process's own; the list that it was on is not. */
static void cancel_on_its_way(void *ctx)
{
	struct child *child = ctx;
	pthread_t thread;
	struct probe probe;

	CHECK_EQUAL(wq_queue_delayed(child->wq, &child->shot.dw, HOUR), 1);
	CHECK_EQUAL(wq_delayed_work_cancel_sync(&child->shot.dw), 1);
	stop_where = "push";
	count_set(&wqi_test_hook, stop_hook);
	CHECK_EQUAL(pthread_create(&thread, NULL, queue_late, child), 0);
	latch_wait(&reached, 1);
	CHECK_EQUAL(wq_delayed_work_cancel(&child->shot.dw), 1);
	CHECK_EQUAL(wq_delayed_work_busy(&child->shot.dw), WQ_BUSY_PENDING | WQ_BUSY_CANCELING);
	latch_post(&go);
	pthread_join(thread, NULL);
	CHECK_EQUAL(child->queued, 1);
	CHECK_EQUAL(wq_delayed_work_cancel_sync(&child->shot.dw), 0);
	CHECK_EQUAL(wq_flush(child->wq), 0);
	CHECK_EQUAL(child->shot.runs, 0);
	probe_init(&probe);
	probe_runs(child->wq, &probe);
	CHECK_EQUAL(wq_destroy(child->wq), 0);
}

static void item_pending_in_the_parent_is_on_no_list_once_armed_in_the_child(void **state)
{
	struct child child = {.wq = wq_alloc("ordered", WQ_ORDERED, 0)};
	struct probe gate;

	skip_if_checker_hangs_children();
	shot_init(&child.before);
	shot_init(&child.shot);
	shot_init(&child.after);
	gate_begin(child.wq, &gate);
	assert_int_equal(wq_queue(child.wq, &child.before.dw.work), 1);
	assert_int_equal(wq_queue(child.wq, &child.shot.dw.work), 1);
	assert_int_equal(wq_queue(child.wq, &child.after.dw.work), 1);
	/* Have them taken from the inbox. */
	assert_true(wq_congested(child.wq));
	assert_int_equal(in_child(cancel_on_its_way, &child), 0);
	gate_end(&gate);
	assert_int_equal(wq_destroy(child.wq), 0);
	assert_int_equal(child.shot.runs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(item_pending_in_the_parent_is_on_no_list_once_armed_in_the_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
