/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer Boost.Asio: post() to a thread_pool of one thread a CPU, with a strand for what
 * runs one at a time, and steady_timer on an io_context that one thread runs and that is told
 * so.  As its guide advises for speed, an item's handler has memory of the item's.
 */
#include "bench.h"
#include "loop.h"

#include <memory>
#include <new>
#include <semaphore.h>
#include <stdlib.h>
#include <thread>

#include <boost/asio.hpp>

namespace
{

namespace asio = boost::asio;

/* Of an item; it is free again before the handler is called. */
constexpr size_t handler_bytes = 56;

struct pools {
	asio::thread_pool plain{std::thread::hardware_concurrency()};
	asio::thread_pool one{1};
	asio::strand<asio::thread_pool::executor_type> strand{plain.get_executor()};
};

pools *pools_now;
sem_t item_ran;

template <typename T> struct item_allocator {
	using value_type = T;

	bench_item *item;

	explicit item_allocator(bench_item *of) : item(of)
	{
	}

	template <typename U> item_allocator(const item_allocator<U> &other) : item(other.item)
	{
	}

	T *allocate(size_t nr)
	{
		bench_must(nr * sizeof(T) <= handler_bytes, "room for a handler");
		return static_cast<T *>(item->asio);
	}

	void deallocate(T *, size_t)
	{
	}

	template <typename U> bool operator==(const item_allocator<U> &other) const
	{
		return item == other.item;
	}

	template <typename U> bool operator!=(const item_allocator<U> &other) const
	{
		return item != other.item;
	}
};

struct handler {
	using allocator_type = item_allocator<void *>;

	bench_item *item;

	allocator_type get_allocator() const noexcept
	{
		return allocator_type(item);
	}

	void operator()() const
	{
		item->fn(item);
	}
};

void init(bench_item *item, void (*fn)(bench_item *item))
{
	item->fn = fn;
	item->asio = malloc(handler_bytes);
	bench_must(item->asio, "allocating items");
}

void fini(bench_item *item)
{
	free(item->asio);
}

void queue(bench_item *item)
{
	asio::post(pools_now->plain, handler{item});
}

void queue_one_cpu(bench_item *item)
{
	asio::post(pools_now->one, handler{item});
}

/* A strand has a handler of its own beside the item's, so there is memory for neither. */
void queue_serial(bench_item *item)
{
	asio::post(pools_now->strand, [item] { item->fn(item); });
}

void queue_and_wait(bench_item *item)
{
	asio::post(pools_now->plain, [item] {
		item->fn(item);
		sem_post(&item_ran);
	});
	while (sem_wait(&item_ran))
		;
}

/* --- timers --- */

using timer_type = asio::steady_timer;

struct context {
	asio::io_context io{1};
	asio::executor_work_guard<asio::io_context::executor_type> guard{io.get_executor()};
};

context *context_now;

void loop_run()
{
	context_now->io.run();
}

void loop_wake();

bench_loop make_loop()
{
	bench_loop made = {};

	made.run = loop_run;
	made.wake = loop_wake;
	return made;
}

bench_loop loop = make_loop();

void loop_wake()
{
	asio::post(context_now->io, [] { bench_loop_make_call(&loop); });
}

void loop_call(void (*fn)(void *arg), void *arg)
{
	bench_loop_call(&loop, fn, arg);
}

void timer_init(void *timer)
{
	new (timer) timer_type(context_now->io);
}

void timer_fini(void *timer)
{
	static_cast<timer_type *>(timer)->~timer_type();
}

void timer_arm(void *timer, uint64_t delay_ns)
{
	timer_type *t = static_cast<timer_type *>(timer);

	t->expires_after(std::chrono::nanoseconds(delay_ns));
	t->async_wait([timer](const boost::system::error_code &error) {
		if (!error)
			bench_timer_fired(timer);
	});
}

bool timer_cancel(void *timer)
{
	return static_cast<timer_type *>(timer)->cancel() == 1;
}

bench_timer_ops make_timers()
{
	bench_timer_ops ops = {};

	ops.bytes = (sizeof(timer_type) + 15) / 16 * 16;
	ops.heavy = true;
	ops.never_early = true;
	ops.init = timer_init;
	ops.fini = timer_fini;
	ops.arm = timer_arm;
	ops.cancel = timer_cancel;
	ops.call = loop_call;
	return ops;
}

const bench_timer_ops timers = make_timers();

/* --- */

void start()
{
	bench_must(!sem_init(&item_ran, 0, 0), "sem_init");
	pools_now = new pools;
	context_now = new context;
	bench_loop_start(&loop);
}

void end(void *)
{
	context_now->guard.reset();
	context_now->io.stop();
}

void stop()
{
	bench_loop_stop(&loop, end);
	delete context_now;
	pools_now->plain.join();
	pools_now->one.join();
	delete pools_now;
}

bench_peer make()
{
	bench_peer peer = {};

	peer.name = "asio";
	peer.start = start;
	peer.stop = stop;
	peer.init = init;
	peer.fini = fini;
	peer.queue = queue;
	peer.queue_serial = queue_serial;
	peer.queue_one_cpu = queue_one_cpu;
	peer.queue_and_wait = queue_and_wait;
	peer.timers = &timers;
	return peer;
}

} // namespace

const bench_peer bench_peer_asio = make();
