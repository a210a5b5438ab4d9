/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of concurrency management share: where an item ran, what a thread
 * does, CPU time, counters.
 */
#ifndef TEST_OBSERVE_H
#define TEST_OBSERVE_H

#include "process.h"

/* An item that notes on which thread it runs, and when: its turn among those that share @turns. */
struct where {
	struct wq_work work;
	unsigned long runs, turn, *turns;
	struct wq *wq;
	pid_t tid;
	int cpu, nr_cpus, nice, policy;
	bool blocks_signals;
	char name[16];
};

void where_init(struct where *where, unsigned long *turns); /* @turns may be NULL */
void where_note(struct where *where);

unsigned nr_usable_cpus(void);

/* What a worker gets that is to have @wanted: 0 is the process's own; less takes privilege. */
int nice_to_get(int wanted);

/* The state letter of a thread of this process; 0: it is gone. */
char task_state(pid_t tid);
/* Wait until it sleeps, interruptibly or not. */
void task_wait_asleep(pid_t tid);

/* CPU time of the calling thread; compute until it is so much more. */
uint64_t thread_cpu_ns(void);
void compute_ns(uint64_t ns);

void sleep_ns(uint64_t ns);

/*
 * False under checkers where a thread that computes may seem to sleep (it waits for
 * the checker's lock), or a trifle takes milliseconds.
 */
bool checker_is_exact(void);

struct wq_stats stats_of(struct wq *wq);
struct wq_pool_stats pool_stats_of(struct wq *wq, int cpu);

#endif /* TEST_OBSERVE_H */
