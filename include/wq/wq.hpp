// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * @file wq/wq.hpp
 * The C++ API of libwq, for C++17: queues that end with their scope, items and calls with
 * lambdas, futures, and an executor for Asio.
 *
 * Header-only: it calls the functions of <wq/wq.h>, whose comments say what is promised,
 * and adds a handful of instructions.  What they answer as a negative errno is thrown as
 * std::system_error of the generic category, or stored in a std::error_code where one is
 * given; answers of 1 and 0 are true and false.
 *
 * Where exceptions are off (-fno-exceptions), what would be thrown ends the program, with a
 * line that says what was refused: use the calls with an error_code, wq::queue::adopt(), or
 * those of <wq/wq.h> on native().  Nothing here needs RTTI.  Compile all that is linked into one
 * program alike.
 */
#ifndef WQ_WQ_HPP
#define WQ_WQ_HPP

#if __cplusplus < 201703L
#error "<wq/wq.hpp> is for C++17 and later; <wq/wq.h> is for any"
#endif

#include <chrono>
#include <future>
#include <system_error>
#include <type_traits>

#include <wq/wq.h>

/**
 * wq - what is named wq::... in C++
 *
 * A class, and not a namespace, for the C API has a `struct wq`, and one name can't be both.
 * To the library it is the opaque queue that it is in C: nobody makes or reads one.
 */
struct wq {
	wq() = delete;
	~wq() = delete;

	class queue;	    /* owns: cpp/queue.hpp */
	class queue_ref;    /* refers to one */
	class work;	    /* an item with its function: cpp/item.hpp */
	class delayed_work; /* the same, with a timer */
	class executor;	    /* for Asio: cpp/call.hpp */

	/** The shared queues, as wq_system() and so on.  Throw ENOMEM, EAGAIN, ESHUTDOWN. */
	static queue_ref system();
	static queue_ref system_percpu();
	static queue_ref system_highpri();
	static queue_ref system_long();
	static queue_ref system_freezable();
	static queue_ref system_power_efficient();
	static queue_ref system_bh();

	/**
	 * wq::post, wq::post_after - run a function once on a queue, at once or after a delay
	 * @q:     queue
	 * @delay: as of wq::delayed_work
	 * @f:     callable of any type that takes nothing; it need not be copyable
	 *
	 * n calls are n runs.  A function that fits in a pointer, such as a lambda with one
	 * reference, takes memory as wq_call() does; for others there is one allocation.
	 * What is left of @f is destroyed after its run, on that thread.  An exception that leaves
	 * it ends the program, as in a wq::work.
	 *
	 * Throws ENOMEM, ESHUTDOWN, EAGAIN as wq_queue(): then @f is not run, and it is gone.
	 * Context, Safety, Ordering, Lifetime: as wq_call(), wq_call_after().
	 */
	template <class F> static void post(queue_ref q, F &&f);
	template <class F> static void post(queue_ref q, F &&f, std::error_code &ec);
	template <class Rep, class Period, class F>
	static void post_after(queue_ref q, std::chrono::duration<Rep, Period> delay, F &&f);

	/**
	 * wq::submit - the same, and have the result
	 *
	 * Return: a future for what @f returns or throws.  It must not be waited for by an item
	 *   that has to end before @f can start, such as one of the same ordered queue: no
	 *   library sees that.  Where @f leaves by pthread_exit() it holds
	 *   std::future_errc::broken_promise.
	 * Throws as post().
	 */
	template <class F>
	static std::future<std::invoke_result_t<std::decay_t<F> &>> submit(queue_ref q, F &&f);
};

#include <wq/cpp/queue.hpp>
#include <wq/cpp/item.hpp>
#include <wq/cpp/call.hpp>

#endif // WQ_WQ_HPP
