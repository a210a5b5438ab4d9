/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns who sees to what waits, or comes, while a worker is in an item.  Wakes by kick.c's rules. */
#ifndef WQI_HELP_H
#define WQI_HELP_H

#include "worker.h"

/* Another could run, and items wait: wake it, if nobody is on the way already. */
void wqi_help_fetch_locked(struct wqi_pool *pool);

/*
 * @self is about to be away in an item of some length: who sees to what waits, or comes?
 * True: the sentinel of this CPU is to be armed.
 */
bool wqi_help_provide_locked(struct wqi_worker *self);

/* For sentinels: items wait in the pool while it runs, or not any more. */
static inline void wqi_help_say_waiting(struct wqi_worker *self, bool wait)
{
	if (self->others_wait != wait)
		wqi_store_relaxed(&self->others_wait, wait);
}

#endif /* WQI_HELP_H */
