/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the machine of the model: when a call may begin and end, and what the worker
 * does between.  What the calls mean is in model_item.c and model_queue.c; does not
 * search (search.c does).
 *
 * A call is one step where the contract lets nobody tell the difference, else
 * several.  Waits have a last step that is possible only when what they wait for
 * has come.  Between calls the worker takes steps of its own.
 */
#include "model_state.h"

#include <string.h>

struct model_now model_now;

struct model_state *model_next_add(struct model_next *next, const struct model_state *s)
{
	next->to[next->nr] = *s;
	return &next->to[next->nr++];
}

/* Ends are counted by what has started. */
static unsigned state_ends(const struct model_state *s)
{
	return s->starts - (s->running != 0);
}

const struct model_call *model_call_of(const struct model_state *s, unsigned t)
{
	return &model_now.history->threads[t].calls[s->done[t]];
}

/* What the caller had seen before has happened. */
static bool call_may_begin(const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);
	unsigned u;

	for (u = 0; u < MODEL_THREADS; u++)
		if (u != t && s->done[u] < c->seen_done[u])
			return false;
	if (t == MODEL_INSIDE && (!s->running || s->starts != c->run))
		return false;
	return s->starts >= c->seen_starts;
}

/* Nobody waits for this thread's claim any more. */
static void claim_is_over(struct model_state *s, unsigned t)
{
	unsigned u;

	for (u = 0; u < MODEL_THREADS; u++)
		s->waits_for[u] &= (uint8_t) ~(1u << t);
}

void model_call_end(struct model_next *next, struct model_state *to, unsigned t)
{
	const struct model_call *c = model_call_of(to, t);

	if (state_ends(to) > c->seen_ends || (to->gate == MODEL_GATE_ENDED && !c->seen_gate)) {
		next->nr--;
		return;
	}
	claim_is_over(to, t);
	to->done[t]++;
	to->phase[t] = 0;
	to->note[t] = 0;
	to->waits_for[t] = 0;
	to->undone[t] = 0;
}

bool model_is_inhibited(const struct model_state *s)
{
	return s->depth || s->raised || s->lingers;
}

bool model_gate_occupies(const struct model_state *s)
{
	return s->gate == MODEL_GATE_CLOSED || s->gate == MODEL_GATE_OPEN;
}

/* An unsettled one may still come to be where it runs, or where it was queued to. */
static bool pends_on(const struct model_state *s, unsigned q)
{
	if (s->pending != MODEL_UNSETTLED)
		return s->pending == q;
	return s->running == q || model_now.history->threads[s->claimer].calls[s->claim].queue == q;
}

bool model_is_owed(const struct model_state *s, unsigned q, unsigned ticket)
{
	if (s->pending && (!q || pends_on(s, q)) && s->accepted <= ticket)
		return true;
	if (s->running && (!q || s->running == q) && s->instance <= ticket)
		return true;
	return q == MODEL_HERE && (s->gate == MODEL_GATE_CLOSED || s->gate == MODEL_GATE_OPEN);
}

/* --- the steps --- */

static const model_step_fn step_call[MODEL_NR_KINDS] = {
	[MODEL_QUEUE] = model_step_queue,
	[MODEL_CANCEL] = model_step_cancel,
	[MODEL_CANCEL_SYNC] = model_step_cancel_sync,
	[MODEL_DISABLE] = model_step_disable,
	[MODEL_DISABLE_SYNC] = model_step_disable,
	[MODEL_ENABLE] = model_step_enable,
	[MODEL_ENABLE_QUEUE] = model_step_enable,
	[MODEL_BUSY] = model_step_busy,
	[MODEL_FLUSH] = model_step_flush,
	[MODEL_FLUSH_QUEUE] = model_step_flush,
	[MODEL_DRAIN] = model_step_drain,
	[MODEL_DESTROY] = model_step_drain,
	[MODEL_PLUG] = model_step_plug,
	[MODEL_UNPLUG] = model_step_plug,
	[MODEL_FREEZE] = model_step_freeze,
	[MODEL_THAW] = model_step_freeze,
	[MODEL_FREEZE_BUSY] = model_step_freeze_busy,
	[MODEL_SHUT] = model_step_shut,
	[MODEL_OPEN] = model_step_open,
	[MODEL_LET_GO] = model_step_open,
};

static bool worker_may_start(const struct model_state *s)
{
	const struct model_history *h = model_now.history;

	if (!s->pending || s->pending == MODEL_UNSETTLED || s->running || s->starts == h->nr_runs)
		return false;
	if (h->ran_on[s->starts] && h->ran_on[s->starts] != s->pending)
		return false;
	if (s->pending == MODEL_ELSEWHERE)
		return true;
	if (h->exclusive && model_gate_occupies(s))
		return false;
	return !(h->freezable && s->frozen) || s->may_start;
}

static bool worker_may_finish(const struct model_state *s)
{
	const struct model_thread *inside = &model_now.history->threads[MODEL_INSIDE];
	unsigned done = s->done[MODEL_INSIDE];

	if (!s->running || (s->held && s->starts == 1))
		return false;
	return done == inside->nr || inside->calls[done].run != s->starts;
}

static void step_worker(struct model_next *next, const struct model_state *s)
{
	struct model_state *to;

	if (worker_may_finish(s)) {
		to = model_next_add(next, s);
		to->running = 0;
		to->instance = 0;
	}
	if (worker_may_start(s)) {
		to = model_next_add(next, s);
		to->running = s->pending;
		to->instance = s->accepted;
		to->starts++;
		to->pending = 0;
		to->may_start = 0;
	}
	if (s->gate == MODEL_GATE_OPEN)
		model_next_add(next, s)->gate = MODEL_GATE_ENDED;
	if (s->lingers)
		model_next_add(next, s)->lingers = 0;
}

bool model_is_final(const struct model_state *s)
{
	unsigned t;

	for (t = 0; t < MODEL_THREADS; t++)
		if (s->done[t] != model_now.history->threads[t].nr)
			return false;
	return !s->pending && !s->running && s->starts == model_now.history->nr_runs;
}

void model_step(struct model_next *next, const struct model_state *s, unsigned who)
{
	next->nr = 0;
	if (who == MODEL_WORKER)
		step_worker(next, s);
	else if (s->done[who] < model_now.history->threads[who].nr &&
		 (s->phase[who] || call_may_begin(s, who)))
		step_call[model_call_of(s, who)->kind](next, s, who);
}

void model_begin(struct model_state *s, const struct model_history *history)
{
	const struct model_call *c;
	unsigned t, i;

	memset(&model_now, 0, sizeof(model_now));
	model_now.history = history;
	for (t = 0; t < MODEL_THREADS; t++)
		for (i = 0; i < history->threads[t].nr; i++) {
			c = &history->threads[t].calls[i];
			if (c->kind == MODEL_PLUG || c->kind == MODEL_DRAIN ||
			    c->kind == MODEL_DESTROY)
				model_now.looks_matter = true;
		}
	memset(s, 0, sizeof(*s));
	s->gate = history->gate ? MODEL_GATE_CLOSED : MODEL_GATE_NONE;
	s->held = history->hold;
}
