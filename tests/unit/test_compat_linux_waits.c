/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's names for waiting, taking back and disabling, for grace periods, for the end
 * of a queue, and for time.  The table at the end has a row for each.
 */
#include "kernel.h"
#include "flavors.h"
#include "shot.h"

#include <urcu-bp.h>

static struct workqueue_struct *wq, *ordered;

static int setup(void **state)
{
	reports_begin();
	wq = alloc_workqueue("waits", WQ_UNBOUND, 0);
	ordered = alloc_ordered_workqueue("ordered", 0);
	return wq && ordered ? 0 : -1;
}

static int teardown(void **state)
{
	destroy_workqueue(wq);
	destroy_workqueue(ordered);
	return no_report_is_left(state);
}

static unsigned long runs;

static void run_fn(struct work_struct *work)
{
	count_up(&runs);
}

/* Holds up what comes behind it on the ordered queue. */
static void gate_begin_job(struct job *gate)
{
	job_init_gate(gate);
	assert_true(queue_work(ordered, &gate->work));
	latch_wait(&gate->started, 1);
}

static void gate_end_job(struct job *gate)
{
	latch_post(&gate->open);
	job_wait(gate, 1);
}

/* --- waiting and taking back --- */

static void flush_is_true_where_it_waited(void **state)
{
	struct job gate, job;

	gate_begin_job(&gate);
	job_init(&job);
	assert_false(flush_work(&job.work));
	assert_false(flush_delayed_work(&job.dwork));
	assert_true(queue_work(ordered, &job.work));
	latch_post(&gate.open);
	flush_work(&job.work);
	assert_int_equal(job.runs, 1);
	gate_end_job(&gate);
	/* The timer fires now. */
	assert_true(queue_delayed_work(ordered, &job.dwork, HZ * 3600ul));
	assert_true(flush_delayed_work(&job.dwork));
	assert_int_equal(job.runs, 2);
	assert_true(queue_delayed_work(ordered, &job.dwork, HZ * 3600ul));
	assert_true(flush_work(&job.dwork.work));
	assert_int_equal(job.runs, 3);
}

struct selfish {
	struct work_struct work;
	bool flushed, cancelled, disabled;
};

static void selfish_fn(struct work_struct *work)
{
	struct selfish *selfish = from_work(selfish, work, work);

	selfish->flushed = flush_work(work);
	queue_work(wq, work);
	selfish->cancelled = cancel_work_sync(work);
	selfish->disabled = disable_work_sync(work);
}

/* In Linux it hangs.  The second and the third do take it back. */
static void waiting_for_oneself_is_false_and_reported(void **state)
{
	struct selfish selfish = {.flushed = true, .cancelled = true, .disabled = true};

	INIT_WORK(&selfish.work, selfish_fn);
	assert_true(queue_work(wq, &selfish.work));
	flush_workqueue(wq);
	assert_false(selfish.flushed || selfish.cancelled || selfish.disabled);
	assert_int_equal(reports_taken(), 3);
	assert_non_null(strstr(report_last, "disable_work_sync()"));
	assert_int_equal(work_busy(&selfish.work), 0);
	assert_true(enable_work(&selfish.work));
}

static void cancel_is_true_where_it_was_pending(void **state)
{
	struct job gate, job;

	gate_begin_job(&gate);
	job_init(&job);
	assert_false(cancel_work(&job.work));
	assert_false(cancel_work_sync(&job.work));
	assert_true(queue_work(ordered, &job.work));
	assert_true(cancel_work(&job.work));
	assert_true(queue_work(ordered, &job.work));
	assert_true(cancel_work_sync(&job.work));
	assert_true(queue_delayed_work(ordered, &job.dwork, 1));
	assert_true(cancel_delayed_work_sync(&job.dwork));
	assert_true(queue_delayed_work(ordered, &job.dwork, HZ * 3600ul));
	assert_true(cancel_delayed_work(&job.dwork));
	assert_false(cancel_delayed_work(&job.dwork));
	assert_false(cancel_delayed_work_sync(&job.dwork));
	/* Running is not pending, and is waited for. */
	latch_post(&gate.open);
	assert_false(cancel_work_sync(&gate.work));
	assert_int_equal(gate.ended.count, 1);
	job_wait(&job, 0);
}

static void disable_nests_and_enable_is_true_at_the_last(void **state)
{
	struct job gate, job;

	gate_begin_job(&gate);
	job_init(&job);
	assert_true(queue_work(ordered, &job.work));
	assert_true(disable_work(&job.work));
	assert_false(disable_work_sync(&job.work));
	assert_false(queue_work(wq, &job.work));
	assert_false(enable_work(&job.work));
	assert_false(queue_work(wq, &job.work));
	assert_true(enable_work(&job.work));
	assert_true(queue_delayed_work(wq, &job.dwork, HZ * 3600ul));
	assert_true(disable_delayed_work(&job.dwork));
	assert_false(disable_delayed_work_sync(&job.dwork));
	assert_false(queue_delayed_work(wq, &job.dwork, 0));
	assert_false(enable_delayed_work(&job.dwork));
	assert_true(enable_delayed_work(&job.dwork));
	gate_end_job(&gate);
	job_wait(&job, 0);
	/* Once too often: it is enabled, so it is true, but somebody miscounts. */
	assert_true(enable_work(&job.work));
	assert_true(enable_delayed_work(&job.dwork));
	assert_int_equal(reports_taken(), 1);
	assert_true(queue_work(wq, &job.work));
	job_wait(&job, 1);
}

static void enable_and_queue_work_queues_at_the_last(void **state)
{
	struct job job;

	job_init(&job);
	assert_false(disable_work(&job.work));
	assert_false(disable_work(&job.work));
	assert_false(enable_and_queue_work(wq, &job.work));
	assert_false(work_pending(&job.work));
	assert_true(enable_and_queue_work(wq, &job.work));
	job_wait(&job, 1);
	/* Not disabled: queued all the same.  That it was not is reported once in all. */
	assert_true(enable_and_queue_work(wq, &job.work));
	job_wait(&job, 2);
	/* Enabled, and refused: the answer is of the first alone. */
	assert_false(disable_work(&job.work));
	assert_int_equal(wq_plug(wq_from_linux(wq)), 0);
	assert_true(enable_and_queue_work(wq, &job.work));
	assert_int_equal(wq_unplug(wq_from_linux(wq)), 0);
	assert_int_equal(reports_taken(), 1);
	assert_false(work_pending(&job.work));
}

static void states_are_the_kernels(void **state)
{
	struct job gate, job;

	gate_begin_job(&gate);
	job_init(&job);
	assert_int_equal(work_busy(&gate.work), WORK_BUSY_RUNNING);
	assert_false(work_pending(&gate.work));
	assert_true(queue_work(ordered, &gate.work));
	assert_int_equal(work_busy(&gate.work), WORK_BUSY_PENDING | WORK_BUSY_RUNNING);
	assert_true(work_pending(&gate.work));
	assert_true(cancel_work(&gate.work));
	assert_true(queue_delayed_work(ordered, &job.dwork, HZ * 3600ul));
	assert_int_equal(work_busy(&job.dwork.work), WORK_BUSY_PENDING);
	assert_true(delayed_work_pending(&job.dwork));
	assert_true(cancel_delayed_work(&job.dwork));
	assert_false(delayed_work_pending(&job.dwork));
	assert_false(disable_work(&job.work));
	assert_int_equal(work_busy(&job.work), 0);
	gate_end_job(&gate);
	assert_int_equal(work_busy(&gate.work), 0);
}

/* --- grace periods --- */

struct object {
	struct rcu_work rwork;
	struct reader *reader;
	unsigned long runs, early;
};

static void object_fn(struct work_struct *work)
{
	struct object *object = container_of(to_rcu_work(work), struct object, rwork);

	if (object->reader && !count_get(&object->reader->left))
		count_up(&object->early);
	count_up(&object->runs);
}

static void rcu_work_runs_after_the_readers(void **state)
{
	struct object object = {.runs = 0};
	struct reader reader;

	reader_start(&reader, &urcu_bp_flavor);
	object.reader = &reader;
	INIT_RCU_WORK(&object.rwork, object_fn);
	assert_ptr_equal(object.rwork.work.func, object_fn);
	assert_false(flush_rcu_work(&object.rwork));
	assert_true(queue_rcu_work(wq, &object.rwork));
	assert_false(queue_rcu_work(wq, &object.rwork));
	assert_false(queue_work(wq, &object.rwork.work));
	assert_true(work_pending(&object.rwork.work));
	/* It can't be taken back: false, which the first two report together once. */
	assert_false(cancel_work(&object.rwork.work));
	assert_false(disable_work(&object.rwork.work));
	assert_int_equal(reports_taken(), 1);
	assert_false(cancel_work_sync(&object.rwork.work));
	assert_int_equal(reports_taken(), 1);
	reader_end(&reader);
	flush_rcu_work(&object.rwork);
	assert_int_equal(object.runs, 1);
	assert_int_equal(object.early, 0);
}

static void destroy_workqueue_waits_for_rcu_work(void **state)
{
	struct object objects[20] = {{.runs = 0}};
	unsigned i, round;

	for (round = 0; round < 5; round++) {
		struct workqueue_struct *own = alloc_workqueue("own", WQ_UNBOUND, 0);

		for (i = 0; i < ARRAY_SIZE(objects); i++) {
			INIT_RCU_WORK_ONSTACK(&objects[i].rwork, object_fn);
			assert_true(queue_rcu_work(own, &objects[i].rwork));
		}
		destroy_workqueue(own);
		for (i = 0; i < ARRAY_SIZE(objects); i++)
			assert_int_equal(objects[i].runs, round + 1);
	}
}

/* A reader would wait for itself: the queue stays, and can be destroyed outside. */
static void destroy_workqueue_in_a_reader_reports(void **state)
{
	struct workqueue_struct *own = alloc_workqueue("own", WQ_UNBOUND, 0);
	struct object object = {.runs = 0};

	INIT_RCU_WORK(&object.rwork, object_fn);
	rcu_read_lock();
	assert_true(queue_rcu_work(own, &object.rwork));
	destroy_workqueue(own);
	assert_int_equal(reports_taken(), 1);
	assert_string_equal(report_last, "destroy_workqueue(own): items are armed on it; it stays "
					 "until it is destroyed without");
	rcu_read_unlock();
	destroy_workqueue(own);
	assert_int_equal(object.runs, 1);
}

/* --- the end of a queue --- */

static void destroy_workqueue_runs_what_is_pending(void **state)
{
	struct workqueue_struct *own = alloc_workqueue("end", WQ_UNBOUND, 1);
	struct work_struct items[20];
	unsigned i;

	runs = 0;
	for (i = 0; i < ARRAY_SIZE(items); i++) {
		INIT_WORK(&items[i], run_fn);
		assert_true(queue_work(own, &items[i]));
	}
	destroy_workqueue(own);
	assert_int_equal(runs, ARRAY_SIZE(items));
	destroy_workqueue(NULL);
}

static void destroy_workqueue_with_armed_items_reports_and_leaves_it(void **state)
{
	struct workqueue_struct *own = alloc_workqueue("armed", WQ_UNBOUND, 0);
	struct job job;

	job_init(&job);
	assert_true(queue_delayed_work(own, &job.dwork, HZ * 3600ul));
	destroy_workqueue(own);
	assert_int_equal(reports_taken(), 1);
	assert_string_equal(report_last,
			    "destroy_workqueue(armed): items are armed on it; it stays "
			    "until it is destroyed without");
	assert_true(flush_delayed_work(&job.dwork));
	assert_int_equal(job.runs, 1);
	destroy_workqueue(own);
}

struct caller {
	struct work_struct work;
	struct workqueue_struct *wq;
};

static void caller_fn(struct work_struct *work)
{
	struct caller *caller = from_work(caller, work, work);

	flush_workqueue(caller->wq);
	drain_workqueue(caller->wq);
	destroy_workqueue(caller->wq);
}

static void item_that_waits_for_its_queue_is_reported(void **state)
{
	struct workqueue_struct *own = alloc_workqueue("self", WQ_UNBOUND, 0);
	struct caller caller = {.wq = own};

	INIT_WORK(&caller.work, caller_fn);
	assert_true(queue_work(own, &caller.work));
	flush_work(&caller.work);
	assert_int_equal(reports_taken(), 3);
	assert_string_equal(report_last, "destroy_workqueue(self): it would be for ever, so it was "
					 "not waited for");
	destroy_workqueue(own);
}

/* --- flush and drain --- */

struct chained {
	struct work_struct work;
	struct workqueue_struct *wq;
	unsigned long runs, length;
};

static void chained_fn(struct work_struct *work)
{
	struct chained *chained = from_work(chained, work, work);

	if (count_up(&chained->runs) < chained->length)
		queue_work(chained->wq, work);
}

static void drain_workqueue_waits_for_what_items_queue(void **state)
{
	struct workqueue_struct *own = alloc_workqueue("drained", WQ_UNBOUND, 0);
	struct chained chained = {.wq = own, .length = 50};
	struct job job;

	INIT_WORK(&chained.work, chained_fn);
	assert_true(queue_work(own, &chained.work));
	drain_workqueue(own);
	assert_int_equal(chained.runs, chained.length);
	job_init(&job);
	assert_true(queue_work(own, &job.work));
	flush_workqueue(own);
	assert_int_equal(job.runs, 1);
	destroy_workqueue(own);
	drain_workqueue(NULL);
	assert_int_equal(reports_taken(), 1);
	flush_workqueue(NULL);
	assert_int_equal(reports_taken(), 1);
}

static void *flush_thread(void *ctx)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	flush_scheduled_work();
#pragma GCC diagnostic pop
	latch_post(ctx);
	return NULL;
}

static void system_queues_can_be_flushed_but_not_ended(void **state)
{
	struct latch flushed = LATCH_INIT;
	pthread_t thread;
	struct job job;

	job_init_gate(&job);
	assert_true(schedule_work_on(usable_cpu(0), &job.work));
	latch_wait(&job.started, 1);
	assert_int_equal(pthread_create(&thread, NULL, flush_thread, &flushed), 0);
	/* It does not return before the item that it waits for. */
	assert_int_equal(latch_count(&flushed), 0);
	latch_post(&job.open);
	pthread_join(thread, NULL);
	assert_int_equal(count_get(&job.runs), 1);
	assert_int_equal(latch_count(&job.ended), 1);
	flush_workqueue(system_long_wq);
	flush_workqueue(system_dfl_wq);
	assert_int_equal(reports_taken(), 0);
	drain_workqueue(system_wq);
	destroy_workqueue(system_wq);
	assert_int_equal(reports_taken(), 2);
	job_init(&job);
	assert_true(schedule_work(&job.work));
	job_wait(&job, 1);
}

/* --- jiffies --- */

static void times_become_jiffies_rounded_up(void **state)
{
	unsigned long before = jiffies, now_ms;

	assert_int_equal(HZ, 1000);
	assert_int_equal(msecs_to_jiffies(0), 0);
	assert_int_equal(msecs_to_jiffies(250), HZ / 4);
	assert_int_equal(msecs_to_jiffies(INT_MAX), INT_MAX);
	assert_int_equal(msecs_to_jiffies((unsigned)-1), MAX_JIFFY_OFFSET);
	assert_int_equal(usecs_to_jiffies(0), 0);
	assert_int_equal(usecs_to_jiffies(1), 1);
	assert_int_equal(usecs_to_jiffies(1000), 1);
	assert_int_equal(usecs_to_jiffies(1001), 2);
	assert_int_equal(jiffies_to_msecs(HZ), 1000);
	assert_int_equal(jiffies_to_msecs(0), 0);
	assert_true(time_before_eq(before, jiffies));
	assert_true(time_after(1ul, ULONG_MAX));
	assert_true(time_before(ULONG_MAX, 0ul));
	assert_false(time_after(before, before));
	now_ms = now_ns() / MS; /* or it could be read after the other */
	assert_true(time_before_eq(now_ms, jiffies));
	assert_int_equal(msecs_to_jiffies_of_300(1000), 300);
	assert_int_equal(msecs_to_jiffies_of_300(1), 1);
	assert_int_equal(msecs_to_jiffies_of_300(11), 4);
	/* A third of a nanosecond is missing in a jiffy: then a delay is longer, not shorter. */
	assert_in_range(delay_ns_of_300(300), 1000 * MS, 1000 * MS + 300);
	assert_int_equal(delay_ns_of_300(ULONG_MAX), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW("flush_work, flush_delayed_work", "true: waited",
		    flush_is_true_where_it_waited),
		ROW("flush_work, cancel_work_sync, disable_work_sync",
		    "false, and reported, from the item itself",
		    waiting_for_oneself_is_false_and_reported),
		ROW("cancel_work, cancel_work_sync, cancel_delayed_work, "
		    "cancel_delayed_work_sync",
		    "true: was pending", cancel_is_true_where_it_was_pending),
		ROW("disable_work, disable_work_sync, enable_work, disable_delayed_work, "
		    "disable_delayed_work_sync, enable_delayed_work",
		    "nest; true: was pending, is enabled",
		    disable_nests_and_enable_is_true_at_the_last),
		ROW("enable_and_queue_work", "queues at depth 0",
		    enable_and_queue_work_queues_at_the_last),
		ROW("work_pending, delayed_work_pending, work_busy", "armed is pending",
		    states_are_the_kernels),
		ROW("INIT_RCU_WORK, queue_rcu_work, flush_rcu_work", "after the readers",
		    rcu_work_runs_after_the_readers),
		ROW("destroy_workqueue, INIT_RCU_WORK_ONSTACK", "rcu_work is waited for",
		    destroy_workqueue_waits_for_rcu_work),
		ROW("destroy_workqueue", "reported, inside a reader",
		    destroy_workqueue_in_a_reader_reports),
		ROW("destroy_workqueue, workqueue_struct", "runs what is pending",
		    destroy_workqueue_runs_what_is_pending),
		ROW("destroy_workqueue", "armed items: reported, and left",
		    destroy_workqueue_with_armed_items_reports_and_leaves_it),
		ROW("flush_workqueue, drain_workqueue, destroy_workqueue",
		    "reported, from its own item", item_that_waits_for_its_queue_is_reported),
		ROW("drain_workqueue, flush_workqueue", "what items queue is waited for",
		    drain_workqueue_waits_for_what_items_queue),
		ROW("flush_scheduled_work, flush_workqueue", "system queues too",
		    system_queues_can_be_flushed_but_not_ended),
		ROW("HZ, jiffies, msecs_to_jiffies, usecs_to_jiffies, jiffies_to_msecs, "
		    "time_after, time_after_eq, time_before, time_before_eq, MAX_JIFFY_OFFSET",
		    "a jiffy is a millisecond; rounded up", times_become_jiffies_rounded_up),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
