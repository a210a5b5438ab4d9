/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of Zephyr's header share: an item that notes its runs and may wait for a gate
 * in each, and how it is brought into a state.
 */
#ifndef TEST_ZITEM_H
#define TEST_ZITEM_H

#include "process.h"

#include <wq/compat/zephyr.h>

#define R K_WORK_RUNNING
#define C K_WORK_CANCELING
#define Q K_WORK_QUEUED
#define D K_WORK_DELAYED

struct zitem {
	struct k_work_delayable dw;
	struct latch started, open, ended;
	unsigned long runs, passed; /* runs that have ended; times that the gate was opened */
	bool gated;
	struct k_work_q *ran_on;
	k_tid_t thread;
};

void zitem_init(struct zitem *item);
void zitem_init_gate(struct zitem *item); /* each run waits until it is let through */

/* Let one run through. */
void zitem_pass(struct zitem *item);

/* Run it on @queue until it waits at its gate, and keeps what comes behind waiting. */
void zitem_hold(struct k_work_q *queue, struct zitem *item);

static inline int zitem_busy(struct zitem *item)
{
	return k_work_delayable_busy_get(&item->dw);
}

/* Wait until it does just that. */
void zitem_wait_busy(struct zitem *item, int busy);

static inline uint32_t zqueue_flags(struct k_work_q *queue)
{
	return __atomic_load_n(&queue->flags, __ATOMIC_SEQ_CST);
}

void zqueue_wait_flags(struct k_work_q *queue, uint32_t flags);

/* Start it, with a name; aborts where that fails.  Drain, plug and stop it: 0. */
void zqueue_start(struct k_work_q *queue);
int zqueue_end(struct k_work_q *queue);

#endif /* TEST_ZITEM_H */
