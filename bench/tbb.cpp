/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer oneTBB, twice, as its guide has it: a task group puts tasks where the thread that
 * spawned them finds them first and others steal; those enqueued into an arena are taken
 * about in their order, by workers.  What must run one at a time goes through a serial node of a
 * flow graph.  Who waits for a group takes part, so by default there is one worker fewer than
 * CPUs; nobody waits for what was enqueued, so here there is one for each, as many as its arena
 * has.
 */
#include "bench.h"

#include <memory>
#include <semaphore.h>
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
unsigned nr_users; /* peers that have started */
sem_t item_ran;

void start()
{
	if (nr_users++)
		return;
	bench_must(!sem_init(&item_ran, 0, 0), "sem_init");
	pool_now = new pool;
	/* A graph runs in the arena where it is made. */
	pool_now->arena.execute([] {
		pool_now->graph.reset(new tbb::flow::graph);
		pool_now->serial.reset(
			new serial_node(*pool_now->graph, tbb::flow::serial, [](bench_item *item) {
				item->fn(item);
				return tbb::flow::continue_msg();
			}));
	});
}

void stop()
{
	if (--nr_users)
		return;
	pool_now->graph->wait_for_all();
	pool_now->group.wait();
	delete pool_now;
}

void init(bench_item *item, void (*fn)(bench_item *item))
{
	item->fn = fn;
}

void queue(bench_item *item)
{
	pool_now->group.run([item] { item->fn(item); });
}

void help()
{
	pool_now->group.wait();
}

void enqueue(bench_item *item)
{
	pool_now->arena.enqueue([item] { item->fn(item); });
}

void enqueue_and_wait(bench_item *item)
{
	pool_now->arena.enqueue([item] {
		item->fn(item);
		sem_post(&item_ran);
	});
	while (sem_wait(&item_ran))
		;
}

void queue_serial(bench_item *item)
{
	bench_must(pool_now->serial->try_put(item), "try_put");
}

/* No queue_and_wait: who waits for a group runs the item, so it goes nowhere. */
bench_peer make_group()
{
	bench_peer peer = {};

	peer.name = "onetbb";
	peer.start = start;
	peer.stop = stop;
	peer.init = init;
	peer.queue = queue;
	peer.help = help;
	peer.queue_serial = queue_serial;
	return peer;
}

bench_peer make_enqueue()
{
	bench_peer peer = {};

	peer.name = "tbb-enq";
	peer.start = start;
	peer.stop = stop;
	peer.init = init;
	peer.queue = enqueue;
	peer.queue_and_wait = enqueue_and_wait;
	return peer;
}

} // namespace

const bench_peer bench_peer_tbb = make_group(), bench_peer_tbb_enqueue = make_enqueue();
