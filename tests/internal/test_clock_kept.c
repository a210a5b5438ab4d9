/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An idle worker that sleeps until something is due, in the place of the clock. */
#include "stops.h"

#include <sched.h>

#include "clock.h"
#include "config.h"
#include "observe.h"
#include "worker.h"

#define NR_MANY 300u
#define SOON_NS 1000000u
#define KEPT_NS 1000000000u

struct late {
	struct wq_delayed_work dw;
	struct latch *ended;
	unsigned long runs;
};

static struct wq *wq, *other; /* of two pools */
static struct latch ended;

static void late_fn(struct wq_work *work, void *ctx)
{
	struct late *late = container_of(work, struct late, dw.work);

	count_up(&late->runs);
	latch_post(late->ended);
}

static void late_init(struct late *late)
{
	wq_delayed_work_init(&late->dw, late_fn, NULL);
	late->ended = &ended;
	late->runs = 0;
}

static int setup(void **state)
{
	wq = wq_alloc("kept", 0, 0);
	other = wq_alloc("other", WQ_HIGHPRI, 0);
	latch_init(&ended);
	stops_begin();
	__atomic_store_n(&wqi_test_clock_alone, false, __ATOMIC_RELEASE);
	return wq && other ? 0 : -1;
}

static int teardown(void **state)
{
	stops_end();
	return wq_destroy(wq) || wq_destroy(other);
}

/* A worker of @wq's pool runs something, and becomes idle again. */
static void use_worker(void)
{
	struct probe probe;

	probe_init(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	latch_wait(&probe.ended, 1);
	assert_true(wq_work_cancel_sync(&probe.work) >= 0);
}

static void stop_clock(void)
{
	stop_at(0, "clock sleeps");
	wqi_clock_wake();
	stop_reached(0);
}

static void worker_fires_while_the_clock_is_away(void **state)
{
	struct late late;

	late_init(&late);
	stop_clock();
	assert_int_equal(wq_queue_delayed(wq, &late.dw, SOON_NS), 1);
	use_worker();
	latch_wait(&ended, 1);
	let_go(0);
	assert_int_equal(wq_delayed_work_cancel_sync(&late.dw), 0);
	assert_int_equal(late.runs, 1);
}

/* ... and leaves the rest to others from time to time, for it has items to run itself. */
static void worker_fires_many(void **state)
{
	static struct late late[NR_MANY];
	unsigned i;

	stop_clock();
	for (i = 0; i < NR_MANY; i++) {
		late_init(&late[i]);
		assert_int_equal(wq_queue_delayed(wq, &late[i].dw, SOON_NS), 1);
	}
	use_worker();
	latch_wait(&ended, NR_MANY);
	let_go(0);
	for (i = 0; i < NR_MANY; i++) {
		assert_int_equal(wq_delayed_work_cancel_sync(&late[i].dw), 0);
		assert_int_equal(late[i].runs, 1);
	}
}

#define AWAKE_NS 4000000000u

static void be_awake_fn(struct wq_work *work, void *ctx)
{
	wqi_store_relaxed(&wqi_worker_self->pool->idle_spin.ns, AWAKE_NS);
}

/* The clock does not come: only if the worker stops waiting for items does anybody. */
static void worker_that_waits_awake_fires_in_time(void **state)
{
	uint64_t max_ns = wqi_load_relaxed(&wqi_config.spin_max_ns), start = wqi_now_ns();
	struct wq_work work;
	struct late late;

	late_init(&late);
	stop_clock();
	wqi_store_relaxed(&wqi_config.spin_max_ns, (uint64_t)AWAKE_NS);
	assert_int_equal(wq_queue_delayed(wq, &late.dw, SOON_NS), 1);
	wq_work_init(&work, be_awake_fn, NULL);
	assert_int_equal(wq_queue(wq, &work), 1);
	latch_wait(&ended, 1);
	assert_true(wqi_now_ns() - start < AWAKE_NS / 2);
	wqi_store_relaxed(&wqi_config.spin_max_ns, max_ns);
	let_go(0);
	assert_true(wq_work_cancel_sync(&work) >= 0);
	assert_int_equal(wq_delayed_work_cancel_sync(&late.dw), 0);
}

/*
 * What a worker is given while it keeps the clock, or is about to, waits where it is stopped: so
 * nobody waits for that.  True: one is stopped.  Else one more gets to run, and to keep the clock.
 */
static bool worker_is_stopped(struct probe *probe)
{
	if (stop_is_reached(1))
		return true;
	assert_true(wq_queue(wq, &probe->work) >= 0);
	return false;
}

/* It has gone to something else, as it were: the clock is not far. */
static void clock_fires_while_the_worker_is_away(void **state)
{
	struct late late, keeps;
	struct probe probe;
	struct latch fired;

	late_init(&late);
	late_init(&keeps);
	latch_init(&fired);
	late.ended = &fired;
	probe_init(&probe);
	stop_at(1, "worker keeps the clock");
	assert_int_equal(wq_queue_delayed(other, &keeps.dw, KEPT_NS), 1);
	COMES_TRUE(worker_is_stopped(&probe));
	assert_int_equal(wq_queue_delayed(other, &late.dw, SOON_NS), 1);
	latch_wait(&fired, 1);
	let_go(1);
	assert_true(wq_work_flush(&probe.work) >= 0);
	assert_int_equal(wq_delayed_work_cancel_sync(&late.dw), 0);
	assert_int_equal(late.runs, 1);
	assert_int_equal(wq_delayed_work_cancel_sync(&keeps.dw) + keeps.runs, 1);
}

/* What is due later does not overtake what the worker is just queueing. */
static void clock_waits_for_the_worker(void **state)
{
	struct late first, second;
	struct probe probe;

	late_init(&first);
	late_init(&second);
	probe_init(&probe);
	stop_clock();
	stop_at(1, "settle");
	assert_int_equal(wq_queue_delayed(wq, &first.dw, SOON_NS), 1);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	stop_reached(1);
	assert_int_equal(wq_queue_delayed(other, &second.dw, 1), 1);
	stop_at(2, "clock waits");
	let_go(0);
	stop_reached(2);
	stop_at(0, "clock waits");
	let_go(2);
	stop_reached(0);
	assert_int_equal(wq_work_busy(&second.dw.work), WQ_BUSY_DELAYED);
	let_go(0);
	let_go(1);
	latch_wait(&ended, 2);
	assert_true(wq_work_flush(&probe.work) >= 0);
	assert_int_equal(wq_delayed_work_cancel_sync(&first.dw), 0);
	assert_int_equal(wq_delayed_work_cancel_sync(&second.dw), 0);
	assert_int_equal(first.runs, 1);
	assert_int_equal(second.runs, 1);
}

/* The monitor may be reading files, and would leave their buffers at the end. */
static int end_library(void **state)
{
	return wq_shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(worker_fires_while_the_clock_is_away, setup,
						teardown),
		cmocka_unit_test_setup_teardown(worker_fires_many, setup, teardown),
		cmocka_unit_test_setup_teardown(worker_that_waits_awake_fires_in_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(clock_fires_while_the_worker_is_away, setup,
						teardown),
		cmocka_unit_test_setup_teardown(clock_waits_for_the_worker, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, end_library);
}
