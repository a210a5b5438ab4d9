/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Functions in place of items: the library owns the memory of the runs.  A call that
 * is made and forgotten, and a counted closure that is enqueued many times and ends
 * its context when nobody needs it any more.
 */
#include <wq/wq.h>

#include <stdio.h>
#include <stdlib.h>

#define NR_RUNS 100

struct tally {
	unsigned long votes; /* atomic: runs of one closure may overlap */
};

static void greet(void *ctx)
{
	printf("a call, for %s\n", (const char *)ctx);
}

static void vote(void *ctx)
{
	struct tally *tally = ctx;

	__atomic_fetch_add(&tally->votes, 1, __ATOMIC_RELAXED);
}

/* With the last reference; all runs are over. */
static void tally_end(void *ctx)
{
	struct tally *tally = ctx;

	printf("the closure ran %lu times, and goes\n", tally->votes);
	free(tally);
}

static int enqueue_votes(struct wq *wq)
{
	struct tally *tally = calloc(1, sizeof(*tally));
	struct wq_closure *closure;
	int i, ret = 1;

	if (!tally)
		return -1;
	closure = wq_closure_new(vote, tally, tally_end);
	if (!closure) {
		free(tally);
		return -1;
	}
	for (i = 0; i < NR_RUNS && ret == 1; i++)
		ret = wq_enqueue(wq, closure); /* each call is a run of its own */
	wq_closure_put(closure);	       /* the runs that wait hold references of their own */
	return ret == 1 ? 0 : -1;
}

int main(void)
{
	struct wq *wq = wq_alloc("calls", 0, 0);
	bool ok;

	if (!wq) {
		perror("05_closures: wq_alloc");
		return 1;
	}
	/* There is no handle to wait for a single call, but flushing counts it. */
	ok = wq_call(wq, greet, "nobody in particular") == 1 && !wq_flush(wq) && !enqueue_votes(wq);
	if (!ok)
		fprintf(stderr, "05_closures: a run was not accepted\n");
	return wq_destroy(wq) || !ok ? 1 : 0; /* runs what is queued, then frees */
}
