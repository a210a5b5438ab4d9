/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interleavings of disabling that the matrix found, made to happen. */
#include "support.h"

#include <sched.h>

#include "item.h"
#include "pool.h"
#include "queue.h"
#include "testing.h"
#include "worker.h"

struct stop {
	const char *where;
	struct latch reached, go;
};

struct caller {
	pthread_t thread;
	struct wq *wq;
	struct wq_work *work;
	struct stop stop;
	int ret;
};

static __thread struct stop *stops_at;

static void stop_hook(const char *where)
{
	struct stop *stop = stops_at;

	if (!stop || strcmp(where, stop->where))
		return;
	stops_at = NULL;
	latch_post(&stop->reached);
	latch_wait(&stop->go, 1);
}

static void *queue_main(void *arg)
{
	struct caller *caller = arg;

	stops_at = &caller->stop;
	caller->ret = wq_queue(caller->wq, caller->work);
	return NULL;
}

static void *disable_sync_main(void *arg)
{
	struct caller *caller = arg;

	stops_at = &caller->stop;
	caller->ret = wq_work_disable_sync(caller->work);
	return NULL;
}

static void start(struct caller *caller, void *(*main)(void *), const char *where)
{
	caller->stop.where = where;
	latch_init(&caller->stop.reached);
	latch_init(&caller->stop.go);
	assert_int_equal(pthread_create(&caller->thread, NULL, main, caller), 0);
	latch_wait(&caller->stop.reached, 1);
}

static bool run_is_waited_for(struct wq *wq, struct wq_work *work)
{
	struct wqi_pool *pool = wqi_queue_pwq_rcu(wq, 0)->pool;
	struct wqi_worker *worker;
	bool waited;

	wqi_pool_lock(pool);
	worker = wqi_pool_find_running_locked(pool, work);
	waited = worker && !cds_list_empty(&worker->waiters);
	wqi_pool_unlock(pool);
	return waited;
}

/*
 * It has marked a claim that is on its way.  While it waits for the claim's end the
 * item is enabled, queued, runs, and is queued once more: that acceptance is not
 * covered by its answer, so it must run.
 */
static void disable_sync_takes_back_one_acceptance_at_most(void **state)
{
	struct wq *last = wq_alloc("last", WQ_HIGHPRI, 0), *wq = wq_alloc("q", WQ_ORDERED, 0);
	struct caller claimer = {.wq = wq}, disabler = {.wq = wq};
	struct probe probe, gate;

	probe_init_gate(&probe);
	probe_init_gate(&gate);
	claimer.work = disabler.work = &probe.work;
	latch_post(&probe.open);
	assert_int_equal(wq_queue(last, &probe.work), 1);
	assert_int_equal(wq_flush(last), 0);
	latch_reset(&probe.open);

	__atomic_store_n(&wqi_test_hook, stop_hook, __ATOMIC_RELEASE);
	start(&claimer, queue_main, "settle");
	start(&disabler, disable_sync_main, "canceller waits");
	latch_post(&claimer.stop.go);
	pthread_join(claimer.thread, NULL);
	assert_int_equal(claimer.ret, 1);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_DISABLED);

	assert_int_equal(wq_work_enable(&probe.work), 1);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	latch_wait(&probe.started, 2);
	latch_post(&disabler.stop.go);
	while (!run_is_waited_for(wq, &probe.work))
		sched_yield();
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	latch_post(&probe.open);
	latch_wait(&gate.started, 1);
	/* Three acceptances since: one taken back, one has run, one waits for the gate. */
	pthread_join(disabler.thread, NULL);
	assert_int_equal(disabler.ret, 1);
	latch_post(&gate.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(count_get(&probe.runs), 1 + 2);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(last), 0);
}

static int no_hook(void **state)
{
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(disable_sync_takes_back_one_acceptance_at_most, no_hook),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
