// SPDX-License-Identifier: LGPL-2.1-or-later
// The C++ API: items, their functions and their ends.
#include "checks.hpp"

#include <array>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <ratio>
#include <thread>

using namespace std::chrono_literals;

static_assert(std::is_standard_layout_v<wq::work> && std::is_standard_layout_v<wq::delayed_work>);
static_assert(sizeof(wq::work) == 96 && sizeof(wq::delayed_work) == 144);
static_assert(!std::is_move_constructible_v<wq::work> && !std::is_copy_assignable_v<wq::work>);
static_assert(std::is_nothrow_destructible_v<wq::work>);
static_assert(std::is_nothrow_constructible_v<wq::work, void (*)()> &&
	      !std::is_nothrow_constructible_v<wq::work, std::function<void()> &>);

/* --- functions --- */

static void item_with_a_small_function_allocates_nothing()
{
	wq::queue queue("small", WQ_ORDERED);
	long a = 0, b = 0, c = 0, d = 0, e = 0;
	unsigned long before = nr_new;
	wq::work work("five", [&a, &b, &c, &d, &e] { a++, b++, c++, d++, e++; });
	wq::work shared([p = std::shared_ptr<int>()] {});
	wq::delayed_work delayed([&a] { a += 10; });

	EXPECT(work.queue(queue));
	EXPECT(delayed.queue(queue, 1h));
	EXPECT(delayed.flush());
	queue.flush();
	EXPECT(nr_new == before);
	EXPECT(a == 11 && e == 1);
	EXPECT(std::strcmp(work.name(), "five") == 0 && !shared.name());
}

struct alignas(64) wide {
	char bytes[64] = {};
};

static void item_takes_any_callable()
{
	wq::queue queue("any", WQ_ORDERED);
	std::array<int, 100> numbers;
	long sum = 0, odd = 0;

	numbers.fill(1);
	{
		wq::work large([numbers, &sum, c = counted()] {
			for (int number : numbers)
				sum += number;
		});
		wq::work aligned([w = wide(), &odd, c = counted()] {
			odd += reinterpret_cast<std::uintptr_t>(&w) % alignof(wide);
		});
		wq::work move_only(
			[p = std::make_unique<long>(1000), &sum, c = counted()] { sum += *p; });
		wq::work changes([n = 0, &sum]() mutable {
			sum += 10000 * ++n;
			return n;
		});
		std::function<void()> function = [&sum] { sum += 100000; };
		wq::work copied(function), moved(std::move(function));
		wq::delayed_work far(
			[numbers, &sum, c = counted()] { sum += numbers[7] * 1000000L; });

		EXPECT(counted::nr == 4);
		EXPECT(large.queue(queue) && aligned.queue(queue) && move_only.queue(queue));
		EXPECT(changes.queue(queue) && copied.queue(queue) && moved.queue(queue));
		queue.flush();
		EXPECT(changes.queue(queue));
		EXPECT(far.queue(queue, 1h));
		EXPECT(far.flush());
		queue.flush();
	}
	EXPECT(sum == 100 + 1000 + 10000 + 20000 + 200000 + 1000000);
	EXPECT(odd == 0);
	EXPECT(counted::nr == 0);
}

static int plain_runs;

static void plain_function()
{
	plain_runs++;
}

static void plain_function_with_item(wq::work &)
{
	plain_runs += 10;
}

static void item_takes_a_plain_function()
{
	wq::queue queue("plain", WQ_ORDERED);
	wq::work bare(plain_function), pointer(&plain_function),
		named("named", plain_function_with_item);
	wq::delayed_work delayed(plain_function);

	plain_runs = 0;
	EXPECT(bare.queue(queue) && pointer.queue(queue) && named.queue(queue));
	EXPECT(delayed.queue(queue, 1h) && delayed.flush());
	queue.flush();
	EXPECT(plain_runs == 13);
}

/* What it throws for others would end the program. */
static void item_that_queues_itself_ends_with_its_scope()
{
	wq::queue queue("ticker");
	int rounds;

	for (rounds = 0; rounds < 200; rounds++) {
		gate begun;
		wq::work work([&](wq::work &self) {
			begun.open();
			self.queue(queue);
		});
		wq::delayed_work delayed([&](wq::delayed_work &self) {
			begun.open();
			self.mod(queue, 0ns);
			self.queue(queue, 1us);
		});

		EXPECT(work.queue(queue) && delayed.queue(queue, 1us));
		begun.wait(2);
	}
}

static void item_is_handed_to_its_function()
{
	wq::queue queue("self");
	int runs = 0, delayed_runs = 0;
	gate ended;
	wq::work work([&](wq::work &self) {
		if (++runs < 100)
			self.queue(queue);
		else
			ended.open();
	});
	wq::delayed_work delayed([&](wq::delayed_work &self) {
		if (++delayed_runs < 10)
			self.queue(queue, 1us);
		else
			ended.open();
	});

	EXPECT(work.queue(queue) && delayed.queue(queue, 1us));
	ended.wait(2);
	EXPECT(runs == 100 && delayed_runs == 10);
}

template <std::size_t bytes> struct can_not_be_copied {
	void operator()()
	{
	}

	counted c;
	char room[bytes] = {};
};

static void item_whose_function_can_not_be_copied_is_not_made()
{
	can_not_be_copied<8> near;
	can_not_be_copied<200> far;

	near.c.throws = far.c.throws = true;
	EXPECT(THROWN(wq::work(near)) == EDOM);
	EXPECT(THROWN(wq::work("far", far)) == EDOM);
	EXPECT(THROWN(wq::delayed_work("near", near)) == EDOM);
	EXPECT(THROWN(wq::delayed_work(far)) == EDOM);
	EXPECT(counted::nr == 2);
}

/* --- calls --- */

static void item_answers_as_in_c()
{
	wq::queue queue("answers", WQ_ORDERED);
	std::error_code error;
	gate open;
	wq::work blocker([&] { open.wait(); }), work([] {});

	EXPECT(!work.cancel() && !work.cancel_sync() && !work.flush());
	EXPECT(blocker.queue(queue) && work.queue(queue));
	EXPECT(!work.queue(queue) && !work.queue(queue, error) && !error);
	EXPECT(work.pending() && work.busy() == WQ_BUSY_PENDING);
	EXPECT(work.cancel() && !work.pending());
	EXPECT(work.queue_on(queue, 0));
	EXPECT(work.cancel_sync());
	EXPECT(work.queue_node(queue, 0));
	EXPECT(work.disable());
	EXPECT(!work.disable_sync());
	EXPECT(THROWN(work.queue(queue)) == EBUSY);
	EXPECT(!work.queue(queue, error) && error.value() == EBUSY);
	EXPECT(!work.enable());
	EXPECT(work.enable_and_queue(queue));
	EXPECT(THROWN(work.enable()) == EINVAL);
	EXPECT(THROWN(work.queue_on(queue, -1)) == EINVAL);
	open.open();
	queue.flush();
	EXPECT(work.native()->wq_fn && wq_work_flush(work.native()) == 0);
}

static void item_that_waits_for_itself_is_told()
{
	wq::queue queue("self");
	int flush = 0, cancel = 0, disable = 0;
	wq::work work([&](wq::work &self) {
		flush = THROWN(self.flush());
		cancel = THROWN(self.cancel_sync());
		disable = THROWN(self.disable_sync());
	});

	EXPECT(work.queue(queue));
	queue.flush();
	EXPECT(flush == EDEADLK && cancel == EDEADLK && disable == EDEADLK);
	EXPECT(work.enable());
}

static void delayed_item_answers_as_in_c()
{
	wq::queue queue("delayed");
	std::error_code error;
	int runs = 0;
	wq::delayed_work work("delayed", [&] { runs++; });

	EXPECT(work.remaining() == 0ns);
	EXPECT(work.queue(queue, 1h) && !work.queue(queue, 1s) && !work.queue(queue));
	EXPECT(!work.queue(queue, 1s, error) && !error);
	EXPECT(work.remaining() > 59min && work.remaining() <= 1h);
	EXPECT(work.busy() == WQ_BUSY_DELAYED && work.pending());
	EXPECT(work.mod(queue, 10h) && work.remaining() > 9h);
	EXPECT(work.reschedule(queue, std::chrono::hours::max()));
	EXPECT(work.remaining() == std::chrono::nanoseconds::max());
	EXPECT(work.cancel_sync() && !work.mod(queue, 1h));
	EXPECT(work.flush() && runs == 1);
	EXPECT(work.queue(queue, -5s)); /* at once */
	queue.flush();
	EXPECT(runs == 2);
	EXPECT(work.queue_on(queue, 0ms, 0));
	queue.flush();
	EXPECT(runs == 3);
	EXPECT(THROWN(work.queue_on(queue, 1ms, WQ_MAX_CPUS)) == EINVAL);
	work.disable();
	EXPECT(THROWN(work.queue(queue, 1ms)) == EBUSY);
	EXPECT(THROWN(work.mod(queue, 1ms)) == EBUSY &&
	       THROWN(work.reschedule(queue, 1ms)) == EBUSY);
	EXPECT(!work.queue(queue, 1ms, error) && error.value() == EBUSY);
}

static void delays_are_rounded_up_and_kept_in_range()
{
	using std::chrono::duration;
	constexpr double nan = std::numeric_limits<double>::quiet_NaN();

	static_assert(wqi::delay_ns(3us) == 3000 && wqi::delay_ns(1h) == 3600000000000);
	EXPECT(wqi::delay_ns(-1ns) == 0 && wqi::delay_ns(0s) == 0);
	EXPECT(wqi::delay_ns(std::chrono::nanoseconds::max()) == INT64_MAX);
	EXPECT(wqi::delay_ns(std::chrono::nanoseconds::min()) == 0);
	EXPECT(wqi::delay_ns(std::chrono::hours::max()) == UINT64_MAX);
	EXPECT(wqi::delay_ns(duration<std::uint64_t, std::nano>(UINT64_MAX)) == UINT64_MAX);
	EXPECT(wqi::delay_ns(duration<std::uint64_t, std::micro>(UINT64_MAX / 1000)) ==
	       UINT64_MAX / 1000 * 1000);
	EXPECT(wqi::delay_ns(duration<std::uint64_t, std::micro>(UINT64_MAX / 1000 + 1)) ==
	       UINT64_MAX);
	EXPECT(wqi::delay_ns(duration<int, std::pico>(1)) == 1);
	EXPECT(wqi::delay_ns(duration<int, std::pico>(1001)) == 2);
	EXPECT(wqi::delay_ns(duration<int, std::pico>(2000)) == 2);
	EXPECT(wqi::delay_ns(duration<long, std::ratio<1, 3>>(1)) == 333333334);
	EXPECT(wqi::delay_ns(duration<signed char, std::nano>(-1)) == 0);
	EXPECT(wqi::delay_ns(duration<double>(1.5)) == 1500000000);
	EXPECT(wqi::delay_ns(duration<double>(-0.5)) == 0 &&
	       wqi::delay_ns(duration<double>(nan)) == 0);
	EXPECT(wqi::delay_ns(duration<float>(1e30f)) == UINT64_MAX);
	EXPECT(wqi::delay_ns(duration<double>(std::numeric_limits<double>::infinity())) ==
	       UINT64_MAX);
}

/* --- ends --- */

static void item_that_is_destroyed_while_it_waits_does_not_run()
{
	wq::queue queue("waits", WQ_ORDERED);
	gate open;
	int runs = 0;
	wq::work blocker([&] { open.wait(); });

	EXPECT(blocker.queue(queue));
	{
		wq::work work([&, c = counted()] { runs++; });
		wq::delayed_work armed([&, c = counted()] { runs++; });
		wq::delayed_work due([&, c = counted()] { runs++; });

		EXPECT(work.queue(queue) && armed.queue(queue, 1h) && due.queue(queue, 0s));
	}
	EXPECT(counted::nr == 0);
	open.open();
	queue.flush();
	EXPECT(runs == 0);
}

static void item_that_is_destroyed_while_it_runs_is_waited_for()
{
	for (int i = 0; i < 20; i++) {
		wq::queue queue("runs");
		gate started, open;
		bool ended = false;
		std::thread opener;

		{
			wq::work work([&] {
				started.open();
				open.wait();
				std::this_thread::yield();
				ended = true;
			});

			EXPECT(work.queue(queue));
			started.wait();
			opener = std::thread([&] { open.open(); });
		}
		EXPECT(ended);
		opener.join();
	}
}

/* Its item's function queues the item once more, and then deletes all of it. */
template <class Item> struct session {
	struct plan {
		wq::queue_ref queue;
		std::chrono::nanoseconds delay;
		gate &ended;
		std::atomic<unsigned long> &again;
	};

	explicit session(plan &plan) : item([this, &plan](Item &self) { run(self, plan); })
	{
	}

	void run(Item &self, plan &plan)
	{
		auto due = std::chrono::steady_clock::now() + plan.delay;

		if constexpr (std::is_same_v<Item, wq::work>)
			plan.again += self.queue(plan.queue);
		else
			plan.again += self.queue(plan.queue, plan.delay);
		while (std::chrono::steady_clock::now() < due)
			;
		delete this;
		plan.ended.open();
	}

	counted c;
	Item item;
};

/*
 * The queueing, or the timer that is just firing, may hold it still: then the memory would
 * be used after it was freed, which checkers see.
 */
template <class Item> void destroy_by_own_function(enum wq_flags kind)
{
	unsigned long i, rounds = scaled(64) + 8;
	std::atomic<unsigned long> again(0);
	wq::queue queue("own", kind);
	gate ended;

	for (i = 0; i < rounds; i++) {
		typename session<Item>::plan plan = {queue, std::chrono::nanoseconds(i % 8 * 4000),
						     ended, again};
		auto *owner = new session<Item>(plan);

		EXPECT(owner->item.queue(queue));
		ended.wait(i + 1);
	}
	EXPECT(again == rounds);
	EXPECT(counted::nr == 0);
}

static void item_may_be_destroyed_by_its_own_function()
{
	for (enum wq_flags kind : {wq_flags(), WQ_ORDERED, WQ_PERCPU, WQ_DEDICATED}) {
		destroy_by_own_function<wq::work>(kind);
		destroy_by_own_function<wq::delayed_work>(kind);
	}
}

/* What is destroyed by its own function while the timer that this has armed is firing. */
struct held {
	std::unique_ptr<wq::delayed_work> work;
	unsigned long released, wrong;
	gate marked, ended;
};

static void held_run(wq::delayed_work &self, held &held, wq::queue_ref queue)
{
	stop_at(0, "timer due");
	self.queue(queue, 1us);
	stop_reached(0);
	held.marked.open();
	held.work.reset();
	held.wrong = !count_get(&held.released);
	held.ended.open();
}

static void item_is_not_freed_while_its_timer_holds_it()
{
	wq::queue queue("held");
	held held = {};
	unsigned i;

	stops_begin();
	held.work = std::make_unique<wq::delayed_work>(
		[&held, &queue](wq::delayed_work &self) { held_run(self, held, queue); });
	struct wq_work *native = &held.work->native()->work;

	EXPECT(held.work->queue(queue));
	held.marked.wait();
	/* It is cancelled, but the clock has it: the destructor waits for that. */
	while (!(wq_work_busy(native) & WQ_BUSY_CANCELING) && !latch_count(&held.ended))
		sched_yield();
	for (i = 0; i < 1000; i++)
		sched_yield();
	count_set(&held.released, 1);
	let_go(0);
	held.ended.wait();
	stops_end();
	EXPECT(!held.wrong);
}

int run_items_tests()
{
	const struct CMUnitTest tests[] = {
		CHECKED(item_with_a_small_function_allocates_nothing),
		CHECKED(item_takes_any_callable),
		CHECKED(item_takes_a_plain_function),
		CHECKED(item_that_queues_itself_ends_with_its_scope),
		CHECKED(item_is_handed_to_its_function),
		CHECKED(item_whose_function_can_not_be_copied_is_not_made),
		CHECKED(item_answers_as_in_c),
		CHECKED(item_that_waits_for_itself_is_told),
		CHECKED(delayed_item_answers_as_in_c),
		CHECKED(delays_are_rounded_up_and_kept_in_range),
		CHECKED(item_that_is_destroyed_while_it_waits_does_not_run),
		CHECKED(item_that_is_destroyed_while_it_runs_is_waited_for),
		CHECKED(item_may_be_destroyed_by_its_own_function),
		CHECKED(item_is_not_freed_while_its_timer_holds_it),
	};

	return cmocka_run_group_tests_name("items", tests, nullptr, nullptr);
}
