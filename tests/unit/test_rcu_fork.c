/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RCU items in the child of a fork(). */
#include "flavors.h"
#include "process.h"

static struct wq *wq;

static int setup(void **state)
{
	wq = wq_alloc("fork", 0, 0);
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

/* All flavours are in use in the parent, and none is in a grace period. */
static void warm_up(void)
{
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		assert_true(guarded_runs(&item, wq, flavors[f]));
	}
}

static void end_of_child(void)
{
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
}

struct armed {
	unsigned f;
	struct guarded item;
};

static void armed_child(void *ctx)
{
	struct armed *armed = ctx;
	struct guarded fresh;
	unsigned f;

	CHECK_EQUAL(wq_rcu_work_busy(&armed->item.rw), 0);
	CHECK(!wq_rcu_work_pending(&armed->item.rw));
	CHECK_EQUAL(wq_rcu_work_flush(&armed->item.rw), 0);
	CHECK_EQUAL(wq_work_cancel_sync(&armed->item.rw.work), 0);
	for (f = 0; f < NR_FLAVORS; f++) {
		if (f == armed->f)
			continue;
		CHECK(guarded_runs(&armed->item, wq, flavors[f]));
		guarded_init(&fresh, NULL);
		CHECK(guarded_runs(&fresh, wq, flavors[f]));
	}
	end_of_child();
}

static void item_of_the_parent_is_idle_in_the_child(void **state)
{
	struct reader reader;
	struct armed armed;

	skip_if_checker_hangs_children();
	warm_up();
	for (armed.f = 0; armed.f < NR_FLAVORS; armed.f++) {
		reader_start(&reader, flavors[armed.f]);
		guarded_init(&armed.item, &reader);
		assert_int_equal(wq_queue_rcu(wq, &armed.item.rw, flavors[armed.f]), 1);
		assert_int_equal(in_child(armed_child, &armed), 0);
		assert_int_equal(wq_rcu_work_busy(&armed.item.rw), WQ_BUSY_DELAYED);
		reader_end(&reader);
		latch_wait(&armed.item.ended, 1);
		assert_int_equal(armed.item.runs, 1);
		assert_int_equal(armed.item.early, 0);
	}
}

static void any_flavour_child(void *ctx)
{
	struct guarded fresh;
	struct reader reader;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&fresh, NULL);
		CHECK(guarded_runs(&fresh, wq, flavors[f]));
		reader_start(&reader, flavors[f]);
		guarded_init(&fresh, &reader);
		CHECK_EQUAL(wq_queue_rcu(wq, &fresh.rw, flavors[f]), 1);
		reader_end(&reader);
		latch_wait(&fresh.ended, 1);
		CHECK_EQUAL(fresh.early, 0);
	}
	if (!ctx)
		end_of_child();
}

/* With no grace period at the fork, all of them: of its child, too. */
static void child_uses_the_flavours_of_the_parent(void **state)
{
	skip_if_checker_hangs_children();
	assert_int_equal(in_child(any_flavour_child, NULL), 0);
	warm_up();
	assert_int_equal(in_child(any_flavour_child, NULL), 0);
	warm_up();
}

static void generations_child(void *ctx)
{
	any_flavour_child(wq);
	CHECK_EQUAL(in_child(any_flavour_child, NULL), 0);
	any_flavour_child(NULL);
}

static void child_of_a_child_uses_them_too(void **state)
{
	skip_if_checker_hangs_children();
	warm_up();
	assert_int_equal(in_child(generations_child, NULL), 0);
}

struct forking {
	struct wq_rcu_work rw;
	int status;
};

static void forking_child(void *ctx)
{
	struct forking *forking = ctx;

	/* Its function goes on here, but it is idle. */
	CHECK_EQUAL(wq_rcu_work_busy(&forking->rw), 0);
	any_flavour_child(forking);
}

static void forking_fn(struct wq_work *work, void *ctx)
{
	struct forking *forking = ctx;

	forking->status = in_child(forking_child, forking);
}

static void item_may_fork(void **state)
{
	struct forking forking;
	unsigned f;

	skip_if_checker_hangs_children();
	warm_up();
	for (f = 0; f < NR_FLAVORS; f++) {
		forking.status = -1;
		wq_rcu_work_init(&forking.rw, forking_fn, &forking);
		assert_int_equal(wq_queue_rcu(wq, &forking.rw, flavors[f]), 1);
		assert_true(wq_rcu_work_flush(&forking.rw) >= 0);
		assert_int_equal(forking.status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(item_of_the_parent_is_idle_in_the_child, setup,
						teardown),
		cmocka_unit_test_setup_teardown(child_uses_the_flavours_of_the_parent, setup,
						teardown),
		cmocka_unit_test_setup_teardown(child_of_a_child_uses_them_too, setup, teardown),
		cmocka_unit_test_setup_teardown(item_may_fork, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
