/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of delayed items share. */
#include "shot.h"

#include <sched.h>
#include <time.h>

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

static void shot_fn(struct wq_work *work, void *ctx)
{
	struct shot *shot = container_of(work, struct shot, dw.work);
	unsigned long run;

	shot->ran_ns = now_ns();
	shot->wq = wq_current_wq();
	shot->cpu = sched_getcpu();
	run = count_up(&shot->runs);
	latch_post(&shot->started);
	if (ctx)
		latch_wait(&shot->open, run);
	latch_post(&shot->ended);
}

static void shot_init_ctx(struct shot *shot, void *ctx)
{
	memset(shot, 0, sizeof(*shot));
	wq_delayed_work_init(&shot->dw, shot_fn, ctx);
	latch_init(&shot->started);
	latch_init(&shot->open);
	latch_init(&shot->ended);
}

void shot_init(struct shot *shot)
{
	shot_init_ctx(shot, NULL);
}

void shot_init_gate(struct shot *shot)
{
	shot_init_ctx(shot, shot);
}

void shot_wait(struct shot *shot, unsigned long runs)
{
	latch_wait(&shot->ended, runs);
	while (wq_delayed_work_busy(&shot->dw) & WQ_BUSY_RUNNING)
		sched_yield();
}

void shot_is_armed(struct shot *shot)
{
	assert_int_equal(wq_delayed_work_busy(&shot->dw), WQ_BUSY_DELAYED);
	assert_int_equal(wq_work_busy(&shot->dw.work), WQ_BUSY_DELAYED);
	assert_true(wq_delayed_work_pending(&shot->dw));
	assert_true(wq_work_pending(&shot->dw.work));
	assert_true(wq_delayed_work_expires_ns(&shot->dw) > 0);
}

void shot_is_idle(struct shot *shot, unsigned long runs)
{
	assert_int_equal(wq_delayed_work_busy(&shot->dw), 0);
	assert_false(wq_delayed_work_pending(&shot->dw));
	assert_int_equal(wq_delayed_work_expires_ns(&shot->dw), 0);
	assert_int_equal(wq_delayed_work_remaining_ns(&shot->dw), 0);
	assert_int_equal(count_get(&shot->runs), runs);
}

void gate_begin(struct wq *wq, struct probe *gate)
{
	probe_init_gate(gate);
	assert_int_equal(wq_queue_on(wq, &gate->work, usable_cpu(0)), 1);
	latch_wait(&gate->started, 1);
}

void gate_end(struct probe *gate)
{
	latch_post(&gate->open);
	wq_work_flush(&gate->work);
	assert_int_equal(gate->runs, 1);
}

void clock_passes(struct wq *wq, uint64_t ns)
{
	struct shot marker;
	unsigned i;

	shot_init(&marker);
	for (i = 1; i <= 2; i++) {
		uint64_t now = now_ns();
		uint64_t delay_ns = now < ns ? ns - now : 0;

		assert_int_equal(wq_queue_delayed(wq, &marker.dw, delay_ns + 2 * TICK), 1);
		shot_wait(&marker, i);
	}
}

void shot_park(struct wq *wq, struct shot *shot, struct wq *free)
{
	shot_init(shot);
	assert_int_equal(wq_queue_delayed(wq, &shot->dw, 1000), 1);
	clock_passes(free, wq_delayed_work_expires_ns(&shot->dw));
	shot_is_parked(shot);
}

void shot_is_parked(struct shot *shot)
{
	shot_is_armed(shot);
	assert_int_equal(wq_delayed_work_remaining_ns(&shot->dw), 0);
	assert_int_equal(count_get(&shot->runs), 0);
}

static void nop(struct wq_work *work, void *ctx)
{
}

static void *waiting_thread(void *ctx)
{
	struct waiting *w = ctx;

	w->ret = w->call(w->wq);
	return NULL;
}

void waiting_begin(struct waiting *w, struct wq *wq, int (*call)(struct wq *wq))
{
	struct wq_work work = WQ_WORK_INIT(nop, NULL);

	w->wq = wq;
	w->call = call;
	assert_int_equal(pthread_create(&w->thread, NULL, waiting_thread, w), 0);
	while (wq_queue(wq, &work) != -ESHUTDOWN) {
		wq_work_cancel(&work);
		sched_yield();
	}
	wq_work_cancel_sync(&work);
}

void waiting_end(struct waiting *w)
{
	pthread_join(w->thread, NULL);
	assert_int_equal(w->ret, 0);
}
