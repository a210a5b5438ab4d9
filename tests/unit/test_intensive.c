/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* G12: items that compute for long let others in, and are counted and named. CPU time. */
#include "observe.h"

#include <sched.h>

static unsigned long nop_runs;

static void nop_fn(struct wq_work *work, void *ctx)
{
	count_up(&nop_runs);
}

/* Settles which CPUs the library uses. */
static int start(void **state)
{
	return wq_system() ? 0 : -1;
}

/* --- items that compute until another has run --- */

struct spin {
	struct wq_work work;
	unsigned long *until;
};

static void spin_call(void *ctx)
{
	struct spin *spin = ctx;

	while (!count_get(spin->until))
		;
}

static void spin_fn(struct wq_work *work, void *ctx)
{
	spin_call(ctx);
}

/* The same, to be told from it. */
static void spin_other_fn(struct wq_work *work, void *ctx)
{
	spin_call(ctx);
}

/* How often a function was named; 0 for one that is not known. */
static uint64_t times_named(const void *fn)
{
	struct wq_cpu_hog hogs[WQ_MAX_CPU_HOGS];
	unsigned i, nr = wq_cpu_hogs(hogs, ARRAY_SIZE(hogs));

	for (i = 0; i < nr && i < ARRAY_SIZE(hogs); i++)
		if (hogs[i].fn == fn)
			return hogs[i].count;
	return 0;
}

/* One that computes, and the one behind it that ends that. */
static void spin_round(struct wq *wq, wq_work_fn fn)
{
	int cpu = usable_cpu(0);
	struct probe second;
	struct spin spin;

	probe_init(&second);
	wq_work_init(&spin.work, fn, &spin);
	spin.until = &second.runs;
	assert_int_equal(wq_queue_on(wq, &spin.work, cpu), 1);
	assert_int_equal(wq_queue_on(wq, &second.work, cpu), 1);
	latch_wait(&second.ended, 1);
	wq_work_flush(&spin.work);
	wq_work_flush(&second.work);
}

#define MOST_ROUNDS 50

/*
 * The second may get in for another reason, a page fault of the first, say: then it
 * does not count.  Not so every time.
 */
static void intensive_percpu_item_lets_the_next_in_and_is_named(void **state)
{
	static const unsigned kinds[] = {WQ_PERCPU, WQ_PERCPU | WQ_HIGHPRI};
	unsigned i, k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("intensive", kinds[k], 0);
		wq_work_fn fn = k ? spin_other_fn : spin_fn;
		struct wq_stats stats;

		for (i = 0; i < MOST_ROUNDS && (!i || !stats_of(wq).cpu_intensive); i++)
			spin_round(wq, fn);
		stats = stats_of(wq);
		assert_int_equal(stats.started, 2 * i);
		assert_int_equal(stats.completed, 2 * i);
		assert_true(stats.cpu_intensive <= i);
		assert_int_equal(times_named((const void *)fn), stats.cpu_intensive);
		if (checker_is_exact()) {
			assert_true(stats.cpu_intensive > 0);
			assert_true(pool_stats_of(wq, usable_cpu(0)).cpu_intensive > 0);
		}
		assert_int_equal(pool_stats_of(wq, usable_cpu(0)).started_above_level, 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* A closure's function is named, not the library's. */
static void intensive_closure_is_named_by_its_function(void **state)
{
	struct wq *wq = wq_alloc("closure", WQ_PERCPU, 0);
	cpu_set_t before, one;
	struct probe second;
	struct spin spin = {.until = &second.runs};
	unsigned i;

	/* Closures run where they were queued. */
	sched_getaffinity(0, sizeof(before), &before);
	CPU_ZERO(&one);
	CPU_SET(usable_cpu(0), &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (i = 0; i < MOST_ROUNDS && (!i || !stats_of(wq).cpu_intensive); i++) {
		probe_init(&second);
		assert_int_equal(wq_call(wq, spin_call, &spin), 1);
		assert_int_equal(wq_queue(wq, &second.work), 1);
		assert_int_equal(wq_flush(wq), 0);
	}
	sched_setaffinity(0, sizeof(before), &before);
	assert_int_equal(times_named((const void *)spin_call), stats_of(wq).cpu_intensive);
	if (checker_is_exact())
		assert_true(stats_of(wq).cpu_intensive > 0);
	assert_int_equal(wq_destroy(wq), 0);
}

static void intensive_unbound_items_on_all_cpus_let_the_next_in(void **state)
{
	struct wq *wq = wq_alloc("intensive", 0, 0);
	unsigned i, nr = nr_usable_cpus() + 2;
	struct spin *spins = calloc(nr, sizeof(*spins));
	struct probe last;

	skip_if_cpus_are_pretended();
	assert_non_null(spins);
	probe_init(&last);
	for (i = 0; i < nr; i++) {
		wq_work_init(&spins[i].work, spin_fn, &spins[i]);
		spins[i].until = &last.runs;
		assert_int_equal(wq_queue(wq, &spins[i].work), 1);
	}
	assert_int_equal(wq_queue(wq, &last.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	if (checker_is_exact())
		assert_true(stats_of(wq).cpu_intensive > 0);
	assert_true(stats_of(wq).cpu_intensive <= nr);
	assert_int_equal(pool_stats_of(wq, -1).started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
	free(spins);
}

static void intensive_queue_lets_the_next_in_at_once(void **state)
{
	static const unsigned kinds[] = {WQ_CPU_INTENSIVE | WQ_PERCPU, WQ_CPU_INTENSIVE};
	unsigned long i, rounds = scaled(100);
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("intensive", kinds[k], 0);

		for (i = 0; i < rounds; i++)
			spin_round(wq, spin_fn);
		assert_int_equal(stats_of(wq).started, 2 * rounds);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* Some queue themselves again: it is the run that computes, not the item. */
struct brief {
	struct wq_work work;
	struct wq *wq;
	unsigned long left;
};

static void brief_fn(struct wq_work *work, void *ctx)
{
	struct brief *brief = ctx;

	compute_ns(100000);
	if (--brief->left)
		wq_queue_on(brief->wq, work, usable_cpu(0));
}

static void intensive_is_not_said_of_short_items(void **state)
{
	static const unsigned kinds[] = {WQ_PERCPU, 0};
	unsigned long rounds = scaled(200);
	struct brief briefs[5];
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("brief", kinds[k], 0);

		for (i = 0; i < ARRAY_SIZE(briefs); i++) {
			wq_work_init(&briefs[i].work, brief_fn, &briefs[i]);
			briefs[i].wq = wq;
			briefs[i].left = rounds;
			assert_int_equal(wq_queue_on(wq, &briefs[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_drain(wq), 0);
		assert_int_equal(stats_of(wq).completed, ARRAY_SIZE(briefs) * rounds);
		if (checker_is_exact()) {
			assert_int_equal(stats_of(wq).cpu_intensive, 0);
			assert_int_equal(times_named((const void *)brief_fn), 0);
		}
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* --- CPU time --- */

struct timed {
	struct wq_work work;
	uint64_t compute_ns, sleep_ns, used_ns;
};

static void timed_fn(struct wq_work *work, void *ctx)
{
	struct timed *timed = ctx;
	uint64_t begin = thread_cpu_ns();

	if (timed->sleep_ns)
		sleep_ns(timed->sleep_ns);
	if (timed->compute_ns)
		compute_ns(timed->compute_ns);
	timed->used_ns = thread_cpu_ns() - begin;
}

static void timed_init(struct timed *timed, uint64_t compute, uint64_t sleep)
{
	memset(timed, 0, sizeof(*timed));
	timed->compute_ns = compute;
	timed->sleep_ns = sleep;
	wq_work_init(&timed->work, timed_fn, timed);
}

static void cpu_time_is_what_the_items_used(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_CPU_INTENSIVE, WQ_HIGHPRI};
	unsigned k, i, nr = 4;
	struct timed timed[4];
	uint64_t used, told;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("timed", kinds[k], 0);

		used = 0;
		for (i = 0; i < nr; i++) {
			timed_init(&timed[i], 30000000, i % 2 ? 5000000 : 0);
			assert_int_equal(wq_queue(wq, &timed[i].work), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < nr; i++)
			used += timed[i].used_ns;
		assert_true(used >= nr * UINT64_C(30000000));
		told = stats_of(wq).cpu_time_ns;
		assert_in_range(told, used - used / 5, used + used / 5);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void cpu_time_of_sleepers_is_next_to_nothing(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED};
	struct timed timed[10];
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("sleepers", kinds[k], 0);

		for (i = 0; i < ARRAY_SIZE(timed); i++) {
			timed_init(&timed[i], 0, 20000000);
			assert_int_equal(wq_queue(wq, &timed[i].work), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		/* Of 200 ms. */
		assert_true(stats_of(wq).cpu_time_ns < 50000000);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* --- other thresholds; these start the library anew --- */

static void start_with_threshold(unsigned us)
{
	struct wq_config config = WQ_CONFIG_INIT;

	assert_int_equal(wq_shutdown(), 0);
	config.cpu_intensive_us = us;
	assert_int_equal(wq_configure(&config), 0);
}

static void intensive_off_counts_nobody(void **state)
{
	struct timed timed[3];
	struct wq *wq;
	unsigned i;

	skip_if_cpus_are_pretended();
	start_with_threshold(0);
	wq = wq_alloc("off", WQ_PERCPU, 0);
	/* Beginning anew, nobody is known. */
	assert_int_equal(wq_cpu_hogs(NULL, 0), 0);
	for (i = 0; i < ARRAY_SIZE(timed); i++) {
		timed_init(&timed[i], 30000000, 0);
		assert_int_equal(wq_queue_on(wq, &timed[i].work, usable_cpu(0)), 1);
	}
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(stats_of(wq).started, ARRAY_SIZE(timed));
	assert_int_equal(stats_of(wq).cpu_intensive, 0);
	assert_int_equal(wq_cpu_hogs(NULL, 0), 0);
	assert_int_equal(wq_destroy(wq), 0);
	start_with_threshold(10000);
}

static void intensive_threshold_can_be_lower(void **state)
{
	struct wq *wq;
	unsigned i;

	skip_if_cpus_are_pretended();
	start_with_threshold(2000);
	wq = wq_alloc("low", WQ_PERCPU, 0);
	for (i = 0; i < MOST_ROUNDS && (!i || !stats_of(wq).cpu_intensive); i++)
		spin_round(wq, spin_fn);
	if (checker_is_exact())
		assert_true(stats_of(wq).cpu_intensive > 0);
	assert_int_equal(wq_destroy(wq), 0);
	start_with_threshold(10000);
}

/* --- the list of those that were named --- */

static void hogs_come_sorted_and_no_more_than_asked_for(void **state)
{
	struct wq *wq = wq_alloc("hogs", WQ_PERCPU, 0);
	const struct wq_cpu_hog untouched = {&nop_runs, 77};
	struct wq_cpu_hog hogs[WQ_MAX_CPU_HOGS], one[2] = {untouched, untouched};
	unsigned i, nr;

	for (i = 0; i < MOST_ROUNDS && times_named((const void *)spin_fn) < 3; i++)
		spin_round(wq, spin_fn);
	for (i = 0; i < MOST_ROUNDS && !times_named((const void *)spin_other_fn); i++)
		spin_round(wq, spin_other_fn);
	/* A library at rest: nobody is named any more. */
	assert_int_equal(wq_flush(wq), 0);
	nr = wq_cpu_hogs(NULL, 0);
	if (checker_is_exact())
		assert_true(nr >= 2);
	assert_true(nr <= WQ_MAX_CPU_HOGS);
	assert_int_equal(wq_cpu_hogs(hogs, ARRAY_SIZE(hogs)), nr);
	for (i = 1; i < nr; i++)
		assert_true(hogs[i - 1].count >= hogs[i].count);
	for (i = 0; i < nr; i++) {
		assert_non_null(hogs[i].fn);
		assert_true(hogs[i].count > 0);
	}
	assert_int_equal(wq_cpu_hogs(one, 1), nr);
	if (nr) {
		/* Of equal ones either may come first. */
		assert_int_equal(one[0].count, hogs[0].count);
	}
	assert_ptr_equal(one[1].fn, untouched.fn);
	assert_int_equal(one[1].count, untouched.count);
	assert_int_equal(wq_destroy(wq), 0);
}

/* An item that never computes for long is beside one that does all the time. */
static void intensive_item_does_not_hold_up_a_stream_of_short_ones(void **state)
{
	struct wq *wq = wq_alloc("stream", WQ_PERCPU, 0);
	unsigned long go_on = 0, i, rounds = scaled(300);
	struct spin spin = {.until = &go_on};

	wq_work_init(&spin.work, spin_fn, &spin);
	assert_int_equal(wq_queue_on(wq, &spin.work, usable_cpu(0)), 1);
	for (i = 0; i < rounds; i++) {
		struct wq_work work = WQ_WORK_INIT(nop_fn, NULL);

		assert_int_equal(wq_queue_on(wq, &work, usable_cpu(0)), 1);
		wq_work_flush(&work);
	}
	/* One run is counted once, however long it takes. */
	assert_true(stats_of(wq).cpu_intensive <= 1);
	count_set(&go_on, 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_true(stats_of(wq).cpu_intensive <= 1);
	assert_int_equal(pool_stats_of(wq, usable_cpu(0)).started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- one that computes beside many short ones --- */

static struct {
	struct wq_work short_one, long_one;
	struct wq *wq;
	unsigned long runs, stop;
} beside;

static void short_fn(struct wq_work *work, void *ctx)
{
	count_up(&beside.runs);
	if (!count_get(&beside.stop))
		wq_queue(beside.wq, work);
}

static void long_fn(struct wq_work *work, void *ctx)
{
	compute_ns(200000000);
}

/* It began as one of many that are cheap, so nobody has measured it, and the others go on. */
static void intensive_item_beside_a_flow_of_short_ones_is_named(void **state)
{
	unsigned i, rounds = 3;

	skip_if_cpus_are_pretended();
	if (usable_cpu(1) < 0)
		skip();
	beside.wq = wq_alloc("beside", 0, 0);
	wq_work_init(&beside.short_one, short_fn, NULL);
	wq_work_init(&beside.long_one, long_fn, NULL);
	assert_int_equal(wq_queue(beside.wq, &beside.short_one), 1);
	for (i = 0; i < rounds; i++) {
		count_set(&beside.runs, 0);
		while (count_get(&beside.runs) < 10000)
			sched_yield();
		assert_int_equal(wq_queue(beside.wq, &beside.long_one), 1);
		assert_true(wq_work_flush(&beside.long_one) >= 0);
	}
	count_set(&beside.stop, 1);
	assert_int_equal(wq_flush(beside.wq), 0);
	if (checker_is_exact()) {
		assert_int_equal(times_named((const void *)long_fn), rounds);
		assert_true(stats_of(beside.wq).cpu_time_ns >= rounds * UINT64_C(200000000));
	}
	assert_int_equal(wq_destroy(beside.wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intensive_percpu_item_lets_the_next_in_and_is_named),
		cmocka_unit_test(intensive_closure_is_named_by_its_function),
		cmocka_unit_test(intensive_unbound_items_on_all_cpus_let_the_next_in),
		cmocka_unit_test(intensive_queue_lets_the_next_in_at_once),
		cmocka_unit_test(intensive_is_not_said_of_short_items),
		cmocka_unit_test(intensive_item_does_not_hold_up_a_stream_of_short_ones),
		cmocka_unit_test(cpu_time_is_what_the_items_used),
		cmocka_unit_test(cpu_time_of_sleepers_is_next_to_nothing),
		cmocka_unit_test(intensive_item_beside_a_flow_of_short_ones_is_named),
		cmocka_unit_test(hogs_come_sorted_and_no_more_than_asked_for),
		cmocka_unit_test(intensive_off_counts_nobody),
		cmocka_unit_test(intensive_threshold_can_be_lower),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
