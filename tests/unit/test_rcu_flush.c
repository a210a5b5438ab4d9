/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for RCU items: for the grace period, and for the run. */
#include "flavors.h"
#include "observe.h"

#include <sched.h>

static struct wq *wq;

static int setup(void **state)
{
	wq = wq_alloc("flush", 0, 0);
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

/* --- on threads of their own --- */

struct flusher {
	pthread_t thread;
	struct guarded *item;
	struct latch begun;
	pid_t tid;
	int ret;
	unsigned long runs, ended;
};

static void *flusher_main(void *ctx)
{
	struct flusher *flusher = ctx;

	flusher->tid = gettid();
	latch_post(&flusher->begun);
	flusher->ret = wq_rcu_work_flush(&flusher->item->rw);
	flusher->runs = count_get(&flusher->item->runs);
	count_set(&flusher->ended, 1);
	return NULL;
}

/* It sleeps when the call returns. */
static void flusher_start(struct flusher *flusher, struct guarded *item)
{
	memset(flusher, 0, sizeof(*flusher));
	flusher->item = item;
	latch_init(&flusher->begun);
	assert_int_equal(pthread_create(&flusher->thread, NULL, flusher_main, flusher), 0);
	latch_wait(&flusher->begun, 1);
	task_wait_asleep(flusher->tid);
}

static void flush_of_an_idle_item_answers_0(void **state)
{
	struct guarded item;
	unsigned f;

	guarded_init(&item, NULL);
	assert_int_equal(wq_rcu_work_flush(&item.rw), 0);
	for (f = 0; f < NR_FLAVORS; f++) {
		assert_true(guarded_runs(&item, wq, flavors[f]));
		assert_int_equal(wq_rcu_work_flush(&item.rw), 0);
		assert_int_equal(wq_work_flush(&item.rw.work), 0);
	}
}

static void flush_waits_for_grace_period_and_run(void **state)
{
	struct flusher flushers[3];
	struct reader reader;
	struct guarded item;
	unsigned f, i;

	for (f = 0; f < NR_FLAVORS; f++) {
		reader_start(&reader, flavors[f]);
		guarded_init(&item, &reader);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), 1);
		for (i = 0; i < ARRAY_SIZE(flushers); i++)
			flusher_start(&flushers[i], &item);
		for (i = 0; i < ARRAY_SIZE(flushers); i++)
			assert_int_equal(count_get(&flushers[i].ended), 0);
		reader_end(&reader);
		for (i = 0; i < ARRAY_SIZE(flushers); i++) {
			pthread_join(flushers[i].thread, NULL);
			assert_int_equal(flushers[i].ret, 1);
			assert_int_equal(flushers[i].runs, 1);
		}
		assert_int_equal(item.runs, 1);
		assert_int_equal(item.early, 0);
	}
}

/* --- on a plugged queue --- */

static void flush_runs_the_item_though_its_queue_is_plugged(void **state)
{
	struct wq *plugged = wq_alloc("plugged", 0, 0);
	struct guarded item, marker;
	struct flusher flusher;
	struct reader reader;
	unsigned f;

	assert_int_equal(wq_plug(plugged), 0);
	for (f = 0; f < NR_FLAVORS; f++) {
		/* During the grace period, and after it. */
		reader_start(&reader, flavors[f]);
		guarded_init(&item, &reader);
		assert_int_equal(wq_queue_rcu(plugged, &item.rw, flavors[f]), 1);
		flusher_start(&flusher, &item);
		assert_int_equal(count_get(&flusher.ended), 0);
		reader_end(&reader);
		pthread_join(flusher.thread, NULL);
		assert_int_equal(flusher.ret, 1);
		assert_int_equal(flusher.runs, 1);
		assert_int_equal(item.early, 0);

		assert_int_equal(wq_queue_rcu(plugged, &item.rw, flavors[f]), 1);
		guarded_init(&marker, NULL);
		assert_true(guarded_runs(&marker, wq, flavors[f]));
		assert_int_equal(item.runs, 1);
		assert_int_equal(wq_rcu_work_flush(&item.rw), 1);
		assert_int_equal(item.runs, 2);
	}
	assert_int_equal(wq_unplug(plugged), 0);
	assert_int_equal(wq_destroy(plugged), 0);
}

/* --- where waiting can't end --- */

static void flush_from_inside_a_section_answers_edeadlk(void **state)
{
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		const struct rcu_flavor_struct *rcu = flavors[f];

		if (rcu == &urcu_qsbr_flavor)
			continue;
		guarded_init(&item, NULL);
		rcu->register_thread();
		rcu->read_lock();
		assert_int_equal(wq_queue_rcu(wq, &item.rw, rcu), 1);
		assert_int_equal(wq_rcu_work_flush(&item.rw), -EDEADLK);
		assert_int_equal(wq_work_flush(&item.rw.work), -EDEADLK);
		assert_int_equal(wq_rcu_work_busy(&item.rw), WQ_BUSY_DELAYED);
		assert_int_equal(item.runs, 0);
		assert_true(rcu->read_ongoing());
		rcu->read_unlock();
		assert_false(rcu->read_ongoing());
		assert_true(wq_rcu_work_flush(&item.rw) >= 0);
		assert_int_equal(item.runs, 1);
		rcu->unregister_thread();
	}
}

struct asker {
	struct wq_work work;
	struct guarded *item;
	int ret;
};

static void asker_fn(struct wq_work *work, void *ctx)
{
	struct asker *asker = ctx;

	asker->ret = wq_rcu_work_flush(&asker->item->rw);
}

/* G9: one that could run only after the caller. */
static void flush_from_an_item_in_its_way_answers_edeadlk(void **state)
{
	struct wq *ordered = wq_alloc("ordered", WQ_ORDERED, 0);
	struct guarded item;
	struct asker asker;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		guarded_init(&item, NULL);
		asker = (struct asker){.item = &item};
		wq_work_init(&asker.work, asker_fn, &asker);
		assert_int_equal(wq_plug(ordered), 0);
		assert_int_equal(wq_queue_rcu(ordered, &item.rw, flavors[f]), 1);
		/* Not in the way of it, and so it runs. */
		assert_int_equal(wq_queue(wq, &asker.work), 1);
		assert_true(wq_work_flush(&asker.work) >= 0);
		assert_int_equal(asker.ret, 1);
		assert_int_equal(item.runs, 1);

		assert_int_equal(wq_unplug(ordered), 0);
		asker.ret = 0;
		assert_int_equal(wq_flush(ordered), 0);
		assert_int_equal(wq_queue(ordered, &asker.work), 1);
		assert_true(wq_work_flush(&asker.work) >= 0);
		assert_int_equal(asker.ret, 0); /* an idle one is not waited for */
	}
	assert_int_equal(wq_destroy(ordered), 0);
}

struct before {
	struct wq_work work;
	struct guarded *item;
	const struct rcu_flavor_struct *rcu;
	struct wq *wq;
	int queue, flush, busy;
};

static void before_fn(struct wq_work *work, void *ctx)
{
	struct before *before = ctx;

	before->queue = wq_queue_rcu(before->wq, &before->item->rw, before->rcu);
	before->flush = wq_rcu_work_flush(&before->item->rw);
	before->busy = (int)wq_rcu_work_busy(&before->item->rw);
}

static void flush_of_an_item_behind_the_caller_answers_edeadlk(void **state)
{
	static const unsigned ordered[] = {WQ_ORDERED, WQ_DEDICATED};
	struct before before;
	struct guarded item;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		struct wq *own = wq_alloc("behind", ordered[f & 1], 0);

		guarded_init(&item, NULL);
		before = (struct before){.item = &item, .rcu = flavors[f], .wq = own};
		wq_work_init(&before.work, before_fn, &before);
		assert_int_equal(wq_queue(own, &before.work), 1);
		latch_wait(&item.ended, 1);
		assert_int_equal(wq_flush(own), 0);
		assert_int_equal(before.queue, 1);
		assert_int_equal(before.flush, -EDEADLK);
		/* Its grace period is over, and it waits for its turn. */
		assert_true(before.busy == WQ_BUSY_PENDING || before.busy == WQ_BUSY_DELAYED);
		assert_int_equal(item.runs, 1);
		assert_int_equal(wq_destroy(own), 0);
	}
}

/* --- qsbr --- */

struct grace {
	struct wq_rcu_work rw;
	unsigned long runs;
};

/* Waits for all threads of qsbr that are online. */
static void grace_fn(struct wq_work *work, void *ctx)
{
	struct grace *grace = ctx;

	urcu_qsbr_flavor.update_synchronize_rcu();
	count_up(&grace->runs);
}

static void flush_on_a_thread_of_qsbr_takes_it_offline(void **state)
{
	struct grace grace = {.runs = 0};
	unsigned long i, nr = scaled(20);
	unsigned f;

	urcu_qsbr_flavor.register_thread();
	assert_true(urcu_qsbr_flavor.read_ongoing());
	wq_rcu_work_init(&grace.rw, grace_fn, &grace);
	for (i = 0; i < nr; i++) {
		assert_int_equal(wq_queue_rcu(wq, &grace.rw, &urcu_qsbr_flavor), 1);
		/* Online, we are waited for. */
		assert_int_equal(wq_rcu_work_busy(&grace.rw), WQ_BUSY_DELAYED);
		assert_int_equal(wq_rcu_work_flush(&grace.rw), 1);
		assert_int_equal(grace.runs, i + 1);
		assert_true(urcu_qsbr_flavor.read_ongoing());
	}
	/* Whatever the item waits for itself. */
	for (f = 0; f < NR_FLAVORS; f++) {
		struct guarded item;

		guarded_init(&item, NULL);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), 1);
		assert_true(wq_rcu_work_flush(&item.rw) >= 0);
		assert_int_equal(item.runs, 1);
		assert_true(urcu_qsbr_flavor.read_ongoing());
	}
	/* One that is offline stays so. */
	urcu_qsbr_flavor.thread_offline();
	assert_int_equal(wq_queue_rcu(wq, &grace.rw, &urcu_qsbr_flavor), 1);
	assert_true(wq_rcu_work_flush(&grace.rw) >= 0);
	assert_false(urcu_qsbr_flavor.read_ongoing());
	urcu_qsbr_flavor.unregister_thread();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(flush_of_an_idle_item_answers_0, setup, teardown),
		cmocka_unit_test_setup_teardown(flush_waits_for_grace_period_and_run, setup,
						teardown),
		cmocka_unit_test_setup_teardown(flush_runs_the_item_though_its_queue_is_plugged,
						setup, teardown),
		cmocka_unit_test_setup_teardown(flush_from_inside_a_section_answers_edeadlk, setup,
						teardown),
		cmocka_unit_test_setup_teardown(flush_from_an_item_in_its_way_answers_edeadlk,
						setup, teardown),
		cmocka_unit_test_setup_teardown(flush_of_an_item_behind_the_caller_answers_edeadlk,
						setup, teardown),
		cmocka_unit_test_setup_teardown(flush_on_a_thread_of_qsbr_takes_it_offline, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
