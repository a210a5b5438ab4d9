/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trigger items: calls that are refused, and leave all as it was. */
#include "events.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>

static struct wq *wq;
static struct ends ends;

static int setup(void **state)
{
	wq = wq_alloc("misuse", 0, 0);
	ends_open(&ends);
	return !wq;
}

static int teardown(void **state)
{
	ends_close(&ends);
	return wq_destroy(wq);
}

static int closed_number(void)
{
	int fd = dup(ends.in);

	close(fd);
	return fd;
}

static void trigger_null_is_refused(void **state)
{
	struct waiter waiter;

	waiter_init(&waiter);
	waiter.ev[0] = (struct wq_event){.fd = ends.in, .events = EPOLLIN};
	assert_int_equal(wq_queue_trigger(NULL, &waiter.tw, waiter.ev, 1, 0), -EINVAL);
	assert_int_equal(wq_queue_trigger(wq, NULL, waiter.ev, 1, 0), -EINVAL);
	assert_int_equal(wq_queue_trigger(wq, &waiter.tw, NULL, 1, 0), -EINVAL);
	assert_int_equal(wq_queue_trigger(wq, &waiter.tw, NULL, 0, 0), -EINVAL);
	assert_int_equal(wq_queue_trigger(wq, &waiter.tw, waiter.ev, 0, 0), -EINVAL);
	assert_false(wq_trigger_work_pending(NULL));
	assert_int_equal(wq_trigger_work_busy(NULL), 0);
	assert_int_equal(wq_trigger_work_flush(NULL), -EINVAL);
	assert_int_equal(wq_trigger_work_cancel(NULL), -EINVAL);
	assert_int_equal(wq_trigger_work_cancel_sync(NULL), -EINVAL);
	assert_int_equal(wq_trigger_work_disable(NULL), -EINVAL);
	assert_int_equal(wq_trigger_work_disable_sync(NULL), -EINVAL);
	assert_int_equal(wq_trigger_work_enable(NULL), -EINVAL);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
}

static void trigger_item_of_another_kind_is_refused(void **state)
{
	struct wq_event ev = {.fd = ends.in, .events = EPOLLIN};
	struct waiter waiter;
	/* As large as a trigger item, and begun as one that is not. */
	union {
		struct wq_trigger_work trigger;
		struct wq_delayed_work delayed;
	} item;

	memset(&item, 0, sizeof(item));
	assert_int_equal(wq_queue_trigger(wq, &item.trigger, &ev, 1, 0), -EINVAL);
	assert_int_equal(wq_trigger_work_cancel(&item.trigger), -EINVAL);
	assert_int_equal(wq_trigger_work_flush(&item.trigger), -EINVAL);
	waiter_init(&waiter);
	wq_trigger_work_init(&item.trigger, NULL, NULL);
	assert_int_equal(wq_queue_trigger(wq, &item.trigger, &ev, 1, 0), -EINVAL);
	wq_delayed_work_init(&item.delayed, waiter.tw.work.wq_fn, NULL);
	assert_int_equal(wq_queue_trigger(wq, &item.trigger, &ev, 1, 0), -EINVAL);
	/* And the other way about. */
	assert_int_equal(wq_queue_delayed(wq, (struct wq_delayed_work *)&waiter.tw, 1), -EINVAL);
	assert_int_equal(wq_mod_delayed(wq, (struct wq_delayed_work *)&waiter.tw, 1), -EINVAL);
	assert_int_equal(wq_reschedule(wq, (struct wq_delayed_work *)&waiter.tw, 1), -EINVAL);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
}

static void trigger_events_that_are_not_allowed_are_refused(void **state)
{
	static const uint32_t refused[] = {EPOLLET,	EPOLLONESHOT, EPOLLEXCLUSIVE,
					   EPOLLWAKEUP, EVENT_NVAL,   UINT32_MAX};
	struct waiter waiter;
	unsigned i;

	waiter_init(&waiter);
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(waiter_arm(wq, &waiter, ends.in, refused[i], 0), -EINVAL);
		assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN | refused[i], 0),
				 -EINVAL);
	}
	/* None is fewer than most want, and allowed: a hang-up comes in any case. */
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, 0, WQ_FOREVER), 1);
	assert_int_equal(wq_trigger_work_cancel(&waiter.tw), 1);
}

static void trigger_as_many_events_as_allowed_work_and_one_more_is_refused(void **state)
{
	struct wq_event ev[WQ_MAX_EVENTS + 1];
	struct ends all[WQ_MAX_EVENTS];
	struct waiter waiter;
	unsigned i, n;

	waiter_init(&waiter);
	for (i = 0; i < WQ_MAX_EVENTS; i++) {
		ends_open(&all[i]);
		ev[i] = (struct wq_event){.fd = all[i].in, .events = EPOLLIN};
	}
	ev[WQ_MAX_EVENTS] = ev[0];
	assert_int_equal(wq_queue_trigger(wq, &waiter.tw, ev, WQ_MAX_EVENTS + 1, 0), -E2BIG);
	assert_int_equal(wq_queue_trigger(wq, &waiter.tw, ev, UINT_MAX, 0), -E2BIG);
	for (n = 0; n < 3; n++) {
		unsigned which = n * (WQ_MAX_EVENTS - 1) / 2;

		assert_int_equal(wq_queue_trigger(wq, &waiter.tw, ev, WQ_MAX_EVENTS, WQ_FOREVER),
				 1);
		byte_write(all[which].out);
		waiter_wait(&waiter, 2 * n + 1);
		assert_int_equal(ev[which].revents, EPOLLIN);
		/* By the look at the time-out, too. */
		assert_int_equal(wq_queue_trigger(wq, &waiter.tw, ev, WQ_MAX_EVENTS, 0), 1);
		waiter_wait(&waiter, 2 * n + 2);
		assert_int_equal(waiter.tw.result, 0);
		for (i = 0; i < WQ_MAX_EVENTS; i++)
			assert_int_equal(ev[i].revents, i == which ? EPOLLIN : 0);
		byte_read(all[which].in);
	}
	for (i = 0; i < WQ_MAX_EVENTS; i++)
		ends_close(&all[i]);
}

static void trigger_descriptor_that_is_not_open_is_refused(void **state)
{
	int numbers[] = {-1, INT_MIN, closed_number(), 100000, 1 << 30, INT_MAX};
	struct waiter waiter;
	unsigned i;

	waiter_init(&waiter);
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		assert_int_equal(waiter_arm(wq, &waiter, numbers[i], EPOLLIN, WQ_FOREVER), -EBADF);
		assert_int_equal(waiter_arm(wq, &waiter, numbers[i], EPOLLIN, 0), -EBADF);
		assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	}
	assert_true(trigger_works(wq));
	assert_int_equal(count_get(&waiter.runs), 0);
}

/* What the process has of addresses, touched or not. */
static unsigned long address_space_kb(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (!file || fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages * (unsigned long)(getpagesize() / 1024);
}

static void trigger_number_of_no_descriptor_costs_no_memory(void **state)
{
	unsigned long before = address_space_kb();
	struct waiter waiter;

	waiter_init(&waiter);
	assert_int_equal(waiter_arm(wq, &waiter, INT_MAX, EPOLLIN, WQ_FOREVER), -EBADF);
	assert_true(address_space_kb() < before + 1024 * 1024);
}

/* Refused at one of several: the earlier ones are not watched any more. */
static void trigger_refused_at_the_last_descriptor_changes_nothing(void **state)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int bad[] = {-1, closed_number(), file};
	int answers[] = {-EBADF, -EBADF, -EPERM};
	struct waiter waiter, other;
	unsigned i;

	assert_true(file >= 0);
	waiter_init(&waiter);
	waiter_init(&other);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(waiter_arm(wq, &other, ends.in, EPOLLIN, WQ_FOREVER), 1);
		waiter.ev[0] = (struct wq_event){.fd = ends.in, .events = EPOLLIN};
		waiter.ev[1] = (struct wq_event){.fd = ends.out, .events = EPOLLOUT};
		waiter.ev[2] = (struct wq_event){.fd = bad[i], .events = EPOLLIN};
		assert_int_equal(wq_queue_trigger(wq, &waiter.tw, waiter.ev, 3, WQ_FOREVER),
				 answers[i]);
		assert_int_equal(wq_queue_trigger(wq, &waiter.tw, waiter.ev, 3, 0), answers[i]);
		assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
		/* Others on the same ones still get their events; this one gets none. */
		assert_int_equal(wq_trigger_work_busy(&other.tw), WQ_BUSY_DELAYED);
		byte_write(ends.out);
		waiter_wait(&other, i + 1);
		assert_int_equal(other.ev[0].revents, EPOLLIN);
		byte_read(ends.in);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(count_get(&waiter.runs), i);
		assert_int_equal(wq_queue_trigger(wq, &waiter.tw, waiter.ev, 2, WQ_FOREVER), 1);
		waiter_wait(&waiter, i + 1);
		assert_int_equal(waiter.ev[1].revents, EPOLLOUT);
	}
	close(file);
}

static void trigger_order_of_answers(void **state)
{
	struct waiter waiter;

	/* What is wrong about the call comes before what is about the item. */
	waiter_init(&waiter);
	assert_int_equal(wq_trigger_work_disable(&waiter.tw), 0);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLET, 0), -EINVAL);
	assert_int_equal(waiter_arm(wq, &waiter, -1, EPOLLIN, 0), -EBADF);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, 0), -EBUSY);
	assert_int_equal(wq_trigger_work_enable(&waiter.tw), 1);
}

/* --- descriptors run out --- */

static void exhaust_child(void *ctx)
{
	struct rlimit limit = {64, 64};
	struct waiter waiter;
	int fd, last = -1;

	waiter_init(&waiter);
	CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((fd = dup(ends.in)) >= 0)
		last = fd;
	CHECK_EQUAL(errno, EMFILE);
	errno = 0;
	CHECK_EQUAL(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), -EMFILE);
	CHECK_EQUAL(waiter_arm(wq, &waiter, ends.in, EPOLLIN, 0), -EMFILE);
	CHECK_EQUAL(errno, 0);
	CHECK_EQUAL(wq_trigger_work_busy(&waiter.tw), 0);
	/* One is not enough, and is given back. */
	close(last);
	CHECK_EQUAL(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), -EMFILE);
	CHECK_EQUAL(dup(ends.in), last);
	close(last--);
	close(last--);
	CHECK_EQUAL(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	byte_write(ends.out);
	waiter_wait(&waiter, 1);
	CHECK_EQUAL(waiter.tw.result, 0);
	/* With none left, what is made needs none. */
	CHECK_EQUAL(dup(ends.in), -1);
	CHECK_EQUAL(waiter_arm(wq, &waiter, ends.in, EPOLLIN, 0), 1);
	waiter_wait(&waiter, 2);
	CHECK_EQUAL(waiter.tw.result, 0);
	byte_read(ends.in);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
}

/* The first of the program: descriptors are made in the child. */
static void trigger_without_descriptors_left_is_refused_and_works_later(void **state)
{
	skip_if_checker_has_descriptors();
	skip_if_checker_hangs_children();
	assert_int_equal(in_child(exhaust_child, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trigger_without_descriptors_left_is_refused_and_works_later),
		cmocka_unit_test(trigger_null_is_refused),
		cmocka_unit_test(trigger_item_of_another_kind_is_refused),
		cmocka_unit_test(trigger_events_that_are_not_allowed_are_refused),
		cmocka_unit_test(trigger_as_many_events_as_allowed_work_and_one_more_is_refused),
		cmocka_unit_test(trigger_number_of_no_descriptor_costs_no_memory),
		cmocka_unit_test(trigger_descriptor_that_is_not_open_is_refused),
		cmocka_unit_test(trigger_refused_at_the_last_descriptor_changes_nothing),
		cmocka_unit_test(trigger_order_of_answers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
