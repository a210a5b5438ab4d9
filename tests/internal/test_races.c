/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interleavings that went wrong once, made to happen: a thread is stopped at a
 * named point of the library while others go on.
 */
#include "support.h"

#include <sched.h>

#include "item.h"
#include "queue.h"
#include "testing.h"
#include "worker.h"

/* The point at which the next marked thread to pass stops, until it is let go. */
static struct stop {
	const char *where;
	struct latch reached, go;
} stop;

static __thread bool stops_here;

static void stop_hook(const char *where)
{
	if (!stops_here || strcmp(where, stop.where))
		return;
	stops_here = false;
	latch_post(&stop.reached);
	latch_wait(&stop.go, 1);
}

static void stop_at(const char *where)
{
	stop.where = where;
	latch_init(&stop.reached);
	latch_init(&stop.go);
	__atomic_store_n(&wqi_test_hook, stop_hook, __ATOMIC_RELEASE);
}

static void let_go(void)
{
	latch_post(&stop.go);
}

static int no_hook(void **state)
{
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	return 0;
}

/* A thread that makes one call and stops on the way. */
struct caller {
	pthread_t thread;
	struct wq *wq;
	struct wq_work *work;
	int ret;
};

static void *queue_and_stop(void *arg)
{
	struct caller *caller = arg;

	stops_here = true;
	caller->ret = wq_queue(caller->wq, caller->work);
	return NULL;
}

static void start(struct caller *caller, void *(*main)(void *), struct wq *wq, struct wq_work *work)
{
	caller->wq = wq;
	caller->work = work;
	assert_int_equal(pthread_create(&caller->thread, NULL, main, caller), 0);
}

/*
 * Between a claimer's look at the item's last queue, which is gone, and its claim,
 * a new queue gets the number and the item runs there: the word is the same
 * again, but the run must be found.
 */
static void claim_finds_a_run_on_a_queue_that_got_the_old_number(void **state)
{
	struct wq *gone = wq_alloc("gone", WQ_PERCPU, 0), *other, *reborn;
	struct caller claimer;
	struct probe probe;
	int cpu = usable_cpu(0);

	probe_init_gate(&probe);
	latch_post(&probe.open);
	assert_int_equal(wq_queue_on(gone, &probe.work, cpu), 1);
	assert_int_equal(wq_destroy(gone), 0);
	latch_reset(&probe.open);
	other = wq_alloc("other", 0, 0);

	stop_at("claim");
	start(&claimer, queue_and_stop, other, &probe.work);
	latch_wait(&stop.reached, 1);
	reborn = wq_alloc("reborn", WQ_PERCPU, 0);
	assert_int_equal(wq_queue_on(reborn, &probe.work, cpu), 1);
	latch_wait(&probe.started, 2);
	let_go();
	pthread_join(claimer.thread, NULL);
	assert_int_equal(claimer.ret, 1);
	/* Had it gone to the other queue, that would run it now, and be waited for. */
	assert_int_equal(wq_flush(other), 0);
	assert_int_equal(count_get(&probe.runs), 2);
	latch_post(&probe.open);
	assert_int_equal(wq_destroy(reborn), 0);
	assert_int_equal(wq_destroy(other), 0);
	assert_int_equal(probe.runs, 3);
}

static struct flip {
	struct wq *wq;
	struct probe late;
	int cpu;
	bool armed, opened;
} flip;

/*
 * On the flusher, between its two rounds: the first item for a CPU comes.  On that
 * CPU's worker: it stops when it has read the queue's colour.  It goes on when the
 * flusher wants its lock, or when the flush is over.
 */
static void flip_hook(const char *where)
{
	if (!stops_here) {
		if (!strcmp(where, "pwq ready") &&
		    __atomic_exchange_n(&flip.armed, false, __ATOMIC_SEQ_CST)) {
			latch_post(&stop.reached);
			latch_wait(&stop.go, 1);
		}
		return;
	}
	if (!strcmp(where, "flip") && flip.cpu >= 0) {
		__atomic_store_n(&flip.armed, true, __ATOMIC_SEQ_CST);
		wq_queue_on(flip.wq, &flip.late.work, flip.cpu);
		flip.cpu = -1;
		latch_wait(&stop.reached, 1);
	}
	if (!strcmp(where, "lock is taken"))
		let_go();
	if (!strcmp(where, "flush event") && !flip.opened) {
		flip.opened = true;
		let_go();
		latch_post(&flip.late.open);
	}
}

/*
 * A per-CPU queue's second pwq is used for the first time while a flush changes
 * colours, at each of the 16 colours in turn: the next flush must wait for it.
 */
static void flush_reaches_a_pwq_that_is_new_while_colours_change(void **state)
{
	unsigned rounds, i;
	struct probe first;

	if (usable_cpu(1) < 0)
		skip();
	for (rounds = 0; rounds < 18; rounds++) {
		flip.wq = wq_alloc("flip", WQ_PERCPU, 0);
		flip.cpu = usable_cpu(1);
		flip.opened = false;
		probe_init_gate(&flip.late);
		probe_init(&first);
		assert_int_equal(wq_queue_on(flip.wq, &first.work, usable_cpu(0)), 1);
		for (i = 0; i < rounds; i++)
			assert_int_equal(wq_flush(flip.wq), 0);
		stop_at("pwq ready");
		stops_here = true;
		__atomic_store_n(&wqi_test_hook, flip_hook, __ATOMIC_RELEASE);
		assert_int_equal(wq_flush(flip.wq), 0);
		let_go();
		assert_int_equal(wq_flush(flip.wq), 0);
		assert_int_equal(wq_work_busy(&flip.late.work), 0);
		assert_int_equal(count_get(&flip.late.ended.count), 1);
		stops_here = false;
		no_hook(NULL);
		assert_int_equal(wq_destroy(flip.wq), 0);
	}
}

struct two_runs {
	struct probe probe;
	struct caller flusher;
};

static void *flush_main(void *arg)
{
	struct two_runs *two = arg;

	two->flusher.ret = wq_work_flush(&two->probe.work);
	return NULL;
}

static unsigned nr_waiters_of_the_run(struct wq *wq, struct wq_work *work)
{
	struct wqi_pool *pool = wqi_queue_pwq_rcu(wq, 0)->pool;
	struct wqi_waiter *waiter;
	struct wqi_worker *worker;
	unsigned nr = 0;

	wqi_pool_lock(pool);
	worker = wqi_pool_find_running_locked(pool, work);
	if (worker)
		cds_list_for_each_entry(waiter, &worker->waiters, node)
			nr++;
	wqi_pool_unlock(pool);
	return nr;
}

/* Flushed while it runs and is queued again, and the second instance is cancelled. */
static void flush_waits_for_the_run_when_the_pending_instance_is_cancelled(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct two_runs two;

	probe_init_gate(&two.probe);
	assert_int_equal(wq_queue(wq, &two.probe.work), 1);
	latch_wait(&two.probe.started, 1);
	assert_int_equal(wq_queue(wq, &two.probe.work), 1);
	assert_int_equal(pthread_create(&two.flusher.thread, NULL, flush_main, &two), 0);
	/* The flusher hangs on the pending instance. */
	while (!(wqi_state(&two.probe.work) & WQI_LINKED))
		sched_yield();
	assert_int_equal(wq_work_cancel(&two.probe.work), 1);
	/* Not woken: it hangs on the worker now. */
	assert_int_equal(nr_waiters_of_the_run(wq, &two.probe.work), 1);
	latch_post(&two.probe.open);
	pthread_join(two.flusher.thread, NULL);
	assert_int_equal(two.flusher.ret, 1);
	assert_int_equal(count_get(&two.probe.ended.count), 1);
	assert_int_equal(wq_destroy(wq), 0);
}

static struct caller transit_claimer;
static unsigned long transit_seen;

static void transit_hook(const char *where)
{
	stop_hook(where);
	if (!strcmp(where, "flush transit")) {
		count_up(&transit_seen);
		let_go();
	}
}

/*
 * A claimer looks where the item may still run, though the queue that its word
 * names is gone.  Whoever was answered 0 because of that claim may flush.
 */
static void flush_waits_for_a_claim_that_names_a_queue_that_is_gone(void **state)
{
	struct wq *going = wq_alloc("going", 0, 0), *wq = wq_alloc("q", WQ_HIGHPRI, 0);
	struct probe probe;

	probe_init(&probe);
	assert_int_equal(wq_queue(going, &probe.work), 1);
	assert_int_equal(wq_destroy(going), 0);

	stop_at("settle");
	__atomic_store_n(&wqi_test_hook, transit_hook, __ATOMIC_RELEASE);
	start(&transit_claimer, queue_and_stop, wq, &probe.work);
	latch_wait(&stop.reached, 1);
	assert_int_equal(wq_queue(wq, &probe.work), 0);
	assert_true(wq_work_flush(&probe.work) >= 0);
	assert_int_equal(transit_seen, 1);
	let_go();
	pthread_join(transit_claimer.thread, NULL);
	wq_work_flush(&probe.work);
	assert_int_equal(count_get(&probe.runs), 2);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(claim_finds_a_run_on_a_queue_that_got_the_old_number,
					  no_hook),
		cmocka_unit_test_teardown(flush_reaches_a_pwq_that_is_new_while_colours_change,
					  no_hook),
		cmocka_unit_test(flush_waits_for_the_run_when_the_pending_instance_is_cancelled),
		cmocka_unit_test_teardown(flush_waits_for_a_claim_that_names_a_queue_that_is_gone,
					  no_hook),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
