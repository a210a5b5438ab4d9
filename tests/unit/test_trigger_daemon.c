/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trigger items in programs that close all descriptors, the library's too. */
#include "events.h"

#include <fcntl.h>
#include <sys/eventfd.h>

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

static void close_all_but(int keep)
{
	int fd;

	for (fd = 3; fd < 4096; fd++)
		if (fd != keep)
			close(fd);
}

static void in_fresh_child(void (*fn)(void *ctx))
{
	skip_if_checker_hangs_children();
	assert_int_equal(in_child(fn, NULL), 0);
}

/* What is left open then. */
static unsigned nr_standard(void)
{
	unsigned nr = 0;
	int fd;

	for (fd = 0; fd < 3; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static void daemon_child(void *ctx)
{
	struct waiter waiter, brief;
	unsigned nr;

	waiter_init(&waiter);
	waiter_init(&brief);
	/* A number that nothing new gets, of a file that nobody hangs up. */
	CHECK_EQUAL(dup2(eventfd(0, 0), 100), 100);
	CHECK_EQUAL(waiter_arm(wq, &waiter, 100, EPOLLIN, WQ_FOREVER), 1);
	CHECK_EQUAL(waiter_arm(wq, &brief, 100, EPOLLIN, 5 * MS), 1);
	close_all_but(-1);
	nr = nr_standard();
	waiter_wait(&brief, 1);
	CHECK_EQUAL(brief.ev[0].revents, EVENT_NVAL);
	CHECK(trigger_works(wq));
	/* All began anew, and what was waited for is closed. */
	waiter_wait(&waiter, 1);
	CHECK_EQUAL(waiter.ev[0].revents, EVENT_NVAL);
	CHECK_EQUAL(nr_descriptors(), nr + 2);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
	CHECK_EQUAL(nr_descriptors(), nr);
}

static void trigger_works_in_a_program_that_closes_all_descriptors(void **state)
{
	skip_if_checker_has_descriptors();
	in_fresh_child(daemon_child);
}

static void shutdown_child(void *ctx)
{
	CHECK(trigger_works(wq));
	close_all_but(-1);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
}

static void trigger_thread_ends_though_its_descriptors_are_closed(void **state)
{
	in_fresh_child(shutdown_child);
}

/* Nothing of the C library's can be loaded any more. */
static void chroot_child(void *ctx)
{
	struct ends ends;

	CHECK(trigger_works(wq));
	ends_open(&ends);
	if (chroot("/proc/self/fdinfo"))
		_exit(77);
	close_all_but(-1);
	CHECK(trigger_works(wq));
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void trigger_works_in_a_program_that_changes_its_root_and_closes_all(void **state)
{
	int status;

	skip_if_checker_hangs_children();
	status = in_child(chroot_child, NULL);
	if (status == 77)
		skip(); /* not permitted */
	assert_int_equal(status, 0);
}

/* What the program keeps goes on being waited for, without anybody arming anew. */
static void kept_child(void *ctx)
{
	struct waiter in, out[2];
	struct ends ends;
	char c;
	int kept;

	waiter_init(&in);
	waiter_init(&out[0]);
	waiter_init(&out[1]);
	ends_open_sockets(&ends);
	kept = dup3(ends.in, 0, 0);
	CHECK_EQUAL(kept, 0);
	CHECK_EQUAL(dup3(ends.out, 1, 0), 1);
	while (write(0, "fill", 4) > 0)
		;
	CHECK_EQUAL(waiter_arm(wq, &in, 0, EPOLLIN, WQ_FOREVER), 1);
	CHECK_EQUAL(waiter_arm(wq, &out[0], 0, EPOLLOUT, WQ_FOREVER), 1);
	close_all_but(-1);
	byte_write(1);
	waiter_wait(&in, 1);
	CHECK_EQUAL(in.ev[0].revents, EPOLLIN);
	byte_read(0);
	while (read(1, &c, 1) > 0)
		;
	waiter_wait(&out[0], 1);
	CHECK_EQUAL(out[0].ev[0].revents, EPOLLOUT);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void trigger_item_on_a_descriptor_that_is_kept_gets_its_event(void **state)
{
	in_fresh_child(kept_child);
}

/* --- the program gets the numbers --- */

/* The program's descriptors under the library's numbers, registered with each other. */
struct taken {
	struct own_fds own;
	int epoll, end;
	unsigned others; /* what else is registered */
};

static void take(struct taken *taken, struct own_fds own, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = 42};

	CHECK(own.epoll >= 0);
	CHECK(own.end >= 0);
	taken->own = own;
	taken->epoll = epoll_create1(0);
	taken->end = eventfd(7, EFD_NONBLOCK);
	CHECK_EQUAL(dup2(taken->epoll, own.epoll), own.epoll);
	CHECK_EQUAL(dup2(taken->end, own.end), own.end);
	if (events)
		CHECK_EQUAL(epoll_ctl(own.epoll, EPOLL_CTL_ADD, own.end, &event), 0);
}

static unsigned nr_registered(int epoll, const char *data)
{
	char path[64], line[256];
	unsigned nr = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", epoll);
	file = fopen(path, "re");
	CHECK(file);
	while (fgets(line, sizeof(line), file))
		nr += strstr(line, "tfd:") && strstr(line, data);
	fclose(file);
	return nr;
}

/* Nothing read, written, registered, changed or closed. */
static void taken_is_unchanged(struct taken *taken, uint32_t events)
{
	struct epoll_event event = {0};
	uint64_t n = 0;

	CHECK(fcntl(taken->own.epoll, F_GETFD) >= 0);
	CHECK(fcntl(taken->own.end, F_GETFD) >= 0);
	CHECK_EQUAL(nr_registered(taken->epoll, ""), events ? 1 : 0);
	CHECK_EQUAL(nr_registered(taken->epoll, "2a"), events ? 1 : 0);
	if (events) {
		CHECK_EQUAL(epoll_wait(taken->epoll, &event, 1, 0), 1);
		CHECK_EQUAL(event.data.u64, 42);
		CHECK_EQUAL(event.events, events);
	}
	CHECK_EQUAL(read(taken->end, &n, sizeof(n)), sizeof(n));
	CHECK_EQUAL(n, 7);
	CHECK_EQUAL(write(taken->end, &n, sizeof(n)), sizeof(n));
}

static uint32_t taken_events;

static void taken_child(void *ctx)
{
	struct own_fds own;
	struct waiter waiter;
	struct taken taken;
	struct ends ends;

	CHECK(trigger_works(wq));
	own = own_fds_find(3);
	close_all_but(-1);
	take(&taken, own, taken_events);
	taken_is_unchanged(&taken, taken_events);
	waiter_init(&waiter);
	ends_open(&ends);
	CHECK_EQUAL(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	taken_is_unchanged(&taken, taken_events);
	byte_write(ends.out);
	waiter_wait(&waiter, 1);
	CHECK_EQUAL(waiter.tw.result, 0);
	taken_is_unchanged(&taken, taken_events);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	taken_is_unchanged(&taken, taken_events);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
}

static void trigger_leaves_alone_what_has_its_descriptors_numbers(void **state)
{
	static const uint32_t events[] = {0, EPOLLIN | EPOLLOUT, EPOLLOUT};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		taken_events = events[i];
		in_fresh_child(taken_child);
	}
}

/* Nobody arms: the library ends, and must not take them for its own. */
static void taken_shutdown_child(void *ctx)
{
	struct taken taken;
	struct own_fds own;

	CHECK(trigger_works(wq));
	own = own_fds_find(3);
	close_all_but(-1);
	take(&taken, own, taken_events);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	taken_is_unchanged(&taken, taken_events);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
}

static void trigger_end_leaves_alone_what_has_its_descriptors_numbers(void **state)
{
	static const uint32_t events[] = {0, EPOLLIN | EPOLLOUT, EPOLLOUT};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		taken_events = events[i];
		in_fresh_child(taken_shutdown_child);
	}
}

/*
 * The thread sleeps on what was closed, and is told of a descriptor that lives on: it
 * must not register that for those who wait on with what is the program's now.
 */
static void taken_event_child(void *ctx)
{
	struct waiter in, out;
	struct taken taken;
	struct own_fds own;
	struct ends ends;
	char c;

	waiter_init(&in);
	waiter_init(&out);
	ends_open_sockets(&ends);
	CHECK_EQUAL(dup2(ends.in, 0), 0);
	CHECK_EQUAL(dup2(ends.out, 1), 1);
	CHECK_EQUAL(fcntl(0, F_SETFL, O_NONBLOCK), 0);
	while (write(0, "fill", 4) > 0)
		;
	CHECK_EQUAL(waiter_arm(wq, &in, 0, EPOLLIN, WQ_FOREVER), 1);
	CHECK_EQUAL(waiter_arm(wq, &out, 0, EPOLLOUT, WQ_FOREVER), 1);
	own = own_fds_find(3);
	close_all_but(-1);
	take(&taken, own, taken_events);
	byte_write(1);
	waiter_wait(&in, 1);
	taken_is_unchanged(&taken, taken_events);
	while (read(1, &c, 1) > 0)
		;
	waiter_wait(&out, 1);
	taken_is_unchanged(&taken, taken_events);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	taken_is_unchanged(&taken, taken_events);
}

static void trigger_event_that_comes_after_all_was_closed_is_registered_anew(void **state)
{
	static const uint32_t events[] = {0, EPOLLIN | EPOLLOUT, EPOLLOUT};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		taken_events = events[i];
		in_fresh_child(taken_event_child);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trigger_works_in_a_program_that_closes_all_descriptors),
		cmocka_unit_test(trigger_thread_ends_though_its_descriptors_are_closed),
		cmocka_unit_test(trigger_works_in_a_program_that_changes_its_root_and_closes_all),
		cmocka_unit_test(trigger_item_on_a_descriptor_that_is_kept_gets_its_event),
		cmocka_unit_test(trigger_leaves_alone_what_has_its_descriptors_numbers),
		cmocka_unit_test(trigger_end_leaves_alone_what_has_its_descriptors_numbers),
		cmocka_unit_test(trigger_event_that_comes_after_all_was_closed_is_registered_anew),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
