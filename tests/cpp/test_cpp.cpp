// SPDX-License-Identifier: LGPL-2.1-or-later
// The C++ API: the program, and queues.
#include "checks.hpp"

#include <new>
#include <type_traits>
#include <utility>

std::atomic<int> counted::nr;
thread_local unsigned long nr_new;
thread_local bool new_fails;

static unsigned unexpected;

void expect(bool holds, const char *what, const char *file, int line)
{
	if (holds)
		return;
	std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	unexpected++;
}

unsigned nr_unexpected()
{
	return std::exchange(unexpected, 0);
}

#if !TEST_TSAN /* which has its own, and links no others */

/* Inlined, new and delete would not look like a pair to GCC. */
[[gnu::noinline]] void *operator new(std::size_t bytes)
{
	void *memory = std::malloc(bytes ? bytes : 1);

	nr_new++;
	if (!memory)
		throw std::bad_alloc();
	return memory;
}

[[gnu::noinline]] void *operator new(std::size_t bytes, const std::nothrow_t &) noexcept
{
	nr_new++;
	return new_fails ? nullptr : std::malloc(bytes ? bytes : 1);
}

[[gnu::noinline]] void operator delete(void *memory) noexcept
{
	std::free(memory);
}

[[gnu::noinline]] void operator delete(void *memory, std::size_t) noexcept
{
	std::free(memory);
}

[[gnu::noinline]] void operator delete(void *memory, const std::nothrow_t &) noexcept
{
	std::free(memory);
}
#endif

bool new_is_ours()
{
	unsigned long before = nr_new;

	operator delete(operator new(1, std::nothrow));
	return nr_new > before;
}

static_assert(!std::is_copy_constructible_v<wq::queue> && !std::is_copy_assignable_v<wq::queue>);
static_assert(std::is_nothrow_move_constructible_v<wq::queue> &&
	      std::is_nothrow_move_assignable_v<wq::queue>);
static_assert(std::is_trivially_copyable_v<wq::queue_ref> &&
	      sizeof(wq::queue_ref) == sizeof(void *));
static_assert(std::is_convertible_v<wq::queue &, wq::queue_ref> &&
	      std::is_convertible_v<struct wq *, wq::queue_ref>);
static_assert(!std::is_convertible_v<int, enum wq_flags>);
static_assert(!std::is_default_constructible_v<struct wq>);

static void queue_ends_with_its_scope_after_its_items()
{
	int runs = 0;

	{
		wq::queue queue("scope", WQ_ORDERED | WQ_HIGHPRI);

		for (int i = 0; i < 100; i++)
			wq::post(queue, [&runs] { runs++; });
	}
	EXPECT(runs == 100);
	EXPECT(wq_shutdown() == 0);
}

static void queue_that_is_moved_keeps_its_items()
{
	gate open;
	int runs = 0;
	wq::queue first("first", WQ_ORDERED), second("second", WQ_ORDERED);
	struct wq *native = first.native();

	wq::post(first, [&] { open.wait(); });
	wq::post(first, [&] { runs++; });
	second = std::move(first);
	EXPECT(second.native() == native);
	EXPECT(!first && second);
	EXPECT(THROWN(first.flush()) == EINVAL);
	EXPECT(THROWN(wq::post(first, [] {})) == EINVAL);
	wq::queue third(std::move(second));

	EXPECT(third.native() == native && !second);
	open.open();
	third.flush();
	EXPECT(runs == 1);
	second = wq::queue("another");
	second.swap(third);
	EXPECT(second.native() == native && third);
	second = wq::queue();
	EXPECT(!second);
	/* Both may go as they are. */
	first.destroy();
}

/* It is the old queue that the assignment ends, with what is queued on it. */
static void queue_that_is_assigned_to_ends_as_by_its_destructor()
{
	int runs = 0;
	wq::queue queue("old", WQ_ORDERED);

	for (int i = 0; i < 100; i++)
		wq::post(queue, [&runs] { runs++; });
	queue = wq::queue("new");
	EXPECT(runs == 100);
	struct wq *native = queue.release();

	EXPECT(!queue && native);
	queue = wq::queue::adopt(native);
	EXPECT(queue.native() == native);
}

static void queue_answers_by_exceptions()
{
	struct wq_attrs attrs;

	EXPECT(THROWN(wq::queue("", WQ_ORDERED)) == EINVAL);
	EXPECT(THROWN(wq::queue("limits", {}, WQ_MAX_ACTIVE + 1)) == EINVAL);
	EXPECT(THROWN(wq::queue("flags", WQ_ORDERED | WQ_PERCPU)) == EINVAL);
	wq_attrs_init(&attrs);
	EXPECT(wq_attrs_set_affinity(&attrs, WQ_AFFN_SYSTEM) == 0);
	EXPECT(THROWN(wq::queue("attributes", WQ_PERCPU, 0, attrs)) == EINVAL);
	wq::queue queue("attributes", {}, 3, attrs);

	EXPECT(wq_attrs_set_affinity(&attrs, WQ_AFFN_CPU) == 0);
	queue.apply(attrs);
	wq_attrs_fini(&attrs);
	queue.set_max_active(7);
	queue.set_min_active(2);
	EXPECT(THROWN(queue.set_max_active(-1)) == EINVAL);
	EXPECT(THROWN(queue.set_min_active(0)) == EINVAL);
	EXPECT(!queue.congested());

	EXPECT(queue.plug() && !queue.plug());
	EXPECT(THROWN(wq::post(queue, [] {})) == ESHUTDOWN);
	EXPECT(queue.unplug() && !queue.unplug());
	queue.flush();
	queue.drain();
	EXPECT(THROWN(wq::system().flush()) == EPERM);
	EXPECT(THROWN(wq::system_long().drain()) == EPERM);
	EXPECT(THROWN(wq::system_percpu().plug()) == EPERM);
}

/* What the destructor could only end the program for. */
static void queue_that_is_in_use_is_not_destroyed()
{
	wq::queue queue("use", WQ_ORDERED);
	int err = 0;

	{
		wq::delayed_work later([] {});

		later.queue(queue, std::chrono::hours(1));
		EXPECT(THROWN(queue.destroy()) == EBUSY);
		EXPECT(queue.native());
	}
	wq::post(queue, [&] { err = THROWN(queue.destroy()); });
	queue.flush();
	EXPECT(err == EDEADLK);
	queue.destroy();
	EXPECT(!queue);
	EXPECT(wq_shutdown() == 0);
}

static void system_queues_run_what_is_posted()
{
	const wq::queue_ref queues[] = {wq::system(),		wq::system_percpu(),
					wq::system_highpri(),	wq::system_long(),
					wq::system_freezable(), wq::system_power_efficient(),
					wq::system_bh()};
	unsigned right = 0;

	for (wq::queue_ref queue : queues)
		right += wq::submit(queue, wq_current_wq).get() == queue.native();
	EXPECT(right == ARRAY_SIZE(queues));
	EXPECT(wq::system().native() == wq_system());
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CHECKED(queue_ends_with_its_scope_after_its_items),
		CHECKED(queue_that_is_moved_keeps_its_items),
		CHECKED(queue_that_is_assigned_to_ends_as_by_its_destructor),
		CHECKED(queue_answers_by_exceptions),
		CHECKED(queue_that_is_in_use_is_not_destroyed),
		CHECKED(system_queues_run_what_is_posted),
	};
	int failed;

	if (argc > 1)
		end_as_told(argv[1]);
	failed = cmocka_run_group_tests_name("queues", tests, nullptr, nullptr);
	failed += run_items_tests();
	failed += run_calls_tests();
	failed += run_ends_tests(argv[0]);
	return failed;
}
