/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reference model: what the API means for one item and two queues, as a machine
 * that does one step at a time.  Given what a round of calls answered it decides
 * whether some order of the steps explains it.  Plain C: no threads, no library.
 */
#ifndef TEST_STRESS_MODEL_H
#define TEST_STRESS_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The two queues; 0 stands for none. */
enum { MODEL_HERE = 1, MODEL_ELSEWHERE = 2, MODEL_QUEUES = 3 };

/* Thread 0 sets up and clears up; the last is the item's own function. */
enum { MODEL_MAIN = 0, MODEL_INSIDE = 4, MODEL_THREADS = 5 };

enum { MODEL_CALLS = 48, MODEL_RUNS = 24 };

enum model_kind {
	MODEL_QUEUE,
	MODEL_CANCEL,
	MODEL_CANCEL_SYNC,
	MODEL_DISABLE,
	MODEL_DISABLE_SYNC,
	MODEL_ENABLE,
	MODEL_ENABLE_QUEUE,
	MODEL_BUSY,
	MODEL_FLUSH,
	MODEL_FLUSH_QUEUE,
	MODEL_DRAIN,
	MODEL_DESTROY,
	MODEL_PLUG,
	MODEL_UNPLUG,
	MODEL_FREEZE,
	MODEL_THAW,
	MODEL_FREEZE_BUSY,
	MODEL_SHUT,   /* 1: the queue was seen to drain or to be plugged; 0: perhaps not */
	MODEL_OPEN,   /* the gate item may end */
	MODEL_LET_GO, /* the item's first run may end */
	MODEL_NR_KINDS,
};

extern const char *const model_names[MODEL_NR_KINDS];

/* Bits of MODEL_BUSY's answer. */
enum { MODEL_IS_PENDING = 1, MODEL_IS_RUNNING = 2, MODEL_IS_DISABLED = 16 };

/*
 * A call and what its caller saw.  Before the call: how many calls of each thread
 * had returned, and how many runs had entered their function.  After it: how many
 * runs had left it, and whether the gate had.
 */
struct model_call {
	uint8_t kind, queue;
	uint8_t run; /* of a call from inside: the number of the run, from 1 */
	uint8_t seen_done[MODEL_THREADS];
	uint8_t seen_starts, seen_ends, seen_gate;
	int ret;
};

struct model_thread {
	unsigned nr;
	struct model_call calls[MODEL_CALLS];
};

struct model_history {
	bool freezable;		   /* MODEL_HERE is */
	bool exclusive;		   /* one item at a time on MODEL_HERE, the gate included */
	bool apart;		   /* the two queues never share a pool */
	bool spread[MODEL_QUEUES]; /* it has a pool for each CPU */
	bool gate;		   /* another item runs on MODEL_HERE until MODEL_OPEN */
	bool hold;		   /* the item's first run lasts until MODEL_LET_GO */
	unsigned nr_runs;
	uint8_t ran_on[MODEL_RUNS]; /* the queue of each; 0: not known */
	struct model_thread threads[MODEL_THREADS];
};

enum model_verdict { MODEL_NO, MODEL_YES, MODEL_TOO_LONG };

/*
 * Does some history of the model, which ends with the item idle, give exactly these
 * answers?  MODEL_TOO_LONG: not found among the first few million states.
 */
enum model_verdict model_check(const struct model_history *history);

/* States looked at by the last check. */
unsigned long model_nr_states(void);

void model_print(FILE *to, const struct model_history *history);

#endif /* TEST_STRESS_MODEL_H */
