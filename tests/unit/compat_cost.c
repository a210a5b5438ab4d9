/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For test_compat_cost.sh, which counts instructions: each native call in a function
 * native_…, and what stands for it in wq/compat/linux.h in linux_…, each called as often.
 */
#include <wq/compat/linux.h>

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>

#define NR  100u
#define FAR (3600ul * HZ)

static struct workqueue_struct *wq;
static struct wq *native;
static struct work_struct works[NR];
static struct delayed_work dworks[NR];
static sem_t ran;
static volatile int answer; /* so that all answers are wanted */

static void fn(struct work_struct *work)
{
	(void)work;
	sem_post(&ran);
}

#define ITEM  (&works[i].wq_item)
#define WORK  (&works[i])
#define LATER (&dworks[i].wq_item)
#define DWORK (&dworks[i])
#define CPU   ((int)(i & 1))

/* @native_call and @linux_call, of item i, are called in turn; @after each, that all is as before.
 */
#define PAIR(name, native_call, linux_call, after)                                                 \
	static __attribute__((noinline)) int native_##name(unsigned i)                             \
	{                                                                                          \
		return native_call;                                                                \
	}                                                                                          \
	static __attribute__((noinline)) bool linux_##name(unsigned i)                             \
	{                                                                                          \
		return linux_call;                                                                 \
	}                                                                                          \
	static void pair_##name(void)                                                              \
	{                                                                                          \
		unsigned i;                                                                        \
                                                                                                   \
		for (i = 0; i < NR; i++) {                                                         \
			answer = native_##name(i);                                                 \
			after;                                                                     \
			answer = linux_##name(i);                                                  \
			after;                                                                     \
		}                                                                                  \
	}

#define RUN    sem_wait(&ran)
#define CANCEL wq_delayed_work_cancel(LATER)
#define UNDO   wq_work_enable(ITEM)
#define REDO   wq_work_disable(ITEM)

PAIR(queue, wq_queue(native, ITEM), queue_work(wq, WORK), RUN)
PAIR(queue_on, wq_queue_on(native, ITEM, CPU), queue_work_on(CPU, wq, WORK), RUN)
PAIR(queue_node, wq_queue_node(native, ITEM, CPU), queue_work_node(CPU, wq, WORK), RUN)
PAIR(schedule, wq_queue(wq_system_percpu(), ITEM), schedule_work(WORK), RUN)
PAIR(queue_delayed, wq_queue_delayed(native, LATER, FAR), queue_delayed_work(wq, DWORK, FAR + i),
     CANCEL)
PAIR(queue_delayed_on, wq_queue_delayed_on(native, LATER, FAR, CPU),
     queue_delayed_work_on(CPU, wq, DWORK, FAR + i), CANCEL)
PAIR(mod_delayed, wq_mod_delayed(native, LATER, FAR), mod_delayed_work(wq, DWORK, FAR + i), CANCEL)
PAIR(cancel, wq_work_cancel(ITEM), cancel_work(WORK), (void)0)
PAIR(cancel_sync, wq_work_cancel_sync(ITEM), cancel_work_sync(WORK), (void)0)
PAIR(cancel_delayed, wq_delayed_work_cancel(LATER), cancel_delayed_work(DWORK), (void)0)
PAIR(cancel_delayed_sync, wq_delayed_work_cancel_sync(LATER), cancel_delayed_work_sync(DWORK),
     (void)0)
PAIR(flush, wq_work_flush(ITEM), flush_work(WORK), (void)0)
PAIR(flush_delayed, wq_delayed_work_flush(LATER), flush_delayed_work(DWORK), (void)0)
PAIR(disable, wq_work_disable(ITEM), disable_work(WORK), UNDO)
PAIR(disable_sync, wq_work_disable_sync(ITEM), disable_work_sync(WORK), UNDO)
PAIR(enable, wq_work_enable(ITEM), enable_work(WORK), REDO)
PAIR(enable_and_queue, wq_enable_and_queue(native, ITEM), enable_and_queue_work(wq, WORK),
     (RUN, REDO))
PAIR(pending, wq_work_pending(ITEM), work_pending(WORK), (void)0)
PAIR(delayed_pending, wq_delayed_work_pending(LATER), delayed_work_pending(DWORK), (void)0)
PAIR(busy, (int)wq_work_busy(ITEM), work_busy(WORK), (void)0)
PAIR(current, wq_current_work() != NULL, current_work() != NULL, (void)0)

static void disable_all(void)
{
	unsigned i;

	for (i = 0; i < NR; i++)
		REDO;
}

static void enable_all(void)
{
	unsigned i;

	for (i = 0; i < NR; i++)
		UNDO;
}

int main(void)
{
	unsigned i;

	sem_init(&ran, 0, 0);
	wq = alloc_workqueue("cost", WQ_UNBOUND, 0);
	native = wq_from_linux(wq);
	if (!wq || !system_wq)
		return 1;
	for (i = 0; i < NR; i++) {
		INIT_WORK(WORK, fn);
		INIT_DELAYED_WORK(DWORK, fn);
	}
	pair_queue();
	pair_queue_on();
	pair_queue_node();
	pair_schedule();
	pair_queue_delayed();
	pair_queue_delayed_on();
	pair_mod_delayed();
	pair_cancel();
	pair_cancel_sync();
	pair_cancel_delayed();
	pair_cancel_delayed_sync();
	pair_flush();
	pair_flush_delayed();
	pair_disable();
	pair_disable_sync();
	disable_all();
	pair_enable();
	pair_enable_and_queue();
	enable_all();
	pair_pending();
	pair_delayed_pending();
	pair_busy();
	pair_current();
	destroy_workqueue(wq);
	return 0;
}
