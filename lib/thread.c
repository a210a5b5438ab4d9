/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the worker's thread: how it begins, what it is called, and the ways in which
 * it ends.  What it does meanwhile is in worker.c.
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
#include "cpu.h"
#include "manager.h"
#include "pwq.h"
#include "rescuer.h"
#include "runtime.h"
#include "timer.h"
#include "zephyr.h"

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
	self->cpu_mark_ns = 0;

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
