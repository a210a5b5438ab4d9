/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* G11 and G8: many blocked items, CPUs that others keep busy, and what blocking does not change. */
#include "observe.h"

#include <sched.h>

/* Settles which CPUs the library uses. */
static int start(void **state)
{
	return wq_system() ? 0 : -1;
}

/* --- items that wait for the last one --- */

struct crowd {
	struct latch open;
	unsigned long running, most, ran;
};

struct member {
	struct wq_work work;
	struct crowd *crowd;
	bool opens;
};

static void member_fn(struct wq_work *work, void *ctx)
{
	struct member *member = ctx;
	struct crowd *crowd = member->crowd;

	if (member->opens)
		latch_post(&crowd->open);
	latch_wait(&crowd->open, 1);
	count_up(&crowd->ran);
}

/* On @cpu, or anywhere. */
static void all_wait_for_the_last(unsigned flags, int cpu, unsigned nr)
{
	struct wq *wq = wq_alloc("crowd", flags, 0);
	struct member *members = calloc(nr, sizeof(*members));
	struct crowd crowd = {.open = LATCH_INIT};
	unsigned i;

	assert_non_null(members);
	for (i = 0; i < nr; i++) {
		wq_work_init(&members[i].work, member_fn, &members[i]);
		members[i].crowd = &crowd;
		members[i].opens = i == nr - 1;
		assert_int_equal(cpu < 0 ? wq_queue(wq, &members[i].work)
					 : wq_queue_on(wq, &members[i].work, cpu),
				 1);
	}
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(crowd.ran, nr);
	assert_int_equal(pool_stats_of(wq, usable_cpu(0)).started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
	free(members);
}

static void blocked_unbound_items_that_wait_for_the_last_all_end(void **state)
{
	all_wait_for_the_last(0, -1, (unsigned)scaled(200) + nr_usable_cpus());
	/* Threads are there now. */
	all_wait_for_the_last(0, -1, (unsigned)scaled(200) + nr_usable_cpus());
	all_wait_for_the_last(WQ_HIGHPRI, -1, (unsigned)scaled(50) + nr_usable_cpus());
}

static void blocked_percpu_items_that_wait_for_the_last_all_end(void **state)
{
	all_wait_for_the_last(WQ_PERCPU, usable_cpu(0), (unsigned)scaled(100) + 2);
	all_wait_for_the_last(WQ_PERCPU | WQ_HIGHPRI, usable_cpu(0), (unsigned)scaled(50) + 2);
}

/* Each queues the next one when it runs, and waits for it: nothing ever waits at a start. */
struct link {
	struct wq_work work;
	struct wq *wq;
	struct link *next;
	struct latch ended;
};

static void link_fn(struct wq_work *work, void *ctx)
{
	struct link *link = ctx;

	if (link->next) {
		wq_queue_on(link->wq, &link->next->work, usable_cpu(0));
		latch_wait(&link->next->ended, 1);
	}
	latch_post(&link->ended);
}

static void blocked_chain_of_items_gets_to_its_end(void **state)
{
	static const unsigned kinds[] = {WQ_PERCPU, 0, WQ_HIGHPRI};
	unsigned nr = (unsigned)scaled(100) + 2, k, i;
	struct link *links = calloc(nr, sizeof(*links));

	assert_non_null(links);
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("chain", kinds[k], 0);

		for (i = 0; i < nr; i++) {
			wq_work_init(&links[i].work, link_fn, &links[i]);
			latch_init(&links[i].ended);
			links[i].wq = wq;
			links[i].next = i + 1 < nr ? &links[i + 1] : NULL;
		}
		assert_int_equal(wq_queue_on(wq, &links[0].work, usable_cpu(0)), 1);
		latch_wait(&links[0].ended, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
	free(links);
}

/* --- beside others that keep the CPUs --- */

struct hog {
	pthread_t thread;
	int cpu;
	unsigned long *stop;
};

static void *hog_main(void *ctx)
{
	struct hog *hog = ctx;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(hog->cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
	while (!count_get(hog->stop))
		;
	return NULL;
}

/* No CPU is idle, so whoever waits for an idle one would wait for ever. */
static void blocked_beside_a_hog_on_every_cpu_lets_others_start(void **state)
{
	static const unsigned kinds[] = {WQ_PERCPU, 0};
	unsigned i, k, nr = nr_usable_cpus(), nr_gates = nr + 4;
	struct probe *gates = calloc(nr_gates, sizeof(*gates));
	struct hog *hogs = calloc(nr, sizeof(*hogs));
	unsigned long stop = 0;

	assert_non_null(gates);
	assert_non_null(hogs);
	for (i = 0; i < nr; i++) {
		hogs[i].cpu = usable_cpu(i);
		hogs[i].stop = &stop;
		assert_int_equal(pthread_create(&hogs[i].thread, NULL, hog_main, &hogs[i]), 0);
	}
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("beside", kinds[k], 0);
		struct probe last;

		for (i = 0; i < nr_gates; i++) {
			probe_init_gate(&gates[i]);
			assert_int_equal(wq_queue_on(wq, &gates[i].work, usable_cpu(0)), 1);
		}
		probe_init(&last);
		assert_int_equal(wq_queue_on(wq, &last.work, usable_cpu(0)), 1);
		latch_wait(&last.ended, 1);
		for (i = 0; i < nr_gates; i++)
			latch_post(&gates[i].open);
		assert_int_equal(wq_destroy(wq), 0);
	}
	count_set(&stop, 1);
	for (i = 0; i < nr; i++)
		pthread_join(hogs[i].thread, NULL);
	free(hogs);
	free(gates);
}

/* --- what it does not change --- */

/* Something else of the same CPU that blocks and is let go, so that others are looked at. */
static void others_come_and_go(struct wq *other)
{
	struct probe gate, probe;
	unsigned i;

	for (i = 0; i < 10; i++) {
		probe_init_gate(&gate);
		probe_init(&probe);
		assert_int_equal(wq_queue_on(other, &gate.work, usable_cpu(0)), 1);
		assert_int_equal(wq_queue_on(other, &probe.work, usable_cpu(0)), 1);
		latch_wait(&probe.ended, 1);
		latch_post(&gate.open);
		wq_work_flush(&gate.work);
		wq_work_flush(&probe.work);
	}
}

static void blocked_item_of_an_ordered_queue_keeps_the_next_waiting(void **state)
{
	static const unsigned kinds[] = {WQ_ORDERED, WQ_ORDERED | WQ_HIGHPRI, WQ_DEDICATED,
					 WQ_PERCPU, 0};
	struct wq *others[] = {wq_alloc("other", WQ_PERCPU, 0), wq_alloc("other", 0, 0)};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		/* Or a limit of 1, for those that are not ordered. */
		struct wq *wq = wq_alloc("ordered", kinds[k], 1);
		struct probe first, second;

		probe_init_gate(&first);
		probe_init(&second);
		assert_int_equal(wq_queue_on(wq, &first.work, usable_cpu(0)), 1);
		assert_int_equal(wq_queue_on(wq, &second.work, usable_cpu(0)), 1);
		latch_wait(&first.started, 1);
		others_come_and_go(others[0]);
		others_come_and_go(others[1]);
		assert_int_equal(count_get(&second.runs), 0);
		latch_post(&first.open);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(second.runs, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_int_equal(wq_destroy(others[0]), 0);
	assert_int_equal(wq_destroy(others[1]), 0);
}

#define LIMIT 3

/* The first ones wait until as many are active as may be. */
static void limited_fn(struct wq_work *work, void *ctx)
{
	struct crowd *crowd = ctx;
	unsigned long now = count_up(&crowd->running), most = count_get(&crowd->most);

	while (now > most && !__atomic_compare_exchange_n(&crowd->most, &most, now, false,
							  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	if (now >= LIMIT)
		latch_post(&crowd->open);
	latch_wait(&crowd->open, 1);
	sleep_ns(1000000);
	count_up(&crowd->ran);
	__atomic_sub_fetch(&crowd->running, 1, __ATOMIC_SEQ_CST);
}

static void blocked_items_count_for_max_active(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_CPU_INTENSIVE, WQ_PERCPU | WQ_HIGHPRI};
	struct wq_work works[20];
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("limited", kinds[k], LIMIT);
		struct crowd crowd = {.open = LATCH_INIT};

		for (i = 0; i < ARRAY_SIZE(works); i++) {
			wq_work_init(&works[i], limited_fn, &crowd);
			assert_int_equal(wq_queue_on(wq, &works[i], usable_cpu(0)), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(crowd.ran, ARRAY_SIZE(works));
		assert_int_equal(crowd.most, LIMIT);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* Between them the others run, each once, on their CPU, and a flush waits for just those. */
static void blocked_items_here_and_there_hold_up_nobody(void **state)
{
	struct wq *wq = wq_alloc("between", WQ_PERCPU, 0);
	unsigned long rounds = scaled(10);
	struct where wheres[40];
	struct probe gates[4];
	unsigned i;

	skip_if_cpus_are_pretended();
	while (rounds--) {
		for (i = 0; i < ARRAY_SIZE(wheres); i++) {
			if (i % 10 == 0) {
				probe_init_gate(&gates[i / 10]);
				assert_int_equal(wq_queue_on(wq, &gates[i / 10].work,
							     usable_cpu(0)),
						 1);
			}
			where_init(&wheres[i], NULL);
			assert_int_equal(wq_queue_on(wq, &wheres[i].work, usable_cpu(0)), 1);
		}
		for (i = 0; i < ARRAY_SIZE(wheres); i++)
			wq_work_flush(&wheres[i].work);
		for (i = 0; i < ARRAY_SIZE(gates); i++) {
			assert_int_equal(count_get(&gates[i].runs), 1);
			latch_post(&gates[i].open);
		}
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(wheres); i++) {
			assert_int_equal(wheres[i].cpu, usable_cpu(0));
			assert_int_equal(wheres[i].runs, 1);
		}
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- coming back --- */

static void napper_fn(struct wq_work *work, void *ctx)
{
	sleep_ns(200000);
	count_up((unsigned long *)ctx);
	sched_yield();
	sleep_ns(200000);
}

/* All wake at about the same time and go on together: none is lost, none starts too many. */
static void blocked_items_that_wake_together_keep_the_level(void **state)
{
	struct wq *queues[] = {wq_alloc("nap", 0, 0), wq_alloc("nap", WQ_PERCPU, 0)};
	unsigned nr = (unsigned)scaled(300), q, i;
	struct wq_work *works = calloc(nr, sizeof(*works));
	unsigned long ran;

	assert_non_null(works);
	for (q = 0; q < ARRAY_SIZE(queues); q++) {
		ran = 0;
		for (i = 0; i < nr; i++) {
			wq_work_init(&works[i], napper_fn, &ran);
			assert_int_equal(wq_queue(queues[q], &works[i]), 1);
		}
		assert_int_equal(wq_flush(queues[q]), 0);
		assert_int_equal(ran, nr);
		for (i = 0; i < nr_usable_cpus(); i++)
			assert_int_equal(
				pool_stats_of(queues[q], usable_cpu(i)).started_above_level, 0);
		assert_int_equal(wq_destroy(queues[q]), 0);
	}
	free(works);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocked_unbound_items_that_wait_for_the_last_all_end),
		cmocka_unit_test(blocked_percpu_items_that_wait_for_the_last_all_end),
		cmocka_unit_test(blocked_chain_of_items_gets_to_its_end),
		cmocka_unit_test(blocked_beside_a_hog_on_every_cpu_lets_others_start),
		cmocka_unit_test(blocked_item_of_an_ordered_queue_keeps_the_next_waiting),
		cmocka_unit_test(blocked_items_count_for_max_active),
		cmocka_unit_test(blocked_items_here_and_there_hold_up_nobody),
		cmocka_unit_test(blocked_items_that_wake_together_keep_the_level),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
