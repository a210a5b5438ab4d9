/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer oneTBB, as its guide advises: from outside, tasks are enqueued into an arena;
 * from inside, a task group spawns them to where the thread finds them first; what must run
 * one at a time goes through a serial node of a flow graph.  By default one thread fewer than
 * CPUs is made, for who waits takes part; here nobody does, so there is one for each.
 */
#include "bench.h"

#include <memory>
#include <thread>

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

namespace
{

namespace tbb = oneapi::tbb;

using serial_node = tbb::flow::function_node<bench_item *, tbb::flow::continue_msg>;

/* What there is from start to stop. */
struct pool {
	int nr_threads = static_cast<int>(std::thread::hardware_concurrency());
	tbb::global_control threads{tbb::global_control::max_allowed_parallelism,
				    static_cast<size_t>(nr_threads) + 1};
	tbb::task_arena arena{nr_threads, 0};
	tbb::task_group group;
	std::unique_ptr<tbb::flow::graph> graph;
	std::unique_ptr<serial_node> serial;
};

pool *pool_now;
thread_local bool inside;

void run(bench_item *item)
{
	inside = true;
	item->fn(item);
	inside = false;
}

void start()
{
	pool_now = new pool;
	/* A graph runs in the arena where it is made. */
	pool_now->arena.execute([] {
		pool_now->graph.reset(new tbb::flow::graph);
		pool_now->serial.reset(
			new serial_node(*pool_now->graph, tbb::flow::serial, [](bench_item *item) {
				run(item);
				return tbb::flow::continue_msg();
			}));
	});
}

void stop()
{
	pool_now->graph->wait_for_all();
	pool_now->arena.execute([] { pool_now->group.wait(); });
	delete pool_now;
}

void init(bench_item *item, void (*fn)(bench_item *item))
{
	item->fn = fn;
}

void queue(bench_item *item)
{
	if (inside)
		pool_now->group.run([item] { run(item); });
	else
		pool_now->arena.enqueue([item] { run(item); });
}

void queue_serial(bench_item *item)
{
	bench_must(pool_now->serial->try_put(item), "try_put");
}

/* No queue_and_wait: who waits runs the item, so it goes nowhere. */
bench_peer make()
{
	bench_peer peer = {};

	peer.name = "onetbb";
	peer.start = start;
	peer.stop = stop;
	peer.init = init;
	peer.queue = queue;
	peer.queue_serial = queue_serial;
	return peer;
}

} // namespace

const bench_peer bench_peer_tbb = make();
