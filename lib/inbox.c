/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the emptying of an inbox, and the merging of its slots. */
#include "inbox.h"

#include "mem.h"

uint64_t wqi_inbox_moves;
__thread unsigned wqi_inbox_cpu;

int wqi_inbox_init(struct wqi_inbox *inbox, unsigned nr)
{
	unsigned slots = 1;

	while (slots < nr && slots < WQI_INBOX_SLOTS)
		slots *= 2;
	if (slots > 1)
		inbox->more = wqi_zalloc((slots - 1) * sizeof(*inbox->more));
	if (slots > 1 && !inbox->more)
		return -ENOMEM;
	inbox->mask = slots - 1;
	return 0;
}

void wqi_inbox_destroy(struct wqi_inbox *inbox)
{
	if (inbox->more)
		wqi_free(inbox->more, inbox->mask * sizeof(*inbox->more));
}

void wqi_inbox_reset(struct wqi_inbox *inbox)
{
	unsigned i;

	for (i = 0; i <= inbox->mask; i++)
		wqi_store_relaxed(&wqi_inbox_slot(inbox, i)->top, (struct cds_list_head *)NULL);
}

/* ORD-INBOX (a): before the push from there.  A handler that comes between has the time go on
 * itself. */
WQI_SLOW void wqi_inbox_note_move(unsigned cpu)
{
	wqi_add(&wqi_inbox_moves, 1);
	wqi_compiler_barrier();
	wqi_inbox_cpu = cpu;
}

/* What has been pushed since it was taken, in front of that. */
static WQI_SLOW void inbox_take_again(struct wqi_inbox *inbox, struct wqi_inbox_taken *taken)
{
	struct cds_list_head *link;
	unsigned i;

	for (i = 0; i <= inbox->mask; i++) {
		struct wqi_inbox_slot *slot = wqi_inbox_slot(inbox, i);
		struct cds_list_head *older = taken->list[i];

		if (!wqi_load_seq_cst(&slot->top))
			continue;
		taken->list[i] = link = wqi_xchg(&slot->top, NULL);
		while (link->next)
			link = link->next;
		link->next = older;
		/* It may have stalled since before those were pushed: see wqi_inbox_time(). */
		if (older && wqi_inbox_time(link) > (uintptr_t)link->prev)
			wqi_store_relaxed(&link->prev, older->prev);
		wqi_pause_point("inbox slot taken");
	}
}

static inline void inbox_take_slot(struct wqi_inbox *inbox, struct wqi_inbox_taken *taken,
				   unsigned nr)
{
	struct wqi_inbox_slot *slot = wqi_inbox_slot(inbox, nr);

	taken->list[nr] = NULL;
	if (wqi_load_seq_cst(&slot->top)) {
		taken->list[nr] = wqi_xchg(&slot->top, NULL);
		taken->at = nr;
		taken->nr++;
	}
	wqi_pause_point("inbox slot taken");
}

/*
 * ORD-INBOX (b): if the time has gone on between the first slot and the last, what was pushed to
 * the first since may be older than what was taken from the last: it is looked once more.
 */
void wqi_inbox_take(struct wqi_inbox *inbox, struct wqi_inbox_taken *taken)
{
	struct cds_list_head *now;
	unsigned i;

	taken->at = taken->nr = 0;
	if (!inbox->mask) {
		inbox_take_slot(inbox, taken, 0);
		return;
	}
	now = wqi_inbox_now(inbox);
	for (i = 0; i <= inbox->mask; i++)
		inbox_take_slot(inbox, taken, i);
	taken->nr_lists = i;
	while (wqi_unlikely(wqi_inbox_now(inbox) != now)) {
		now = wqi_inbox_now(inbox);
		inbox_take_again(inbox, taken);
		taken->nr = i;
	}
	if (taken->nr > 1)
		wqi_inbox_choose(taken);
}

/* The list with the newest item; that of the next list is when to choose again. */
struct cds_list_head *wqi_inbox_choose(struct wqi_inbox_taken *taken)
{
	uintptr_t newest = 0, time;
	unsigned i;

	taken->nr = 0;
	taken->until = 0;
	for (i = 0; i < taken->nr_lists; i++) {
		if (!taken->list[i])
			continue;
		taken->nr++;
		time = wqi_inbox_time(taken->list[i]);
		if (time > newest) {
			taken->until = newest;
			newest = time;
			taken->at = i;
		} else if (time > taken->until) {
			taken->until = time;
		}
	}
	return taken->list[taken->at];
}
