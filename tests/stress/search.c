/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the search for an order of the model's steps that explains a round: depth
 * first, no state twice.  And how a round is printed.
 */
#include "model_state.h"

#include <stdlib.h>
#include <string.h>

enum { NR_SLOTS = 1 << 20, MAX_STATES = NR_SLOTS / 2 };

static struct search {
	unsigned long nr_states;
	uint32_t round; /* slots of other rounds are free */
	struct slot {
		uint32_t round;
		struct model_state state;
	} * slots;
} search;

/* True the first time in this search. */
static bool search_is_new(const struct model_state *s)
{
	const uint8_t *bytes = (const uint8_t *)s;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	struct slot *slot;
	size_t i;

	for (i = 0; i < sizeof(*s); i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	for (i = hash ^ hash >> 32;; i++) {
		slot = &search.slots[i % NR_SLOTS];
		if (slot->round != search.round)
			break;
		if (!memcmp(&slot->state, s, sizeof(*s)))
			return false;
	}
	slot->round = search.round;
	slot->state = *s;
	search.nr_states++;
	return true;
}

static bool search_from(const struct model_state *s)
{
	struct model_next next;
	unsigned who, i;

	if (model_is_final(s))
		return true;
	for (who = 0; who < MODEL_STEPPERS; who++) {
		model_step(&next, s, who);
		for (i = 0; i < next.nr; i++)
			if (search.nr_states < MAX_STATES && search_is_new(&next.to[i]) &&
			    search_from(&next.to[i]))
				return true;
	}
	return false;
}

enum model_verdict model_check(const struct model_history *history)
{
	struct model_state first;

	if (!search.slots)
		search.slots = calloc(NR_SLOTS, sizeof(*search.slots));
	search.nr_states = 0;
	search.round++;
	model_begin(&first, history);
	if (search_from(&first))
		return MODEL_YES;
	return search.nr_states < MAX_STATES ? MODEL_NO : MODEL_TOO_LONG;
}

unsigned long model_nr_states(void)
{
	return search.nr_states;
}

const char *const model_names[MODEL_NR_KINDS] = {
	"queue",  "cancel",	      "cancel_sync", "disable",	   "disable_sync",
	"enable", "enable_and_queue", "busy",	     "flush item", "flush queue",
	"drain",  "destroy",	      "plug",	     "unplug",	   "freeze",
	"thaw",	  "freeze_busy",      "shut?",	     "open",	   "let go",
};

static void print_call(FILE *to, const struct model_call *c)
{
	static const char *const queues[MODEL_QUEUES] = {"", " here", " elsewhere"};
	unsigned u;

	fprintf(to, "    %s%s", model_names[c->kind], queues[c->queue]);
	if (c->run)
		fprintf(to, " (run %u)", c->run);
	fprintf(to, " = %d", c->ret);
	fprintf(to, "\t[before: started %u, done", c->seen_starts);
	for (u = 0; u < MODEL_THREADS; u++)
		fprintf(to, " %u", c->seen_done[u]);
	fprintf(to, "; after: ended %u%s]\n", c->seen_ends, c->seen_gate ? ", gate" : "");
}

void model_print(FILE *to, const struct model_history *history)
{
	static const char *const threads[MODEL_THREADS] = {"main", "1", "2", "3", "inside"};
	unsigned t, i;

	fprintf(to, "  here:%s%s%s%s%s; %u runs, on", history->freezable ? " freezable" : "",
		history->exclusive ? " exclusive" : "", history->apart ? " apart" : "",
		history->gate ? " gate" : "", history->hold ? " held" : "", history->nr_runs);
	for (i = 0; i < history->nr_runs; i++)
		fprintf(to, " %u", history->ran_on[i]);
	fprintf(to, "\n");
	for (t = 0; t < MODEL_THREADS; t++) {
		if (!history->threads[t].nr)
			continue;
		fprintf(to, "  thread %s:\n", threads[t]);
		for (i = 0; i < history->threads[t].nr; i++)
			print_call(to, &history->threads[t].calls[i]);
	}
}
