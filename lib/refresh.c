/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns following the machine. */
#include "refresh.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "attrs.h"
#include "cpu.h"
#include "fork.h"
#include "manager.h"
#include "poller.h"
#include "pool.h"
#include "quota.h"
#include "rcu_work.h"
#include "runtime.h"
#include "sentinel.h"
#include "service.h"
#include "topology.h"

#include <wq/attrs.h>

/* Where the lock can't be had the manager tries again after this. */
#define REFRESH_RETRY_NS 1000000u

static uint32_t refresh_asked; /* A, seq_cst */

static void refresh_pin(struct wqi_pool *pool)
{
	wqi_pool_lock(pool);
	wqi_pool_pin_locked(pool);
	wqi_pool_unlock(pool);
}

/*
 * Workers are pinned anew in any case: who changes the affinity of all threads of the
 * process, as "taskset -a" does, has changed theirs.  First those that are there follow,
 * and what is queued from here on; then queues get other pods.
 */
static int refresh_to_locked(const wqi_cpu_mask *mask)
{
	int err;

	wqi_assert_held(&wqi_runtime.lock);

	if (wqi_cpus_change_locked(mask))
		wqi_topology_follow_locked(&wqi_cpus.mask);
	wqi_cpus_set_level(wqi_quota_cpus(""));
	wqi_add(&wqi_cpus.epoch, 1);
	err = wqi_attrs_renew_all_locked();
	wqi_pods_set_levels_locked();
	wqi_pools_each(refresh_pin);
	wqi_sentinels_pin();
	return err;
}

static bool refresh_is_possible_locked(void)
{
	return wqi_runtime.started && !wqi_runtime.stopped && !wqi_cpus.pretended;
}

/* The main thread's affinity is the process's, as at the start. */
int wq_topology_refresh(void)
{
	int err = 0, saved = errno, cancel;
	wqi_cpu_mask mask;

	/* Files are read: the caller must not end in there. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	wqi_fork_enter(false);
	memset(&mask, 0, sizeof(mask));
	wqi_lock(&wqi_runtime.lock);
	if (refresh_is_possible_locked() && !sched_getaffinity(getpid(), sizeof(mask), mask.set)) {
		err = refresh_to_locked(&mask);
		wqi_service_move_all(&mask);
		wqi_rcu_works_move_locked(&mask);
		wqi_poller_move(&mask);
	}
	wqi_unlock(&wqi_runtime.lock);
	pthread_setcancelstate(cancel, NULL);
	errno = saved;
	return err;
}

void wqi_refresh_ask(void)
{
	if (!wqi_xchg(&refresh_asked, 1))
		wqi_manager_poke();
}

/* The main thread may have pinned itself for its own purposes: it is not asked. */
static bool refresh_cpus_differ(void)
{
	wqi_cpu_mask now, known;

	if (!wqi_service_cpus(&now))
		return false;
	wqi_mask_copy(&known, &wqi_cpus.mask);
	return memcmp(&now, &known, sizeof(now)) != 0;
}

void wqi_refresh_check_cpus(void)
{
	if (!wqi_cpus.pretended && refresh_cpus_differ())
		wqi_refresh_ask();
}

void wqi_refresh_check(void)
{
	if (!wqi_cpus.pretended &&
	    (refresh_cpus_differ() || wqi_quota_cpus("") != wqi_load_relaxed(&wqi_cpus.quota)))
		wqi_refresh_ask();
}

bool wqi_refresh_is_asked(void)
{
	return wqi_load_relaxed(&refresh_asked);
}

uint64_t wqi_refresh_serve(void)
{
	wqi_cpu_mask mask;

	if (!wqi_refresh_is_asked())
		return UINT64_MAX;
	wqi_xchg(&refresh_asked, 0);
	/* Who holds it may be waiting for the manager. */
	if (!wqi_try_lock(&wqi_runtime.lock)) {
		wqi_store_relaxed(&refresh_asked, 1u);
		return wqi_now_ns() + REFRESH_RETRY_NS;
	}
	if (refresh_is_possible_locked() && wqi_service_cpus(&mask))
		refresh_to_locked(&mask);
	wqi_unlock(&wqi_runtime.lock);
	return UINT64_MAX;
}

void wqi_refresh_reset(void)
{
	wqi_store_relaxed(&refresh_asked, 0u);
}
