/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns waiting for items: waiters on the caller's stack, no allocation. */
#ifndef WQI_FLUSH_H
#define WQI_FLUSH_H

#include "pool.h"

struct wqi_worker;

/*
 * Wait until a claim on @work that was cancelled on its way has been ended by
 * whoever meets it; returns at once if there is none.
 */
void wqi_flush_claim(struct wq_work *work);

/*
 * wq_work_flush() for an item that is not the caller's own; its timer, if it has one, is left
 * alone.
 */
int wqi_flush_item(struct wq_work *work);

/* Wait until the run of @work that is going on has ended; false: there was none. */
bool wqi_flush_running(struct wq_work *work);

/* wq_flush(), of a system queue too. */
int wqi_flush_any(struct wq *wq);

/* An item with waiters starts on @worker: they wait for its end now. */
void wqi_flush_started_locked(struct wqi_worker *worker, const struct wq_work *work);

/*
 * An item with waiters was cancelled.  Where an earlier run of it goes on, on
 * @worker, they wait for that; otherwise (NULL) their wait is over.
 */
void wqi_flush_cancelled_locked(struct wqi_pool *pool, const struct wq_work *work,
				struct wqi_worker *worker, bool running);

/* The item that @worker ran has ended. */
void wqi_flush_finished_locked(struct wqi_worker *worker);

#endif /* WQI_FLUSH_H */
