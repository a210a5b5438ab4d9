/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the clock: the thread that wakes up when the first armed item is due, and the
 * time that items are armed by.  It sleeps on a futex with a deadline, so it needs no
 * descriptor; for ever where nothing is armed.
 */
#ifndef WQI_CLOCK_H
#define WQI_CLOCK_H

#include "atomic.h"
#include "cycles.h"
#include "futex.h"
#include "testing.h"

/* Start the thread.  0, or -EAGAIN.  Under G. */
int wqi_clock_start(void);

/* End the thread; nothing is armed. */
void wqi_clock_stop(void);

/* In the child of a fork(): it does not run. */
void wqi_clock_reset(void);

/* A, seq_cst: when the clock wakes up by itself; 0: it is awake, or on its way. */
extern uint64_t wqi_clock_wakes_ns;

void wqi_clock_wake(void);

/*
 * An idle worker sleeps until *@wake is not 0.  If something is armed and no other worker
 * does so, it wakes up when that is due as well, and queues it: likely for itself, so that
 * one wake-up does where the clock and then a worker would take two.  The clock comes a
 * little later, in case the worker has got something else to do.
 */
void wqi_clock_wait_beside(uint32_t *wake);

/* When the first armed item is due, as far as an idle worker cares; or WQI_NEVER. */
uint64_t wqi_clock_due_ns(void);

/* wqi_clock_late_ns(), by reading the clock. */
uint64_t wqi_clock_read_late_ns(void);

/* Something is due at @ns: ORD-CLOCK (a), second half.  Lock-free, AS-safe. */
static inline void wqi_clock_note(uint64_t ns)
{
	if (wqi_unlikely(ns < wqi_load_seq_cst(&wqi_clock_wakes_ns)))
		wqi_clock_wake();
}

#ifdef WQI_TESTING
/* A clock of the test's; the thread then sleeps until it is woken, and looks at that. */
extern uint64_t (*wqi_test_clock)(void);
extern bool wqi_test_clock_alone; /* no worker does its work */
uint64_t wqi_clock_now_ns(void);
#else
/* The present: for what must not be early. */
static inline uint64_t wqi_clock_now_ns(void)
{
	return wqi_now_ns();
}
#endif

/*
 * Not before the present, and after it by no more than about a microsecond: for what is
 * to be due after a delay.  Where the processor counts time evenly this costs a third
 * of a reading of the clock.  AS-safe.
 */
static inline uint64_t wqi_clock_late_ns(void)
{
	uint64_t ns;

	return wqi_likely(wqi_cycles_to_ns(&ns)) ? ns : wqi_clock_read_late_ns();
}

#endif /* WQI_CLOCK_H */
