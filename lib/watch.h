/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the table of descriptors that trigger items wait for, and its lock.  Does not know
 * the items, nor who tells of events.
 */
#ifndef WQI_WATCH_H
#define WQI_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include <wq/trigger.h>

#include "lock.h"

/* A descriptor, by its number.  Once there it stays until the library ends. */
struct wqi_watch {
	struct cds_list_head events; /* Q: by wq_node */
	uint32_t serial;	     /* Q: changed whenever the kernel is told of it */
};

extern struct wqi_lock wqi_watch_lock; /* Q */

/*
 * The lock Q: before T, after all others; taken in read-side sections too, so nobody
 * waits for a grace period under it; by signal handlers that cancel, so nobody allocates
 * or makes a thread under it.  A handler that interrupts its holder finds
 * wqi_timer_locks_held set.
 */
void wqi_trigger_lock(void);
void wqi_trigger_unlock(void);

/* The entry of a number, or NULL.  Under Q. */
struct wqi_watch *wqi_watch_find_locked(int fd);

/* Have all these descriptors entries?  Under Q. */
bool wqi_watch_has_locked(const struct wq_event *ev, unsigned nr);

/* Entries have numbers below this.  Under Q. */
int wqi_watch_end_locked(void);

/* Give them entries.  0, -EBADF one that is not open, -ENOMEM.  Without Q: it allocates. */
int wqi_watch_add(const struct wq_event *ev, unsigned nr);

/* Free all; nobody waits. */
void wqi_watches_free(void);

/* In the child of a fork(): nobody waits for anything. */
void wqi_watches_reset(void);

#endif /* WQI_WATCH_H */
