// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * @file wq/cpp/item.hpp
 * Items in C++, with the function in them.  Included by <wq/wq.hpp>.
 */
#ifndef WQ_CPP_ITEM_HPP
#define WQ_CPP_ITEM_HPP

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include <sched.h>

#include <wq/cpp/delay.hpp>
#include <wq/cpp/queue.hpp>

namespace wqi
{

/** An item has room for functions of so many bytes; larger ones are allocated. */
constexpr std::size_t item_room = 40;

/**
 * Take an item back before its memory goes.  Its own function, which may free it, is not
 * waited for, but a queueing or a timer of a moment before may still hold the item.
 */
inline void retire(struct wq_work *work) noexcept
{
	constexpr unsigned held = WQ_BUSY_PENDING | WQ_BUSY_DELAYED | WQ_BUSY_CANCELING;

	if (__builtin_expect(wq_work_cancel_sync(work) != -EDEADLK, 1))
		return;
	while (wq_work_busy(work) & held) {
		wq_work_cancel(work);
		sched_yield();
	}
}

/** What wq::work and wq::delayed_work have in common. */
template <class Native, class Self> class item
{
public:
	item(const item &) = delete;
	item &operator=(const item &) = delete;

	/** The item as the functions of <wq/wq.h> take it. */
	Native *native() noexcept
	{
		return &native_;
	}

	const Native *native() const noexcept
	{
		return &native_;
	}

	/**
	 * wq_queue(): was it accepted?  If not it is pending or armed already, and the run to
	 * come serves this call too.  Throws EBUSY (disabled, or being cancelled), ESHUTDOWN.  In
	 * the item's own function false stands for EBUSY: one that queues itself, and is
	 * destroyed or cancelled meanwhile, ends.
	 */
	bool queue(wq::queue_ref q)
	{
		return queued(wq_queue(q.native(), plain()), "wq_queue");
	}

	/** The same for signal handlers, and where ESHUTDOWN is to be expected. */
	bool queue(wq::queue_ref q, std::error_code &ec) noexcept
	{
		return check(wq_queue(q.native(), plain()), ec);
	}

	/** wq_queue_on(), wq_queue_node().  Throw as queue(), and EINVAL. */
	bool queue_on(wq::queue_ref q, int cpu)
	{
		return queued(wq_queue_on(q.native(), plain(), cpu), "wq_queue_on");
	}

	bool queue_node(wq::queue_ref q, int node)
	{
		return queued(wq_queue_node(q.native(), plain(), node), "wq_queue_node");
	}

	/** wq_work_flush(): did it wait?  Throws EDEADLK. */
	bool flush()
	{
		return check(wq_work_flush(plain()), "wq_work_flush");
	}

	/** wq_work_cancel(): was it taken back?  It may still be running. */
	bool cancel() noexcept
	{
		return wq_work_cancel(plain()) > 0;
	}

	/**
	 * wq_work_cancel_sync(): was it taken back?  It does not run any more.  Throws
	 * EDEADLK from its own function: it is cancelled all the same.
	 */
	bool cancel_sync()
	{
		return check(wq_work_cancel_sync(plain()), "wq_work_cancel_sync");
	}

	/** wq_work_disable(), wq_work_disable_sync().  Throw EOVERFLOW; the second as
	 * cancel_sync(). */
	bool disable()
	{
		return check(wq_work_disable(plain()), "wq_work_disable");
	}

	bool disable_sync()
	{
		return check(wq_work_disable_sync(plain()), "wq_work_disable_sync");
	}

	/** wq_work_enable(): is it enabled now?  Throws EINVAL: it was not disabled. */
	bool enable()
	{
		return check(wq_work_enable(plain()), "wq_work_enable");
	}

	/** wq_enable_and_queue().  Throws EINVAL, and as queue(): then it is enabled. */
	bool enable_and_queue(wq::queue_ref q)
	{
		return check(wq_enable_and_queue(q.native(), plain()), "wq_enable_and_queue");
	}

	/** wq_work_pending(), wq_work_busy(): snapshots. */
	bool pending() const noexcept
	{
		return wq_work_pending(plain());
	}

	unsigned busy() const noexcept
	{
		return wq_work_busy(plain());
	}

	/** As it was given, or nullptr. */
	const char *name() const noexcept
	{
		return name_;
	}

protected:
	/** The answer to a queueing, as queue() says. */
	bool queued(int ret, const char *what)
	{
		return __builtin_expect(ret >= 0, 1) ? ret > 0 : refused(ret, what);
	}

	[[gnu::cold, gnu::noinline]] bool refused(int ret, const char *what)
	{
		if (ret == -EBUSY && wq_current_work() == plain())
			return false;
		return check(ret, what);
	}

	/** Is it kept in the item; and can that not fail? */
	template <class T>
	static constexpr bool is_near = sizeof(T) <= item_room && alignof(T) <= alignof(void *);
	template <class F>
	static constexpr bool is_safe =
		std::conjunction_v<std::bool_constant<is_near<std::decay_t<F>>>,
				   std::is_nothrow_constructible<std::decay_t<F>, F>>;

	template <class F>
	item(const char *name, F &&f) noexcept(is_safe<F>) : native_(), name_(name)
	{
		using T = std::decay_t<F>;

		static_assert(std::is_invocable_v<T &> || std::is_invocable_v<T &, Self &>,
			      "an item's function takes nothing, or the item by reference");
		if constexpr (is_near<T>) {
			set(&native_, run<T>,
			    ::new (static_cast<void *>(room_)) T(std::forward<F>(f)));
			destroy_ = std::is_trivially_destructible_v<T> ? nullptr : destroy<T>;
		} else {
			T *far = new T(std::forward<F>(f));

			::new (static_cast<void *>(room_)) T *(far);
			set(&native_, run<T>, far);
			destroy_ = destroy_far<T>;
		}
	}

	~item()
	{
		retire(plain());
		if (destroy_)
			destroy_(room_);
	}

private:
	struct wq_work *plain() noexcept
	{
		return reinterpret_cast<struct wq_work *>(&native_); /* its first member */
	}

	const struct wq_work *plain() const noexcept
	{
		return reinterpret_cast<const struct wq_work *>(&native_);
	}

	static void set(struct wq_work *work, wq_work_fn fn, void *ctx) noexcept
	{
		wq_work_init(work, fn, ctx);
	}

	static void set(struct wq_delayed_work *dw, wq_work_fn fn, void *ctx) noexcept
	{
		wq_delayed_work_init(dw, fn, ctx);
	}

	/* One for each type of function, so that wq_cpu_hogs() tells them apart. */
	template <class T> static void run(struct wq_work *work, void *ctx)
	{
		Self *self = static_cast<Self *>(reinterpret_cast<item *>(work));

		if constexpr (std::is_invocable_v<T &>)
			call(self->name_, *static_cast<T *>(ctx));
		else
			call(self->name_, *static_cast<T *>(ctx), *self);
	}

	template <class T> static void destroy(void *room) noexcept
	{
		static_cast<T *>(room)->~T();
	}

	template <class T> static void destroy_far(void *room) noexcept
	{
		delete *static_cast<T **>(room);
	}

	Native native_; /* first, for run() */
	const char *name_;
	void (*destroy_)(void *room);
	alignas(void *) unsigned char room_[item_room];
};

} // namespace wqi

/**
 * wq::work - an item with its function
 *
 * The function is a callable of any type that takes nothing, or the wq::work itself by
 * reference; it need not be copyable.  Up to 40 bytes, aligned as pointers are, it is kept in the
 * item, which then allocates nothing.  An exception that leaves it ends the program by
 * std::terminate(), with a line that says the item's name and the function's type.
 *
 * Lifetime: items do not move.  The destructor is as cancel_sync(): a run that has not
 * started does not take place, one that goes on is waited for.  So declare an item after
 * what its function uses.  The function may destroy its own item, as `delete this`: the
 * run goes on, without the captures.  Nobody may queue an item while it is destroyed.
 *
 * @name: nullptr, or what to call the item; not copied, so it must outlive the item's runs
 */
class wq::work : public wqi::item<struct wq_work, wq::work>
{
public:
	template <class F, class = std::enable_if_t<!std::is_base_of_v<work, std::decay_t<F>>>>
	explicit work(F &&f) noexcept(is_safe<F>) : item(nullptr, std::forward<F>(f))
	{
	}

	template <class F>
	work(const char *name, F &&f) noexcept(is_safe<F>) : item(name, std::forward<F>(f))
	{
	}
};

/**
 * wq::delayed_work - the same, to be queued after a delay
 *
 * Delays are any std::chrono::duration, and are rounded up: none is shorter than asked
 * for.  A negative one is 0, one that is too long to be counted in nanoseconds is for ever.
 */
class wq::delayed_work : public wqi::item<struct wq_delayed_work, wq::delayed_work>
{
public:
	template <class F,
		  class = std::enable_if_t<!std::is_base_of_v<delayed_work, std::decay_t<F>>>>
	explicit delayed_work(F &&f) noexcept(is_safe<F>) : item(nullptr, std::forward<F>(f))
	{
	}

	template <class F>
	delayed_work(const char *name, F &&f) noexcept(is_safe<F>) : item(name, std::forward<F>(f))
	{
	}

	using item::queue;
	using item::queue_on;

	/** wq_queue_delayed(), wq_queue_delayed_on(): was it armed?  Throw as queue(). */
	template <class Rep, class Period>
	bool queue(queue_ref q, std::chrono::duration<Rep, Period> delay)
	{
		return queued(wq_queue_delayed(q.native(), native(), wqi::delay_ns(delay)),
			      "wq_queue_delayed");
	}

	template <class Rep, class Period>
	bool queue(queue_ref q, std::chrono::duration<Rep, Period> delay,
		   std::error_code &ec) noexcept
	{
		return wqi::check(wq_queue_delayed(q.native(), native(), wqi::delay_ns(delay)), ec);
	}

	template <class Rep, class Period>
	bool queue_on(queue_ref q, std::chrono::duration<Rep, Period> delay, int cpu)
	{
		return queued(wq_queue_delayed_on(q.native(), native(), wqi::delay_ns(delay), cpu),
			      "wq_queue_delayed_on");
	}

	/** wq_mod_delayed(): was it armed or pending?  Throws as queue(). */
	template <class Rep, class Period>
	bool mod(queue_ref q, std::chrono::duration<Rep, Period> delay)
	{
		return queued(wq_mod_delayed(q.native(), native(), wqi::delay_ns(delay)),
			      "wq_mod_delayed");
	}

	/** wq_reschedule(): was it armed?  Throws as queue(). */
	template <class Rep, class Period>
	bool reschedule(queue_ref q, std::chrono::duration<Rep, Period> delay)
	{
		return queued(wq_reschedule(q.native(), native(), wqi::delay_ns(delay)),
			      "wq_reschedule");
	}

	/** wq_delayed_work_remaining_ns(): 0 if it is not armed, or due. */
	std::chrono::nanoseconds remaining() const noexcept
	{
		return wqi::from_ns(wq_delayed_work_remaining_ns(native()));
	}
};

#endif // WQ_CPP_ITEM_HPP
