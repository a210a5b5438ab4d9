// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the tests of the C++ API share.  A failing assertion of CMocka's jumps over
// destructors, so a test's body only notes what does not hold, and the frame outside asserts.
// Workers record, and the main thread expects.
#ifndef TEST_CHECKS_HPP
#define TEST_CHECKS_HPP

#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <wq/wq.hpp>

extern "C" {
#include "process.h"
#include "stops.h"
}

#define EXPECT(condition) expect((condition), #condition, __FILE__, __LINE__)

/* The code of the std::system_error that an expression throws, or 0. */
#define THROWN(expression)                                                                         \
	[&] {                                                                                      \
		try {                                                                              \
			static_cast<void>(expression);                                             \
		} catch (const std::system_error &error) {                                         \
			return error.code().category() == std::generic_category()                  \
				       ? error.code().value()                                      \
				       : -1;                                                       \
		}                                                                                  \
		return 0;                                                                          \
	}()

void expect(bool holds, const char *what, const char *file, int line);
unsigned nr_unexpected();

template <void (*body)()> void checked(void **)
{
	body();
	assert_int_equal(nr_unexpected(), 0);
}

#define CHECKED(body)                                                                              \
	{                                                                                          \
#body, checked < body>, nullptr, nullptr, nullptr                                  \
	}

/*
 * How often the calling thread has called operator new; one that does not throw fails while
 * this says so.  Unless a checker has put its own in the place of ours.
 */
extern thread_local unsigned long nr_new;
extern thread_local bool new_fails;
bool new_is_ours();

/* A latch with its mutex, as the C tests have it. */
struct gate : latch {
	gate()
	{
		latch_init(this);
	}
	void open()
	{
		latch_post(this);
	}
	void wait(unsigned long count = 1)
	{
		latch_wait(this, count);
	}
};

/* Counts how many of it there are; copying it may throw. */
struct counted {
	static std::atomic<int> nr;
	bool throws = false;

	explicit counted(bool throws = false) : throws(throws)
	{
		nr++;
	}
	counted(const counted &other) : throws(other.throws)
	{
		if (throws)
			throw std::system_error(EDOM, std::generic_category());
		nr++;
	}
	~counted()
	{
		nr--;
	}
};

int run_items_tests();
int run_calls_tests();
int run_ends_tests(const char *program);

/* In the process that is to end: never returns if @kind is one. */
void end_as_told(const char *kind);

#endif // TEST_CHECKS_HPP
