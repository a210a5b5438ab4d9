/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns a hierarchical timing wheel: which nodes are due, and when the next may be.
 * Pure data: no lock, no clock (the present is an argument), no allocation.
 *
 * Time is cut into ticks of 8.2 µs.  A level has 64 slots; a slot of level 0 is a
 * tick, one of the next level as long as all of the level below.  A node hangs in
 * the lowest level where its tick and the present differ in no higher digit, so all
 * occupied slots lie ahead, those of a lower level before those of a higher one.
 * When the present enters a slot of a higher level, its nodes move down: each at
 * most once a level, which is why nodes are exact to a tick and not to an eighth of
 * their delay, and why what is removed before costs nothing but arming.
 *
 *               add   remove  advance, next   pop
 *   add          no     no         no          no      two calls on one wheel at the
 *   all others   no     no         no          no      same time: never
 */
#ifndef WQI_WHEEL_H
#define WQI_WHEEL_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#define WQI_TICK_SHIFT 13
#define WQI_TICK_NS    (UINT64_C(1) << WQI_TICK_SHIFT)

#define WQI_WHEEL_BITS	 6
#define WQI_WHEEL_SLOTS	 (1u << WQI_WHEEL_BITS)
#define WQI_WHEEL_LEVELS 9 /* 54 bits of ticks: more than 64 bits of nanoseconds */

#define WQI_NEVER UINT64_MAX

struct wqi_wheel_node {
	struct cds_list_head link; /* prev NULL: in no list */
	uint64_t expires_ns;
};

struct wqi_wheel {
	uint64_t now;			   /* the tick that it has advanced to */
	uint64_t boundary;		   /* no slot that is marked begins before this tick */
	uint64_t marked[WQI_WHEEL_LEVELS]; /* slots that may have nodes */
	struct cds_list_head due;	   /* nodes whose tick has come */
	struct cds_list_head moving;	   /* nodes on their way down */
	struct cds_list_head slot[WQI_WHEEL_LEVELS][WQI_WHEEL_SLOTS];
};

void wqi_wheel_init(struct wqi_wheel *wheel);

/*
 * Hang up @node, which is in no list and has its expires_ns set.  @now_ns is the
 * present, as far as the caller knows: to be behind only makes it slower.
 */
void wqi_wheel_add(struct wqi_wheel *wheel, struct wqi_wheel_node *node, uint64_t now_ns);

/* From whatever list it is in, which may be the caller's own. */
static inline void wqi_wheel_remove(struct wqi_wheel_node *node)
{
	cds_list_del(&node->link);
	node->link.prev = NULL;
}

static inline bool wqi_wheel_node_is_linked(const struct wqi_wheel_node *node)
{
	return node->link.prev != NULL;
}

/*
 * Go on to @now_ns, moving at most @budget nodes down; those of a tick become due
 * together.  False: the budget is spent, and there is more to do.
 */
bool wqi_wheel_advance(struct wqi_wheel *wheel, uint64_t now_ns, unsigned budget);

/* A node that is due, off the wheel, or NULL.  Earlier ticks come first. */
struct wqi_wheel_node *wqi_wheel_pop(struct wqi_wheel *wheel);

/*
 * When to advance again: not later than the first node's tick, and for few nodes
 * exactly then.  0: at once; WQI_NEVER: there is none.
 */
uint64_t wqi_wheel_next_ns(struct wqi_wheel *wheel);

#endif /* WQI_WHEEL_H */
