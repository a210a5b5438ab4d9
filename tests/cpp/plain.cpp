// SPDX-License-Identifier: LGPL-2.1-or-later
// What works with -fno-exceptions and -fno-rtti: all but being told by an exception.
#include <wq/wq.hpp>

#include <cerrno>
#include <chrono>
#include <memory>

int main()
{
	wq::queue queue = wq::queue::adopt(wq_alloc("plain", WQ_ORDERED, 0));
	std::error_code error;
	int sum = 0;

	if (!queue)
		return 1;
	wq::work work("plain", [&sum] { sum += 1; });
	wq::delayed_work delayed([&sum, big = std::make_unique<int>(10)] { sum += *big; });

	if (!work.queue(queue, error) || error)
		return 2;
	if (!delayed.queue(queue, std::chrono::hours(1), error) || error || !delayed.flush())
		return 3;
	wq::post(
		queue, [&sum] { sum += 100; }, error);
	wq::post_after(queue, std::chrono::nanoseconds(0), [&sum] { sum += 1000; });
	if (error || wq::submit(queue, [&sum] { return sum; }).get() != 1111)
		return 4;
	queue.plug();
	wq::post(
		queue, [] {}, error);
	if (error.value() != ESHUTDOWN || work.queue(queue, error) || error.value() != ESHUTDOWN)
		return 5;
	return 0;
}
