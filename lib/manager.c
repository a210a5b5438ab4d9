/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the manager thread: it makes workers where one is missing, ends those that
 * are idle for too long, joins them, and tries again later what failed.  Runs no
 * items and is on nobody's fast path.
 */
#include "manager.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cpu.h"
#include "mem.h"
#include "runtime.h"
#include "watch.h"
#include "worker.h"

/* After a thread could not be made, the next attempt waits this long. */
#define CREATE_COOL_DOWN_NS 100000000u

uint64_t wqi_idle_timeout_ns = 300000000000u; /* A, relaxed */

static struct wqi_pool *manager_requests; /* A, seq_cst: pushed by anyone, by request_next */
static uint32_t manager_event;		  /* A, seq_cst: futex word, changed by every request */
static struct wqi_pool *manager_pools;	  /* manager only: pools that ever had a worker */
static pthread_t manager_thread;	  /* G */

/* ORD-REQUEST (a): requested is set before the request is pushed. */
void wqi_manager_request(struct wqi_pool *pool)
{
	struct wqi_pool *top;

	if (wqi_xchg(&pool->requested, 1))
		return;
	top = wqi_load_relaxed(&manager_requests);
	do
		pool->request_next = top;
	while (!wqi_cas(&manager_requests, &top, pool));
	wqi_add(&manager_event, 1);
	wqi_futex_wake(&manager_event, 1);
}

/* The kernel's rule: one idle in reserve while others are busy or items wait. */
static bool pool_needs_worker_locked(struct wqi_pool *pool)
{
	if (pool->nr_idle || pool->nr_creating)
		return false;
	return pool->nr_workers || wqi_pool_has_work_locked(pool);
}

static struct wqi_worker *manager_get_record_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker = pool->spare;

	if (worker) {
		pool->spare = worker->spare_next;
		return worker;
	}
	worker = wqi_zalloc(sizeof(*worker));
	if (!worker)
		return NULL;
	worker->pool = pool;
	worker->id = pool->next_worker_id++;
	CDS_INIT_LIST_HEAD(&worker->scheduled);
	CDS_INIT_LIST_HEAD(&worker->waiters);
	worker->all_next = pool->workers;
	wqi_store_release(&pool->workers, worker);
	return worker;
}

static int manager_start_thread(struct wqi_worker *worker)
{
	size_t bytes = wqi_cpus.mask_bytes;
	int cpu = worker->pool->cpu, err;
	pthread_attr_t attr;
	cpu_set_t *one = NULL;

	if (wqi_fault_now(WQI_FAULT_THREAD))
		return EAGAIN;
	err = pthread_attr_init(&attr);
	if (err)
		return err;
	if (cpu >= 0) {
		one = wqi_zalloc(bytes);
		if (one)
			CPU_SET_S(cpu, bytes, one);
	}
	if (one && wqi_cpu_is_usable((unsigned)cpu))
		pthread_attr_setaffinity_np(&attr, bytes, one);
	err = pthread_create(&worker->thread, &attr, wqi_worker_main, worker);
	if (err == EINVAL && one) {
		/* The CPU has been taken from us: better unpinned than not at all. */
		pthread_attr_destroy(&attr);
		pthread_attr_init(&attr);
		err = pthread_create(&worker->thread, &attr, wqi_worker_main, worker);
	}
	pthread_attr_destroy(&attr);
	wqi_free(one, bytes);
	return err;
}

static void manager_create(struct wqi_pool *pool)
{
	struct wqi_worker *worker;
	int err;

	wqi_pool_lock(pool);
	wqi_pool_splice_locked(pool);
	if (!pool_needs_worker_locked(pool)) {
		/* The next to be kicked must be known, or be woken at once. */
		if (!pool->nr_creating)
			wqi_pool_hand_over_locked(pool);
		wqi_pool_unlock(pool);
		return;
	}
	worker = manager_get_record_locked(pool);
	pool->nr_creating++;
	wqi_pool_unlock(pool);

	err = worker ? manager_start_thread(worker) : ENOMEM;
	if (!err)
		return;
	pool->retry_ns = wqi_now_ns() + CREATE_COOL_DOWN_NS;
	wqi_pool_lock(pool);
	pool->nr_creating--;
	wqi_count(&pool->nr_create_failed, 1);
	if (worker) {
		worker->spare_next = pool->spare;
		pool->spare = worker;
	}
	wqi_pool_unlock(pool);
}

static void manager_join(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	wqi_pool_lock(pool);
	while ((worker = pool->dead)) {
		pool->dead = worker->spare_next;
		wqi_pool_unlock(pool);
		pthread_join(worker->thread, NULL);
		wqi_pool_lock(pool);
		worker->spare_next = pool->spare;
		pool->spare = worker;
		pool->retiring = false;
	}
	wqi_pool_unlock(pool);
}

/* End the worker that is idle longest, if its time is up.  When to look again. */
static uint64_t manager_retire(struct wqi_pool *pool, uint64_t now)
{
	struct wqi_worker *oldest;
	uint64_t at = UINT64_MAX;

	wqi_pool_lock(pool);
	pool->retire_timed = false;
	if (wqi_too_many_workers_locked(pool) && !pool->retiring) {
		oldest = cds_list_entry(pool->idle.prev, struct wqi_worker, idle_node);
		at = oldest->idle_since_ns + wqi_load_relaxed(&wqi_idle_timeout_ns);
		if (wqi_load_relaxed(&oldest->wake)) {
			at = UINT64_MAX; /* about to run; asks again when it is idle */
		} else if (now < at) {
			pool->retire_timed = true;
		} else {
			oldest->retire = true;
			pool->retiring = true;
			if (!wqi_xchg(&oldest->wake, 1))
				wqi_futex_wake(&oldest->wake, 1);
			at = UINT64_MAX; /* its end is a request */
		}
	}
	wqi_pool_unlock(pool);
	return at;
}

static void manager_look_at(struct wqi_pool *pool)
{
	if (!pool->managed) {
		pool->managed = true;
		pool->managed_next = manager_pools;
		manager_pools = pool;
	}
	manager_join(pool);
	if (!pool->retry_ns)
		manager_create(pool);
	if (!pool->watch_ns)
		pool->watch_ns = wqi_watch_begin(pool, wqi_now_ns());
}

/*
 * ORD-REQUEST (b): requested is cleared before the pool is looked at, so that a
 * request that comes during the look is pushed again.
 */
static void manager_serve_requests(void)
{
	struct wqi_pool *pool = wqi_xchg(&manager_requests, NULL), *next;

	for (; pool; pool = next) {
		next = pool->request_next;
		wqi_xchg(&pool->requested, 0);
		manager_look_at(pool);
	}
}

/* What is due by time.  Returns when the next thing is. */
static uint64_t manager_serve_times(void)
{
	uint64_t now = wqi_now_ns(), next = UINT64_MAX, at;
	struct wqi_pool *pool;

	for (pool = manager_pools; pool; pool = pool->managed_next) {
		if (pool->retry_ns && now >= pool->retry_ns) {
			pool->retry_ns = 0;
			manager_create(pool);
		}
		if (pool->retry_ns && pool->retry_ns < next)
			next = pool->retry_ns;
		if (pool->watch_ns && now >= pool->watch_ns)
			pool->watch_ns = wqi_watch_look(pool, now);
		if (pool->watch_ns && pool->watch_ns < next)
			next = pool->watch_ns;
		at = manager_retire(pool, now);
		if (at < next)
			next = at;
	}
	return next;
}

static void *manager_main(void *arg)
{
	uint64_t next, now;
	uint32_t event;

	(void)arg;
	prctl(PR_SET_NAME, "wq/manager");
	/* The process's nice value is its main thread's; workers inherit ours. */
	setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, (id_t)getpid()));
	for (;;) {
		event = wqi_load_seq_cst(&manager_event);
		manager_serve_requests();
		next = manager_serve_times();
		now = wqi_now_ns();
		if (next > now)
			wqi_futex_wait(&manager_event, event,
				       next == UINT64_MAX ? WQI_NO_TIMEOUT : next - now);
	}
	return NULL;
}

/*
 * Normal policy and the process's CPUs, whatever the calling thread has; all
 * signals blocked that workers block, for they inherit its mask.
 */
int wqi_manager_start(void)
{
	sigset_t block, before;
	pthread_attr_t attr;
	struct sched_param param = {.sched_priority = 0};
	int err;

	wqi_assert_held(&wqi_runtime.lock);

	if (wqi_fault_now(WQI_FAULT_THREAD))
		return -EAGAIN;
	if (pthread_attr_init(&attr))
		return -EAGAIN;
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_OTHER);
	pthread_attr_setschedparam(&attr, &param);
	pthread_attr_setaffinity_np(&attr, wqi_cpus.mask_bytes, wqi_cpus.mask);
	wqi_runtime_worker_signals(&block);
	pthread_sigmask(SIG_SETMASK, &block, &before);
	err = pthread_create(&manager_thread, &attr, manager_main, NULL);
	if (err == EPERM) {
		/* An idle policy can't be left without privilege: then all share it. */
		pthread_attr_setinheritsched(&attr, PTHREAD_INHERIT_SCHED);
		err = pthread_create(&manager_thread, &attr, manager_main, NULL);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return err ? -EAGAIN : 0;
}
