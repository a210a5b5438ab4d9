// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * @file wq/cpp/delay.hpp
 * Durations of C++ as delays of the library, and back.  Private to <wq/wq.hpp>.
 */
#ifndef WQ_CPP_DELAY_HPP
#define WQ_CPP_DELAY_HPP

#include <chrono>
#include <cmath>
#include <cstdint>
#include <ratio>
#include <type_traits>

namespace wqi
{

/** Nanoseconds, rounded up; below 0, and not a number: 0; above 2^64 - 1: that. */
template <class Rep, class Period>
constexpr std::uint64_t delay_ns(std::chrono::duration<Rep, Period> delay)
{
	using scale = std::ratio_divide<Period, std::nano>;

	if constexpr (std::is_integral_v<Rep> && sizeof(Rep) <= 8 && scale::den == 1) {
		constexpr std::uint64_t scaled = UINT64_MAX / scale::num, top = INT64_MAX;
		constexpr std::uint64_t most = std::is_signed_v<Rep> && top < scaled ? top : scaled;
		std::uint64_t count = static_cast<std::uint64_t>(delay.count());

		/* What is below 0 is above all that is in range. */
		if (__builtin_expect(count > most, 0))
			return delay.count() > 0 ? UINT64_MAX : 0;
		return count * scale::num;
	} else {
		if (!(delay.count() > Rep(0)))
			return 0;
		/* Holds all that 64 bits do. */
		long double ns = std::ceil(static_cast<long double>(delay.count()) * scale::num /
					   scale::den);

		return ns >= 0x1p64L ? UINT64_MAX : static_cast<std::uint64_t>(ns);
	}
}

constexpr std::chrono::nanoseconds from_ns(std::uint64_t ns)
{
	using duration = std::chrono::nanoseconds;

	return ns > static_cast<std::uint64_t>(duration::max().count())
		       ? duration::max()
		       : duration(static_cast<duration::rep>(ns));
}

} // namespace wqi

#endif // WQ_CPP_DELAY_HPP
