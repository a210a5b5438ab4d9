/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what the kernel says of a thread of this process.  Holds no descriptor, but for who
 * has a table of descriptors of its own.
 */
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

#define WQI_TASK_FILES 256u

/* Descriptors that a thread keeps open for that, in a table of its own; it alone uses this (S). */
struct wqi_task_files {
	bool own;
	struct wqi_task_file {
		pid_t tid; /* 0: none */
		int fd;
	} file[WQI_TASK_FILES]; /* by tid */
};

/*
 * From here on the calling thread has none of the program's descriptors, if the kernel can
 * do that, and none of its own is the program's.  They are closed when it ends.
 */
void wqi_task_files_begin(struct wqi_task_files *files);

/*
 * The same as wqi_task_state(), in half of the time if the thread was asked about before.
 * @files may be NULL.
 */
char wqi_task_state_by(struct wqi_task_files *files, pid_t tid);

static inline bool wqi_task_state_is_blocked(char state)
{
	return state && state != 'R';
}

/* The CPU time of a thread of this process in ns.  False: it is gone. */
bool wqi_task_cpu_ns(pid_t tid, uint64_t *ns);

/* ... and of the calling one. */
uint64_t wqi_task_own_cpu_ns(void);

#endif /* WQI_TASK_H */
