/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CPUs that the process may use, changed: which are for unbound items. */
#include "support.h"

#include "cpu.h"
#include "runtime.h"

static wqi_cpu_mask mask_of(unsigned first, unsigned last)
{
	wqi_cpu_mask mask;

	memset(&mask, 0, sizeof(mask));
	for (; first <= last; first++)
		CPU_SET_S(first, sizeof(mask), mask.set);
	return mask;
}

/* Of four CPUs, the last two isolated; no thread of the library runs. */
static int setup(void **state)
{
	wqi_lock(&wqi_runtime.lock);
	wqi_cpus_read();
	wqi_cpus.nr = 4;
	wqi_cpus.alone = mask_of(2, 3);
	return 0;
}

static int teardown(void **state)
{
	wqi_cpus_read();
	wqi_unlock(&wqi_runtime.lock);
	return 0;
}

static void check_unbound(unsigned first, unsigned last)
{
	wqi_cpu_mask expected = mask_of(first, last);

	assert_memory_equal(&wqi_cpus.unbound, &expected, sizeof(expected));
	assert_int_equal(wqi_cpus.nr_unbound, last - first + 1);
}

static bool change_to(unsigned first, unsigned last)
{
	wqi_cpu_mask mask = mask_of(first, last);

	return wqi_cpus_change_locked(&mask);
}

static void isolated_cpus_are_not_for_unbound_items(void **state)
{
	change_to(0, 0);
	assert_true(change_to(0, 3));
	check_unbound(0, 1);
	assert_int_equal(wqi_cpus.nr_usable, 4);
	assert_true(change_to(1, 3));
	check_unbound(1, 1);
	/* Unless there are no others. */
	assert_true(change_to(2, 3));
	check_unbound(2, 3);
}

static void isolated_cpus_that_are_named_are_for_unbound_items(void **state)
{
	change_to(0, 3);
	assert_int_equal(wqi_cpus_limit_unbound("1-2"), 0);
	check_unbound(1, 2);
	assert_true(change_to(2, 3));
	check_unbound(2, 2);
	/* None of those named is left: as if none were named. */
	assert_true(change_to(0, 0));
	check_unbound(0, 0);
	assert_true(change_to(0, 3));
	check_unbound(1, 2);
}

static void cpus_that_do_not_change_are_no_change(void **state)
{
	change_to(0, 1);
	assert_false(change_to(0, 1));
	/* Nor are those that can't exist, and none at all is not believed. */
	assert_false(change_to(5, 7));
	assert_true(wqi_cpu_is_usable(1));
	assert_false(wqi_cpu_is_usable(2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(isolated_cpus_are_not_for_unbound_items, setup,
						teardown),
		cmocka_unit_test_setup_teardown(isolated_cpus_that_are_named_are_for_unbound_items,
						setup, teardown),
		cmocka_unit_test_setup_teardown(cpus_that_do_not_change_are_no_change, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
