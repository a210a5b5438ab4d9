/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trigger items: cancelled by signal handlers that interrupt the library, which a call at
 * a point of it stands for; memory and threads that are not to be had; and descriptors
 * of the library's that are closed while it is at work.
 */
#include "events.h"

#include <sched.h>

#include "stops.h"
#include "testing.h"

static struct wq *wq;
static struct waiter waiter, sibling;
static struct ends ends;

static int setup(void **state)
{
	wq = wq_alloc("races", 0, 0);
	waiter_init(&waiter);
	waiter_init(&sibling);
	ends_open(&ends);
	/* The thread is there, and past its first steps. */
	if (!wq || !trigger_works(wq))
		return -1;
	stops_begin();
	return 0;
}

static int teardown(void **state)
{
	stops_end();
	ends_close(&ends);
	return wq_destroy(wq);
}

static int arm_forever(void)
{
	return waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER);
}

static int cancel(void)
{
	return wq_trigger_work_cancel(&waiter.tw);
}

static int cancel_sync(void)
{
	return wq_trigger_work_cancel_sync(&waiter.tw);
}

static int end_library(void)
{
	return wq_shutdown();
}

/* One that waits for the same, behind it: where that has run, the event has come to both. */
static void event_comes(void)
{
	unsigned long runs = sibling.runs;

	assert_int_equal(waiter_arm(wq, &sibling, ends.in, EPOLLIN, WQ_FOREVER), 1);
	byte_write(ends.out);
	waiter_wait(&sibling, runs + 1);
}

/* Afterwards it works as if nothing had been; @runs until now. */
static void works_on(unsigned long runs)
{
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	assert_int_equal(waiter.runs, runs);
	assert_int_equal(arm_forever(), 1);
	byte_write(ends.out);
	waiter_wait(&waiter, runs + 1);
	byte_read(ends.in);
	assert_int_equal(waiter.overlaps, 0);
}

/* --- signal handlers, which a call at a point of the library stands for --- */

static int handler_ret;
static struct wq_delayed_work other;

static void handler(void)
{
	handler_ret = cancel();
}

static void nothing_fn(struct wq_work *work, void *ctx)
{
}

/* The clock lets it go; until then it can't be armed, and nobody has to wait. */
static void cancelled_by_a_handler(int (*interrupted)(void), const char *where)
{
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "trigger leaves");
	call_at(where, handler);
	handler_ret = -1;
	begin(0, interrupted);
	stop_reached(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(handler_ret, 1);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_CANCELING);
	assert_int_equal(arm_forever(), -EBUSY);
	assert_int_equal(cancel(), 0);
	event_comes();
	stop_at(1, "timer settles");
	begin(1, cancel_sync);
	stop_reached(1);
	let_go(1);
	let_go(0);
	assert_int_equal(end(1), 0);
	byte_read(ends.in);
	works_on(0);
}

static int arm_sibling(void)
{
	int ret = waiter_arm(wq, &sibling, ends.in, EPOLLIN, WQ_FOREVER);

	return ret == 1 ? wq_trigger_work_cancel_sync(&sibling.tw) : ret;
}

static int arm_other(void)
{
	int ret = wq_queue_delayed(wq, &other, 3600 * 1000 * MS);

	return ret == 1 ? wq_delayed_work_cancel_sync(&other) : ret;
}

static void trigger_cancelled_by_a_handler_of_who_holds_the_descriptors_lock(void **state)
{
	cancelled_by_a_handler(arm_sibling, "trigger attached");
}

static void trigger_cancelled_by_a_handler_of_who_holds_a_shards_lock(void **state)
{
	wq_delayed_work_init(&other, nothing_fn, NULL);
	cancelled_by_a_handler(arm_other, "timer claimed");
}

static void trigger_cancelled_by_a_handler_of_who_arms_it(void **state)
{
	call_at("trigger attached", handler);
	handler_ret = -1;
	begin(0, arm_forever);
	assert_int_equal(end(0), 1);
	assert_int_equal(handler_ret, 1);
	byte_write(ends.out);
	assert_true(trigger_works(wq));
	byte_read(ends.in);
	works_on(0);
}

static int queue_probe(void)
{
	static struct probe probe;
	int ret;

	probe_init(&probe);
	ret = wq_queue(wq, &probe.work);
	wq_work_flush(&probe.work);
	return ret;
}

/* Another thread arms it anew, and holds it, when the handler has seen it armed. */
static void rearmed_before_the_handler(void)
{
	cancel_sync();
	stop_at(0, "trigger attached");
	begin(1, arm_forever);
	stop_reached(0);
}

static void handler_that_comes_late(void)
{
	call_at("timer cancels", rearmed_before_the_handler);
	handler();
}

/* The handler interrupts a section, so it must wait for nobody who waits for sections. */
static void trigger_cancelled_by_a_handler_in_a_section_while_it_is_armed_anew(void **state)
{
	assert_int_equal(arm_forever(), 1);
	call_at("push", handler_that_comes_late);
	handler_ret = -1;
	begin(0, queue_probe);
	/* It must come to its end while the other is stopped. */
	assert_int_equal(end(0), 1);
	assert_int_equal(handler_ret, 1);
	let_go(0);
	assert_int_equal(end(1), 1);
	works_on(0);
}

/* The library ends before the clock has let it go. */
static void trigger_cancelled_by_a_handler_just_before_the_end(void **state)
{
	wq_delayed_work_init(&other, nothing_fn, NULL);
	assert_int_equal(arm_forever(), 1);
	stop_at(0, "clock sleeps");
	assert_int_equal(wq_queue_delayed(wq, &other, 1), 1);
	stop_reached(0);
	call_at("trigger attached", handler);
	begin(0, arm_sibling);
	assert_int_equal(end(0), 1);
	assert_int_equal(handler_ret, 1);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_CANCELING);
	wq_delayed_work_cancel_sync(&other); /* it has run, or it has not */
	assert_int_equal(wq_destroy(wq), 0);
	stop_at(1, "clock stops");
	begin(1, end_library);
	stop_reached(1);
	let_go(0);
	let_go(1);
	assert_int_equal(end(1), 0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	assert_int_equal(cancel_sync(), 0);
	wq = wq_alloc("anew", 0, 0);
	works_on(0);
}

/* --- memory, threads --- */

/* As at the first use, with a worker for the queue made. */
static void begin_anew(void)
{
	struct probe probe;

	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_shutdown(), 0);
	wq = wq_alloc("anew", 0, 0);
	assert_non_null(wq);
	probe_init(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_true(wq_work_flush(&probe.work) >= 0);
}

static void trigger_without_a_thread_is_refused_and_works_later(void **state)
{
	unsigned nr;

	begin_anew();
	nr = nr_descriptors();
	wqi_test_fault(WQI_FAULT_THREAD, 0, 2);
	assert_int_equal(arm_forever(), -EAGAIN);
	assert_int_equal(nr_descriptors(), nr);
	assert_int_equal(arm_forever(), -EAGAIN);
	assert_int_equal(nr_descriptors(), nr);
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	works_on(0);
}

static void trigger_without_memory_is_refused_and_works_later(void **state)
{
	unsigned nr, nr_refused = 0, after;
	int ret;

	begin_anew();
	nr = nr_descriptors();
	for (after = 0;; after++) {
		wqi_test_fault(WQI_FAULT_ALLOC, after, 1);
		ret = arm_forever();
		wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
		if (ret == 1)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(nr_descriptors(), nr);
		assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
		nr_refused++;
		begin_anew();
	}
	assert_true(nr_refused >= 3);
	assert_int_equal(cancel_sync(), 1);
	/* A number for which there is no room yet: those that wait go on waiting. */
	assert_int_equal(arm_forever(), 1);
	assert_int_equal(dup2(ends.out, 300), 300);
	for (after = 0; after < 2; after++) {
		wqi_test_fault(WQI_FAULT_ALLOC, after, 1);
		assert_int_equal(waiter_arm(wq, &sibling, 300, EPOLLOUT, WQ_FOREVER), -ENOMEM);
		wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	}
	assert_int_equal(waiter_arm(wq, &sibling, 300, EPOLLOUT, WQ_FOREVER), 1);
	waiter_wait(&sibling, 1);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_DELAYED);
	assert_int_equal(cancel_sync(), 1);
	close(300);
	works_on(0);
}

/* --- the library's descriptors go while others arm --- */

#define NR_ARMING 3

static struct loss {
	bool stop;
	unsigned long wrong, events, others;
} loss;

static void loss_thread(void *ctx, unsigned index)
{
	struct waiter mine;
	struct ends pipe;
	unsigned long runs = 0;

	waiter_init(&mine);
	ends_open(&pipe);
	while (!count_get(&loss.stop)) {
		uint64_t timeout_ns = runs % 8 ? WQ_FOREVER : 100000;

		if (waiter_arm(wq, &mine, pipe.in, EPOLLIN, timeout_ns) != 1) {
			count_up(&loss.wrong);
			break;
		}
		if (runs % 8)
			byte_write(pipe.out);
		waiter_wait(&mine, ++runs);
		if (mine.ev[0].revents == EPOLLIN && !mine.tw.result) {
			byte_read(pipe.in);
			count_up(&loss.events);
		} else if (mine.tw.result == -ETIMEDOUT && timeout_ns != WQ_FOREVER) {
			count_up(&loss.others);
		} else {
			count_up(&loss.wrong);
			break;
		}
	}
	ends_close(&pipe);
}

static void *loss_main(void *arg)
{
	run_threads(NR_ARMING, loss_thread, NULL);
	return arg;
}

/* To close what others use is a race, which ThreadSanitizer does not even survive. */
static void trigger_descriptors_of_the_library_closed_again_and_again(void **state)
{
	unsigned long i, rounds = scaled(200), before;
	struct own_fds own;
	pthread_t thread;

	if (TEST_TSAN)
		skip();
	memset(&loss, 0, sizeof(loss));
	assert_int_equal(pthread_create(&thread, NULL, loss_main, NULL), 0);
	for (i = 0; i < rounds; i++) {
		own = own_fds_find(300);
		before = count_get(&loss.events);
		if (own.epoll >= 0 && i % 3 != 1)
			close(own.epoll);
		if (own.end >= 0 && i % 3 != 2)
			close(own.end);
		while (count_get(&loss.events) == before && !count_get(&loss.wrong))
			sched_yield();
	}
	count_set(&loss.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(loss.wrong, 0);
	works_on(0);
	begin_anew();
	assert_int_equal(own_fds_find(300).epoll, -1);
	assert_int_equal(own_fds_find(300).end, -1);
	assert_int_equal(nr_threads_falls_to("wq/trigger", 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			trigger_cancelled_by_a_handler_of_who_holds_the_descriptors_lock, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			trigger_cancelled_by_a_handler_of_who_holds_a_shards_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_cancelled_by_a_handler_of_who_arms_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			trigger_cancelled_by_a_handler_in_a_section_while_it_is_armed_anew, setup,
			teardown),
		cmocka_unit_test_setup_teardown(trigger_cancelled_by_a_handler_just_before_the_end,
						setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_without_a_thread_is_refused_and_works_later,
						setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_without_memory_is_refused_and_works_later,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			trigger_descriptors_of_the_library_closed_again_and_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
