/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the worker's record and thread: how they are made, what it is called, and the ways in
 * which it ends.  When one is made is manager.c's; what it does meanwhile is in worker.c.
 */
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bias.h"
#include "block.h"
#include "charge.h"
#include "closure.h"
#include "config.h"
#include "cpu.h"
#include "manager.h"
#include "mem.h"
#include "pwq.h"
#include "rescuer.h"
#include "runtime.h"
#include "sentinel.h"
#include "timer.h"
#include "zephyr.h"

/* --- before it runs --- */

struct wqi_worker *wqi_worker_new(struct wqi_pool *pool)
{
	struct wqi_worker *worker;

	wqi_pause_point("record is made");
	worker = wqi_zalloc(sizeof(*worker));
	if (!worker)
		return NULL;
	worker->pool = pool;
	CDS_INIT_LIST_HEAD(&worker->scheduled);
	CDS_INIT_LIST_HEAD(&worker->waiters);
	wqi_pool_lock(pool);
	worker->id = pool->next_worker_id++;
	worker->all_next = pool->workers;
	wqi_store_release(&pool->workers, worker);
	wqi_pool_unlock(pool);
	return worker;
}

/* The configured size, or the C library's; a hint can only make it larger. */
static void thread_set_stack(pthread_attr_t *attr, size_t hint)
{
	size_t usual = 0;

	if (wqi_config.stack_bytes)
		pthread_attr_setstacksize(attr, wqi_config.stack_bytes);
	if (hint && !pthread_attr_getstacksize(attr, &usual) && hint > usual)
		pthread_attr_setstacksize(attr, hint);
}

int wqi_worker_start(struct wqi_pool *pool, struct wqi_worker *worker)
{
	pthread_attr_t attr;
	wqi_cpu_mask mask;
	char name[16];
	int err;

	wqi_pause_point("worker is made");
	if (wqi_fault_now(WQI_FAULT_THREAD))
		return EAGAIN;
	err = pthread_attr_init(&attr);
	if (err)
		return err;
	thread_set_stack(&attr, pool->stack_bytes);
	/* Where they change meanwhile the thread finds that out. */
	worker->epoch = wqi_load_seq_cst(&wqi_cpus.epoch);
	if (wqi_pool_mask(pool, &mask) && !wqi_cpus_are_all(&mask))
		pthread_attr_setaffinity_np(&attr, sizeof(mask), mask.set);
	err = pthread_create(&worker->thread, &attr, wqi_worker_main, worker);
	if (err == EINVAL || (err == EAGAIN && (wqi_config.stack_bytes || pool->stack_bytes))) {
		/* The CPU has been taken from us, or the stack is too small for the
		 * program's own data of threads, or larger than can be had: better a
		 * usual one than none. */
		pthread_attr_destroy(&attr);
		pthread_attr_init(&attr);
		err = pthread_create(&worker->thread, &attr, wqi_worker_main, worker);
	}
	pthread_attr_destroy(&attr);
	/* wq_alloc() waits for those: who looks then shall find them by their name. */
	if (!err && pool->dedicated) {
		wqi_worker_name(pool, worker->id, name);
		pthread_setname_np(worker->thread, name);
		if (pool->zephyr)
			wqi_zephyr_note_thread(pool, worker->thread);
	}
	return err;
}

/* --- its life --- */

/* As near to the wanted priority as RLIMIT_NICE lets us come. */
static void thread_set_nice(int nice)
{
	struct rlimit limit;

	if (!nice || !setpriority(PRIO_PROCESS, 0, nice))
		return;
	if (getrlimit(RLIMIT_NICE, &limit) || limit.rlim_cur < 1 || limit.rlim_cur > 40)
		return;
	nice = 20 - (int)limit.rlim_cur;
	if (nice < getpriority(PRIO_PROCESS, 0))
		setpriority(PRIO_PROCESS, 0, nice);
}

/*
 * Items of a WQ_BH queue come before all that is not real time, where that is
 * permitted; threads that they make do not.
 */
static void thread_set_priority(struct wqi_worker *self)
{
	struct sched_param param = {.sched_priority = 1};
	int policy = SCHED_OTHER;

	if (self->pool->bh && !sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		policy = SCHED_FIFO;
	else
		thread_set_nice(self->pool->nice);
	wqi_store_relaxed(&self->policy, policy);
	wqi_store_relaxed(&self->nice, getpriority(PRIO_PROCESS, 0));
}

void wqi_worker_name(const struct wqi_pool *pool, unsigned id, char to[16])
{
	char name[40];

	if (pool->dedicated)
		snprintf(name, sizeof(name), "wq/%s%s", pool->rescues ? "R-" : "", pool->name);
	else if (pool->cpu >= 0)
		snprintf(name, sizeof(name), "wq/%d:%u%s", pool->cpu, id,
			 pool->bh	  ? "B"
			 : pool->nice < 0 ? "H"
					  : "");
	else
		snprintf(name, sizeof(name), "wq/u%u:%u", pool->id, id);
	memcpy(to, name, 15);
	to[15] = '\0';
}

/* The thread's last act: the manager joins it and keeps the record for another. */
static void thread_end_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	bool adopted = pool->adopted;

	pool->nr_workers--;
	self->retire = false;
	wqi_store_release(&self->tid, 0);
	if (wqi_unlikely(adopted)) {
		/* The program's thread: not ours to join.  Should it have ended in an item, the
		 * manager makes another. */
		pool->adopted = false;
		self->spare_next = pool->spare;
		pool->spare = self;
	} else {
		self->spare_next = pool->dead;
		pool->dead = self;
	}
	/* Destructors of the thread's own data are not in an item. */
	wqi_worker_self = NULL;
	/* A producer may have been told to wake us. */
	wqi_pool_hand_over_locked(pool);
	/* Nobody joins it: once the lock is free, the pool may go. */
	if (wqi_unlikely(adopted))
		wqi_manager_request(pool);
	wqi_worker_unlock_pool(self, pool);
	if (wqi_likely(!adopted))
		wqi_manager_request(pool);
}

/*
 * An item's function left by pthread_exit(), or was cancelled: that was its end.
 * Items that waited for it on this worker go first among those of the pool.
 */
static void thread_torn_down(void *arg)
{
	struct wqi_worker *self = arg;
	struct wqi_pool *pool;

	if (wqi_worker_self != self)
		return; /* the child of a fork() in the item: the record may be gone */
	wqi_store_release(&self->run, self->run + 1);
	if (self->measure)
		wqi_charge_after(self);
	wqi_closure_torn_down(self->current_work, self->current_fn);
	if (self->rescuing) {
		wqi_rescuer_torn_down(self);
		pool = self->pool;
		wqi_pool_lock(pool);
	} else {
		pool = self->pool;
		wqi_pool_lock(pool);
		wqi_charge_end_locked(self, self->current_pwq, self->current_fn);
		self->current_pwq->nr_completed++;
		wqi_worker_finish_locked(self, self->current_pwq);
		cds_list_splice(&self->scheduled, &pool->ready_list);
		CDS_INIT_LIST_HEAD(&self->scheduled);
	}
	if (self->counted)
		wqi_worker_count_out_locked(self);
	thread_end_locked(self);
}

void *wqi_worker_main(void *arg)
{
	struct wqi_worker *self = arg;
	struct wqi_pool *pool = self->pool;
	char name[16];

	wqi_worker_self = self;
	wqi_worker_name(pool, self->id, name);
	prctl(PR_SET_NAME, name);
	thread_set_priority(self);
	wqi_store_release(&self->tid, gettid());
	self->aside = pool->sole;
	self->cpu_mark_ns = self->cpu_mark_run = 0;
	if (!self->aside)
		wqi_sentinel_stand_in(pool);

	wqi_pool_lock(pool);
	pool->nr_creating--;
	pool->nr_workers++;
	if (self->epoch != wqi_load_seq_cst(&wqi_cpus.epoch))
		wqi_pool_pin_locked(pool);
	wqi_worker_work_locked(self);
	return NULL;
}

void wqi_worker_work_locked(struct wqi_worker *self)
{
	pthread_cleanup_push(thread_torn_down, self);
	if (wqi_unlikely(self->pool->zephyr))
		wqi_zephyr_loop_locked(self);
	else
		wqi_worker_loop_locked(self);
	pthread_cleanup_pop(0);
	thread_end_locked(self);
}

void wqi_worker_reset(struct wqi_worker *worker)
{
	struct wqi_worker was = {
		.pool = worker->pool,
		.all_next = worker->all_next,
		.id = worker->id,
	};

	*worker = was;
	CDS_INIT_LIST_HEAD(&worker->scheduled);
	CDS_INIT_LIST_HEAD(&worker->waiters);
}

/*
 * The thread that called fork() goes on in its item, as a thread of the program:
 * with the signals, the CPUs, the priority and the name of one.
 */
void wqi_worker_forked(void)
{
	struct wqi_worker *self = wqi_worker_self;
	struct sched_param param = {.sched_priority = 0};

	wqi_pool_locks_held = 0;
	wqi_timer_locks_held = 0;
	if (!self)
		return;
	wqi_worker_self = NULL;
	if (self->pool->adopted)
		return; /* it was the program's all the time */
	if (!wqi_cpus.pretended)
		wqi_cpus_go_to_all();
	if (wqi_load_relaxed(&self->policy) == SCHED_FIFO)
		sched_setscheduler(0, SCHED_OTHER, &param);
	if (self->pool->nice)
		setpriority(PRIO_PROCESS, 0, wqi_runtime.start_nice);
	prctl(PR_SET_NAME, program_invocation_short_name);
	pthread_sigmask(SIG_SETMASK, &wqi_runtime.start_mask, NULL);
}
