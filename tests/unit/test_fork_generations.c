/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* G16 over generations: children of children, as many as an item's word can tell apart. */
#include "process.h"

#define NR_GENERATIONS 256

static struct generation {
	struct probe gate, item;
} generations[NR_GENERATIONS];
static struct wq *generations_wq;
static unsigned generations_nr;

static void leave_pending(unsigned g)
{
	struct generation *here = &generations[g];

	probe_init_gate(&here->gate);
	probe_init(&here->item);
	CHECK_EQUAL(wq_queue(generations_wq, &here->gate.work), 1);
	latch_wait(&here->gate.started, 1);
	CHECK_EQUAL(wq_queue(generations_wq, &here->item.work), 1);
	CHECK_EQUAL(wq_work_busy(&here->item.work), WQ_BUSY_PENDING);
}

static void end_pending(unsigned g)
{
	struct generation *here = &generations[g];

	CHECK_EQUAL(wq_work_busy(&here->item.work), WQ_BUSY_PENDING);
	CHECK_EQUAL(wq_work_busy(&here->gate.work), WQ_BUSY_RUNNING);
	latch_post(&here->gate.open);
	CHECK_EQUAL(wq_flush(generations_wq), 0);
	CHECK_EQUAL(here->item.runs, 1);
	CHECK_EQUAL(here->gate.runs, 1);
}

static void older_are_idle(unsigned g)
{
	unsigned i;

	for (i = 0; i < g; i++) {
		CHECK_EQUAL(wq_work_busy(&generations[i].gate.work), 0);
		CHECK_EQUAL(wq_work_busy(&generations[i].item.work), 0);
	}
}

static void generation_runs(unsigned g)
{
	probe_runs(generations_wq, &generations[g].item);
	probe_runs(generations_wq, &generations[g].gate);
}

/* Each generation leaves an item pending, and none after it may take it for its own. */
static void generation(unsigned g)
{
	pid_t pid;

	older_are_idle(g);
	/* Every other item stays as it is. */
	if (g % 2)
		generation_runs(g - 1);
	if (g + 1 == generations_nr)
		return;
	leave_pending(g);
	pid = fork();
	if (!pid) {
		watchdog();
		generation(g + 1);
		_exit(0);
	}
	CHECK_EQUAL(child_status(pid), 0);
	end_pending(g);
}

static void generations_run(void *ctx)
{
	generations_wq = wq_alloc("generations", WQ_ORDERED, 0);
	CHECK(generations_wq);
	generation(0);
}

static void fork_three_levels_deep_works(void **state)
{
	skip_if_checker_hangs_children();
	generations_nr = 4;
	assert_int_equal(in_child(generations_run, NULL), 0);
}

static void fork_256_generations_deep_keeps_states_right(void **state)
{
	skip_if_checker_hangs_children();
	skip_if_checker_is_slow();
	generations_nr = NR_GENERATIONS;
	assert_int_equal(in_child(generations_run, NULL), 0);
}

/* @left generations that do not touch the library, then one that does. */
static void unused_generations(unsigned left)
{
	pid_t pid;

	for (; left; left--) {
		pid = fork();
		if (pid)
			_exit(child_status(pid));
		watchdog();
	}
	older_are_idle(1);
	generation_runs(0);
	CHECK_EQUAL(wq_destroy(generations_wq), 0);
}

static void unused_generations_run(void *ctx)
{
	unsigned *left = ctx;
	pid_t pid;

	generations_wq = wq_alloc("generations", WQ_ORDERED, 0);
	CHECK(generations_wq);
	leave_pending(0);
	pid = fork();
	if (!pid) {
		watchdog();
		unused_generations(*left - 1);
		_exit(0);
	}
	CHECK_EQUAL(child_status(pid), 0);
	end_pending(0);
}

static void fork_by_generations_that_do_not_use_the_library_keeps_states_right(void **state)
{
	static unsigned left[] = {2, 128, 255};
	unsigned i;

	skip_if_checker_hangs_children();
	skip_if_checker_is_slow();
	for (i = 0; i < ARRAY_SIZE(left); i++)
		assert_int_equal(in_child(unused_generations_run, &left[i]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork_three_levels_deep_works),
		cmocka_unit_test(fork_256_generations_deep_keeps_states_right),
		cmocka_unit_test(
			fork_by_generations_that_do_not_use_the_library_keeps_states_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
