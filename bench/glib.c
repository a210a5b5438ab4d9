/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer GLib: a non-exclusive GThreadPool of one thread a CPU, and one of one thread;
 * and timeout sources on a context of their own.
 */
#include "bench.h"
#include "loop.h"

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

static GMainContext *context;
static GMainLoop *main_loop;

static void glib_run(void)
{
	g_main_loop_run(main_loop);
}

static gboolean glib_woken(gpointer data)
{
	bench_loop_make_call(data);
	return G_SOURCE_REMOVE;
}

static void glib_wake(void);

static struct bench_loop loop = {.run = glib_run, .wake = glib_wake};

static void glib_wake(void)
{
	GSource *source = g_idle_source_new();

	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, glib_woken, &loop, NULL);
	g_source_attach(source, context);
	g_source_unref(source);
}

static void glib_call(void (*fn)(void *arg), void *arg)
{
	bench_loop_call(&loop, fn, arg);
}

static void glib_start(void)
{
	plain = g_thread_pool_new(run, NULL, (gint)g_get_num_processors(), FALSE, NULL);
	serial = g_thread_pool_new(run, NULL, 1, FALSE, NULL);
	bench_must(plain && serial, "g_thread_pool_new");
	context = g_main_context_new();
	main_loop = g_main_loop_new(context, FALSE);
	bench_loop_start(&loop);
}

static void glib_end_loop(void *arg)
{
	(void)arg;
	g_main_loop_quit(main_loop);
}

static void glib_stop(void)
{
	bench_loop_stop(&loop, glib_end_loop);
	g_main_loop_unref(main_loop);
	g_main_context_unref(context);
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

/* --- timers: what is the caller's is a pointer to the source, which is made to arm it --- */

static gboolean glib_timer_fired(gpointer data)
{
	GSource **timer = data;

	g_source_unref(*timer);
	*timer = NULL;
	bench_timer_fired(timer);
	return G_SOURCE_REMOVE;
}

static void glib_timer_init(void *timer)
{
	*(GSource **)timer = NULL;
}

static void glib_timer_arm(void *timer, uint64_t delay_ns)
{
	GSource *source = g_timeout_source_new((guint)((delay_ns + 999999) / 1000000));

	g_source_set_callback(source, glib_timer_fired, timer, NULL);
	g_source_attach(source, context);
	*(GSource **)timer = source;
}

static bool glib_timer_cancel(void *timer)
{
	GSource *source = *(GSource **)timer;

	if (!source)
		return false;
	g_source_destroy(source);
	g_source_unref(source);
	*(GSource **)timer = NULL;
	return true;
}

static const struct bench_timer_ops timers = {
	.bytes = sizeof(GSource *),
	.heavy = true,
	.init = glib_timer_init,
	.arm = glib_timer_arm,
	.cancel = glib_timer_cancel,
	.call = glib_call,
};

const struct bench_peer bench_peer_glib = {
	.name = "glib",
	.start = glib_start,
	.stop = glib_stop,
	.init = glib_init,
	.queue = glib_queue,
	.queue_serial = glib_queue_serial,
	.queue_one_cpu = glib_queue_serial,
	.queue_and_wait = glib_queue_and_wait,
	.timers = &timers,
};
