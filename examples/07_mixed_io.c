/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slow name look-ups and file reads in one program, on one queue: the reads do not
 * wait behind the look-ups.  On a pool of 4 threads, the size of libuv's, they do: as
 * many look-ups as there are threads, and nothing else gets on.
 */
#include <wq/wq.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NR_LOOKUPS 8
#define NR_READS   100
#define NR_JOBS	   (NR_LOOKUPS + NR_READS)
#define NR_THREADS 4

static const char text[] = "what the program reads while others look up names\n";

static FILE *file;
static unsigned lookups_ended, reads_before, read_errors; /* atomic */

/* --- the two kinds of jobs: nothing in them knows what runs them --- */

/* Stands for getaddrinfo() with a name server that takes half a second to answer. */
static void lookup(void)
{
	struct timespec delay = {.tv_nsec = 500000000};

	nanosleep(&delay, NULL);
	__atomic_fetch_add(&lookups_ended, 1, __ATOMIC_SEQ_CST);
}

static void read_file(void)
{
	char got[sizeof(text)] = "";

	if (pread(fileno(file), got, sizeof(got), 0) < 0 || strcmp(got, text))
		__atomic_fetch_add(&read_errors, 1, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&lookups_ended, __ATOMIC_SEQ_CST))
		__atomic_fetch_add(&reads_before, 1, __ATOMIC_RELAXED);
}

static void job_run(int number)
{
	if (number < NR_LOOKUPS)
		lookup();
	else
		read_file();
}

static void print_result(const char *pool)
{
	printf("%s: all %d reads done before the first of %d look-ups ended: %s\n", pool, NR_READS,
	       NR_LOOKUPS, reads_before == NR_READS ? "yes" : "no");
	lookups_ended = reads_before = 0;
}

/* --- on libwq --- */

struct job {
	struct wq_work work;
	int number;
};

static void job_fn(struct wq_work *work, void *ctx)
{
	struct job *job = ctx;

	(void)work;
	job_run(job->number);
}

static bool run_on_libwq(void)
{
	static struct job jobs[NR_JOBS];
	struct wq *wq = wq_alloc("mixed-io", 0, 0);
	int i;

	if (!wq) {
		perror("07_mixed_io: wq_alloc");
		return false;
	}
	for (i = 0; i < NR_JOBS; i++) {
		jobs[i].number = i;
		wq_work_init(&jobs[i].work, job_fn, &jobs[i]);
		wq_queue(wq, &jobs[i].work); /* the look-ups first */
	}
	return !wq_destroy(wq); /* runs what is queued */
}

/* --- on a fixed pool --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int nr_queued, nr_taken; /* jobs are taken in the order of their numbers */
static bool closed;

static void *pool_main(void *arg)
{
	int number;

	pthread_mutex_lock(&lock);
	for (;;) {
		while (nr_taken == nr_queued && !closed)
			pthread_cond_wait(&more, &lock);
		if (nr_taken == nr_queued)
			break;
		number = nr_taken++;
		pthread_mutex_unlock(&lock);
		job_run(number);
		pthread_mutex_lock(&lock);
	}
	pthread_mutex_unlock(&lock);
	return arg;
}

static bool run_on_fixed_pool(void)
{
	pthread_t threads[NR_THREADS];
	int i;

	for (i = 0; i < NR_THREADS; i++) {
		if (pthread_create(&threads[i], NULL, pool_main, NULL)) {
			fprintf(stderr, "07_mixed_io: pthread_create failed\n");
			return false;
		}
	}
	for (i = 0; i < NR_JOBS; i++) {
		pthread_mutex_lock(&lock);
		nr_queued++;
		closed = nr_queued == NR_JOBS;
		pthread_mutex_unlock(&lock);
		pthread_cond_broadcast(&more);
	}
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	return true;
}

int main(void)
{
	file = tmpfile();
	if (!file || fputs(text, file) < 0 || fflush(file)) {
		perror("07_mixed_io: tmpfile");
		return 1;
	}
	if (!run_on_libwq())
		return 1;
	print_result("libwq");
	if (!run_on_fixed_pool())
		return 1;
	print_result("4 threads");
	return read_errors ? 1 : 0;
}
