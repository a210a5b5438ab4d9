/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the rules about whom to wake: by producers, by workers that leave, while
 * they are in items, and by sentinels.  Makes no threads.
 */
#include "pool.h"

#include "cpu.h"
#include "limit.h"
#include "manager.h"
#include "monitor.h"
#include "sentinel.h"
#include "worker.h"

bool wqi_pool_wake(struct wqi_worker *worker)
{
	if (wqi_load_relaxed(&worker->wake) != 1)
		wqi_store_relaxed(&worker->woken_ns, wqi_now_ns());
	/* 2: by a sentinel, which may not get to run again soon. */
	if (wqi_xchg(&worker->wake, 1) == 1)
		return false;
	/* Who keeps the clock may wake itself, and is awake. */
	if (worker != wqi_worker_self)
		wqi_futex_wake(&worker->wake, 1);
	return true;
}

/*
 * Of a worker that is taken from `kick`, its next stays there.  What was read of that may be
 * out of date by then, for the same worker may have come, gone and been named again: whom it
 * names is then woken in vain, or not to be woken, and what is pushed is seen by the one that
 * was taken.
 */
void wqi_pool_kick_slow(struct wqi_pool *pool)
{
	uintptr_t kick = wqi_load_seq_cst(&pool->kick), next;

	do {
		if (kick == WQI_KICK_NOBODY)
			return;
		next = wqi_load_relaxed(&pool->kick_next);
		if (!wqi_kick_is_worker(kick) || next == kick)
			next = WQI_KICK_NOBODY;
		wqi_pause_point("kick");
	} while (!wqi_cas(&pool->kick, &kick, next));

	wqi_yield_point();
	if (kick == WQI_KICK_MANAGER)
		wqi_manager_request(pool);
	else if (kick == WQI_KICK_MONITOR)
		wqi_monitor_request(pool);
	else if (kick & 1)
		wqi_sentinel_call(pool, (unsigned)(kick >> 2));
	else
		wqi_pool_wake((struct wqi_worker *)kick);
}

void wqi_pool_wake_one_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;
	bool on_its_way = false; /* also to its end: then it hands over */

	wqi_assert_held(&pool->lock);

	cds_list_for_each_entry(worker, &pool->idle, idle_node) {
		if (wqi_pool_wake(worker))
			return;
		on_its_way = true;
	}
	if (!on_its_way)
		wqi_manager_request(pool);
}

static struct wqi_worker *pool_first_idle_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	cds_list_for_each_entry(worker, &pool->idle, idle_node)
		if (wqi_load_relaxed(&worker->wake) != 1)
			return worker;
	return NULL;
}

static struct wqi_worker *pool_woken(struct wqi_worker *worker)
{
	return wqi_load_relaxed(&worker->wake) == 1 ? worker : NULL;
}

/* Who is woken is the first of a list, or was until others came before it: these need not all be
 * seen. */
struct wqi_worker *wqi_pool_on_its_way_locked(struct wqi_pool *pool)
{
	struct wqi_worker *woken;
	unsigned slot;

	if (cds_list_empty(&pool->idle))
		return NULL;
	woken = pool_woken(cds_list_first_entry(&pool->idle, struct wqi_worker, idle_node));
	for (slot = 0; !woken && slot < WQI_RESERVES; slot++)
		if (!cds_list_empty(&pool->idle_on[slot]))
			woken = pool_woken(cds_list_first_entry(&pool->idle_on[slot],
								struct wqi_worker, on_node));
	return woken;
}

/* One that went to sleep on another CPU than @cpu. */
static struct wqi_worker *pool_idle_off_locked(struct wqi_pool *pool, unsigned cpu)
{
	unsigned here = cpu % WQI_RESERVES, slot;
	struct wqi_worker *worker;

	for (slot = (here + 1) % WQI_RESERVES; slot != here; slot = (slot + 1) % WQI_RESERVES)
		cds_list_for_each_entry(worker, &pool->idle_on[slot], on_node)
			if (wqi_load_relaxed(&worker->wake) != 1)
				return worker;
	return NULL;
}

/*
 * The CPU of the caller is in use: where none is idle when the worker is woken, the kernel
 * has it run where it was.  Or any.
 */
static struct wqi_worker *pool_idle_afar_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker = pool_idle_off_locked(pool, wqi_cpu_current());

	return worker ? worker : pool_first_idle_locked(pool);
}

void wqi_pool_wake_afar_locked(struct wqi_pool *pool)
{
	struct wqi_worker *idle = pool_idle_afar_locked(pool);

	if (!idle || !wqi_pool_wake(idle))
		wqi_pool_wake_one_locked(pool);
}

static struct wqi_worker *pool_idle_on_locked(struct wqi_pool *pool, unsigned slot)
{
	struct wqi_worker *worker;

	cds_list_for_each_entry(worker, &pool->idle_on[slot], on_node)
		if (!wqi_load_relaxed(&worker->wake))
			return worker;
	return NULL;
}

void wqi_pool_publish_reserve_locked(struct wqi_pool *pool, const struct wqi_worker *worker)
{
	unsigned slot = worker->last_cpu % WQI_RESERVES;

	wqi_store_release(&pool->reserve[0], pool_first_idle_locked(pool));
	wqi_store_release(&pool->reserve[1 + slot], pool_idle_on_locked(pool, slot));
}

/*
 * The kernel's rule is one.  A thread takes longer to make than an item to block, so
 * where many are blocked and the next are likely to, there should be some more.
 */
unsigned wqi_pool_reserve_locked(const struct wqi_pool *pool)
{
	unsigned away = pool->nr_idle + pool->nr_running;
	unsigned blocked = pool->nr_workers > away ? pool->nr_workers - away : 0;

	return blocked < 2 ? 1 : blocked < 32 ? blocked : 32;
}

void wqi_pool_retire_locked(struct wqi_pool *pool, struct wqi_worker *worker)
{
	wqi_assert_held(&pool->lock);

	worker->retire = pool->retiring = true;
	wqi_pool_wake(worker);
	wqi_pool_publish_reserve_locked(pool, worker);
	if (pool->nr_running)
		wqi_pool_withdraw_locked(pool);
}

bool wqi_pool_can_make(const struct wqi_pool *pool)
{
	uint64_t not_before = wqi_load_relaxed(&pool->not_before_ns);

	return !wqi_load_relaxed(&wqi_limit_reached) &&
	       (wqi_likely(!not_before) || wqi_now_ns() >= not_before);
}

bool wqi_pool_can_grow(const struct wqi_pool *pool)
{
	return wqi_load_acquire(&pool->reserve[0]) || wqi_pool_can_make(pool);
}

void wqi_pool_call_watch_locked(struct wqi_pool *pool)
{
	wqi_assert_held(&pool->lock);

	wqi_store_relaxed(&pool->watched, true);
	if (pool->sole)
		return; /* nobody else may run its items */
	/* The monitor is called now; producers need not. */
	if (!pool->offered)
		wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
	wqi_monitor_request(pool);
}

/*
 * Whom producers are to wake.  A worker that is woken may need longer to come than the next
 * item takes: so if that is not cheap, and there is room for both, it has a next.
 */
static void pool_publish_kick_locked(struct wqi_pool *pool, uintptr_t kick)
{
	struct wqi_worker *next = NULL;

	if (wqi_kick_is_worker(kick) && pool->nr_running + 2 <= pool->level &&
	    wqi_pool_is_dear_locked(pool, WQI_DEAR_NS))
		next = pool_idle_off_locked(pool, ((struct wqi_worker *)kick)->last_cpu);
	wqi_store_relaxed(&pool->kick_next, next ? (uintptr_t)next : WQI_KICK_NOBODY);
	wqi_xchg(&pool->kick, kick);
}

/*
 * Below the level whoever is idle may help, unless somebody who will be there soon fills
 * that; at the level it depends on who is blocked.
 */
static uintptr_t pool_whom_to_offer_locked(struct wqi_pool *pool, bool afar)
{
	struct wqi_worker *idle = afar ? pool_idle_afar_locked(pool) : pool_first_idle_locked(pool);
	bool room = wqi_pool_has_room_locked(pool);
	unsigned cpu = wqi_cpu_current();

	if (room && pool->nr_running + 1 >= pool->level && wqi_pool_on_its_way_locked(pool))
		return WQI_KICK_NOBODY;
	if (room && idle)
		return (uintptr_t)idle;
	if (!wqi_pool_can_grow(pool))
		return WQI_KICK_NOBODY;
	if (room)
		return WQI_KICK_MANAGER;
	return wqi_sentinel_is_ready(pool, cpu) ? WQI_KICK_SENTINEL(cpu) : WQI_KICK_NOBODY;
}

/* ORD-SLEEP (b), for those who are in items. */
bool wqi_pool_offer_locked(struct wqi_pool *pool, bool afar)
{
	uintptr_t kick = pool_whom_to_offer_locked(pool, afar);

	wqi_assert_held(&pool->lock);

	if (kick == WQI_KICK_NOBODY)
		return !wqi_inbox_is_empty(&pool->inbox);
	pool->offered = true;
	pool_publish_kick_locked(pool, kick);
	wqi_yield_point();
	if (wqi_inbox_is_empty(&pool->inbox))
		return false;
	wqi_pool_withdraw_locked(pool);
	return true;
}

void wqi_pool_withdraw_locked(struct wqi_pool *pool)
{
	if (!pool->offered)
		return;
	pool->offered = false;
	wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
	if (!pool->watched)
		wqi_pool_call_watch_locked(pool);
}

/* What sentinels saw in the inbox is on a list now, taken there by no worker. */
void wqi_pool_say_waiting_locked(struct wqi_pool *pool)
{
	unsigned i;

	for (i = 0; i < pool->nr_runners; i++)
		if (pool->runners[i])
			wqi_store_relaxed(&pool->runners[i]->others_wait, true);
}

/* A producer may have taken the offer, for an item that was cancelled since. */
void wqi_pool_check_offer_locked(struct wqi_pool *pool)
{
	if (pool->offered && wqi_load_seq_cst(&pool->kick) == WQI_KICK_NOBODY)
		wqi_pool_withdraw_locked(pool);
}

/* Others run.  They see to what waits; but they may be in items for long. */
static void kick_beside_runners_locked(struct wqi_pool *pool)
{
	if (pool->sole)
		return;
	wqi_pool_check_offer_locked(pool);
	if (wqi_pool_has_work_locked(pool)) {
		wqi_pool_say_waiting_locked(pool);
		if (!pool->watched)
			wqi_pool_call_watch_locked(pool);
	} else if (!pool->offered && wqi_pool_is_dear_locked(pool, WQI_DEAR_NS) &&
		   wqi_pool_offer_locked(pool, false)) {
		wqi_pool_wake_one_locked(pool);
	}
}

/*
 * ORD-SLEEP (b): publish whom to wake, then look at the inbox.  Partner: (a)
 * push, then look at kick.  All four are seq_cst, so "the producer sees nobody to
 * wake and we see no item" is impossible.  A rescuer is called in the same way.
 */
void wqi_pool_hand_over_locked(struct wqi_pool *pool)
{
	struct wqi_worker *idle;

	wqi_assert_held(&pool->lock);

	if (pool->nr_running) {
		kick_beside_runners_locked(pool);
		return;
	}
	pool->offered = false;
	if (!wqi_pool_has_work_locked(pool)) {
		idle = pool_first_idle_locked(pool);
		pool_publish_kick_locked(pool, idle ? (uintptr_t)idle : WQI_KICK_MANAGER);
		wqi_yield_point();
		if (wqi_inbox_is_empty(&pool->inbox) && !wqi_load_seq_cst(&pool->called))
			return;
		if (wqi_xchg(&pool->kick, WQI_KICK_NOBODY) == WQI_KICK_NOBODY)
			return; /* a producer was quicker */
	} else {
		wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
	}
	wqi_pool_wake_one_locked(pool);
}
