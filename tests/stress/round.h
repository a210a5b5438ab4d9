/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A round of the matrix: a few threads, which live from round to round, make the
 * calls of a plan on one item and two queues at the same time.
 */
#ifndef TEST_STRESS_ROUND_H
#define TEST_STRESS_ROUND_H

#include "support.h"

#include "model.h"

/* A call to make.  In place of a queue: the one on which the item runs. */
enum { ROUND_CURRENT = MODEL_QUEUES };

struct round_call {
	uint8_t kind, queue;
	uint8_t run;	/* of a call from inside: in which run */
	uint8_t on_cpu; /* of a queueing: on that usable CPU, from 1; 0 on any */
	uint8_t spins;	/* before it */
};

struct round_calls {
	unsigned nr;
	struct round_call calls[8];
};

struct round_plan {
	struct wq *queues[MODEL_QUEUES];
	bool freezable, exclusive, apart, gate, hold; /* as in struct model_history */
	bool spread[MODEL_QUEUES];
	bool fresh;	    /* initialise the item again */
	bool waits_for_run; /* the set-up ends when the item runs */
	bool destroys[MODEL_QUEUES];
	/* Those of MODEL_MAIN are the set-up, those of MODEL_INSIDE go by `run`. */
	struct round_calls threads[MODEL_THREADS];
	/* The gate stays closed until the thread has made so many calls. */
	unsigned gate_needs[MODEL_THREADS];
	uint64_t seed;
};

void round_threads_start(void);
void round_threads_join(void);

/* What happened stays valid until the next round. */
const struct model_history *round_run(const struct round_plan *plan);

/* Violations that need no model: runs of the item at the same time, runs too many. */
unsigned long round_nr_wrong(void);

#endif /* TEST_STRESS_ROUND_H */
