/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the random yields and the failures on request of the white-box twin.
 * Not part of the installed library.
 */
#include "testing.h"

#include <sched.h>

#include "atomic.h"

bool wqi_test_listens;

static uint64_t test_seed;
static unsigned test_one_in;
static unsigned test_threads;
static struct {
	unsigned after;
	unsigned fails;
} test_faults[WQI_NR_FAULTS];

static __thread uint64_t test_rng;

void wqi_test_yields(uint64_t seed, unsigned one_in)
{
	wqi_store_relaxed(&test_seed, seed);
	wqi_store_relaxed(&test_one_in, one_in);
}

void wqi_test_fault(enum wqi_fault what, unsigned after, unsigned fails)
{
	wqi_store_relaxed(&test_faults[what].after, after);
	wqi_store_relaxed(&test_faults[what].fails, fails);
}

bool wqi_fault_now(enum wqi_fault what)
{
	unsigned v = wqi_load_relaxed(&test_faults[what].after);

	while (v)
		if (wqi_cas(&test_faults[what].after, &v, v - 1))
			return false;
	v = wqi_load_relaxed(&test_faults[what].fails);
	while (v)
		if (wqi_cas(&test_faults[what].fails, &v, v - 1))
			return true;
	return false;
}

void (*wqi_test_hook)(const char *where); /* A */

void wqi_pause_point(const char *where)
{
	void (*hook)(const char *) = wqi_load_acquire(&wqi_test_hook);

	wqi_yield_point();
	if (hook)
		hook(where);
}

void wqi_yield_point(void)
{
	unsigned one_in = wqi_load_relaxed(&test_one_in);
	unsigned spins;

	if (!one_in)
		return;
	if (!test_rng)
		test_rng = (wqi_load_relaxed(&test_seed) + wqi_add(&test_threads, 1)) *
				   UINT64_C(0x9e3779b97f4a7c15) |
			   1;
	test_rng ^= test_rng << 13;
	test_rng ^= test_rng >> 7;
	test_rng ^= test_rng << 17;
	if (test_rng % one_in)
		return;
	if (test_rng >> 32 & 1) {
		sched_yield();
		return;
	}
	for (spins = test_rng >> 33 & 255; spins; spins--)
		wqi_cpu_relax();
}
