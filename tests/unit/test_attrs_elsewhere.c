/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of attributes beside what comes from elsewhere: other queues, and cancellation. */
#include "process.h"

#include <pthread.h>

static unsigned long turn;

struct turned {
	struct wq_work work;
	struct latch started, open;
	unsigned long turns[2], runs;
};

static void turned_fn(struct wq_work *work, void *ctx)
{
	struct turned *turned = container_of(work, struct turned, work);

	turned->turns[turned->runs % 2] = count_up(&turn);
	latch_post(&turned->started);
	if (!turned->runs++ && ctx)
		latch_wait(&turned->open, 1);
}

static void turned_init(struct turned *turned, void *gate)
{
	memset(turned, 0, sizeof(*turned));
	latch_init(&turned->started);
	latch_init(&turned->open);
	wq_work_init(&turned->work, turned_fn, gate);
}

static void apply_nice(struct wq *wq, int nice)
{
	struct wq_attrs attrs;

	assert_int_equal(wq_attrs_init(&attrs), 0);
	assert_int_equal(wq_attrs_set_nice(&attrs, nice), 0);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
	wq_attrs_fini(&attrs);
}

/* It runs in another pool, on the ordered queue's older table: the order is that queue's. */
static void item_queued_elsewhere_does_not_pass_what_waits(void **state)
{
	struct wq *wq = wq_alloc("ordered", WQ_ORDERED, 0),
		  *other = wq_alloc("other", WQ_HIGHPRI, 0);
	struct turned first, second;

	turn = 0;
	turned_init(&first, &first);
	turned_init(&second, NULL);
	assert_int_equal(wq_queue(wq, &first.work), 1);
	latch_wait(&first.started, 1);
	apply_nice(wq, 1);
	assert_int_equal(wq_queue(wq, &second.work), 1);
	assert_int_equal(wq_queue(other, &first.work), 1);
	latch_post(&first.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(first.runs, 2);
	assert_int_equal(second.runs, 1);
	assert_int_equal(second.turns[0], 2);
	assert_int_equal(first.turns[1], 3);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(other), 0);
}

static void *refresh_main(void *arg)
{
	pthread_cancel(pthread_self());
	wq_topology_refresh();
	pthread_testcancel();
	return NULL;
}

/* It reads files, at which a thread may be cancelled, and has a lock. */
static void refresh_of_a_cancelled_thread_is_whole(void **state)
{
	struct wq *wq = wq_alloc("refreshed", 0, 0);
	pthread_t thread;
	void *how;

	assert_int_equal(pthread_create(&thread, NULL, refresh_main, NULL), 0);
	assert_int_equal(pthread_join(thread, &how), 0);
	assert_ptr_equal(how, PTHREAD_CANCELED);
	assert_int_equal(wq_topology_refresh(), 0);
	assert_int_equal(wq_destroy(wq), 0);
	new_queue_works(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(item_queued_elsewhere_does_not_pass_what_waits),
		cmocka_unit_test(refresh_of_a_cancelled_thread_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
