/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trigger items on the kinds of queues, and a library in which none is ready. */
#include "events.h"

#include <sched.h>

#define NR_SHARING 20

static int setup(void **state)
{
	*state = wq_alloc("trigger", 0, 0);
	return !*state;
}

static int teardown(void **state)
{
	return wq_destroy(*state);
}

static void trigger_on_an_ordered_queue_runs_in_the_order_of_arming_and_of_events(void **state)
{
	struct wq *wq = wq_alloc("ordered", WQ_ORDERED, 0);
	struct waiter waiters[NR_SHARING];
	struct ends ends[NR_SHARING];
	unsigned long turns = 0;
	struct probe gate;
	unsigned i;

	probe_init_gate(&gate);
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	for (i = 0; i < NR_SHARING; i++) {
		ends_open(&ends[i]);
		waiter_init(&waiters[i]);
		waiters[i].turns = &turns;
	}
	/* The first half wait for one descriptor, the others for one each. */
	for (i = 0; i < NR_SHARING; i++)
		assert_int_equal(waiter_arm(wq, &waiters[i],
					    i < NR_SHARING / 2 ? ends[0].in : ends[i].in, EPOLLIN,
					    WQ_FOREVER),
				 1);
	byte_write(ends[0].out);
	for (i = NR_SHARING / 2; i < NR_SHARING; i++) {
		while (wq_trigger_work_busy(&waiters[i - 1].tw) != WQ_BUSY_PENDING)
			sched_yield();
		byte_write(ends[i].out);
	}
	while (wq_trigger_work_busy(&waiters[NR_SHARING - 1].tw) != WQ_BUSY_PENDING)
		sched_yield();
	assert_int_equal(turns, 0);
	latch_post(&gate.open);
	for (i = 0; i < NR_SHARING; i++) {
		waiter_wait(&waiters[i], 1);
		assert_int_equal(waiters[i].turn, i + 1);
	}
	assert_int_equal(wq_destroy(wq), 0);
	for (i = 0; i < NR_SHARING; i++)
		ends_close(&ends[i]);
}

struct on_cpu {
	struct wq *wq;
	struct waiter *waiter;
	int cpu, fd, ret;
};

static void arm_on_cpu(void *ctx, unsigned index)
{
	struct on_cpu *on = ctx;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(on->cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		abort();
	on->ret = waiter_arm(on->wq, on->waiter, on->fd, EPOLLIN, WQ_FOREVER);
}

static void trigger_on_a_percpu_queue_runs_where_it_was_armed(void **state)
{
	struct wq *wq = wq_alloc("percpu", WQ_PERCPU, 0);
	struct waiter waiter;
	struct ends ends;
	unsigned i;

	skip_if_cpus_are_pretended();
	ends_open(&ends);
	for (i = 0; i < 4 && usable_cpu(i) >= 0; i++) {
		struct on_cpu on = {wq, &waiter, usable_cpu(i), ends.in, 0};

		waiter_init(&waiter);
		run_threads(1, arm_on_cpu, &on);
		assert_int_equal(on.ret, 1);
		byte_write(ends.out);
		waiter_wait(&waiter, 1);
		assert_int_equal(waiter.cpu, on.cpu);
		byte_read(ends.in);
	}
	assert_int_equal(wq_destroy(wq), 0);
	ends_close(&ends);
}

static void trigger_works_on_queues_of_all_kinds(void **state)
{
	static const unsigned kinds[] = {WQ_PERCPU,	 WQ_ORDERED, WQ_DEDICATED, WQ_HIGHPRI,
					 WQ_MEM_RECLAIM, WQ_BH,	     WQ_FREEZABLE};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct wq *wq = wq_alloc("kind", kinds[i], 0);

		assert_non_null(wq);
		assert_true(trigger_works(wq));
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_true(trigger_works(wq_system()));
	assert_true(trigger_works(wq_system_percpu()));
}

/* --- idle --- */

static unsigned long switches_of(const char *name)
{
	char path[64], line[128];
	unsigned long nr = 0, n;
	bool found = false;
	FILE *file;
	int tid;

	for (tid = getpid(); tid < getpid() + 1000 && !found; tid++) {
		snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
		file = fopen(path, "re");
		if (!file)
			continue;
		while (fgets(line, sizeof(line), file)) {
			if (!strncmp(line, "Name:\t", 6))
				found = !strncmp(line + 6, name, strlen(name));
			if (found && sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
				nr = n;
		}
		fclose(file);
	}
	return found ? nr : 0;
}

static void trigger_thread_sleeps_where_nothing_is_ready(void **state)
{
	struct waiter waiter, brief;
	unsigned long before, i;
	struct ends ends;
	struct probe probe;

	/* Its first steps are over when it has run an item and is asleep again. */
	assert_true(trigger_works(*state));
	waiter_init(&waiter);
	waiter_init(&brief);
	probe_init(&probe);
	ends_open(&ends);
	assert_int_equal(waiter_arm(*state, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	do {
		before = switches_of("wq/trigger");
		for (i = 0; i < 100; i++)
			sched_yield();
	} while (switches_of("wq/trigger") != before);
	assert_true(before > 0);
	for (i = 0; i < 20; i++) {
		assert_int_equal(waiter_arm(*state, &brief, ends.in, EPOLLIN, MS / 2), 1);
		assert_int_equal(wq_queue(*state, &probe.work), 1);
		latch_wait(&probe.ended, i + 1);
		wq_work_flush(&probe.work);
		waiter_wait(&brief, i + 1);
		wq_trigger_work_flush(&brief.tw);
	}
	assert_int_equal(switches_of("wq/trigger"), before);
	assert_int_equal(wq_trigger_work_cancel_sync(&waiter.tw), 1);
	ends_close(&ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			trigger_on_an_ordered_queue_runs_in_the_order_of_arming_and_of_events),
		cmocka_unit_test(trigger_on_a_percpu_queue_runs_where_it_was_armed),
		cmocka_unit_test(trigger_works_on_queues_of_all_kinds),
		cmocka_unit_test(trigger_thread_sleeps_where_nothing_is_ready),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
