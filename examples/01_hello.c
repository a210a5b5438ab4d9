/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One item on the shared queue. */
#include <wq/wq.h>

#include <stdio.h>

static void hello(struct wq_work *work, void *ctx)
{
	(void)work;
	printf("hello from a worker, %s\n", (const char *)ctx);
}

int main(void)
{
	struct wq_work work = WQ_WORK_INIT(hello, "world");

	if (wq_schedule(&work) != 1) {
		fprintf(stderr, "01_hello: the item was not accepted\n");
		return 1;
	}
	wq_work_flush(&work); /* `work` lives on this stack: wait for it */
	return 0;
}
