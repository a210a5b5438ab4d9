/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the model share: a state, its successors, and what the calls'
 * steps are made of.
 */
#ifndef TEST_STRESS_MODEL_STATE_H
#define TEST_STRESS_MODEL_STATE_H

#include "model.h"

/* Bytes only, so that equal states compare equal; all zero is the beginning. */
struct model_state {
	/* Each thread: calls completed, step within the next one, what it noted. */
	uint8_t done[MODEL_THREADS], phase[MODEL_THREADS], note[MODEL_THREADS];
	uint8_t waits_for[MODEL_THREADS]; /* plug, drain: threads between look and claim */
	uint8_t undone[MODEL_THREADS];	  /* disable_sync: somebody has enabled meanwhile */

	uint8_t pending, running;	    /* the queue, or 0 */
	uint8_t accepted, instance, starts; /* `instance`: the acceptance that runs */
	uint8_t claimer, claim;		    /* whose which call the pending one is from */
	uint8_t may_start;		    /* pending, and active since before the freeze */
	uint8_t depth, raised;		    /* disabled; cancel_syncs that go on */
	uint8_t lingers;		    /* cancelled with its push still on the way */
	uint8_t plugged[MODEL_QUEUES], draining[MODEL_QUEUES];
	uint8_t frozen, gate, held;
};

enum { MODEL_WORKER = MODEL_THREADS, MODEL_STEPPERS, MODEL_MAX_NEXT = 8 };

struct model_next {
	unsigned nr;
	struct model_state to[MODEL_MAX_NEXT];
};

/* The history that is being looked at. */
extern struct model_now {
	const struct model_history *history;
	bool looks_matter; /* somebody plugs or drains a queue */
} model_now;

enum { MODEL_GATE_NONE, MODEL_GATE_CLOSED, MODEL_GATE_OPEN, MODEL_GATE_ENDED };

/* In place of the queue: claimed, and not settled yet where to. */
enum { MODEL_UNSETTLED = MODEL_QUEUES };

/* The call that @t is in, or makes next. */
const struct model_call *model_call_of(const struct model_state *s, unsigned t);

/* A copy of @s among the successors; model_call_end() may take the last one back. */
struct model_state *model_next_add(struct model_next *next, const struct model_state *s);

/* The call's last step, into @to; impossible if it returned before a run that has ended. */
void model_call_end(struct model_next *next, struct model_state *to, unsigned t);

/* -EBUSY */
bool model_is_inhibited(const struct model_state *s);

/* Is something going on that was accepted up to @ticket, on @q or anywhere (0)? */
bool model_is_owed(const struct model_state *s, unsigned q, unsigned ticket);

bool model_gate_occupies(const struct model_state *s);

typedef void (*model_step_fn)(struct model_next *next, const struct model_state *s, unsigned t);

void model_step_queue(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_cancel(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_cancel_sync(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_disable(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_enable(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_busy(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_flush(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_drain(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_plug(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_freeze(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_freeze_busy(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_shut(struct model_next *next, const struct model_state *s, unsigned t);
void model_step_open(struct model_next *next, const struct model_state *s, unsigned t);

/* The state in which @history begins; the steps are those of @history from here on. */
void model_begin(struct model_state *s, const struct model_history *history);

/* The states to which the next step of a thread, or of MODEL_WORKER, can lead. */
void model_step(struct model_next *next, const struct model_state *s, unsigned who);

/* All calls have returned, nothing pends or runs, and all runs are accounted for. */
bool model_is_final(const struct model_state *s);

#endif /* TEST_STRESS_MODEL_STATE_H */
