/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns which trigger items wait for which descriptor (the table is watch.h's).  Waits for no event
 * itself: the poller does (poller.h), and for time-outs the timer shards (timer.h).
 *
 * An item is armed like a delayed one; its events hang on the lists of their
 * descriptors.  The kernel has each descriptor once, one-shot, with all that is waited
 * for on it.  Whoever claims the item (an event, the time-out, a flush) or cancels it
 * takes its events off the lists before the item is anybody else's.
 */
#ifndef WQI_TRIGGER_H
#define WQI_TRIGGER_H

#include <stdbool.h>
#include <sys/epoll.h>

#include <wq/trigger.h>

#include "watch.h"

/* A claimed item is about to be queued: off the lists, and its result set. */
void wqi_trigger_release(struct wq_trigger_work *tw);

/* A cancelled item: off the lists. */
void wqi_trigger_detach(struct wq_trigger_work *tw);

/* What the poller got: queue the items that waited for it. */
void wqi_trigger_dispatch(const struct epoll_event *events, int nr);

/*
 * The poller begins anew: tell it of all that is waited for.  Under Q, in a read-side
 * section.  Those whose descriptor is closed are claimed, for wqi_trigger_push().
 */
struct wq_trigger_work *wqi_trigger_register_all_locked(void);

/* Queue items that an event has claimed; the last came first.  Without Q, in that section. */
void wqi_trigger_push(struct wq_trigger_work *last);

/* End the thread and free all; nothing is armed. */
void wqi_triggers_stop(void);

/* In the child of a fork(): nobody waits for anything.  Under G. */
void wqi_triggers_reset(void);

#endif /* WQI_TRIGGER_H */
