/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns where a pool's workers run, and how many at once.  What says so: pods.c, cpu.c. */
#include "pool.h"

#include <sched.h>
#include <string.h>

#include "cpu.h"
#include "worker.h"

void wqi_pool_set_level(struct wqi_pool *pool, unsigned level)
{
	wqi_pool_lock(pool);
	wqi_store_relaxed(&pool->level, level);
	wqi_pool_hand_over_locked(pool);
	wqi_pool_unlock(pool);
}

bool wqi_pool_mask(const struct wqi_pool *pool, wqi_cpu_mask *mask)
{
	const struct wqi_pods *pods = pool->pods;

	if (wqi_cpus.pretended)
		return false;
	if (pool->cpu >= 0 && wqi_cpu_is_usable((unsigned)pool->cpu)) {
		memset(mask, 0, sizeof(*mask));
		CPU_SET_S((unsigned)pool->cpu, sizeof(*mask), mask->set);
		return true;
	}
	wqi_mask_copy(mask, &wqi_cpus.unbound);
	if (pool->cpu < 0 && pods)
		wqi_pods_mask(pods, pool->pod, mask);
	return true;
}

void wqi_pool_pin_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;
	wqi_cpu_mask mask;
	pid_t tid;

	wqi_assert_held(&pool->lock);

	for (worker = pool->workers; worker; worker = worker->all_next) {
		tid = wqi_load_acquire(&worker->tid);
		if (tid && wqi_pool_mask(worker->out_at ? worker->out_at : pool, &mask))
			sched_setaffinity(tid, sizeof(mask), mask.set);
	}
}

/* Where CPUs change meanwhile, it may have undone what was set for it then. */
void wqi_pool_go_to_cpus(const struct wqi_pool *pool)
{
	wqi_cpu_mask mask;
	uint32_t epoch;

	do {
		epoch = wqi_load_seq_cst(&wqi_cpus.epoch);
		if (wqi_pool_mask(pool, &mask))
			sched_setaffinity(0, sizeof(mask), mask.set);
	} while (epoch != wqi_load_seq_cst(&wqi_cpus.epoch));
}
