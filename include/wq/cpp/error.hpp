// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * @file wq/cpp/error.hpp
 * What goes wrong in C++: answers become exceptions, and exceptions stop at the end of an
 * item.  Private to <wq/wq.hpp>.
 */
#ifndef WQ_CPP_ERROR_HPP
#define WQ_CPP_ERROR_HPP

#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>

#include <cxxabi.h>

namespace wqi
{

/** End the program, for the library answered @err (a negative errno) where nobody can be told. */
[[noreturn, gnu::cold, gnu::noinline]] inline void die(int err, const char *what) noexcept
{
	std::fprintf(stderr, "libwq: %s: %s\n", what, std::strerror(-err));
	std::terminate();
}

/** Throw what the library answered; without exceptions the program ends. */
[[noreturn, gnu::cold, gnu::noinline]] inline void fail(int err, const char *what)
{
#ifdef __cpp_exceptions
	throw std::system_error(-err, std::generic_category(), what);
#else
	die(err, what);
#endif
}

inline int check(int ret, const char *what)
{
	if (__builtin_expect(ret < 0, 0))
		fail(ret, what);
	return ret;
}

/** The same for a caller who asks for the error; afterwards failures are 0. */
inline int check(int ret, std::error_code &ec) noexcept
{
	if (__builtin_expect(ret < 0, 0)) {
		ec.assign(-ret, std::generic_category());
		return 0;
	}
	ec.clear();
	return ret;
}

/** A type's name, between "F = " and the last bracket; without RTTI. */
template <class F> constexpr const char *type_name() noexcept
{
	return __PRETTY_FUNCTION__;
}

/**
 * An exception left an item: nobody further up could take it.  In the handler, so that
 * std::terminate()'s own can say which it was.
 */
[[noreturn, gnu::cold, gnu::noinline]] inline void left_item(const char *name,
							     const char *type) noexcept
{
	const char *from = std::strstr(type, "F = "), *to = std::strrchr(type, ']');
	int len;

	from = from ? from + 4 : type;
	len = to && to > from ? static_cast<int>(to - from) : static_cast<int>(std::strlen(from));
	if (name)
		std::fprintf(stderr, "libwq: an exception left the item \"%s\", %.*s\n", name, len,
			     from);
	else
		std::fprintf(stderr, "libwq: an exception left an item, %.*s\n", len, from);
	std::terminate();
}

/**
 * Call the function of an item.  pthread_exit() and cancellation unwind the stack, too, and
 * pass: the worker ends behind us.
 *
 * @name of the item or nullptr; read before, for @f may free the item.
 */
template <class F, class... Args> inline void call(const char *name, F &f, Args &...args)
{
#ifdef __cpp_exceptions
	try {
		static_cast<void>(f(args...));
#ifdef __GLIBCXX__
	} catch (abi::__forced_unwind &) {
		throw;
#endif
	} catch (...) {
#ifndef __GLIBCXX__
		/* What is not a C++ exception has no pointer: it is the unwinding of a thread. */
		if (!std::current_exception())
			throw;
#endif
		left_item(name, type_name<F>());
	}
#else
	static_cast<void>(name);
	static_cast<void>(f(args...));
#endif
}

} // namespace wqi

#endif // WQ_CPP_ERROR_HPP
