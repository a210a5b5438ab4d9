/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns rescuers: the thread that a WQ_MEM_RECLAIM queue has from the start, which
 * runs the queue's items, one at a time, in pools that can get no worker.
 *
 * A rescuer is the worker of a dedicated pool (its home), where nothing is ever
 * queued.  Out in another pool it takes that pool's lock and lists like a worker of
 * it, but does not count there.  Nothing on the way allocates or makes a thread.
 */
#ifndef WQI_RESCUER_H
#define WQI_RESCUER_H

#include "pool.h"

/* A pool without a worker calls after this time, and again after each that. */
#define WQI_MAYDAY_FIRST_NS 10000000u
#define WQI_MAYDAY_AGAIN_NS 100000000u

/*
 * A, seq_cst: rescuers that are out.  ORD-RUNNING: counted before one publishes its
 * item; who looks for a run in a pool and sees none out need not look among them.
 */
extern uint32_t wqi_rescuers_out;

/* Call the rescuers of all queues that have items waiting here to be started. */
void wqi_mayday_locked(struct wqi_pool *pool);

/* Call the one that is at home there: the queue's items, or its tables, need it.  Lock-free. */
void wqi_rescuer_call(struct wqi_pool *home);

/*
 * The rescuer was called: serve the pools that did.  Home's lock held, dropped
 * meanwhile.
 */
void wqi_rescuer_go_locked(struct wqi_worker *self);

/* Its thread ends in an item, out in a pool: back home.  No lock held. */
void wqi_rescuer_torn_down(struct wqi_worker *self);

#endif /* WQI_RESCUER_H */
