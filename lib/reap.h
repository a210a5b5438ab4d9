/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the ends of workers: who is idle for too long, and joining.  The manager calls it. */
#ifndef WQI_REAP_H
#define WQI_REAP_H

#include "pool.h"

/* Join the pool's threads that have ended; those that have not quite are asked again later. */
void wqi_reap_dead(struct wqi_pool *pool);

/* End the worker that is idle longest, if its time is up.  When to look again. */
uint64_t wqi_reap_idle(struct wqi_pool *pool, uint64_t now);

#endif /* WQI_REAP_H */
