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
	wqi_cpu_mask mask, own;

	if (wqi_cpus.pretended)
		return;
	if (cpu < 0) {
		/* What is not asked for follows a cpuset that becomes larger. */
		wqi_mask_copy(&mask, &wqi_cpus.mask);
		memset(&own, 0, sizeof(own));
		if (sched_getaffinity(0, sizeof(own), own.set) < 0 ||
		    memcmp(&own, &mask, sizeof(own)))
			pthread_attr_setaffinity_np(attr, sizeof(mask), mask.set);
		return;
	}
	memset(&mask, 0, sizeof(mask));
	CPU_SET_S((unsigned)cpu, sizeof(mask), mask.set);
	pthread_attr_setaffinity_np(attr, sizeof(mask), mask.set);
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

static pid_t service_tids[WQI_NR_LASTING]; /* A, seq_cst */

/* ORD-TELL (b).  Again, what is not asked for follows CPUs that come. */
void wqi_service_move(pid_t tid, const wqi_cpu_mask *mask)
{
	wqi_cpu_mask now;

	memset(&now, 0, sizeof(now));
	if (tid &&
	    (sched_getaffinity(tid, sizeof(now), now.set) < 0 || memcmp(&now, mask, sizeof(now))))
		sched_setaffinity(tid, sizeof(*mask), mask->set);
}

void wqi_service_move_all(const wqi_cpu_mask *mask)
{
	unsigned i;

	for (i = 0; i < WQI_NR_LASTING; i++)
		wqi_service_move(wqi_load_seq_cst(&service_tids[i]), mask);
}

/* ORD-TELL (a): either it sees that CPUs have changed, or who moves all sees it. */
void wqi_service_tell(pid_t *tid)
{
	wqi_cpu_mask mask;

	wqi_xchg(tid, gettid());
	if (!wqi_load_seq_cst(&wqi_cpus.epoch) || wqi_cpus.pretended)
		return;
	wqi_mask_copy(&mask, &wqi_cpus.mask);
	wqi_service_move(gettid(), &mask);
}

void wqi_service_ends(enum wqi_lasting which)
{
	wqi_xchg(&service_tids[which], 0);
}

void wqi_service_last(enum wqi_lasting which)
{
	wqi_service_tell(&service_tids[which]);
}

bool wqi_service_cpus(wqi_cpu_mask *mask)
{
	pid_t tid = wqi_load_acquire(&service_tids[WQI_LASTING_MANAGER]);

	memset(mask, 0, sizeof(*mask));
	return tid && !sched_getaffinity(tid, sizeof(*mask), mask->set);
}

void wqi_service_reset(void)
{
	unsigned i;

	for (i = 0; i < WQI_NR_LASTING; i++)
		wqi_store_release(&service_tids[i], 0);
}

/* The process's nice value is its main thread's; workers inherit the manager's. */
void wqi_service_begin(const char *name)
{
	prctl(PR_SET_NAME, name);
	setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, (id_t)getpid()));
}
