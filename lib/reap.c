/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns ending and joining workers.  Makes none (manager.c). */
#include "reap.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "config.h"
#include "limit.h"
#include "manager.h"
#include "worker.h"

/* A thread that ends is asked for so often, and again after a while. */
#define JOIN_TRIES  100
#define JOIN_MIN_NS 1000000u
#define JOIN_MAX_NS 100000000u

/*
 * A thread that ends runs destructors of the program's, which may take their time,
 * or wait for items: nobody must wait for them but those who close the pool.
 */
static bool reap_try_join(pthread_t thread)
{
	int i;

	for (i = 0; i < JOIN_TRIES; i++) {
		if (pthread_tryjoin_np(thread, NULL) != EBUSY)
			return true;
		sched_yield();
	}
	return false;
}

static void reap_unlist_locked(struct wqi_pool *pool, struct wqi_worker *worker)
{
	struct wqi_worker **at = &pool->dead;

	while (*at != worker)
		at = &(*at)->spare_next;
	*at = worker->spare_next;
}

static void reap_append_locked(struct wqi_pool *pool, struct wqi_worker *worker)
{
	struct wqi_worker **at = &pool->dead;

	while (*at)
		at = &(*at)->spare_next;
	worker->spare_next = NULL;
	*at = worker;
}

void wqi_reap_dead(struct wqi_pool *pool)
{
	struct wqi_worker *worker, *first = NULL;
	bool joined;

	pool->join_ns = 0;
	wqi_pool_lock(pool);
	while ((worker = pool->dead) && worker != first) {
		wqi_pool_unlock(pool);
		joined = reap_try_join(worker->thread);
		wqi_pool_lock(pool);
		reap_unlist_locked(pool, worker);
		if (joined) {
			wqi_limit_release(pool);
			worker->spare_next = pool->spare;
			pool->spare = worker;
			pool->retiring = false;
			pool->join_wait_ns = 0;
		} else {
			reap_append_locked(pool, worker);
			first = first ? first : worker;
		}
	}
	if (pool->dead) {
		pool->join_wait_ns = pool->join_wait_ns ? 2 * pool->join_wait_ns : JOIN_MIN_NS;
		if (pool->join_wait_ns > JOIN_MAX_NS)
			pool->join_wait_ns = JOIN_MAX_NS;
		pool->join_ns = wqi_now_ns() + pool->join_wait_ns;
	}
	wqi_pool_unlock(pool);
}

/* End the worker that is idle longest, if its time is up.  When to look again. */
uint64_t wqi_reap_idle(struct wqi_pool *pool, uint64_t now)
{
	struct wqi_worker *oldest;
	uint64_t at = UINT64_MAX;

	wqi_pool_lock(pool);
	pool->retire_timed = false;
	if (wqi_too_many_workers_locked(pool)) {
		oldest = cds_list_entry(pool->idle.prev, struct wqi_worker, idle_node);
		at = oldest->idle_since_ns + wqi_load_relaxed(&wqi_config.idle_timeout_ns);
		if (wqi_load_relaxed(&oldest->wake) == 1) {
			at = UINT64_MAX; /* about to run; asks again when it is idle */
		} else if (now < at) {
			pool->retire_timed = true;
		} else {
			wqi_pool_retire_locked(pool, oldest);
			at = UINT64_MAX; /* its end is a request */
		}
	}
	wqi_pool_unlock(pool);
	return at;
}
