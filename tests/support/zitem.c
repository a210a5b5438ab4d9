/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the items of the tests of Zephyr's header.  Asserts nothing. */
#include "zitem.h"

#include <sched.h>

static void zitem_handler(struct k_work *work)
{
	struct zitem *item = CONTAINER_OF(k_work_delayable_from_work(work), struct zitem, dw);

	item->ran_on = work->queue;
	item->thread = k_current_get();
	latch_post(&item->started);
	if (item->gated)
		latch_wait(&item->open, count_get(&item->runs) + 1);
	count_up(&item->runs);
	latch_post(&item->ended);
}

void zitem_init(struct zitem *item)
{
	*item = (struct zitem){.gated = false};
	k_work_init_delayable(&item->dw, zitem_handler);
	latch_init(&item->started);
	latch_init(&item->open);
	latch_init(&item->ended);
}

void zitem_init_gate(struct zitem *item)
{
	zitem_init(item);
	item->gated = true;
}

void zitem_pass(struct zitem *item)
{
	item->passed++;
	latch_post(&item->open);
}

void zitem_hold(struct k_work_q *queue, struct zitem *item)
{
	zitem_init_gate(item);
	if (k_work_submit_to_queue(queue, &item->dw.work) != 1)
		abort();
	latch_wait(&item->started, 1);
}

void zitem_wait_busy(struct zitem *item, int busy)
{
	while (zitem_busy(item) != busy)
		sched_yield();
}

void zqueue_wait_flags(struct k_work_q *queue, uint32_t flags)
{
	while (zqueue_flags(queue) != flags)
		sched_yield();
}

void zqueue_start(struct k_work_q *queue)
{
	static K_THREAD_STACK_DEFINE(stack, 1024);
	struct k_work_queue_config config = {.name = "ztest"};

	k_work_queue_init(queue);
	k_work_queue_start(queue, stack, K_THREAD_STACK_SIZEOF(stack), K_PRIO_PREEMPT(0), &config);
	if (zqueue_flags(queue) != K_WORK_QUEUE_STARTED)
		abort();
}

int zqueue_end(struct k_work_q *queue)
{
	int ret = k_work_queue_drain(queue, true);

	return ret == 1 ? k_work_queue_stop(queue, K_FOREVER) : -1;
}
