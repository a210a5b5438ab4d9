/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interleavings of arming and cancelling, made to happen: threads that stop on their way
 * into a timer shard, and calls from within, as a signal handler makes them.
 */
#include "timed.h"

#include <sched.h>

static int begin(void **state)
{
	timed_begin();
	return 0;
}

static int end(void **state)
{
	timed_end();
	return 0;
}

/* It is idle, can be armed again and runs once then; the queue has nothing armed. */
static void assert_as_new(struct wq *wq, struct timed *timed)
{
	unsigned long runs = count_get(&timed->runs);

	assert_int_equal(wq_delayed_work_busy(&timed->dw), 0);
	assert_true(wq_delayed_work_expires_ns(&timed->dw) == 0);
	assert_int_equal(wq_queue_delayed(wq, &timed->dw, 1), 1);
	latch_wait(&timed->ended, runs + 1);
	assert_true(wq_delayed_work_flush(&timed->dw) >= 0);
	assert_int_equal(count_get(&timed->runs), runs + 1);
}

/* --- the lock is not to be had --- */

static void arm_while_the_lock_is_held_is_not_lost(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed first, others[3];
	struct caller holder = {.wq = wq, .timed = &first, .delay_ns = HOUR_NS};
	uint64_t word;
	unsigned i;

	timed_init(&first);
	caller_start(&holder, call_arm, "timer claimed");
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		timed_init(&others[i]);
		assert_int_equal(wq_queue_delayed(wq, &others[i].dw, HOUR_NS), 1);
		word = wqi_state(&others[i].dw.work);
		assert_true(word & WQI_ARMED && word & WQI_MOVING);
		assert_int_equal(wq_delayed_work_busy(&others[i].dw), WQ_BUSY_DELAYED);
		assert_int_equal(wq_queue_delayed(wq, &others[i].dw, 1), 0);
		assert_int_equal(wq_queue(wq, &others[i].dw.work), 0);
	}
	assert_int_equal(caller_finish(&holder), 1);
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		word = wqi_state(&others[i].dw.work);
		assert_true(word & WQI_ARMED && !(word & WQI_MOVING));
	}
	assert_int_equal(wq_destroy(wq), -EBUSY);
	assert_int_equal(wq_delayed_work_flush(&others[0].dw), 1);
	assert_int_equal(count_get(&others[0].runs), 1);
	for (i = 1; i < ARRAY_SIZE(others); i++)
		assert_int_equal(wq_delayed_work_cancel(&others[i].dw), 1);
	assert_int_equal(wq_delayed_work_cancel(&first.dw), 1);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		assert_as_new(wq, &others[i]);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- a signal handler, on the thread that holds the lock --- */

struct handler {
	struct wq *wq;
	struct timed *timed;
	uint64_t delay_ns;
	int ret, again;
};

static void handler_cancels(void *ctx)
{
	struct handler *handler = ctx;

	handler->ret = wq_delayed_work_cancel(&handler->timed->dw);
	handler->again = wq_delayed_work_cancel(&handler->timed->dw);
}

static void handler_arms(void *ctx)
{
	struct handler *handler = ctx;

	handler->ret = wq_queue_delayed(handler->wq, &handler->timed->dw, handler->delay_ns);
	handler->again = wq_queue_delayed(handler->wq, &handler->timed->dw, handler->delay_ns);
}

static void handler_cancels_the_item_that_is_being_armed(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct handler handler = {.timed = &timed};

	timed_init(&timed);
	interrupt_at("timer claimed", handler_cancels, &handler);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), 1);
	assert_int_equal(handler.ret, 1);
	assert_int_equal(handler.again, 0);
	assert_as_new(wq, &timed);
	assert_int_equal(wq_destroy(wq), 0);
}

static void handler_cancels_another(int cpu)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed, other;
	struct handler handler = {.timed = &other};

	timed_init(&timed);
	timed_init(&other);
	pin_to(cpu);
	assert_int_equal(wq_queue_delayed(wq, &other.dw, HOUR_NS), 1);
	pin_to(usable_cpu(0));
	interrupt_at("timer claimed", handler_cancels, &handler);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), 1);
	assert_int_equal(handler.ret, 1);
	assert_int_equal(handler.again, 0);
	assert_as_new(wq, &other);
	assert_int_equal(wq_destroy(wq), -EBUSY);
	assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
	assert_as_new(wq, &timed);
	assert_int_equal(wq_destroy(wq), 0);
}

static void handler_cancels_another_item_of_the_shard(void **state)
{
	handler_cancels_another(usable_cpu(0));
}

static void handler_cancels_an_item_of_another_shard(void **state)
{
	if (other_cpu() < 0)
		skip();
	handler_cancels_another(other_cpu());
}

static void handler_arms_another_item(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed, other;
	struct handler handler = {.wq = wq, .timed = &other, .delay_ns = HOUR_NS};

	timed_init(&timed);
	timed_init(&other);
	interrupt_at("timer claimed", handler_arms, &handler);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), 1);
	assert_int_equal(handler.ret, 1);
	assert_int_equal(handler.again, 0);
	assert_int_equal(wq_delayed_work_busy(&other.dw), WQ_BUSY_DELAYED);
	assert_int_equal(wq_delayed_work_cancel(&other.dw), 1);
	assert_int_equal(wq_delayed_work_cancel_sync(&timed.dw), 1);
	/* A delay that is over before the lock is free. */
	handler.delay_ns = 1;
	interrupt_at("timer claimed", handler_arms, &handler);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), 1);
	latch_wait(&other.ended, 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
	assert_as_new(wq, &other);
	assert_int_equal(wq_destroy(wq), 0);
}

static void handler_arms_the_item_that_is_being_armed(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed timed;
	struct handler handler = {.wq = wq, .timed = &timed, .delay_ns = 1};

	timed_init(&timed);
	interrupt_at("timer claimed", handler_arms, &handler);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), 1);
	assert_int_equal(handler.ret, 0);
	assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
	assert_as_new(wq, &timed);
	assert_int_equal(wq_destroy(wq), 0);
}

/*
 * One thread holds a shard's lock, another a pool's, and a handler on each cancels an item
 * that is under the other's lock: neither may wait.
 */
static void handlers_that_hold_different_locks_do_not_wait_for_each_other(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_ORDERED, 0);
	struct wqi_pool *pool = wqi_queue_pwq_rcu(wq, 0)->pool;
	struct timed gate, armed, pending, arming;
	struct caller holder = {.wq = wq, .timed = &arming, .delay_ns = HOUR_NS};

	timed_init_gate(&gate);
	timed_init(&armed);
	timed_init(&pending);
	timed_init(&arming);
	assert_int_equal(wq_queue(wq, &gate.dw.work), 1);
	latch_wait(&gate.started, 1);
	assert_int_equal(wq_queue(wq, &pending.dw.work), 1);
	assert_int_equal(wq_queue_delayed(wq, &armed.dw, HOUR_NS), 1);

	caller_start(&holder, call_arm, "timer claimed");
	wqi_pool_lock(pool);
	assert_int_equal(wq_delayed_work_cancel(&armed.dw), 1);
	wqi_pool_unlock(pool);
	assert_int_equal(caller_finish(&holder), 1);
	assert_int_equal(wq_delayed_work_busy(&armed.dw), 0);

	/* A holder of the pool's lock would wait for ours, so that none may be taken. */
	wqi_shard_lock(shard_here());
	assert_int_equal(wq_delayed_work_cancel(&pending.dw), 1);
	assert_int_equal(wq_delayed_work_busy(&pending.dw), WQ_BUSY_PENDING | WQ_BUSY_CANCELING);
	wqi_shard_unlock(shard_here());

	assert_int_equal(wq_delayed_work_cancel(&arming.dw), 1);
	latch_post(&gate.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(count_get(&pending.runs), 0);
	assert_as_new(wq, &armed);
	assert_as_new(wq, &pending);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- on the way to the inbox --- */

/* The pusher found the lock taken, and stops with nobody holding it: before it pushes, or after. */
static void pusher_start(struct caller *pusher, struct stop *pushed, bool push)
{
	wqi_shard_lock(shard_here());
	stop_init(pushed, "timer pushed");
	pusher->stop.next = push ? pushed : NULL;
	caller_start(pusher, call_arm, "timer push");
	wqi_shard_unlock(shard_here());
	if (!push)
		return;
	stop_let_go(&pusher->stop);
	stop_wait(pushed);
}

static int pusher_finish(struct caller *pusher, struct stop *pushed)
{
	stop_let_go(pushed);
	return caller_finish(pusher);
}

static void cancel_takes_an_item_on_its_way_to_the_inbox(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct caller pusher = {.wq = wq, .delay_ns = HOUR_NS};
	struct timed timed;
	struct stop pushed;
	int push;

	for (push = 0; push < 2; push++) {
		timed_init(&timed);
		pusher.timed = &timed;
		pusher_start(&pusher, &pushed, push);
		assert_int_equal(wq_delayed_work_busy(&timed.dw), WQ_BUSY_DELAYED);
		assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
		assert_int_equal(wq_delayed_work_cancel(&timed.dw), 0);
		assert_int_equal(wq_delayed_work_busy(&timed.dw), WQ_BUSY_CANCELING);
		assert_true(!wq_delayed_work_pending(&timed.dw));
		assert_int_equal(wq_queue(wq, &timed.dw.work), -EBUSY);
		assert_int_equal(wq_mod_delayed(wq, &timed.dw, 1), -EBUSY);
		assert_int_equal(wq_reschedule(wq, &timed.dw, 1), -EBUSY);
		/* This one takes the lock, and what is in the inbox with it. */
		assert_int_equal(wq_queue_delayed(wq, &timed.dw, 1), -EBUSY);
		assert_int_equal(wq_delayed_work_busy(&timed.dw), push ? 0 : WQ_BUSY_CANCELING);
		assert_int_equal(pusher_finish(&pusher, &pushed), 1);
		assert_as_new(wq, &timed);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* What waits for an item that is on its way waits for the pusher, and finds it then. */
static void waiters_wait_for_an_item_on_its_way_to_the_inbox(void **state)
{
	static int (*const calls[])(struct caller *) = {call_cancel_sync, call_flush, call_mod};
	struct wq *wq = wq_alloc("q", 0, 0);
	struct caller pusher = {.wq = wq, .delay_ns = HOUR_NS};
	struct caller waiter = {.wq = wq, .delay_ns = 1};
	struct timed timed;
	struct stop pushed;
	unsigned i;

	for (i = 0; i < 2 * ARRAY_SIZE(calls); i++) {
		timed_init(&timed);
		pusher.timed = waiter.timed = &timed;
		pusher_start(&pusher, &pushed, i & 1);
		caller_start(&waiter, calls[i / 2], "timer settles");
		assert_int_equal(count_get(&timed.runs), 0);
		assert_int_equal(wq_queue(wq, &timed.dw.work), i / 2 ? 0 : -EBUSY);
		/* It is in a section, so whoever waits for that does not end before. */
		stop_let_go(&waiter.stop);
		assert_int_equal(pusher_finish(&pusher, &pushed), 1);
		assert_int_equal(caller_finish(&waiter), 1);
		if (i / 2)
			latch_wait(&timed.ended, 1);
		assert_true(wq_delayed_work_flush(&timed.dw) >= 0);
		assert_int_equal(count_get(&timed.runs), i / 2 ? 1 : 0);
		assert_as_new(wq, &timed);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- one acceptance, one end --- */

/* It has taken the item from its timer; what is queued from then on is not its to take. */
static void cancel_takes_back_one_acceptance_at_most(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_ORDERED, 0);
	struct timed gate, timed;
	struct caller canceller = {.timed = &timed};

	timed_init_gate(&gate);
	timed_init(&timed);
	assert_int_equal(wq_queue(wq, &gate.dw.work), 1);
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), 1);
	caller_start(&canceller, call_cancel, "timer cancelled");
	assert_int_equal(wq_queue(wq, &timed.dw.work), 1);
	assert_int_equal(caller_finish(&canceller), 1);
	assert_true(wq_delayed_work_pending(&timed.dw));
	latch_post(&gate.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(count_get(&timed.runs), 1);
	assert_int_equal(wq_destroy(wq), 0);
}

/* While it is taken from pending to armed, or queued anew, it is never seen idle. */
static void mod_delayed_of_a_pending_item_leaves_no_gap(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_ORDERED, 0);
	struct timed gate, timed;
	struct caller moder = {.wq = wq, .timed = &timed};
	unsigned i;

	timed_init_gate(&gate);
	assert_int_equal(wq_queue(wq, &gate.dw.work), 1);
	latch_wait(&gate.started, 1);
	for (i = 0; i < 6; i++) {
		timed_init(&timed);
		moder.delay_ns = i & 1 ? HOUR_NS : 0;
		assert_int_equal(wq_queue(wq, &timed.dw.work), 1);
		caller_start(&moder, call_mod, "timer held");
		assert_true(wq_delayed_work_pending(&timed.dw));
		assert_int_equal(wq_queue(wq, &timed.dw.work), 0);
		assert_int_equal(wq_queue_delayed(wq, &timed.dw, 1), 0);
		if (i / 2 == 1)
			assert_int_equal(wq_delayed_work_cancel(&timed.dw), 1);
		if (i / 2 == 2)
			assert_int_equal(wq_delayed_work_disable(&timed.dw), 1);
		assert_int_equal(caller_finish(&moder), 1);
		assert_int_equal(wq_delayed_work_busy(&timed.dw), i == 0       ? WQ_BUSY_PENDING
								  : i == 1     ? WQ_BUSY_DELAYED
								  : i / 2 == 2 ? WQ_BUSY_DISABLED
									       : 0);
		assert_int_equal(wq_delayed_work_cancel_sync(&timed.dw), i < 2);
		assert_int_equal(count_get(&timed.runs), 0);
	}
	latch_post(&gate.open);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- the end of a queue --- */

static void arm_while_destroy_has_closed_the_queue_is_refused(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0);
	struct timed on_its_way, timed;
	struct caller pusher = {.wq = wq, .timed = &on_its_way, .delay_ns = HOUR_NS};
	struct caller destroyer = {.wq = wq};
	struct stop pushed;
	int push;

	timed_init(&timed);
	for (push = 0; push < 2; push++) {
		timed_init(&on_its_way);
		pusher_start(&pusher, &pushed, push);
		if (push) {
			/* In the inbox already, where the first look finds it. */
			assert_int_equal(wq_destroy(wq), -EBUSY);
		} else {
			caller_start(&destroyer, call_destroy, "timers closed");
			assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), -ESHUTDOWN);
			assert_int_equal(wq_delayed_work_busy(&timed.dw), 0);
			stop_let_go(&destroyer.stop);
		}
		assert_int_equal(pusher_finish(&pusher, &pushed), 1);
		if (!push)
			assert_int_equal(caller_finish(&destroyer), -EBUSY);
		assert_as_new(wq, &timed);
		assert_int_equal(wq_delayed_work_cancel(&on_its_way.dw), 1);
	}
	caller_start(&destroyer, call_destroy, "timers closed");
	assert_int_equal(wq_queue_delayed(wq, &timed.dw, HOUR_NS), -ESHUTDOWN);
	assert_int_equal(wq_mod_delayed(wq, &timed.dw, HOUR_NS), -ESHUTDOWN);
	assert_int_equal(caller_finish(&destroyer), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arm_while_the_lock_is_held_is_not_lost),
		cmocka_unit_test(handler_cancels_the_item_that_is_being_armed),
		cmocka_unit_test(handler_cancels_another_item_of_the_shard),
		cmocka_unit_test(handler_cancels_an_item_of_another_shard),
		cmocka_unit_test(handler_arms_another_item),
		cmocka_unit_test(handler_arms_the_item_that_is_being_armed),
		cmocka_unit_test(handlers_that_hold_different_locks_do_not_wait_for_each_other),
		cmocka_unit_test(cancel_takes_an_item_on_its_way_to_the_inbox),
		cmocka_unit_test(waiters_wait_for_an_item_on_its_way_to_the_inbox),
		cmocka_unit_test(cancel_takes_back_one_acceptance_at_most),
		cmocka_unit_test(mod_delayed_of_a_pending_item_leaves_no_gap),
		cmocka_unit_test(arm_while_destroy_has_closed_the_queue_is_refused),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
