/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A peer's loop on a thread of its own, which makes the calls that others ask for. */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <pthread.h>
#include <semaphore.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_loop {
	void (*run)(void);  /* until one of the calls ends it */
	void (*wake)(void); /* have the thread call bench_loop_make_call() */
	pthread_t thread;
	sem_t made;
	void (*fn)(void *arg); /* the call that is asked for; there is one at a time */
	void *arg;
};

void bench_loop_start(struct bench_loop *loop);

/* Have the loop's thread call @fn, and wait until it has. */
void bench_loop_call(struct bench_loop *loop, void (*fn)(void *arg), void *arg);

/* On the loop's thread. */
void bench_loop_make_call(struct bench_loop *loop);

/* By a call of @end, which ends the loop. */
void bench_loop_stop(struct bench_loop *loop, void (*end)(void *arg));

#ifdef __cplusplus
}
#endif

#endif /* BENCH_LOOP_H */
