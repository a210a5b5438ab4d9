/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Items embedded in the program's own structures, and freed by their own function. */
#include <wq/wq.h>

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

struct sum {
	unsigned long total; /* atomic */
};

struct part {
	unsigned long from, to;
	struct sum *sum;
	struct wq_work work;
};

static void add_part(struct wq_work *work, void *ctx)
{
	struct part *part = (struct part *)(void *)((char *)work - offsetof(struct part, work));
	unsigned long n, total = 0;

	(void)ctx;
	for (n = part->from; n <= part->to; n++)
		total += n;
	__atomic_fetch_add(&part->sum->total, total, __ATOMIC_RELAXED);
	free(part); /* the library does not touch it any more */
}

int main(void)
{
	struct wq *wq = wq_alloc("sums", 0, 0);
	struct sum sum = {0};
	unsigned long i;

	if (!wq) {
		perror("02_embed: wq_alloc");
		return 1;
	}
	for (i = 0; i < 1000; i++) {
		struct part *part = malloc(sizeof(*part));

		if (!part) {
			perror("02_embed");
			return 1;
		}
		part->from = i * 1000 + 1;
		part->to = (i + 1) * 1000;
		part->sum = &sum;
		wq_work_init(&part->work, add_part, NULL);
		wq_queue(wq, &part->work);
	}
	wq_flush(wq);
	printf("the sum of 1 to 1000000 is %lu\n", sum.total);
	return wq_destroy(wq) ? 1 : 0;
}
