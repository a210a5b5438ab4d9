/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the manager thread: it makes workers where one is missing, ends those that
 * are idle for too long, joins them, and tries again later what failed.  Runs no
 * items and is on nobody's fast path.
 */
#include "manager.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "cpu.h"
#include "hotplug.h"
#include "limit.h"
#include "monitor.h"
#include "reap.h"
#include "refresh.h"
#include "runtime.h"
#include "sentinel.h"
#include "service.h"
#include "table.h"
#include "timer.h"
#include "worker.h"
#include "zephyr.h"

/* After a thread could not be made, the next attempt waits this long. */
#define CREATE_COOL_DOWN_NS 100000000u

/* Failures to make a thread after which one that is idle in another pool is given up. */
#define FAILURES_A_THREAD 10u

struct wqi_pool *wqi_manager_pools; /* manager only */

static struct wqi_requests manager_requests;
static pthread_t manager_thread; /* G */
static bool manager_stopping;	 /* A, release/acquire */
static uint32_t manager_busy;	 /* A, seq_cst: it makes a thread, which may take long */
static bool manager_has_shared;	 /* manager only: a worker that CPUs matter to was made */

static struct wqi_pool *manager_pool_of(struct wqi_request *request)
{
	return caa_container_of(request, struct wqi_pool, to_manager);
}

void wqi_manager_poke(void)
{
	wqi_requests_poke(&manager_requests);
}

/*
 * ORD-BUSY (a): the request is pushed, then `busy` is read.  While a thread is being
 * made, the monitor is to see whether the pool can wait for that (rescuer.h).
 */
void wqi_manager_request(struct wqi_pool *pool)
{
	wqi_request_make(&manager_requests, &pool->to_manager);
	if (wqi_unlikely(wqi_load_seq_cst(&manager_busy)))
		wqi_monitor_request(pool);
}

static void manager_end_busy(void)
{
	wqi_xchg(&manager_busy, 0);
}

/* ORD-BUSY (b): `busy` is set, then the requests that wait are read. */
static void manager_begin_busy(void)
{
	struct wqi_request *request;

	wqi_xchg(&manager_busy, 1);
	for (request = wqi_load_seq_cst(&manager_requests.top); request;
	     request = wqi_load_relaxed(&request->next))
		wqi_monitor_request(manager_pool_of(request));
}

/* Some idle in reserve while others are busy or items wait. */
static bool pool_needs_worker_locked(struct wqi_pool *pool)
{
	if (pool->nr_creating || pool->closing)
		return false;
	if (pool->nr_idle)
		return !pool->sole && wqi_pool_has_work_locked(pool) &&
		       2 * pool->nr_idle < wqi_pool_reserve_locked(pool);
	if (pool->dedicated)
		return !pool->nr_workers && !pool->adopted && wqi_load_acquire(&pool->name);
	if (pool->sole)
		return !pool->nr_workers && wqi_pool_has_work_locked(pool);
	return pool->nr_workers || wqi_pool_has_work_locked(pool);
}

static bool pool_has_workers_locked(const struct wqi_pool *pool)
{
	return pool->nr_workers || pool->nr_creating || pool->dead;
}

static void manager_watch_if_waiting_locked(struct wqi_pool *pool)
{
	wqi_pool_splice_locked(pool);
	if (wqi_pool_has_work_locked(pool) && !pool->watched && !pool->sole)
		wqi_pool_call_watch_locked(pool);
}

/*
 * Nothing came of it: another thread is not tried for a while, and then only if
 * items wait; who comes later asks anew.  Meanwhile they may have to be rescued.
 */
static void manager_failed_locked(struct wqi_pool *pool, struct wqi_worker *worker)
{
	uint64_t not_before = wqi_now_ns() + CREATE_COOL_DOWN_NS;

	wqi_store_relaxed(&pool->not_before_ns, not_before);
	pool->nr_creating--;
	wqi_count(&pool->nr_create_failed, 1);
	if (worker) {
		worker->spare_next = pool->spare;
		pool->spare = worker;
	}
	manager_watch_if_waiting_locked(pool);
	if (wqi_pool_has_work_locked(pool) || pool->dedicated)
		pool->retry_ns = not_before;
	else
		wqi_pool_hand_over_locked(pool);
	pool->nr_failed_in_row++;
	/* As at the limit: who has nobody comes before reserves, and gets one that is idle. */
	if (!pool->nr_running && !pool->nr_idle && pool->retry_ns &&
	    !wqi_load_relaxed(&pool->awaited))
		pool->needy_ns = wqi_now_ns();
}

/* Make one thread; the lock is dropped meanwhile.  Is it on its way? */
static bool manager_create_one_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker = pool->spare;
	int err;

	if (worker)
		pool->spare = worker->spare_next;
	pool->nr_creating++;
	/* Without anybody else its items may have to be rescued. */
	if (!pool->nr_running)
		manager_watch_if_waiting_locked(pool);
	wqi_pool_unlock(pool);
	manager_begin_busy();
	if (!worker)
		worker = wqi_worker_new(pool);
	err = worker ? wqi_worker_start(pool, worker) : ENOMEM;
	manager_end_busy();
	wqi_pool_lock(pool);
	if (err) {
		manager_failed_locked(pool, worker);
		return false;
	}
	wqi_store_relaxed(&pool->not_before_ns, UINT64_C(0));
	pool->nr_failed_in_row = 0;
	wqi_limit_count(pool, 1);
	wqi_sentinels_forgive();
	manager_has_shared |= !pool->dedicated;
	return true;
}

/* Where workers block one after the other, to make them one by one would take a round each. */
static unsigned manager_batch_locked(const struct wqi_pool *pool)
{
	unsigned want = wqi_pool_reserve_locked(pool), nr = 1;
	struct cds_list_head *link = pool->worklist.next;

	if (pool->sole)
		return 1;
	for (; nr + pool->nr_idle < want && link != &pool->worklist; nr++)
		link = link->next;
	return nr;
}

static void manager_create(struct wqi_pool *pool)
{
	uint64_t retry_ns;
	unsigned nr;

	wqi_pool_lock(pool);
	wqi_pool_splice_locked(pool);
	if (!pool_needs_worker_locked(pool)) {
		/* The next to be kicked must be known, or be woken at once. */
		if (!pool->nr_creating)
			wqi_pool_hand_over_locked(pool);
		wqi_pool_unlock(pool);
		pool->needy_ns = 0;
		return;
	}
	for (nr = manager_batch_locked(pool); nr; nr--) {
		if (!wqi_limit_grant_locked(pool)) {
			/* Not while it has nobody and gets somebody soon; else producers must ask.
			 */
			if (!pool->needy_ns)
				wqi_pool_hand_over_locked(pool);
			manager_watch_if_waiting_locked(pool);
			break;
		}
		if (!manager_create_one_locked(pool) || pool->closing)
			break;
	}
	retry_ns = pool->retry_ns;
	wqi_pool_unlock(pool);
	if (!nr || !pool->needy_ns)
		return;
	if (!retry_ns) {
		wqi_limit_take_from_others(pool);
		return;
	}
	/* The limit is not ours: a thread less need not help.  So rarely, and the next try is as
	 * planned. */
	if (pool->nr_failed_in_row % FAILURES_A_THREAD == 1)
		wqi_limit_take_from_others(pool);
	pool->retry_ns = retry_ns;
}

static void manager_forget(struct wqi_pool *pool)
{
	struct wqi_pool **at = &wqi_manager_pools;

	while (*at != pool)
		at = &(*at)->managed_next;
	*at = pool->managed_next;
	pool->managed = false;
	pool->needy_ns = pool->retry_ns = pool->join_ns = 0;
}

/* Somebody waits for the pool's first worker to be made, or its last to be gone. */
static void manager_settle(struct wqi_pool *pool)
{
	bool has_workers, closing;

	wqi_pool_lock(pool);
	closing = pool->closing;
	has_workers = pool_has_workers_locked(pool);
	wqi_pool_unlock(pool);
	if (closing && has_workers)
		return;
	if (!has_workers)
		manager_forget(pool);
	wqi_store_relaxed(&pool->awaited, false);
	wqi_futex_post(&pool->settled);
}

/* It is too early to try again; items that wait may have to be rescued. */
static void manager_postpone(struct wqi_pool *pool)
{
	wqi_pool_lock(pool);
	manager_watch_if_waiting_locked(pool);
	if (wqi_pool_has_work_locked(pool) || pool->dedicated)
		pool->retry_ns = wqi_load_relaxed(&pool->not_before_ns);
	else
		wqi_pool_hand_over_locked(pool);
	if (!pool->retry_ns)
		pool->needy_ns = 0;
	wqi_pool_unlock(pool);
}

/* Who waits said before what for: `awaited` is read first, or the answer would be to nothing. */
static void manager_look_at(struct wqi_pool *pool)
{
	bool awaited = wqi_load_acquire(&pool->awaited);

	if (!pool->managed) {
		pool->managed = true;
		pool->managed_next = wqi_manager_pools;
		wqi_manager_pools = pool;
	}
	wqi_reap_dead(pool);
	if (awaited) {
		pool->retry_ns = 0; /* of the pool's former life */
		wqi_store_relaxed(&pool->not_before_ns, UINT64_C(0));
	}
	if (wqi_now_ns() < wqi_load_relaxed(&pool->not_before_ns))
		manager_postpone(pool);
	else if (!pool->retry_ns)
		manager_create(pool);
	if (awaited)
		manager_settle(pool);
}

static void manager_serve_requests(void)
{
	struct wqi_request *request = wqi_requests_take(&manager_requests), *at, *next;
	struct wqi_pool *pool;

	/* All but the first wait until a thread for that has been made. */
	for (at = request; at && (next = wqi_load_relaxed(&at->next)); at = next)
		wqi_monitor_request(manager_pool_of(next));
	for (; request; request = next) {
		next = wqi_request_take(request);
		manager_look_at(manager_pool_of(request));
	}
	if (!wqi_sentinels_ask())
		return;
	for (pool = wqi_manager_pools; pool; pool = pool->managed_next)
		if (wqi_load_relaxed(&pool->asked) && wqi_xchg(&pool->asked, false))
			manager_look_at(pool);
}

/* What is due by time.  Returns when the next thing is. */
static uint64_t manager_serve_times(void)
{
	uint64_t now = wqi_now_ns(), next = UINT64_MAX, at;
	struct wqi_pool *pool;

	for (pool = wqi_manager_pools; pool; pool = pool->managed_next) {
		if (pool->retry_ns && now >= pool->retry_ns) {
			pool->retry_ns = 0;
			manager_create(pool);
		}
		if (pool->retry_ns && pool->retry_ns < next)
			next = pool->retry_ns;
		if (pool->join_ns && now >= pool->join_ns) {
			manager_look_at(pool);
			return now;
		}
		if (pool->join_ns && pool->join_ns < next)
			next = pool->join_ns;
		at = wqi_reap_idle(pool, now);
		if (at < next)
			next = at;
	}
	return next;
}

static void manager_make_sentinels(void)
{
	if (!wqi_sentinels_are_wanted())
		return;
	manager_begin_busy();
	wqi_sentinels_make();
	manager_end_busy();
}

/*
 * What may take long, but for workers, which do not wait for this: it makes a thread,
 * allocates, reads files and waits for grace periods.  Returns when to try again.
 */
static uint64_t manager_serve_slow(void)
{
	uint64_t tables, cpus, listens = UINT64_MAX, next;

	if (!manager_has_shared && !wqi_tables_are_asked() && !wqi_refresh_is_asked())
		return UINT64_MAX;
	manager_begin_busy();
	manager_has_shared = manager_has_shared && !wqi_hotplug_start();
	if (manager_has_shared)
		listens = wqi_now_ns() + CREATE_COOL_DOWN_NS;
	tables = wqi_tables_serve();
	cpus = wqi_refresh_serve();
	manager_end_busy();
	next = tables < cpus ? tables : cpus;
	return next < listens ? next : listens;
}

static void *manager_main(void *arg)
{
	uint64_t next, now, other;
	uint32_t event;

	(void)arg;
	wqi_service_begin("wq/manager");
	wqi_service_last(WQI_LASTING_MANAGER);
	for (;;) {
		event = wqi_load_seq_cst(&manager_requests.event);
		manager_make_sentinels();
		manager_serve_requests();
		wqi_timers_serve_unpark();
		if (wqi_load_acquire(&manager_stopping))
			return NULL;
		next = manager_serve_times();
		other = manager_serve_slow();
		next = other < next ? other : next;
		now = wqi_now_ns();
		if (next > now)
			wqi_futex_wait(&manager_requests.event, event,
				       next == UINT64_MAX ? WQI_NO_TIMEOUT : next - now);
	}
}

static void manager_await(struct wqi_pool *pool)
{
	wqi_store_relaxed(&pool->settled, 0u);
	wqi_store_release(&pool->awaited, true);
	wqi_manager_request(pool);
	wqi_futex_wait_post(&pool->settled);
}

int wqi_manager_make_first(struct wqi_pool *pool)
{
	bool made;

	wqi_assert_held(&wqi_runtime.lock);

	manager_await(pool);
	wqi_pool_lock(pool);
	made = pool->nr_workers || pool->nr_creating;
	wqi_pool_unlock(pool);
	return made ? 0 : -EAGAIN;
}

/* Without a worker there is none to come: in a child of a fork() nobody would answer. */
void wqi_manager_close(struct wqi_pool *pool)
{
	bool has_workers;

	wqi_pool_lock(pool);
	wqi_pool_close_locked(pool);
	has_workers = pool_has_workers_locked(pool);
	wqi_pool_unlock(pool);
	if (has_workers)
		manager_await(pool);
}

void wqi_manager_stop(void)
{
	wqi_store_release(&manager_stopping, true);
	wqi_manager_poke();
	pthread_join(manager_thread, NULL);
	wqi_manager_reset();
}

void wqi_manager_reset(void)
{
	wqi_requests_reset(&manager_requests);
	wqi_store_relaxed(&manager_busy, 0u);
	wqi_store_relaxed(&manager_stopping, false);
	manager_has_shared = false;
	wqi_manager_pools = NULL;
	wqi_limit_reset();
}

int wqi_manager_start(void)
{
	wqi_assert_held(&wqi_runtime.lock);

	return wqi_service_start(&manager_thread, -1, manager_main, NULL) ? -EAGAIN : 0;
}
