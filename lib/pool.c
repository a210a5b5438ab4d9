/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the pools and their lists.  Wakes nobody (kick.c), runs nothing and makes
 * no threads; their locks are bias.c's.
 */
#include "pool.h"

#include <errno.h>
#include <string.h>

#include "flush.h"
#include "manager.h"
#include "mem.h"
#include "pwq.h"
#include "runtime.h"
#include "rescuer.h"
#include "table.h"
#include "worker.h"

/* Producers that bring items in batches of this size or more are left alone for longer. */
#define POOL_FLOW_ITEMS	 16
#define POOL_LONE_ITEMS	 2
#define POOL_LAZY_MIN_NS 250u
#define POOL_LAZY_MAX_NS 10000u

static struct wqi_pool *pool_percpu;  /* I: WQI_NR_PERCPU a CPU */
static struct wqi_pool *pool_unbound; /* G: by unbound_next */
static unsigned pool_unbound_nr;      /* G */

static size_t pool_percpu_bytes(void)
{
	return (size_t)WQI_NR_PERCPU * wqi_cpus.nr * sizeof(*pool_percpu);
}

int wqi_pools_init(void)
{
	if (!pool_percpu)
		pool_percpu = wqi_zalloc(pool_percpu_bytes());
	return pool_percpu ? 0 : -ENOMEM;
}

struct wqi_pool *wqi_pool_percpu(unsigned cpu, enum wqi_percpu kind)
{
	return &pool_percpu[WQI_NR_PERCPU * cpu + kind];
}

/* Linked by a release store: see fork.h. */
static void pool_list_locked(struct wqi_pool *pool)
{
	wqi_assert_held(&wqi_runtime.lock);

	pool->unbound_next = pool_unbound;
	wqi_store_release(&pool_unbound, pool);
}

/* Places for those of its own CPUs, as many that it may borrow, and some that return. */
static unsigned pool_nr_runners(unsigned level)
{
	return 2 * level + WQI_FEW_RUNNERS;
}

static void pool_free_runners(struct wqi_pool *pool)
{
	if (pool->runners != pool->few)
		wqi_free(pool->runners, pool->nr_runners * sizeof(struct wqi_worker *));
}

static struct wqi_pool *pool_new_unbound(unsigned nr_cpus)
{
	struct wqi_pool *pool = wqi_zalloc(sizeof(*pool));

	if (!pool)
		return NULL;
	pool->nr_runners = pool_nr_runners(nr_cpus);
	pool->runners = wqi_zalloc(pool->nr_runners * sizeof(struct wqi_worker *));
	if (!pool->runners || wqi_inbox_init(&pool->inbox, nr_cpus)) {
		if (pool->runners)
			pool_free_runners(pool);
		wqi_free(pool, sizeof(*pool));
		return NULL;
	}
	pool->id = pool_unbound_nr++;
	pool->level = 1;
	pool->cpu = -1;
	pool_list_locked(pool);
	return pool;
}

/*
 * As those of dedicated queues: used again, and not freed, for sentinels, monitor and
 * flushers may look at one once more.
 */
struct wqi_pool *wqi_pool_unbound(struct wqi_pods *pods, unsigned pod, unsigned level)
{
	unsigned nr_cpus = pods->pod[pod].nr_cpus;
	struct wqi_pool *pool;

	for (pool = pool_unbound; pool; pool = pool->unbound_next)
		if (!pool->dedicated && !pool->pods && pool->nr_runners >= pool_nr_runners(nr_cpus))
			break;
	if (!pool)
		pool = pool_new_unbound(nr_cpus);
	if (!pool)
		return NULL;
	wqi_pool_lock(pool);
	pool->pods = pods;
	pool->pod = pod;
	pool->nice = pods->nice;
	wqi_store_relaxed(&pool->level, level);
	pool->item_ns = 0;
	pool->closing = false;
	wqi_pool_unlock(pool);
	return pool;
}

void wqi_pool_end_unbound(struct wqi_pool *pool)
{
	wqi_pool_lock(pool);
	wqi_pool_close_locked(pool);
	wqi_pool_unlock(pool);
	wqi_manager_request(pool);
}

bool wqi_pool_has_ended(struct wqi_pool *pool)
{
	bool ended;

	wqi_pool_lock(pool);
	ended = pool->closing && !pool->nr_workers && !pool->nr_creating && !pool->dead;
	wqi_pool_unlock(pool);
	return ended;
}

void wqi_pool_spare_unbound(struct wqi_pool *pool)
{
	wqi_pool_lock(pool);
	pool->pods = NULL;
	wqi_pool_unlock(pool);
}

/*
 * Pools of dedicated queues are used again and not freed: flushers look at the
 * pool once more after their item has ended.
 */
int wqi_pool_dedicated(struct wqi_pool **to, const struct wqi_dedicated *what)
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
		pool->dedicated = pool->sole = true;
		pool_list_locked(pool);
	}
	wqi_pool_lock(pool);
	pool->nice = what->nice;
	pool->zephyr = what->zephyr;
	pool->stack_bytes = what->stack_bytes;
	pool->adopted = what->adopted;
	pool->closing = false;
	wqi_store_release(&pool->rescues, what->rescues);
	wqi_store_release(&pool->name, what->name);
	wqi_pool_unlock(pool);
	if (!what->adopted && wqi_manager_make_first(pool)) {
		/* Another look at the pool may be on its way, and have more luck. */
		wqi_manager_close(pool);
		wqi_pool_spare_dedicated(pool);
		return -EAGAIN;
	}
	*to = pool;
	return 0;
}

void wqi_pools_restart_rescuers(void)
{
	struct wqi_pool *pool;

	wqi_assert_held(&wqi_runtime.lock);

	for (pool = pool_unbound; pool; pool = pool->unbound_next)
		if (pool->rescues)
			wqi_manager_request(pool);
}

void wqi_pool_spare_dedicated(struct wqi_pool *pool)
{
	wqi_store_release(&pool->rescues, (struct wq *)NULL);
	wqi_store_release(&pool->name, (const char *)NULL);
}

void wqi_pool_close_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	wqi_assert_held(&pool->lock);

	pool->closing = true;
	cds_list_for_each_entry(worker, &pool->idle, idle_node)
		wqi_pool_wake(worker);
}

/* Its first worker may just be being made: so not only those that have some. */
static bool pool_is_in_use(const struct wqi_pool *pool)
{
	return wqi_load_acquire(&pool->ready);
}

void wqi_pools_each(void (*fn)(struct wqi_pool *pool))
{
	struct wqi_pool *pool;
	unsigned i;

	for (pool = pool_unbound; pool; pool = pool->unbound_next)
		if (pool_is_in_use(pool))
			fn(pool);
	for (i = 0; pool_percpu && i < WQI_NR_PERCPU * wqi_cpus.nr; i++)
		if (pool_is_in_use(&pool_percpu[i]))
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
		pool_free_runners(pool);
		wqi_inbox_destroy(&pool->inbox);
		wqi_free(pool, sizeof(*pool));
	}
	for (i = 0; percpu && i < WQI_NR_PERCPU * wqi_cpus.nr; i++)
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
		.bh = pool->bh,
		.sole = pool->sole,
		.rescues = pool->rescues,
		.zephyr = pool->zephyr,
		.stack_bytes = pool->stack_bytes,
		.unbound_next = pool->unbound_next,
		.pods = pool->pods,
		.pod = pool->pod,
		.closing = pool->pods && pool->pods->ended,
		.runners = pool->runners == pool->few ? NULL : pool->runners,
		.nr_runners = pool->nr_runners,
		.inbox = pool->inbox,
		.workers = workers,
		.next_worker_id = pool->next_worker_id,
	};

	*pool = was;
	wqi_inbox_reset(&pool->inbox);
	if (pool->runners)
		memset(pool->runners, 0, pool->nr_runners * sizeof(struct wqi_worker *));
	for (worker = workers; worker; worker = worker->all_next) {
		wqi_worker_reset(worker);
		worker->pool = pool; /* a rescuer may have been out */
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
	for (i = 0; pool_percpu && i < WQI_NR_PERCPU * wqi_cpus.nr; i++) {
		pool = &pool_percpu[i];
		if (pool->ready || pool->inbox.first.top || pool->kick || pool->to_manager.made ||
		    pool->lock.word)
			pool_reset(pool);
	}
}

void wqi_pool_ready_locked(struct wqi_pool *pool)
{
	size_t index;

	CDS_INIT_LIST_HEAD(&pool->ready_list);
	CDS_INIT_LIST_HEAD(&pool->worklist);
	CDS_INIT_LIST_HEAD(&pool->idle);
	for (index = 0; index < WQI_RESERVES; index++)
		CDS_INIT_LIST_HEAD(&pool->idle_on[index]);
	CDS_INIT_LIST_HEAD(&pool->waiters);
	if (!pool->level) {
		index = (size_t)(pool - pool_percpu);
		pool->cpu = (int)(index / WQI_NR_PERCPU);
		pool->nice = index % WQI_NR_PERCPU == WQI_PERCPU_NORMAL ? 0 : -20;
		pool->bh = pool->sole = index % WQI_NR_PERCPU == WQI_PERCPU_BH;
		pool->level = 1;
	}
	if (!pool->runners) {
		pool->runners = pool->few;
		pool->nr_runners = WQI_FEW_RUNNERS;
	}
	wqi_store_release(&pool->ready, true);
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
unsigned wqi_pool_splice_some_locked(struct wqi_pool *pool)
{
	struct cds_list_head *tail = pool->worklist.prev, *newer = &pool->worklist, *link;
	struct wqi_inbox_taken taken;
	struct wqi_pwq *pwq = NULL;
	uint32_t id = 0;
	unsigned nr = 0, nr_ready = 0;

	wqi_assert_held(&pool->lock);

	wqi_inbox_take(&pool->inbox, &taken);
	while ((link = wqi_inbox_next(&taken))) {
		struct wq_work *work = wqi_link_work(link);
		uint64_t state = wqi_state(work);

		if (wqi_unlikely(state & WQI_CANCEL)) {
			/* Cancelled on its way: this ends it.  Not ours any more. */
			wqi_store_relaxed(&link->prev, (struct cds_list_head *)NULL);
			if (state & WQI_INIT)
				wqi_pool_unclaim_locked(pool, work, 0);
			else
				nr_ready += wqi_pwq_told_locked(wqi_message_pwq(work));
			continue;
		}
		if (wqi_state_id(state) != id) {
			id = wqi_state_id(state);
			pwq = wqi_ids_get(id);
			wqi_assert(pwq && wqi_pwq_pool(pwq) == pool);
		}
		link->next = newer;
		wqi_store_relaxed(&newer->prev, link);
		newer = link;
		wqi_pwq_accept_locked(pwq, work, state);
		nr++;
	}
	wqi_store_relaxed(&newer->prev, tail);
	tail->next = newer;
	pool_note_batch_locked(pool, nr);
	/* A flusher's, a canceller's: the inbox is empty again before the spinner has looked. */
	if (wqi_unlikely(pool->spinner))
		wqi_store_relaxed(&pool->spinner->others_wait, true);
	return nr + nr_ready;
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

uint64_t wqi_pool_unclaim_locked(struct wqi_pool *pool, struct wq_work *work, uint64_t held)
{
	struct wqi_worker *worker = wqi_pool_find_running_locked(pool, work);
	uint64_t old = wqi_load_relaxed(&work->wq_state), new;
	struct wqi_pwq *pwq = wqi_ids_get(wqi_state_id(old));
	struct wqi_pwq *running = worker ? worker->current_pwq : wqi_table_runs_before(pwq, work);

	do {
		new = old & ~WQI_PENDING_ALL;
		if (held && !(old & (WQI_CANCEL | WQI_ARMED | WQI_MOVING)))
			new = (new & ~WQI_SHARD_MASK) | held;
		if (running)
			new = (new & ~WQI_ID_MASK) | (uint64_t)wqi_load_relaxed(&running->id)
							     << WQI_ID_SHIFT;
	} while (!wqi_cas(&work->wq_state, &old, new));
	/* The item may be queued again from here on: only its address is used. */
	if (old & WQI_LINKED)
		wqi_flush_cancelled_locked(pool, work, worker, running);
	return old;
}

static struct wqi_pwq *pool_running_pwq(struct wqi_pool *pool, const struct wq_work *work)
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

/* A rescuer runs items of other pools than its own: ORD-RUNNING, `wqi_rescuers_out`. */
static WQI_SLOW struct wqi_pwq *pool_rescued_pwq(const struct wq_work *work)
{
	struct wqi_pool *home = wqi_load_acquire(&pool_unbound);
	struct wqi_pwq *pwq = NULL;

	for (; home && !pwq; home = home->unbound_next)
		if (home->dedicated && wqi_load_acquire(&home->rescues))
			pwq = pool_running_pwq(home, work);
	return pwq;
}

struct wqi_pwq *wqi_pool_running_pwq_rcu(struct wqi_pool *pool, const struct wq_work *work)
{
	struct wqi_pwq *pwq = pool_running_pwq(pool, work);

	if (!pwq && wqi_unlikely(wqi_load_seq_cst(&wqi_rescuers_out)))
		pwq = pool_rescued_pwq(work);
	return pwq;
}
