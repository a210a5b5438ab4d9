/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the child's side of fork().  The parent has none. */
#include "fork.h"

#include <errno.h>
#include <pthread.h>

#include "charge.h"
#include "clock.h"
#include "closure.h"
#include "hotplug.h"
#include "item.h"
#include "machine.h"
#include "manager.h"
#include "monitor.h"
#include "pool.h"
#include "queue.h"
#include "rescuer.h"
#include "rcu.h"
#include "rcu_work.h"
#include "refresh.h"
#include "runtime.h"
#include "sentinel.h"
#include "service.h"
#include "timer.h"
#include "trigger.h"
#include "worker.h"
#include "zephyr.h"

struct wqi_fork wqi_fork;

/* In the child, on its only thread. */
static void fork_child(void)
{
	wqi_fork.generation += WQI_GENERATION_ONE;
	wqi_fork.generation &= WQI_GENERATION_MASK;
	wqi_lock_reset(&wqi_runtime.lock);
	wqi_closures_reset();
	wqi_store_release(&wqi_fork.stale, WQI_FORK_COPIED);
	wqi_worker_forked();
}

/*
 * Before main(), when nobody can hold a lock of ours, and before handlers of the
 * program's, which may use the library in the child.
 */
static bool fork_registered; /* G, or before main() */

static __attribute__((constructor(101))) void fork_construct(void)
{
	fork_registered = !pthread_atfork(NULL, NULL, fork_child);
}

int wqi_fork_register(void)
{
	if (!fork_registered)
		fork_construct();
	return fork_registered ? 0 : -ENOMEM;
}

static void fork_reset_locked(void)
{
	wqi_rcu_reset();
	wqi_manager_reset();
	wqi_hotplug_reset();
	wqi_monitor_reset();
	wqi_sentinels_reset();
	wqi_service_reset();
	wqi_refresh_reset();
	wqi_clock_reset();
	wqi_timers_reset();
	wqi_rcu_works_reset();
	wqi_triggers_reset();
	wqi_zephyr_polls_reset();
	wqi_hogs_reset();
	wqi_machine_reset();
	wqi_store_relaxed(&wqi_rescuers_out, 0u);
	wqi_pods_reset();
	wqi_tables_reset();
	wqi_pools_reset();
	wqi_queues_reset();
	wqi_runtime.started = false;
	wqi_runtime.stopping = wqi_runtime.stopped = false;
}

int wqi_fork_settle(bool start)
{
	int err = 0, saved = errno;

	wqi_lock(&wqi_runtime.lock);
	if (wqi_fork.stale == WQI_FORK_COPIED) {
		fork_reset_locked();
		wqi_store_release(&wqi_fork.stale, WQI_FORK_STOPPED);
	}
	if (start && wqi_fork.stale == WQI_FORK_STOPPED) {
		err = wqi_runtime_start_locked();
		if (!err)
			wqi_store_release(&wqi_fork.stale, WQI_FORK_SETTLED);
	}
	wqi_unlock(&wqi_runtime.lock);
	errno = saved;
	return err;
}
