/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/compat/zephyr_time.h
 * Zephyr's time-outs, priorities and stacks, as far as its work queues need them.
 *
 * Included by wq/compat/zephyr.h.  A tick is 1/CONFIG_SYS_CLOCK_TICKS_PER_SEC of a second,
 * 100 a second unless the program defines another number before; the library itself counts
 * nanoseconds.  Ticks are counted on CLOCK_MONOTONIC.
 */
#ifndef WQ_COMPAT_ZEPHYR_TIME_H
#define WQ_COMPAT_ZEPHYR_TIME_H

#include <pthread.h>

#include <wq/types.h>

#ifndef CONFIG_SYS_CLOCK_TICKS_PER_SEC
#define CONFIG_SYS_CLOCK_TICKS_PER_SEC 100
#endif

#ifndef CONFIG_NUM_COOP_PRIORITIES
#define CONFIG_NUM_COOP_PRIORITIES 16
#endif
#ifndef CONFIG_NUM_PREEMPT_PRIORITIES
#define CONFIG_NUM_PREEMPT_PRIORITIES 15
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef int64_t k_ticks_t;

/** A time-out: ticks from now, K_TICKS_FOREVER, or below that an absolute number of ticks. */
typedef struct {
	k_ticks_t ticks;
} k_timeout_t;

#define K_TICKS_FOREVER ((k_ticks_t)-1)

#ifdef __cplusplus
#define Z_TIMEOUT_TICKS(t) (k_timeout_t{(k_ticks_t)(t)})
#else
#define Z_TIMEOUT_TICKS(t) ((k_timeout_t){(k_ticks_t)(t)})
#endif

/* Private: @n parts of a second, @per of them a second, in ticks, rounded up. */
#define WQ_ZEPHYR_CEIL(n, per)                                                                     \
	((n) > 0 ? ((k_ticks_t)(n)*CONFIG_SYS_CLOCK_TICKS_PER_SEC + (per)-1) / (per) : (k_ticks_t)0)

#ifdef __cplusplus
static constexpr inline k_ticks_t wq_zephyr_ceil(int64_t n, int64_t per)
{
	return WQ_ZEPHYR_CEIL(n, per);
}
#define WQ_ZEPHYR_TICKS(n, per) wq_zephyr_ceil((n), (per))
#else
static inline k_ticks_t wq_zephyr_ceil(int64_t n, int64_t per)
{
	return WQ_ZEPHYR_CEIL(n, per);
}
/* A constant where @n is one, so that it may initialise a static object; evaluated once. */
#define WQ_ZEPHYR_TICKS(n, per)                                                                    \
	__builtin_choose_expr(__builtin_constant_p(n), WQ_ZEPHYR_CEIL(n, per),                     \
			      wq_zephyr_ceil((n), (per)))
#endif

#define K_NO_WAIT    Z_TIMEOUT_TICKS(0)
#define K_FOREVER    Z_TIMEOUT_TICKS(K_TICKS_FOREVER)
#define K_TICKS(t)   Z_TIMEOUT_TICKS(t)
#define K_USEC(t)    Z_TIMEOUT_TICKS(WQ_ZEPHYR_TICKS((t), INT64_C(1000000)))
#define K_MSEC(t)    Z_TIMEOUT_TICKS(WQ_ZEPHYR_TICKS((t), INT64_C(1000)))
#define K_SECONDS(s) K_MSEC((int64_t)(s)*1000)
#define K_MINUTES(m) K_SECONDS((int64_t)(m)*60)
#define K_HOURS(h)   K_MINUTES((int64_t)(h)*60)

/** At a time that k_uptime_ticks() will show. */
#define K_TIMEOUT_ABS_TICKS(t) Z_TIMEOUT_TICKS(K_TICKS_FOREVER - 1 - (k_ticks_t)(t))

#define K_TIMEOUT_EQ(a, b) ((a).ticks == (b).ticks)

/** A thread: of a work queue, what pthread_self() answers in its items. */
typedef pthread_t k_tid_t;

static inline k_tid_t k_current_get(void)
{
	return pthread_self();
}

#define K_PRIO_COOP(x)			  (-(CONFIG_NUM_COOP_PRIORITIES - (x)))
#define K_PRIO_PREEMPT(x)		  (x)
#define K_HIGHEST_THREAD_PRIO		  (-CONFIG_NUM_COOP_PRIORITIES)
#define K_LOWEST_THREAD_PRIO		  CONFIG_NUM_PREEMPT_PRIORITIES
#define K_HIGHEST_APPLICATION_THREAD_PRIO K_HIGHEST_THREAD_PRIO
#define K_LOWEST_APPLICATION_THREAD_PRIO  (K_LOWEST_THREAD_PRIO - 1)

/**
 * A stack: accepted, and not used; its size is a hint.  A queue's thread gets a stack of
 * the C library's, of at least that size.
 */
typedef struct {
	char wq_byte;
} k_thread_stack_t;

#define K_THREAD_STACK_DEFINE(sym, size)	   k_thread_stack_t sym[size]
#define K_THREAD_STACK_DECLARE(sym, size)	   extern k_thread_stack_t sym[size]
#define K_THREAD_STACK_ARRAY_DEFINE(sym, nr, size) k_thread_stack_t sym[nr][size]
#define K_THREAD_STACK_MEMBER(sym, size)	   k_thread_stack_t sym[size]
#define K_THREAD_STACK_SIZEOF(sym)		   sizeof(sym)
#define K_KERNEL_STACK_DEFINE(sym, size)	   K_THREAD_STACK_DEFINE(sym, size)
#define K_KERNEL_STACK_MEMBER(sym, size)	   K_THREAD_STACK_MEMBER(sym, size)
#define K_KERNEL_STACK_SIZEOF(sym)		   K_THREAD_STACK_SIZEOF(sym)

/**
 * wq_zephyr_now_ns - the present, on CLOCK_MONOTONIC, in nanoseconds
 *
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API uint64_t wq_zephyr_now_ns(void);

/* Private: between ticks and nanoseconds; for ever is UINT64_MAX. */
static inline uint64_t wq_zephyr_ticks_to_ns(uint64_t ticks)
{
	uint64_t seconds = ticks / CONFIG_SYS_CLOCK_TICKS_PER_SEC;
	uint64_t rest = ticks % CONFIG_SYS_CLOCK_TICKS_PER_SEC;

	if (seconds >= UINT64_MAX / 1000000000u)
		return UINT64_MAX;
	return seconds * 1000000000u + (rest * 1000000000u + CONFIG_SYS_CLOCK_TICKS_PER_SEC - 1) /
					       CONFIG_SYS_CLOCK_TICKS_PER_SEC;
}

static inline k_ticks_t wq_zephyr_ns_to_ticks(uint64_t ns, bool up)
{
	uint64_t rest = ns % 1000000000u * CONFIG_SYS_CLOCK_TICKS_PER_SEC;

	return (k_ticks_t)(ns / 1000000000u * CONFIG_SYS_CLOCK_TICKS_PER_SEC +
			   (rest + (up ? 999999999u : 0)) / 1000000000u);
}

static inline uint64_t wq_zephyr_delay_ns(k_timeout_t timeout)
{
	uint64_t at_ns, now_ns;

	if (timeout.ticks >= 0)
		return wq_zephyr_ticks_to_ns((uint64_t)timeout.ticks);
	if (timeout.ticks == K_TICKS_FOREVER)
		return UINT64_MAX;
	at_ns = wq_zephyr_ticks_to_ns((uint64_t)(K_TICKS_FOREVER - 1 - timeout.ticks));
	now_ns = wq_zephyr_now_ns();
	return at_ns > now_ns ? at_ns - now_ns : 0;
}

/** The present in ticks, and in milliseconds, since the machine was started. */
static inline int64_t k_uptime_ticks(void)
{
	return wq_zephyr_ns_to_ticks(wq_zephyr_now_ns(), false);
}

static inline int64_t k_uptime_get(void)
{
	return (int64_t)(wq_zephyr_now_ns() / 1000000u);
}

#ifdef __cplusplus
}
#endif

#endif /* WQ_COMPAT_ZEPHYR_TIME_H */
