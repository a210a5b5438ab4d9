/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of trigger items share: an item that notes its runs, and pipes.
 * Nothing here asserts; what can't fail in a test that goes well aborts.
 */
#ifndef TEST_EVENTS_H
#define TEST_EVENTS_H

#include "process.h"

#include <poll.h>
#include <sys/epoll.h>

#define MAX_WAITED 4

/* The kernel's EPOLLNVAL, which not every C library has. */
#define EVENT_NVAL ((uint32_t)POLLNVAL)

#define MS UINT64_C(1000000)

/* An item that waits for events.  What it got stands in it once `ran` was posted. */
struct waiter {
	struct wq_trigger_work tw;
	struct wq_event ev[MAX_WAITED];
	struct latch ran;
	unsigned long runs, inside, overlaps;
	unsigned long turn, *turns; /* its turn among those that share @turns */
	uint64_t ran_ns;
	int cpu;
};

void waiter_init(struct waiter *waiter);

/* Arm it for @events of @fd. */
int waiter_arm(struct wq *wq, struct waiter *waiter, int fd, uint32_t events, uint64_t timeout_ns);

/* Wait until it has run @runs times in all, and does not run any more. */
void waiter_wait(struct waiter *waiter, unsigned long runs);

/* A pipe or a pair of sockets; both do not block. */
struct ends {
	int in, out; /* read from, written to; of sockets either */
};

void ends_open(struct ends *ends);
void ends_open_sockets(struct ends *ends);
void ends_close(struct ends *ends);

/* A byte. */
void byte_write(int fd);
void byte_read(int fd);

/* In a child, or on the main thread: it is armed for what comes from a pipe, and gets it. */
bool trigger_works(struct wq *wq);

uint64_t monotonic_ns(void);

/* The library's descriptors: an epoll's and an eventfd's; -1 for what is not found. */
struct own_fds {
	int epoll, end;
};

/* Looked for from @from on: the program's are below. */
struct own_fds own_fds_find(int from);

#endif /* TEST_EVENTS_H */
