/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what the calls on a queue mean: queueing, drain and destroy, plug, freezing.
 * The contract's table of them, G1, G2, G8.
 */
#include "model_state.h"

#include <errno.h>

/* --- queueing --- */

/* What a call has looked at so far, one after the other; with LOOKED, a note of who takes it. */
enum { QUEUE_LOOKED = 4, QUEUE_SEEN_IDLE = 8, QUEUE_SEEN_SHUT = 16, QUEUE_CLAIMED = 32 };

/* -ESHUTDOWN: plugged is for everybody, draining for all but the queue's items. */
static bool refuses(const struct model_state *s, unsigned q, unsigned t)
{
	return s->plugged[q] || (s->draining[q] && !(t == MODEL_INSIDE && s->running == q));
}

/* Pending on @q, or to be settled by a step of its own. */
static void accept_on(struct model_next *next, const struct model_state *s, unsigned t, unsigned q)
{
	struct model_state *to = model_next_add(next, s);

	to->pending = (uint8_t)q;
	to->accepted++;
	to->claimer = (uint8_t)t;
	to->claim = s->done[t];
	to->may_start = 0;
	if (q == MODEL_UNSETTLED)
		to->phase[t] |= QUEUE_CLAIMED;
	else
		model_call_end(next, to, t);
}

/* Where it runs now; if that run has ended, or it was taken back, nobody minds. */
static void step_settle(struct model_next *next, const struct model_state *s, unsigned t)
{
	struct model_state *to = model_next_add(next, s);

	if (s->pending == MODEL_UNSETTLED && s->claimer == t && s->claim == s->done[t])
		to->pending = s->running ? s->running : model_call_of(s, t)->queue;
	model_call_end(next, to, t);
}

static void look(struct model_next *next, const struct model_state *s, unsigned t, unsigned q)
{
	struct model_state *to = model_next_add(next, s);

	to->phase[t] |= QUEUE_LOOKED;
	to->note[t] = (uint8_t)q;
}

/*
 * The queue where the item may be running in another pool than a queueing on @q
 * names (0: none), and in *@here whether it may as well be in the same.
 */
static unsigned runs_apart(const struct model_state *s, unsigned q, bool *here)
{
	const struct model_history *h = model_now.history;
	unsigned there = s->running != q || h->spread[q] ? s->running : 0;

	*here = !there || there == q || !h->apart;
	return there;
}

/*
 * The state of the queue is looked at, then the item is claimed: whoever looked
 * before a plug or a drain began may still be accepted, until that has waited for
 * it.  An item that runs in another pool stays with the queue where it runs, whose
 * state counts: not its draining, for the item is one of its own.  Where that run
 * ends between the claim and the push, it goes where it was queued to.
 */
static void step_accept(struct model_next *next, const struct model_state *s, unsigned t,
			unsigned q)
{
	bool looked = s->phase[t] & QUEUE_LOOKED, here;
	unsigned there;

	q = looked ? s->note[t] : q;
	there = runs_apart(s, q, &here);
	if (!looked) {
		if (model_now.looks_matter && !refuses(s, q, t) && (here || !s->plugged[there]))
			look(next, s, t, q);
		if (model_now.looks_matter && there && !s->plugged[there])
			look(next, s, t, there);
	}
	if (model_is_inhibited(s) || s->pending)
		return;
	if (here && (looked || !refuses(s, q, t)))
		accept_on(next, s, t, q);
	if (there && (looked || !s->plugged[there]))
		accept_on(next, s, t, there);
	if (there && there != q && q == model_call_of(s, t)->queue && (looked || !refuses(s, q, t)))
		accept_on(next, s, t, MODEL_UNSETTLED);
}

static void step_shutdown(struct model_next *next, const struct model_state *s, unsigned t,
			  unsigned q)
{
	bool here;
	unsigned there = runs_apart(s, q, &here);
	bool idle = s->phase[t] & QUEUE_SEEN_IDLE || (!model_is_inhibited(s) && !s->pending);
	bool shut = s->phase[t] & QUEUE_SEEN_SHUT || refuses(s, q, t);
	struct model_state *to;

	if (!idle)
		return;
	if (there ? s->plugged[there] || (shut && here) : shut)
		model_call_end(next, model_next_add(next, s), t);
	to = model_next_add(next, s);
	to->phase[t] |= shut ? QUEUE_SEEN_IDLE | QUEUE_SEEN_SHUT : QUEUE_SEEN_IDLE;
}

void model_step_queue(struct model_next *next, const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);
	bool possible = false;

	if (s->phase[t] & QUEUE_CLAIMED) {
		step_settle(next, s, t);
		return;
	}
	switch (c->ret) {
	case 1:
		step_accept(next, s, t, c->queue);
		possible = s->pending && c->kind == MODEL_ENABLE_QUEUE && !model_is_inhibited(s);
		break;
	case 0:
		possible = s->pending && !model_is_inhibited(s);
		break;
	case -EBUSY:
		possible = model_is_inhibited(s);
		break;
	case -ESHUTDOWN:
		step_shutdown(next, s, t, c->queue);
		break;
	}
	if (possible)
		model_call_end(next, model_next_add(next, s), t);
}

/* --- drain, plug, freeze --- */

/* Who looked before the queue was shut, and may have found that it takes the item. */
static uint8_t lookers(const struct model_state *s, unsigned q)
{
	uint8_t mask = 0;
	unsigned t;

	for (t = 0; t < MODEL_THREADS; t++)
		if (s->phase[t] & QUEUE_LOOKED && (s->note[t] == q || s->running == q))
			mask |= (uint8_t)(1u << t);
	return mask;
}

void model_step_drain(struct model_next *next, const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);
	unsigned q = c->queue;
	struct model_state *to;

	if (c->ret)
		return;
	if (!s->phase[t]) {
		to = model_next_add(next, s);
		to->draining[q]++;
		to->waits_for[t] = lookers(s, q);
		to->phase[t] = 1;
		return;
	}
	if (s->waits_for[t] || model_is_owed(s, q, s->accepted))
		return;
	to = model_next_add(next, s);
	if (c->kind == MODEL_DRAIN)
		to->draining[q]--;
	model_call_end(next, to, t);
}

void model_step_plug(struct model_next *next, const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);
	bool plugs = c->kind == MODEL_PLUG;
	struct model_state *to;

	if (s->phase[t]) {
		if (!s->waits_for[t])
			model_call_end(next, model_next_add(next, s), t);
		return;
	}
	if (c->ret != (s->plugged[c->queue] == plugs ? -EALREADY : 0))
		return;
	to = model_next_add(next, s);
	to->plugged[c->queue] = plugs;
	if (c->ret || !plugs) {
		model_call_end(next, to, t);
		return;
	}
	to->waits_for[t] = lookers(s, c->queue);
	to->phase[t] = 1;
}

/* What is pending may be active already, unless the queue has no room for it. */
void model_step_freeze(struct model_next *next, const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);
	bool freezes = c->kind == MODEL_FREEZE;
	bool full = model_now.history->exclusive &&
		    (model_gate_occupies(s) || s->running == MODEL_HERE);
	struct model_state *to;

	if (c->ret != (s->frozen == freezes ? -EALREADY : 0))
		return;
	to = model_next_add(next, s);
	if (freezes && !s->frozen)
		to->may_start = s->pending == MODEL_HERE && !full;
	to->frozen = freezes;
	model_call_end(next, to, t);
}

/* Counted CPU by CPU: exact only while the number can't but fall. */
void model_step_freeze_busy(struct model_next *next, const struct model_state *s, unsigned t)
{
	int ret = model_call_of(s, t)->ret, least = 0, most = 0;
	struct model_state *to;

	if (model_now.history->freezable) {
		least = s->frozen ? model_gate_occupies(s) + (s->running == MODEL_HERE) : 0;
		most = s->frozen ? least + s->may_start : 3;
	}
	if (ret < least || ret > most)
		return;
	to = model_next_add(next, s);
	if (s->frozen && ret == least)
		to->may_start = 0;
	model_call_end(next, to, t);
}

/* Who has seen that is not let in by a drain that began before. */
void model_step_shut(struct model_next *next, const struct model_state *s, unsigned t)
{
	const struct model_call *c = model_call_of(s, t);

	if (!c->ret || s->draining[c->queue] || s->plugged[c->queue])
		model_call_end(next, model_next_add(next, s), t);
}

void model_step_open(struct model_next *next, const struct model_state *s, unsigned t)
{
	struct model_state *to = model_next_add(next, s);

	if (model_call_of(s, t)->kind == MODEL_LET_GO)
		to->held = 0;
	else if (s->gate == MODEL_GATE_CLOSED)
		to->gate = MODEL_GATE_OPEN;
	model_call_end(next, to, t);
}
