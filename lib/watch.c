/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the watch's looks.  Makes no threads and runs no items. */
#include "watch.h"

#include "worker.h"

#define WATCH_INTERVAL_NS 1000000u

/*
 * Nothing started for so long while items wait: one worker more.  Twice as long
 * before the next one, so that a crowd of long computing items does not get a
 * thread each; back to the start when nothing waits.
 */
#define STALL_MIN_NS 5000000u
#define STALL_MAX_NS 100000000u

/* So many looks at which nothing waits and nothing starts: no more, until it does. */
#define QUIET_LOOKS 4

uint64_t wqi_watch_begin(struct wqi_pool *pool, uint64_t now)
{
	bool watched;

	wqi_pool_lock(pool);
	/* A producer asks too: when workers are in items and it was not watched. */
	if (pool->nr_idle < pool->nr_workers)
		pool->watched = true;
	watched = pool->watched;
	pool->quiet_looks = 0;
	pool->seen_started = pool->nr_started;
	pool->stalled_since_ns = now;
	pool->stall_wait_ns = STALL_MIN_NS;
	wqi_pool_unlock(pool);
	return watched ? now + WATCH_INTERVAL_NS : 0;
}

/* A worker whose item holds up the others stops counting as running. */
static void watch_uncount_one_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	for (worker = pool->workers; worker; worker = worker->all_next) {
		if (worker->counted && worker->current_work) {
			wqi_worker_uncount_locked(worker);
			return;
		}
	}
}

static void watch_help_locked(struct wqi_pool *pool, uint64_t started, uint64_t now)
{
	if (!started && now - pool->stalled_since_ns >= pool->stall_wait_ns) {
		pool->stalled_since_ns = now;
		pool->stall_wait_ns *= 2;
		if (pool->stall_wait_ns > STALL_MAX_NS)
			pool->stall_wait_ns = STALL_MAX_NS;
		if (pool->nr_running >= pool->level)
			watch_uncount_one_locked(pool);
	}
	/* Dear items that looked cheap, or a worker that is stuck in one. */
	if (pool->nr_running && pool->nr_running < pool->level &&
	    started < WATCH_INTERVAL_NS / WQI_HELP_WORTH_NS) {
		pool->item_ns = WATCH_INTERVAL_NS / (started + 1);
		wqi_pool_wake_one_locked(pool);
	}
}

/*
 * Nothing waits, nothing starts.  Items may go on for hours: then the looks end,
 * and the next producer asks for them again (ORD-SLEEP (b): publish whom to wake,
 * then look at the inbox).  A worker whose item ends does too.
 */
static bool watch_may_end_locked(struct wqi_pool *pool)
{
	if (pool->nr_idle == pool->nr_workers) {
		pool->watched = false;
		return true;
	}
	if (++pool->quiet_looks < QUIET_LOOKS || pool->nr_creating)
		return false;
	if (pool->nr_running) {
		wqi_xchg(&pool->kick, WQI_KICK_MANAGER);
		if (!wqi_inbox_is_empty(&pool->inbox)) {
			wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
			return false;
		}
	}
	pool->watched = false;
	return true;
}

uint64_t wqi_watch_look(struct wqi_pool *pool, uint64_t now)
{
	uint64_t started, next = now + WATCH_INTERVAL_NS;
	bool waiting;

	wqi_pool_lock(pool);
	wqi_pool_splice_locked(pool);
	waiting = wqi_pool_has_work_locked(pool);
	started = pool->nr_started - pool->seen_started;
	pool->seen_started = pool->nr_started;
	if (started)
		pool->stalled_since_ns = now;
	if (waiting || started)
		pool->quiet_looks = 0;
	if (waiting) {
		watch_help_locked(pool, started, now);
	} else {
		pool->stalled_since_ns = now;
		pool->stall_wait_ns = STALL_MIN_NS;
		if (!started && watch_may_end_locked(pool))
			next = 0;
	}
	wqi_pool_unlock(pool);
	return next;
}
