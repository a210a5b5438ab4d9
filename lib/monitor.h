/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the monitor: the thread that looks by time at busy pools, at normal
 * priority.  Where sentinels do not get to run, it finds who is blocked; it finds
 * items that compute for long, and pools whose items nobody can run.
 *
 * It makes no threads and allocates nothing, so that it goes on where the manager
 * can't.  With nothing busy it sleeps.
 */
#ifndef WQI_MONITOR_H
#define WQI_MONITOR_H

#include "pool.h"

/* Start the thread.  0, or -EAGAIN.  Under G. */
int wqi_monitor_start(void);

/* Ask the monitor to watch @pool.  Lock-free, AS-safe. */
void wqi_monitor_request(struct wqi_pool *pool);

/* End the thread; no pool has items. */
void wqi_monitor_stop(void);

/* In the child of a fork(): it does not run, and knows no pool. */
void wqi_monitor_reset(void);

#endif /* WQI_MONITOR_H */
