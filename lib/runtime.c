/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the start and the end of the library. */
#include "runtime.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "charge.h"
#include "clock.h"
#include "closure.h"
#include "config.h"
#include "cpu.h"
#include "cycles.h"
#include "fork.h"
#include "hotplug.h"
#include "ids.h"
#include "manager.h"
#include "monitor.h"
#include "pool.h"
#include "queue.h"
#include "rcu.h"
#include "rcu_work.h"
#include "refresh.h"
#include "sentinel.h"
#include "service.h"
#include "timer.h"
#include "topology.h"
#include "trigger.h"
#include "worker.h"
#include "zephyr.h"

#include <wq/runtime.h>

struct wqi_runtime wqi_runtime;

static bool runtime_membarrier(int command)
{
	int saved = errno;
	bool ok = !syscall(SYS_membarrier, command, 0, 0);

	errno = saved;
	return ok;
}

/* Registered at the start, so it fails only where a filter has forbidden it since. */
void wqi_runtime_fence(void)
{
	runtime_membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

static int runtime_start_threads(void)
{
	int err;

	pthread_sigmask(SIG_BLOCK, NULL, &wqi_runtime.start_mask);
	wqi_runtime.start_nice = getpriority(PRIO_PROCESS, (id_t)getpid());
	err = wqi_monitor_start();
	if (err)
		return err;
	err = wqi_clock_start();
	if (!err) {
		err = wqi_manager_start();
		if (err)
			wqi_clock_stop();
	}
	if (err)
		wqi_monitor_stop();
	else
		wqi_pools_restart_rescuers();
	return err;
}

int wqi_runtime_start_locked(void)
{
	int err;

	wqi_assert_held(&wqi_runtime.lock);

	if (wqi_runtime.started)
		return wqi_runtime.stopped ? -ESHUTDOWN : 0;
	if (!wqi_runtime.configured)
		wqi_config_load();
	wqi_runtime.configured = true;
	wqi_cycles_init();
	wqi_runtime.can_fence = runtime_membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	wqi_rcu_start();
	err = wqi_fork_register();
	if (!err)
		err = wqi_pools_init();
	if (!err)
		err = wqi_timers_init();
	if (!err)
		err = wqi_sentinels_init();
	if (!err)
		err = runtime_start_threads();
	if (err && wqi_queues.next == &wqi_queues) {
		/* Nothing has changed: wq_configure() may come, and CPUs too. */
		wqi_sentinels_reset();
		wqi_timers_free();
		wqi_pods_free_all();
		wqi_pools_free();
		wqi_topology_drop_locked();
		wqi_runtime.configured = false;
	}
	wqi_runtime.started = !err;
	return err;
}

/* G10: everything, but what the thread itself causes and what must not be blocked. */
void wqi_runtime_worker_signals(sigset_t *set)
{
	static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	unsigned i;

	sigfillset(set);
	for (i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		sigdelset(set, open[i]);
	if (!wqi_config.block_sigprof)
		sigdelset(set, SIGPROF);
}

static void runtime_plug(struct wq *wq)
{
	if (wq->zephyr)
		wqi_zephyr_queue_hold(wq);
	else
		wqi_queue_plug(wq);
}

static void runtime_unplug(struct wq *wq)
{
	wqi_timers_reopen(wq);
	if (wq->zephyr)
		wqi_zephyr_queue_release(wq);
	else
		wqi_queue_unplug(wq);
}

/* What watches the items of Zephyr's queues is armed on a system queue itself. */
static void runtime_empty(struct wq *wq)
{
	wqi_queue_wait_idle(wq);
	if (wq->zephyr)
		wqi_zephyr_queue_unwatch(wq);
}

static bool runtime_armed; /* by the one thread that is in wq_shutdown() */

static void runtime_close(struct wq *wq)
{
	runtime_armed |= wqi_timers_close(wq) != 0;
}

/*
 * Run what the system queues hold, and let them take no more.  Their items may
 * still make queues: then this was no time to end.  No lock held.
 */
static int runtime_quiesce(struct wq **taken)
{
	int err = 0;

	wq_thaw_all();
	wqi_system_queues_each(runtime_plug);
	wqi_system_queues_each(runtime_empty);
	runtime_armed = false;
	wqi_system_queues_each(runtime_close);
	wqi_lock(&wqi_runtime.lock);
	if (wqi_runtime.nr_queues || runtime_armed) {
		err = -EBUSY;
	} else {
		wqi_runtime.stopped = true;
		wqi_system_others_each(wqi_zephyr_queue_stopped);
		*taken = wqi_system_queues_take_locked();
	}
	wqi_unlock(&wqi_runtime.lock);
	if (!err)
		return 0;
	wqi_system_queues_each(runtime_unplug);
	/* Only now may another thread try. */
	wqi_lock(&wqi_runtime.lock);
	wqi_runtime.stopping = false;
	wqi_unlock(&wqi_runtime.lock);
	return err;
}

/*
 * G is not held: destructors of the threads' own data may call the library, which
 * refuses to make queues now.
 */
static void runtime_end_threads(void)
{
	int cancel;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	wqi_pools_each(wqi_manager_close);
	wqi_manager_stop();
	wqi_hotplug_stop();
	wqi_clock_stop();
	wqi_sentinels_stop();
	wqi_monitor_stop();
	wqi_service_reset();
	wqi_refresh_reset();
	pthread_setcancelstate(cancel, NULL);
}

int wq_shutdown(void)
{
	struct wq *taken = NULL, *next;
	bool started;
	int err = 0;

	if (wqi_worker_self)
		return -EDEADLK;
	wqi_fork_enter(false);
	wqi_lock(&wqi_runtime.lock);
	if (wqi_runtime.nr_queues || wqi_runtime.stopping)
		err = -EBUSY;
	else
		wqi_runtime.stopping = true;
	started = wqi_runtime.started;
	wqi_unlock(&wqi_runtime.lock);
	if (!err)
		err = runtime_quiesce(&taken);
	if (err)
		return err;
	for (; taken; taken = next) {
		next = taken->system_next;
		wqi_queue_unmake(taken);
	}
	if (started)
		runtime_end_threads();
	else
		wqi_sentinels_reset();
	wqi_rcu_works_stop();
	wqi_triggers_stop();

	wqi_lock(&wqi_runtime.lock);
	wqi_queues_bury_locked();
	wqi_timers_free();
	wqi_pods_free_all();
	wqi_pools_free();
	wqi_topology_drop_locked();
	wqi_ids_free_all();
	wqi_closures_free();
	wqi_hogs_reset();
	wqi_runtime.started = wqi_runtime.configured = false;
	wqi_runtime.stopping = wqi_runtime.stopped = false;
	wqi_unlock(&wqi_runtime.lock);
	return 0;
}
