/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what a worker does when there is nothing to run: wait awake, sleep, and see
 * whether it is needed when it is woken.  Runs no items.
 */
#include "worker.h"

#include <sched.h>

#include "block.h"
#include "charge.h"
#include "clock.h"
#include "cpu.h"
#include "manager.h"
#include "place.h"

/*
 * Wait a little for the inbox without sleeping, if that has paid lately and nobody
 * else does.  After a batch from a producer in full flow the inbox is first left
 * alone for a while: to take items one by one would move its line for each.
 *
 * Returns true if it is worth looking at the inbox.
 */
bool wqi_worker_spin_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	uint64_t start, alone_ns = pool->lazy_ns, max = wqi_load_relaxed(&wqi_config.spin_max_ns);
	uint64_t ns, due_ns;
	bool hit;

	/* What it waits from here on is nothing that items cost. */
	wqi_worker_batch_end_locked(self);
	if (alone_ns > max)
		alone_ns = max;
	ns = alone_ns + wqi_load_relaxed(&pool->idle_spin.ns);

	if (pool->cpu >= 0 || wqi_load_relaxed(&wqi_cpus.nr_usable) < 2 || pool->spinner ||
	    pool->nr_running > 1 || !ns)
		return false;
	pool->spinner = self;
	wqi_charge_nobody(self);
	wqi_store_relaxed(&self->others_wait, false); /* from here on what is spliced says so */
	wqi_pool_unlock(pool);
	if (wqi_unlikely(self->beside >= WQI_PLACE_TURNS))
		wqi_place_part(self);

	start = wqi_now_ns();
	/* What is due by then it queues itself, when it is idle. */
	due_ns = wqi_clock_due_ns();
	if (due_ns < start + ns)
		ns = due_ns > start ? due_ns - start : 0;
	while (alone_ns && wqi_now_ns() - start < alone_ns)
		sched_yield();
	hit = wqi_spin_until(!wqi_inbox_is_empty(&pool->inbox) ||
				     wqi_load_relaxed(&self->others_wait),
			     start, ns);

	wqi_pool_lock(pool);
	pool->spinner = NULL;
	if (!hit)
		pool->lazy_ns = 0;
	return hit || wqi_pool_has_work_locked(pool);
}

/*
 * Is the worker needed, now that it is awake?  What a sentinel said is believed
 * here, by whoever it woke for that.
 */
bool wqi_worker_is_needed_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;

	wqi_worker_believe_locked(pool);
	if (!wqi_pool_has_room_locked(pool))
		return false;
	wqi_worker_count_locked(self);
	wqi_worker_batch_begin_locked(self);
	self->marked = false;
	return true;
}

/* Be idle.  True: there may be work; false: to end. */
bool wqi_worker_idle_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;

	if (self->counted)
		wqi_worker_batch_end_locked(self);
	wqi_charge_nobody(self);
	wqi_store_seq_cst(&self->wake, 0);
	self->idle_since_ns = wqi_now_ns();
	self->last_cpu = pool->last_cpu = wqi_cpu_current();
	self->idle = true;
	cds_list_add(&self->idle_node, &pool->idle);
	cds_list_add(&self->on_node, &pool->idle_on[self->last_cpu % WQI_RESERVES]);
	pool->nr_idle++;
	wqi_pool_publish_reserve_locked(pool, self);
	if (self->counted)
		wqi_worker_uncount_locked(self);
	if (wqi_too_many_workers_locked(pool) && !pool->retire_timed) {
		pool->retire_timed = true;
		wqi_manager_request(pool);
	}

	if (pool->give_up) {
		pool->give_up = false;
		self->retire = true;
	}
	if (pool->closing || self->retire)
		wqi_xchg(&self->wake, 1);

	wqi_pool_unlock(pool);
	/* One under SCHED_FIFO has nothing to do with what others queue. */
	while (pool->bh && !wqi_load_seq_cst(&self->wake))
		wqi_futex_wait(&self->wake, 0, WQI_NO_TIMEOUT);
	wqi_clock_wait_beside(&self->wake);
	wqi_pool_lock(pool);

	cds_list_del(&self->idle_node);
	cds_list_del(&self->on_node);
	self->idle = false;
	pool->nr_idle--;
	wqi_pool_publish_reserve_locked(pool, self);
	wqi_spin_adapt(&pool->idle_spin, self->idle_since_ns, wqi_load_relaxed(&self->woken_ns));
	return !self->retire && !pool->closing;
}
