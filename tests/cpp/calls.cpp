// SPDX-License-Identifier: LGPL-2.1-or-later
// The C++ API: functions that are run once, and futures.
#include "checks.hpp"

#include <array>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

static void post_runs_once_for_each_call()
{
	const enum wq_flags kinds[] = {{}, WQ_PERCPU, WQ_ORDERED, WQ_DEDICATED};
	unsigned long nr = scaled(2000);

	for (enum wq_flags kind : kinds) {
		std::atomic<unsigned long> runs(0);

		{
			wq::queue queue("post", kind);

			for (unsigned long i = 0; i < nr; i++) {
				wq::post(queue, [&runs] { runs++; });
				wq::post(queue, [&runs, i, c = counted()] { runs += i > 0; });
			}
		}
		EXPECT(runs == 2 * nr - 1);
		EXPECT(counted::nr == 0);
	}
}

static std::atomic<int> plain_runs;

static void plain_function()
{
	plain_runs++;
}

static void post_takes_any_callable()
{
	std::array<int, 100> numbers;
	unsigned long before;
	long sum = 0;

	numbers.fill(1);
	{
		wq::queue queue("any", WQ_ORDERED);

		before = nr_new;
		wq::post(queue, [] { plain_runs++; });
		wq::post(queue, plain_function);
		wq::post(queue, &plain_function);
		wq::post(queue, [&sum] { sum++; });
		wq::post(queue, [byte = 'a', &sum = *&sum] { sum += byte == 'a'; });
		EXPECT(nr_new <= before + 1); /* all but the last fit in a pointer */
		wq::post(queue, [numbers, &sum] {
			for (int number : numbers)
				sum += number;
		});
		wq::post(queue, [p = std::make_unique<int>(1000), &sum] { sum += *p; });
		wq::post(queue, [n = 10000, &sum]() mutable { return sum += n++; });
	}
	EXPECT(plain_runs == 3);
	EXPECT(sum == 11102);
}

/* Two in one tick are queued in no particular order. */
static void post_after_waits_for_its_delay()
{
	wq::queue queue("after", WQ_ORDERED);
	auto start = std::chrono::steady_clock::now();
	std::atomic<unsigned> early(0);
	gate ran;

	wq::post_after(queue, 2ms, [&, c = counted()] {
		early += std::chrono::steady_clock::now() < start + 2ms;
		ran.open();
	});
	wq::post_after(queue, 1us, [&ran] { ran.open(); });
	wq::post_after(queue, -1h, [&ran] { ran.open(); });
	ran.wait(3);
	while (THROWN(queue.destroy()) == EBUSY)
		;
	EXPECT(early == 0 && counted::nr == 0);
}

static void post_that_is_refused_destroys_the_function()
{
	wq::queue queue("refuses", WQ_ORDERED);
	std::error_code error;
	int runs = 0;

	queue.plug();
	EXPECT(THROWN(wq::post(queue, [&runs] { runs++; })) == ESHUTDOWN);
	EXPECT(THROWN(wq::post(queue, [&runs, c = counted()] { runs++; })) == ESHUTDOWN);
	EXPECT(THROWN(wq::submit(queue, [&runs, c = counted()] { runs++; })) == ESHUTDOWN);
	wq::post(
		queue, [&runs, c = counted()] { runs++; }, error);
	EXPECT(error.value() == ESHUTDOWN && error.category() == std::generic_category());
	queue.unplug();
	wq::post(
		queue, [&runs, c = counted()] { runs++; }, error);
	EXPECT(!error);
	queue.flush();
	EXPECT(runs == 1 && counted::nr == 0);
	EXPECT(THROWN(wq::post(nullptr, [] {})) == EINVAL);
	EXPECT(THROWN(wq::post_after(nullptr, 1s, [] {})) == EINVAL);
}

static void post_without_memory_is_told()
{
	wq::queue queue("memory");
	std::array<int, 100> numbers = {};
	std::error_code error;
	int answers[2];

	if (!new_is_ours())
		return;
	new_fails = true;
	answers[0] = THROWN(wq::post(queue, [numbers] { plain_runs += numbers[0]; }));
	answers[1] = THROWN(wq::post_after(queue, 1h, [numbers] { plain_runs += numbers[0]; }));
	wq::post(
		queue, [numbers] { plain_runs += numbers[0]; }, error);
	new_fails = false;
	EXPECT(answers[0] == ENOMEM && answers[1] == ENOMEM && error.value() == ENOMEM);
}

static void post_of_what_can_not_be_copied_queues_nothing()
{
	wq::queue queue("copy");
	struct function {
		counted c;
		void operator()()
		{
		}
	} f;

	f.c.throws = true;
	EXPECT(THROWN(wq::post(queue, f)) == EDOM);
	EXPECT(THROWN(wq::post_after(queue, 1h, f)) == EDOM);
	EXPECT(THROWN(wq::submit(queue, f)) == EDOM);
	queue.destroy();
	EXPECT(counted::nr == 1);
}

static void submit_has_the_result()
{
	wq::queue queue("submit");
	int number = 1;
	std::future<int> value = wq::submit(queue, [] { return 42; });
	std::future<void> nothing = wq::submit(queue, [&number] { number = 7; });
	std::future<int &> reference = wq::submit(queue, [&number]() -> int & { return number; });
	std::future<std::unique_ptr<std::string>> owned =
		wq::submit(queue, [s = std::make_unique<std::string>("moved")]() mutable {
			return std::move(s);
		});
	std::vector<std::future<unsigned>> many;
	unsigned sum = 0;

	EXPECT(value.get() == 42);
	nothing.get();
	EXPECT(number == 7);
	EXPECT(&reference.get() == &number);
	EXPECT(*owned.get() == "moved");
	for (unsigned i = 0; i < 100; i++)
		many.push_back(wq::submit(queue, [i] { return i; }));
	for (auto &one : many)
		sum += one.get();
	EXPECT(sum == 4950);
}

/* What an expression's exception says, if it is of the type that is named. */
template <class Exception, class F> static std::string said(F f)
{
	try {
		f();
	} catch (const Exception &exception) {
		return exception.what();
	}
	return "";
}

static void submit_has_the_exception()
{
	wq::queue queue("throws");
	std::future<int> result =
		wq::submit(queue, []() -> int { throw std::runtime_error("no such file"); });

	EXPECT(said<std::runtime_error>([&] { result.get(); }) == "no such file");
	/* The worker goes on. */
	EXPECT(wq::submit(queue, [] { return 1; }).get() == 1);
}

static bool is_broken(std::future<int> &result)
{
	try {
		result.get();
	} catch (const std::future_error &error) {
		return error.code() == std::future_errc::broken_promise;
	}
	return false;
}

static void promise_of_a_cancelled_item_is_broken()
{
	wq::queue queue("broken", WQ_ORDERED);
	std::packaged_task<int()> first([] { return 1; }), second([] { return 2; });
	std::future<int> runs = first.get_future(), cancelled = second.get_future();

	{
		gate open;
		wq::work blocker([&] { open.wait(); });
		wq::work work(std::move(first));
		wq::delayed_work delayed(std::move(second));

		EXPECT(blocker.queue(queue));
		EXPECT(work.queue(queue) && delayed.queue(queue, 1h));
		EXPECT(delayed.cancel());
		EXPECT(cancelled.wait_for(0s) == std::future_status::timeout);
		open.open();
		queue.flush();
	}
	EXPECT(runs.get() == 1);
	EXPECT(is_broken(cancelled));
}

int run_calls_tests()
{
	const struct CMUnitTest tests[] = {
		CHECKED(post_runs_once_for_each_call),
		CHECKED(post_takes_any_callable),
		CHECKED(post_after_waits_for_its_delay),
		CHECKED(post_that_is_refused_destroys_the_function),
		CHECKED(post_without_memory_is_told),
		CHECKED(post_of_what_can_not_be_copied_queues_nothing),
		CHECKED(submit_has_the_result),
		CHECKED(submit_has_the_exception),
		CHECKED(promise_of_a_cancelled_item_is_broken),
	};

	return cmocka_run_group_tests_name("calls", tests, nullptr, nullptr);
}
