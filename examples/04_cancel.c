/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking items back: a job that requeues itself until it is cancelled, and one
 * that is cancelled before it starts.
 */
#include <wq/wq.h>

#include <semaphore.h>
#include <stdio.h>

struct poller {
	struct wq_work work;
	struct wq *wq;
	sem_t polled;
	unsigned long polls;
};

static void poll_once(struct wq_work *work, void *ctx)
{
	struct poller *poller = ctx;

	poller->polls++;
	sem_post(&poller->polled);
	wq_queue(poller->wq, work);
}

static void never(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	printf("this was cancelled, and must not run\n");
}

static void gate(struct wq_work *work, void *ctx)
{
	(void)work;
	while (sem_wait(ctx))
		;
}

int main(void)
{
	struct wq *wq = wq_alloc("jobs", WQ_ORDERED, 0);
	struct wq_work gate_work, never_work;
	struct poller poller = {.wq = wq};
	sem_t open;
	int ret;

	if (!wq) {
		perror("04_cancel: wq_alloc");
		return 1;
	}
	sem_init(&poller.polled, 0, 0);
	wq_work_init(&poller.work, poll_once, &poller);
	wq_queue(wq, &poller.work);
	while (sem_wait(&poller.polled))
		;
	/* It requeues itself for ever, and ends here all the same. */
	wq_work_cancel_sync(&poller.work);
	printf("the poller ran%s and is %s\n", poller.polls ? "" : " never",
	       wq_work_busy(&poller.work) ? "busy" : "idle");

	sem_init(&open, 0, 0);
	wq_work_init(&gate_work, gate, &open);
	wq_work_init(&never_work, never, NULL);
	wq_queue(wq, &gate_work);
	wq_queue(wq, &never_work); /* behind the gate: the queue is ordered */
	ret = wq_work_cancel(&never_work);
	printf("cancelling a pending item answers %d", ret);
	printf(", and again %d\n", wq_work_cancel(&never_work));
	sem_post(&open);
	return wq_destroy(wq) ? 1 : 0;
}
