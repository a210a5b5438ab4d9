/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what items cost in CPU time: charging it to their queues, and who hogged a
 * CPU.
 *
 * The clock of a thread takes a system call (0.5 to 2 µs).  So only items that are known
 * to be long, or have turned out to be, are measured; the others are charged what
 * an item of their pool costs just now.
 */
#ifndef WQI_CHARGE_H
#define WQI_CHARGE_H

#include "pwq.h"
#include "task.h"
#include "worker.h"

/* Where items cost this much each is measured. */
#define WQI_MEASURE_NS 100000u

/* The worker's item is about to begin: is it to be measured? */
static inline bool wqi_charge_begin_locked(struct wqi_worker *self)
{
	self->measure = wqi_pool_is_dear_locked(self->pool, WQI_MEASURE_NS);
	self->marked = self->marked || self->measure;
	return self->measure;
}

/*
 * Around its function, if it is; no lock held.  Where one such item follows another the clock
 * is read once for both, and what is between them is the second's.
 */
static inline void wqi_charge_before(struct wqi_worker *self)
{
	if (self->cpu_mark_run != self->run)
		self->cpu_mark_ns = wqi_task_own_cpu_ns();
}

static inline void wqi_charge_after(struct wqi_worker *self)
{
	uint64_t now = wqi_task_own_cpu_ns();

	self->cpu_used_ns = now - self->cpu_mark_ns;
	self->cpu_mark_ns = now;
	self->cpu_mark_run = self->run + 1;
}

/* What the worker does from here on is no item's. */
static inline void wqi_charge_nobody(struct wqi_worker *self)
{
	self->cpu_mark_run = 0;
}

/* It has ended, and was measured, or turned out to be long. */
void wqi_charge_end_locked(struct wqi_worker *self, struct wqi_pwq *pwq, wq_work_fn fn);

/* A batch of items took @wall_ns: from here on counts what is longer than thought. */
void wqi_charge_batch(struct wqi_worker *self, uint64_t wall_ns);

/* The run that goes on, or has just ended, computed for long: once a run. */
void wqi_charge_hog_locked(struct wqi_worker *worker, struct wqi_pwq *pwq, wq_work_fn fn);

/* Forget all hogs: at the end, and in the child of a fork(). */
void wqi_hogs_reset(void);

#endif /* WQI_CHARGE_H */
