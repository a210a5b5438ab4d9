/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trigger items whose descriptors are closed. */
#include "events.h"

#include <fcntl.h>

static struct wq *wq;

static int setup(void **state)
{
	wq = wq_alloc("closed", 0, 0);
	return !wq;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

static void trigger_closed_descriptor_is_noticed_at_the_time_out(void **state)
{
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open(&ends);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, 2 * MS), 1);
	ends_close(&ends);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EVENT_NVAL);
}

static void trigger_closed_descriptor_does_not_keep_an_item(void **state)
{
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open(&ends);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	ends_close(&ends);
	assert_int_equal(wq_trigger_work_cancel_sync(&waiter.tw), 1);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	ends_open(&ends);
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	ends_close(&ends);
	assert_int_equal(wq_trigger_work_flush(&waiter.tw), 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EVENT_NVAL);
	assert_int_equal(count_get(&waiter.runs), 1);
}

static void trigger_number_that_is_used_again_belongs_to_the_new_item(void **state)
{
	struct waiter old[2], new;
	struct ends ends, again;
	int number;

	waiter_init(&old[0]);
	waiter_init(&old[1]);
	waiter_init(&new);
	ends_open(&ends);
	ends_open(&again);
	number = ends.in;
	assert_int_equal(waiter_arm(wq, &old[0], number, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(waiter_arm(wq, &old[1], number, EPOLLPRI, 3600 * 1000 * MS), 1);
	ends_close(&ends);
	assert_int_equal(dup3(again.in, number, O_CLOEXEC), number);
	assert_int_equal(waiter_arm(wq, &new, number, EPOLLIN, WQ_FOREVER), 1);
	waiter_wait(&old[0], 1);
	waiter_wait(&old[1], 1);
	assert_int_equal(old[0].ev[0].revents, EVENT_NVAL);
	assert_int_equal(old[1].ev[0].revents, EVENT_NVAL);
	assert_int_equal(old[0].tw.result | old[1].tw.result, 0);
	assert_int_equal(wq_trigger_work_busy(&new.tw), WQ_BUSY_DELAYED);
	byte_write(again.out);
	waiter_wait(&new, 1);
	assert_int_equal(new.ev[0].revents, EPOLLIN);
	assert_int_equal(old[0].runs + old[1].runs, 2);
	close(number);
	ends_close(&again);
}

/* The number may be one that can't be waited for now: it was another's all the same. */
static void trigger_number_that_is_closed_or_a_file_ends_the_wait_of_others(void **state)
{
	struct waiter old, new;
	struct ends ends;
	int number, file;
	unsigned i;

	for (i = 0; i < 2; i++) {
		waiter_init(&old);
		waiter_init(&new);
		ends_open(&ends);
		number = ends.in;
		assert_int_equal(waiter_arm(wq, &old, number, EPOLLIN, WQ_FOREVER), 1);
		close(number);
		if (i) {
			file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
			assert_int_equal(file, number);
		}
		assert_int_equal(waiter_arm(wq, &new, number, EPOLLIN, WQ_FOREVER),
				 i ? -EPERM : -EBADF);
		waiter_wait(&old, 1);
		assert_int_equal(old.tw.result, 0);
		assert_int_equal(old.ev[0].revents, EVENT_NVAL);
		if (!i)
			ends.in = -1;
		ends_close(&ends);
	}
}

static void trigger_descriptor_closed_with_a_copy_left_open(void **state)
{
	struct waiter old, new;
	struct ends ends, again;
	int copy, number;

	waiter_init(&old);
	waiter_init(&new);
	ends_open(&ends);
	ends_open(&again);
	number = ends.in;
	copy = dup(number);
	assert_int_equal(waiter_arm(wq, &old, number, EPOLLIN, WQ_FOREVER), 1);
	close(number);
	/* The kernel still knows it by the number. */
	byte_write(ends.out);
	waiter_wait(&old, 1);
	assert_int_equal(old.ev[0].revents, EPOLLIN);
	byte_read(copy);

	/* The number is another's, and the copy's events are nobody's. */
	assert_int_equal(dup3(copy, number, O_CLOEXEC), number);
	assert_int_equal(waiter_arm(wq, &old, number, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(dup3(again.in, number, O_CLOEXEC), number);
	assert_int_equal(waiter_arm(wq, &new, number, EPOLLIN, WQ_FOREVER), 1);
	waiter_wait(&old, 2);
	assert_int_equal(old.ev[0].revents, EVENT_NVAL);
	byte_write(ends.out);
	assert_true(trigger_works(wq));
	assert_int_equal(wq_trigger_work_busy(&new.tw), WQ_BUSY_DELAYED);
	byte_write(again.out);
	waiter_wait(&new, 1);
	assert_int_equal(new.ev[0].revents, EPOLLIN);
	close(number);
	close(copy);
	ends.in = -1;
	ends_close(&ends);
	ends_close(&again);
}

static void trigger_several_events_of_which_one_is_closed(void **state)
{
	struct waiter waiter;
	struct ends a, b;

	waiter_init(&waiter);
	ends_open(&a);
	ends_open(&b);
	waiter.ev[0] = (struct wq_event){.fd = a.in, .events = EPOLLIN};
	waiter.ev[1] = (struct wq_event){.fd = b.in, .events = EPOLLIN};
	assert_int_equal(wq_queue_trigger(wq, &waiter.tw, waiter.ev, 2, WQ_FOREVER), 1);
	ends_close(&a);
	byte_write(b.out);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.ev[1].revents, EPOLLIN);
	byte_read(b.in);
	ends_open(&a);
	waiter.ev[0].fd = a.in;
	assert_int_equal(wq_queue_trigger(wq, &waiter.tw, waiter.ev, 2, 2 * MS), 1);
	ends_close(&a);
	waiter_wait(&waiter, 2);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EVENT_NVAL);
	assert_int_equal(waiter.ev[1].revents, 0);
	ends_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trigger_closed_descriptor_is_noticed_at_the_time_out),
		cmocka_unit_test(trigger_closed_descriptor_does_not_keep_an_item),
		cmocka_unit_test(trigger_number_that_is_used_again_belongs_to_the_new_item),
		cmocka_unit_test(trigger_number_that_is_closed_or_a_file_ends_the_wait_of_others),
		cmocka_unit_test(trigger_descriptor_closed_with_a_copy_left_open),
		cmocka_unit_test(trigger_several_events_of_which_one_is_closed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
