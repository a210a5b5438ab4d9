// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * @file wq/cpp/call.hpp
 * Functions that are run once, and the executor.  Included by <wq/wq.hpp>.
 */
#ifndef WQ_CPP_CALL_HPP
#define WQ_CPP_CALL_HPP

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <wq/cpp/delay.hpp>
#include <wq/cpp/queue.hpp>

namespace wqi
{

/** A function that fits in a pointer needs no memory of its own. */
template <class F>
constexpr bool fits_pointer =
	std::conjunction_v<std::is_trivially_copyable<F>, std::is_trivially_destructible<F>,
			   std::bool_constant<(sizeof(F) <= sizeof(void *))>,
			   std::bool_constant<(alignof(F) <= alignof(void *))>>;

template <class F> void *to_pointer(const F &f) noexcept
{
	void *ctx = nullptr;

	if constexpr (!std::is_empty_v<F>)
		std::memcpy(&ctx, std::addressof(f), sizeof(f));
	return ctx;
}

template <class F> void run_pointer(void *ctx)
{
	alignas(F) unsigned char room[sizeof(F)];

	std::memcpy(room, &ctx, sizeof(F));
	call(nullptr, *std::launder(reinterpret_cast<F *>(room)));
}

/** A function with an item that runs it, in one piece of memory. */
template <class Native, class F> struct call_node {
	template <class G> explicit call_node(G &&g) : native(), f(std::forward<G>(g))
	{
	}

	/* Freed after the function: an item made in there could get the same address. */
	static void run(struct wq_work *, void *ctx)
	{
		std::unique_ptr<call_node> node(static_cast<call_node *>(ctx));

		call(nullptr, node->f);
	}

	Native native;
	F f;
};

/** wq_call() and wq_call_after(), by their items. */
template <class Native> struct call_way;

template <> struct call_way<struct wq_work> {
	static int call(struct wq *wq, wq_call_fn fn, void *ctx) noexcept
	{
		return wq_call(wq, fn, ctx);
	}

	static int queue(struct wq *wq, struct wq_work *work, wq_work_fn fn, void *ctx) noexcept
	{
		wq_work_init(work, fn, ctx);
		return wq_queue(wq, work);
	}
};

template <> struct call_way<struct wq_delayed_work> {
	static int call(struct wq *wq, wq_call_fn fn, void *ctx, std::uint64_t delay_ns) noexcept
	{
		return wq_call_after(wq, delay_ns, fn, ctx);
	}

	static int queue(struct wq *wq, struct wq_delayed_work *dw, wq_work_fn fn, void *ctx,
			 std::uint64_t delay_ns) noexcept
	{
		wq_delayed_work_init(dw, fn, ctx);
		return wq_queue_delayed(wq, dw, delay_ns);
	}
};

template <class Native, class F, class... Delay>
int call_once(struct wq *wq, F &&f, Delay... delay_ns)
{
	using T = std::decay_t<F>;

	static_assert(std::is_invocable_v<T &>,
		      "the function takes nothing, and is called as an lvalue");
	if constexpr (fits_pointer<T>) {
		return call_way<Native>::call(wq, run_pointer<T>, to_pointer<T>(f), delay_ns...);
	} else {
		using node_type = call_node<Native, T>;
		std::unique_ptr<node_type> node(new (std::nothrow) node_type(std::forward<F>(f)));
		int ret;

		if (!node)
			return -ENOMEM;
		ret = call_way<Native>::queue(wq, &node->native, node_type::run, node.get(),
					      delay_ns...);
		if (ret > 0)
			static_cast<void>(node.release());
		return ret;
	}
}

} // namespace wqi

template <class F> void wq::post(queue_ref q, F &&f)
{
	wqi::check(wqi::call_once<struct wq_work>(q.native(), std::forward<F>(f)), "wq::post");
}

template <class F> void wq::post(queue_ref q, F &&f, std::error_code &ec)
{
	wqi::check(wqi::call_once<struct wq_work>(q.native(), std::forward<F>(f)), ec);
}

template <class Rep, class Period, class F>
void wq::post_after(queue_ref q, std::chrono::duration<Rep, Period> delay, F &&f)
{
	wqi::check(wqi::call_once<struct wq_delayed_work>(q.native(), std::forward<F>(f),
							  wqi::delay_ns(delay)),
		   "wq::post_after");
}

template <class F>
std::future<std::invoke_result_t<std::decay_t<F> &>> wq::submit(queue_ref q, F &&f)
{
	using R = std::invoke_result_t<std::decay_t<F> &>;

	/* One that is such a task itself, and whose future was taken, is a function too. */
	std::packaged_task<R()> task(
		[f = std::decay_t<F>(std::forward<F>(f))]() mutable -> R { return f(); });
	auto result = task.get_future();

	wqi::check(wqi::call_once<struct wq_work>(q.native(), std::move(task)), "wq::submit");
	return result;
}

/**
 * wq::executor - a queue as an executor of Asio
 *
 *     asio::post(wq::executor(q), f);
 *     timer.async_wait(asio::bind_executor(wq::executor(q), f));
 *
 * Serves Boost.Asio and Asio alone, from 1.18 on, and needs neither: its one property,
 * that it never blocks until a function has run, is found by what Asio calls it.  It has no
 * execution context, so asio::any_io_executor and asio::strand do not take it; an ordered
 * queue is a strand.
 *
 * Lifetime: the queue must outlive what is to be executed.
 */
class wq::executor
{
public:
	explicit executor(queue_ref q) noexcept : wq_(q.native())
	{
	}

	/** As wq::post(). */
	template <class F> void execute(F &&f) const
	{
		post(wq_, std::forward<F>(f));
	}

	/** The queue. */
	queue_ref queue() const noexcept
	{
		return wq_;
	}

	template <class Property>
	static constexpr auto query(Property) noexcept ->
		typename Property::polymorphic_query_result_type::never_t
	{
		return {};
	}

	friend bool operator==(const executor &a, const executor &b) noexcept
	{
		return a.wq_ == b.wq_;
	}

	friend bool operator!=(const executor &a, const executor &b) noexcept
	{
		return a.wq_ != b.wq_;
	}

private:
	struct wq *wq_;
};

#endif // WQ_CPP_CALL_HPP
