/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns who counts as running: workers in items that block, wait in the library, or
 * compute for long do not, and others may run in their place.
 */
#ifndef WQI_BLOCK_H
#define WQI_BLOCK_H

#include "worker.h"

/* The worker counts as running. */
void wqi_worker_count_locked(struct wqi_worker *worker);

/* It does not, and somebody else sees to the pool. */
void wqi_worker_count_out_locked(struct wqi_worker *worker);

/* It does not, though its item may go on: another may run. */
void wqi_worker_uncount_locked(struct wqi_worker *worker);

/* It was found blocked in its item, by whom and how: the same, and counted. */
void wqi_worker_found_blocked_locked(struct wqi_worker *worker, enum wqi_blocked how);

/*
 * What a sentinel said last: if it still holds, that worker does not count any
 * more.  The caller is about to run, or to see to it that somebody does.
 */
void wqi_worker_believe_locked(struct wqi_pool *pool);

/*
 * Around a wait inside the library: the worker, if the caller is one, does not
 * count as running.  No lock held.  The first answers what the second wants.
 */
bool wqi_worker_wait_begin(void);
void wqi_worker_wait_end(bool uncounted);

/* May the caller wait for items of @wq?  0, or -EDEADLK: it would be for ever. */
int wqi_worker_may_wait(struct wq *wq);

/* So much of a queue's name is in a report. */
#define WQI_REPORT_NAME 64

/*
 * The caller is about to wait for an item of @wq: where that is not safe for want of
 * a rescuer, it is counted.  Inside a read-side section, or @wq stays.  True: it is to
 * be reported, outside the section; @name is a copy of the queue's.
 */
bool wqi_worker_note_reclaim(const struct wq *wq, char name[WQI_REPORT_NAME]);
void wqi_worker_report_reclaim(const char *name);

/*
 * Would that be for ever, for one item on @pwq that has not started?
 */
bool wqi_worker_is_in_the_way(const struct wqi_pwq *pwq);

#endif /* WQI_BLOCK_H */
