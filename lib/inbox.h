/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the inbox: a stack that any thread pushes to without a lock and that the
 * holder of the pool's lock empties with one exchange.  No ABA (nobody pops one),
 * no pusher that stalls others.  Does not know pools or queues.
 */
#ifndef WQI_INBOX_H
#define WQI_INBOX_H

#include "item.h"
#include "testing.h"

struct wqi_inbox {
	struct cds_list_head *top; /* A, seq_cst: newest first, by link->next */
};

static inline bool wqi_inbox_is_empty(const struct wqi_inbox *inbox)
{
	return wqi_load_seq_cst(&inbox->top) == NULL;
}

/* Lock-free.  @work is claimed by the caller; after this it must not touch it. */
static inline void wqi_inbox_push(struct wqi_inbox *inbox, struct wq_work *work)
{
	struct cds_list_head *link = wqi_work_link(work);
	struct cds_list_head *top;

	wqi_prefetch_write(inbox);
	top = wqi_load_relaxed(&inbox->top);
	do {
		wqi_yield_point();
		link->next = top;
	} while (!wqi_cas(&inbox->top, &top, link)); /* ORD-SLEEP (a), first half */
}

/* All items, newest first, linked by ->next. */
static inline struct cds_list_head *wqi_inbox_take_all(struct wqi_inbox *inbox)
{
	return wqi_xchg(&inbox->top, NULL);
}

#endif /* WQI_INBOX_H */
