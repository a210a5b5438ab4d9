/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G11 where the library is not told when a CPU is idle, or who is blocked: other
 * processes keep the CPUs, the process is stopped, the policy is refused, /proc is
 * not there.
 */
#include "host.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#define ROUNDS 3

/* --- Other processes --- */

static void hogged(void *ctx)
{
	struct hogs hogs;

	hogs_begin(&hogs);
	blocked_let_others_in_everywhere(ROUNDS);
	hogs_end(&hogs);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void blocked_items_while_others_hog_each_cpu_let_others_in(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(hogged, NULL);
}

/* The hogs come when workers and what watches them are there already. */
static void hogged_later(void *ctx)
{
	struct hogs hogs;
	struct wq *wq;

	use_few_cpus(MAX_HOGS);
	wq = wq_alloc("before", 0, 0);
	CHECK(wq);
	blocked_let_others_in(wq, usable_cpu(0), 20);
	hogs_begin(&hogs);
	blocked_let_others_in(wq, usable_cpu(0), 40);
	blocked_let_others_in_everywhere(ROUNDS);
	hogs_end(&hogs);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void blocked_items_while_others_begin_to_hog_let_others_in(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(hogged_later, NULL);
}

/* What a real-time hog leaves to others: -1 is nothing. */
static bool real_time_is_throttled(void)
{
	FILE *file = fopen("/proc/sys/kernel/sched_rt_runtime_us", "re");
	long us = -1;

	if (file) {
		if (fscanf(file, "%ld", &us) != 1)
			us = -1;
		fclose(file);
	}
	return us > 0;
}

static void hogged_real_time(void *ctx)
{
	struct wq *wq;
	struct hogs hogs;
	unsigned i;

	if (use_few_cpus(2) < 2)
		skip_child("one CPU only");
	if (!real_time_is_throttled())
		skip_child("real-time threads may take all of a CPU");
	if (!hogs_begin_real_time(&hogs, usable_cpu(1)))
		skip_child("SCHED_FIFO is not permitted");
	wq = wq_alloc("unbound", 0, 0);
	CHECK(wq);
	for (i = 0; i < ROUNDS; i++)
		blocked_let_others_in(wq, usable_cpu(i % 2), 4 + i);
	hogs_end(&hogs);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void blocked_items_while_a_real_time_thread_hogs_a_cpu_let_others_in(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(hogged_real_time, NULL);
}

/* --- SIGSTOP and SIGCONT --- */

#define NR_LOAD 100

/* Shared with the parent, which says when it has disturbed enough. */
struct stopped {
	unsigned long rounds, enough;
};

struct load {
	struct wq_work work;
	unsigned kind;
	unsigned long runs;
};

static void load_fn(struct wq_work *work, void *ctx)
{
	struct load *load = ctx;
	struct timespec now, begin, nap = {.tv_nsec = 200000};

	if (load->kind % 3 == 0)
		nanosleep(&nap, NULL);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	while (load->kind % 3 == 1 && now.tv_sec == begin.tv_sec &&
	       now.tv_nsec - begin.tv_nsec < 200000);
	count_up(&load->runs);
}

static void stopped_child(void *ctx)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI};
	static struct load loads[ARRAY_SIZE(kinds)][NR_LOAD];
	struct stopped *stopped = ctx;
	struct wq *wqs[ARRAY_SIZE(kinds)];
	unsigned i, k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		wqs[k] = wq_alloc("load", kinds[k], 0);
		CHECK(wqs[k]);
		for (i = 0; i < NR_LOAD; i++) {
			wq_work_init(&loads[k][i].work, load_fn, &loads[k][i]);
			loads[k][i].kind = i;
		}
	}
	do {
		count_up(&stopped->rounds);
		for (i = 0; i < NR_LOAD; i++)
			for (k = 0; k < ARRAY_SIZE(kinds); k++)
				CHECK_EQUAL(wq_queue(wqs[k], &loads[k][i].work), 1);
		blocked_let_others_in(wqs[0], usable_cpu(0), 5);
		blocked_let_others_in(wqs[1], usable_cpu(0), 5);
		for (k = 0; k < ARRAY_SIZE(kinds); k++)
			CHECK_EQUAL(wq_flush(wqs[k]), 0);
		for (i = 0; i < NR_LOAD; i++)
			for (k = 0; k < ARRAY_SIZE(kinds); k++)
				CHECK_EQUAL(loads[k][i].runs, stopped->rounds);
	} while (!count_get(&stopped->enough));
	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		CHECK_EQUAL(wq_destroy(wqs[k]), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void nap_us(unsigned long us)
{
	struct timespec nap = {.tv_nsec = (long)us * 1000};

	nanosleep(&nap, NULL);
}

static void stopping_the_process_again_and_again_loses_nothing(void **state)
{
	struct stopped *stopped;
	uint64_t random;
	unsigned i;
	pid_t pid;

	skip_if_checker_hangs_children();
	random = test_seed();
	stopped = mmap(NULL, sizeof(*stopped), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	assert_true(stopped != MAP_FAILED);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		watchdog();
		stopped_child(stopped);
		_exit(0);
	}
	for (i = 0; i < 50; i++) {
		nap_us(random_next(&random) % 5000);
		kill(pid, SIGSTOP);
		/* Now and then longer than the library's own deadlines. */
		nap_us(random_next(&random) % (i % 5 ? 3000 : 30000));
		kill(pid, SIGCONT);
	}
	count_set(&stopped->enough, 1);
	assert_int_equal(child_status(pid), 0);
	assert_true(stopped->rounds >= 1);
	munmap(stopped, sizeof(*stopped));
}

/* --- A sandbox --- */

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef NATIVE_ARCH
#define LOAD(field)	      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define REFUSE		      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define ALLOW		      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* SCHED_IDLE is refused, and the call whose policy a filter can't see. */
static void refuse_idle_policy(void)
{
	struct sock_filter code[] = {
		LOAD(arch),
		EQUAL(NATIVE_ARCH, 0, 6),
		LOAD(nr),
		EQUAL(__NR_sched_setattr, 5, 0),
		EQUAL(__NR_sched_setscheduler, 0, 3),
		LOAD(args[1]),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(unsigned)SCHED_RESET_ON_FORK),
		EQUAL(SCHED_IDLE, 1, 0),
		ALLOW,
		REFUSE,
	};
	struct sock_fprog prog = {.len = ARRAY_SIZE(code), .filter = code};
	struct sched_param param = {.sched_priority = 0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		skip_child("seccomp filters are not permitted");
	CHECK_EQUAL(sched_setscheduler(0, SCHED_OTHER, &param), 0);
	errno = 0;
	CHECK_EQUAL(sched_setscheduler(0, SCHED_IDLE, &param), -1);
	CHECK_EQUAL(errno, EPERM);
}
#else
static void refuse_idle_policy(void)
{
	skip_child("no filter for this machine");
}
#endif

static void refused(void *ctx)
{
	refuse_idle_policy();
	use_few_cpus(MAX_HOGS);
	blocked_let_others_in_everywhere(ROUNDS);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void blocked_items_where_the_idle_policy_is_refused_let_others_in(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(refused, NULL);
}

static void refused_and_hogged(void *ctx)
{
	struct hogs hogs;

	refuse_idle_policy();
	hogs_begin(&hogs);
	blocked_let_others_in_everywhere(ROUNDS);
	hogs_end(&hogs);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void blocked_items_in_a_sandbox_beside_hogs_let_others_in(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(refused_and_hogged, NULL);
}

/* --- Without /proc --- */

static void hide_proc(void)
{
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		skip_child("no name space of its own for mounts");
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/proc", "tmpfs", 0, NULL))
		skip_child("/proc can't be hidden");
	CHECK_EQUAL(access("/proc/self/stat", F_OK), -1);
}

static void without_proc(void *ctx)
{
	hide_proc();
	use_few_cpus(MAX_HOGS);
	blocked_let_others_in_everywhere(ROUNDS);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void blocked_items_without_proc_let_others_in(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(without_proc, NULL);
}

static void without_anything(void *ctx)
{
	struct hogs hogs;

	hide_proc();
	refuse_idle_policy();
	hogs_begin(&hogs);
	blocked_let_others_in_everywhere(ROUNDS);
	hogs_end(&hogs);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void blocked_items_without_proc_or_policy_beside_hogs_let_others_in(void **state)
{
	skip_if_checker_hangs_children();
	holds_in_child(without_anything, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocked_items_while_others_hog_each_cpu_let_others_in),
		cmocka_unit_test(blocked_items_while_others_begin_to_hog_let_others_in),
		cmocka_unit_test(blocked_items_while_a_real_time_thread_hogs_a_cpu_let_others_in),
		cmocka_unit_test(stopping_the_process_again_and_again_loses_nothing),
		cmocka_unit_test(blocked_items_where_the_idle_policy_is_refused_let_others_in),
		cmocka_unit_test(blocked_items_in_a_sandbox_beside_hogs_let_others_in),
		cmocka_unit_test(blocked_items_without_proc_let_others_in),
		cmocka_unit_test(blocked_items_without_proc_or_policy_beside_hogs_let_others_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
