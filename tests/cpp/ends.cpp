// SPDX-License-Identifier: LGPL-2.1-or-later
// The C++ API: exceptions that leave items, threads that end in them, queues that can't end.
#include "checks.hpp"

#include <chrono>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

static const char *test_program;

/* --- threads that end in an item --- */

static void end_thread()
{
	pthread_exit(nullptr);
}

static void cancel_thread()
{
	pthread_cancel(pthread_self());
	pthread_testcancel();
}

/* Destructors of the function's frames run, the item counts as finished, others go on. */
static void thread_that_ends_in_an_item_unwinds_it()
{
	for (auto end : {end_thread, cancel_thread}) {
		for (enum wq_flags kind : {wq_flags(), WQ_ORDERED, WQ_DEDICATED}) {
			wq::queue queue("ends", kind);
			std::atomic<int> frames(0);
			auto leave = [&frames, end] {
				std::unique_ptr<int, void (*)(int *)> frame(new int, [](int *p) {
					delete p;
				});
				counted c;

				frames++;
				end();
				frames += 1000;
			};
			wq::work work("leaves", leave);
			wq::delayed_work delayed("leaves", leave);

			EXPECT(work.queue(queue) && delayed.queue(queue, 1us));
			wq::post(queue, leave);
			wq::post(queue, [&leave] { leave(); });
			wq::post_after(queue, 1us, [&leave] { leave(); });
			work.flush();
			delayed.flush();
			while (THROWN(queue.destroy()) == EBUSY)
				;
			EXPECT(frames == 5);
			EXPECT(counted::nr == 0);
		}
	}
}

/* Its promise is broken by the library of C++, and the thread ends all the same. */
static void thread_that_ends_in_a_submitted_function_breaks_the_promise()
{
	wq::queue queue("ends");
	std::future<void> result = wq::submit(queue, end_thread);
	bool broken = false;

	try {
		result.get();
	} catch (const std::future_error &error) {
		broken = error.code() == std::future_errc::broken_promise;
	}
	EXPECT(broken);
}

/* --- programs that end --- */

[[noreturn]] static void survived()
{
	std::fputs("survived\n", stderr);
	_exit(0);
}

static void throw_in_item(wq::queue_ref queue)
{
	wq::work work("resize", [] { throw std::runtime_error("no memory for the image"); });

	work.queue(queue);
	work.flush();
}

/* Its name outlives it. */
static void throw_in_item_that_is_gone(wq::queue_ref queue)
{
	gate never;
	std::unique_ptr<wq::delayed_work> work;

	work = std::make_unique<wq::delayed_work>("gone", [&work] {
		work.reset();
		throw 7;
	});
	work->queue(queue, 1us);
	never.wait();
}

struct job {
	void operator()() const
	{
		throw std::string("not an exception class");
	}
	long size[10];
};

static void throw_in_call(wq::queue_ref queue)
{
	wq::post(queue, job());
	queue.flush();
}

static void destroy_with_armed_items()
{
	wq::queue queue("armed");

	wq::post_after(queue, 1h, [] {});
}

static void destroy_in_own_item()
{
	auto queue = std::make_unique<wq::queue>("own");
	gate never;

	wq::post(*queue, [&queue] { queue.reset(); });
	never.wait();
}

void end_as_told(const char *kind)
{
	const struct rlimit none = {0, 0};
	std::string told(kind);
	wq::queue queue("told");

	setrlimit(RLIMIT_CORE, &none);
	watchdog();
	if (told == "item")
		throw_in_item(queue);
	else if (told == "gone")
		throw_in_item_that_is_gone(queue);
	else if (told == "call")
		throw_in_call(queue);
	else if (told == "armed")
		destroy_with_armed_items();
	else if (told == "own")
		destroy_in_own_item();
	survived();
}

/* Run this program anew, to end as it is told; what it says on standard error, and how it ended. */
static std::string last_words(const char *kind, int *status)
{
	std::string words;
	char buffer[512];
	int ends[2];
	ssize_t got;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return "no pipe";
	pid = fork();
	if (!pid) {
		dup2(ends[1], STDERR_FILENO);
		execl(test_program, test_program, kind, nullptr);
		_exit(127);
	}
	close(ends[1]);
	while ((got = read(ends[0], buffer, sizeof(buffer))) > 0)
		words.append(buffer, static_cast<size_t>(got));
	close(ends[0]);
	*status = child_status(pid);
	return words;
}

static bool ends_with_words(const char *kind, const char *line, const char *more)
{
	int status = 0;
	std::string words = last_words(kind, &status);
	bool right = status == 128 + SIGABRT && words.find(line) != std::string::npos &&
		     words.find(more) != std::string::npos;

	if (!right)
		std::fprintf(stderr, "%s: status %d, \"%s\"\n", kind, status, words.c_str());
	return right;
}

static void exception_that_leaves_an_item_ends_the_program_with_its_name()
{
	EXPECT(ends_with_words("item", "libwq: an exception left the item \"resize\", ",
			       "no memory for the image"));
	EXPECT(ends_with_words("gone", "libwq: an exception left the item \"gone\", ", "int"));
	EXPECT(ends_with_words("call", "libwq: an exception left an item, job\n", "string"));
}

static void queue_that_can_not_end_ends_the_program()
{
	EXPECT(ends_with_words("armed",
			       "libwq: a queue is destroyed while delayed items are armed on it",
			       ""));
	EXPECT(ends_with_words("own", "libwq: a queue is destroyed by one of its own items", ""));
}

int run_ends_tests(const char *program)
{
	const struct CMUnitTest tests[] = {
		CHECKED(thread_that_ends_in_an_item_unwinds_it),
		CHECKED(thread_that_ends_in_a_submitted_function_breaks_the_promise),
		CHECKED(exception_that_leaves_an_item_ends_the_program_with_its_name),
		CHECKED(queue_that_can_not_end_ends_the_program),
	};

	test_program = program;
	return cmocka_run_group_tests_name("ends", tests, nullptr, nullptr);
}
