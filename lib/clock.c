/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the clock thread: when it sleeps, and until when. */
#include "clock.h"

#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "runtime.h"
#include "service.h"
#include "timer.h"
#include "wheel.h"

uint64_t wqi_clock_wakes_ns = WQI_NEVER;

/*
 * What a worker keeps is left to it for so long: twice what such a worker has been late of
 * late, for an idle CPU may take longer to wake up than the clock's.
 */
#define CLOCK_BESIDE_NS	    50000u
#define CLOCK_BESIDE_MAX_NS 200000u
#define CLOCK_STOPPED_NS    1000000u

static uint64_t clock_kept_ns = WQI_NEVER; /* A, seq_cst: what an idle worker sleeps until */
static uint64_t clock_late_ns;		   /* A, relaxed; by who keeps: how late that is */
static bool clock_running;		   /* A, seq_cst: somebody queues what is due */

static uint32_t clock_event;   /* A, seq_cst: futex word, changed by every wake-up */
static bool clock_stopping;    /* A, release/acquire */
static pthread_t clock_thread; /* G */

/* Whoever finds it asleep wakes it; the others need not. */
void wqi_clock_wake(void)
{
	if (!wqi_xchg(&wqi_clock_wakes_ns, UINT64_C(0)))
		return;
	wqi_add(&clock_event, 1);
	wqi_futex_wake(&clock_event, 1);
}

#ifdef WQI_TESTING
uint64_t (*wqi_test_clock)(void); /* A */

uint64_t wqi_clock_now_ns(void)
{
	uint64_t (*clock)(void) = wqi_load_acquire(&wqi_test_clock);

	return clock ? clock() : wqi_now_ns();
}

uint64_t wqi_clock_read_late_ns(void)
{
	return wqi_load_acquire(&wqi_test_clock) ? wqi_clock_now_ns() : wqi_cycles_read_ns();
}

static void clock_sleep(uint32_t event, uint64_t until_ns)
{
	if (wqi_load_acquire(&wqi_test_clock)) {
		/* Set, then woken while it was on its way here: the wake-up did nothing. */
		if (wqi_clock_now_ns() >= until_ns)
			return;
		until_ns = WQI_NO_TIMEOUT;
	}
	wqi_futex_wait_until(&clock_event, event, until_ns);
}

bool wqi_test_clock_alone; /* A */

static bool clock_may_be_kept(void)
{
	return !wqi_load_acquire(&wqi_test_clock) && !wqi_load_acquire(&wqi_test_clock_alone);
}
#else
uint64_t wqi_clock_read_late_ns(void)
{
	return wqi_cycles_read_ns();
}

static void clock_sleep(uint32_t event, uint64_t until_ns)
{
	wqi_futex_wait_until(&clock_event, event, until_ns);
}

static bool clock_may_be_kept(void)
{
	return true;
}
#endif

/*
 * One at a time, or items would overtake each other.  Until *@enough, if that is given.
 * False: another does it, and may have looked already.
 */
static bool clock_run(uint64_t *next_ns, const uint32_t *enough)
{
	if (wqi_load_relaxed(&clock_running) || wqi_xchg(&clock_running, true))
		return false;
	*next_ns = wqi_timers_run(enough);
	wqi_store_release(&clock_running, false);
	return true;
}

static uint64_t clock_beside_ns(void)
{
	uint64_t ns = 2 * wqi_load_relaxed(&clock_late_ns);

	return ns < CLOCK_BESIDE_NS ? CLOCK_BESIDE_NS : ns;
}

/* Follows slowly, and not far.  Who was stopped, or found it due, says nothing about the next. */
static void clock_learn_late(uint64_t ns)
{
	uint64_t late_ns = wqi_load_relaxed(&clock_late_ns);

	if (ns > CLOCK_STOPPED_NS)
		return;
	if (ns > CLOCK_BESIDE_MAX_NS / 2)
		ns = CLOCK_BESIDE_MAX_NS / 2;
	wqi_store_relaxed(&clock_late_ns, late_ns - late_ns / 8 + ns / 8);
}

/* Until when is the clock to sleep, if nothing is due before @next_ns? */
static uint64_t clock_until(uint64_t next_ns)
{
	if (next_ns == WQI_NEVER || wqi_load_seq_cst(&clock_kept_ns) > next_ns)
		return next_ns;
	return next_ns + clock_beside_ns();
}

uint64_t wqi_clock_due_ns(void)
{
	if (wqi_load_relaxed(&wqi_clock_wakes_ns) == WQI_NEVER || !clock_may_be_kept())
		return WQI_NEVER;
	return wqi_timers_earliest();
}

/* One worker is enough.  0: the caller need not be the one. */
static uint64_t clock_begin_keeping(void)
{
	uint64_t none = WQI_NEVER, first_ns = wqi_clock_due_ns();

	if (first_ns == WQI_NEVER || !wqi_cas(&clock_kept_ns, &none, first_ns))
		return 0;
	return first_ns ? first_ns : 1; /* some is due already */
}

static void clock_keep(uint32_t *wake, uint64_t until_ns)
{
	uint64_t now_ns, next_ns;

	prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
	wqi_futex_wait_until(wake, 0, until_ns);
	prctl(PR_SET_TIMERSLACK, 0ul, 0ul, 0ul, 0ul);
	wqi_store_seq_cst(&clock_kept_ns, WQI_NEVER);
	wqi_pause_point("worker keeps the clock");
	now_ns = wqi_clock_now_ns();
	if (wqi_load_seq_cst(wake) || now_ns < until_ns)
		return;
	clock_learn_late(now_ns - until_ns);
	/* Whoever does it may need this CPU. */
	if (!clock_run(&next_ns, wake))
		wqi_futex_wait(wake, 0, CLOCK_BESIDE_NS);
}

void wqi_clock_wait_beside(uint32_t *wake)
{
	uint64_t until_ns;

	while (!wqi_load_seq_cst(wake)) {
		until_ns = clock_begin_keeping();
		if (until_ns)
			clock_keep(wake, until_ns);
		else
			wqi_futex_wait(wake, 0, WQI_NO_TIMEOUT);
	}
}

/*
 * ORD-CLOCK (b): publish when it wakes up, then look at the shards once more.  Partner
 * (a): lower the shard's earliest time, then look at that.  All four are seq_cst, so
 * "it sleeps past what was armed and nobody wakes it" is impossible.
 */
static void *clock_main(void *arg)
{
	uint32_t event;
	uint64_t next;

	(void)arg;
	wqi_service_begin("wq/clock");
	wqi_service_last(WQI_LASTING_CLOCK);
	prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
	for (;;) {
		event = wqi_load_seq_cst(&clock_event);
		wqi_xchg(&wqi_clock_wakes_ns, UINT64_C(0));
		/* At the end once more: of what is not armed any more, some may be left here. */
		if (!clock_run(&next, NULL)) {
			wqi_pause_point("clock waits");
			clock_sleep(event, wqi_clock_now_ns() + CLOCK_BESIDE_NS);
			continue;
		}
		if (wqi_load_acquire(&clock_stopping))
			return NULL;
		wqi_store_seq_cst(&wqi_clock_wakes_ns, next);
		wqi_pause_point("clock sleeps");
		if (wqi_timers_earliest() < next)
			continue;
		clock_sleep(event, clock_until(next));
	}
}

int wqi_clock_start(void)
{
	wqi_assert_held(&wqi_runtime.lock);

	return wqi_service_start(&clock_thread, -1, clock_main, NULL) ? -EAGAIN : 0;
}

void wqi_clock_stop(void)
{
	wqi_store_release(&clock_stopping, true);
	wqi_add(&clock_event, 1);
	wqi_futex_wake(&clock_event, 1);
	wqi_pause_point("clock stops");
	pthread_join(clock_thread, NULL);
	wqi_clock_reset();
}

void wqi_clock_reset(void)
{
	wqi_store_relaxed(&clock_stopping, false);
	wqi_store_relaxed(&wqi_clock_wakes_ns, WQI_NEVER);
	wqi_store_relaxed(&clock_kept_ns, WQI_NEVER);
	wqi_store_relaxed(&clock_late_ns, UINT64_C(0));
	wqi_store_relaxed(&clock_running, false);
}
