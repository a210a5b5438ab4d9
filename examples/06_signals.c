/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bottom half of a signal handler: the handler counts and queues an item, and
 * the item does what a handler may not: allocate, print, take locks.
 */
#include <wq/wq.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define NR_BURST 1000

static struct wq *wq;	     /* set before the handler is installed */
static unsigned long raised; /* atomic: signals that no run has taken yet */
static bool refused;	     /* atomic */

struct batch {
	struct batch *next;
	unsigned long nr;
};

/* Touched by the item, which never runs twice at once, and after it: no lock. */
static struct batch *batches;
static int nr_runs;

static void bottom_half(struct wq_work *work, void *ctx)
{
	struct batch *batch = malloc(sizeof(*batch));

	(void)work;
	(void)ctx;
	if (!batch)
		return; /* what was raised stays counted, for the next run */
	batch->nr = __atomic_exchange_n(&raised, 0, __ATOMIC_RELAXED);
	batch->next = batches;
	batches = batch;
	if (nr_runs++ < 3)
		printf("run %d: %lu signal\n", nr_runs, batch->nr);
}

static struct wq_work work = WQ_WORK_INIT(bottom_half, NULL);

static void top_half(int signo)
{
	(void)signo;
	__atomic_fetch_add(&raised, 1, __ATOMIC_RELAXED);
	/* 1, or 0 where a run is to come already, which sees this count too. */
	if (wq_queue(wq, &work) < 0)
		__atomic_store_n(&refused, true, __ATOMIC_RELAXED);
}

int main(void)
{
	struct sigaction action = {.sa_handler = top_half};
	unsigned long total = 0;
	struct batch *batch;
	int i, ret = 0;

	wq = wq_alloc("signals", 0, 0);
	if (!wq || sigemptyset(&action.sa_mask) || sigaction(SIGUSR1, &action, NULL)) {
		perror("06_signals");
		return 1;
	}
	for (i = 0; i < 3 && ret >= 0; i++) {
		raise(SIGUSR1);
		ret = wq_work_flush(&work);
	}
	for (i = 0; i < NR_BURST; i++)
		raise(SIGUSR1); /* fewer runs than signals, and no signal is missed */
	if (ret < 0 || wq_destroy(wq) || refused) {
		fprintf(stderr, "06_signals: the item could not be queued or waited for\n");
		return 1;
	}
	while ((batch = batches)) {
		batches = batch->next;
		total += batch->nr;
		free(batch);
	}
	printf("%lu signals taken, %lu left\n", total, raised);
	return 0;
}
