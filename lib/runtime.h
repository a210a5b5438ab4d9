/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the start and the end of the library and the lock of what is global. */
#ifndef WQI_RUNTIME_H
#define WQI_RUNTIME_H

#include <signal.h>

#include "lock.h"

struct wqi_runtime {
	struct wqi_lock lock; /* G */
	bool configured;      /* G: settings and CPUs hold, until wq_shutdown() */
	bool started;	      /* G: the manager runs */
	bool stopping;	      /* G: wq_shutdown() is at work */
	bool stopped;	      /* G: ... and has begun to end threads */
	bool can_fence;	      /* I once started: wqi_runtime_fence() works */
	unsigned nr_queues;   /* G: from wq_alloc(), and not destroyed */
	sigset_t start_mask;  /* G: signals that the process blocked at the start */
	int start_nice;	      /* G: its nice value then */
};

extern struct wqi_runtime wqi_runtime;

/* Start what is not started.  0, -ENOMEM, -EAGAIN, or -ESHUTDOWN at the end.  Under G. */
int wqi_runtime_start_locked(void);

/*
 * All threads of the process pass a barrier: what this one stored before is seen by
 * whatever they load from here on, and what they stored before by this one.
 */
void wqi_runtime_fence(void);

/* Signals that the library's threads leave alone are blocked in @set. */
void wqi_runtime_worker_signals(sigset_t *set);

#endif /* WQI_RUNTIME_H */
