/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns starting the library's own threads.  Does not know what they do. */
#include "service.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cpu.h"
#include "runtime.h"

static void service_choose_cpus(pthread_attr_t *attr, int cpu)
{
	wqi_cpu_mask one;

	if (cpu < 0) {
		pthread_attr_setaffinity_np(attr, sizeof(wqi_cpus.mask), wqi_cpus.mask.set);
		return;
	}
	memset(&one, 0, sizeof(one));
	CPU_SET_S((unsigned)cpu, sizeof(one), one.set);
	pthread_attr_setaffinity_np(attr, sizeof(one), one.set);
}

int wqi_service_start(pthread_t *thread, int cpu, void *(*main)(void *arg), void *arg)
{
	struct sched_param param = {.sched_priority = 0};
	sigset_t block, before;
	pthread_attr_t attr;
	int err;

	wqi_pause_point("service is made");
	if (wqi_fault_now(WQI_FAULT_THREAD))
		return EAGAIN;
	err = pthread_attr_init(&attr);
	if (err)
		return err;
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_OTHER);
	pthread_attr_setschedparam(&attr, &param);
	service_choose_cpus(&attr, cpu);
	wqi_runtime_worker_signals(&block);
	pthread_sigmask(SIG_SETMASK, &block, &before);
	err = pthread_create(thread, &attr, main, arg);
	if (err == EPERM) {
		/* An idle policy can't be left without privilege: then all share it. */
		pthread_attr_setinheritsched(&attr, PTHREAD_INHERIT_SCHED);
		err = pthread_create(thread, &attr, main, arg);
	}
	if (err == EINVAL && cpu < 0) {
		/* These CPUs have been taken from us: then on the caller's. */
		pthread_attr_destroy(&attr);
		pthread_attr_init(&attr);
		err = pthread_create(thread, &attr, main, arg);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return err;
}

/* The process's nice value is its main thread's; workers inherit the manager's. */
void wqi_service_begin(const char *name)
{
	prctl(PR_SET_NAME, name);
	setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, (id_t)getpid()));
}
