/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The peer GLib: a non-exclusive GThreadPool of one thread a CPU, and one of one thread. */
#include "bench.h"

#include <glib.h>

static GThreadPool *plain, *serial;
static GMutex lock;
static GCond done;

static void run(gpointer data, gpointer user_data)
{
	struct bench_item *item = data;
	bool notify = item->glib.notify;

	(void)user_data;
	item->fn(item);
	if (!notify)
		return; /* and the item may be gone */
	g_mutex_lock(&lock);
	item->glib.done = true;
	g_cond_signal(&done);
	g_mutex_unlock(&lock);
}

static void glib_start(void)
{
	plain = g_thread_pool_new(run, NULL, (gint)g_get_num_processors(), FALSE, NULL);
	serial = g_thread_pool_new(run, NULL, 1, FALSE, NULL);
	bench_must(plain && serial, "g_thread_pool_new");
}

static void glib_stop(void)
{
	g_thread_pool_free(plain, FALSE, TRUE);
	g_thread_pool_free(serial, FALSE, TRUE);
	g_thread_pool_stop_unused_threads();
}

static void glib_init(struct bench_item *item, void (*fn)(struct bench_item *item))
{
	item->fn = fn;
	item->glib.notify = item->glib.done = false;
}

static void glib_queue(struct bench_item *item)
{
	bench_must(g_thread_pool_push(plain, item, NULL), "g_thread_pool_push");
}

static void glib_queue_serial(struct bench_item *item)
{
	bench_must(g_thread_pool_push(serial, item, NULL), "g_thread_pool_push");
}

static void glib_queue_and_wait(struct bench_item *item)
{
	item->glib.notify = true;
	glib_queue(item);
	g_mutex_lock(&lock);
	while (!item->glib.done)
		g_cond_wait(&done, &lock);
	item->glib.done = false;
	g_mutex_unlock(&lock);
}

const struct bench_peer bench_peer_glib = {
	.name = "glib",
	.start = glib_start,
	.stop = glib_stop,
	.init = glib_init,
	.queue = glib_queue,
	.queue_serial = glib_queue_serial,
	.queue_one_cpu = glib_queue_serial,
	.queue_and_wait = glib_queue_and_wait,
};
