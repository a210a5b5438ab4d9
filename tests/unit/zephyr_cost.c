/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For test_zephyr_cost.sh, which counts instructions: each native call in a function
 * native_…, and what stands for it in wq/compat/zephyr.h in zephyr_…, each called as often.
 */
#include <wq/compat/zephyr.h>
#include <wq/wq.h>

#include <semaphore.h>

#define NR  100u
#define FAR UINT64_C(3600000000000)

static struct wq *native;
static struct k_work_q queue;
static struct wq_work items[NR];
static struct k_work works[NR];
static struct wq_delayed_work delayed[NR];
static struct k_work_delayable delayables[NR];
static sem_t ran;
static volatile int answer; /* so that all answers are wanted */

static void fn(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	sem_post(&ran);
}

static void handler(struct k_work *work)
{
	(void)work;
	sem_post(&ran);
}

#define ITEM  (&items[i])
#define WORK  (&works[i])
#define LATER (&delayed[i])
#define DWORK (&delayables[i])

/*
 * @native_call and @zephyr_call, of item i, are called in turn; @after each, that all is as before.
 * Zephyr's cancel answers what the item is doing, for which there is a call of its own.
 */
#define PAIR(name, native_call, native_after, zephyr_call, zephyr_after)                           \
	static __attribute__((noinline)) int native_##name(unsigned i)                             \
	{                                                                                          \
		return native_call;                                                                \
	}                                                                                          \
	static __attribute__((noinline)) int zephyr_##name(unsigned i)                             \
	{                                                                                          \
		return zephyr_call;                                                                \
	}                                                                                          \
	static void pair_##name(void)                                                              \
	{                                                                                          \
		unsigned i;                                                                        \
                                                                                                   \
		for (i = 0; i < NR; i++) {                                                         \
			answer = native_##name(i);                                                 \
			native_after;                                                              \
			answer = zephyr_##name(i);                                                 \
			zephyr_after;                                                              \
		}                                                                                  \
	}

#define RUN ((void)sem_wait(&ran))

PAIR(submit, wq_queue(native, ITEM), RUN, k_work_submit_to_queue(&queue, WORK), RUN)
PAIR(schedule, wq_queue_delayed(native, LATER, FAR), (void)0,
     wq_zephyr_schedule(&queue, DWORK, FAR), (void)0)
PAIR(reschedule, wq_mod_delayed(native, LATER, FAR), (void)0,
     wq_zephyr_reschedule(&queue, DWORK, FAR), (void)0)
PAIR(cancel_delayable, wq_delayed_work_cancel(LATER), (void)0, k_work_cancel_delayable(DWORK),
     (void)0)
PAIR(cancel, wq_work_cancel(ITEM) + (int)wq_work_busy(ITEM), (void)0, k_work_cancel(WORK), (void)0)
PAIR(cancel_sync, (int)wq_work_busy(ITEM) + wq_work_cancel_sync(ITEM), (void)0,
     k_work_cancel_sync(WORK, NULL), (void)0)
PAIR(flush, wq_work_flush(ITEM), (void)0, k_work_flush(WORK, NULL), (void)0)
PAIR(busy, (int)wq_work_busy(ITEM), (void)0, k_work_busy_get(WORK), (void)0)

int main(void)
{
	unsigned i;

	sem_init(&ran, 0, 0);
	native = wq_alloc("native", WQ_DEDICATED, 0);
	if (!native || wq_zephyr_queue_start(&queue, 0, 0, NULL))
		return 1;
	for (i = 0; i < NR; i++) {
		wq_work_init(ITEM, fn, NULL);
		wq_delayed_work_init(LATER, fn, NULL);
		k_work_init(WORK, handler);
		k_work_init_delayable(DWORK, handler);
	}
	pair_submit();
	/* No run is still ending. */
	if (wq_flush(native) || k_work_queue_drain(&queue, false) < 0)
		return 1;
	pair_schedule();
	pair_reschedule();
	pair_cancel_delayable();
	pair_schedule();
	pair_cancel_delayable();
	pair_cancel();
	pair_cancel_sync();
	pair_flush();
	pair_busy();
	return wq_destroy(native) || k_work_queue_drain(&queue, true) < 0 ||
	       k_work_queue_stop(&queue, K_FOREVER);
}
