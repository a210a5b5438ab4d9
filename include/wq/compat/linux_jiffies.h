/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/compat/linux_jiffies.h
 * Part of wq/compat/linux.h: time in jiffies.
 *
 * A jiffy is 1/HZ of a second.  Nothing ticks here, so HZ decides only how fine the delays
 * of a file are; a program may define it before.  The default of 1000 makes a jiffy a
 * millisecond, and msecs_to_jiffies() exact.
 */
#ifndef WQ_COMPAT_LINUX_JIFFIES_H
#define WQ_COMPAT_LINUX_JIFFIES_H

#include <limits.h>

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* <sys/param.h> says 100: define it for all files of a program alike. */
#ifndef HZ
#define HZ 1000
#endif
#if HZ < 1 || HZ > 1000000
#error "HZ must be from 1 to 1000000"
#endif

/** Nanoseconds of a jiffy, rounded up so that no delay is shorter than it says. */
#define WQ_LINUX_JIFFY_NS (UINT64_C(1000000000) / HZ + (UINT64_C(1000000000) % HZ != 0))

/** The longest time that msecs_to_jiffies() answers. */
#define MAX_JIFFY_OFFSET ((unsigned long)((LONG_MAX >> 1) - 1))

/** wq_linux_now_ns - CLOCK_MONOTONIC in nanoseconds; private.  AS-Safe. */
WQ_API uint64_t wq_linux_now_ns(void);

/** jiffies - the present, on CLOCK_MONOTONIC; an expression, not a variable */
#define jiffies ((unsigned long)(wq_linux_now_ns() / WQ_LINUX_JIFFY_NS))

/* For ever, where it is longer than 2^64 ns. */
static inline uint64_t wq_linux_delay_ns(unsigned long delay)
{
	uint64_t ns;

	return __builtin_mul_overflow((uint64_t)delay, WQ_LINUX_JIFFY_NS, &ns) ? UINT64_MAX : ns;
}

/* A negative number of milliseconds is for ever, as in Linux. */
static inline unsigned long msecs_to_jiffies(unsigned int m)
{
	if (m > INT_MAX)
		return MAX_JIFFY_OFFSET;
	return (unsigned long)(((uint64_t)m * HZ + 999) / 1000);
}

static inline unsigned long usecs_to_jiffies(unsigned int u)
{
	return (unsigned long)(((uint64_t)u * HZ + 999999) / 1000000);
}

static inline unsigned int jiffies_to_msecs(unsigned long j)
{
	return (unsigned int)((uint64_t)j * 1000 / HZ);
}

/** Is @a later than @b?  Right also where jiffies have wrapped around. */
#define time_after(a, b)     ((long)((unsigned long)(b) - (unsigned long)(a)) < 0)
#define time_after_eq(a, b)  ((long)((unsigned long)(a) - (unsigned long)(b)) >= 0)
#define time_before(a, b)    time_after(b, a)
#define time_before_eq(a, b) time_after_eq(b, a)

#ifdef __cplusplus
}
#endif

#endif /* WQ_COMPAT_LINUX_JIFFIES_H */
