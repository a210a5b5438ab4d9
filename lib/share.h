/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the places of an unbound queue: how max_active is divided among the NUMA nodes, who
 * has a place of a node's share, and in which turn those who wait get one.  Starts no items.
 *
 * As long as a share has one pwq, that counts for itself, by its nr_active alone, with no
 * atomic operation.  Where it has several (of several pods on a node, or of tables that
 * follow each other) they count in `places`, and those with items that wait stand in a
 * line.  Two pools are never locked at once, so whoever gives a place to a pwq of another
 * pool sends a message to its inbox, which wakes the pool as an item does.
 *
 * pwq->turn:
 *   NONE -> WAITS   its pool's lock and the share's: it stands in line
 *   WAITS -> NONE   the same: it left the line, or took its own turn
 *   WAITS -> HAS    the share's lock: a place was taken for it, and a message is on its way
 *   HAS -> SPENT    its pool's lock: the place is used, or given back, before that comes
 *   HAS, SPENT -> NONE   its pool's lock: the message has come
 */
#ifndef WQI_SHARE_H
#define WQI_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "item.h"
#include "lock.h"
#include "pods.h"

struct wq;
struct wqi_pwq;

/* In `places`: somebody stands in line, so places are given in turn only. */
#define WQI_SHARE_LINE (1u << 31)

enum wqi_turn { WQI_TURN_NONE, WQI_TURN_WAITS, WQI_TURN_HAS, WQI_TURN_SPENT };

struct wqi_share {
	unsigned max;		   /* A, seq_cst; written under W: places, or 0 while frozen */
	unsigned size;		   /* A, relaxed; written under W: places, frozen or not */
	uint32_t places;	   /* A, seq_cst: taken by who counts here; and WQI_SHARE_LINE */
	int node;		   /* I: or WQI_NO_NODE: of pods on several, or of no pod */
	struct wqi_lock lock;	   /* N */
	unsigned nr_cpus;	   /* W: the queue's on this node */
	unsigned nr_pwqs;	   /* G */
	struct wqi_share *next;	   /* A, release: the queue's next one */
	struct cds_list_head line; /* N: pwqs' messages, first come first */
} WQI_CACHE_ALIGNED;

/* A queue's. */
struct wqi_shares {
	struct wqi_share whole; /* of the size max_active; per-CPU and ordered pwqs only read it */
};

/* Room for those that are not in the queue itself; and free it. */
void wqi_shares_init(struct wqi_shares *shares);
void wqi_shares_free(struct wqi_shares *shares);

/*
 * @node's share, made if need be, with one more pwq: NULL where there is no memory.  And
 * one less.  Under G.
 */
struct wqi_share *wqi_share_get_locked(struct wqi_shares *shares, int node);
void wqi_share_put_locked(struct wqi_share *share);

/* The sizes follow @pods (NULL: those of before), max_active, min_active, freezing.  Under W. */
void wqi_shares_resize(struct wq *wq, const struct wqi_pods *pods);

/* Give what is free to those in line.  No pool's lock held; under W. */
void wqi_shares_serve(struct wqi_shares *shares);

/* In the child of a fork(): nothing is taken, nobody waits, and there are @wq's tables. */
void wqi_shares_reset(struct wq *wq);

/*
 * Those of a pwq that counts in its share (pwq->shared), under the lock of its pool.
 *
 * Take a place for an item that is to start.  False: there is none, and the pwq, in which
 * that item has to wait now, is in line or has a message on its way.
 */
bool wqi_share_take_locked(struct wqi_pwq *pwq);

/* Where others are in line: stand behind them, for items that @pwq's worker has not looked at. */
void wqi_share_queue_up_locked(struct wqi_pwq *pwq);

/* Give one back, to the first in line.  True: that was @pwq, which has taken it again. */
bool wqi_share_give_locked(struct wqi_pwq *pwq);

/* Nothing waits in @pwq any more: leave the line, or pass its turn on. */
void wqi_share_withdraw_locked(struct wqi_pwq *pwq);

/* From now on it counts there; and: for itself again, the last in its share. */
void wqi_share_join_locked(struct wqi_pwq *pwq);
void wqi_share_part_locked(struct wqi_pwq *pwq);

/* Is there no place for a fresh item? */
bool wqi_share_is_full(const struct wqi_share *share);

#endif /* WQI_SHARE_H */
