/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns what the kernel says of a thread of this process.  Holds no descriptor. */
#ifndef WQI_TASK_H
#define WQI_TASK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A thread's state as /proc has it: 'R' runs or waits for a CPU, 'S' sleeps, 'D'
 * sleeps without being disturbed, and so on; 0: can't be read.  errno is kept.
 */
char wqi_task_state(pid_t tid);

static inline bool wqi_task_state_is_blocked(char state)
{
	return state && state != 'R';
}

/* The CPU time of a thread of this process in ns.  False: it is gone. */
bool wqi_task_cpu_ns(pid_t tid, uint64_t *ns);

/* ... and of the calling one. */
uint64_t wqi_task_own_cpu_ns(void);

#endif /* WQI_TASK_H */
