/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of trigger items share. */
#include "events.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>

uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void waiter_fn(struct wq_work *work, void *ctx)
{
	struct waiter *waiter = ctx;

	if (__atomic_exchange_n(&waiter->inside, 1, __ATOMIC_SEQ_CST))
		count_up(&waiter->overlaps);
	if (work != &waiter->tw.work)
		abort();
	waiter->ran_ns = monotonic_ns();
	waiter->cpu = sched_getcpu();
	if (waiter->turns)
		waiter->turn = count_up(waiter->turns);
	count_set(&waiter->inside, 0);
	count_up(&waiter->runs);
	latch_post(&waiter->ran);
}

void waiter_init(struct waiter *waiter)
{
	memset(waiter, 0, sizeof(*waiter));
	wq_trigger_work_init(&waiter->tw, waiter_fn, waiter);
	latch_init(&waiter->ran);
}

int waiter_arm(struct wq *wq, struct waiter *waiter, int fd, uint32_t events, uint64_t timeout_ns)
{
	waiter->ev[0].fd = fd;
	waiter->ev[0].events = events;
	return wq_queue_trigger(wq, &waiter->tw, waiter->ev, 1, timeout_ns);
}

void waiter_wait(struct waiter *waiter, unsigned long runs)
{
	latch_wait(&waiter->ran, runs);
	while (wq_trigger_work_busy(&waiter->tw) & WQ_BUSY_RUNNING)
		sched_yield();
}

void ends_open(struct ends *ends)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK))
		abort();
	ends->in = fd[0];
	ends->out = fd[1];
}

void ends_open_sockets(struct ends *ends)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
		abort();
	ends->in = fd[0];
	ends->out = fd[1];
}

void ends_close(struct ends *ends)
{
	if (ends->in >= 0)
		close(ends->in);
	if (ends->out >= 0)
		close(ends->out);
	ends->in = ends->out = -1;
}

void byte_write(int fd)
{
	if (write(fd, "x", 1) != 1)
		abort();
}

void byte_read(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		abort();
}

bool trigger_works(struct wq *wq)
{
	struct waiter waiter;
	struct ends ends;
	bool works;

	waiter_init(&waiter);
	ends_open(&ends);
	works = waiter_arm(wq, &waiter, ends.in, EPOLLIN, WQ_FOREVER) == 1;
	if (works) {
		byte_write(ends.out);
		waiter_wait(&waiter, 1);
		works = !waiter.tw.result && waiter.ev[0].revents == EPOLLIN;
	}
	wq_trigger_work_cancel_sync(&waiter.tw);
	ends_close(&ends);
	return works;
}

struct own_fds own_fds_find(int from)
{
	struct own_fds own = {-1, -1};
	char path[64], target[64];
	ssize_t length;
	int fd;

	for (fd = from; fd < 4096; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		length = readlink(path, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		if (!strcmp(target, "anon_inode:[eventpoll]"))
			own.epoll = fd;
		if (!strcmp(target, "anon_inode:[eventfd]"))
			own.end = fd;
	}
	return own;
}
