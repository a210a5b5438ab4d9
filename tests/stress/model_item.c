/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what the calls on an item mean: taking back, disabling, enabling, looking,
 * and the flushes, of a queue too.  The contract's table of them, G1, G6, G7.
 */
#include "model_state.h"

#include <errno.h>

/* --- taking back, disabling, enabling --- */

/*
 * The instant at which the item is taken back, or not.  Where the call that claimed
 * it may not have returned, the library holds it a moment longer.
 */
static void step_take(struct model_next *next, const struct model_state *s, unsigned t, bool ends)
{
	const struct model_call *c = model_call_of(s, t);
	struct model_state *to;
	unsigned lingers;

	if (c->ret != (s->pending != 0))
		return;
	for (lingers = 0; lingers < 2; lingers++) {
		if (lingers &&
		    (!s->pending || s->claimer == t || c->seen_done[s->claimer] > s->claim))
			return;
		to = model_next_add(next, s);
		to->pending = 0;
		to->may_start = 0;
		to->lingers |= (uint8_t)lingers;
		to->note[t] = s->accepted;
		to->phase[t] = 2;
		if (ends)
			model_call_end(next, to, t);
	}
}

void model_step_cancel(struct model_next *next, const struct model_state *s, unsigned t)
{
	step_take(next, s, t, true);
}

/* Nobody may queue it from the first step to the last. */
void model_step_cancel_sync(struct model_next *next, const struct model_state *s, unsigned t)
{
	struct model_state *to;

	switch (s->phase[t]) {
	case 0:
		to = model_next_add(next, s);
		to->raised++;
		to->phase[t] = 1;
		break;
	case 1:
		step_take(next, s, t, false);
		break;
	case 2:
		if (s->running || s->pending)
			break;
		to = model_next_add(next, s);
		to->raised--;
		to->lingers = 0;
		model_call_end(next, to, t);
	}
}

/* What is accepted after somebody has enabled it again is not waited for. */
void model_step_disable(struct model_next *next, const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);
	struct model_state *to;

	switch (s->phase[t]) {
	case 0:
		to = model_next_add(next, s);
		to->depth++;
		to->phase[t] = 1;
		break;
	case 1:
		step_take(next, s, t, c->kind == MODEL_DISABLE);
		break;
	case 2:
		if (s->running && s->instance <= s->note[t])
			break;
		to = model_next_add(next, s);
		if (!s->undone[t])
			to->lingers = 0;
		model_call_end(next, to, t);
	}
}

static struct model_state *enable_once(struct model_next *next, const struct model_state *s)
{
	struct model_state *to = model_next_add(next, s);
	unsigned t;

	to->depth--;
	for (t = 0; t < MODEL_THREADS; t++)
		if (s->phase[t] && model_call_of(s, t)->kind == MODEL_DISABLE_SYNC)
			to->undone[t] = 1;
	return to;
}

/*
 * While a cancel_sync goes on, the last enable may call the item enabled or not:
 * it can't be queued yet.
 */
void model_step_enable(struct model_next *next, const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);
	bool queues = c->kind == MODEL_ENABLE_QUEUE;
	struct model_state *to;

	if (s->phase[t]) {
		model_step_queue(next, s, t);
		return;
	}
	if (c->ret == -EINVAL) {
		if (!s->depth)
			model_call_end(next, model_next_add(next, s), t);
		return;
	}
	if (!s->depth)
		return;
	if (c->ret == 0 && (s->depth > 1 || s->raised)) {
		to = enable_once(next, s);
		model_call_end(next, to, t);
	}
	if (s->depth == 1 && (queues ? c->ret != 0 : c->ret == 1)) {
		to = enable_once(next, s);
		to->phase[t] = 1;
		if (!queues)
			model_call_end(next, to, t);
	}
}

/* The word of the item is read, then it is looked for where it says. */
void model_step_busy(struct model_next *next, const struct model_state *s, unsigned t)
{
	unsigned ret = (unsigned)model_call_of(s, t)->ret;
	struct model_state *to;

	if (s->phase[t] == 0) {
		if (!s->lingers && !(ret & MODEL_IS_PENDING) != !s->pending)
			return;
		if (!s->raised && !(ret & MODEL_IS_DISABLED) != !s->depth)
			return;
		to = model_next_add(next, s);
		to->phase[t] = 1;
		to->note[t] = s->running ? s->instance : 0;
		return;
	}
	/* It shows as running from a moment before it stops being pending. */
	if (ret & MODEL_IS_RUNNING ? !s->running && !s->pending
				   : s->running && s->instance == s->note[t])
		return;
	model_call_end(next, model_next_add(next, s), t);
}

/* --- flush --- */

void model_step_flush(struct model_next *next, const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);
	unsigned q = c->kind == MODEL_FLUSH ? 0 : c->queue;
	bool busy = s->pending || s->running;
	struct model_state *to;

	if (s->phase[t]) {
		if (!model_is_owed(s, q, s->note[t]))
			model_call_end(next, model_next_add(next, s), t);
		return;
	}
	if (c->kind == MODEL_FLUSH && !s->lingers && c->ret != busy)
		return;
	if (c->kind == MODEL_FLUSH ? c->ret < 0 || c->ret > 1 : c->ret != 0)
		return;
	to = model_next_add(next, s);
	to->note[t] = s->accepted;
	to->phase[t] = 1;
}
