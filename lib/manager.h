/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the manager: the thread that makes and joins all other threads. */
#ifndef WQI_MANAGER_H
#define WQI_MANAGER_H

#include "pool.h"

/* Pools that ever had a worker, by managed_next.  The manager's alone. */
extern struct wqi_pool *wqi_manager_pools;

/* Start the thread.  0, or -EAGAIN.  Under G. */
int wqi_manager_start(void);

/*
 * Ask the manager to look at @pool: a worker is missing, too many are idle, or
 * one has ended.  Lock-free, AS-safe.
 */
void wqi_manager_request(struct wqi_pool *pool);

/* Have the manager look up: a sentinel, or a worker for one, is wanted.  AS-safe. */
void wqi_manager_poke(void);

/*
 * Have the manager make the first worker of a dedicated pool, and wait for its
 * answer: 0, or -EAGAIN.  Under G.
 */
int wqi_manager_make_first(struct wqi_pool *pool);

/* End and join all workers of a pool that has no items; returns when it is done. */
void wqi_manager_close(struct wqi_pool *pool);

/* End the thread; all pools were closed. */
void wqi_manager_stop(void);

/* In the child of a fork(): it does not run, and knows no pool. */
void wqi_manager_reset(void);

/* The kernel's rule: more than two idle, and more than a quarter of the busy. */
static inline bool wqi_too_many_workers_locked(const struct wqi_pool *pool)
{
	unsigned busy = pool->nr_workers - pool->nr_idle;

	return pool->nr_idle > 2 && (pool->nr_idle - 2) * 4 >= busy;
}

#endif /* WQI_MANAGER_H */
