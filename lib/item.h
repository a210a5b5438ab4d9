/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the layout of an item's state word and of its link.  Makes no decisions.
 *
 *   bits 0-7    flags
 *   bits 8-11   colour (flush of a queue); meaningful while PENDING
 *   bits 12-27  disable depth
 *   bits 28-35  fork generation: see fork.h
 *   bits 36-39  callers that are in wq_work_cancel_sync()
 *   bits 40-43  timer shard that the item is armed in; meaningful while ARMED or MOVING
 *   bits 44-63  id of the pwq that the item is on, or was on last; 0 for none
 *
 * A word of another generation is an idle item's, of which only INIT and the
 * disable depth mean something; the next claim makes it one of this generation.
 *
 * Every transition is a read-modify-write.  Who may change what:
 *   idle -> PENDING            any thread, by compare-and-swap (the claim)
 *   TRANSIT, id while TRANSIT  the claimer
 *   PENDING -> idle            the holder of the lock of the pool whose list the
 *                              item is on; the claimer while TRANSIT
 *   CANCEL set                 any thread while PENDING
 *   LINKED, COUNTED, colour    the holder of that pool's lock
 *   depth, cancellers          any thread
 * and of items that are part of a delayed, rcu or trigger item (timer.h):
 *   idle -> ARMED              the holder of the shard's lock
 *   idle -> ARMED and MOVING   any thread, who then brings it to the shard's inbox
 *   ARMED -> MOVING alone      any thread: cancelled, and somebody still holds it
 *   MOVING cleared             who holds it: the shard's lock, or its last claim
 *   ARMED -> PENDING, or idle  the holder of the shard's lock
 */
#ifndef WQI_ITEM_H
#define WQI_ITEM_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include <wq/work.h>

#include "atomic.h"
#include "fork.h"

#define WQI_INIT    WQ_WORK_STATE_INIT /* was initialised */
#define WQI_PENDING (UINT64_C(1) << 1) /* claimed, and not started or cancelled */
#define WQI_TRANSIT                                                                                \
	(UINT64_C(1) << 2)	       /* claimed, the pwq not chosen yet; the id is the last one  \
					*/
#define WQI_CANCEL  (UINT64_C(1) << 3) /* claimed, and not to be run */
#define WQI_LINKED  (UINT64_C(1) << 4) /* somebody flushes the item: look at pool->waiters */
#define WQI_COUNTED (UINT64_C(1) << 5) /* holds one of its pwq's nr_active already */
#define WQI_ARMED   (UINT64_C(1) << 6) /* waits for its time, an event or a grace period */
#define WQI_MOVING  (UINT64_C(1) << 7) /* on its way into a timer shard, or out of it */

#define WQI_COLOR_SHIFT 8
#define WQI_NR_COLORS	16u
#define WQI_COLOR_MASK	(UINT64_C(15) << WQI_COLOR_SHIFT)

#define WQI_DEPTH_SHIFT 12
#define WQI_DEPTH_ONE	(UINT64_C(1) << WQI_DEPTH_SHIFT)
#define WQI_DEPTH_MASK	(UINT64_C(0xffff) << WQI_DEPTH_SHIFT)

#define WQI_GENERATION_SHIFT 28
#define WQI_GENERATION_ONE   (UINT64_C(1) << WQI_GENERATION_SHIFT)
#define WQI_GENERATION_MASK  (UINT64_C(0xff) << WQI_GENERATION_SHIFT)

#define WQI_CANCELLER_SHIFT 36
#define WQI_CANCELLER_ONE   (UINT64_C(1) << WQI_CANCELLER_SHIFT)
#define WQI_CANCELLER_MASK  (UINT64_C(15) << WQI_CANCELLER_SHIFT)

#define WQI_SHARD_SHIFT 40
#define WQI_SHARD_MASK	(UINT64_C(15) << WQI_SHARD_SHIFT)
#define WQI_NR_SHARDS	16u

#define WQI_ID_SHIFT 44
#define WQI_ID_MASK  (~UINT64_C(0) << WQI_ID_SHIFT)

/* What ends together with PENDING. */
#define WQI_PENDING_ALL                                                                            \
	(WQI_PENDING | WQI_TRANSIT | WQI_CANCEL | WQI_LINKED | WQI_COUNTED | WQI_COLOR_MASK)

/* Where a word differs in these from "idle or pending here", a claim looks closer. */
#define WQI_UNUSUAL                                                                                \
	(WQI_INIT | WQI_CANCEL | WQI_ARMED | WQI_MOVING | WQI_DEPTH_MASK | WQI_GENERATION_MASK |   \
	 WQI_CANCELLER_MASK)

_Static_assert(sizeof(struct wq_work) <= 40, "an item is at most 40 bytes");
_Static_assert(sizeof(struct cds_list_head) == sizeof(((struct wq_work *)0)->wq_link),
	       "an item's link is a list head");

static inline uint64_t wqi_state(const struct wq_work *work)
{
	return wqi_load_acquire(&work->wq_state);
}

static inline uint32_t wqi_state_id(uint64_t state)
{
	return (uint32_t)(state >> WQI_ID_SHIFT);
}

/* Is the word this process's?  If not, the item is idle. */
static inline bool wqi_state_is_ours(uint64_t state)
{
	return !((state ^ wqi_fork.generation) & WQI_GENERATION_MASK);
}

static inline bool wqi_state_is_pending(uint64_t state)
{
	return state & WQI_PENDING && wqi_state_is_ours(state);
}

/* Does it wait for its time, an event or a grace period?  With MOVING, or it is cancelled. */
static inline bool wqi_state_is_armed(uint64_t state)
{
	return state & WQI_ARMED && wqi_state_is_ours(state);
}

/* Is it in the hands of a timer shard, or on its way there or back? */
static inline bool wqi_state_is_in_shard(uint64_t state)
{
	return state & (WQI_ARMED | WQI_MOVING) && wqi_state_is_ours(state);
}

/* What keeps an item from being claimed, whatever for. */
static inline int wqi_state_refusal(uint64_t state)
{
	if (!(state & WQI_INIT))
		return -EINVAL;
	if (state & WQI_DEPTH_MASK)
		return -EBUSY;
	if (!(state & (WQI_CANCEL | WQI_CANCELLER_MASK | WQI_MOVING)) || !wqi_state_is_ours(state))
		return 0;
	/* On its way into a shard it is armed; else it has been cancelled there. */
	if (state & (WQI_CANCEL | WQI_CANCELLER_MASK) || !(state & WQI_ARMED))
		return -EBUSY;
	return 0;
}

static inline unsigned wqi_state_color(uint64_t state)
{
	return (unsigned)((state & WQI_COLOR_MASK) >> WQI_COLOR_SHIFT);
}

/*
 * Set @set and clear @clear whatever else changes.  Returns the state before.
 */
static inline uint64_t wqi_state_change(struct wq_work *work, uint64_t clear, uint64_t set)
{
	uint64_t old = wqi_load_relaxed(&work->wq_state);

	while (!wqi_cas(&work->wq_state, &old, (old & ~clear) | set))
		;
	return old;
}

/*
 * The link.  In an inbox `next` is used, and `prev` may be an odd number: when it was
 * pushed (inbox.h).  On a list (under the lock of the pool that owns it) both are used;
 * otherwise `prev` is NULL.  So `prev` tells an item on a list from one that is claimed
 * and still on its way.
 */
static inline struct cds_list_head *wqi_work_link(struct wq_work *work)
{
	return (struct cds_list_head *)(void *)work->wq_link;
}

static inline struct wq_work *wqi_link_work(struct cds_list_head *link)
{
	return caa_container_of((void **)(void *)link, struct wq_work, wq_link[0]);
}

static inline bool wqi_work_is_listed_locked(struct wq_work *work)
{
	uintptr_t prev = (uintptr_t)wqi_load_relaxed(&wqi_work_link(work)->prev);

	return prev && !(prev & 1);
}

static inline void wqi_work_unlist_locked(struct wq_work *work)
{
	struct cds_list_head *link = wqi_work_link(work);

	cds_list_del(link);
	link->prev = NULL;
}

#endif /* WQI_ITEM_H */
