/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the watch over busy pools: looks by time, from the manager, whether items
 * that wait are getting on, and lets another worker run where they are not.
 *
 * It sees that nothing started, not why: an item that blocks and one that computes
 * for long look alike to it.
 */
#ifndef WQI_WATCH_H
#define WQI_WATCH_H

#include "pool.h"

/*
 * A second worker is worth waking for items that cost at least this much, and is
 * a burden below the lower limit: the pool's lock and lines then change CPUs for
 * every item, which costs more than the item.
 */
#define WQI_HELP_WORTH_NS  2000u
#define WQI_HELP_BURDEN_NS 1000u

/* Unknown (0) counts as expensive. */
static inline bool wqi_items_are_worth_help_locked(const struct wqi_pool *pool)
{
	return !pool->item_ns || pool->item_ns >= WQI_HELP_WORTH_NS;
}

/* Both return when to look again (CLOCK_MONOTONIC), or 0: not before it is busy again. */
uint64_t wqi_watch_begin(struct wqi_pool *pool, uint64_t now);
uint64_t wqi_watch_look(struct wqi_pool *pool, uint64_t now);

#endif /* WQI_WATCH_H */
