/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer libuv: uv_queue_work() on the process's pool, of UV_THREADPOOL_SIZE threads
 * or 4.  Only a loop's thread may queue, so a loop runs here on a thread of its own and
 * is woken to call the workload.
 */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <uv.h>

static uv_loop_t loop;
static uv_async_t waker;
static pthread_t thread;
static uint64_t nr_out; /* requests that the loop has not ended; the loop's thread only */

/* The call that the loop is to make; there is one at a time. */
static struct {
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
} asked;

static void uv_run_item(uv_work_t *req)
{
	struct bench_item *item = req->data;

	item->fn(item);
}

static void uv_item_ended(uv_work_t *req, int status)
{
	(void)req;
	bench_must(!status, "uv_queue_work");
	nr_out--;
}

static void make_call(uv_async_t *async)
{
	(void)async;
	if (!asked.fn)
		return;
	asked.fn(asked.arg);
	asked.fn = NULL;
	sem_post(&asked.done);
}

static void bench_uv_call(void (*fn)(void *arg), void *arg)
{
	asked.arg = arg;
	asked.fn = fn;
	bench_must(!uv_async_send(&waker), "uv_async_send");
	while (sem_wait(&asked.done))
		;
}

static void *loop_main(void *arg)
{
	uv_run(&loop, UV_RUN_DEFAULT);
	return arg;
}

static void bench_uv_start(void)
{
	bench_must(!sem_init(&asked.done, 0, 0), "sem_init");
	bench_must(!uv_loop_init(&loop) && !uv_async_init(&loop, &waker, make_call),
		   "making a loop");
	bench_must(!pthread_create(&thread, NULL, loop_main, NULL), "making the loop's thread");
}

static void close_waker(void *arg)
{
	uv_close(arg, NULL);
}

static void bench_uv_stop(void)
{
	bench_uv_call(close_waker, &waker);
	pthread_join(thread, NULL);
	bench_must(!uv_loop_close(&loop), "uv_loop_close");
}

static void bench_uv_init(struct bench_item *item, void (*fn)(struct bench_item *item))
{
	uv_work_t *req = malloc(sizeof(*req));

	bench_must(req, "allocating items");
	req->data = item;
	item->fn = fn;
	item->uv = req;
}

static void bench_uv_fini(struct bench_item *item)
{
	free(item->uv);
}

static void bench_uv_queue(struct bench_item *item)
{
	nr_out++;
	bench_must(!uv_queue_work(&loop, item->uv, uv_run_item, uv_item_ended), "uv_queue_work");
}

static void read_nr_out(void *arg)
{
	*(uint64_t *)arg = nr_out;
}

static void bench_uv_settle(void)
{
	uint64_t nr;

	while (bench_uv_call(read_nr_out, &nr), nr)
		bench_sleep_ns(100000);
}

const struct bench_peer bench_peer_uv = {
	.name = "libuv",
	.start = bench_uv_start,
	.stop = bench_uv_stop,
	.init = bench_uv_init,
	.queue = bench_uv_queue,
	/* Where UV_THREADPOOL_SIZE is 1, which the workloads see to. */
	.queue_one_cpu = bench_uv_queue,
	.call = bench_uv_call,
	.settle = bench_uv_settle,
	.fini = bench_uv_fini,
};
