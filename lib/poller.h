/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the epoll descriptor and the thread that waits on it.  Does not know items.
 *
 * The program may close descriptors that it has not opened, as daemons do, and get the
 * numbers for its own.  So before each use it is checked that the epoll descriptor is
 * still ours: the eventfd that ends the thread must be registered in it.  Both have
 * numbers far above those that programs get by themselves.  Where it is not ours, all
 * begins anew.
 */
#ifndef WQI_POLLER_H
#define WQI_POLLER_H

#include <stdint.h>

/* The poller runs on a descriptor of ours.  0 or -errno.  Under Q. */
int wqi_poller_ready_locked(void);

/*
 * Wait once for @events of @fd; @serial comes back with what is ready, in the upper
 * half of the event's data.  0; 1 the kernel did not know the descriptor, so what it was
 * told before was of one that is closed; -errno.  Under Q.
 */
int wqi_poller_watch_locked(int fd, uint32_t events, uint32_t serial);

/* End all threads, close the descriptors. */
void wqi_poller_stop(void);

/* In the child of a fork(): close our copies of the descriptors.  Under G. */
void wqi_poller_reset(void);

#endif /* WQI_POLLER_H */
