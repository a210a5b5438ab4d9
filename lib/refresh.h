/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns following the machine: CPUs that come and go, the process's affinity, its cpuset
 * and its quota.  The monitor finds out that something has changed.
 */
#ifndef WQI_REFRESH_H
#define WQI_REFRESH_H

#include <stdbool.h>
#include <stdint.h>

/* Something may have changed: the manager is to look.  Lock-free. */
void wqi_refresh_ask(void);

/* The same, if it has; or if there are other CPUs, which reads no files. */
void wqi_refresh_check(void);
void wqi_refresh_check_cpus(void);

/* The manager's: is anything asked for? */
bool wqi_refresh_is_asked(void);

/* ... and: do what was asked for.  Returns when to try again, or UINT64_MAX. */
uint64_t wqi_refresh_serve(void);

/* At the end, and in the child of a fork(): nothing is asked for. */
void wqi_refresh_reset(void);

#endif /* WQI_REFRESH_H */
