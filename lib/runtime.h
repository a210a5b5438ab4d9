/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the start of the library and the lock of what is global. */
#ifndef WQI_RUNTIME_H
#define WQI_RUNTIME_H

#include <signal.h>

#include "lock.h"

struct wqi_runtime {
	struct wqi_lock lock; /* G */
	bool started;	      /* G */
};

extern struct wqi_runtime wqi_runtime;

/* Start what is not started.  0, -ENOMEM or -EAGAIN.  Under G. */
int wqi_runtime_start_locked(void);

/* Signals that the library's threads leave alone are blocked in @set. */
void wqi_runtime_worker_signals(sigset_t *set);

#endif /* WQI_RUNTIME_H */
