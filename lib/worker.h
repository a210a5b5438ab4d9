/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the worker's record, its thread and the loop that runs items. */
#ifndef WQI_WORKER_H
#define WQI_WORKER_H

#include <pthread.h>

#include <wq/worker.h>

#include "pool.h"

struct wqi_worker {
	/* What it runs.  ORD-RUNNING: current_work is stored before PENDING clears. */
	struct wq_work *current_work; /* A, release: NULL between items */
	struct wqi_pwq *current_pwq;  /* A, relaxed; valid while current_work is set */
	wq_work_fn current_fn;	      /* A, relaxed; as current_pwq */
	struct wq_work *requeued;     /* A, release: current_work, if it queued itself */
	bool requeueing;	      /* A: its item is about to queue itself; ORD-PLUG */
	unsigned current_color;	      /* K */
	struct wqi_worker *busy_next; /* L: pool->busy */

	struct wqi_pool *pool;		/* I */
	struct wqi_worker *all_next;	/* I: pool->workers */
	struct wqi_worker *spare_next;	/* L: pool->spare, or the manager's list of the dead */
	struct cds_list_head idle_node; /* L: pool->idle */
	struct cds_list_head scheduled; /* L: items that wait for the one it runs */
	struct cds_list_head waiters;	/* L: flushers of the item it runs */
	uint64_t idle_since_ns;		/* L */
	uint32_t wake;			/* A, seq_cst: futex word; 1: has been woken */
	bool idle;			/* L: on pool->idle */
	bool counted;			/* L: is one of pool->nr_running */
	bool retire;			/* L: told to end */
	bool described;			/* L: desc is of the item that runs */
	unsigned id;			/* I */
	pthread_t thread;		/* manager only */
	uint64_t batch_start_ns;	/* S: when counting for pool->item_ns began */
	uint64_t batch_started;		/* S: pool->nr_started then */
	unsigned batch_items;		/* S: items that this worker has run since */
	char desc[WQ_DESC_BYTES];	/* L: what its item says of itself, if described */
};

/* The worker that the calling thread is, or NULL. */
extern __thread struct wqi_worker *wqi_worker_self __attribute__((tls_model("initial-exec")));

/* The thread's function; @arg is the struct wqi_worker. */
void *wqi_worker_main(void *arg);

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

/* The worker stops counting as running, though its item goes on: another may run. */
void wqi_worker_uncount_locked(struct wqi_worker *worker);

/*
 * Around a wait inside the library: the worker, if the caller is one, does not
 * count as running.  No lock held.  The first answers what the second wants.
 */
bool wqi_worker_wait_begin(void);
void wqi_worker_wait_end(bool uncounted);

#endif /* WQI_WORKER_H */
