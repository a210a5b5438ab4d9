/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns freezing: while it lasts the limit of each freezable queue is 0, so that
 * what is not active yet waits as it does past max_active.
 */
#include "freeze.h"

#include <errno.h>
#include <limits.h>

#include "fork.h"
#include "queue.h"
#include "runtime.h"

#include <wq/wq.h>

static bool freeze_on; /* A, relaxed; written under G */

unsigned wqi_freeze_limit(const struct wq *wq)
{
	if (wq->flags & WQ_FREEZABLE && wqi_load_relaxed(&freeze_on))
		return 0;
	return wqi_load_relaxed(&wq->max_active);
}

static int freeze_set(bool on)
{
	struct cds_list_head *link;
	struct wq *wq;

	wqi_fork_enter(false);
	wqi_lock(&wqi_runtime.lock);
	if (freeze_on == on) {
		wqi_unlock(&wqi_runtime.lock);
		return -EALREADY;
	}
	wqi_store_relaxed(&freeze_on, on);
	for (link = wqi_queues.next; link != &wqi_queues; link = link->next) {
		wq = wqi_queue_of_link(link);
		if (!(wq->flags & WQ_FREEZABLE))
			continue;
		wqi_lock(&wq->mutex);
		wqi_queue_update_limit_locked(wq);
		wqi_unlock(&wq->mutex);
	}
	wqi_unlock(&wqi_runtime.lock);
	if (!on)
		wqi_timers_unpark(); /* ORD-PARK (a) */
	return 0;
}

int wq_freeze_all(void)
{
	return freeze_set(true);
}

int wq_thaw_all(void)
{
	return freeze_set(false);
}

static unsigned freeze_nr_active(struct wq *wq)
{
	struct wqi_table *table;
	struct wqi_pwq *pwq;
	unsigned nr = 0;

	wqi_lock(&wq->mutex);
	wqi_for_each_pwq(wq, table, pwq)
	{
		struct wqi_pool *pool = wqi_load_acquire(&pwq->pool);

		if (!pool)
			continue;
		wqi_pool_lock(pool);
		nr += pwq->nr_active;
		wqi_pool_unlock(pool);
	}
	wqi_unlock(&wq->mutex);
	return nr;
}

int wq_freeze_busy(void)
{
	struct cds_list_head *link;
	unsigned nr = 0;
	struct wq *wq;

	wqi_fork_enter(false);
	wqi_lock(&wqi_runtime.lock);
	for (link = wqi_queues.next; link != &wqi_queues; link = link->next) {
		wq = wqi_queue_of_link(link);
		if (wq->flags & WQ_FREEZABLE)
			nr += freeze_nr_active(wq);
	}
	wqi_unlock(&wqi_runtime.lock);
	return nr > INT_MAX ? INT_MAX : (int)nr;
}
