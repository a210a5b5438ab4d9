/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the threads that wait for grace periods of the program's liburcu flavours, one
 * for each in use: a reader that stays in its section holds up its own flavour only.
 * Not to be confused with rcu.h, the library's own read side.
 */
#ifndef WQI_RCU_WORK_H
#define WQI_RCU_WORK_H

#include "cpu.h"

#include <wq/rcu.h>

/*
 * Wait until the grace period of an armed item is over.  1; 0 it waits for none; -EDEADLK
 * that would never be.
 */
int wqi_rcu_work_wait(struct wq_work *work);

/*
 * Wait until all that was queued for a grace period before has been let go to its queue,
 * but for what waits for the caller, who reads.
 */
void wqi_rcu_works_wait(void);

/* End the threads; nothing is armed.  No lock held. */
void wqi_rcu_works_stop(void);

/* Let the threads run on these CPUs.  Under G. */
void wqi_rcu_works_move_locked(const wqi_cpu_mask *mask);

/* In the child of a fork(): no flavour has a thread or items.  Under G. */
void wqi_rcu_works_reset(void);

#endif /* WQI_RCU_WORK_H */
