/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The read side and the grace period. */
#include "support.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "rcu.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct published {
	unsigned long value;
	bool dead;
};

struct rcu_storm {
	struct published *current;
	unsigned long stop, wrong, reads;
	bool anywhere; /* readers say where they are, and change CPUs */
};

static void change_cpu(unsigned long i)
{
	int cpu = usable_cpu((unsigned)(i & 1));
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void rcu_storm_thread(void *ctx, unsigned index)
{
	struct rcu_storm *storm = ctx;
	unsigned long i = 0, rounds = scaled(4000);

	if (index) {
		while (!count_get(&storm->stop)) {
			unsigned token =
				storm->anywhere ? wqi_rcu_read_lock() : wqi_rcu_read_lock_on(index);
			struct published *p = wqi_load_acquire(&storm->current);

			if (p->dead)
				count_up(&storm->wrong);
			wqi_yield_point();
			if (storm->anywhere && i++ % 8 == 0)
				change_cpu(i >> 3);
			if (p->dead)
				count_up(&storm->wrong);
			wqi_rcu_read_unlock(token);
			count_up(&storm->reads);
		}
		return;
	}
	for (i = 0; i < rounds; i++) {
		struct published *old = storm->current, *new = calloc(1, sizeof(*new));

		new->value = i;
		wqi_store_release(&storm->current, new);
		wqi_rcu_synchronize();
		old->dead = true;
		free(old);
	}
	count_set(&storm->stop, 1);
}

static void synchronize_waits_for_readers_of_the_old_value(void **state)
{
	struct rcu_storm storm = {.current = calloc(1, sizeof(struct published))};

	run_threads(4, rcu_storm_thread, &storm);
	assert_int_equal(storm.wrong, 0);
	free(storm.current);
}

static void synchronize_waits_for_readers_that_change_cpus(void **state)
{
	struct rcu_storm storm = {.current = calloc(1, sizeof(struct published)), .anywhere = true};

	run_threads(4, rcu_storm_thread, &storm);
	assert_int_equal(storm.wrong, 0);
	free(storm.current);
}

/* --- every section is counted, whatever disturbs it --- */

static uint64_t sum(const uint64_t *first, size_t step)
{
	uint64_t all = 0;
	unsigned i;

	for (i = 0; i < WQI_RCU_SLOTS; i++)
		all += first[i * step];
	return all;
}

static uint64_t nr_entered(void)
{
	const size_t slot = sizeof(wqi_rcu.slot[0]) / 8, own = sizeof(wqi_rcu.own[0]) / 8;

	return sum(&wqi_rcu.slot[0].lock[0], slot) + sum(&wqi_rcu.slot[0].lock[1], slot) +
	       sum(&wqi_rcu.own[0].lock[0], own) + sum(&wqi_rcu.own[0].lock[1], own);
}

static uint64_t nr_own(void)
{
	const size_t own = sizeof(wqi_rcu.own[0]) / 8;

	return sum(&wqi_rcu.own[0].lock[0], own) + sum(&wqi_rcu.own[0].lock[1], own);
}

static uint64_t nr_left(void)
{
	const size_t slot = sizeof(wqi_rcu.slot[0]) / 8, own = sizeof(wqi_rcu.own[0]) / 8;

	return sum(&wqi_rcu.slot[0].unlock[0], slot) + sum(&wqi_rcu.slot[0].unlock[1], slot) +
	       sum(&wqi_rcu.own[0].unlock[0], own) + sum(&wqi_rcu.own[0].unlock[1], own);
}

static unsigned long handled;

static void section_handler(int signo)
{
	wqi_rcu_read_unlock(wqi_rcu_read_lock());
	count_up(&handled);
}

/* Moved now and then, and interrupted all the time, by a handler that enters one itself. */
static void disturbed_thread(void *ctx, unsigned index)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	struct itimerspec often = {.it_value.tv_nsec = 50000, .it_interval.tv_nsec = 50000};
	struct itimerspec never = {.it_value.tv_nsec = 0};
	unsigned long i, rounds = scaled(30000);
	timer_t timer;

	event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		abort();
	timer_settime(timer, 0, &often, NULL);
	for (i = 0; i < rounds; i++) {
		unsigned token = wqi_rcu_read_lock();

		if (i % 1024 == 0)
			change_cpu(i / 1024 + index);
		wqi_rcu_read_unlock(token);
	}
	timer_settime(timer, 0, &never, NULL);
	timer_delete(timer);
}

static void disturbed_sections_are_counted_once(void **state)
{
	struct sigaction action = {.sa_handler = section_handler, .sa_flags = SA_RESTART}, before;
	uint64_t entered = nr_entered(), rounds = scaled(30000);

	assert_int_equal(entered, nr_left());
	sigaction(SIGUSR1, &action, &before);
	run_threads(3, disturbed_thread, NULL);
	sigaction(SIGUSR1, &before, NULL);
	assert_int_equal(nr_entered() - entered, 3 * rounds + count_get(&handled));
	assert_int_equal(nr_entered(), nr_left());
	if (wqi_rcu.by_cpu)
		assert_true(nr_own() > 0);
	wqi_rcu_synchronize();
}

struct rcu_order {
	struct latch entered, called;
	unsigned long left, left_first;
};

static void rcu_order_thread(void *ctx, unsigned index)
{
	struct rcu_order *order = ctx;
	unsigned token;

	if (index) {
		latch_wait(&order->entered, 1);
		latch_post(&order->called);
		wqi_rcu_synchronize();
		count_set(&order->left_first, count_get(&order->left));
		return;
	}
	token = wqi_rcu_read_lock();
	latch_post(&order->entered);
	latch_wait(&order->called, 1);
	/* Long enough that the grace period goes to sleep and must be woken. */
	while (!wqi_load_seq_cst(&wqi_rcu.waiting))
		sched_yield();
	count_set(&order->left, 1);
	wqi_rcu_read_unlock(token);
}

static void synchronize_sleeps_until_the_reader_leaves(void **state)
{
	struct rcu_order order = {.left = 0};

	latch_init(&order.entered);
	latch_init(&order.called);
	run_threads(2, rcu_order_thread, &order);
	assert_int_equal(order.left_first, 1);
	assert_int_equal(wqi_rcu.waiting, 0);
}

static void sections_nest_and_slots_are_any_number(void **state)
{
	unsigned a = wqi_rcu_read_lock_on(0), b = wqi_rcu_read_lock_on(4095);

	wqi_rcu_read_unlock(a);
	wqi_rcu_read_unlock(b);
	wqi_rcu_synchronize();
}

/* With all that the library uses where it runs, and nothing of it running. */
static int start(void **state)
{
	return wq_destroy(wq_alloc("start", 0, 0)) || wq_shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disturbed_sections_are_counted_once),
		cmocka_unit_test(synchronize_waits_for_readers_that_change_cpus),
		cmocka_unit_test(synchronize_waits_for_readers_of_the_old_value),
		cmocka_unit_test(synchronize_sleeps_until_the_reader_leaves),
		cmocka_unit_test(sections_nest_and_slots_are_any_number),
	};

	wqi_test_yields(test_seed(), 4);
	return cmocka_run_group_tests(tests, start, NULL);
}
