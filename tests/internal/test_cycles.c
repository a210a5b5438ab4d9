/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The time by the processor's counter: never before the clock's. */
#include "support.h"

#include <sched.h>
#include <signal.h>
#include <time.h>

#include "clock.h"
#include "runtime.h"

static void start_counting(void)
{
	struct wq *wq = wq_alloc("start", 0, 0);

	assert_int_equal(wq_destroy(wq), 0);
}

struct readings {
	unsigned long early, counted, late_by_10us;
};

/* Where two readings of the clock around are near each other, how late it is can be told. */
static void read_around(struct readings *readings)
{
	uint64_t before = wqi_now_ns(), ns, late = wqi_clock_late_ns(), after = wqi_now_ns();

	readings->early += late < before;
	readings->counted += wqi_cycles_to_ns(&ns);
	readings->late_by_10us += after - before < 1000 && late > after + 10000;
}

static void readings_thread(void *ctx, unsigned index)
{
	struct readings *all = ctx, mine = {0};
	uint64_t random = test_seed() + index;
	unsigned long i, rounds = scaled(300000);
	int cpu;

	for (i = 0; i < rounds; i++) {
		read_around(&mine);
		if (random_next(&random) % 1000)
			continue;
		/* To another CPU, or after a while: the pair of readings is old then. */
		cpu = usable_cpu(random & 1);
		if (cpu >= 0) {
			cpu_set_t one;

			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			sched_setaffinity(0, sizeof(one), &one);
		}
		nanosleep(&(struct timespec){.tv_nsec = (long)(random >> 8 & 0x1fffff)}, NULL);
	}
	count_add(&all->early, mine.early);
	count_add(&all->counted, mine.counted);
	count_add(&all->late_by_10us, mine.late_by_10us);
}

static void counted_time_is_never_before_the_clock(void **state)
{
	struct readings all = {0};
	unsigned long total = 3 * scaled(300000);

	start_counting();
	run_threads(3, readings_thread, &all);
	assert_int_equal(all.early, 0);
	assert_int_equal(all.late_by_10us, 0);
	printf("%lu of %lu readings by the counter, at %u of 2^24 ns a cycle\n", all.counted, total,
	       wqi_cycles_rate);
}

static struct readings in_handler;

static void handler(int sig)
{
	(void)sig;
	read_around(&in_handler);
}

/* A handler may come while the pair is made anew. */
static void signals_leave_the_pair_whole(void **state)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
	struct itimerspec often = {{0, 50000}, {0, 50000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	unsigned long i, rounds = scaled(2000000);
	struct readings readings = {0};
	timer_t timer;

	start_counting();
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	for (i = 0; i < rounds; i++) {
		if (i % 16 == 0)
			wqi_cycles_read_ns(); /* more often than it would be */
		read_around(&readings);
	}
	timer_delete(timer);
	sigaction(SIGUSR1, &old, NULL);
	assert_int_equal(readings.early + in_handler.early, 0);
	assert_int_equal(readings.late_by_10us + in_handler.late_by_10us, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counted_time_is_never_before_the_clock),
		cmocka_unit_test(signals_leave_the_pair_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
