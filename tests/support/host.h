/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests change around the library, in children only: the user, the CPUs, other
 * processes that want them; and the question that all of them then ask, whether
 * blocked items let others in.
 */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include "process.h"

/* How a child ends that could not do what its test is about. */
#define STATUS_SKIPPED 77

/* In a child: end it so, and say why. */
void skip_child(const char *why) __attribute__((noreturn));

/* Run @fn(@ctx) in a child: the test holds, fails or is skipped as that ends. */
void holds_in_child(void (*fn)(void *ctx), void *ctx);
void holds_by_status(int status);

/* For what is about the machine's time or address space, of which checkers need much. */
void skip_under_checkers(void);

/* In a child: a user without privileges, if it is not one yet. */
void become_nobody(void);

/* In a child, before the library's first use: no more than @most CPUs; how many there are. */
unsigned use_few_cpus(unsigned most);

/* Let some time pass, where something is watched or disturbed meanwhile. */
void pass_ms(unsigned ms);

#define MAX_HOGS 8

/*
 * Processes of other sessions that compute, one pinned to each CPU (of no more than
 * MAX_HOGS).  They end with the thread that began them, whatever ends that.
 */
struct hogs {
	unsigned nr;
	pid_t pids[MAX_HOGS];
};

/* In a child.  They run when it returns; ending them checks that they all still did. */
void hogs_begin(struct hogs *hogs);
void hogs_end(struct hogs *hogs);

/* One real-time hog (SCHED_FIFO) on @cpu; false: not permitted. */
bool hogs_begin_real_time(struct hogs *hogs, int cpu);

/*
 * In a child: @nr items on @wq, for @cpu, that block until the last item, behind
 * them, has run.  Returns when all have; a watchdog must be set.
 */
void blocked_let_others_in(struct wq *wq, int cpu, unsigned nr);

/* The same for the kinds of queues that promise it: per CPU on each CPU, and unbound. */
void blocked_let_others_in_everywhere(unsigned rounds);

#endif /* TEST_HOST_H */
