/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of delayed items share: an item that notes its run, and how to know
 * that the clock thread has passed a time.
 */
#ifndef TEST_SHOT_H
#define TEST_SHOT_H

#include "process.h"

#define MS   UINT64_C(1000000)
#define HOUR (3600 * 1000 * MS)
#define TICK UINT64_C(8192)

/* The time that arming goes by may be so much after the clock's: see wq/delayed.h. */
#define READING UINT64_C(2000)

struct shot {
	struct wq_delayed_work dw;
	struct latch started, open, ended;
	unsigned long runs;
	uint64_t ran_ns; /* CLOCK_MONOTONIC, when the last run began */
	struct wq *wq;	 /* on which queue and CPU */
	int cpu;
};

uint64_t now_ns(void);

void shot_init(struct shot *shot);
void shot_init_gate(struct shot *shot); /* each run waits until `open` was posted that often */

/* Wait until so many runs have ended, and none is going on. */
void shot_wait(struct shot *shot, unsigned long runs);

/* It waits for its time, and for nothing else. */
void shot_is_armed(struct shot *shot);
void shot_is_idle(struct shot *shot, unsigned long runs);

/* A running item, which keeps what comes behind it on an ordered queue pending. */
void gate_begin(struct wq *wq, struct probe *gate);
void gate_end(struct probe *gate);

/*
 * Wait until the clock thread has done what was due at @ns.  By two markers on @wq, due
 * later, one after the other: while the first runs, that round of the clock's may go on.
 */
void clock_passes(struct wq *wq, uint64_t ns);

/* Arm @shot on @wq, which holds it up, and let its time come.  @free takes items. */
void shot_park(struct wq *wq, struct shot *shot, struct wq *free);
void shot_is_parked(struct shot *shot);

/* A call on a queue that waits, on a thread of its own. */
struct waiting {
	struct wq *wq;
	int (*call)(struct wq *wq);
	pthread_t thread;
	int ret;
};

/* Begin it, and wait until strangers are refused.  A running item must hold it up. */
void waiting_begin(struct waiting *w, struct wq *wq, int (*call)(struct wq *wq));
void waiting_end(struct waiting *w);

#endif /* TEST_SHOT_H */
