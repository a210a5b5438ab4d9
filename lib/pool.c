/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the pools' lists and the rules about whom to wake.  Runs nothing and makes
 * no threads.
 */
#include "pool.h"

#include <errno.h>

#include "cpu.h"
#include "flush.h"
#include "manager.h"
#include "mem.h"
#include "pwq.h"
#include "runtime.h"
#include "ids.h"
#include "worker.h"

/* Producers that bring items in batches of this size or more are left alone for longer. */
#define POOL_FLOW_ITEMS	 16
#define POOL_LONE_ITEMS	 2
#define POOL_LAZY_MIN_NS 250u
#define POOL_LAZY_MAX_NS 10000u

static struct wqi_pool *pool_percpu;  /* I: two a CPU, normal and high */
static struct wqi_pool *pool_unbound; /* G: by unbound_next */
static unsigned pool_unbound_nr;      /* G */

static size_t pool_percpu_bytes(void)
{
	return 2ul * wqi_cpus.nr * sizeof(*pool_percpu);
}

int wqi_pools_init(void)
{
	if (!pool_percpu)
		pool_percpu = wqi_zalloc(pool_percpu_bytes());
	return pool_percpu ? 0 : -ENOMEM;
}

struct wqi_pool *wqi_pool_percpu(unsigned cpu, bool high)
{
	return &pool_percpu[2 * cpu + high];
}

/* Linked by a release store: see fork.h. */
static void pool_list_locked(struct wqi_pool *pool)
{
	wqi_assert_held(&wqi_runtime.lock);

	pool->unbound_next = pool_unbound;
	wqi_store_release(&pool_unbound, pool);
}

/* One pod, all usable CPUs: nice is the only attribute that tells pools apart. */
struct wqi_pool *wqi_pool_unbound(int nice)
{
	struct wqi_pool *pool;

	for (pool = pool_unbound; pool; pool = pool->unbound_next)
		if (pool->nice == nice && !pool->dedicated)
			return pool;
	pool = wqi_zalloc(sizeof(*pool));
	if (!pool)
		return NULL;
	pool->id = pool_unbound_nr++;
	pool->level = wqi_cpus.nr_unbound;
	pool->cpu = -1;
	pool->nice = nice;
	pool_list_locked(pool);
	return pool;
}

/*
 * Pools of dedicated queues are used again and not freed: flushers look at the
 * pool once more after their item has ended.
 */
int wqi_pool_dedicated(struct wqi_pool **to, int nice, const char *name)
{
	struct wqi_pool *pool;

	for (pool = pool_unbound; pool; pool = pool->unbound_next)
		if (pool->dedicated && !pool->name)
			break;
	if (!pool) {
		pool = wqi_zalloc(sizeof(*pool));
		if (!pool)
			return -ENOMEM;
		pool->level = 1;
		pool->cpu = -1;
		pool->dedicated = true;
		pool_list_locked(pool);
	}
	pool->nice = nice;
	wqi_store_release(&pool->name, name);
	wqi_pool_lock(pool);
	pool->closing = false;
	wqi_pool_unlock(pool);
	if (wqi_manager_make_first(pool)) {
		/* Another look at the pool may be on its way, and have more luck. */
		wqi_manager_close(pool);
		wqi_pool_spare_dedicated(pool);
		return -EAGAIN;
	}
	*to = pool;
	return 0;
}

void wqi_pool_spare_dedicated(struct wqi_pool *pool)
{
	wqi_store_release(&pool->name, (const char *)NULL);
}

void wqi_pool_close_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	wqi_assert_held(&pool->lock);

	pool->closing = true;
	cds_list_for_each_entry(worker, &pool->idle, idle_node)
		if (!wqi_xchg(&worker->wake, 1))
			wqi_futex_wake(&worker->wake, 1);
}

void wqi_pools_each(void (*fn)(struct wqi_pool *pool))
{
	struct wqi_pool *pool;
	unsigned i;

	for (pool = pool_unbound; pool; pool = pool->unbound_next)
		if (wqi_load_acquire(&pool->workers))
			fn(pool);
	for (i = 0; pool_percpu && i < 2 * wqi_cpus.nr; i++)
		if (wqi_load_acquire(&pool_percpu[i].workers))
			fn(&pool_percpu[i]);
}

static void pool_free_workers(struct wqi_pool *pool)
{
	struct wqi_worker *worker, *next;

	for (worker = pool->workers; worker; worker = next) {
		next = worker->all_next;
		wqi_free(worker, sizeof(*worker));
	}
}

/* A copy that fork() makes meanwhile finds the lists empty, or whole. */
void wqi_pools_free(void)
{
	struct wqi_pool *pool = pool_unbound, *percpu = pool_percpu, *next;
	unsigned i;

	wqi_store_release(&pool_unbound, (struct wqi_pool *)NULL);
	wqi_store_release(&pool_percpu, (struct wqi_pool *)NULL);
	pool_unbound_nr = 0;
	for (; pool; pool = next) {
		next = pool->unbound_next;
		pool_free_workers(pool);
		wqi_free(pool, sizeof(*pool));
	}
	for (i = 0; percpu && i < 2 * wqi_cpus.nr; i++)
		pool_free_workers(&percpu[i]);
	if (percpu)
		wqi_free(percpu, pool_percpu_bytes());
}

/* What stays of a pool in the child of a fork(): what it is, and its workers' records. */
static void pool_reset(struct wqi_pool *pool)
{
	struct wqi_worker *workers = pool->workers, *worker;
	struct wqi_pool was = {
		.id = pool->id,
		.level = pool->level,
		.cpu = pool->cpu,
		.nice = pool->nice,
		.name = pool->name,
		.dedicated = pool->dedicated,
		.unbound_next = pool->unbound_next,
		.workers = workers,
	};

	was.next_worker_id = pool->next_worker_id;
	*pool = was;
	for (worker = workers; worker; worker = worker->all_next) {
		wqi_worker_reset(worker);
		worker->spare_next = pool->spare;
		pool->spare = worker;
	}
}

void wqi_pools_reset(void)
{
	struct wqi_pool *pool;
	unsigned i;

	for (pool = pool_unbound; pool; pool = pool->unbound_next)
		pool_reset(pool);
	/* Untouched ones are zero, and remain untouched. */
	for (i = 0; pool_percpu && i < 2 * wqi_cpus.nr; i++) {
		pool = &pool_percpu[i];
		if (pool->ready || pool->inbox.top || pool->kick || pool->requested ||
		    pool->lock.word)
			pool_reset(pool);
	}
}

static void pool_ready_locked(struct wqi_pool *pool)
{
	size_t index;

	CDS_INIT_LIST_HEAD(&pool->ready_list);
	CDS_INIT_LIST_HEAD(&pool->worklist);
	CDS_INIT_LIST_HEAD(&pool->idle);
	CDS_INIT_LIST_HEAD(&pool->waiters);
	if (!pool->level) {
		index = (size_t)(pool - pool_percpu);
		pool->cpu = (int)(index / 2);
		pool->nice = index & 1 ? -20 : 0;
		pool->level = 1;
	}
	pool->ready = true;
}

__thread volatile unsigned wqi_pool_locks_held;

void wqi_pool_lock(struct wqi_pool *pool)
{
	wqi_yield_point();
	wqi_pool_locks_held++;
	wqi_lock(&pool->lock);
	if (wqi_unlikely(!pool->ready))
		pool_ready_locked(pool);
}

/* Batches tell whether a producer is in full flow; see worker_spin_locked(). */
static void pool_note_batch_locked(struct wqi_pool *pool, unsigned nr)
{
	if (nr >= POOL_FLOW_ITEMS) {
		pool->lazy_ns = pool->lazy_ns ? pool->lazy_ns * 2 : POOL_LAZY_MIN_NS;
		if (pool->lazy_ns > POOL_LAZY_MAX_NS)
			pool->lazy_ns = POOL_LAZY_MAX_NS;
	} else if (nr <= POOL_LONE_ITEMS) {
		pool->lazy_ns /= 4;
		if (pool->lazy_ns < POOL_LAZY_MIN_NS)
			pool->lazy_ns = 0;
	}
}

/*
 * The inbox comes newest first.  One pass links it into the worklist from behind
 * and counts each item in, so that every item's line is fetched once.
 */
unsigned wqi_pool_splice_locked(struct wqi_pool *pool)
{
	struct cds_list_head *tail = pool->worklist.prev, *newer = &pool->worklist;
	struct cds_list_head *link, *older;
	struct wqi_pwq *pwq = NULL;
	uint32_t id = 0;
	unsigned nr = 0;

	wqi_assert_held(&pool->lock);

	if (!wqi_load_relaxed(&pool->inbox.top))
		return 0;
	for (link = wqi_inbox_take_all(&pool->inbox); link; link = older) {
		struct wq_work *work = wqi_link_work(link);
		uint64_t state = wqi_state(work);

		older = link->next;
		if (wqi_unlikely(state & WQI_CANCEL)) {
			/* Cancelled on its way: this ends it.  Not ours any more. */
			wqi_pool_unclaim_locked(pool, work);
			continue;
		}
		if (wqi_state_id(state) != id) {
			id = wqi_state_id(state);
			pwq = wqi_ids_get(id);
			wqi_assert(pwq && wqi_pwq_pool(pwq) == pool);
		}
		link->next = newer;
		newer->prev = link;
		newer = link;
		wqi_pwq_accept_locked(pwq, work, state);
		nr++;
	}
	newer->prev = tail;
	tail->next = newer;
	pool_note_batch_locked(pool, nr);
	return nr;
}

void wqi_pool_kick_slow(struct wqi_pool *pool)
{
	uintptr_t kick = wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
	struct wqi_worker *worker;

	wqi_yield_point();
	if (kick == WQI_KICK_NOBODY)
		return;
	if (kick == WQI_KICK_MANAGER) {
		wqi_manager_request(pool);
		return;
	}
	worker = (struct wqi_worker *)kick;
	if (!wqi_xchg(&worker->wake, 1))
		wqi_futex_wake(&worker->wake, 1);
}

void wqi_pool_wake_one_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;
	bool on_its_way = false;

	wqi_assert_held(&pool->lock);

	cds_list_for_each_entry(worker, &pool->idle, idle_node) {
		if (!wqi_xchg(&worker->wake, 1)) {
			wqi_futex_wake(&worker->wake, 1);
			return;
		}
		on_its_way = on_its_way || !worker->retire;
	}
	if (!on_its_way)
		wqi_manager_request(pool);
}

static uintptr_t pool_next_to_kick_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	cds_list_for_each_entry(worker, &pool->idle, idle_node)
		if (!wqi_load_relaxed(&worker->wake))
			return (uintptr_t)worker;
	return WQI_KICK_MANAGER;
}

void wqi_pool_call_watch_locked(struct wqi_pool *pool)
{
	wqi_assert_held(&pool->lock);

	pool->watched = true;
	if (pool->dedicated)
		return; /* nobody else may run its items */
	/* The manager is called now; producers need not. */
	wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
	wqi_manager_request(pool);
}

/*
 * ORD-SLEEP (b): publish whom to wake, then look at the inbox.  Partner: (a)
 * push, then look at kick.  All four are seq_cst, so "the producer sees nobody to
 * wake and we see no item" is impossible.
 */
void wqi_pool_hand_over_locked(struct wqi_pool *pool)
{
	wqi_assert_held(&pool->lock);

	if (pool->nr_running) {
		if (!pool->watched && wqi_pool_has_work_locked(pool))
			wqi_pool_call_watch_locked(pool);
		return;
	}
	if (!wqi_pool_has_work_locked(pool)) {
		wqi_xchg(&pool->kick, pool_next_to_kick_locked(pool));
		wqi_yield_point();
		if (wqi_inbox_is_empty(&pool->inbox))
			return;
		if (wqi_xchg(&pool->kick, WQI_KICK_NOBODY) == WQI_KICK_NOBODY)
			return; /* a producer was quicker */
	} else {
		wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
	}
	wqi_pool_wake_one_locked(pool);
}

struct wqi_worker *wqi_pool_find_running_locked(struct wqi_pool *pool, const struct wq_work *work)
{
	struct wqi_worker *worker = pool->busy[wqi_pool_bucket(work)];

	wqi_assert_held(&pool->lock);

	for (; worker; worker = worker->busy_next)
		if (worker->current_work == work && worker->current_fn == work->wq_fn)
			return worker;
	return NULL;
}

uint64_t wqi_pool_unclaim_locked(struct wqi_pool *pool, struct wq_work *work)
{
	struct wqi_worker *worker = wqi_pool_find_running_locked(pool, work);
	uint64_t old = wqi_load_relaxed(&work->wq_state), new;

	do {
		new = old & ~WQI_PENDING_ALL;
		if (worker)
			new = (new & ~WQI_ID_MASK) |
			      (uint64_t)wqi_load_relaxed(&worker->current_pwq->id) << WQI_ID_SHIFT;
	} while (!wqi_cas(&work->wq_state, &old, new));
	/* The item may be queued again from here on: only its address is used. */
	if (old & WQI_LINKED)
		wqi_flush_cancelled_locked(pool, work, worker);
	return old;
}

struct wqi_pwq *wqi_pool_running_pwq_rcu(struct wqi_pool *pool, const struct wq_work *work)
{
	struct wqi_worker *worker = wqi_load_acquire(&pool->workers);
	struct wqi_pwq *pwq;

	for (; worker; worker = worker->all_next) {
		/* ORD-RUNNING (b): item, its pwq, item again. */
		if (wqi_load_acquire(&worker->current_work) != work)
			continue;
		pwq = wqi_load_acquire(&worker->current_pwq);
		if (wqi_load_acquire(&worker->current_fn) != work->wq_fn)
			continue;
		if (wqi_load_acquire(&worker->current_work) == work)
			return pwq;
	}
	return NULL;
}
