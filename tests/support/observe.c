/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of concurrency management share. */
#include "observe.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

void where_note(struct where *where)
{
	sigset_t blocked;
	cpu_set_t cpus;

	count_up(&where->runs);
	if (where->turns)
		where->turn = count_up(where->turns);
	where->wq = wq_current_wq();
	where->tid = gettid();
	where->cpu = sched_getcpu();
	sched_getaffinity(0, sizeof(cpus), &cpus);
	where->nr_cpus = CPU_COUNT(&cpus);
	where->nice = getpriority(PRIO_PROCESS, 0);
	where->policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	where->blocks_signals = sigismember(&blocked, SIGUSR1) && sigismember(&blocked, SIGTERM);
	pthread_getname_np(pthread_self(), where->name, sizeof(where->name));
}

static void where_fn(struct wq_work *work, void *ctx)
{
	where_note(ctx);
}

void where_init(struct where *where, unsigned long *turns)
{
	memset(where, 0, sizeof(*where));
	where->turns = turns;
	wq_work_init(&where->work, where_fn, where);
}

int nice_to_get(int wanted)
{
	int own = getpriority(PRIO_PROCESS, (id_t)getpid());
	bool may = wanted >= own || !geteuid();

	return wanted && may ? wanted : own;
}

unsigned nr_usable_cpus(void)
{
	unsigned nr = 0;

	while (usable_cpu(nr) >= 0)
		nr++;
	return nr;
}

char task_state(pid_t tid)
{
	char path[64], line[512] = "", *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	/* The name before it is in parentheses, and may hold some. */
	end = strrchr(line, ')');
	return end && end[1] == ' ' ? end[2] : '\0';
}

void task_wait_asleep(pid_t tid)
{
	char state = task_state(tid);

	while (state != 'S' && state != 'D') {
		sched_yield();
		state = task_state(tid);
	}
}

uint64_t thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

void compute_ns(uint64_t ns)
{
	uint64_t end = thread_cpu_ns() + ns;

	while (thread_cpu_ns() < end)
		;
}

void sleep_ns(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / UINT64_C(1000000000)),
			      .tv_nsec = (long)(ns % UINT64_C(1000000000))};

	nanosleep(&ts, NULL);
}

bool checker_is_exact(void)
{
	return !TEST_TSAN && !TEST_ASAN && scaled(100) >= 100;
}

struct wq_stats stats_of(struct wq *wq)
{
	struct wq_stats stats;

	assert_int_equal(wq_stats_read(wq, &stats, sizeof(stats)), 0);
	return stats;
}

struct wq_pool_stats pool_stats_of(struct wq *wq, int cpu)
{
	struct wq_pool_stats stats;

	assert_int_equal(wq_pool_stats_read(wq, cpu, &stats, sizeof(stats)), 0);
	return stats;
}
