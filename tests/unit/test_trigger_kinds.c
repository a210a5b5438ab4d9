/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trigger items: what they get from descriptors of each kind. */
#include "events.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

static struct wq *wq;

static int setup(void **state)
{
	wq = wq_alloc("kinds", 0, 0);
	return !wq;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

/* Armed, it waits; an item that times out meanwhile shows that nothing has come. */
static void waits(struct waiter *waiter, int fd, uint32_t events)
{
	struct waiter brief;

	waiter_init(&brief);
	assert_int_equal(waiter_arm(wq, waiter, fd, events, WQ_FOREVER), 1);
	assert_int_equal(waiter_arm(wq, &brief, fd, events, 1), 1);
	waiter_wait(&brief, 1);
	assert_int_equal(brief.tw.result, -ETIMEDOUT);
	assert_int_equal(wq_trigger_work_busy(&waiter->tw), WQ_BUSY_DELAYED);
}

/* It has come; and what is there already is found, too, by event and by time-out. */
static void gets(struct waiter *waiter, int fd, uint32_t events, uint32_t expected)
{
	unsigned long runs;
	unsigned i;

	waiter_wait(waiter, 1);
	runs = waiter->runs;
	assert_int_equal(waiter->tw.result, 0);
	assert_int_equal(waiter->ev[0].revents, expected);
	for (i = 0; i < 2; i++) {
		assert_int_equal(waiter_arm(wq, waiter, fd, events, i ? 0 : WQ_FOREVER), 1);
		waiter_wait(waiter, ++runs);
		assert_int_equal(waiter->tw.result, 0);
		assert_int_equal(waiter->ev[0].revents, expected);
	}
	waiter_init(waiter);
}

/* --- pipes and sockets --- */

static void trigger_pipe_is_readable_and_hung_up(void **state)
{
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open(&ends);
	waits(&waiter, ends.in, EPOLLIN);
	byte_write(ends.out);
	gets(&waiter, ends.in, EPOLLIN, EPOLLIN);
	byte_read(ends.in);
	waits(&waiter, ends.in, EPOLLIN);
	close(ends.out);
	ends.out = -1;
	gets(&waiter, ends.in, EPOLLIN, EPOLLHUP);
	/* Waited for in any case. */
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, 0, WQ_FOREVER), 1);
	gets(&waiter, ends.in, 0, EPOLLHUP);
	ends_close(&ends);
}

static void trigger_pipe_is_writable_and_broken(void **state)
{
	struct waiter waiter;
	struct ends ends;
	char page[4096];

	waiter_init(&waiter);
	ends_open(&ends);
	memset(page, 0, sizeof(page));
	while (write(ends.out, page, sizeof(page)) > 0)
		;
	waits(&waiter, ends.out, EPOLLOUT);
	while (read(ends.in, page, sizeof(page)) > 0)
		;
	gets(&waiter, ends.out, EPOLLOUT, EPOLLOUT);
	waits(&waiter, ends.out, 0);
	close(ends.in);
	ends.in = -1;
	gets(&waiter, ends.out, 0, EPOLLERR);
	ends_close(&ends);
}

static void trigger_socket_pair_is_read_and_shut_down(void **state)
{
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open_sockets(&ends);
	waits(&waiter, ends.in, EPOLLIN | EPOLLRDHUP);
	byte_write(ends.out);
	gets(&waiter, ends.in, EPOLLIN | EPOLLRDHUP, EPOLLIN);
	byte_read(ends.in);
	waits(&waiter, ends.in, EPOLLRDHUP);
	assert_int_equal(shutdown(ends.out, SHUT_WR), 0);
	gets(&waiter, ends.in, EPOLLRDHUP, EPOLLRDHUP);
	close(ends.out);
	ends.out = -1;
	assert_int_equal(waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	gets(&waiter, ends.in, EPOLLIN, EPOLLIN | EPOLLHUP);
	ends_close(&ends);
}

static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	return fd;
}

static void trigger_tcp_listens_connects_and_is_shut_down(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = tcp_socket(), client = tcp_socket(), server;
	socklen_t length = sizeof(address);
	struct waiter accepting, connecting, waiter;

	waiter_init(&accepting);
	waiter_init(&connecting);
	waiter_init(&waiter);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	waits(&accepting, listener, EPOLLIN);
	if (connect(client, (struct sockaddr *)&address, length))
		assert_int_equal(errno, EINPROGRESS);
	assert_int_equal(waiter_arm(wq, &connecting, client, EPOLLOUT, WQ_FOREVER), 1);
	gets(&accepting, listener, EPOLLIN, EPOLLIN);
	gets(&connecting, client, EPOLLOUT, EPOLLOUT);
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(server >= 0);
	waits(&waiter, server, EPOLLIN | EPOLLRDHUP);
	byte_write(client);
	gets(&waiter, server, EPOLLIN | EPOLLRDHUP, EPOLLIN);
	byte_read(server);
	/* Urgent data. */
	waits(&waiter, server, EPOLLPRI);
	assert_int_equal(send(client, "!", 1, MSG_OOB), 1);
	gets(&waiter, server, EPOLLPRI, EPOLLPRI);
	waits(&waiter, server, EPOLLRDHUP);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	gets(&waiter, server, EPOLLRDHUP, EPOLLRDHUP);
	close(client);
	close(server);
	close(listener);
}

static void trigger_tcp_connection_refused_is_an_error(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int bound = tcp_socket(), client = tcp_socket();
	socklen_t length = sizeof(address);
	struct waiter waiter;

	waiter_init(&waiter);
	/* A port of ours on which nobody listens. */
	assert_int_equal(bind(bound, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(bound, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, length), -1);
	if (errno == EINPROGRESS) {
		assert_int_equal(waiter_arm(wq, &waiter, client, EPOLLOUT, WQ_FOREVER), 1);
		waiter_wait(&waiter, 1);
		assert_true(waiter.ev[0].revents & EPOLLERR);
		assert_int_equal(waiter.tw.result, 0);
	}
	close(client);
	close(bound);
}

/* --- what the kernel has besides --- */

static void trigger_eventfd_is_counted_up(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct waiter waiter;
	uint64_t n = UINT64_MAX - 1;

	waiter_init(&waiter);
	waits(&waiter, fd, EPOLLIN);
	assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
	gets(&waiter, fd, EPOLLIN, EPOLLIN);
	waits(&waiter, fd, EPOLLOUT);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	gets(&waiter, fd, EPOLLOUT, EPOLLOUT);
	close(fd);
}

static void trigger_timerfd_expires(void **state)
{
	struct itimerspec soon = {.it_value.tv_nsec = 3000000};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct waiter waiter;
	uint64_t before;

	waiter_init(&waiter);
	waits(&waiter, fd, EPOLLIN);
	before = monotonic_ns();
	assert_int_equal(timerfd_settime(fd, 0, &soon, NULL), 0);
	waiter_wait(&waiter, 1);
	assert_true(waiter.ran_ns >= before + 3 * MS);
	gets(&waiter, fd, EPOLLIN, EPOLLIN);
	close(fd);
}

/* epoll asks what is pending for the thread that waits: so for the process, not one thread. */
static void trigger_signalfd_gets_a_signal_of_the_process(void **state)
{
	struct signalfd_siginfo info;
	struct waiter waiter;
	sigset_t set, before;
	int fd;

	waiter_init(&waiter);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	waits(&waiter, fd, EPOLLIN);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	gets(&waiter, fd, EPOLLIN, EPOLLIN);
	assert_int_equal(read(fd, &info, sizeof(info)), sizeof(info));
	assert_int_equal(info.ssi_signo, SIGUSR1);
	close(fd);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void trigger_inotify_sees_a_file(void **state)
{
	char directory[64], path[80];
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), file;
	struct waiter waiter;

	waiter_init(&waiter);
	snprintf(directory, sizeof(directory), "/tmp/wq-inotify-%d", (int)getpid());
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_true(inotify_add_watch(fd, directory, IN_CREATE) >= 0);
	waits(&waiter, fd, EPOLLIN);
	snprintf(path, sizeof(path), "%s/file", directory);
	file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	gets(&waiter, fd, EPOLLIN, EPOLLIN);
	close(file);
	unlink(path);
	rmdir(directory);
	close(fd);
}

static void trigger_pidfd_sees_the_end_of_a_process(void **state)
{
	struct waiter waiter;
	struct ends ends;
	char c;
	pid_t pid;
	int fd;

	waiter_init(&waiter);
	ends_open(&ends);
	assert_int_equal(fcntl(ends.in, F_SETFL, 0), 0);
	pid = fork();
	if (!pid) {
		close(ends.out);
		while (read(ends.in, &c, 1) > 0)
			;
		_exit(7);
	}
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0) {
		ends_close(&ends);
		waitpid(pid, NULL, 0);
		skip(); /* a checker, or a filter, that does not know it */
	}
	waits(&waiter, fd, EPOLLIN);
	ends_close(&ends);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_true(waiter.ev[0].revents & EPOLLIN);
	assert_int_equal(child_status(pid), 7);
	close(fd);
}

static void trigger_epoll_descriptor_is_ready_where_one_in_it_is(void **state)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open(&ends);
	assert_int_equal(epoll_ctl(fd, EPOLL_CTL_ADD, ends.in, &event), 0);
	waits(&waiter, fd, EPOLLIN);
	byte_write(ends.out);
	gets(&waiter, fd, EPOLLIN, EPOLLIN);
	close(fd);
	ends_close(&ends);
}

static void trigger_regular_file_and_directory_are_refused(void **state)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct waiter waiter;

	waiter_init(&waiter);
	assert_int_equal(waiter_arm(wq, &waiter, file, EPOLLIN, WQ_FOREVER), -EPERM);
	assert_int_equal(waiter_arm(wq, &waiter, file, EPOLLIN, 0), -EPERM);
	assert_int_equal(waiter_arm(wq, &waiter, directory, EPOLLIN, WQ_FOREVER), -EPERM);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	close(file);
	close(directory);
	assert_true(trigger_works(wq));
}

/* --- and the library's own --- */

static void trigger_descriptors_of_the_library_do_not_outlive_exec(void **state)
{
	struct own_fds own;

	assert_true(trigger_works(wq));
	own = own_fds_find(3);
	assert_true(own.epoll >= 0);
	assert_true(own.end >= 0);
	assert_int_equal(fcntl(own.epoll, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(own.end, F_GETFD), FD_CLOEXEC);
	/* Out of the way of those that programs get. */
	assert_true(own.epoll > 300);
	assert_true(own.end > 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trigger_descriptors_of_the_library_do_not_outlive_exec),
		cmocka_unit_test(trigger_pipe_is_readable_and_hung_up),
		cmocka_unit_test(trigger_pipe_is_writable_and_broken),
		cmocka_unit_test(trigger_socket_pair_is_read_and_shut_down),
		cmocka_unit_test(trigger_tcp_listens_connects_and_is_shut_down),
		cmocka_unit_test(trigger_tcp_connection_refused_is_an_error),
		cmocka_unit_test(trigger_eventfd_is_counted_up),
		cmocka_unit_test(trigger_timerfd_expires),
		cmocka_unit_test(trigger_signalfd_gets_a_signal_of_the_process),
		cmocka_unit_test(trigger_inotify_sees_a_file),
		cmocka_unit_test(trigger_pidfd_sees_the_end_of_a_process),
		cmocka_unit_test(trigger_epoll_descriptor_is_ready_where_one_in_it_is),
		cmocka_unit_test(trigger_regular_file_and_directory_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
