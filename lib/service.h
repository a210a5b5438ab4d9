/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns how the library's own threads (manager, monitor, sentinels) are started. */
#ifndef WQI_SERVICE_H
#define WQI_SERVICE_H

#include <pthread.h>

/*
 * Start @main(@arg): with normal policy, whatever the caller has, and the signals
 * blocked that workers block; on @cpu alone, or on the CPUs of the process (-1).
 * 0, or an errno value, positive.
 */
int wqi_service_start(pthread_t *thread, int cpu, void *(*main)(void *arg), void *arg);

/* The thread's first act. */
void wqi_service_begin(const char *name);

#endif /* WQI_SERVICE_H */
