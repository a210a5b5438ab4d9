/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pools that are compared: the list, libwq and the naive one. */
#include "bench.h"

#include <sched.h>

/* --- libwq --- */

static struct wq *wq_plain, *wq_serial, *wq_percpu;
static int last_cpu;

static void bench_wq_start(void)
{
	cpu_set_t cpus;
	int cpu;

	wq_plain = wq_alloc("bench", 0, 0);
	wq_serial = wq_alloc("bench-serial", WQ_ORDERED, 0);
	wq_percpu = wq_alloc("bench-percpu", WQ_PERCPU, 0);
	bench_must(wq_plain && wq_serial && wq_percpu, "wq_alloc");
	bench_must(!sched_getaffinity(0, sizeof(cpus), &cpus), "sched_getaffinity");
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cpus))
			last_cpu = cpu;
}

static void bench_wq_stop(void)
{
	bench_must(!wq_destroy(wq_plain) && !wq_destroy(wq_serial) && !wq_destroy(wq_percpu),
		   "wq_destroy");
}

static void bench_wq_fn(struct wq_work *work, void *ctx)
{
	struct bench_item *item = ctx;

	(void)work;
	item->fn(item);
}

static void bench_wq_init(struct bench_item *item, void (*fn)(struct bench_item *item))
{
	item->fn = fn;
	wq_work_init(&item->work, bench_wq_fn, item);
}

static void bench_wq_queue(struct bench_item *item)
{
	bench_must(wq_queue(wq_plain, &item->work) == 1, "wq_queue");
}

static void bench_wq_queue_serial(struct bench_item *item)
{
	bench_must(wq_queue(wq_serial, &item->work) == 1, "wq_queue");
}

static void bench_wq_queue_one_cpu(struct bench_item *item)
{
	bench_must(wq_queue_on(wq_percpu, &item->work, last_cpu) == 1, "wq_queue_on");
}

static void bench_wq_queue_and_wait(struct bench_item *item)
{
	bench_wq_queue(item);
	bench_must(wq_work_flush(&item->work) >= 0, "wq_work_flush");
}

static void bench_wq_timer_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	bench_timer_fired(ctx);
}

static void bench_wq_timer_init(void *timer)
{
	wq_delayed_work_init(timer, bench_wq_timer_fn, timer);
}

static void bench_wq_timer_fini(void *timer)
{
	bench_must(wq_delayed_work_cancel_sync(timer) == 0, "ending with no timer armed");
}

static void bench_wq_timer_arm(void *timer, uint64_t delay_ns)
{
	bench_must(wq_queue_delayed(wq_plain, timer, delay_ns) == 1, "wq_queue_delayed");
}

static bool bench_wq_timer_cancel(void *timer)
{
	return wq_delayed_work_cancel(timer) == 1;
}

static const struct bench_timer_ops wq_timers = {
	.bytes = sizeof(struct wq_delayed_work),
	.never_early = true,
	.init = bench_wq_timer_init,
	.fini = bench_wq_timer_fini,
	.arm = bench_wq_timer_arm,
	.cancel = bench_wq_timer_cancel,
};

static const struct bench_peer bench_peer_wq = {
	.name = "libwq",
	.start = bench_wq_start,
	.stop = bench_wq_stop,
	.init = bench_wq_init,
	.queue = bench_wq_queue,
	.queue_serial = bench_wq_queue_serial,
	.queue_one_cpu = bench_wq_queue_one_cpu,
	.queue_and_wait = bench_wq_queue_and_wait,
	.timers = &wq_timers,
};

/* --- naive --- */

static struct naive_pool *naive_plain, *naive_serial;

static void bench_naive_start(void)
{
	cpu_set_t cpus;

	bench_must(!sched_getaffinity(0, sizeof(cpus), &cpus), "sched_getaffinity");
	naive_plain = naive_start((unsigned)CPU_COUNT(&cpus));
	naive_serial = naive_start(1);
}

static void bench_naive_stop(void)
{
	naive_stop(naive_plain);
	naive_stop(naive_serial);
}

static void bench_naive_fn(struct naive_item *naive)
{
	struct bench_item *item = (struct bench_item *)(void *)naive;

	item->fn(item);
}

static void bench_naive_init(struct bench_item *item, void (*fn)(struct bench_item *item))
{
	item->fn = fn;
	item->naive.fn = bench_naive_fn;
	item->naive.notify = item->naive.done = false;
}

static void bench_naive_queue(struct bench_item *item)
{
	naive_queue(naive_plain, &item->naive);
}

static void bench_naive_queue_serial(struct bench_item *item)
{
	naive_queue(naive_serial, &item->naive);
}

static void bench_naive_queue_and_wait(struct bench_item *item)
{
	item->naive.notify = true;
	naive_queue(naive_plain, &item->naive);
	naive_wait(naive_plain, &item->naive);
}

static const struct bench_peer bench_peer_naive = {
	.name = "naive",
	.start = bench_naive_start,
	.stop = bench_naive_stop,
	.init = bench_naive_init,
	.queue = bench_naive_queue,
	.queue_serial = bench_naive_queue_serial,
	.queue_one_cpu = bench_naive_queue_serial,
	.queue_and_wait = bench_naive_queue_and_wait,
};

const struct bench_peer *const bench_peers[] = {
	&bench_peer_naive,
#ifdef BENCH_GLIB
	&bench_peer_glib,
#endif
#ifdef BENCH_UV
	&bench_peer_uv,
#endif
#ifdef BENCH_TBB
	&bench_peer_tbb,
#endif
#ifdef BENCH_TBB
	&bench_peer_tbb_enqueue,
#endif
#ifdef BENCH_ASIO
	&bench_peer_asio,
#endif
#ifdef BENCH_GO
	&bench_peer_go,
#endif
#ifdef BENCH_EV
	&bench_peer_ev,
#endif
#ifdef BENCH_EVENT
	&bench_peer_event,
#endif
	&bench_peer_wq,
};

const unsigned bench_nr_peers = sizeof(bench_peers) / sizeof(bench_peers[0]);
