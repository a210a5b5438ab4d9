/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The read side and the grace period. */
#include "support.h"

#include <sched.h>

#include "rcu.h"

struct published {
	unsigned long value;
	bool dead;
};

struct rcu_storm {
	struct published *current;
	unsigned long stop, wrong, reads;
};

static void rcu_storm_thread(void *ctx, unsigned index)
{
	struct rcu_storm *storm = ctx;
	unsigned long i, rounds = scaled(4000);

	if (index) {
		while (!count_get(&storm->stop)) {
			unsigned token = wqi_rcu_read_lock_on(index);
			struct published *p = wqi_load_acquire(&storm->current);

			if (p->dead)
				count_up(&storm->wrong);
			wqi_yield_point();
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(synchronize_waits_for_readers_of_the_old_value),
		cmocka_unit_test(synchronize_sleeps_until_the_reader_leaves),
		cmocka_unit_test(sections_nest_and_slots_are_any_number),
	};

	wqi_test_yields(test_seed(), 4);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
