/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns how the library's own threads (manager, monitor, sentinels) are started. */
#ifndef WQI_SERVICE_H
#define WQI_SERVICE_H

#include <pthread.h>

#include "cpu.h"

/*
 * Start @main(@arg): with normal policy, whatever the caller has, and the signals
 * blocked that workers block; on @cpu alone, or on the CPUs of the process (-1).
 * 0, or an errno value, positive.
 */
int wqi_service_start(pthread_t *thread, int cpu, void *(*main)(void *arg), void *arg);

/* The thread's first act. */
void wqi_service_begin(const char *name);

/* Those that live as long as the library does. */
enum wqi_lasting {
	WQI_LASTING_MANAGER,
	WQI_LASTING_MONITOR,
	WQI_LASTING_CLOCK,
	WQI_LASTING_HOTPLUG,
	WQI_NR_LASTING
};

/* The calling thread is one of them. */
void wqi_service_last(enum wqi_lasting which);

/* It is about to end before the library does. */
void wqi_service_ends(enum wqi_lasting which);

/* It is another that is to be moved, and is known by this from now on. */
void wqi_service_tell(pid_t *tid);

/* Let them run on these CPUs; or another thread of the library's, 0 being none. */
void wqi_service_move_all(const wqi_cpu_mask *mask);
void wqi_service_move(pid_t tid, const wqi_cpu_mask *mask);

/* Those on which the manager may run: the process's, if nobody has told it otherwise. */
bool wqi_service_cpus(wqi_cpu_mask *mask);

/* They are gone: at the end, and in the child of a fork(). */
void wqi_service_reset(void);

#endif /* WQI_SERVICE_H */
