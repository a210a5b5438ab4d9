/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guarantees about the library's threads: G10, G14. */
#include "support.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static void nop(struct wq_work *work, void *ctx)
{
}

/* --- G10 --- */

struct g10 {
	struct wq_work work;
	sigset_t mask;
};

static void g10_fn(struct wq_work *work, void *ctx)
{
	struct g10 *g10 = ctx;

	pthread_sigmask(SIG_SETMASK, NULL, &g10->mask);
}

static pthread_t g10_main;
static unsigned long g10_handled, g10_elsewhere;

static void g10_handler(int sig)
{
	if (pthread_equal(pthread_self(), g10_main))
		count_up(&g10_handled);
	else
		count_up(&g10_elsewhere);
}

static void g10_workers_block_the_applications_signals(void **state)
{
	static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	struct wq *queues[] = {wq_alloc("q", 0, 0), wq_alloc("q", WQ_PERCPU, 0),
			       wq_alloc("q", WQ_HIGHPRI, 0)};
	struct g10 g10;
	unsigned q, i;
	int sig;

	for (q = 0; q < ARRAY_SIZE(queues); q++) {
		wq_work_init(&g10.work, g10_fn, &g10);
		wq_queue(queues[q], &g10.work);
		wq_work_flush(&g10.work);
		for (i = 0; i < ARRAY_SIZE(open); i++)
			assert_int_equal(sigismember(&g10.mask, open[i]), 0);
		for (sig = 1; sig < SIGRTMAX; sig++) {
			bool is_open =
				sig == SIGKILL || sig == SIGSTOP || (sig > 31 && sig < SIGRTMIN);

			for (i = 0; i < ARRAY_SIZE(open); i++)
				is_open = is_open || sig == open[i];
			if (!is_open)
				assert_int_equal(sigismember(&g10.mask, sig), 1);
		}
		wq_destroy(queues[q]);
	}
}

static void g10_no_handler_runs_on_a_worker(void **state)
{
	struct sigaction action = {.sa_handler = g10_handler}, before;
	unsigned long i, nr = scaled(2000);

	g10_main = pthread_self();
	sigaction(SIGUSR1, &action, &before);
	for (i = 1; i <= nr; i++) {
		struct wq_work work = WQ_WORK_INIT(nop, NULL);

		wq_schedule(&work);
		kill(getpid(), SIGUSR1);
		wq_work_flush(&work);
		while (count_get(&g10_handled) < i)
			sched_yield();
	}
	sigaction(SIGUSR1, &before, NULL);
	assert_int_equal(g10_elsewhere, 0);
}

/* --- G14 --- */

/* Context switches of the library's threads, which are known by their names. */
static unsigned long switches_of_library(unsigned *threads)
{
	unsigned long sum = 0, n;
	struct dirent *entry;
	char path[300], line[200];
	DIR *dir = opendir("/proc/self/task");

	assert_non_null(dir);
	*threads = 0;
	while ((entry = readdir(dir))) {
		bool ours = false;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (file && fgets(line, sizeof(line), file)) {
			if (!strncmp(line, "Name:\twq/", 9)) {
				ours = true;
				++*threads;
			}
			if (ours && (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1 ||
				     sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n) == 1))
				sum += n;
		}
		if (file)
			fclose(file);
	}
	closedir(dir);
	return sum;
}

static void pass_time(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

/* The coming to rest may take as long as it takes. */
static unsigned long wait_for_rest(void)
{
	unsigned long before, after;
	unsigned threads;

	after = switches_of_library(&threads);
	do {
		before = after;
		pass_time(50);
		after = switches_of_library(&threads);
	} while (before != after);
	return after;
}

/*
 * Time is the subject here: after the last item the library comes to rest (its
 * looks after a busy pool end within milliseconds), and then nothing moves.
 */
static void g14_idle_library_does_not_wake_up(void **state)
{
	struct wq *queues[] = {wq_alloc("q", 0, 0), wq_alloc("q", WQ_PERCPU, 0),
			       wq_alloc("q", WQ_HIGHPRI, 0)};
	unsigned long at_rest;
	struct probe probe;
	unsigned q, threads;

	for (q = 0; q < ARRAY_SIZE(queues); q++) {
		probe_init(&probe);
		wq_queue(queues[q], &probe.work);
		wq_work_flush(&probe.work);
	}
	at_rest = wait_for_rest();
	switches_of_library(&threads);
	assert_true(threads > ARRAY_SIZE(queues));
	pass_time(1000);
	assert_int_equal(switches_of_library(&threads), at_rest);
	for (q = 0; q < ARRAY_SIZE(queues); q++)
		wq_destroy(queues[q]);
}

/* The looks at a busy pool end too, where nothing waits. */
static void g14_library_is_at_rest_beside_a_long_item(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct probe gate, probe;
	unsigned threads;
	unsigned long at_rest;

	probe_init_gate(&gate);
	wq_queue(wq, &gate.work);
	latch_wait(&gate.started, 1);
	at_rest = wait_for_rest();
	pass_time(500);
	assert_int_equal(switches_of_library(&threads), at_rest);
	/* What comes then is looked at, though the worker is still in its item. */
	probe_init(&probe);
	wq_queue(wq, &probe.work);
	latch_wait(&probe.ended, 1);
	latch_post(&gate.open);
	wq_destroy(wq);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(g10_workers_block_the_applications_signals),
		cmocka_unit_test(g10_no_handler_runs_on_a_worker),
		cmocka_unit_test(g14_idle_library_does_not_wake_up),
		cmocka_unit_test(g14_library_is_at_rest_beside_a_long_item),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
