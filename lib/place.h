/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns where a pool's workers run.  Decides nothing about who runs.
 *
 * A woken thread may be put on the CPU of the one that woke it, or where it ran last,
 * although another is idle (a virtual CPU that has been halted does not look idle to the
 * kernel), and may stay there for long.  If a worker of the same pool is in an item on that CPU,
 * one of the two waits for the other's time slice to end: milliseconds, with an item in its hands.
 * So who begins an item of some length looks whether it has a CPU of its own.
 */
#ifndef WQI_PLACE_H
#define WQI_PLACE_H

#include "cpu.h"
#include "worker.h"

/*
 * @self begins an item.  True: another of the pool runs on its CPU, and it had better move,
 * with no lock held.  One that was woken and still has not come is sent to another CPU: it may
 * be behind @self.
 */
bool wqi_place_check_locked(struct wqi_worker *self);
void wqi_place_move(struct wqi_worker *self);

/*
 * @self and who waits for its items take turns on one CPU, so that each is switched to for each
 * item.  Looks whether another is idle, and goes there.  With no lock held.
 */
#define WQI_PLACE_TURNS 64u

void wqi_place_part(struct wqi_worker *self);

/* Where it runs, for sentinels and the others of its pool. */
static inline void wqi_place_say(struct wqi_worker *self)
{
	unsigned cpu = wqi_cpu_current();

	if (self->cpu != cpu)
		wqi_store_relaxed(&self->cpu, cpu);
}

#endif /* WQI_PLACE_H */
