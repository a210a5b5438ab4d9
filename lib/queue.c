/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the queue's life: making, limits, end, and the system queues. */
#include "queue.h"

#include <errno.h>
#include <string.h>

#include "cpu.h"
#include "ids.h"
#include "mem.h"
#include "rcu.h"
#include "runtime.h"
#include "worker.h"

#define QUEUE_FLAGS_BUILT (WQ_PERCPU | WQ_ORDERED | WQ_HIGHPRI | WQ_CPU_INTENSIVE)
#define QUEUE_FLAGS_KNOWN                                                                          \
	(QUEUE_FLAGS_BUILT | WQ_DEDICATED | WQ_MEM_RECLAIM | WQ_FREEZABLE | WQ_POWER_EFFICIENT |   \
	 WQ_BH | WQ_OBSERVE)

struct wqi_pwq *wqi_queue_pwq_rcu(struct wq *wq, unsigned cpu)
{
	struct wqi_table *table = wqi_load_acquire(&wq->table);
	struct wqi_pwq *pwq = table->slot[cpu < table->nr ? cpu : 0];

	if (wqi_unlikely(!wqi_load_acquire(&pwq->pool))) {
		cpu = (unsigned)(pwq - wq->pwqs);
		wqi_pwq_prepare(pwq, wq, wq->first_id + cpu,
				wqi_pool_percpu(cpu, wq->flags & WQ_HIGHPRI));
	}
	return pwq;
}

static int queue_check(const char *name, unsigned flags, int max_active)
{
	if (!name || !*name || flags & ~QUEUE_FLAGS_KNOWN)
		return -EINVAL;
	if (max_active < 0 || max_active > WQ_MAX_ACTIVE)
		return -EINVAL;
	if (flags & WQ_ORDERED && (flags & WQ_PERCPU || max_active > 1))
		return -EINVAL;
	if (flags & ~QUEUE_FLAGS_BUILT)
		return -EOPNOTSUPP;
	return 0;
}

static size_t queue_table_bytes(void)
{
	return sizeof(struct wqi_table) + wqi_cpus.nr * sizeof(struct wqi_pwq *);
}

static void queue_free(struct wq *wq)
{
	if (!wq)
		return;
	if (wq->name)
		wqi_free(wq->name, strlen(wq->name) + 1);
	wqi_free(wq->table, queue_table_bytes());
	wqi_free(wq->pwqs, wq->nr_pwqs * sizeof(*wq->pwqs));
	wqi_free(wq, sizeof(*wq));
}

/* The memory, without a number or a pool. */
static struct wq *queue_new(const char *name, unsigned flags, int max_active)
{
	unsigned nr = wqi_cpus.nr, i;
	struct wq *wq = wqi_zalloc(sizeof(*wq));

	if (!wq)
		return NULL;
	wq->flags = flags;
	wq->nr_pwqs = flags & WQ_PERCPU ? nr : 1;
	wq->max_active = max_active ? (unsigned)max_active : WQ_DFL_ACTIVE;
	if (flags & WQ_ORDERED)
		wq->max_active = 1;
	wq->name = wqi_zalloc(strlen(name) + 1);
	if (wq->name)
		strcpy(wq->name, name);
	wq->table = wqi_zalloc(queue_table_bytes());
	wq->pwqs = wqi_zalloc(wq->nr_pwqs * sizeof(*wq->pwqs));
	if (!wq->name || !wq->table || !wq->pwqs) {
		queue_free(wq);
		return NULL;
	}
	wq->table->nr = nr;
	for (i = 0; i < nr; i++)
		wq->table->slot[i] = &wq->pwqs[flags & WQ_PERCPU ? i : 0];
	return wq;
}

/* Numbers for the pwqs, and for an unbound queue its pool.  Under G. */
static int queue_connect_locked(struct wq *wq)
{
	struct wqi_pool *pool = NULL;
	unsigned i;

	wqi_assert_held(&wqi_runtime.lock);

	if (!(wq->flags & WQ_PERCPU)) {
		pool = wqi_pool_unbound(wq->flags & WQ_HIGHPRI ? -20 : 0);
		if (!pool)
			return -ENOMEM;
	}
	wq->first_id = wqi_ids_alloc(wq->nr_pwqs);
	if (!wq->first_id)
		return -ENOMEM;
	for (i = 0; i < wq->nr_pwqs; i++)
		wqi_ids_set(wq->first_id + i, &wq->pwqs[i]);
	if (pool)
		wqi_pwq_prepare(wq->pwqs, wq, wq->first_id, pool);
	return 0;
}

static int queue_make_locked(struct wq **to, const char *name, unsigned flags, int max_active)
{
	struct wq *wq;
	int err = wqi_runtime_start_locked();

	if (err)
		return err;
	wq = queue_new(name, flags, max_active);
	if (!wq)
		return -ENOMEM;
	err = queue_connect_locked(wq);
	if (err) {
		queue_free(wq);
		return err;
	}
	*to = wq;
	return 0;
}

struct wq *wq_alloc(const char *name, unsigned flags, int max_active)
{
	struct wq *wq = NULL;
	int err = queue_check(name, flags, max_active);

	if (!err) {
		wqi_lock(&wqi_runtime.lock);
		err = queue_make_locked(&wq, name, flags, max_active);
		wqi_unlock(&wqi_runtime.lock);
	}
	if (err)
		errno = -err;
	return wq;
}

/* One pass: is nothing in flight?  Adds up what was ever accepted. */
static bool queue_is_idle(struct wq *wq, uint64_t *accepted)
{
	bool idle = true;
	unsigned i;

	*accepted = 0;
	for (i = 0; i < wq->nr_pwqs; i++) {
		struct wqi_pwq *pwq = &wq->pwqs[i];
		struct wqi_pool *pool = wqi_load_acquire(&pwq->pool);

		if (!pool)
			continue;
		wqi_pool_lock(pool);
		wqi_pool_splice_locked(pool);
		idle = idle && wqi_pwq_is_idle_locked(pwq);
		*accepted += pwq->nr_accepted;
		wqi_pool_unlock(pool);
	}
	return idle;
}

/*
 * ORD-DRAIN (b): refuse is set, then a grace period; every queueing that read the
 * flag too early is in an inbox afterwards.  Chained items may still queue, also
 * from one pwq to another that was looked at already: hence two passes with a
 * grace period between, both idle, with nothing accepted in between.
 */
static void queue_drain(struct wq *wq)
{
	uint64_t before, after;

	wqi_store_seq_cst(&wq->refuse, WQI_QUEUE_DRAINING);
	do {
		wqi_rcu_synchronize();
		wqi_queue_flush(wq);
		if (!queue_is_idle(wq, &before))
			continue;
		wqi_rcu_synchronize();
		if (queue_is_idle(wq, &after) && before == after)
			return;
	} while (true);
}

int wq_destroy(struct wq *wq)
{
	unsigned i;

	if (!wq)
		return 0;
	if (wq->system)
		return -EPERM;
	if (wqi_worker_serves(wq))
		return -EDEADLK;

	queue_drain(wq);
	for (i = 0; i < wq->nr_pwqs; i++)
		wqi_ids_set(wq->first_id + i, NULL);
	/* Items keep the numbers: whoever is looking one up finishes first. */
	wqi_rcu_synchronize();
	wqi_lock(&wqi_runtime.lock);
	wqi_ids_free(wq->first_id, wq->nr_pwqs);
	wqi_unlock(&wqi_runtime.lock);
	queue_free(wq);
	return 0;
}

int wq_set_max_active(struct wq *wq, int n)
{
	unsigned i;

	if (!wq || wq->flags & WQ_ORDERED || n < 0 || n > WQ_MAX_ACTIVE)
		return -EINVAL;
	wqi_lock(&wq->mutex);
	wqi_store_relaxed(&wq->max_active, n ? (unsigned)n : WQ_DFL_ACTIVE);
	for (i = 0; i < wq->nr_pwqs; i++) {
		struct wqi_pwq *pwq = &wq->pwqs[i];
		struct wqi_pool *pool = wqi_load_acquire(&pwq->pool);

		if (!pool)
			continue;
		wqi_pool_lock(pool);
		wqi_pwq_ready_locked(pwq);
		wqi_pwq_activate_locked(pwq);
		wqi_pool_hand_over_locked(pool);
		wqi_pool_unlock(pool);
	}
	wqi_unlock(&wq->mutex);
	return 0;
}

static struct wq *queue_system(struct wq **slot, const char *name, unsigned flags)
{
	struct wq *wq = wqi_load_acquire(slot);
	int err;

	if (wqi_likely(wq))
		return wq;
	wqi_lock(&wqi_runtime.lock);
	wq = *slot;
	err = wq ? 0 : queue_make_locked(&wq, name, flags, 0);
	if (!err) {
		wq->system = true;
		wqi_store_release(slot, wq);
	}
	wqi_unlock(&wqi_runtime.lock);
	if (err)
		errno = -err;
	return wq;
}

struct wq *wq_system(void)
{
	static struct wq *wq; /* GR */

	return queue_system(&wq, "system", 0);
}

struct wq *wq_system_percpu(void)
{
	static struct wq *wq; /* GR */

	return queue_system(&wq, "system_percpu", WQ_PERCPU);
}

struct wq *wq_system_highpri(void)
{
	static struct wq *wq; /* GR */

	return queue_system(&wq, "system_highpri", WQ_PERCPU | WQ_HIGHPRI);
}

struct wq *wq_system_long(void)
{
	static struct wq *wq; /* GR */

	return queue_system(&wq, "system_long", WQ_PERCPU);
}

struct wq *wq_system_freezable(void)
{
	errno = EOPNOTSUPP;
	return NULL;
}

struct wq *wq_system_power_efficient(void)
{
	errno = EOPNOTSUPP;
	return NULL;
}

struct wq *wq_system_bh(void)
{
	errno = EOPNOTSUPP;
	return NULL;
}
