/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer libevent, which has timers only: embedded events, on a base of their own
 * that has no lock, for one thread uses it, and the precise clock.
 */
#include "bench.h"
#include "loop.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct event_base *base;
static struct event *waker;
static int waker_fd;

static void bench_event_run(void)
{
	bench_must(event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY) >= 0, "event_base_loop");
}

static void bench_event_wake(void)
{
	bench_must(!eventfd_write(waker_fd, 1), "eventfd_write");
}

static struct bench_loop loop = {.run = bench_event_run, .wake = bench_event_wake};

static void woken(evutil_socket_t fd, short events, void *arg)
{
	eventfd_t value;

	(void)events;
	(void)arg;
	bench_must(!eventfd_read(fd, &value), "eventfd_read");
	bench_loop_make_call(&loop);
}

static void bench_event_start(void)
{
	struct event_config *config = event_config_new();

	bench_must(config && !event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK |
								    EVENT_BASE_FLAG_PRECISE_TIMER),
		   "event_config_new");
	base = event_base_new_with_config(config);
	event_config_free(config);
	waker_fd = eventfd(0, EFD_CLOEXEC);
	bench_must(base && waker_fd >= 0, "making a loop");
	waker = event_new(base, waker_fd, EV_READ | EV_PERSIST, woken, NULL);
	bench_must(waker && !event_add(waker, NULL), "making a loop");
	bench_loop_start(&loop);
}

static void end(void *arg)
{
	(void)arg;
	bench_must(!event_base_loopbreak(base), "event_base_loopbreak");
}

static void bench_event_stop(void)
{
	bench_loop_stop(&loop, end);
	event_free(waker);
	event_base_free(base);
	close(waker_fd);
}

static void fired(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	bench_timer_fired(arg);
}

static void bench_event_timer_init(void *timer)
{
	bench_must(!evtimer_assign((struct event *)timer, base, fired, timer), "evtimer_assign");
}

static void bench_event_timer_arm(void *timer, uint64_t delay_ns)
{
	struct timeval delay = {(time_t)(delay_ns / 1000000000u),
				(suseconds_t)((delay_ns % 1000000000u + 999) / 1000)};

	bench_must(!evtimer_add((struct event *)timer, &delay), "evtimer_add");
}

static bool bench_event_timer_cancel(void *timer)
{
	struct event *event = timer;
	bool armed = event->ev_evcallback.evcb_flags & EVLIST_TIMEOUT;

	bench_must(!evtimer_del(event), "evtimer_del");
	return armed;
}

static void bench_event_timer_refresh(void)
{
	event_base_update_cache_time(base);
}

static void bench_event_call(void (*fn)(void *arg), void *arg)
{
	bench_loop_call(&loop, fn, arg);
}

static const struct bench_timer_ops timers = {
	.bytes = sizeof(struct event),
	.heavy = true,
	.init = bench_event_timer_init,
	.arm = bench_event_timer_arm,
	.cancel = bench_event_timer_cancel,
	.refresh = bench_event_timer_refresh,
	.call = bench_event_call,
};

const struct bench_peer bench_peer_event = {
	.name = "libevent",
	.start = bench_event_start,
	.stop = bench_event_stop,
	.timers = &timers,
};
