/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the test programs share: latches instead of sleeping, threads, scaling and
 * random numbers.  Asserts nothing on other threads than the main one.
 */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include <wq/wq.h>

#define ARRAY_SIZE(a)			(sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define count_up(p)	__atomic_add_fetch((p), 1, __ATOMIC_SEQ_CST)
#define count_add(p, n) __atomic_add_fetch((p), (n), __ATOMIC_SEQ_CST)
#define count_get(p)	__atomic_load_n((p), __ATOMIC_SEQ_CST)
#define count_set(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

/* A counter to wait on. */
struct latch {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned long count;
};

#define LATCH_INIT                                                                                 \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                             \
	}

void latch_init(struct latch *latch);
void latch_post(struct latch *latch);
/* Wait until the latch was posted @count times in all. */
void latch_wait(struct latch *latch, unsigned long count);
void latch_reset(struct latch *latch);
unsigned long latch_count(struct latch *latch);

/* @n, less under slow checkers: WQ_TEST_SCALE is a percentage. */
unsigned long scaled(unsigned long n);

/* WQ_TEST_SEED, or one from the clock; printed once. */
uint64_t test_seed(void);
uint64_t random_next(uint64_t *state);

/* Run @fn(@ctx, index) on @nr threads and join them. */
void run_threads(unsigned nr, void (*fn)(void *ctx, unsigned index), void *ctx);

/* An item that posts a latch, and one that also waits for another to be opened. */
struct probe {
	struct wq_work work;
	struct latch started, open, ended;
	unsigned long runs;
};

void probe_init(struct probe *probe);	   /* posts started, ended */
void probe_init_gate(struct probe *probe); /* posts started, waits for open, posts ended */

int usable_cpu(unsigned index); /* the index-th CPU of the process, or -1 */

#endif /* TEST_SUPPORT_H */
