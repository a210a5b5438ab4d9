/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The item's calls, one by one, bad input included. */
#include "support.h"

#include <sched.h>
#include <signal.h>
#include <time.h>

static struct wq *wq;

static int setup(void **state)
{
	wq = wq_alloc("test", 0, 0);
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

static void nop(struct wq_work *work, void *ctx)
{
}

static void init_and_initialiser_agree(void **state)
{
	struct wq_work a = WQ_WORK_INIT(nop, &a), b;

	wq_work_init(&b, nop, &a);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_true(sizeof(struct wq_work) <= 40);
}

static void null_and_zeroed_items_are_refused(void **state)
{
	struct wq_work zeroed;

	memset(&zeroed, 0, sizeof(zeroed));
	assert_int_equal(wq_queue(wq, NULL), -EINVAL);
	assert_int_equal(wq_queue(NULL, &zeroed), -EINVAL);
	assert_int_equal(wq_queue(wq, &zeroed), -EINVAL);
	assert_int_equal(wq_queue_on(wq, &zeroed, 0), -EINVAL);
	assert_int_equal(wq_work_flush(NULL), -EINVAL);
	assert_int_equal(wq_work_flush(&zeroed), -EINVAL);
	assert_int_equal(wq_work_cancel(NULL), -EINVAL);
	assert_int_equal(wq_work_cancel(&zeroed), -EINVAL);
	assert_int_equal(wq_work_cancel_sync(NULL), -EINVAL);
	assert_int_equal(wq_work_cancel_sync(&zeroed), -EINVAL);
	assert_int_equal(wq_schedule(NULL), -EINVAL);
	assert_false(wq_work_pending(NULL));
	assert_int_equal(wq_work_busy(NULL), 0);
}

static void item_without_function_is_refused(void **state)
{
	struct wq_work work;

	wq_work_init(&work, NULL, NULL);
	assert_int_equal(wq_queue(wq, &work), -EINVAL);
}

static void idle_item_answers_idle(void **state)
{
	struct wq_work work = WQ_WORK_INIT(nop, NULL);

	assert_int_equal(wq_work_busy(&work), 0);
	assert_false(wq_work_pending(&work));
	assert_int_equal(wq_work_flush(&work), 0);
	assert_int_equal(wq_work_cancel(&work), 0);
	assert_int_equal(wq_work_cancel_sync(&work), 0);
	assert_int_equal(wq_work_busy(&work), 0);
}

static void context_is_handed_over(void **state)
{
	struct probe probe;

	probe_init(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	latch_wait(&probe.ended, 1);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 1);
}

static void busy_tells_running_and_pending(void **state)
{
	struct probe probe;

	probe_init_gate(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	latch_wait(&probe.started, 1);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_RUNNING);
	assert_false(wq_work_pending(&probe.work));
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_int_equal(wq_queue(wq, &probe.work), 0);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_RUNNING | WQ_BUSY_PENDING);
	latch_post(&probe.open);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 2);
	assert_int_equal(wq_work_busy(&probe.work), 0);
}

/* Fill an ordered queue with a gate, so that what follows stays pending. */
struct blocked_queue {
	struct wq *wq;
	struct probe gate;
};

static void block_queue(struct blocked_queue *b)
{
	b->wq = wq_alloc("blocked", WQ_ORDERED, 0);
	assert_non_null(b->wq);
	probe_init_gate(&b->gate);
	assert_int_equal(wq_queue(b->wq, &b->gate.work), 1);
	latch_wait(&b->gate.started, 1);
}

static void unblock_queue(struct blocked_queue *b)
{
	latch_post(&b->gate.open);
	assert_int_equal(wq_destroy(b->wq), 0);
}

static void cancel_pending_item_takes_it_back(void **state)
{
	struct blocked_queue b;
	struct probe probe;

	block_queue(&b);
	probe_init(&probe);
	assert_int_equal(wq_queue(b.wq, &probe.work), 1);
	assert_true(wq_work_pending(&probe.work));
	assert_int_equal(wq_work_cancel(&probe.work), 1);
	assert_false(wq_work_pending(&probe.work));
	assert_int_equal(wq_work_cancel(&probe.work), 0);
	assert_int_equal(wq_queue(b.wq, &probe.work), 1);
	assert_int_equal(wq_work_cancel_sync(&probe.work), 1);
	unblock_queue(&b);
	assert_int_equal(probe.runs, 0);
}

static void cancel_running_item_does_not_wait(void **state)
{
	struct probe probe;

	probe_init_gate(&probe);
	wq_queue(wq, &probe.work);
	latch_wait(&probe.started, 1);
	assert_int_equal(wq_work_cancel(&probe.work), 0);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_RUNNING);
	latch_post(&probe.open);
	wq_work_flush(&probe.work);
}

static void open_gate(void *ctx, unsigned index)
{
	struct probe *probe = ctx;

	/* A canceller is in its call, and has taken back what was pending. */
	while (wq_work_busy(&probe->work) != (WQ_BUSY_RUNNING | WQ_BUSY_CANCELING))
		sched_yield();
	latch_post(&probe->open);
}

static void *open_gate_thread(void *ctx)
{
	open_gate(ctx, 0);
	return NULL;
}

static void cancel_sync_running_item_waits(void **state)
{
	struct probe probe;
	pthread_t thread;

	probe_init_gate(&probe);
	wq_queue(wq, &probe.work);
	latch_wait(&probe.started, 1);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	pthread_create(&thread, NULL, open_gate_thread, &probe);
	assert_int_equal(wq_work_cancel_sync(&probe.work), 1);
	assert_int_equal(wq_work_busy(&probe.work), 0);
	assert_int_equal(probe.ended.count, 1);
	pthread_join(thread, NULL);
	assert_int_equal(probe.runs, 1);
}

static void cancel_sync_caller(void *ctx, unsigned index)
{
	struct probe *probe = ctx;

	if (index == 0)
		open_gate(ctx, index);
	else
		wq_work_cancel_sync(&probe->work);
}

static void cancel_sync_of_several_callers_all_return(void **state)
{
	unsigned long i, rounds = scaled(200);
	struct probe probe;

	for (i = 0; i < rounds; i++) {
		probe_init_gate(&probe);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		latch_wait(&probe.started, 1);
		wq_queue(wq, &probe.work);
		run_threads(5, cancel_sync_caller, &probe);
		assert_int_equal(wq_work_busy(&probe.work), 0);
		assert_int_equal(probe.runs, 1);
	}
}

struct self_call {
	struct wq_work work;
	int (*call)(struct wq_work *work);
	int ret, requeue;
	unsigned runs;
};

static void self_call_fn(struct wq_work *work, void *ctx)
{
	struct self_call *self = ctx;

	if (!self->runs++)
		self->requeue = wq_queue(wq, work);
	self->ret = self->call(work);
}

static void flush_of_itself_answers_edeadlk(void **state)
{
	struct self_call self = {.call = wq_work_flush};

	wq_work_init(&self.work, self_call_fn, &self);
	wq_queue(wq, &self.work);
	while (wq_work_flush(&self.work))
		;
	assert_int_equal(self.ret, -EDEADLK);
	assert_int_equal(self.requeue, 1);
	assert_int_equal(self.runs, 2);
}

static void cancel_sync_of_itself_cancels_and_answers_edeadlk(void **state)
{
	struct self_call self = {.call = wq_work_cancel_sync};

	wq_work_init(&self.work, self_call_fn, &self);
	wq_queue(wq, &self.work);
	wq_work_flush(&self.work);
	assert_int_equal(self.ret, -EDEADLK);
	assert_int_equal(self.requeue, 1);
	assert_int_equal(self.runs, 1);
	assert_int_equal(wq_work_busy(&self.work), 0);
}

struct behind {
	struct wq_work first, second;
	struct wq *wq;
	struct latch open;
	int ret;
};

static void behind_fn(struct wq_work *work, void *ctx)
{
	struct behind *b = ctx;

	latch_wait(&b->open, 1);
	b->ret = wq_work_flush(&b->second);
}

static void flush_of_an_item_behind_oneself_answers_edeadlk(void **state)
{
	struct behind b = {.wq = wq_alloc("ordered", WQ_ORDERED, 0)};

	latch_init(&b.open);
	wq_work_init(&b.first, behind_fn, &b);
	wq_work_init(&b.second, nop, NULL);
	wq_queue(b.wq, &b.first);
	wq_queue(b.wq, &b.second);
	latch_post(&b.open);
	wq_destroy(b.wq);
	assert_int_equal(b.ret, -EDEADLK);
}

static void *cancel_thread(void *ctx)
{
	struct probe *probe = ctx;

	wq_work_cancel(&probe->work);
	return NULL;
}

static void flush_of_a_cancelled_item_returns(void **state)
{
	struct blocked_queue b;
	struct probe probe;
	pthread_t thread;
	int ret;

	block_queue(&b);
	probe_init(&probe);
	wq_queue(b.wq, &probe.work);
	pthread_create(&thread, NULL, cancel_thread, &probe);
	ret = wq_work_flush(&probe.work);
	assert_true(ret == 0 || ret == 1);
	pthread_join(thread, NULL);
	unblock_queue(&b);
	assert_int_equal(probe.runs, 0);
}

static struct wq_work handler_work;
static int handler_ret;

static void handler(int sig)
{
	handler_ret = wq_work_cancel(&handler_work) + 10 * wq_queue(wq, &handler_work);
}

static void signal_handler_cancels_and_queues(void **state)
{
	struct sigaction action = {.sa_handler = handler}, before;

	wq_work_init(&handler_work, nop, NULL);
	sigaction(SIGUSR1, &action, &before);
	pthread_kill(pthread_self(), SIGUSR1);
	sigaction(SIGUSR1, &before, NULL);
	assert_int_equal(handler_ret, 10);
	wq_work_flush(&handler_work);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_and_initialiser_agree),
		cmocka_unit_test(null_and_zeroed_items_are_refused),
		cmocka_unit_test(item_without_function_is_refused),
		cmocka_unit_test(idle_item_answers_idle),
		cmocka_unit_test(context_is_handed_over),
		cmocka_unit_test(busy_tells_running_and_pending),
		cmocka_unit_test(cancel_pending_item_takes_it_back),
		cmocka_unit_test(cancel_running_item_does_not_wait),
		cmocka_unit_test(cancel_sync_running_item_waits),
		cmocka_unit_test(cancel_sync_of_several_callers_all_return),
		cmocka_unit_test(flush_of_itself_answers_edeadlk),
		cmocka_unit_test(cancel_sync_of_itself_cancels_and_answers_edeadlk),
		cmocka_unit_test(flush_of_an_item_behind_oneself_answers_edeadlk),
		cmocka_unit_test(flush_of_a_cancelled_item_returns),
		cmocka_unit_test(signal_handler_cancels_and_queues),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
