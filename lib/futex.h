/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the futex system call and waiting on a word.  Holds no state.
 */
#ifndef WQI_FUTEX_H
#define WQI_FUTEX_H

#include <linux/futex.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <errno.h>

#include "atomic.h"

#define WQI_NO_TIMEOUT UINT64_MAX

static inline uint64_t wqi_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * Sleep while *word is @val, at most @timeout_ns (relative).  Returns for any
 * reason: a wake-up, a changed word (EAGAIN), a signal (EINTR), the time-out, or
 * none at all.  Callers loop on their own condition.  errno is kept.
 */
static inline void wqi_futex_wait(uint32_t *word, uint32_t val, uint64_t timeout_ns)
{
	struct timespec ts, *tsp = NULL;
	int saved = errno;

	if (timeout_ns != WQI_NO_TIMEOUT) {
		ts.tv_sec = (time_t)(timeout_ns / 1000000000u);
		ts.tv_nsec = (long)(timeout_ns % 1000000000u);
		tsp = &ts;
	}
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, val, tsp, NULL, 0);
	errno = saved;
}

/* The same, until @until_ns on CLOCK_MONOTONIC. */
static inline void wqi_futex_wait_until(uint32_t *word, uint32_t val, uint64_t until_ns)
{
	struct timespec ts, *tsp = NULL;
	int saved = errno;

	if (until_ns != WQI_NO_TIMEOUT) {
		ts.tv_sec = (time_t)(until_ns / 1000000000u);
		ts.tv_nsec = (long)(until_ns % 1000000000u);
		tsp = &ts;
	}
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, val, tsp, NULL, FUTEX_BITSET_MATCH_ANY);
	errno = saved;
}

/* Wake @nr sleepers.  The word may be gone already: a stray wake does no harm. */
static inline void wqi_futex_wake(uint32_t *word, int nr)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0);
	errno = saved;
}

/*
 * A word that is posted once: 0 not yet, 1 posted, 2 not yet and somebody sleeps.
 */
static inline void wqi_futex_post(uint32_t *word)
{
	/* Release.  The word may be gone after it. */
	if (wqi_xchg(word, 1) == 2)
		wqi_futex_wake(word, INT_MAX);
}

/* Will whoever posts the word have to wake somebody?  It may still become so, or end. */
static inline bool wqi_futex_is_slept_on(const uint32_t *word)
{
	return wqi_load_relaxed(word) == 2;
}

/* Sleep until *word is posted (acquire).  One waiter only. */
static inline void wqi_futex_wait_post(uint32_t *word)
{
	uint32_t none = 0;

	if (!wqi_cas(word, &none, 2))
		return;
	while (wqi_load_acquire(word) == 2)
		wqi_futex_wait(word, 2, WQI_NO_TIMEOUT);
}

#endif /* WQI_FUTEX_H */
