/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what the white-box twin of the library (built with WQI_TESTING) has and
 * the installed library has not: assertions, random yields at the points where
 * protocols interleave, and failures on request.  In the installed library all
 * of it compiles to nothing.
 */
#ifndef WQI_TESTING_H
#define WQI_TESTING_H

#include <stdbool.h>
#include <stdint.h>

#ifdef WQI_TESTING

#include <assert.h>

#define wqi_assert(x) assert(x)

enum wqi_fault { WQI_FAULT_ALLOC, WQI_FAULT_THREAD, WQI_NR_FAULTS };

/* Yield at one in @one_in points, by a generator seeded from @seed; 0 is never. */
void wqi_test_yields(uint64_t seed, unsigned one_in);

/* Let @after more uses of @what succeed and then @fails in a row fail. */
void wqi_test_fault(enum wqi_fault what, unsigned after, unsigned fails);

/*
 * Called, if set, at named points with the name: a test stops a thread there, to
 * make an interleaving happen.
 */
extern void (*wqi_test_hook)(const char *where);

/* Is the thread made that hears of CPUs?  Not unless a test wants it: it would take its
 * share of the failures that tests ask for. */
extern bool wqi_test_listens;

void wqi_pause_point(const char *where);
void wqi_yield_point(void);
bool wqi_fault_now(enum wqi_fault what);

#else

#define wqi_assert(x)	    ((void)0)
#define wqi_test_listens    (true)
#define wqi_pause_point(w)  ((void)0)
#define wqi_yield_point()   ((void)0)
#define wqi_fault_now(what) (false)

#endif /* WQI_TESTING */
#endif /* WQI_TESTING_H */
