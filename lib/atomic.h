/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the spelling of atomic accesses: the memory order is part of the name.
 * Holds no policy.  Read-modify-writes are all sequentially consistent: on the
 * platforms that libwq runs on a weaker one costs the same or nearly so, and
 * ThreadSanitizer does not model stand-alone fences.
 */
#ifndef WQI_ATOMIC_H
#define WQI_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#define wqi_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define wqi_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define wqi_load_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)

#define wqi_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define wqi_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define wqi_store_seq_cst(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

#define wqi_xchg(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define wqi_add(p, v)  __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define wqi_sub(p, v)  __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST)
#define wqi_or(p, v)   __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define wqi_and(p, v)  __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)
/* On failure *old holds what was read, with acquire ordering. */
#define wqi_cas(p, old, v)                                                                         \
	__atomic_compare_exchange_n((p), (old), (v), false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)

#define wqi_likely(x)	__builtin_expect(!!(x), 1)
#define wqi_unlikely(x) __builtin_expect(!!(x), 0)

/* A function off the usual way: to keep the registers of that for itself. */
#define WQI_SLOW __attribute__((noinline, cold))

#define WQI_CACHE_LINE	  64
#define WQI_CACHE_ALIGNED __attribute__((aligned(WQI_CACHE_LINE)))

/* What the compiler must not move across; see the fence of lib/drain.c. */
#define wqi_compiler_barrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)

/* Add to a counter that only one thread at a time writes and others may read. */
#define wqi_count(p, n) wqi_store_relaxed((p), wqi_load_relaxed(p) + (n))

static inline void wqi_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/* Have the line of @p ours: who only reads it, and then writes, waits for other CPUs twice. */
static inline void wqi_prefetch_write(const void *p)
{
#if defined(__x86_64__)
	/* Of processors that do not know it, 64-bit ones pass over it. */
	__asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

#endif /* WQI_ATOMIC_H */
