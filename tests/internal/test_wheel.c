/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The timing wheel, against a sorted list and at its borders. */
#include "support.h"
#include "wheel_model.h"

#include <inttypes.h>

static struct wheel_model model;

static void wheel_agrees_with_a_sorted_list(void **state)
{
	uint64_t random = test_seed() | 1;
	unsigned long i, rounds = scaled(5000000), popped = 0;

	wheel_model_init(&model, 0);
	for (i = 0; i < rounds; i++) {
		/* Now and then from the start: the present runs away in large steps. */
		if (i % 2000 == 0) {
			popped += model.nr_popped;
			wheel_model_init(&model, random_next(&random) >> (i / 2000 % 60));
		}
		wheel_model_step(&model, random_next(&random));
	}
	assert_true(popped > rounds / 20);
	printf("%lu of %lu operations popped a node\n", popped, rounds);
}

static void advance(uint64_t now_ns)
{
	unsigned calls = 1;

	while (!wqi_wheel_advance(&model.wheel, now_ns, 3))
		calls++;
	assert_in_range(calls, 1, 1000);
}

/* How far the wheel goes until it pops the node: it names its next time, and that is when. */
static uint64_t due_at(uint64_t now_ns, uint64_t expires_ns)
{
	struct wqi_wheel *wheel = &model.wheel;
	struct wqi_wheel_node node = {.expires_ns = expires_ns};
	uint64_t next;
	unsigned i;

	wqi_wheel_init(wheel);
	wqi_wheel_add(wheel, &node, now_ns);
	for (i = 0; i < 100; i++) {
		next = wqi_wheel_next_ns(wheel);
		if (next > now_ns)
			now_ns = next;
		advance(now_ns);
		if (wqi_wheel_pop(wheel) == &node)
			return now_ns;
	}
	return 0;
}

static void lone_node_is_due_exactly_at_its_tick(void **state)
{
	static const uint64_t starts[] = {0,
					  1,
					  WQI_TICK_NS - 1,
					  WQI_TICK_NS,
					  123456789,
					  UINT64_C(1) << 40,
					  (UINT64_C(1) << 62) + 12345};
	unsigned i, bit;
	int beside;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		for (bit = 0; bit < 62; bit++) {
			for (beside = -1; beside <= 1; beside++) {
				uint64_t delay = (UINT64_C(1) << bit) + (uint64_t)beside;
				uint64_t expires = starts[i] + delay, due;

				due = due_at(starts[i], expires);
				assert_true(due >= expires);
				assert_true(due < expires + WQI_TICK_NS);
			}
		}
	}
}

/* Nothing but its own time wakes a lone node: no wake-ups where the levels have their borders. */
static void lone_node_is_looked_at_once(void **state)
{
	struct wqi_wheel *wheel = &model.wheel;
	uint64_t hour = UINT64_C(3600000000000), now = UINT64_C(987654321012345);
	struct wqi_wheel_node node = {.expires_ns = now + hour};

	wqi_wheel_init(wheel);
	wqi_wheel_add(wheel, &node, now);
	assert_true(wqi_wheel_next_ns(wheel) >= now + hour);
	assert_true(wqi_wheel_next_ns(wheel) < now + hour + WQI_TICK_NS);
}

static void times_at_the_ends_of_the_scale_hold(void **state)
{
	struct wqi_wheel *wheel = &model.wheel;
	struct wqi_wheel_node past = {.expires_ns = 0}, last = {.expires_ns = UINT64_MAX},
			      half = {.expires_ns = UINT64_C(1) << 63};
	uint64_t now = UINT64_C(1) << 50;

	wqi_wheel_init(wheel);
	wqi_wheel_add(wheel, &last, now);
	wqi_wheel_add(wheel, &half, now);
	wqi_wheel_add(wheel, &past, now);
	assert_int_equal(wqi_wheel_next_ns(wheel), 0);
	advance(now);
	assert_ptr_equal(wqi_wheel_pop(wheel), &past);
	assert_null(wqi_wheel_pop(wheel));
	assert_true(wqi_wheel_next_ns(wheel) > now);
	assert_true(wqi_wheel_next_ns(wheel) <= UINT64_C(1) << 63);
	advance(UINT64_C(1) << 63);
	assert_ptr_equal(wqi_wheel_pop(wheel), &half);
	assert_null(wqi_wheel_pop(wheel));
	advance(UINT64_MAX);
	assert_ptr_equal(wqi_wheel_pop(wheel), &last);
	assert_int_equal(wqi_wheel_next_ns(wheel), WQI_NEVER);
}

/* The present may be behind: then it only takes more moves. */
static void present_that_stood_still_makes_nothing_late(void **state)
{
	struct wqi_wheel *wheel = &model.wheel;
	uint64_t ms = 1000000, now = 3600000 * ms;
	struct wqi_wheel_node far = {.expires_ns = 2 * now}, near[20];
	unsigned i, nr = 0;

	wqi_wheel_init(wheel);
	wqi_wheel_add(wheel, &far, 0);
	for (i = 0; i < ARRAY_SIZE(near); i++) {
		near[i].expires_ns = now + (i + 1) * ms;
		wqi_wheel_add(wheel, &near[i], 0);
	}
	for (i = 0; i < ARRAY_SIZE(near); i++) {
		assert_true(wqi_wheel_next_ns(wheel) <= near[i].expires_ns + WQI_TICK_NS);
		advance(near[i].expires_ns + WQI_TICK_NS);
		assert_ptr_equal(wqi_wheel_pop(wheel), &near[i]);
		nr++;
	}
	assert_int_equal(nr, ARRAY_SIZE(near));
	assert_null(wqi_wheel_pop(wheel));
	assert_true(wqi_wheel_next_ns(wheel) >= 2 * now);
}

/* What is removed on its way down, or when it is due, does not come. */
static void removed_nodes_do_not_come(void **state)
{
	enum { NODES = 100 };
	static struct wqi_wheel_node nodes[NODES];
	struct wqi_wheel *wheel = &model.wheel;
	uint64_t second = 1000000000;
	unsigned i, nr = 0;

	wqi_wheel_init(wheel);
	for (i = 0; i < NODES; i++) {
		nodes[i].expires_ns = second + i % 2;
		wqi_wheel_add(wheel, &nodes[i], 0);
	}
	wqi_wheel_remove(&nodes[0]);
	assert_false(wqi_wheel_advance(wheel, 2 * second, 30)); /* some have moved, others wait */
	for (i = 10; i < NODES; i += 10)
		wqi_wheel_remove(&nodes[i]);
	advance(2 * second);
	for (i = 5; i < NODES; i += 10)
		wqi_wheel_remove(&nodes[i]);
	while (wqi_wheel_pop(wheel))
		nr++;
	assert_int_equal(nr, NODES - NODES / 5);
	for (i = 0; i < NODES; i++)
		assert_false(wqi_wheel_node_is_linked(&nodes[i]));
	assert_int_equal(wqi_wheel_next_ns(wheel), WQI_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wheel_agrees_with_a_sorted_list),
		cmocka_unit_test(lone_node_is_due_exactly_at_its_tick),
		cmocka_unit_test(lone_node_is_looked_at_once),
		cmocka_unit_test(times_at_the_ends_of_the_scale_hold),
		cmocka_unit_test(present_that_stood_still_makes_nothing_late),
		cmocka_unit_test(removed_nodes_do_not_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
