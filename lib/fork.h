/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what fork() does to the library: the handler that runs in the child, and
 * the reset at the child's first use.  Nothing runs in the parent.
 *
 * The child is the forking thread alone, with a copy of everything as it was at
 * one instant, locks that others held included.  The handler only counts the
 * generation up, so that all items are idle (item.h), and sets `stale`.  Whoever
 * then calls the library first makes pools, queues and locks anew; queues, and
 * what their owner set, stay.  What is walked is written so that a copy of any
 * instant can be: lists are linked by release stores, forward.
 */
#ifndef WQI_FORK_H
#define WQI_FORK_H

#include <stdbool.h>
#include <stdint.h>

#include "atomic.h"

/* wqi_fork.stale */
#define WQI_FORK_SETTLED 0u
#define WQI_FORK_STOPPED 1u /* all is reset; the threads are not started */
#define WQI_FORK_COPIED	 2u /* all is as it was in the parent */

struct wqi_fork {
	uint64_t generation; /* changed by the handler only: as a state word has it */
	uint32_t stale;	     /* A, release/acquire; written under G */
};

extern struct wqi_fork wqi_fork;

/* Is the handler called in every child?  0, or -ENOMEM.  Under G. */
int wqi_fork_register(void);

int wqi_fork_settle(bool start);

/*
 * To be called first by whatever uses a queue.  With @start the threads run
 * afterwards, or it answers -errno; without it answers 0.
 */
static inline int wqi_fork_enter(bool start)
{
	if (wqi_likely(wqi_load_acquire(&wqi_fork.stale) == WQI_FORK_SETTLED))
		return 0;
	return wqi_fork_settle(start);
}

#endif /* WQI_FORK_H */
