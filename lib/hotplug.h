/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the thread that hears from the kernel that a CPU has gone or come.  What is to be
 * done then is refresh.h's.  Where it may not listen, or is not told, the monitor finds out,
 * while it has others to watch.
 */
#ifndef WQI_HOTPLUG_H
#define WQI_HOTPLUG_H

#include <stdbool.h>

/*
 * Have the thread, if it does not run and is wanted: without it all goes on.  False: it could
 * not be made.  The manager's.
 */
bool wqi_hotplug_start(void);

/* End it.  The manager has ended. */
void wqi_hotplug_stop(void);

/* In the child of a fork(): it does not run. */
void wqi_hotplug_reset(void);

#endif /* WQI_HOTPLUG_H */
