/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the link between a queue and a pool: how many of the queue's items are
 * active there, which must wait, and how many of each colour are in flight.
 *
 * A zeroed pwq is valid (a per-CPU queue has one for each CPU, most untouched):
 * wqi_pwq_prepare() makes it fit for producers, the first splice for the rest.
 */
#ifndef WQI_PWQ_H
#define WQI_PWQ_H

#include "ids.h"
#include "item.h"
#include "pool.h"
#include "share.h"

struct wqi_table;

/* In flush_mask: its table has been replaced; who empties it asks the manager to look. */
#define WQI_PWQ_RETIRED (1u << 16)

struct wqi_pwq {
	/* What producers read. */
	struct wqi_pool *pool;	 /* A, release: NULL until prepared, then constant */
	struct wq *wq;		 /* A, relaxed; constant once pool is set */
	uint32_t id;		 /* A, relaxed; constant once pool is set */
	uint32_t work_color;	 /* L+: what new items get */
	struct wqi_share *share; /* A, relaxed; constant once pool is set: of max_active */
	struct wqi_table *table; /* A, relaxed; constant once pool is set: whose it is */
	bool in_order;		 /* A, relaxed; constant once pool is set: all in that of pushing */

	/* What the pool's workers write. */
	struct cds_list_head inactive WQI_CACHE_ALIGNED; /* L: items past max_active */
	bool ready;					 /* L: inactive and work_color are set */
	bool shared;					 /* L: it counts in its share */
	unsigned nr_active;				 /* L: items started, or in ready_list */
	struct cds_list_head *next; /* L: see wqi_pwq_finish_locked(); or NULL */
	uint32_t flush_mask;	    /* L: colours that a flusher waits for; WQI_PWQ_RETIRED */
	bool held;		    /* L+: of an ordered queue: an older table is not empty */
	uint32_t mayday;	    /* A, seq_cst: the rescuer is to come */
	uint64_t nr_accepted;	    /* L: items ever spliced */
	uint64_t nr_completed;	    /* L: runs that have ended */
	uint64_t cpu_ns;	    /* L: what they cost */
	uint32_t nr_in_flight[WQI_NR_COLORS]; /* L: accepted and not finished */
	uint64_t nr_intensive;		      /* L: runs found computing for long */
	uint64_t nr_cm_wakeup;		      /* L: others were let in beside a blocked run */
	uint64_t nr_mayday;		      /* L */
	uint64_t nr_rescued;		      /* L */
	uint64_t nr_reclaim_waits;	      /* L */
	uint64_t nr_bh_blocks;		      /* L */
	uint32_t turn;			      /* A, relaxed: enum wqi_turn, by the rules there */
	struct wq_work message; /* by turn: in its share's line, or in its pool's inbox */
};

/* Inboxes have items, and such messages, which never were initialised as items. */
static inline struct wqi_pwq *wqi_message_pwq(struct wq_work *message)
{
	return caa_container_of(message, struct wqi_pwq, message);
}

/*
 * The pwq that an item's state names, and its pool, inside a read-side section.
 * NULL: the queue is gone, or its number stands for a pwq of another queue that
 * nothing was ever queued on; either way the item is not in it.
 */
static inline struct wqi_pwq *wqi_pwq_of_state(uint64_t state, struct wqi_pool **pool)
{
	struct wqi_pwq *pwq = wqi_ids_get(wqi_state_id(state));

	*pool = pwq ? wqi_load_acquire(&pwq->pool) : NULL;
	return *pool ? pwq : NULL;
}

/* A prepared one's; several threads may be storing what is there already. */
static inline struct wqi_pool *wqi_pwq_pool(const struct wqi_pwq *pwq)
{
	return wqi_load_relaxed(&pwq->pool);
}

static inline struct wq *wqi_pwq_wq(const struct wqi_pwq *pwq)
{
	return wqi_load_relaxed(&pwq->wq);
}

static inline struct wqi_share *wqi_pwq_share(const struct wqi_pwq *pwq)
{
	return wqi_load_relaxed(&pwq->share);
}

/* What a claim for this pwq puts into the state word. */
static inline uint64_t wqi_pwq_in_state(const struct wqi_pwq *pwq)
{
	return (uint64_t)wqi_load_relaxed(&pwq->id) << WQI_ID_SHIFT |
	       (uint64_t)wqi_load_relaxed(&pwq->work_color) << WQI_COLOR_SHIFT;
}

/* Fill in a zeroed pwq, but its share and table.  Any number of threads at once; AS-safe. */
void wqi_pwq_prepare(struct wqi_pwq *pwq, struct wq *wq, uint32_t id, struct wqi_pool *pool);

/* Count a spliced item in; mends its colour.  @state is its state word. */
void wqi_pwq_accept_locked(struct wqi_pwq *pwq, struct wq_work *work, uint64_t state);

/*
 * Count in an item that queued itself while it ran on this pwq, with the colour
 * that it claimed: a flush that came between claim and now has to wait for it.
 */
void wqi_pwq_accept_requeued_locked(struct wqi_pwq *pwq, uint64_t state);

bool wqi_pwq_start_slow_locked(struct wqi_pwq *pwq, struct cds_list_head *link);

/*
 * Count an item of the worklist, that is to start, as active.  False: it was put into
 * `inactive`, and has to wait.  ORD-LIMIT (a)
 */
static inline bool wqi_pwq_start_locked(struct wqi_pwq *pwq, struct cds_list_head *link)
{
	if (wqi_unlikely(pwq->held || pwq->shared || pwq->next || !cds_list_empty(&pwq->inactive) ||
			 pwq->nr_active >= wqi_load_seq_cst(&wqi_pwq_share(pwq)->max)))
		return wqi_pwq_start_slow_locked(pwq, link);
	pwq->nr_active++;
	return true;
}

/* Let items that wait for room go to the pool's ready list. */
void wqi_pwq_activate_locked(struct wqi_pwq *pwq);

/*
 * An item is done with: it ran, or was cancelled.  @active: it held a nr_active.
 *
 * Of one whose max_active is 1 the first that waits goes back to the front of the worklist,
 * as `next`: what was accepted after it stays behind it there, and nothing needs to be
 * written into it, as for one that holds a place.
 */
void wqi_pwq_finish_locked(struct wqi_pwq *pwq, unsigned color, bool active);

/* An item was taken off its list, other than to start: if it was `next`, another is. */
void wqi_pwq_left_locked(struct wqi_pwq *pwq, const struct cds_list_head *link);

/* Its message has come.  Returns how many items went to the pool's ready list. */
unsigned wqi_pwq_told_locked(struct wqi_pwq *pwq);

/* It is not the only one of its share any more; or it is again. */
void wqi_pwq_join_locked(struct wqi_pwq *pwq);
void wqi_pwq_part_locked(struct wqi_pwq *pwq);

/* Fill in what the first holder of the lock has to. */
void wqi_pwq_ready_locked(struct wqi_pwq *pwq);

/* Do items wait for others of the queue to end? */
bool wqi_pwq_is_congested_locked(const struct wqi_pwq *pwq);

/* Its table has been replaced. */
void wqi_pwq_retire_locked(struct wqi_pwq *pwq);

/* In the child of a fork(): nothing is in it. */
void wqi_pwq_reset(struct wqi_pwq *pwq);

/* Nothing is in it, and no message on its way to it. */
bool wqi_pwq_is_idle_locked(const struct wqi_pwq *pwq);

#endif /* WQI_PWQ_H */
