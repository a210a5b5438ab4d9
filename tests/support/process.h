/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of processes share: children that report by their exit status,
 * and what /proc says of this process.
 */
#ifndef TEST_PROCESS_H
#define TEST_PROCESS_H

#include "support.h"

#include <sys/types.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define TEST_TSAN 1
#endif
#ifdef __SANITIZE_ADDRESS__
#define TEST_ASAN 1
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif

/* In a child: what does not hold is said on standard error, and the child ends with status 1. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			check_failed(__FILE__, __LINE__, #cond, 0);                                \
	} while (0)

#define CHECK_EQUAL(expression, expected)                                                          \
	do {                                                                                       \
		long check_value = (long)(expression);                                             \
                                                                                                   \
		if (check_value != (long)(expected))                                               \
			check_failed(__FILE__, __LINE__, #expression " == " #expected,             \
				     check_value);                                                 \
	} while (0)

void check_failed(const char *file, int line, const char *what, long value)
	__attribute__((noreturn));

/*
 * For tests whose children use the library.  The allocator of the sanitizers, in GCC
 * and in LLVM before 17, is not made whole in a child: where another thread of the
 * parent was in it, the child hangs.
 */
void skip_if_checker_hangs_children(void);

/* For tests that count or use up descriptors: valgrind has some of its own among them. */
void skip_if_checker_has_descriptors(void);

/* For tests with hundreds of processes. */
void skip_if_checker_is_slow(void);

/* WQ_TOPOLOGY: nothing is pinned, and there are more CPUs than can run something. */
void skip_if_cpus_are_pretended(void);

/* A child that hangs ends by SIGALRM.  Timers do not pass to a child: each sets its own. */
void watchdog(void);

/* Run @fn(@ctx) in a child, which ends with status 0 when it returns; what became of it. */
int in_child(void (*fn)(void *ctx), void *ctx);

/* Wait for a child: its exit status, or 128 + the signal that ended it. */
int child_status(pid_t pid);

/*
 * In a child: make a probe of the parent new, with its gate open.  Nobody else is
 * left to wait on its latches, but who waited in the parent is still counted in them.
 */
void probe_renew(struct probe *probe);

/* In a child: the item, made new, can be queued and runs once; so it does on a new queue. */
void probe_runs(struct wq *wq, struct probe *probe);
void new_queue_works(unsigned flags);

unsigned nr_descriptors(void);

/* Threads of the process, or those whose name begins with @prefix. */
unsigned nr_threads(const char *prefix);

/*
 * The same, after waiting until it is no more than @most: a joined thread may stay
 * in /proc for a moment.  Gives up after 20 seconds.
 */
unsigned nr_threads_falls_to(const char *prefix, unsigned most);

#endif /* TEST_PROCESS_H */
