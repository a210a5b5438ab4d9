// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The same in C++: a journal that writes its lines in batches, on a queue of its own.
// Functions are lambdas, results are futures, and everything ends with its scope.
#include <wq/wq.hpp>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;

class journal
{
public:
	explicit journal(wq::queue_ref q) : queue_(q)
	{
	}

	// The first line of a batch puts the writing off, the others find it armed.
	void add(std::string line)
	{
		{
			std::lock_guard<std::mutex> guard(lock_);

			lines_.push_back(std::move(line));
		}
		if (write_.queue(queue_, 1min))
			std::puts("journal: a batch begins");
	}

	void flush()
	{
		write_.flush(); // now, not in a minute
	}

private:
	void write()
	{
		std::vector<std::string> lines;

		{
			std::lock_guard<std::mutex> guard(lock_);

			lines.swap(lines_);
		}
		for (const std::string &line : lines)
			std::printf("journal: %s\n", line.c_str());
	}

	wq::queue_ref queue_;
	std::mutex lock_;
	std::vector<std::string> lines_;
	// Last, so that it ends first: its destructor disarms it, and waits while it runs.
	wq::delayed_work write_{"journal", [this] { write(); }};
};

static void write_journal(wq::queue_ref q)
{
	journal journal(q);

	journal.add("one");
	journal.add("two");
	journal.flush();
	journal.add("never written, for the journal ends before");
}

static void ask_for_results(wq::queue_ref q)
{
	auto numbers = std::make_unique<std::vector<int>>(10, 7);
	std::future<int> sum = wq::submit(q, [numbers = std::move(numbers)] {
		int sum = 0;

		for (int number : *numbers)
			sum += number;
		return sum;
	});
	std::future<void> failure = wq::submit(q, [] { throw std::runtime_error("no such file"); });

	std::printf("the sum is %d\n", sum.get());
	try {
		failure.get();
	} catch (const std::runtime_error &error) {
		std::printf("the other one failed: %s\n", error.what());
	}
}

static void be_refused(wq::queue_ref q)
{
	q.plug();
	try {
		wq::post(q, [] { std::puts("not reached"); });
	} catch (const std::system_error &error) {
		std::printf("refused: %s\n",
			    error.code().value() == ESHUTDOWN ? "ESHUTDOWN" : error.what());
	}
	q.unplug();
}

int main()
{
	try {
		wq::queue queue("journal", WQ_ORDERED);

		write_journal(queue);
		ask_for_results(queue);
		be_refused(queue);
		for (int i = 0; i < 3; i++)
			wq::post(queue, [i] { std::printf("call %d\n", i); });
		// The queue's destructor runs what waits.
	} catch (const std::system_error &error) {
		std::fprintf(stderr, "14_cpp: %s\n", error.what());
		return 1;
	}
	return 0;
}
