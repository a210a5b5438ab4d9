/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the epoll descriptor and the thread that waits on it.  Does not know items.
 *
 * The program may close descriptors that it has not opened, as daemons do, and get the
 * numbers for its own.  So before each use it is checked that both are still ours, by a
 * mark that changes nothing where it is not found.  Both have numbers far above those
 * that programs get by themselves.  Where they are not ours, all begins anew.
 *
 * The lock P: one poller is made at a time; before Q, with none other held.  Under Q
 * nothing is made or allocated: a signal handler that cancels an item waits for Q, and
 * may have interrupted malloc().
 */
#ifndef WQI_POLLER_H
#define WQI_POLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

/* Does a poller run on descriptors of ours?  Under Q. */
bool wqi_poller_is_ready_locked(void);

/* Make one if none does; all that is waited for goes over to it.  0 or -errno. */
int wqi_poller_begin(void);

/*
 * Wait once for @events of @fd; @serial comes back with what is ready, in the upper
 * half of the event's data.  0; 1 the kernel did not know the descriptor, so what it was
 * told before was of one that is closed; -errno: -ENOMEM also where there is no poller,
 * -ESTALE its descriptors have been closed just now, and it will begin anew.  Under Q.
 */
int wqi_poller_watch_locked(int fd, uint32_t events, uint32_t serial);

/* Let the thread run on these CPUs. */
void wqi_poller_move(const wqi_cpu_mask *mask);

/* End all threads, close the descriptors. */
void wqi_poller_stop(void);

/* In the child of a fork(): close our copies of the descriptors.  Under G. */
void wqi_poller_reset(void);

#endif /* WQI_POLLER_H */
