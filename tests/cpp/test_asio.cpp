// SPDX-License-Identifier: LGPL-2.1-or-later
// Queues as executors of Asio: Boost's, or the one alone.  Ends with 0, or with the number of
// the first thing that is wrong.
#ifdef TEST_BOOST_ASIO
#include <boost/asio.hpp>
namespace asio = boost::asio;
using boost::system::error_code;
#else
#include <asio.hpp>
using asio::error_code;
#endif

#include <wq/wq.hpp>

#include <cerrno>
#include <chrono>
#include <future>
#include <memory>

static_assert(asio::execution::is_executor<wq::executor>::value);
static_assert(asio::can_require<wq::executor, asio::execution::blocking_t::never_t>::value);
static_assert(!asio::can_require<wq::executor, asio::execution::blocking_t::always_t>::value);
static_assert(
	std::is_same_v<wq::executor,
		       std::decay_t<decltype(asio::require(std::declval<wq::executor>(),
							   asio::execution::blocking.never))>>);

/* Where a completion handler of a timer runs. */
static struct wq *timer_runs_on(wq::executor executor)
{
	asio::io_context io;
	asio::steady_timer timer(io, std::chrono::milliseconds(1));
	std::promise<struct wq *> where;

	timer.async_wait(asio::bind_executor(executor, [&where](error_code) {
		where.set_value(wq_current_wq());
	}));
	io.run();
	return where.get_future().get();
}

/* A chain that goes from an io_context to the queue and back. */
static struct wq *round_trip(wq::executor executor)
{
	asio::io_context io;
	auto guard = asio::make_work_guard(io);
	struct wq *there = nullptr;

	asio::post(executor, [&] {
		there = wq_current_wq();
		asio::post(io, [&] { guard.reset(); });
	});
	io.run();
	executor.queue().flush(); /* it may still be in post() */
	return there;
}

int main()
{
	wq::queue queue("asio", WQ_ORDERED), other("other");
	wq::executor executor(queue);
	unsigned long runs = 0;
	int refused = 0;

	if (executor != wq::executor(queue) || executor == wq::executor(other) ||
	    executor.queue().native() != queue.native() ||
	    asio::query(executor, asio::execution::blocking) != asio::execution::blocking.never)
		return 1;

	/* In order, for the queue is: a strand. */
	for (unsigned long i = 0; i < 1000; i++)
		asio::post(executor, [&runs, i] { runs += runs == i; });
	queue.flush();
	if (runs != 1000)
		return 2;

	/* None of the three runs it here. */
	asio::dispatch(executor, [&runs, p = std::make_unique<int>(1)] { runs += *p; });
	asio::defer(executor, [&runs] { runs += wq_current_work() != nullptr; });
	queue.flush();
	if (runs != 1002)
		return 3;

	asio::post(executor, asio::use_future).get();
	if (asio::post(executor, asio::use_future([&runs] { return runs; })).get() != 1002)
		return 4;

	if (timer_runs_on(executor) != queue.native() || round_trip(executor) != queue.native())
		return 5;
	if (timer_runs_on(wq::executor(wq::system())) != wq_system())
		return 6;

	queue.plug();
	try {
		asio::post(executor, [&runs] { runs++; });
	} catch (const std::system_error &error) {
		refused = error.code().value();
	}
	return refused == ESHUTDOWN && runs == 1002 ? 0 : 7;
}
