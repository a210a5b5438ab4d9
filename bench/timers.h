/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The timers of the workload that is going on, and the count of those that fired. */
#ifndef BENCH_TIMERS_H
#define BENCH_TIMERS_H

#include "bench.h"

#include <semaphore.h>

struct bench_timers {
	const struct bench_timer_ops *ops;
	char *timers;
	uint64_t *delay_ns; /* of each */
	uint64_t nr;
	uint64_t nr_cancelled;		     /* before they fired; atomic */
	uint64_t nr_fired;		     /* atomic */
	sem_t all_fired;		     /* or the last of them did */
	uint64_t *deadline_ns, *fired_at_ns; /* of each; NULL: not kept */
};

extern struct bench_timers bench_timers;

/* Timers with random delays from @from_ns on, @span_ns wide; the same ones each time. */
void bench_timers_begin(const struct bench_peer *peer, uint64_t nr, uint64_t from_ns,
			uint64_t span_ns);

/* From now on keep when they are due and when they fire; @at_ns has room for twice all. */
void bench_timers_keep_times(uint64_t *at_ns);

/* Call @fn where timers may be armed and cancelled. */
void bench_timers_call(void (*fn)(void *arg), void *arg);

/* There: arm or cancel so many timers; returns how long it took, in ns. */
uint64_t bench_timers_arm_some(uint64_t first, uint64_t nr);
uint64_t bench_timers_cancel_some(uint64_t first, uint64_t nr);

/* From any thread: all of them. */
uint64_t bench_timers_arm(void);
uint64_t bench_timers_cancel(void);

/*
 * Until the process is idle, so that what the peer has put off is done.  Returns the
 * process's CPU time.
 */
uint64_t bench_timers_settle(void);

/* They have all been armed and cancelled @times times: each was cancelled or has fired. */
void bench_timers_must_be_over(unsigned times);

/* None is armed any more. */
void bench_timers_end(void);

#endif /* BENCH_TIMERS_H */
