/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tests change around the library. */
#include "host.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define NOBODY 65534

void skip_child(const char *why)
{
	dprintf(2, "skipped: %s\n", why);
	_exit(STATUS_SKIPPED);
}

void holds_by_status(int status)
{
	if (status == STATUS_SKIPPED)
		skip();
	assert_int_equal(status, 0);
}

void holds_in_child(void (*fn)(void *ctx), void *ctx)
{
	fflush(NULL);
	holds_by_status(in_child(fn, ctx));
}

void skip_under_checkers(void)
{
	if (TEST_ASAN || TEST_TSAN || scaled(100) < 100) {
		print_message("not under a checker\n");
		skip();
	}
}

/*
 * Giving up root makes a process one that nobody may look into, itself included;
 * those that never had it are not, and they are who is meant.
 */
void become_nobody(void)
{
	if (geteuid())
		return;
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		skip_child("there is no other user to become");
	CHECK_EQUAL(prctl(PR_SET_DUMPABLE, 1), 0);
}

unsigned use_few_cpus(unsigned most)
{
	cpu_set_t set;
	unsigned nr;
	int cpu;

	CPU_ZERO(&set);
	for (nr = 0; nr < most && (cpu = usable_cpu(nr)) >= 0; nr++)
		CPU_SET(cpu, &set);
	CHECK(nr);
	CHECK_EQUAL(sched_setaffinity(0, sizeof(set), &set), 0);
	return nr;
}

void pass_ms(unsigned ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&left, &left))
		;
}

/* In the hog: says by one byte whether it is what it should be, and computes. */
static void hog(pid_t parent, int cpu, int ready, bool real_time)
{
	struct sched_param param = {.sched_priority = real_time ? 1 : 0};
	volatile unsigned long n = 0;
	cpu_set_t set;
	char answer = 'y';

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	alarm(120);
	setsid();
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) ||
	    (real_time && sched_setscheduler(0, SCHED_FIFO, &param)))
		answer = 'n';
	if (write(ready, &answer, 1) != 1 || answer == 'n')
		_exit(0);
	for (;;)
		n++;
}

static bool hogs_add(struct hogs *hogs, int cpu, bool real_time)
{
	pid_t parent = getpid(), pid;
	int ready[2];
	char answer;

	CHECK_EQUAL(pipe(ready), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		hog(parent, cpu, ready[1], real_time);
	close(ready[1]);
	CHECK_EQUAL(read(ready[0], &answer, 1), 1);
	close(ready[0]);
	if (answer == 'y')
		hogs->pids[hogs->nr++] = pid;
	else
		CHECK_EQUAL(child_status(pid), 0);
	return answer == 'y';
}

void hogs_begin(struct hogs *hogs)
{
	unsigned i, nr = use_few_cpus(MAX_HOGS);

	hogs->nr = 0;
	for (i = 0; i < nr; i++)
		CHECK(hogs_add(hogs, usable_cpu(i), false));
}

bool hogs_begin_real_time(struct hogs *hogs, int cpu)
{
	hogs->nr = 0;
	return hogs_add(hogs, cpu, true);
}

void hogs_end(struct hogs *hogs)
{
	unsigned i;

	for (i = 0; i < hogs->nr; i++) {
		CHECK_EQUAL(waitpid(hogs->pids[i], NULL, WNOHANG), 0);
		CHECK_EQUAL(kill(hogs->pids[i], SIGKILL), 0);
		CHECK_EQUAL(child_status(hogs->pids[i]), 128 + SIGKILL);
	}
	hogs->nr = 0;
}

struct blocked {
	struct wq_work *works, opener;
	struct latch open, ended;
};

static void blocked_fn(struct wq_work *work, void *ctx)
{
	struct blocked *blocked = ctx;

	latch_wait(&blocked->open, 1);
	latch_post(&blocked->ended);
}

static void opener_fn(struct wq_work *work, void *ctx)
{
	struct blocked *blocked = ctx;

	latch_post(&blocked->open);
}

void blocked_let_others_in(struct wq *wq, int cpu, unsigned nr)
{
	struct blocked blocked = {.open = LATCH_INIT, .ended = LATCH_INIT};
	unsigned i;

	blocked.works = calloc(nr, sizeof(*blocked.works));
	CHECK(blocked.works);
	wq_work_init(&blocked.opener, opener_fn, &blocked);
	for (i = 0; i < nr; i++) {
		wq_work_init(&blocked.works[i], blocked_fn, &blocked);
		CHECK_EQUAL(wq_queue_on(wq, &blocked.works[i], cpu), 1);
	}
	CHECK_EQUAL(wq_queue_on(wq, &blocked.opener, cpu), 1);
	latch_wait(&blocked.ended, nr);
	CHECK_EQUAL(wq_flush(wq), 0);
	CHECK_EQUAL(blocked.ended.count, nr);
	free(blocked.works);
}

void blocked_let_others_in_everywhere(unsigned rounds)
{
	struct wq *percpu = wq_alloc("percpu", WQ_PERCPU, 0);
	struct wq *unbound = wq_alloc("unbound", 0, 0);
	unsigned round, nr;
	int cpu;

	CHECK(percpu);
	CHECK(unbound);
	for (round = 0; round < rounds; round++) {
		for (nr = 0; nr < MAX_HOGS && (cpu = usable_cpu(nr)) >= 0; nr++)
			blocked_let_others_in(percpu, cpu, 1 + round);
		blocked_let_others_in(unbound, usable_cpu(0), nr + 1 + round);
	}
	CHECK_EQUAL(wq_destroy(percpu), 0);
	CHECK_EQUAL(wq_destroy(unbound), 0);
}
