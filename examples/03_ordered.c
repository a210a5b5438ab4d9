/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ordered queue in place of a lock: several threads hand lines to a log, which
 * only the queue's items touch, one at a time and in the order of queueing.
 */
#include <wq/wq.h>

#include <pthread.h>
#include <stdio.h>

#define NR_THREADS 4
#define NR_LINES   1000

struct line {
	struct wq_work work;
	int thread, number;
};

static struct wq *log_queue;
static struct line lines[NR_THREADS][NR_LINES];

/* Touched by the queue's items only: no lock, no atomics. */
static int last[NR_THREADS];
static long nr_logged, nr_disorder;

static void log_line(struct wq_work *work, void *ctx)
{
	struct line *line = ctx;

	(void)work;
	if (line->number != last[line->thread] + 1)
		nr_disorder++;
	last[line->thread] = line->number;
	nr_logged++;
}

static void *thread_main(void *arg)
{
	struct line *mine = arg;
	int i;

	for (i = 0; i < NR_LINES; i++)
		wq_queue(log_queue, &mine[i].work);
	return NULL;
}

int main(void)
{
	pthread_t threads[NR_THREADS];
	int t, i;

	log_queue = wq_alloc("log", WQ_ORDERED, 0);
	if (!log_queue) {
		perror("03_ordered: wq_alloc");
		return 1;
	}
	for (t = 0; t < NR_THREADS; t++) {
		for (i = 0; i < NR_LINES; i++) {
			lines[t][i].thread = t;
			lines[t][i].number = i + 1;
			wq_work_init(&lines[t][i].work, log_line, &lines[t][i]);
		}
		if (pthread_create(&threads[t], NULL, thread_main, lines[t])) {
			fprintf(stderr, "03_ordered: pthread_create failed\n");
			return 1;
		}
	}
	for (t = 0; t < NR_THREADS; t++)
		pthread_join(threads[t], NULL);
	wq_destroy(log_queue); /* waits for what is still queued */
	printf("%ld lines logged, %ld out of order\n", nr_logged, nr_disorder);
	return 0;
}
