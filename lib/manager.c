/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the manager thread: it makes workers where one is missing, ends those that
 * are idle for too long, joins them, and tries again later what failed.  Runs no
 * items and is on nobody's fast path.
 */
#include "manager.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config.h"
#include "cpu.h"
#include "limit.h"
#include "mem.h"
#include "runtime.h"
#include "watch.h"
#include "worker.h"

/* After a thread could not be made, the next attempt waits this long. */
#define CREATE_COOL_DOWN_NS 100000000u

/* A thread that ends is asked for so often, and again after a while. */
#define JOIN_TRIES  100
#define JOIN_MIN_NS 1000000u
#define JOIN_MAX_NS 100000000u

struct wqi_pool *wqi_manager_pools; /* manager only */

static struct wqi_pool *manager_requests; /* A, seq_cst: pushed by anyone, by request_next */
static uint32_t manager_event;		  /* A, seq_cst: futex word, changed by every request */
static pthread_t manager_thread;	  /* G */
static bool manager_stopping;		  /* A, release/acquire */

static void manager_poke(void)
{
	wqi_add(&manager_event, 1);
	wqi_futex_wake(&manager_event, 1);
}

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
	manager_poke();
}

/* The kernel's rule: one idle in reserve while others are busy or items wait. */
static bool pool_needs_worker_locked(struct wqi_pool *pool)
{
	if (pool->nr_idle || pool->nr_creating || pool->closing)
		return false;
	if (pool->dedicated)
		return !pool->nr_workers && wqi_load_acquire(&pool->name);
	return pool->nr_workers || wqi_pool_has_work_locked(pool);
}

static bool pool_has_workers_locked(const struct wqi_pool *pool)
{
	return pool->nr_workers || pool->nr_creating || pool->dead;
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
	int cpu = worker->pool->cpu, err;
	pthread_attr_t attr;
	wqi_cpu_mask one;

	if (wqi_fault_now(WQI_FAULT_THREAD))
		return EAGAIN;
	err = pthread_attr_init(&attr);
	if (err)
		return err;
	if (wqi_config.stack_bytes)
		pthread_attr_setstacksize(&attr, wqi_config.stack_bytes);
	if (cpu >= 0 && wqi_cpu_is_usable((unsigned)cpu)) {
		memset(&one, 0, sizeof(one));
		CPU_SET_S(cpu, sizeof(one), one.set);
		pthread_attr_setaffinity_np(&attr, sizeof(one), one.set);
	} else if (cpu < 0 && wqi_cpus.nr_unbound != wqi_cpus.nr_usable) {
		pthread_attr_setaffinity_np(&attr, sizeof(one), wqi_cpus.unbound.set);
	}
	err = pthread_create(&worker->thread, &attr, wqi_worker_main, worker);
	if (err == EINVAL || (err == EAGAIN && wqi_config.stack_bytes)) {
		/* The CPU has been taken from us, or the stack is too small for the
		 * program's own data of threads, or larger than can be had: better a
		 * usual one than none. */
		pthread_attr_destroy(&attr);
		pthread_attr_init(&attr);
		err = pthread_create(&worker->thread, &attr, wqi_worker_main, worker);
	}
	pthread_attr_destroy(&attr);
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
		pool->needy_ns = 0;
		return;
	}
	if (!wqi_limit_grant_locked(pool)) {
		/* Not while it has nobody and gets somebody soon; else producers must ask. */
		if (!pool->needy_ns)
			wqi_pool_hand_over_locked(pool);
		wqi_pool_unlock(pool);
		if (pool->needy_ns)
			wqi_limit_take_from_others(pool);
		return;
	}
	worker = manager_get_record_locked(pool);
	pool->nr_creating++;
	wqi_pool_unlock(pool);

	err = worker ? manager_start_thread(worker) : ENOMEM;
	if (!err) {
		wqi_limit_count(pool, 1);
		return;
	}
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

/*
 * A thread that ends runs destructors of the program's, which may take their time,
 * or wait for items: nobody must wait for them but those who close the pool.
 */
static bool manager_try_join(pthread_t thread)
{
	int i;

	for (i = 0; i < JOIN_TRIES; i++) {
		if (pthread_tryjoin_np(thread, NULL) != EBUSY)
			return true;
		sched_yield();
	}
	return false;
}

static void manager_unlist_dead_locked(struct wqi_pool *pool, struct wqi_worker *worker)
{
	struct wqi_worker **at = &pool->dead;

	while (*at != worker)
		at = &(*at)->spare_next;
	*at = worker->spare_next;
}

static void manager_append_dead_locked(struct wqi_pool *pool, struct wqi_worker *worker)
{
	struct wqi_worker **at = &pool->dead;

	while (*at)
		at = &(*at)->spare_next;
	worker->spare_next = NULL;
	*at = worker;
}

static void manager_join(struct wqi_pool *pool)
{
	struct wqi_worker *worker, *first = NULL;
	bool joined;

	pool->join_ns = 0;
	wqi_pool_lock(pool);
	while ((worker = pool->dead) && worker != first) {
		wqi_pool_unlock(pool);
		joined = manager_try_join(worker->thread);
		wqi_pool_lock(pool);
		manager_unlist_dead_locked(pool, worker);
		if (joined) {
			wqi_limit_release(pool);
			worker->spare_next = pool->spare;
			pool->spare = worker;
			pool->retiring = false;
			pool->join_wait_ns = 0;
		} else {
			manager_append_dead_locked(pool, worker);
			first = first ? first : worker;
		}
	}
	if (pool->dead) {
		pool->join_wait_ns = pool->join_wait_ns ? 2 * pool->join_wait_ns : JOIN_MIN_NS;
		if (pool->join_wait_ns > JOIN_MAX_NS)
			pool->join_wait_ns = JOIN_MAX_NS;
		pool->join_ns = wqi_now_ns() + pool->join_wait_ns;
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
		at = oldest->idle_since_ns + wqi_load_relaxed(&wqi_config.idle_timeout_ns);
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

static void manager_forget(struct wqi_pool *pool)
{
	struct wqi_pool **at = &wqi_manager_pools;

	while (*at != pool)
		at = &(*at)->managed_next;
	*at = pool->managed_next;
	pool->managed = false;
	pool->needy_ns = pool->retry_ns = pool->watch_ns = pool->join_ns = 0;
}

/* Somebody waits for the pool's first worker to be made, or its last to be gone. */
static void manager_settle(struct wqi_pool *pool)
{
	bool has_workers, closing;

	wqi_pool_lock(pool);
	closing = pool->closing;
	has_workers = pool_has_workers_locked(pool);
	wqi_pool_unlock(pool);
	if (closing && has_workers)
		return;
	if (!has_workers)
		manager_forget(pool);
	wqi_store_relaxed(&pool->awaited, false);
	wqi_futex_post(&pool->settled);
}

/* Who waits said before what for: `awaited` is read first, or the answer would be to nothing. */
static void manager_look_at(struct wqi_pool *pool)
{
	bool awaited = wqi_load_acquire(&pool->awaited);

	if (!pool->managed) {
		pool->managed = true;
		pool->managed_next = wqi_manager_pools;
		wqi_manager_pools = pool;
	}
	manager_join(pool);
	if (awaited)
		pool->retry_ns = 0; /* of the pool's former life */
	if (!pool->retry_ns)
		manager_create(pool);
	if (!pool->watch_ns && !pool->dedicated)
		pool->watch_ns = wqi_watch_begin(pool, wqi_now_ns());
	if (awaited)
		manager_settle(pool);
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

	for (pool = wqi_manager_pools; pool; pool = pool->managed_next) {
		if (pool->retry_ns && now >= pool->retry_ns) {
			pool->retry_ns = 0;
			manager_create(pool);
		}
		if (pool->retry_ns && pool->retry_ns < next)
			next = pool->retry_ns;
		if (pool->join_ns && now >= pool->join_ns) {
			manager_look_at(pool);
			return now;
		}
		if (pool->join_ns && pool->join_ns < next)
			next = pool->join_ns;
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
		if (wqi_load_acquire(&manager_stopping))
			return NULL;
		next = manager_serve_times();
		now = wqi_now_ns();
		if (next > now)
			wqi_futex_wait(&manager_event, event,
				       next == UINT64_MAX ? WQI_NO_TIMEOUT : next - now);
	}
}

static void manager_await(struct wqi_pool *pool)
{
	wqi_store_relaxed(&pool->settled, 0u);
	wqi_store_release(&pool->awaited, true);
	wqi_manager_request(pool);
	wqi_futex_wait_post(&pool->settled);
}

int wqi_manager_make_first(struct wqi_pool *pool)
{
	bool made;

	wqi_assert_held(&wqi_runtime.lock);

	manager_await(pool);
	wqi_pool_lock(pool);
	made = pool->nr_workers || pool->nr_creating;
	wqi_pool_unlock(pool);
	return made ? 0 : -EAGAIN;
}

/* Without a worker there is none to come: in a child of a fork() nobody would answer. */
void wqi_manager_close(struct wqi_pool *pool)
{
	bool has_workers;

	wqi_pool_lock(pool);
	wqi_pool_close_locked(pool);
	has_workers = pool_has_workers_locked(pool);
	wqi_pool_unlock(pool);
	if (has_workers)
		manager_await(pool);
}

void wqi_manager_stop(void)
{
	wqi_store_release(&manager_stopping, true);
	manager_poke();
	pthread_join(manager_thread, NULL);
	wqi_manager_reset();
}

void wqi_manager_reset(void)
{
	wqi_store_relaxed(&manager_requests, (struct wqi_pool *)NULL);
	wqi_store_relaxed(&manager_event, 0u);
	wqi_store_relaxed(&manager_stopping, false);
	wqi_manager_pools = NULL;
	wqi_limit_reset();
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
	pthread_attr_setaffinity_np(&attr, sizeof(wqi_cpus.mask), wqi_cpus.mask.set);
	wqi_runtime_worker_signals(&block);
	pthread_sigmask(SIG_SETMASK, &block, &before);
	wqi_runtime.start_mask = before;
	wqi_runtime.start_nice = getpriority(PRIO_PROCESS, (id_t)getpid());
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
