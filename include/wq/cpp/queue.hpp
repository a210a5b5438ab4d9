// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * @file wq/cpp/queue.hpp
 * Queues in C++: one that owns, and a reference.  Included by <wq/wq.hpp>.
 */
#ifndef WQ_CPP_QUEUE_HPP
#define WQ_CPP_QUEUE_HPP

#include <cerrno>
#include <utility>

#include <wq/cpp/error.hpp>

namespace wqi
{

/** What can be done with a queue, whoever owns it. */
class queue_calls
{
public:
	/** The queue as the functions of <wq/wq.h> take it. */
	struct wq *native() const noexcept
	{
		return wq_;
	}

	/** wq_flush(): wait for all that was accepted before.  Throws EDEADLK, EPERM. */
	void flush() const
	{
		check(wq_flush(wq_), "wq_flush");
	}

	/** wq_drain(): wait until nothing is queued or running.  Throws EDEADLK, EPERM. */
	void drain() const
	{
		check(wq_drain(wq_), "wq_drain");
	}

	/** wq_plug(), wq_unplug(): did it change anything?  Throw EPERM. */
	bool plug() const
	{
		return changed(wq_plug(wq_), "wq_plug");
	}

	bool unplug() const
	{
		return changed(wq_unplug(wq_), "wq_unplug");
	}

	/** wq_set_max_active(), wq_set_min_active().  Throw EINVAL. */
	void set_max_active(int n) const
	{
		check(wq_set_max_active(wq_, n), "wq_set_max_active");
	}

	void set_min_active(int n) const
	{
		check(wq_set_min_active(wq_, n), "wq_set_min_active");
	}

	/** wq_apply_attrs().  Throws EINVAL, EPERM, ESHUTDOWN, ENOMEM. */
	void apply(const struct wq_attrs &attrs) const
	{
		check(wq_apply_attrs(wq_, &attrs), "wq_apply_attrs");
	}

	/** wq_congested() */
	bool congested() const noexcept
	{
		return wq_congested(wq_);
	}

protected:
	explicit queue_calls(struct wq *wq) noexcept : wq_(wq)
	{
	}

	queue_calls(const queue_calls &) = default;
	queue_calls &operator=(const queue_calls &) = default;
	~queue_calls() = default;

	static bool changed(int ret, const char *what)
	{
		return ret != -EALREADY && !check(ret, what);
	}

	static struct wq *made(struct wq *wq, const char *what)
	{
		return wq ? wq : (fail(-errno, what), nullptr);
	}

	friend struct ::wq;

	struct wq *wq_;
};

} // namespace wqi

/**
 * wq::queue_ref - a queue that somebody else owns: as cheap as a pointer, and copied as one
 *
 * Functions that queue take it, so that a wq::queue, a system queue and a `struct wq *`
 * will all do.
 */
class wq::queue_ref : public wqi::queue_calls
{
public:
	queue_ref(struct wq *wq) noexcept : queue_calls(wq)
	{
	}

	queue_ref(const queue &owner) noexcept;
};

/**
 * wq::queue - a queue that ends with its scope
 *
 * The destructor waits for the queue's items, as wq_destroy() does.  It can't where a
 * delayed item or a call is armed on the queue (EBUSY), or the caller is one of the
 * queue's own items (EDEADLK): then the program ends by std::terminate(), with a line
 * that says so, for whoever goes on would use a queue that is gone.  Declare delayed items
 * after the queue, so that they end before it; destroy() answers instead.
 *
 * Moving hands the queue over; what is queued on it stays queued.
 */
class wq::queue : public wqi::queue_calls
{
public:
	/** None. */
	queue() noexcept : queue_calls(nullptr)
	{
	}

	/** wq_alloc().  Throws what that sets errno to. */
	explicit queue(const char *name, enum wq_flags flags = {}, int max_active = 0)
	    : queue_calls(made(wq_alloc(name, flags, max_active), "wq_alloc"))
	{
	}

	/** wq_alloc_attrs().  Throws what that sets errno to. */
	queue(const char *name, enum wq_flags flags, int max_active, const struct wq_attrs &attrs)
	    : queue_calls(made(wq_alloc_attrs(name, flags, max_active, &attrs), "wq_alloc_attrs"))
	{
	}

	/** Own what wq_alloc() has answered. */
	static queue adopt(struct wq *wq) noexcept
	{
		queue owner;

		owner.wq_ = wq;
		return owner;
	}

	queue(queue &&other) noexcept : queue_calls(other.release())
	{
	}

	/** Ends the queue that was owned before, as the destructor does. */
	queue &operator=(queue &&other) noexcept
	{
		queue(std::move(other)).swap(*this);
		return *this;
	}

	~queue()
	{
		int err = wq_destroy(wq_);

		if (__builtin_expect(err < 0, 0))
			die(err);
	}

	/** wq_destroy().  Throws EBUSY, EDEADLK; the queue is still there then. */
	void destroy()
	{
		wqi::check(wq_destroy(wq_), "wq_destroy");
		wq_ = nullptr;
	}

	/** Give it up without ending it. */
	struct wq *release() noexcept
	{
		return std::exchange(wq_, nullptr);
	}

	void swap(queue &other) noexcept
	{
		std::swap(wq_, other.wq_);
	}

	explicit operator bool() const noexcept
	{
		return wq_;
	}

private:
	[[noreturn]] static void die(int err) noexcept
	{
		const char *why = "a queue can't be destroyed";

		if (err == -EBUSY)
			why = "a queue is destroyed while delayed items are armed on it";
		else if (err == -EDEADLK)
			why = "a queue is destroyed by one of its own items";
		wqi::die(err, why);
	}
};

inline wq::queue_ref::queue_ref(const queue &owner) noexcept : queue_calls(owner.native())
{
}

/** Flags of a queue, or-ed together. */
constexpr enum wq_flags operator|(enum wq_flags a, enum wq_flags b) noexcept
{
	return static_cast<enum wq_flags>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

constexpr enum wq_flags &operator|=(enum wq_flags &a, enum wq_flags b) noexcept
{
	return a = a | b;
}

inline wq::queue_ref wq::system()
{
	return queue_ref::made(wq_system(), "wq_system");
}

inline wq::queue_ref wq::system_percpu()
{
	return queue_ref::made(wq_system_percpu(), "wq_system_percpu");
}

inline wq::queue_ref wq::system_highpri()
{
	return queue_ref::made(wq_system_highpri(), "wq_system_highpri");
}

inline wq::queue_ref wq::system_long()
{
	return queue_ref::made(wq_system_long(), "wq_system_long");
}

inline wq::queue_ref wq::system_freezable()
{
	return queue_ref::made(wq_system_freezable(), "wq_system_freezable");
}

inline wq::queue_ref wq::system_power_efficient()
{
	return queue_ref::made(wq_system_power_efficient(), "wq_system_power_efficient");
}

inline wq::queue_ref wq::system_bh()
{
	return queue_ref::made(wq_system_bh(), "wq_system_bh");
}

#endif // WQ_CPP_QUEUE_HPP
