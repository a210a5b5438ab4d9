/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DragonOS's model of a workqueue, as the README maps it: shared closures of which each
 * enqueueing is one run, a queue that is one thread, a queue "events" that all share; and
 * what DragonOS has yet to build: pools, per-CPU queues, delays.
 */
#include "process.h"

#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#define MS UINT64_C(1000000)

/* Work::new(Fn): a closure, its captures, and their end. */
struct model {
	unsigned long runs, wrong, destroyed, runs_then;
	struct latch ran, gone;
	pid_t thread;
	char name[16];
	int cpu;
};

static void model_fn(void *ctx)
{
	struct model *m = ctx;

	if (count_get(&m->destroyed))
		count_up(&m->wrong);
	count_up(&m->runs);
	latch_post(&m->ran);
}

static void model_destroy(void *ctx)
{
	struct model *m = ctx;

	m->runs_then = count_get(&m->runs);
	count_up(&m->destroyed);
	latch_post(&m->gone);
}

static struct wq_closure *work_new(struct model *m, wq_call_fn fn)
{
	struct wq_closure *work;

	memset(m, 0, sizeof(*m));
	latch_init(&m->ran);
	latch_init(&m->gone);
	work = wq_closure_new(fn, m, model_destroy);
	assert_non_null(work);
	return work;
}

/* --- what there is --- */

/* WorkQueue::new(name), queue.enqueue(work.clone()) */
static void same_work_enqueued_n_times_runs_n_times(void **state)
{
	struct wq *queue = wq_alloc("one-thread", WQ_DEDICATED, 0);
	unsigned long i, nr = scaled(1000);
	struct wq_closure *work;
	struct model m;

	work = work_new(&m, model_fn);
	for (i = 0; i < nr; i++)
		assert_int_equal(wq_enqueue(queue, work), 1);
	/* drop(work): the runs that wait have clones. */
	wq_closure_put(work);
	assert_int_equal(wq_destroy(queue), 0);
	assert_int_equal(m.runs, nr);
	assert_int_equal(m.wrong, 0);
	assert_int_equal(m.destroyed, 1);
	assert_int_equal(m.runs_then, nr);
}

static struct wq_closure *works[3];
static unsigned long order[64], nr_ordered;

static void order_fn(void *ctx)
{
	struct model *m = ctx;

	if (m->thread && m->thread != gettid())
		m->wrong++;
	m->thread = gettid();
	prctl(PR_GET_NAME, m->name);
	m->runs++;
	order[nr_ordered++] = (unsigned long)m->cpu;
}

/* No lock and no atomic: there is one thread. */
static void queue_is_one_thread_and_first_in_first_out(void **state)
{
	struct wq *queue = wq_alloc("disk", WQ_DEDICATED, 0);
	struct model m[3];
	unsigned i;

	nr_ordered = 0;
	for (i = 0; i < 3; i++) {
		works[i] = work_new(&m[i], order_fn);
		m[i].cpu = (int)i;
	}
	for (i = 0; i < 60; i++)
		assert_int_equal(wq_enqueue(queue, works[i * i % 3]), 1);
	for (i = 0; i < 3; i++)
		wq_closure_put(works[i]);
	assert_int_equal(wq_destroy(queue), 0);
	assert_int_equal(nr_ordered, 60);
	for (i = 0; i < 60; i++)
		assert_int_equal(order[i], i * i % 3);
	assert_int_equal(m[0].thread, m[1].thread);
	assert_string_equal(m[0].name, "wq/disk");
	assert_int_equal(m[0].wrong + m[1].wrong, 0);
	/* Of i * i % 3 there is no 2. */
	assert_int_equal(m[2].runs, 0);
	assert_int_equal(m[0].destroyed + m[1].destroyed + m[2].destroyed, 3);
}

struct chain {
	struct wq *queue;
	struct wq_closure *work;
	unsigned long left, wrong;
};

static void chain_fn(void *ctx)
{
	struct chain *chain = ctx;

	if (chain->left && chain->left-- && wq_enqueue(chain->queue, chain->work) != 1)
		chain->wrong++;
}

/* A closure that holds a clone of itself, and of the queue. */
static void work_may_enqueue_itself(void **state)
{
	struct chain chain = {.queue = wq_alloc("itself", WQ_DEDICATED, 0), .left = scaled(500)};

	chain.work = wq_closure_new(chain_fn, &chain, NULL);
	assert_int_equal(wq_enqueue(chain.queue, chain.work), 1);
	assert_int_equal(wq_drain(chain.queue), 0);
	assert_int_equal(chain.left, 0);
	assert_int_equal(chain.wrong, 0);
	wq_closure_put(chain.work);
	assert_int_equal(wq_destroy(chain.queue), 0);
}

/* schedule_work(work), on SYSTEM_WQ */
static void work_is_scheduled_on_the_queue_that_all_share(void **state)
{
	struct wq_closure *work;
	struct model m;
	unsigned i;

	work = work_new(&m, model_fn);
	for (i = 0; i < 10; i++)
		assert_int_equal(wq_enqueue(wq_system(), work), 1);
	wq_closure_put(work);
	latch_wait(&m.gone, 1);
	assert_int_equal(m.runs_then, 10);
	assert_int_equal(m.wrong, 0);
}

/* --- what is to come there --- */

struct meeting {
	struct latch here, all;
};

static void meet_fn(void *ctx)
{
	struct meeting *meeting = ctx;

	latch_post(&meeting->here);
	latch_wait(&meeting->all, 1);
}

/* A pool of workers: runs, of one work also, wait for each other. */
static void pool_runs_several_at_once(void **state)
{
	struct wq *queue = wq_alloc("pool", 0, 0);
	struct wq_closure *work;
	struct meeting meeting;
	unsigned i;

	latch_init(&meeting.here);
	latch_init(&meeting.all);
	work = wq_closure_new(meet_fn, &meeting, NULL);
	for (i = 0; i < 4; i++)
		assert_int_equal(wq_enqueue(queue, work), 1);
	latch_wait(&meeting.here, 4);
	latch_post(&meeting.all);
	wq_closure_put(work);
	assert_int_equal(wq_destroy(queue), 0);
}

static void cpu_fn(void *ctx)
{
	struct model *m = ctx;

	m->cpu = sched_getcpu();
	model_fn(ctx);
}

struct from_cpu {
	struct wq *queue;
	struct wq_closure *work;
	int answer, cpu;
};

static void enqueue_here(void *ctx)
{
	struct from_cpu *from = ctx;

	from->cpu = sched_getcpu();
	from->answer = wq_enqueue(from->queue, from->work);
}

/* Per-CPU queues: a work runs where it is enqueued. */
static void per_cpu_queue_runs_work_where_it_is_enqueued(void **state)
{
	struct from_cpu from;
	struct model m;
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	from.queue = wq_alloc("per-cpu", WQ_PERCPU, 0);
	for (i = 0; i < 4 && (cpu = usable_cpu(i)) >= 0; i++) {
		from.work = work_new(&m, cpu_fn);
		assert_int_equal(wq_run_on(cpu, enqueue_here, &from), 0);
		wq_closure_put(from.work);
		latch_wait(&m.gone, 1);
		assert_int_equal(from.answer, 1);
		assert_int_equal(from.cpu, cpu);
		assert_int_equal(m.cpu, cpu);
	}
	assert_int_equal(wq_destroy(from.queue), 0);
}

/* --- delayed --- */

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_DEDICATED};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static uint64_t due_ns;

static void due_fn(void *ctx)
{
	struct model *m = ctx;

	if (now_ns() < due_ns)
		count_up(&m->wrong);
	model_fn(ctx);
}

/* Each one run, all of the same work, and none before its time. */
static void delayed_work_runs_once_for_each_enqueueing(void **state)
{
	unsigned long i, nr = scaled(300);
	struct wq_closure *work;
	struct wq *queue;
	struct model m;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		queue = wq_alloc("delayed", kinds[k], 0);
		work = work_new(&m, due_fn);
		due_ns = now_ns() + MS;
		for (i = 0; i < nr; i++)
			assert_int_equal(wq_enqueue_after(queue, MS + i % 7 * 1000, work), 1);
		wq_closure_put(work);
		latch_wait(&m.gone, 1);
		assert_int_equal(wq_destroy(queue), 0);
		assert_int_equal(m.runs, nr);
		assert_int_equal(m.runs_then, nr);
		assert_int_equal(m.wrong, 0);
	}
}

static void delay_of_0_enqueues_at_once(void **state)
{
	struct wq *queue = wq_alloc("at-once", WQ_DEDICATED, 0);
	struct wq_closure *work;
	struct model m;

	work = work_new(&m, model_fn);
	assert_int_equal(wq_enqueue_after(queue, 0, work), 1);
	/* It is queued, not armed. */
	assert_int_equal(wq_destroy(queue), 0);
	assert_int_equal(m.runs, 1);
	wq_closure_put(work);
	assert_int_equal(m.destroyed, 1);
}

/* Until it is due a run holds the work, and the queue holds out. */
static void delayed_work_keeps_itself_and_its_queue(void **state)
{
	struct wq *queue = wq_alloc("keeps", 0, 0);
	struct wq_closure *work;
	struct model m;
	int ret;

	work = work_new(&m, model_fn);
	assert_int_equal(wq_plug(queue), 0);
	assert_int_equal(wq_enqueue_after(queue, 1, work), 1);
	wq_closure_put(work);
	assert_int_equal(wq_destroy(queue), -EBUSY);
	assert_int_equal(count_get(&m.destroyed), 0);
	assert_int_equal(count_get(&m.runs), 0);
	assert_int_equal(wq_unplug(queue), 0);
	latch_wait(&m.gone, 1);
	while ((ret = wq_destroy(queue)) == -EBUSY)
		sched_yield();
	assert_int_equal(ret, 0);
	assert_int_equal(m.runs_then, 1);
}

static void refused_enqueueing_holds_nothing(void **state)
{
	struct wq *queue = wq_alloc("refuses", 0, 0);
	struct wq_closure *work;
	struct model m;

	work = work_new(&m, model_fn);
	assert_int_equal(wq_enqueue_after(NULL, 1, work), -EINVAL);
	assert_int_equal(wq_enqueue_after(queue, 1, NULL), -EINVAL);
	assert_int_equal(wq_enqueue_after(NULL, 0, work), -EINVAL);
	assert_int_equal(wq_enqueue_after(queue, 0, NULL), -EINVAL);
	assert_int_equal(wq_plug(queue), 0);
	assert_int_equal(wq_enqueue_after(queue, 0, work), -ESHUTDOWN);
	assert_int_equal(wq_destroy(queue), 0);
	wq_closure_put(work);
	assert_int_equal(m.destroyed, 1);
	assert_int_equal(m.runs, 0);
}

static void exit_fn(void *ctx)
{
	model_fn(ctx);
	pthread_exit(NULL);
}

/* The run's reference goes with its thread, and its memory: leak checkers see to that. */
static void pthread_exit_in_delayed_work_ends_the_run(void **state)
{
	struct wq_closure *work;
	struct wq *queue;
	struct model m;
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		queue = wq_alloc("exit", kinds[k], 0);
		work = work_new(&m, exit_fn);
		for (i = 0; i < 5; i++)
			assert_int_equal(wq_enqueue_after(queue, 1 + i * 1000, work), 1);
		wq_closure_put(work);
		latch_wait(&m.gone, 1);
		assert_int_equal(wq_destroy(queue), 0);
		assert_int_equal(m.runs_then, 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_work_enqueued_n_times_runs_n_times),
		cmocka_unit_test(queue_is_one_thread_and_first_in_first_out),
		cmocka_unit_test(work_may_enqueue_itself),
		cmocka_unit_test(work_is_scheduled_on_the_queue_that_all_share),
		cmocka_unit_test(pool_runs_several_at_once),
		cmocka_unit_test(per_cpu_queue_runs_work_where_it_is_enqueued),
		cmocka_unit_test(delayed_work_runs_once_for_each_enqueueing),
		cmocka_unit_test(delay_of_0_enqueues_at_once),
		cmocka_unit_test(delayed_work_keeps_itself_and_its_queue),
		cmocka_unit_test(refused_enqueueing_holds_nothing),
		cmocka_unit_test(pthread_exit_in_delayed_work_ends_the_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
