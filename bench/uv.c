/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer libuv: uv_queue_work() on the process's pool, of UV_THREADPOOL_SIZE threads
 * or 4.  Only a loop's thread may queue, so a loop runs here on a thread of its own and
 * is woken to call the workload.
 */
#include "bench.h"
#include "loop.h"

#include <stdlib.h>
#include <uv.h>

static uv_loop_t uv;
static uv_async_t waker;
static uint64_t nr_out; /* requests that the loop has not ended; the loop's thread only */

static void bench_uv_run(void)
{
	uv_run(&uv, UV_RUN_DEFAULT);
}

static void bench_uv_wake(void)
{
	bench_must(!uv_async_send(&waker), "uv_async_send");
}

static struct bench_loop loop = {.run = bench_uv_run, .wake = bench_uv_wake};

static void bench_uv_call(void (*fn)(void *arg), void *arg)
{
	bench_loop_call(&loop, fn, arg);
}

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

static void woken(uv_async_t *async)
{
	(void)async;
	bench_loop_make_call(&loop);
}

static void bench_uv_start(void)
{
	bench_must(!uv_loop_init(&uv) && !uv_async_init(&uv, &waker, woken), "making a loop");
	bench_loop_start(&loop);
}

static void close_waker(void *arg)
{
	(void)arg;
	uv_close((uv_handle_t *)&waker, NULL);
}

static void bench_uv_stop(void)
{
	bench_loop_stop(&loop, close_waker);
	bench_must(!uv_loop_close(&uv), "uv_loop_close");
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
	bench_must(!uv_queue_work(&uv, item->uv, uv_run_item, uv_item_ended), "uv_queue_work");
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

/* --- timers: embedded handles, of the loop --- */

static void fired(uv_timer_t *timer)
{
	bench_timer_fired(timer);
}

static void bench_uv_timer_init(void *timer)
{
	bench_must(!uv_timer_init(&uv, timer), "uv_timer_init");
}

/* The handle belongs to the loop until the next call. */
static void bench_uv_timer_fini(void *timer)
{
	uv_close(timer, NULL);
}

static void bench_uv_timer_arm(void *timer, uint64_t delay_ns)
{
	bench_must(!uv_timer_start(timer, fired, (delay_ns + 999999) / 1000000, 0),
		   "uv_timer_start");
}

static bool bench_uv_timer_cancel(void *timer)
{
	bool armed = uv_is_active(timer);

	bench_must(!uv_timer_stop(timer), "uv_timer_stop");
	return armed;
}

static void bench_uv_timer_refresh(void)
{
	uv_update_time(&uv);
}

static const struct bench_timer_ops timers = {
	.bytes = sizeof(uv_timer_t),
	.heavy = true,
	.init = bench_uv_timer_init,
	.fini = bench_uv_timer_fini,
	.arm = bench_uv_timer_arm,
	.cancel = bench_uv_timer_cancel,
	.refresh = bench_uv_timer_refresh,
	.call = bench_uv_call,
};

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
	.timers = &timers,
};
