/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the inbox: stacks that any thread pushes to without a lock and that the holder of
 * the pool's lock empties.  No ABA (nobody pops one), no pusher that stalls others.  Does
 * not know pools or queues.
 *
 * The line of a stack that several CPUs push to moves from one to the other for each item,
 * which takes longer than all else together.  So an inbox may have several slots, each with
 * a stack, and pushers take that of their CPU.  Items of one slot come out in the order of
 * pushing.  To merge the slots each item notes the time when it is pushed, as the sum of
 * two counters: one goes on with every few pushes (WQI_INBOX_RUN), the other whenever a
 * thread pushes from another CPU than before.  So items of one thread come out in its
 * order, and an item is passed by less than WQI_INBOX_RUN later ones, plus one for each
 * thread that stalls in a push.  What must keep the order of all goes to slot 0.
 */
#ifndef WQI_INBOX_H
#define WQI_INBOX_H

#include "item.h"
#include "testing.h"

#define WQI_INBOX_SLOTS 8u

/* Pushes to all slots that may note the same time. */
#define WQI_INBOX_RUN 128u

struct wqi_inbox_slot {
	struct cds_list_head *top; /* A, seq_cst: newest first, by link->next */
	unsigned nr_pushed;	   /* A, relaxed: about: two at once may count for one */
	char others_begin[WQI_CACHE_LINE - 2 * sizeof(void *)];
};

/* To be at the beginning of a cache line; its last one is hardly ever written. */
struct wqi_inbox {
	struct wqi_inbox_slot first;
	uint64_t time;		     /* A, seq_cst: goes on with the pushes */
	unsigned mask;		     /* I: slots less one, which is a power of two */
	struct wqi_inbox_slot *more; /* I: those after the first, or NULL */
};

_Static_assert(sizeof(struct wqi_inbox_slot) == WQI_CACHE_LINE, "a slot has a cache line");

/* What was taken from an inbox, by time: see wqi_inbox_next(). */
struct wqi_inbox_taken {
	struct cds_list_head *list[WQI_INBOX_SLOTS];
	unsigned nr_lists;
	unsigned nr;	 /* of them may have items */
	unsigned at;	 /* the list to go on with */
	uintptr_t until; /* as long as items there are not older than this */
};

extern uint64_t wqi_inbox_moves; /* A, seq_cst: threads that began to push from another CPU */

void wqi_inbox_note_move(unsigned cpu);

/* S: from where it pushed last. */
extern __thread unsigned wqi_inbox_cpu __attribute__((tls_model("initial-exec")));

/* 0, or -ENOMEM: @nr slots, as far as there may be so many. */
int wqi_inbox_init(struct wqi_inbox *inbox, unsigned nr);
void wqi_inbox_destroy(struct wqi_inbox *inbox);

/* In the child of a fork(): nothing is in it. */
void wqi_inbox_reset(struct wqi_inbox *inbox);

static inline struct wqi_inbox_slot *wqi_inbox_slot(struct wqi_inbox *inbox, unsigned nr)
{
	return nr ? &inbox->more[nr - 1] : &inbox->first;
}

static inline bool wqi_inbox_is_empty(struct wqi_inbox *inbox)
{
	unsigned i;

	for (i = 0; i <= inbox->mask; i++)
		if (wqi_load_seq_cst(&wqi_inbox_slot(inbox, i)->top))
			return false;
	return true;
}

/* How many are in it, as far as it matters: 0, 1, or more.  By the holder of the pool's lock. */
static inline unsigned wqi_inbox_count(struct wqi_inbox *inbox)
{
	struct cds_list_head *top;
	unsigned i, nr = 0;

	for (i = 0; i <= inbox->mask; i++) {
		top = wqi_load_acquire(&wqi_inbox_slot(inbox, i)->top);
		nr += top ? 1 + (top->next != NULL) : 0;
	}
	return nr;
}

/* As the link's `prev`, which is that of no list: see wqi_work_is_listed_locked(). */
static inline struct cds_list_head *wqi_inbox_now(const struct wqi_inbox *inbox)
{
	uint64_t now = wqi_load_seq_cst(&inbox->time) + wqi_load_seq_cst(&wqi_inbox_moves);

	return (struct cds_list_head *)((uintptr_t)now << 1 | 1);
}

static inline void wqi_inbox_push_to(struct wqi_inbox *inbox, unsigned nr, struct wq_work *work)
{
	struct wqi_inbox_slot *slot = wqi_inbox_slot(inbox, nr);
	struct cds_list_head *link = wqi_work_link(work);
	struct cds_list_head *top;
	unsigned nr_pushed;

	wqi_prefetch_write(slot);
	top = wqi_load_acquire(&slot->top);
	do {
		wqi_yield_point();
		/* ORD-INBOX (a): after the top was read, so times rise from item to item. */
		if (inbox->mask)
			wqi_store_relaxed(&link->prev, wqi_inbox_now(inbox));
		link->next = top;
		wqi_pause_point("inbox push");
	} while (!wqi_cas(&slot->top, &top, link)); /* ORD-SLEEP (a), first half */
	if (!inbox->mask)
		return;
	nr_pushed = wqi_load_relaxed(&slot->nr_pushed) + 1;
	wqi_store_relaxed(&slot->nr_pushed, nr_pushed);
	if (wqi_unlikely(!(nr_pushed * (inbox->mask + 1) % WQI_INBOX_RUN)))
		wqi_add(&inbox->time, 1);
}

/*
 * Lock-free.  @work is claimed by the caller; after this it must not touch it.  By the slot
 * of @cpu, a hint, where the caller is.
 */
static inline void wqi_inbox_push_from(struct wqi_inbox *inbox, unsigned cpu, struct wq_work *work)
{
	if (wqi_unlikely(wqi_inbox_cpu != cpu))
		wqi_inbox_note_move(cpu);
	wqi_inbox_push_to(inbox, cpu & inbox->mask, work);
}

/* The same, in the order of all that are pushed so. */
static inline void wqi_inbox_push(struct wqi_inbox *inbox, struct wq_work *work)
{
	wqi_inbox_push_to(inbox, 0, work);
}

/* Take all that has been pushed before the call.  By the holder of the pool's lock. */
void wqi_inbox_take(struct wqi_inbox *inbox, struct wqi_inbox_taken *taken);

struct cds_list_head *wqi_inbox_choose(struct wqi_inbox_taken *taken);

/*
 * An item may have read the top, stalled while that was taken, ran, and was pushed again,
 * and have noted an old time: then the one below it has the true one.
 */
static inline uintptr_t wqi_inbox_time(const struct cds_list_head *link)
{
	uintptr_t time = (uintptr_t)wqi_load_relaxed(&link->prev);
	uintptr_t older = link->next ? (uintptr_t)wqi_load_relaxed(&link->next->prev) : 0;

	return older > time ? older : time;
}

/* The newest item that is left, which the caller may link elsewhere; NULL: none. */
static inline struct cds_list_head *wqi_inbox_next(struct wqi_inbox_taken *taken)
{
	struct cds_list_head *link = taken->list[taken->at];

	if (taken->nr > 1 && (!link || wqi_inbox_time(link) < taken->until))
		link = wqi_inbox_choose(taken);
	if (link)
		taken->list[taken->at] = link->next;
	return link;
}

#endif /* WQI_INBOX_H */
