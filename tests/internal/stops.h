/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of interleavings share: threads that stop at named points of the twin,
 * until they are let go, and calls made there, as by a signal handler.
 */
#ifndef TEST_STOPS_H
#define TEST_STOPS_H

#include "support.h"

#define NR_STOPS   3
#define NR_CALLERS 2

/* Before and after each test; the caller is the main thread, which never stops. */
void stops_begin(void);
void stops_end(void);

/*
 * The next thread to pass the point stops there, until let go, which returns when it has
 * left; wait until one has come, and whether one has.
 */
void stop_at(unsigned i, const char *where);
void stop_reached(unsigned i);
bool stop_is_reached(unsigned i);
void let_go(unsigned i);

/* The next thread to pass the point, be it the main one, calls @fn there. */
void call_at(const char *where, void (*fn)(void));

/* Call @fn on a thread of its own; wait for it, and what it answered. */
void begin(unsigned i, int (*fn)(void));
int end(unsigned i);

/* What is to happen does, or the test fails. */
#define COMES_TRUE(cond)                                                                           \
	do {                                                                                       \
		unsigned comes_tries = 0;                                                          \
                                                                                                   \
		while (!(cond) && comes_tries++ < 20000)                                           \
			sleep_ns(1000000);                                                         \
		assert_true(cond);                                                                 \
	} while (0)

#endif /* TEST_STOPS_H */
