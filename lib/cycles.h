/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the time as the processor's time-stamp counter tells it, between two readings of
 * CLOCK_MONOTONIC.  Only where the processor says that it counts evenly, whatever it
 * does else; elsewhere the clock is read each time.
 *
 * Each thread keeps a pair of readings, no older than half a millisecond, and how many
 * nanoseconds a cycle is worth is measured once for all.  The clock may be slewed by up
 * to 500 parts in a million, then and now, and what comes out is rounded up by twice as
 * much: so it is never before the present, and after it by a microsecond at most.
 */
#ifndef WQI_CYCLES_H
#define WQI_CYCLES_H

#include <stdbool.h>
#include <stdint.h>

#include "atomic.h"

/* A thread's, and its signal handlers'.  `window` is 0 while the rest changes. */
struct wqi_cycles {
	volatile uint64_t window; /* S: how many cycles after `start` it holds, or 0 */
	volatile uint64_t start;  /* S: the counter ... */
	volatile uint64_t ns;	  /* S: ... and a time not before that */
	volatile bool busy;	  /* S: the pair is being made anew */
};

extern __thread struct wqi_cycles wqi_cycles __attribute__((tls_model("initial-exec")));

extern uint32_t wqi_cycles_rate; /* A, relaxed: nanoseconds of 2^24 cycles, rounded up; 0 unknown */

#define WQI_CYCLES_SHIFT 24

/* May the counter be used?  Once, at the start.  Under G. */
void wqi_cycles_init(void);

/* A time not before the present, from the clock; makes the thread's pair anew.  AS-safe. */
uint64_t wqi_cycles_read_ns(void);

#if defined(__x86_64__)
static inline uint64_t wqi_cycles_now(void)
{
	return __builtin_ia32_rdtsc();
}

/* False: the clock must be read. */
static inline bool wqi_cycles_to_ns(uint64_t *ns)
{
	uint64_t passed = wqi_cycles_now() - wqi_cycles.start;

	/* Before the pair of readings, or on a counter that jumped, it is huge. */
	if (wqi_unlikely(passed >= wqi_cycles.window))
		return false;
	*ns = wqi_cycles.ns + (passed * wqi_load_relaxed(&wqi_cycles_rate) >> WQI_CYCLES_SHIFT) + 1;
	return true;
}
#else
static inline bool wqi_cycles_to_ns(uint64_t *ns)
{
	(void)ns;
	return false;
}
#endif

#endif /* WQI_CYCLES_H */
