/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of the library while a thread of it is being made. */
#include "process.h"
#include "stops.h"

static int setup(void **state)
{
	stops_begin();
	return 0;
}

static int teardown(void **state)
{
	stops_end();
	return wq_shutdown();
}

/* The item for which it is made was cancelled meanwhile, and its queue is gone. */
static void ends_while_its_first_worker_is_made(const char *where, unsigned flags)
{
	struct wq *wq = wq_alloc("end", flags, 0);
	struct probe probe;

	probe_init(&probe);
	stop_at(0, where);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	stop_reached(0);
	assert_int_equal(wq_work_cancel_sync(&probe.work), 1);
	assert_int_equal(wq_destroy(wq), 0);
	begin(0, wq_shutdown);
	let_go(0);
	assert_int_equal(end(0), 0);
	assert_int_equal(nr_threads_falls_to("wq/", 0), 0);
	assert_int_equal(probe.runs, 0);
}

static void shutdown_while_a_first_worker_is_made_joins_it(void **state)
{
	static const char *const places[] = {"record is made", "worker is made"};
	static const unsigned kinds[] = {0, WQ_HIGHPRI, WQ_ORDERED, WQ_PERCPU};
	unsigned i, k;

	for (i = 0; i < ARRAY_SIZE(places); i++)
		for (k = 0; k < ARRAY_SIZE(kinds); k++)
			ends_while_its_first_worker_is_made(places[i], kinds[k]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(shutdown_while_a_first_worker_is_made_joins_it,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
