/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread of a peer's loop. */
#include "loop.h"

#include "bench.h"

static void *loop_main(void *arg)
{
	struct bench_loop *loop = arg;

	loop->run();
	return NULL;
}

void bench_loop_start(struct bench_loop *loop)
{
	bench_must(!sem_init(&loop->made, 0, 0), "sem_init");
	bench_must(!pthread_create(&loop->thread, NULL, loop_main, loop),
		   "making the loop's thread");
}

void bench_loop_call(struct bench_loop *loop, void (*fn)(void *arg), void *arg)
{
	loop->arg = arg;
	loop->fn = fn;
	loop->wake();
	while (sem_wait(&loop->made))
		;
}

void bench_loop_make_call(struct bench_loop *loop)
{
	if (!loop->fn)
		return;
	loop->fn(loop->arg);
	loop->fn = NULL;
	sem_post(&loop->made);
}

void bench_loop_stop(struct bench_loop *loop, void (*end)(void *arg))
{
	bench_loop_call(loop, end, NULL);
	pthread_join(loop->thread, NULL);
}
