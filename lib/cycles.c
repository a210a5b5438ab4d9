/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns measuring what a cycle is worth, and each thread's pair of readings. */
#include "cycles.h"

#include "futex.h"
#include "runtime.h"

__thread struct wqi_cycles wqi_cycles;

uint32_t wqi_cycles_rate;

#if defined(__x86_64__)

#include <cpuid.h>

/* How long a pair holds, and over what time the rate is measured at least. */
#define CYCLES_WINDOW_NS  500000u
#define CYCLES_MEASURE_NS 20000000u

/* Two readings of the counter so far apart have been disturbed: 2000 cycles. */
#define CYCLES_APART 2000u

/* Where even the first pair can't be had, the counter is not used. */
#define CYCLES_TRIES 100

/* A rate is rounded up by one part in 512. */
#define CYCLES_MARGIN_SHIFT 9

static bool cycles_even;	 /* I once started */
static uint64_t cycles_first;	 /* I once started: the counter at the start ... */
static uint64_t cycles_first_ns; /* I once started: ... and the time then */

static bool cycles_are_even(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8;
}

/* The counter, and a time not before that.  False: much came between. */
static bool cycles_read_pair(uint64_t *cycles, uint64_t *ns)
{
	*cycles = wqi_cycles_now();
	*ns = wqi_now_ns();
	return wqi_cycles_now() - *cycles < CYCLES_APART;
}

void wqi_cycles_init(void)
{
	unsigned tries;

	wqi_assert_held(&wqi_runtime.lock);

	for (tries = 0; tries < CYCLES_TRIES && !cycles_even; tries++)
		cycles_even =
			cycles_are_even() && cycles_read_pair(&cycles_first, &cycles_first_ns);
}

/*
 * From the start until now, once that is long enough; several threads may find it, and
 * all of them are right.  Out of bounds (a slow or a fast counter) it is not used.
 */
static void cycles_measure(uint64_t cycles, uint64_t ns)
{
	uint64_t passed_ns = ns - cycles_first_ns, passed = cycles - cycles_first, rate;

	if (passed_ns < CYCLES_MEASURE_NS || passed < passed_ns / 16)
		return;
	rate = (uint64_t)(((unsigned __int128)passed_ns << WQI_CYCLES_SHIFT) / passed);
	rate += (rate >> CYCLES_MARGIN_SHIFT) + 1;
	/* From 100 MHz to 16 GHz. */
	if (rate < UINT64_C(10) << WQI_CYCLES_SHIFT && rate > UINT64_C(1) << (WQI_CYCLES_SHIFT - 4))
		wqi_store_relaxed(&wqi_cycles_rate, (uint32_t)rate);
}

/*
 * The time is read after the counter, so it is not before that; where much came between
 * it would be late for a whole window, and is not kept.  A signal handler inside reads
 * the clock, and leaves the pair alone.
 */
uint64_t wqi_cycles_read_ns(void)
{
	uint64_t cycles, ns, rate;

	if (!cycles_even || wqi_cycles.busy)
		return wqi_now_ns();
	wqi_cycles.busy = true;
	wqi_cycles.window = 0;
	if (cycles_read_pair(&cycles, &ns)) {
		rate = wqi_load_relaxed(&wqi_cycles_rate);
		wqi_cycles.start = cycles;
		wqi_cycles.ns = ns;
		if (rate)
			wqi_cycles.window = ((uint64_t)CYCLES_WINDOW_NS << WQI_CYCLES_SHIFT) / rate;
		else
			cycles_measure(cycles, ns);
	}
	wqi_cycles.busy = false;
	return ns;
}

#else

void wqi_cycles_init(void)
{
}

uint64_t wqi_cycles_read_ns(void)
{
	return wqi_now_ns();
}

#endif
