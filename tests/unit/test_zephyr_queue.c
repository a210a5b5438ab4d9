/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Zephyr's queues: start, run, drain, plug, stop, and the flags that are read. */
#include "zitem.h"

#include <sched.h>
#include <semaphore.h>
#include <sys/resource.h>

#define STARTED	 K_WORK_QUEUE_STARTED
#define BUSY	 K_WORK_QUEUE_BUSY
#define DRAIN	 K_WORK_QUEUE_DRAIN
#define PLUGGED	 K_WORK_QUEUE_PLUGGED
#define STOP	 K_WORK_QUEUE_STOP
#define NO_YIELD K_WORK_QUEUE_NO_YIELD

static K_THREAD_STACK_DEFINE(stack, 2048);
static struct k_work_sync work_sync;

static int teardown(void **state)
{
	return wq_shutdown();
}

static void start(struct k_work_q *queue, int prio, const struct k_work_queue_config *config)
{
	k_work_queue_start(queue, stack, K_THREAD_STACK_SIZEOF(stack), prio, config);
}

static void flags_have_zephyrs_values(void **state)
{
	assert_int_equal(STARTED, 1);
	assert_int_equal(BUSY, 2);
	assert_int_equal(DRAIN, 4);
	assert_int_equal(PLUGGED, 8);
	assert_int_equal(STOP, 16);
	assert_int_equal(NO_YIELD, 0x100);
	assert_int_equal(R | C << 0 | Q | D, 15);
	assert_int_equal(K_WORK_FLUSHING, 16);
}

/* --- start --- */

static void zeroed_queue_is_stopped_and_starts(void **state)
{
	struct k_work_queue_config config = {.name = "whole name of a queue", .no_yield = true};
	struct k_work_q queue = {0}, fresh;
	struct zitem item;
	char name[16];

	memset(&fresh, 0xa5, sizeof(fresh));
	k_work_queue_init(&fresh);
	assert_memory_equal(&queue, &fresh, sizeof(queue));
	assert_int_equal(k_work_queue_stop(&queue, K_FOREVER), -EALREADY);
	assert_int_equal(k_work_queue_drain(&queue, false), 0);
	assert_int_equal(k_work_queue_drain(&queue, true), -ENODEV);
	assert_int_equal(k_work_queue_unplug(&queue), -EALREADY);
	assert_int_equal(zqueue_flags(&queue), 0);
	start(&queue, K_PRIO_PREEMPT(1), &config);
	config.name = "gone";
	assert_int_equal(zqueue_flags(&queue), STARTED | NO_YIELD);
	assert_true(k_work_queue_thread_get(&queue) != 0);
	assert_int_equal(pthread_getname_np(queue.thread_id, name, sizeof(name)), 0);
	assert_string_equal(name, "wq/whole name o");
	zitem_init(&item);
	assert_int_equal(k_work_submit_to_queue(&queue, &item.dw.work), 1);
	assert_int_equal(wq_zephyr_queue_start(&queue, 0, 0, NULL), -EALREADY);
	k_work_flush(&item.dw.work, &work_sync);
	assert_true(pthread_equal(item.thread, k_work_queue_thread_get(&queue)));
	assert_ptr_equal(item.ran_on, &queue);
	assert_int_equal(zqueue_end(&queue), 0);
}

/* Of each queue the same thread runs all its items, in order. */
static struct zitem *order[8];
static unsigned nr_order;

static void order_handler(struct k_work *work)
{
	order[nr_order++] = CONTAINER_OF(work, struct zitem, dw.work);
}

static void items_run_in_the_order_of_submission(void **state)
{
	struct zitem items[8], hold;
	struct k_work_q queue;
	unsigned i;

	zqueue_start(&queue);
	zitem_hold(&queue, &hold);
	nr_order = 0;
	for (i = 0; i < ARRAY_SIZE(items); i++) {
		k_work_init(&items[i].dw.work, order_handler);
		assert_int_equal(k_work_submit_to_queue(&queue, &items[i].dw.work), 1);
	}
	zitem_pass(&hold);
	assert_int_equal(k_work_queue_drain(&queue, false), 1);
	for (i = 0; i < ARRAY_SIZE(items); i++)
		assert_ptr_equal(order[i], &items[i]);
	assert_int_equal(zqueue_end(&queue), 0);
}

static void handler_note_nice(struct k_work *work)
{
	((struct zitem *)CONTAINER_OF(work, struct zitem, dw.work))->runs =
		(unsigned long)(getpriority(PRIO_PROCESS, 0) + 100);
}

static void priority_becomes_a_nice_value(void **state)
{
	int mine = getpriority(PRIO_PROCESS, 0), nice;
	struct k_work_q queue = {0};
	struct zitem item;

	start(&queue, K_PRIO_PREEMPT(6), NULL);
	k_work_init(&item.dw.work, handler_note_nice);
	k_work_submit_to_queue(&queue, &item.dw.work);
	k_work_flush(&item.dw.work, &work_sync);
	nice = (int)item.runs - 100;
	assert_int_equal(nice, mine + 6 > 19 ? 19 : mine + 6);
	assert_int_equal(zqueue_end(&queue), 0);
	/* Cooperative: as near as is permitted, and never the other way. */
	start(&queue, K_PRIO_COOP(0), NULL);
	k_work_submit_to_queue(&queue, &item.dw.work);
	k_work_flush(&item.dw.work, &work_sync);
	nice = (int)item.runs - 100;
	assert_in_range(nice + 20, K_PRIO_COOP(0) + 20, mine + 20);
	assert_int_equal(zqueue_end(&queue), 0);
}

/* --- flags, drain, plug --- */

static void busy_flag_is_of_the_item_that_runs(void **state)
{
	struct k_work_q queue;
	struct zitem hold;

	zqueue_start(&queue);
	zitem_hold(&queue, &hold);
	assert_int_equal(zqueue_flags(&queue), STARTED | BUSY);
	zitem_pass(&hold);
	k_work_flush(&hold.dw.work, &work_sync);
	assert_int_equal(zqueue_flags(&queue), STARTED);
	assert_int_equal(zqueue_end(&queue), 0);
	assert_int_equal(zqueue_flags(&queue), 0);
}

struct draining {
	struct k_work_q *queue;
	bool plug;
	int ret;
	pthread_t thread;
};

static void *drain_main(void *arg)
{
	struct draining *d = arg;

	d->ret = k_work_queue_drain(d->queue, d->plug);
	return NULL;
}

/* The flags say what is asked for, and it holds a moment later.  An item must be running. */
static void draining_begin(struct draining *d, struct k_work_q *queue, bool plug, uint32_t flags)
{
	struct zitem probe;

	d->queue = queue;
	d->plug = plug;
	assert_int_equal(pthread_create(&d->thread, NULL, drain_main, d), 0);
	zqueue_wait_flags(queue, flags);
	zitem_init(&probe);
	while (k_work_submit_to_queue(queue, &probe.dw.work) == 1)
		k_work_cancel_sync(&probe.dw.work, &work_sync);
}

/* An item that submits itself once, while its queue drains, and notes the answer. */
struct chained {
	struct zitem z;
	int ret;
	unsigned left;
};

static void chained_handler(struct k_work *work)
{
	struct chained *chained = CONTAINER_OF(work, struct chained, z.dw.work);

	latch_post(&chained->z.started);
	latch_wait(&chained->z.open, chained->z.runs + 1);
	if (chained->left && chained->left--)
		chained->ret = k_work_submit_to_queue(NULL, work);
	count_up(&chained->z.runs);
}

static void chained_hold(struct k_work_q *queue, struct chained *chained)
{
	*chained = (struct chained){.left = 1};
	latch_init(&chained->z.started);
	latch_init(&chained->z.open);
	k_work_init(&chained->z.dw.work, chained_handler);
	assert_int_equal(k_work_submit_to_queue(queue, &chained->z.dw.work), 1);
	latch_wait(&chained->z.started, 1);
}

static void drain_admits_chained_items_only(void **state)
{
	struct chained chained;
	struct k_work_q queue;
	struct draining d;
	struct zitem item;
	int plug;

	zqueue_start(&queue);
	assert_int_equal(k_work_queue_drain(&queue, false), 0);
	zitem_init(&item);
	for (plug = 0; plug < 2; plug++) {
		uint32_t plugged = plug ? PLUGGED : 0;

		chained_hold(&queue, &chained);
		draining_begin(&d, &queue, plug, STARTED | BUSY | DRAIN | plugged);
		assert_int_equal(k_work_submit_to_queue(&queue, &item.dw.work), -EBUSY);
		assert_int_equal(k_work_schedule_for_queue(&queue, &item.dw, K_NO_WAIT), -EBUSY);
		/* What runs elsewhere, or is queued, is answered before the queue is looked at. */
		assert_int_equal(k_work_busy_get(&item.dw.work), 0);
		zitem_pass(&chained.z);
		zitem_pass(&chained.z);
		pthread_join(d.thread, NULL);
		assert_int_equal(d.ret, 1);
		assert_int_equal(chained.ret, 2);
		assert_int_equal(chained.z.runs, 2);
		assert_int_equal(zqueue_flags(&queue), STARTED | plugged);
	}
	/* Drained, and plugged. */
	assert_int_equal(k_work_submit_to_queue(&queue, &item.dw.work), -EBUSY);
	assert_int_equal(k_work_queue_unplug(&queue), 0);
	assert_int_equal(k_work_queue_unplug(&queue), -EALREADY);
	assert_int_equal(k_work_submit_to_queue(&queue, &item.dw.work), 1);
	assert_int_equal(zqueue_end(&queue), 0);
	assert_int_equal(item.runs, 1);
}

static void unplug_while_draining_leaves_it_draining(void **state)
{
	struct chained chained;
	struct k_work_q queue;
	struct draining d;

	zqueue_start(&queue);
	chained_hold(&queue, &chained);
	draining_begin(&d, &queue, true, STARTED | BUSY | DRAIN | PLUGGED);
	assert_int_equal(k_work_queue_unplug(&queue), 0);
	zitem_pass(&chained.z);
	zitem_pass(&chained.z);
	pthread_join(d.thread, NULL);
	assert_int_equal(zqueue_flags(&queue), STARTED);
	assert_int_equal(chained.z.runs, 2);
	assert_int_equal(zqueue_end(&queue), 0);
}

static void running_and_queued_items_are_answered_on_a_plugged_queue(void **state)
{
	struct zitem hold, item;
	struct k_work_q queue;
	struct draining d;

	zqueue_start(&queue);
	zitem_hold(&queue, &hold);
	zitem_init(&item);
	assert_int_equal(k_work_submit_to_queue(&queue, &item.dw.work), 1);
	draining_begin(&d, &queue, true, STARTED | BUSY | DRAIN | PLUGGED);
	/* Queued: 0, whatever the queue says.  Running: to where it runs, which refuses. */
	assert_int_equal(k_work_submit_to_queue(&queue, &item.dw.work), 0);
	assert_int_equal(k_work_submit_to_queue(NULL, &item.dw.work), 0);
	assert_int_equal(k_work_submit(&item.dw.work), 0);
	assert_int_equal(k_work_submit_to_queue(&queue, &hold.dw.work), -EBUSY);
	assert_int_equal(k_work_submit(&hold.dw.work), -EBUSY);
	zitem_pass(&hold);
	pthread_join(d.thread, NULL);
	assert_int_equal(item.runs, 1);
	assert_int_equal(k_work_queue_stop(&queue, K_FOREVER), 0);
}

/* Zephyr loses an item whose timer fires then. */
static void timer_is_kept_until_the_queue_takes_items(void **state)
{
	struct k_work_q queue;
	struct zitem item;

	zqueue_start(&queue);
	assert_int_equal(k_work_queue_drain(&queue, true), 1);
	zitem_init(&item);
	assert_int_equal(k_work_schedule_for_queue(&queue, &item.dw, K_TICKS(1)), 1);
	while (!wq_zephyr_timers_kept(&queue))
		sched_yield();
	assert_int_equal(zitem_busy(&item), D);
	assert_int_equal(k_work_queue_stop(&queue, K_FOREVER), -EBUSY);
	assert_int_equal(zqueue_flags(&queue), STARTED | PLUGGED);
	assert_int_equal(k_work_queue_unplug(&queue), 0);
	latch_wait(&item.ended, 1);
	zitem_wait_busy(&item, 0);
	/* A flush does not wait for that. */
	assert_int_equal(k_work_queue_drain(&queue, true), 1);
	assert_int_equal(k_work_schedule_for_queue(&queue, &item.dw, K_HOURS(1)), 1);
	assert_true(k_work_flush_delayable(&item.dw, &work_sync));
	assert_int_equal(count_get(&item.runs), 2);
	assert_int_equal(k_work_queue_stop(&queue, K_FOREVER), 0);
}

/* --- stop --- */

static void stop_answers_in_its_order(void **state)
{
	struct k_work_queue_config essential = {.essential = true};
	static struct k_work_q kept;
	struct k_work_q queue;
	struct zitem hold;

	zqueue_start(&queue);
	assert_int_equal(k_work_queue_stop(&queue, K_FOREVER), -EBUSY);
	assert_int_equal(k_work_queue_drain(&queue, true), 1);
	assert_int_equal(k_work_queue_stop(&queue, K_NO_WAIT), 0);
	assert_int_equal(k_work_queue_stop(&queue, K_FOREVER), -EALREADY);
	assert_int_equal(zqueue_flags(&queue), 0);
	zitem_init(&hold);
	assert_int_equal(k_work_submit_to_queue(&queue, &hold.dw.work), -ENODEV);
	/* And again. */
	zqueue_start(&queue);
	assert_int_equal(k_work_submit_to_queue(&queue, &hold.dw.work), 1);
	assert_int_equal(zqueue_end(&queue), 0);
	assert_int_equal(hold.runs, 1);
	start(&kept, K_PRIO_PREEMPT(4), &essential);
	assert_int_equal(k_work_queue_stop(&kept, K_FOREVER), -ENOTSUP);
	assert_int_equal(k_work_queue_drain(&kept, true), 1);
	assert_int_equal(k_work_queue_stop(&kept, K_FOREVER), -ENOTSUP);
}

struct stopping {
	struct k_work_q *queue;
	int ret;
	pthread_t thread;
};

static void *stop_main(void *arg)
{
	struct stopping *s = arg;

	s->ret = k_work_queue_stop(s->queue, K_FOREVER);
	return NULL;
}

static void stop_waits_or_times_out(void **state)
{
	struct stopping stoppers[3];
	struct k_work_q queue;
	struct draining d;
	struct zitem hold;
	unsigned i;

	zqueue_start(&queue);
	zitem_hold(&queue, &hold);
	draining_begin(&d, &queue, true, STARTED | BUSY | DRAIN | PLUGGED);
	assert_int_equal(k_work_queue_stop(&queue, K_TICKS(1)), -ETIMEDOUT);
	assert_int_equal(k_work_queue_stop(&queue, K_NO_WAIT), -ETIMEDOUT);
	assert_int_equal(zqueue_flags(&queue), STARTED | BUSY | DRAIN | PLUGGED);
	for (i = 0; i < ARRAY_SIZE(stoppers); i++) {
		stoppers[i].queue = &queue;
		assert_int_equal(pthread_create(&stoppers[i].thread, NULL, stop_main, &stoppers[i]),
				 0);
	}
	zqueue_wait_flags(&queue, STARTED | BUSY | DRAIN | PLUGGED | STOP);
	assert_int_equal(k_work_queue_stop(&queue, K_TICKS(1)), -ETIMEDOUT);
	zitem_pass(&hold);
	pthread_join(d.thread, NULL);
	for (i = 0; i < ARRAY_SIZE(stoppers); i++) {
		pthread_join(stoppers[i].thread, NULL);
		assert_true(stoppers[i].ret == 0 || stoppers[i].ret == -EALREADY);
	}
	assert_int_equal(zqueue_flags(&queue), 0);
	assert_int_equal(hold.runs, 1);
}

/* --- the caller's thread --- */

struct running {
	struct k_work_q queue;
	struct k_work_queue_config config;
	k_tid_t thread;
	unsigned long returned;
};

static void *run_main(void *arg)
{
	struct running *run = arg;

	k_work_queue_run(&run->queue, &run->config);
	count_up(&run->returned);
	return NULL;
}

static void run_serves_on_the_calling_thread_until_stopped(void **state)
{
	struct running run = {.config = {.name = "run", .no_yield = true}};
	struct zitem item, hold;
	unsigned round;

	for (round = 0; round < 3; round++) {
		assert_int_equal(pthread_create(&run.thread, NULL, run_main, &run), 0);
		zqueue_wait_flags(&run.queue, STARTED | NO_YIELD);
		zitem_init(&item);
		while (k_work_submit_to_queue(&run.queue, &item.dw.work) == -ENODEV)
			sched_yield();
		k_work_flush(&item.dw.work, &work_sync);
		assert_true(pthread_equal(item.thread, run.thread));
		assert_true(pthread_equal(k_work_queue_thread_get(&run.queue), run.thread));
		zitem_hold(&run.queue, &hold);
		assert_int_equal(k_work_schedule_for_queue(&run.queue, &item.dw, K_TICKS(1)), 1);
		zitem_wait_busy(&item, Q);
		zitem_pass(&hold);
		k_work_flush(&item.dw.work, &work_sync);
		assert_int_equal(item.runs, 2);
		assert_int_equal(k_work_queue_stop(&run.queue, K_FOREVER), -EBUSY);
		assert_int_equal(zqueue_end(&run.queue), 0);
		pthread_join(run.thread, NULL);
		assert_int_equal(run.returned, round + 1);
	}
}

static void handler_that_can_not_wait(struct k_work *work)
{
	struct zitem *item = CONTAINER_OF(work, struct zitem, dw.work);
	struct k_work_q nested = {0};

	item->runs = k_work_queue_drain(work->queue, false) == -EDEADLK;
	item->runs += k_work_queue_drain(work->queue, true) == -EDEADLK;
	item->runs += wq_zephyr_queue_run(&nested, NULL) == -EDEADLK;
	/* It does not wait for itself; and is cancelling. */
	item->runs += !k_work_flush(work, &work_sync);
	item->runs += k_work_cancel_sync(work, &work_sync);
	item->runs += k_work_busy_get(work) == (R | C);
	item->runs += k_work_submit_to_queue(NULL, work) == -EBUSY;
}

static void waiting_for_oneself_is_answered(void **state)
{
	struct k_work_q queue;
	struct zitem item;

	zqueue_start(&queue);
	k_work_init(&item.dw.work, handler_that_can_not_wait);
	assert_int_equal(k_work_submit_to_queue(&queue, &item.dw.work), 1);
	k_work_flush(&item.dw.work, &work_sync);
	assert_int_equal(item.runs, 7);
	assert_int_equal(k_work_busy_get(&item.dw.work), 0);
	assert_int_equal(zqueue_end(&queue), 0);
}

/* --- queues that start by themselves --- */

K_WORK_QUEUE_DEFINE(defined, 1024, K_PRIO_PREEMPT(3), true);
K_WORK_QUEUE_DEFINE(watched, 1024, K_PRIO_PREEMPT(5), false, 1);

static void system_queue_starts_by_itself(void **state)
{
	struct zitem item;

	zitem_init(&item);
	assert_int_equal(zqueue_flags(&k_sys_work_q) & STARTED, STARTED);
	assert_int_equal(k_work_submit(&item.dw.work), 1);
	k_work_flush(&item.dw.work, &work_sync);
	assert_ptr_equal(item.ran_on, &k_sys_work_q);
	assert_int_equal(k_work_schedule(&item.dw, K_HOURS(1)), 1);
	assert_int_equal(k_work_reschedule(&item.dw, K_TICKS(1)), 1);
	latch_wait(&item.ended, 2);
	zitem_wait_busy(&item, 0);
	assert_true(pthread_equal(item.thread, k_sys_work_q.thread_id));
	assert_int_equal(k_work_queue_stop(&k_sys_work_q, K_FOREVER), -ENOTSUP);
}

static void defined_queue_starts_by_itself_and_can_be_stopped(void **state)
{
	struct zitem item;

	assert_int_equal(zqueue_flags(&defined), STARTED | NO_YIELD);
	assert_int_equal(k_work_queue_stop(&defined, K_FOREVER), -EBUSY);
	zitem_init(&item);
	assert_int_equal(k_work_schedule_for_queue(&defined, &item.dw, K_TICKS(1)), 1);
	latch_wait(&item.ended, 1);
	zitem_wait_busy(&item, 0);
	assert_int_equal(zqueue_flags(&defined), STARTED | NO_YIELD);
	assert_int_equal(zqueue_end(&defined), 0);
	assert_int_equal(k_work_submit_to_queue(&defined, &item.dw.work), -ENODEV);
	start(&defined, 0, NULL);
	assert_int_equal(k_work_submit_to_queue(&defined, &item.dw.work), 1);
	assert_int_equal(zqueue_end(&defined), 0);
}

static void *reported[3];
static struct latch told;

static void note_timeout(struct k_work_q *queue, struct k_work *work, k_work_handler_t handler)
{
	reported[0] = queue;
	reported[1] = work;
	reported[2] = (void *)(uintptr_t)handler;
	latch_post(&told);
}

static void item_that_runs_for_long_is_reported_once(void **state)
{
	struct zitem hold;

	latch_init(&told);
	wq_zephyr_set_timeout(note_timeout);
	zitem_hold(&watched, &hold);
	latch_wait(&told, 1);
	assert_ptr_equal(reported[0], &watched);
	assert_ptr_equal(reported[1], &hold.dw.work);
	assert_ptr_equal(reported[2], (void *)(uintptr_t)hold.dw.work.handler);
	/* Its thread goes on. */
	assert_int_equal(k_work_submit_to_queue(&watched, &hold.dw.work), 2);
	zitem_pass(&hold);
	latch_wait(&told, 2);
	zitem_pass(&hold);
	k_work_flush(&hold.dw.work, &work_sync);
	assert_int_equal(hold.runs, 2);
	assert_int_equal(latch_count(&told), 2);
	wq_zephyr_set_timeout(NULL);
}

/* Those that nobody stops do not keep it from ending; a later use starts them again. */
static void shutdown_ends_what_starts_by_itself(void **state)
{
	struct zitem item, pending;
	struct k_work_q queue;
	unsigned round;

	zitem_init(&item);
	zitem_init(&pending);
	for (round = 0; round < 2; round++) {
		assert_int_equal(k_work_submit(&item.dw.work), 1);
		k_work_flush(&item.dw.work, &work_sync);
		zqueue_start(&queue);
		assert_int_equal(wq_shutdown(), -EBUSY);
		assert_int_equal(zqueue_end(&queue), 0);
		assert_int_equal(k_work_schedule(&item.dw, K_HOURS(1)), 1);
		assert_int_equal(wq_shutdown(), -EBUSY);
		assert_int_equal(k_work_submit(&item.dw.work), 1);
		k_work_cancel_delayable_sync(&item.dw, &work_sync);
		assert_int_equal(k_work_submit_to_queue(&watched, &pending.dw.work), 1);
		assert_int_equal(wq_shutdown(), 0);
		assert_int_equal(pending.runs, round + 1);
		assert_int_equal(zqueue_flags(&k_sys_work_q), STARTED);
		assert_int_equal(nr_threads_falls_to("wq/", 0), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_have_zephyrs_values),
		cmocka_unit_test(zeroed_queue_is_stopped_and_starts),
		cmocka_unit_test(items_run_in_the_order_of_submission),
		cmocka_unit_test(priority_becomes_a_nice_value),
		cmocka_unit_test(busy_flag_is_of_the_item_that_runs),
		cmocka_unit_test(drain_admits_chained_items_only),
		cmocka_unit_test(unplug_while_draining_leaves_it_draining),
		cmocka_unit_test(running_and_queued_items_are_answered_on_a_plugged_queue),
		cmocka_unit_test(timer_is_kept_until_the_queue_takes_items),
		cmocka_unit_test(stop_answers_in_its_order),
		cmocka_unit_test(stop_waits_or_times_out),
		cmocka_unit_test(run_serves_on_the_calling_thread_until_stopped),
		cmocka_unit_test(waiting_for_oneself_is_answered),
		cmocka_unit_test(system_queue_starts_by_itself),
		cmocka_unit_test(defined_queue_starts_by_itself_and_can_be_stopped),
		cmocka_unit_test(item_that_runs_for_long_is_reported_once),
		cmocka_unit_test(shutdown_ends_what_starts_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
