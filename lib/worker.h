/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the worker's record, its thread and the loop that runs items. */
#ifndef WQI_WORKER_H
#define WQI_WORKER_H

#include <pthread.h>
#include <sys/types.h>

#include <wq/worker.h>

#include "pool.h"

struct wqi_worker {
	/* What it runs.  ORD-RUNNING: current_work is stored before PENDING clears. */
	struct wq_work *current_work;	 /* A, release: NULL between items */
	struct wqi_pwq *current_pwq;	 /* A, relaxed; valid while current_work is set */
	wq_work_fn current_fn;		 /* A, relaxed; as current_pwq */
	struct wq_work *requeued;	 /* A, release: current_work, if it queued itself */
	bool requeueing;		 /* A: its item is about to queue itself; ORD-PLUG */
	unsigned current_color;		 /* K */
	struct wqi_worker *busy_next;	 /* L: pool->busy, from *busy_bucket on */
	struct wqi_worker **busy_bucket; /* L */
	uint32_t inside; /* A, release: it holds its pool's lock by bias; futex word */

	/* What sentinels and the monitor look at without the lock. */
	uint64_t run;	      /* A, release; S: odd while it is in an item's function */
	uint64_t blocked_run; /* A, relaxed: the run in which a sentinel found it blocked */
	uint32_t blocked_how; /* A, relaxed: enum wqi_blocked */
	pid_t tid;	      /* A, release: 0 until the thread runs */
	uint32_t epoch;	      /* I for the thread: wqi_cpus.epoch when it was made */
	bool others_wait;     /* L+, relaxed: items wait in the pool while it runs, or spins */
	bool in_lock;	      /* A, relaxed; S: it waits for a pool's lock, and is not blocked */
	bool counted;	      /* L+, relaxed: is one of pool->nr_running */
	unsigned cpu;	      /* A, relaxed; S: where its run began */
	int nice;	      /* A, relaxed: the one that it got */
	int policy;	      /* A, relaxed: the one that it got */

	struct wqi_pool *pool;		/* A, release: I but for a rescuer, which goes about */
	struct wqi_worker *all_next;	/* I: pool->workers */
	struct wqi_worker *spare_next;	/* L: pool->spare, or the manager's list of the dead */
	struct cds_list_head idle_node; /* L: pool->idle */
	struct cds_list_head on_node;	/* L: pool->idle_on */
	struct cds_list_head scheduled; /* L: items that wait for the one it runs */
	struct cds_list_head waiters;	/* L: flushers of the item it runs */
	uint64_t idle_since_ns;		/* L */
	unsigned last_cpu;		/* L: where it became idle */
	uint32_t wake;			/* A, seq_cst: futex word; 1: woken, 2: by a sentinel */
	uint64_t woken_ns;	   /* A, relaxed: when it was woken last, if not by a sentinel */
	bool idle;		   /* L: on pool->idle */
	unsigned place;		   /* L: its place among pool->runners, if it is counted */
	bool rescuing;		   /* L: it is out, in another pool than its home */
	struct wqi_pool *home;	   /* S: a rescuer's, while it is out */
	struct wqi_pool *out_at;   /* home's L: whose CPUs it is to have, while it is out */
	struct wqi_table *rescues; /* S: whose pwqs it serves, one of `users` */
	unsigned nr_regions;	   /* S: wq_block_begin() calls that are open */
	bool retire;		   /* L: told to end */
	bool marked;		   /* L: there is something to be seen to at the run's end */
	bool described;		   /* L: desc is of the item that runs */
	bool hogged;		   /* L: the run was found to be CPU intensive */
	bool intensive;		   /* L: the run is of a queue that says so of all */
	unsigned id;		   /* I */
	pthread_t thread;	   /* manager only */
	bool measure;		   /* L: the CPU time of this run is measured */
	bool is_long;		   /* L: the monitor saw the run twice */
	bool aside;		   /* S: it does not count in its pool: sole, or rescuing */
	uint64_t cpu_mark_ns;	   /* S: CPU time that is charged to queues already */
	uint64_t cpu_mark_run;	   /* S: the run that begins with that, if it is the next, or 0 */
	uint64_t cpu_used_ns;	   /* S: what the run took, if it was measured */
	const void *call_fn;	   /* A, relaxed: what the run calls, if its function is ours */
	uint64_t seen_run;	   /* A, release; the monitor's: the run at its last look */
	uint64_t seen_cpu_ns;	   /* A, relaxed; the monitor's: CPU time when it saw that first */
	uint64_t last_cpu_ns;	   /* monitor only: CPU time at its last look */
	uint64_t flow_cpu_ns;	   /* monitor only: the same, when it looked whether items flow */
	uint64_t flow_run;	   /* monitor only: the run then */
	uint32_t verdict;	   /* monitor only: what that look found */
	uint64_t batch_start_ns;   /* S: when counting for pool->item_ns began */
	uint64_t begin_ns;	   /* S: when it began to see to the others, before an item */
	uint64_t batch_started;	   /* S: pool->nr_started then */
	unsigned batch_items;	   /* S: items that this worker has run since */
	struct wqi_worker *late;   /* S: who was on its way at the last look */
	unsigned beside;	   /* S: runs in a row with a flusher on this very CPU */
	uint32_t invited;	   /* A, relaxed: one more than a CPU found idle, or 0 */
	char desc[WQ_DESC_BYTES];  /* L: what its item says of itself, if described */
};

/* The worker that the calling thread is, or NULL. */
extern __thread struct wqi_worker *wqi_worker_self __attribute__((tls_model("initial-exec")));

/* For wq_cpu_hogs(): the item's function is the library's, and calls @fn. */
static inline void wqi_worker_calls(const void *fn)
{
	struct wqi_worker *self = wqi_worker_self;

	if (wqi_likely(self))
		wqi_store_relaxed(&self->call_fn, fn);
}

/*
 * A record for a worker that is to come, without a thread; NULL: no memory, which may take long to
 * be had.  No lock held.
 */
struct wqi_worker *wqi_worker_new(struct wqi_pool *pool);

/*
 * Make its thread.  0, or an errno.  Of a rescuer worker->pool may change as soon as the thread
 * runs.  No lock held; the manager's.
 */
int wqi_worker_start(struct wqi_pool *pool, struct wqi_worker *worker);

/* The thread's function; @arg is the struct wqi_worker. */
void *wqi_worker_main(void *arg);

/* What the thread of worker @id of @pool is called. */
void wqi_worker_name(const struct wqi_pool *pool, unsigned id, char to[16]);

/* What its thread is for: run items until it is to end, and end.  Drops the lock. */
void wqi_worker_work_locked(struct wqi_worker *self);

/* Run items until the worker is to end. */
void wqi_worker_loop_locked(struct wqi_worker *self);

/* The function of the worker's item has been left, whichever way. */
void wqi_worker_finish_locked(struct wqi_worker *self, struct wqi_pwq *pwq);

/* In the child of a fork(): the calling thread, its only one, is no worker any more. */
void wqi_worker_forked(void);

/* Make the record of a worker that is no more fit for another. */
void wqi_worker_reset(struct wqi_worker *worker);

/* Is the caller in the function of an item of @wq? */
bool wqi_worker_serves(const struct wq *wq);

/* Count items, and the time they take together, from here; and learn what they cost, and so on. */
void wqi_worker_batch_begin_locked(struct wqi_worker *self);
void wqi_worker_batch_end_locked(struct wqi_worker *self);

/* Awake: may it run?  Then it counts.  Nothing to run: has it paid to wait for it? */
bool wqi_worker_is_needed_locked(struct wqi_worker *self);
bool wqi_worker_spin_locked(struct wqi_worker *self);

/* Sleep.  True: there may be work; false: it is to end. */
bool wqi_worker_idle_locked(struct wqi_worker *self);

/* Run one item, off its list and counted as active.  The lock is dropped while it runs. */
void wqi_worker_run_locked(struct wqi_worker *self, struct wq_work *work, struct wqi_pwq *pwq);

/* The first item of @pwq that may start: off its list, and holding one of nr_active; or NULL. */
struct wq_work *wqi_worker_next_of_locked(struct wqi_pool *pool, struct wqi_pwq *pwq);

#endif /* WQI_WORKER_H */
