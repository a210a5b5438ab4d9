/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the queue's record: making it, its limit, freeing it.  Waits for no items. */
#include "queue.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "cpu.h"
#include "freeze.h"
#include "ids.h"
#include "manager.h"
#include "mem.h"
#include "rcu.h"
#include "runtime.h"
#include "worker.h"
#include "zephyr.h"

#define QUEUE_FLAGS_BUILT                                                                          \
	(WQ_PERCPU | WQ_ORDERED | WQ_DEDICATED | WQ_HIGHPRI | WQ_CPU_INTENSIVE | WQ_MEM_RECLAIM |  \
	 WQ_FREEZABLE | WQ_POWER_EFFICIENT | WQ_BH)
/* Items of a node that may wait for each other, where it has few of the queue's CPUs. */
#define QUEUE_DFL_MIN_ACTIVE 8u

#define QUEUE_FLAGS_KNOWN (QUEUE_FLAGS_BUILT | WQ_OBSERVE)

CDS_LIST_HEAD(wqi_queues);
unsigned wqi_queues_plugged;

enum wqi_percpu wqi_queue_percpu_kind(const struct wq *wq)
{
	if (wq->flags & WQ_BH)
		return WQI_PERCPU_BH;
	return wq->flags & WQ_HIGHPRI ? WQI_PERCPU_HIGH : WQI_PERCPU_NORMAL;
}

struct wqi_pwq *wqi_queue_pwq_rcu(struct wq *wq, unsigned cpu)
{
	struct wqi_table *table = wqi_load_acquire(&wq->table); /* ORD-TABLE (a) */
	struct wqi_pwq *pwq = table->slot[cpu < table->nr_slots ? cpu : 0];

	if (wqi_unlikely(!wqi_load_acquire(&pwq->pool)))
		wqi_table_prepare(table, pwq);
	return pwq;
}

static int queue_check(const char *name, unsigned flags, int max_active)
{
	if (!name || !*name || flags & ~QUEUE_FLAGS_KNOWN)
		return -EINVAL;
	if (max_active < 0 || max_active > WQ_MAX_ACTIVE)
		return -EINVAL;
	if (flags & (WQ_ORDERED | WQ_DEDICATED) &&
	    (flags & (WQ_PERCPU | WQ_POWER_EFFICIENT) || max_active > 1))
		return -EINVAL;
	if (flags & WQ_BH && flags & ~(unsigned)(WQ_BH | WQ_PERCPU | WQ_HIGHPRI))
		return -EINVAL;
	if (flags & ~QUEUE_FLAGS_BUILT)
		return -EOPNOTSUPP;
	return 0;
}

static void queue_free(struct wq *wq)
{
	if (!wq)
		return;
	if (wq->name)
		wqi_free(wq->name, strlen(wq->name) + 1);
	wqi_shares_free(&wq->shares);
	wqi_free(wq->armed, wqi_timers_armed_bytes());
	wqi_attrs_free(&wq->attrs);
	wqi_free(wq, sizeof(*wq));
}

/* What some flags imply. */
static unsigned queue_whole_flags(unsigned flags)
{
	if (flags & WQ_DEDICATED)
		flags |= WQ_ORDERED;
	if (flags & WQ_BH)
		flags |= WQ_PERCPU | WQ_HIGHPRI;
	if (flags & WQ_POWER_EFFICIENT && !wqi_config.power_efficient)
		flags |= WQ_PERCPU;
	else if (flags & WQ_POWER_EFFICIENT)
		flags &= ~(unsigned)WQ_PERCPU;
	return flags;
}

/* The memory, without a table. */
static struct wq *queue_new(const char *name, unsigned flags, int max_active)
{
	struct wq *wq = wqi_zalloc(sizeof(*wq));

	if (!wq)
		return NULL;
	wq->flags = flags;
	wq->max_active = max_active ? (unsigned)max_active : WQ_DFL_ACTIVE;
	if (flags & WQ_ORDERED)
		wq->max_active = 1;
	wq->min_active = QUEUE_DFL_MIN_ACTIVE;
	wqi_shares_init(&wq->shares);
	wq->name = wqi_zalloc(strlen(name) + 1);
	if (wq->name)
		strcpy(wq->name, name);
	wq->armed = wqi_zalloc(wqi_timers_armed_bytes());
	if (!wq->name || !wq->armed) {
		queue_free(wq);
		return NULL;
	}
	return wq;
}

/* Forward links by release stores: see fork.h. */
static void queue_list_locked(struct wq *wq)
{
	wq->all.prev = wqi_queues.prev;
	wq->all.next = &wqi_queues;
	wqi_store_release(&wqi_queues.prev->next, &wq->all);
	wqi_queues.prev = &wq->all;
}

static void queue_unlist_locked(struct wq *wq)
{
	wqi_store_release(&wq->all.prev->next, wq->all.next);
	wq->all.next->prev = wq->all.prev;
}

static bool queue_has_pods(const struct wq *wq)
{
	return !(wq->flags & (WQ_PERCPU | WQ_DEDICATED));
}

/* The table, for an unbound queue with its pods. */
static int queue_make_table_locked(struct wq *wq)
{
	struct wqi_pods *pods = NULL;
	struct wqi_table *table;
	int err;

	if (queue_has_pods(wq)) {
		err = wqi_attrs_pods_locked(&wq->attrs, &pods);
		if (err)
			return err;
	}
	table = wqi_table_new(wq, pods);
	if (!table && pods)
		wqi_pods_put_locked(pods);
	wq->table = table;
	if (!table)
		return -ENOMEM;
	wqi_shares_resize(wq, pods);
	return 0;
}

static int queue_make_threads_locked(struct wq *wq, struct wqi_dedicated own)
{
	own.name = wq->name;
	if (wq->flags & WQ_HIGHPRI)
		own.nice = -20;
	if (wq->flags & WQ_DEDICATED)
		return wqi_pool_dedicated(&wq->own, &own);
	own.rescues = wq;
	if (wq->flags & WQ_MEM_RECLAIM)
		return wqi_pool_dedicated(&wq->rescuer, &own);
	return 0;
}

/* Nobody has seen it yet, but an item may bear one of its numbers from before. */
static void queue_unmake_table_locked(struct wq *wq)
{
	wqi_table_hide(wq->table);
	wqi_rcu_synchronize();
	wqi_table_free(wq->table);
}

static int queue_connect_locked(struct wq *wq, const struct wqi_dedicated *own)
{
	int err;

	wqi_assert_held(&wqi_runtime.lock);

	err = queue_make_table_locked(wq);
	if (err)
		return err;
	err = queue_make_threads_locked(wq, *own);
	if (err) {
		queue_unmake_table_locked(wq);
		return err;
	}
	if (!(wq->flags & WQ_PERCPU) && wq->table->nr == 1)
		wqi_table_prepare(wq->table, wq->table->pwqs);
	wq->counted = !wq->system;
	wqi_runtime.nr_queues += wq->counted;
	queue_list_locked(wq);
	return 0;
}

static int queue_finish_locked(struct wq **to, struct wq *wq, const struct wqi_dedicated *own)
{
	int err = queue_connect_locked(wq, own);

	if (err) {
		queue_free(wq);
		return err;
	}
	*to = wq;
	return 0;
}

int wqi_queue_make_locked(struct wq **to, const char *name, unsigned flags, int max_active,
			  struct wqi_attrs *attrs, bool system)
{
	struct wqi_dedicated own = {0};
	struct wq *wq;
	int err = wqi_runtime_start_locked();

	if (err)
		return err;
	flags = queue_whole_flags(flags);
	wq = queue_new(name, flags, max_active);
	if (!wq)
		return -ENOMEM;
	wq->system = system;
	wq->attrs = attrs ? *attrs : wqi_attrs_default(flags);
	if (attrs)
		attrs->cpus = NULL;
	return queue_finish_locked(to, wq, &own);
}

int wqi_queue_make_zephyr_locked(struct wq **to, struct k_work_q *zephyr, bool system,
				 const struct wqi_dedicated *own)
{
	struct wqi_dedicated made = *own;
	struct wq *wq;
	int err = wqi_runtime_start_locked();

	if (err)
		return err;
	wq = queue_new(own->name, WQ_DEDICATED | WQ_ORDERED, 1);
	if (!wq)
		return -ENOMEM;
	wq->system = system;
	wq->zephyr = zephyr;
	wq->attrs = wqi_attrs_default(wq->flags);
	made.zephyr = wq;
	return queue_finish_locked(to, wq, &made);
}

/* Settings, which some flags depend on, are known once it has started. */
static int queue_alloc(struct wq **to, const char *name, unsigned flags, int max_active,
		       const struct wq_attrs *given)
{
	int err = queue_check(name, flags, max_active);
	struct wqi_attrs attrs = {0};

	if (!err)
		err = wqi_fork_enter(true);
	if (err)
		return err;
	wqi_lock(&wqi_runtime.lock);
	err = wqi_runtime_start_locked();
	if (!err && given)
		err = wqi_attrs_copy(&attrs, given, queue_whole_flags(flags));
	if (!err)
		err = wqi_queue_make_locked(to, name, flags, max_active, given ? &attrs : NULL,
					    false);
	wqi_unlock(&wqi_runtime.lock);
	wqi_attrs_free(&attrs);
	return err;
}

struct wq *wq_alloc_attrs(const char *name, unsigned flags, int max_active,
			  const struct wq_attrs *attrs)
{
	struct wq *wq = NULL;
	int err = queue_alloc(&wq, name, flags, max_active, attrs);

	if (err)
		errno = -err;
	return wq;
}

struct wq *wq_alloc(const char *name, unsigned flags, int max_active)
{
	return wq_alloc_attrs(name, flags, max_active, NULL);
}

static void queue_spare_pools_locked(struct wq *wq)
{
	if (wq->own)
		wqi_pool_spare_dedicated(wq->own);
	if (wq->rescuer)
		wqi_pool_spare_dedicated(wq->rescuer);
}

static void queue_hide_tables_locked(struct wq *wq)
{
	struct wqi_table *table;

	for (table = wq->table; table; table = table->older)
		wqi_table_hide(table);
}

static void queue_free_tables_locked(struct wq *wq)
{
	struct wqi_table *table, *older;

	for (table = wq->table; table; table = older) {
		older = table->older;
		wqi_table_free(table);
	}
}

void wqi_queue_unmake(struct wq *wq)
{
	/* The manager has done with its older tables, or does not begin. */
	wqi_lock(&wqi_runtime.lock);
	wqi_store_relaxed(&wq->dying, true);
	queue_hide_tables_locked(wq);
	wqi_unlock(&wqi_runtime.lock);
	/* Items keep the numbers: whoever is looking one up finishes first. */
	wqi_rcu_synchronize();
	if (wq->zephyr)
		wqi_timers_pass();
	if (wq->own)
		wqi_manager_close(wq->own);
	if (wq->rescuer)
		wqi_manager_close(wq->rescuer);
	wqi_lock(&wqi_runtime.lock);
	queue_unlist_locked(wq);
	queue_free_tables_locked(wq);
	wqi_runtime.nr_queues -= wq->counted;
	queue_spare_pools_locked(wq);
	if (wq->refuse & WQI_QUEUE_PLUGGED && !wq->zephyr)
		wqi_sub(&wqi_queues_plugged, 1);
	wqi_unlock(&wqi_runtime.lock);
	queue_free(wq);
}

void wqi_queue_update_limit_locked(struct wq *wq)
{
	struct wqi_table *table;
	struct wqi_pwq *pwq;

	wqi_assert_held(&wq->mutex);

	/*
	 * ORD-LIMIT (b): the limit, then the pwqs that are there.  Partner (a): a pwq's
	 * `pool` is stored, then an item of it looks at the limit.
	 */
	wqi_shares_resize(wq, NULL);
	wqi_shares_serve(&wq->shares);
	wqi_for_each_pwq(wq, table, pwq)
	{
		struct wqi_pool *pool = wqi_load_seq_cst(&pwq->pool);

		if (!pool)
			continue;
		wqi_pool_lock(pool);
		wqi_pwq_ready_locked(pwq);
		wqi_pwq_activate_locked(pwq);
		wqi_pool_hand_over_locked(pool);
		wqi_pool_unlock(pool);
	}
}

int wq_set_max_active(struct wq *wq, int n)
{
	if (!wq || wq->flags & WQ_ORDERED || n < 0 || n > WQ_MAX_ACTIVE)
		return -EINVAL;
	wqi_fork_enter(false);
	wqi_lock(&wq->mutex);
	wqi_store_relaxed(&wq->max_active, n ? (unsigned)n : WQ_DFL_ACTIVE);
	wqi_queue_update_limit_locked(wq);
	wqi_unlock(&wq->mutex);
	return 0;
}

int wq_set_min_active(struct wq *wq, int n)
{
	if (!wq || wq->flags & (WQ_PERCPU | WQ_ORDERED) || n < 1 || n > WQ_MAX_ACTIVE)
		return -EINVAL;
	wqi_fork_enter(false);
	wqi_lock(&wq->mutex);
	wq->min_active = (unsigned)n;
	wqi_queue_update_limit_locked(wq);
	wqi_unlock(&wq->mutex);
	return 0;
}

bool wqi_queue_is_congested(struct wq *wq, int cpu)
{
	unsigned here = wqi_cpu_current(), token;
	struct wqi_pwq *pwq;
	bool congested;

	if (!wq)
		return false;
	wqi_fork_enter(false);
	token = wqi_rcu_read_lock_on(here);
	pwq = wqi_queue_pwq_rcu(wq, wqi_cpu_is_usable((unsigned)cpu) ? (unsigned)cpu : here);
	wqi_pool_lock(wqi_pwq_pool(pwq));
	wqi_pwq_ready_locked(pwq);
	wqi_pool_splice_locked(wqi_pwq_pool(pwq));
	congested = wqi_pwq_is_congested_locked(pwq);
	wqi_pool_unlock(wqi_pwq_pool(pwq));
	wqi_rcu_read_unlock(token);
	return congested;
}

bool wq_congested(struct wq *wq)
{
	return wqi_queue_is_congested(wq, -1);
}

/* Whoever was destroying it is not there, and nobody can name it any more. */
static void queue_bury_locked(struct wq *wq)
{
	queue_unlist_locked(wq);
	queue_hide_tables_locked(wq);
	queue_free_tables_locked(wq);
	queue_spare_pools_locked(wq);
	if (!wq->dying && !wq->zephyr && wq->refuse & WQI_QUEUE_PLUGGED)
		wqi_sub(&wqi_queues_plugged, 1);
	queue_free(wq);
}

/*
 * The list's backward links may be of another instant than its forward ones.  What
 * the owner set stays: plugged, limits.  Whoever drained is not there.
 */
void wqi_queues_reset(void)
{
	struct cds_list_head *link = &wqi_queues, *next;
	struct wqi_table *table;
	struct wqi_pwq *pwq;
	struct wq *wq;

	wqi_runtime.nr_queues = 0;
	wqi_queues_plugged = 0;
	for (; (next = link->next) != &wqi_queues; link = next) {
		wq = wqi_queue_of_link(next);
		next->prev = link;
		wqi_lock_reset(&wq->mutex);
		wq->refuse &= wq->system ? 0 : WQI_QUEUE_PLUGGED;
		if (wq->zephyr)
			wqi_zephyr_queue_reset(wq);
		else
			wqi_queues_plugged += wq->refuse && !wq->dying;
		/* Who was destroying it is not there; its items may be, in the child. */
		wq->counted = !wq->system && !wq->ending;
		wqi_runtime.nr_queues += wq->counted;
		wq->nr_drainers = 0;
		memset(wq->armed, 0, wqi_timers_armed_bytes());
		wqi_store_relaxed(&wq->closed, wq->ending);
		wq->work_color = 0;
		wq->color_seq = wq->done_seq = 0;
		wq->flush_event = 0;
		memset(wq->nr_to_flush, 0, sizeof(wq->nr_to_flush));
		memset(&wq->past, 0, sizeof(wq->past));
		wqi_for_each_pwq(wq, table, pwq)
		{
			wqi_store_relaxed(&table->users, 0u);
			wqi_pwq_reset(pwq);
		}
		wqi_shares_reset(wq);
	}
	wqi_queues.prev = link;
	for (link = wqi_queues.next; link != &wqi_queues; link = next) {
		next = link->next;
		wq = wqi_queue_of_link(link);
		if (wq->dying)
			queue_bury_locked(wq);
	}
}

void wqi_queues_bury_locked(void)
{
	while (wqi_queues.next != &wqi_queues)
		queue_bury_locked(wqi_queue_of_link(wqi_queues.next));
}
