/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's names for items: made and queued, and what they ask of their worker; and for
 * calling functions.  The table at the end has a row for each.
 */
#include "kernel.h"
#include "shot.h"

#include <signal.h>

static struct workqueue_struct *wq, *ordered, *plugged;

static int setup(void **state)
{
	reports_begin();
	wq = alloc_workqueue("items", WQ_UNBOUND, 0);
	ordered = alloc_ordered_workqueue("ordered", 0);
	plugged = alloc_workqueue("plugged", WQ_UNBOUND, 0);
	return wq && ordered && plugged && !wq_plug(wq_from_linux(plugged)) ? 0 : -1;
}

static int teardown(void **state)
{
	destroy_workqueue(wq);
	destroy_workqueue(ordered);
	destroy_workqueue(plugged);
	return no_report_is_left(state);
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

/* --- making items --- */

static unsigned long runs_a, runs_b;

static void run_a(struct work_struct *work)
{
	count_up(&runs_a);
}

static void run_b(struct work_struct *work)
{
	count_up(&runs_b);
}

static void item_runs_the_function_that_it_has_when_it_starts(void **state)
{
	struct work_struct work;

	runs_a = runs_b = 0;
	INIT_WORK(&work, run_a);
	assert_ptr_equal(work.func, run_a);
	assert_true(queue_work(wq, &work));
	flush_work(&work);
	assert_int_equal(runs_a, 1);
	work.func = run_b;
	assert_true(queue_work(wq, &work));
	flush_work(&work);
	assert_int_equal(runs_a, 1);
	assert_int_equal(runs_b, 1);
}

static void item_is_found_from_its_embedded_part(void **state)
{
	struct rcu_work rwork;
	struct job job;

	/* Its functions use from_work(), and to_delayed_work() with container_of(). */
	job_init(&job);
	assert_true(queue_work(wq, &job.work));
	job_wait(&job, 1);
	assert_ptr_equal(job.current, &job.work);
	assert_true(queue_delayed_work(wq, &job.dwork, 1));
	job_wait(&job, 2);
	assert_ptr_equal(job.current, &job.dwork.work);
	assert_ptr_equal(to_delayed_work(&job.dwork.work), &job.dwork);
	assert_ptr_equal(to_rcu_work(&rwork.work), &rwork);
	assert_null(current_work());
}

static DECLARE_WORK(static_work, run_a);
static DECLARE_DELAYED_WORK(static_dwork, run_a);
static DECLARE_DEFERRABLE_WORK(static_deferrable, run_a);
static struct {
	struct work_struct work;
	struct delayed_work dwork;
} embedding = {
	.work = __WORK_INITIALIZER(embedding.work, run_a),
	.dwork = __DELAYED_WORK_INITIALIZER(embedding.dwork, run_a, 0),
};

static void declared_items_are_as_initialised_ones(void **state)
{
	struct delayed_work dwork;
	struct work_struct work;

	memset(&work, 0, sizeof(work));
	memset(&dwork, 0, sizeof(dwork));
	INIT_WORK(&work, run_a);
	assert_memory_equal(&work, &static_work, sizeof(work));
	assert_memory_equal(&work, &embedding.work, sizeof(work));
	INIT_DELAYED_WORK(&dwork, run_a);
	assert_memory_equal(&dwork, &static_dwork, sizeof(dwork));
	assert_memory_equal(&dwork, &embedding.dwork, sizeof(dwork));
	INIT_DEFERRABLE_WORK(&dwork, run_a);
	assert_memory_equal(&dwork, &static_deferrable, sizeof(dwork));
	INIT_DEFERRABLE_WORK_ONSTACK(&dwork, run_a);
	assert_memory_equal(&dwork, &static_deferrable, sizeof(dwork));
	runs_a = 0;
	assert_true(queue_work(wq, &static_work));
	assert_true(queue_delayed_work(wq, &static_dwork, HZ));
	assert_true(queue_delayed_work(wq, &static_deferrable, HZ));
	flush_work(&static_work);
	flush_delayed_work(&static_dwork);
	flush_delayed_work(&static_deferrable);
	assert_int_equal(runs_a, 3);
}

static void items_on_the_stack_run_and_end(void **state)
{
	struct delayed_work dwork;
	struct work_struct work;

	runs_a = 0;
	INIT_WORK_ONSTACK(&work, run_a);
	INIT_DELAYED_WORK_ONSTACK(&dwork, run_a);
	assert_true(queue_work(wq, &work));
	assert_true(queue_delayed_work(wq, &dwork, 1));
	flush_work(&work);
	flush_delayed_work(&dwork);
	destroy_work_on_stack(&work);
	destroy_delayed_work_on_stack(&dwork);
	assert_int_equal(runs_a, 2);
	assert_int_equal(work_busy(&work) | work_busy(&dwork.work), 0);
}

static void items_take_native_calls_too(void **state)
{
	struct wq *native = wq_from_linux(wq);
	struct job job;

	assert_ptr_equal(wq_to_linux(native), wq);
	job_init(&job);
	assert_int_equal(wq_queue(native, &job.work.wq_item), 1);
	assert_int_equal(wq_flush(native), 0);
	job_wait(&job, 1);
	assert_int_equal(wq_queue_delayed(native, &job.dwork.wq_item, 1), 1);
	job_wait(&job, 2);
	assert_ptr_equal(job.where.wq, native);
}

/* --- queueing --- */

static void queue_work_is_false_where_a_run_is_to_come_or_it_is_disabled(void **state)
{
	struct job gate, job;

	gate_begin_job(&gate);
	job_init(&job);
	assert_true(queue_work(ordered, &job.work));
	assert_false(queue_work(ordered, &job.work));
	assert_false(queue_work(wq, &job.work));
	/* Running is not pending. */
	assert_true(queue_work(ordered, &gate.work));
	assert_true(cancel_work(&gate.work));
	gate_end_job(&gate);
	job_wait(&job, 1);
	assert_false(disable_work(&job.work));
	assert_false(queue_work(wq, &job.work));
	assert_true(enable_work(&job.work));
	assert_true(queue_work(wq, &job.work));
	job_wait(&job, 2);
}

static void queue_work_on_runs_there_or_anywhere(void **state)
{
	struct workqueue_struct *percpu = alloc_workqueue("percpu", WQ_PERCPU, 0);
	struct job job;
	unsigned i;

	job_init(&job);
	for (i = 0; i < nr_usable_cpus(); i++) {
		assert_true(queue_work_on(usable_cpu(i), percpu, &job.work));
		job_wait(&job, i + 1);
		/* Where CPUs are pretended nothing is pinned. */
		if (!getenv("WQ_TOPOLOGY"))
			assert_int_equal(job.where.cpu, usable_cpu(i));
	}
	assert_true(queue_work_on(WORK_CPU_UNBOUND, percpu, &job.work));
	job_wait(&job, i + 1);
	assert_true(queue_work_on(WQ_MAX_CPUS - 1, percpu, &job.work));
	job_wait(&job, i + 2);
	destroy_workqueue(percpu);
}

static void queue_work_node_runs_there_or_anywhere(void **state)
{
	static const int nodes[] = {0, NUMA_NO_NODE, WQ_MAX_NODES - 1};
	struct job job;
	unsigned i;

	job_init(&job);
	for (i = 0; i < ARRAY_SIZE(nodes); i++) {
		assert_true(queue_work_node(nodes[i], wq, &job.work));
		job_wait(&job, i + 1);
	}
}

static void queue_delayed_work_waits_for_its_jiffies(void **state)
{
	unsigned long before = jiffies;
	struct job job;

	job_init(&job);
	assert_true(queue_delayed_work(wq, &job.dwork, 3));
	latch_wait(&job.ended, 1);
	assert_true(time_after_eq(jiffies, before + 3));
	assert_true(queue_delayed_work(wq, &job.dwork, HZ * 3600ul));
	assert_false(queue_delayed_work(wq, &job.dwork, 0));
	assert_false(queue_delayed_work_on(usable_cpu(0), wq, &job.dwork, 0));
	assert_true(cancel_delayed_work(&job.dwork));
	/* No delay: at once, and where it was said. */
	assert_true(queue_delayed_work_on(usable_cpu(0), wq, &job.dwork, 0));
	job_wait(&job, 2);
	assert_true(queue_delayed_work_on(WORK_CPU_UNBOUND, wq, &job.dwork, ULONG_MAX));
	assert_true(delayed_work_pending(&job.dwork));
	assert_int_equal(wq_delayed_work_expires_ns(&job.dwork.wq_item), UINT64_MAX);
	assert_true(cancel_delayed_work_sync(&job.dwork));
}

static void mod_delayed_work_is_true_where_it_was_pending(void **state)
{
	struct job job;

	job_init(&job);
	assert_false(mod_delayed_work(wq, &job.dwork, HZ * 3600ul));
	assert_true(mod_delayed_work(wq, &job.dwork, HZ * 1800ul));
	assert_true(mod_delayed_work_on(usable_cpu(0), wq, &job.dwork, HZ * 900ul));
	assert_true(mod_delayed_work_on(WORK_CPU_UNBOUND, wq, &job.dwork, 0));
	job_wait(&job, 1);
	assert_false(disable_delayed_work(&job.dwork));
	assert_false(mod_delayed_work(wq, &job.dwork, 0));
	assert_false(delayed_work_pending(&job.dwork));
	assert_true(enable_delayed_work(&job.dwork));
}

static void schedule_uses_the_per_cpu_system_queue(void **state)
{
	int cpu = usable_cpu(0);
	struct job job;
	unsigned i;

	job_init(&job);
	for (i = 1; i <= 4; i++) {
		if (i < 3)
			assert_true(i == 1 ? schedule_work(&job.work)
					   : schedule_work_on(cpu, &job.work));
		else
			assert_true(i == 3 ? schedule_delayed_work(&job.dwork, 1)
					   : schedule_delayed_work_on(cpu, &job.dwork, 1));
		job_wait(&job, i);
		assert_ptr_equal(job.where.wq, wq_system_percpu());
	}
}

/* In Linux it would be true, and no run would follow. */
static void queue_that_refuses_answers_false_and_says_so_once(void **state)
{
	struct workqueue_struct *draining = alloc_ordered_workqueue("draining", 0);
	struct waiting drain;
	struct job gate, job;

	job_init(&job);
	assert_false(queue_work(plugged, &job.work));
	assert_int_equal(reports_taken(), 1);
	assert_non_null(strstr(report_last, "draining"));
	assert_false(queue_work(plugged, &job.work));
	job_init_gate(&gate);
	assert_true(queue_work(draining, &gate.work));
	latch_wait(&gate.started, 1);
	waiting_begin(&drain, wq_from_linux(draining), wq_drain);
	assert_false(queue_work(draining, &job.work));
	assert_false(queue_delayed_work(draining, &job.dwork, 0));
	latch_post(&gate.open);
	waiting_end(&drain);
	destroy_workqueue(draining);
	assert_int_equal(job.runs, 0);
	assert_int_equal(reports_taken(), 0);
	assert_false(queue_work(NULL, &job.work));
	assert_false(queue_work_on(-1, wq, &job.work));
	assert_int_equal(reports_taken(), 1);
	INIT_WORK(&job.work, NULL);
	assert_false(queue_work(wq, &job.work));
	assert_int_equal(reports_taken(), 0);
}

/* --- from a signal handler --- */

static struct job signalled;
static unsigned long handler_answers;

static void handler(int signo)
{
	handler_answers = queue_work(wq, &signalled.work);
	handler_answers += queue_delayed_work(wq, &signalled.dwork, HZ * 3600ul);
	handler_answers += delayed_work_pending(&signalled.dwork);
	handler_answers += cancel_delayed_work(&signalled.dwork);
}

static void signal_handler_queues_and_cancels(void **state)
{
	struct sigaction action = {.sa_handler = handler}, before;

	job_init(&signalled);
	sigemptyset(&action.sa_mask);
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	raise(SIGUSR1);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	assert_int_equal(handler_answers, 4);
	job_wait(&signalled, 1);
}

/* --- functions --- */

static unsigned long each_runs, each_items;

static void each_fn(struct work_struct *work)
{
	count_up(&each_runs);
	if (work && work->func == each_fn && !work_pending(work))
		count_up(&each_items);
}

static void each_native(void *ctx)
{
	count_up((unsigned long *)ctx);
}

static void schedule_on_each_cpu_calls_it_on_each(void **state)
{
	unsigned long cpus = 0;

	assert_int_equal(wq_run_on_each_cpu(each_native, &cpus), 0);
	assert_int_equal(schedule_on_each_cpu(each_fn), 0);
	assert_int_equal(each_runs, cpus);
	assert_int_equal(each_items, each_runs);
	assert_int_equal(schedule_on_each_cpu(NULL), -EINVAL);
}

static long where_am_i(void *arg)
{
	struct where *where = arg;

	where_note(where);
	return -12345;
}

static void work_on_cpu_answers_what_the_function_does(void **state)
{
	struct where where;

	where_init(&where, NULL);
	assert_int_equal(work_on_cpu(usable_cpu(0), where_am_i, &where), -12345);
	assert_int_equal(where.runs, 1);
	assert_ptr_equal(where.wq, wq_system_percpu());
	assert_int_equal(work_on_cpu(WQ_MAX_CPUS - 1, where_am_i, &where), -ENODEV);
	assert_int_equal(work_on_cpu(-1, where_am_i, &where), -EINVAL);
	assert_int_equal(work_on_cpu(usable_cpu(0), NULL, NULL), -EINVAL);
	assert_int_equal(where.runs, 1);
}

struct process_context {
	struct execute_work ew;
	struct work_struct work;
	struct latch ended;
	struct wq *wq;
	int ret;
};

static void in_process_fn(struct work_struct *work)
{
	struct process_context *context = container_of(work, struct process_context, ew.work);

	context->wq = wq_current_wq();
	latch_post(&context->ended);
}

static void not_in_process_fn(struct work_struct *work)
{
	struct process_context *context = from_work(context, work, work);

	context->ret = execute_in_process_context(in_process_fn, &context->ew);
}

static void execute_in_process_context_schedules_from_bh(void **state)
{
	struct process_context context = {.ret = -1};

	latch_init(&context.ended);
	assert_int_equal(execute_in_process_context(in_process_fn, &context.ew), 0);
	assert_int_equal(latch_count(&context.ended), 1);
	assert_null(context.wq);
	INIT_WORK(&context.work, not_in_process_fn);
	assert_true(queue_work(system_dfl_wq, &context.work));
	flush_work(&context.work);
	assert_int_equal(context.ret, 0);
	assert_ptr_equal(context.wq, wq_system());
	assert_true(queue_work(system_bh_wq, &context.work));
	flush_work(&context.work);
	assert_int_equal(context.ret, 1);
	latch_wait(&context.ended, 3);
	flush_work(&context.ew.work);
	assert_ptr_equal(context.wq, wq_system_percpu());
}

static void described_fn(struct work_struct *work)
{
	set_worker_desc("item %d", 7);
}

/* Nobody shows it yet; it must not disturb an item, nor who is none. */
static void set_worker_desc_is_for_items(void **state)
{
	struct work_struct work;

	errno = 0;
	set_worker_desc("not an item");
	assert_int_equal(errno, 0);
	INIT_WORK(&work, described_fn);
	assert_true(queue_work(wq, &work));
	flush_work(&work);
	assert_int_equal(work_busy(&work), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW("work_struct, work_func_t, INIT_WORK", "calls func as it is at the start",
		    item_runs_the_function_that_it_has_when_it_starts),
		ROW("delayed_work, rcu_work, INIT_DELAYED_WORK, from_work, container_of, "
		    "to_delayed_work, to_rcu_work, current_work",
		    "find each other", item_is_found_from_its_embedded_part),
		ROW("DECLARE_WORK, DECLARE_DELAYED_WORK, DECLARE_DEFERRABLE_WORK, "
		    "INIT_DEFERRABLE_WORK, INIT_DEFERRABLE_WORK_ONSTACK, __WORK_INITIALIZER, "
		    "__DELAYED_WORK_INITIALIZER",
		    "as INIT_WORK and INIT_DELAYED_WORK", declared_items_are_as_initialised_ones),
		ROW("INIT_WORK_ONSTACK, INIT_DELAYED_WORK_ONSTACK, destroy_work_on_stack, "
		    "destroy_delayed_work_on_stack",
		    "items on the stack", items_on_the_stack_run_and_end),
		ROW("wq_from_linux, wq_to_linux", "the same queues and items",
		    items_take_native_calls_too),
		ROW("queue_work", "false: pending, or disabled",
		    queue_work_is_false_where_a_run_is_to_come_or_it_is_disabled),
		ROW("queue_work_on, WORK_CPU_UNBOUND", "there; an offline CPU: any",
		    queue_work_on_runs_there_or_anywhere),
		ROW("queue_work_node, NUMA_NO_NODE", "there; none: any",
		    queue_work_node_runs_there_or_anywhere),
		ROW("queue_delayed_work, queue_delayed_work_on",
		    "jiffies, 0: at once; false: pending, or disabled",
		    queue_delayed_work_waits_for_its_jiffies),
		ROW("mod_delayed_work, mod_delayed_work_on", "true: was pending",
		    mod_delayed_work_is_true_where_it_was_pending),
		ROW("schedule_work, schedule_work_on, schedule_delayed_work, "
		    "schedule_delayed_work_on",
		    "on system_wq", schedule_uses_the_per_cpu_system_queue),
		ROW("queue_work", "false, and reported: refused",
		    queue_that_refuses_answers_false_and_says_so_once),
		ROW("queue_work, queue_delayed_work, cancel_delayed_work", "from a signal handler",
		    signal_handler_queues_and_cancels),
		ROW("schedule_on_each_cpu", "an item for each CPU",
		    schedule_on_each_cpu_calls_it_on_each),
		ROW("work_on_cpu", "the function's result",
		    work_on_cpu_answers_what_the_function_does),
		ROW("execute_in_process_context, execute_work", "0 called, 1 scheduled",
		    execute_in_process_context_schedules_from_bh),
		ROW("set_worker_desc", "in items, and harmless outside",
		    set_worker_desc_is_for_items),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
