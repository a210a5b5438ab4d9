/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The peer libev, which has timers only: ev_timer watchers, embedded, on a loop of their own. */
#include "bench.h"
#include "loop.h"

#include <ev.h>

static struct ev_loop *ev;
static ev_async waker;

static void bench_ev_run(void)
{
	ev_run(ev, 0);
}

static void bench_ev_wake(void)
{
	ev_async_send(ev, &waker);
}

static struct bench_loop loop = {.run = bench_ev_run, .wake = bench_ev_wake};

static void woken(struct ev_loop *unused, ev_async *async, int events)
{
	(void)unused;
	(void)async;
	(void)events;
	bench_loop_make_call(&loop);
}

static void bench_ev_start(void)
{
	ev = ev_loop_new(EVFLAG_AUTO);
	bench_must(ev, "ev_loop_new");
	ev_async_init(&waker, woken);
	ev_async_start(ev, &waker);
	bench_loop_start(&loop);
}

static void end(void *arg)
{
	(void)arg;
	ev_break(ev, EVBREAK_ALL);
}

static void bench_ev_stop(void)
{
	bench_loop_stop(&loop, end);
	ev_loop_destroy(ev);
}

static void fired(struct ev_loop *unused, ev_timer *timer, int events)
{
	(void)unused;
	(void)events;
	bench_timer_fired(timer);
}

static void bench_ev_timer_init(void *timer)
{
	ev_init((ev_timer *)timer, fired);
}

static void bench_ev_timer_arm(void *timer, uint64_t delay_ns)
{
	ev_timer *t = timer;

	ev_timer_set(t, (double)delay_ns * 1e-9, 0.);
	ev_timer_start(ev, t);
}

static bool bench_ev_timer_cancel(void *timer)
{
	ev_timer *t = timer;
	bool armed = ev_is_active(t);

	ev_timer_stop(ev, t);
	return armed;
}

static void bench_ev_timer_refresh(void)
{
	ev_now_update(ev);
}

static void bench_ev_call(void (*fn)(void *arg), void *arg)
{
	bench_loop_call(&loop, fn, arg);
}

static const struct bench_timer_ops timers = {
	.bytes = sizeof(ev_timer),
	.init = bench_ev_timer_init,
	.arm = bench_ev_timer_arm,
	.cancel = bench_ev_timer_cancel,
	.refresh = bench_ev_timer_refresh,
	.call = bench_ev_call,
};

const struct bench_peer bench_peer_ev = {
	.name = "libev",
	.start = bench_ev_start,
	.stop = bench_ev_stop,
	.timers = &timers,
};
