/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the limit of threads (max_threads): who may have one more, and who gives one
 * up.  Called by the manager alone.  Makes and joins none itself.
 */
#include "limit.h"

#include "config.h"
#include "manager.h"
#include "worker.h"

/* At the limit, when to look again whether a thread can be had. */
#define LIMIT_LOOK_NS 10000000u

bool wqi_limit_reached; /* A, relaxed: a hint */

static unsigned limit_nr_threads; /* manager only: made and not joined, but dedicated ones */

static bool limit_is_reached(void)
{
	return wqi_config.max_threads && limit_nr_threads >= wqi_config.max_threads;
}

/*
 * True: a worker of the pool is about to end.  @overdue: one that has items will do,
 * and one that has been ending for long (in a destructor) does not count.
 */
static bool limit_take_from_locked(struct wqi_pool *pool, bool overdue, bool busy)
{
	struct wqi_worker *oldest;

	if (pool->retiring && !overdue)
		return true;
	/* Where it is not our limit each pool keeps one: it might not get another. */
	if (pool->nr_idle > !limit_is_reached()) {
		oldest = cds_list_entry(pool->idle.prev, struct wqi_worker, idle_node);
		if (wqi_load_seq_cst(&oldest->wake) != 1) {
			wqi_pool_retire_locked(pool, oldest);
			return true;
		}
	}
	/* One that was asked before may be in an item that never ends: on to the next. */
	if (!busy || pool->nr_workers == pool->nr_idle || pool->give_up)
		return false;
	pool->give_up = true;
	return true;
}

/*
 * At the limit, a pool that has items and nobody to run them gets the worker of
 * another: an idle one at once, one that has other items after a while, when it is
 * through with the present one.  Asked again until one has come.
 */
void wqi_limit_take_from_others(struct wqi_pool *needy)
{
	uint64_t now = wqi_now_ns();
	bool overdue = now - needy->needy_ns >= LIMIT_LOOK_NS, found = false;
	struct wqi_pool *pool;
	int pass;

	/* Where it is not the limit that is in the way, one more busy one would not help. */
	if (!limit_is_reached())
		overdue = false;
	for (pass = 0; !found && pass <= overdue; pass++) {
		for (pool = wqi_manager_pools; pool && !found; pool = pool->managed_next) {
			if (pool == needy || pool->dedicated)
				continue;
			wqi_pool_lock(pool);
			found = limit_take_from_locked(pool, overdue, pass);
			wqi_pool_unlock(pool);
		}
	}
	needy->retry_ns = now + LIMIT_LOOK_NS;
}

static struct wqi_pool *limit_neediest(void)
{
	struct wqi_pool *pool, *first = NULL;

	for (pool = wqi_manager_pools; pool; pool = pool->managed_next)
		if (pool->needy_ns && (!first || pool->needy_ns < first->needy_ns))
			first = pool;
	return first;
}

void wqi_limit_count(struct wqi_pool *pool, int n)
{
	if (pool->dedicated)
		return;
	limit_nr_threads += (unsigned)n;
	wqi_store_relaxed(&wqi_limit_reached, limit_is_reached());
}

/* A thread less: whoever has waited longest for one comes first. */
void wqi_limit_release(struct wqi_pool *pool)
{
	struct wqi_pool *needy;

	wqi_limit_count(pool, -1);
	needy = limit_neediest();
	if (needy)
		needy->retry_ns = 1; /* now */
}

/*
 * May the pool have one more thread?  Those of dedicated queues do not count: they
 * are never free for others.  Who has waited longer is served first, and reserves
 * come last.
 */
bool wqi_limit_grant_locked(struct wqi_pool *pool)
{
	bool must = !pool->nr_running && !pool->nr_idle && wqi_pool_has_work_locked(pool);
	struct wqi_pool *first = limit_neediest();

	if (pool->dedicated) {
		pool->needy_ns = 0;
		return true;
	}
	if (!limit_is_reached() && (!first || first == pool)) {
		pool->needy_ns = 0;
		pool->give_up = false; /* asked for when it had others */
		return true;
	}
	if (!must) {
		pool->needy_ns = 0;
	} else if (!pool->needy_ns) {
		pool->needy_ns = wqi_now_ns();
		pool->nr_limit_waits++;
	}
	return false;
}

void wqi_limit_reset(void)
{
	limit_nr_threads = 0;
	wqi_store_relaxed(&wqi_limit_reached, false);
}
