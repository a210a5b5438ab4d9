/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Items that queue themselves, and pools that are watched again when it matters. */
#include "support.h"

#include <sched.h>

#include "item.h"
#include "queue.h"
#include "runtime.h"
#include "testing.h"
#include "worker.h"

/* --- items that queue themselves, and go on --- */

static struct again {
	struct wq_work work;
	struct wq *wq;
	struct latch requeued, open;
	unsigned long runs, ended;
	int ret;
} again;

static void again_fn(struct wq_work *work, void *ctx)
{
	if (count_up(&again.runs) == 1) {
		again.ret = wq_queue(again.wq, work);
		latch_post(&again.requeued);
		latch_wait(&again.open, 1);
	}
	count_up(&again.ended);
}

static void again_start(void)
{
	memset(&again, 0, sizeof(again));
	again.wq = wq_alloc("again", 0, 0);
	latch_init(&again.requeued);
	latch_init(&again.open);
	wq_work_init(&again.work, again_fn, NULL);
	assert_int_equal(wq_queue(again.wq, &again.work), 1);
	latch_wait(&again.requeued, 1);
	assert_int_equal(again.ret, 1);
	assert_int_equal(wq_work_busy(&again.work), WQ_BUSY_RUNNING | WQ_BUSY_PENDING);
	assert_int_equal(wq_queue(again.wq, &again.work), 0);
}

static void requeued_item_can_be_cancelled_before_its_function_returns(void **state)
{
	again_start();
	assert_int_equal(wq_work_cancel(&again.work), 1);
	assert_int_equal(wq_work_cancel(&again.work), 0);
	assert_int_equal(wq_work_busy(&again.work), WQ_BUSY_RUNNING);
	latch_post(&again.open);
	assert_int_equal(wq_destroy(again.wq), 0);
	assert_int_equal(again.runs, 1);

	/* And be queued again by somebody else. */
	again_start();
	assert_int_equal(wq_work_cancel(&again.work), 1);
	assert_int_equal(wq_queue(again.wq, &again.work), 1);
	latch_post(&again.open);
	assert_int_equal(wq_destroy(again.wq), 0);
	assert_int_equal(again.runs, 2);
}

static pthread_t again_flusher;

static void again_hook(const char *where)
{
	if (pthread_equal(pthread_self(), count_get(&again_flusher)) &&
	    !strcmp(where, "flush event"))
		latch_post(&again.open);
}

/* The item's own queueing was accepted before the flush, which flips the colour since. */
static void flush_of_the_queue_waits_for_a_requeued_item(void **state)
{
	unsigned i;

	for (i = 0; i < 100; i++) {
		again_start();
		count_set(&again_flusher, pthread_self());
		__atomic_store_n(&wqi_test_hook, again_hook, __ATOMIC_RELEASE);
		assert_int_equal(wq_flush(again.wq), 0);
		assert_int_equal(count_get(&again.ended), 2);
		__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
		assert_int_equal(wq_destroy(again.wq), 0);
	}
}

static void *again_flush_main(void *arg)
{
	*(int *)arg = wq_work_flush(&again.work);
	return NULL;
}

static void flush_of_the_item_waits_for_a_requeued_item(void **state)
{
	pthread_t thread;
	int ret = -1;

	again_start();
	assert_int_equal(pthread_create(&thread, NULL, again_flush_main, &ret), 0);
	while (!(wqi_state(&again.work) & WQI_LINKED))
		sched_yield();
	latch_post(&again.open);
	pthread_join(thread, NULL);
	assert_int_equal(ret, 1);
	assert_int_equal(count_get(&again.ended), 2);
	assert_int_equal(wq_destroy(again.wq), 0);
}

/* A signal handler that interrupts the worker between items must not use its place. */
static void interrupted_fn(struct wq_work *work, void *ctx)
{
	if (count_up(&again.runs) > 1)
		return;
	wqi_pool_locks_held++;
	again.ret = wq_queue(again.wq, work);
	wqi_pool_locks_held--;
	again.ended = wqi_worker_self->requeued != NULL;
}

static void requeue_that_interrupts_the_library_goes_through_the_inbox(void **state)
{
	memset(&again, 0, sizeof(again));
	again.wq = wq_alloc("again", 0, 0);
	wq_work_init(&again.work, interrupted_fn, NULL);
	assert_int_equal(wq_queue(again.wq, &again.work), 1);
	assert_int_equal(wq_destroy(again.wq), 0);
	assert_int_equal(again.ret, 1);
	assert_int_equal(again.ended, 0);
	assert_int_equal(again.runs, 2);
}

/* --- items that queue others --- */

static struct family {
	struct wq *wq;
	struct wq_work parent, child;
	struct latch queued, go_on;
	struct wqi_pool *parents, *childs;
	int ret;
} family;

static void child_fn(struct wq_work *work, void *ctx)
{
	family.childs = wqi_worker_self->pool;
}

static void parent_fn(struct wq_work *work, void *ctx)
{
	family.parents = wqi_worker_self->pool;
	latch_post(&family.queued);
	latch_wait(&family.go_on, 1);
	family.ret = wq_queue(family.wq, &family.child);
}

static void family_begin(unsigned flags)
{
	memset(&family, 0, sizeof(family));
	family.wq = wq_alloc("family", flags, 0);
	latch_init(&family.queued);
	latch_init(&family.go_on);
	wq_work_init(&family.parent, parent_fn, NULL);
	wq_work_init(&family.child, child_fn, NULL);
	assert_int_equal(wq_queue(family.wq, &family.parent), 1);
	latch_wait(&family.queued, 1);
}

/* Attributes that have changed since it began hold for what it queues. */
static void item_of_old_pods_queues_to_new_ones(void **state)
{
	struct wq_attrs attrs;

	family_begin(0);
	assert_int_equal(wq_attrs_init(&attrs), 0);
	assert_int_equal(wq_attrs_set_nice(&attrs, 5), 0);
	assert_int_equal(wq_apply_attrs(family.wq, &attrs), 0);
	latch_post(&family.go_on);
	assert_int_equal(wq_destroy(family.wq), 0);
	assert_int_equal(family.ret, 1);
	assert_ptr_not_equal(family.parents, family.childs);
	wq_attrs_fini(&attrs);
}

static void item_of_a_plugged_queue_queues_nothing(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		family_begin(kinds[i]);
		assert_int_equal(wq_plug(family.wq), 0);
		latch_post(&family.go_on);
		assert_true(wq_work_flush(&family.parent) >= 0);
		assert_int_equal(family.ret, -ESHUTDOWN);
		assert_int_equal(wq_queue(family.wq, &family.child), -ESHUTDOWN);
		assert_int_equal(wq_unplug(family.wq), 0);
		assert_int_equal(wq_destroy(family.wq), 0);
		assert_null(family.childs);
	}
}

/* wq_plug() waits for an item that has looked at the queue and is about to push. */
static pthread_t family_plugger;
static bool family_stopped;

static void family_hook(const char *where)
{
	bool plugs = pthread_equal(pthread_self(), count_get(&family_plugger));

	if (plugs && !strcmp(where, "plug waits"))
		latch_post(&family.go_on);
	if (plugs || strcmp(where, "requeue") ||
	    __atomic_exchange_n(&family_stopped, true, __ATOMIC_SEQ_CST))
		return;
	latch_post(&family.queued);
	latch_wait(&family.go_on, 2);
}

static void plug_waits_for_an_item_that_queues_another(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED};
	unsigned i;

	if (!wqi_runtime.can_fence)
		skip();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		family_begin(kinds[i]);
		count_set(&family_plugger, pthread_self());
		count_set(&family_stopped, false);
		__atomic_store_n(&wqi_test_hook, family_hook, __ATOMIC_RELEASE);
		latch_post(&family.go_on);
		latch_wait(&family.queued, 2);
		assert_int_equal(wq_plug(family.wq), 0);
		/* It was accepted before. */
		assert_true(wq_work_flush(&family.parent) >= 0);
		assert_true(wq_work_flush(&family.child) >= 0);
		assert_int_equal(family.ret, 1);
		assert_non_null(family.childs);
		__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
		assert_int_equal(wq_unplug(family.wq), 0);
		assert_int_equal(wq_destroy(family.wq), 0);
	}
}

static struct passing {
	struct wq *wq;
	struct wq_work again, other;
	unsigned long accepted, passed, worst, other_ran;
} passing;

static void passing_again_fn(struct wq_work *work, void *ctx)
{
	if (count_get(&passing.accepted) > count_get(&passing.other_ran))
		count_up(&passing.passed);
	if (count_get(&passing.other_ran) < scaled(1000))
		wq_queue(passing.wq, work);
}

static void passing_other_fn(struct wq_work *work, void *ctx)
{
	unsigned long passed = __atomic_exchange_n(&passing.passed, 0, __ATOMIC_SEQ_CST);

	if (passed > passing.worst)
		passing.worst = passed;
	count_up(&passing.other_ran);
}

static void g3_item_that_requeues_itself_does_not_pass_others(void **state)
{
	unsigned long i, rounds = scaled(1000);

	memset(&passing, 0, sizeof(passing));
	passing.wq = wq_alloc("passing", 0, 1);
	wq_work_init(&passing.again, passing_again_fn, NULL);
	wq_work_init(&passing.other, passing_other_fn, NULL);
	assert_int_equal(wq_queue(passing.wq, &passing.again), 1);
	for (i = 1; i <= rounds; i++) {
		assert_int_equal(wq_queue(passing.wq, &passing.other), 1);
		count_set(&passing.accepted, i);
		while (count_get(&passing.other_ran) < i)
			sched_yield();
		wq_work_flush(&passing.other);
	}
	assert_int_equal(wq_destroy(passing.wq), 0);
	assert_true(passing.worst <= 256);
}

/* --- the watch, where it has ended beside a long item --- */

static void wait_until_unwatched(struct wqi_pool *pool)
{
	bool watched;

	do {
		sched_yield();
		wqi_pool_lock(pool);
		watched = pool->watched;
		wqi_pool_unlock(pool);
	} while (watched);
}

static struct waits {
	struct wq_work work;
	struct probe inner;
	struct latch waited, open;
} waits;

static void waits_fn(struct wq_work *work, void *ctx)
{
	wq_work_flush(&waits.inner.work);
	latch_post(&waits.waited);
	latch_wait(&waits.open, 1);
}

static void pool_is_watched_again_after_a_wait_inside_an_item(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0), *inner = wq_alloc("inner", WQ_HIGHPRI, 0);
	struct probe probe;

	latch_init(&waits.waited);
	latch_init(&waits.open);
	probe_init_gate(&waits.inner);
	wq_queue(inner, &waits.inner.work);
	latch_wait(&waits.inner.started, 1);
	wq_work_init(&waits.work, waits_fn, NULL);
	wq_queue(wq, &waits.work);
	wait_until_unwatched(wqi_queue_pwq_rcu(wq, 0)->pool);
	latch_post(&waits.inner.open);
	latch_wait(&waits.waited, 1);
	probe_init(&probe);
	wq_queue(wq, &probe.work);
	latch_wait(&probe.ended, 1); /* though the other one blocks */
	latch_post(&waits.open);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(inner), 0);
}

static void pool_is_watched_again_when_a_limit_lets_items_go(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 1);
	struct wqi_pwq *pwq = wqi_queue_pwq_rcu(wq, 0);
	struct probe gate, probe;
	bool inactive;

	probe_init_gate(&gate);
	probe_init(&probe);
	wq_queue(wq, &gate.work);
	latch_wait(&gate.started, 1);
	wq_queue(wq, &probe.work);
	do {
		sched_yield();
		wqi_pool_lock(pwq->pool);
		inactive = !cds_list_empty(&pwq->inactive);
		wqi_pool_unlock(pwq->pool);
	} while (!inactive);
	wait_until_unwatched(pwq->pool);
	assert_int_equal(wq_set_max_active(wq, 2), 0);
	latch_wait(&probe.ended, 1);
	latch_post(&gate.open);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requeued_item_can_be_cancelled_before_its_function_returns),
		cmocka_unit_test(flush_of_the_queue_waits_for_a_requeued_item),
		cmocka_unit_test(flush_of_the_item_waits_for_a_requeued_item),
		cmocka_unit_test(requeue_that_interrupts_the_library_goes_through_the_inbox),
		cmocka_unit_test(item_of_old_pods_queues_to_new_ones),
		cmocka_unit_test(item_of_a_plugged_queue_queues_nothing),
		cmocka_unit_test(plug_waits_for_an_item_that_queues_another),
		cmocka_unit_test(g3_item_that_requeues_itself_does_not_pass_others),
		cmocka_unit_test(pool_is_watched_again_after_a_wait_inside_an_item),
		cmocka_unit_test(pool_is_watched_again_when_a_limit_lets_items_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
