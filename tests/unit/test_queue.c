/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The queue's calls, one by one, bad input included. */
#include "support.h"
#include "process.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static void nop(struct wq_work *work, void *ctx)
{
}

static void expect_refused(const char *name, unsigned flags, int max_active, int err)
{
	errno = 0;
	assert_null(wq_alloc(name, flags, max_active));
	assert_int_equal(errno, err);
}

static void alloc_refuses_bad_arguments(void **state)
{
	expect_refused(NULL, 0, 0, EINVAL);
	expect_refused("", 0, 0, EINVAL);
	expect_refused("q", 1u << 31, 0, EINVAL);
	expect_refused("q", ~0u, 0, EINVAL);
	expect_refused("q", 0, -1, EINVAL);
	expect_refused("q", 0, WQ_MAX_ACTIVE + 1, EINVAL);
	expect_refused("q", WQ_ORDERED, 2, EINVAL);
	expect_refused("q", WQ_ORDERED | WQ_PERCPU, 0, EINVAL);
}

static void alloc_refuses_flags_that_are_not_built(void **state)
{
	expect_refused("q", WQ_OBSERVE, 0, EOPNOTSUPP);
	expect_refused("q", WQ_BH | WQ_ORDERED, 3, EINVAL);
}

static void alloc_takes_all_valid_arguments(void **state)
{
	static const struct {
		unsigned flags;
		int max_active;
	} valid[] = {
		{0, 0},
		{0, 1},
		{0, WQ_MAX_ACTIVE},
		{WQ_PERCPU, 0},
		{WQ_PERCPU | WQ_HIGHPRI, 1},
		{WQ_ORDERED, 0},
		{WQ_ORDERED | WQ_HIGHPRI | WQ_CPU_INTENSIVE, 1},
		{WQ_CPU_INTENSIVE, 5},
	};
	struct probe probe;
	char name[301];
	unsigned i;

	memset(name, 'n', 300);
	name[300] = '\0';
	for (i = 0; i < ARRAY_SIZE(valid); i++) {
		struct wq *wq = wq_alloc(name, valid[i].flags, valid[i].max_active);

		assert_non_null(wq);
		probe_init(&probe);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(probe.runs, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void destroy_of_null_is_nothing(void **state)
{
	assert_int_equal(wq_destroy(NULL), 0);
	assert_int_equal(wq_flush(NULL), -EINVAL);
}

static void set_max_active_checks_its_arguments(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 0), *ordered = wq_alloc("o", WQ_ORDERED, 0);

	assert_int_equal(wq_set_max_active(NULL, 1), -EINVAL);
	assert_int_equal(wq_set_max_active(wq, -1), -EINVAL);
	assert_int_equal(wq_set_max_active(wq, WQ_MAX_ACTIVE + 1), -EINVAL);
	assert_int_equal(wq_set_max_active(ordered, 1), -EINVAL);
	assert_int_equal(wq_set_max_active(wq, 0), 0);
	assert_int_equal(wq_set_max_active(wq, 7), 0);
	wq_destroy(wq);
	wq_destroy(ordered);
}

static void set_max_active_lets_waiting_items_go(void **state)
{
	struct wq *wq = wq_alloc("q", 0, 1);
	struct probe a, b;

	probe_init_gate(&a);
	probe_init_gate(&b);
	wq_queue(wq, &a.work);
	latch_wait(&a.started, 1);
	wq_queue(wq, &b.work);
	assert_int_equal(wq_set_max_active(wq, 2), 0);
	latch_wait(&b.started, 1);
	latch_post(&a.open);
	latch_post(&b.open);
	wq_destroy(wq);
}

static void system_queues_are_shared_and_protected(void **state)
{
	struct wq *(*const get[])(void) = {wq_system, wq_system_percpu, wq_system_highpri,
					   wq_system_long};
	struct probe probe;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(get); i++) {
		struct wq *wq = get[i]();

		assert_non_null(wq);
		assert_ptr_equal(wq, get[i]());
		assert_int_equal(wq_destroy(wq), -EPERM);
		assert_int_equal(wq_flush(wq), -EPERM);
		probe_init(&probe);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		wq_work_flush(&probe.work);
		assert_int_equal(probe.runs, 1);
	}
	probe_init(&probe);
	assert_int_equal(wq_schedule(&probe.work), 1);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 1);
}

struct where {
	struct wq_work work;
	int cpu, nice;
	char name[16];
};

static void where_fn(struct wq_work *work, void *ctx)
{
	struct where *where = ctx;

	where->cpu = sched_getcpu();
	where->nice = getpriority(PRIO_PROCESS, 0);
	prctl(PR_GET_NAME, where->name);
}

static void queue_on_runs_on_that_cpu(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU, 0);
	struct where where;
	char prefix[16];
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
		wq_work_init(&where.work, where_fn, &where);
		assert_int_equal(wq_queue_on(wq, &where.work, cpu), 1);
		wq_work_flush(&where.work);
		assert_int_equal(where.cpu, cpu);
		snprintf(prefix, sizeof(prefix), "wq/%d:", cpu);
		assert_memory_equal(where.name, prefix, strlen(prefix));
		assert_int_equal(where.name[strlen(where.name) - 1] == 'H', 0);
	}
	wq_destroy(wq);
}

static void queue_on_checks_the_cpu(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU, 0);
	struct probe probe;

	probe_init(&probe);
	assert_int_equal(wq_queue_on(wq, &probe.work, -1), -EINVAL);
	assert_int_equal(wq_queue_on(wq, &probe.work, WQ_MAX_CPUS), -EINVAL);
	assert_int_equal(wq_work_busy(&probe.work), 0);
	/* Absent, but in range: any CPU. */
	assert_int_equal(wq_queue_on(wq, &probe.work, WQ_MAX_CPUS - 1), 1);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 1);
	wq_destroy(wq);
}

static void percpu_queue_runs_where_it_was_queued(void **state)
{
	struct wq *wq = wq_alloc("q", WQ_PERCPU, 0);
	struct where where;
	cpu_set_t before, one;
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	sched_getaffinity(0, sizeof(before), &before);
	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		wq_work_init(&where.work, where_fn, &where);
		assert_int_equal(wq_queue(wq, &where.work), 1);
		wq_work_flush(&where.work);
		assert_int_equal(where.cpu, cpu);
		sched_setaffinity(0, sizeof(before), &before);
	}
	wq_destroy(wq);
}

static void highpri_workers_have_raised_priority(void **state)
{
	struct wq *percpu = wq_alloc("q", WQ_PERCPU | WQ_HIGHPRI, 0);
	struct wq *unbound = wq_alloc("u", WQ_HIGHPRI, 0);
	struct where where;
	struct rlimit limit;

	wq_work_init(&where.work, where_fn, &where);
	wq_queue(percpu, &where.work);
	wq_work_flush(&where.work);
	assert_int_equal(where.name[strlen(where.name) - 1], 'H');
	getrlimit(RLIMIT_NICE, &limit);
	if (geteuid() == 0) {
		assert_int_equal(where.nice, -20);
	} else if (limit.rlim_cur <= 20) {
		assert_int_equal(where.nice, getpriority(PRIO_PROCESS, 0));
	}
	wq_queue(unbound, &where.work);
	wq_work_flush(&where.work);
	assert_memory_equal(where.name, "wq/u", 4);
	if (geteuid() == 0)
		assert_int_equal(where.nice, -20);
	wq_destroy(percpu);
	wq_destroy(unbound);
}

struct own {
	struct wq_work work;
	struct wq *wq;
	int flush, destroy;
};

static void own_fn(struct wq_work *work, void *ctx)
{
	struct own *own = ctx;

	own->flush = wq_flush(own->wq);
	own->destroy = wq_destroy(own->wq);
}

static void flush_and_destroy_from_own_item_answer_edeadlk(void **state)
{
	struct own own = {.wq = wq_alloc("q", 0, 0)};

	wq_work_init(&own.work, own_fn, &own);
	wq_queue(own.wq, &own.work);
	wq_work_flush(&own.work);
	assert_int_equal(own.flush, -EDEADLK);
	assert_int_equal(own.destroy, -EDEADLK);
	assert_int_equal(wq_destroy(own.wq), 0);
}

struct nested {
	struct wq_work work;
	struct wq *inner;
	struct probe probe;
	int queued, flushed, waited;
};

static void nested_fn(struct wq_work *work, void *ctx)
{
	struct nested *nested = ctx;

	nested->queued = wq_queue_on(nested->inner, &nested->probe.work, usable_cpu(0));
	nested->waited = wq_work_flush(&nested->probe.work);
	nested->flushed = wq_flush(nested->inner);
}

/* Both queues share one pool with room for one worker: the wait makes room. */
static void flush_inside_an_item_does_not_block_the_pool(void **state)
{
	struct wq *outer = wq_alloc("outer", WQ_PERCPU, 0);
	struct nested nested = {.inner = wq_alloc("inner", WQ_PERCPU, 0)};

	probe_init(&nested.probe);
	wq_work_init(&nested.work, nested_fn, &nested);
	assert_int_equal(wq_queue_on(outer, &nested.work, usable_cpu(0)), 1);
	wq_work_flush(&nested.work);
	assert_int_equal(nested.queued, 1);
	assert_true(nested.waited == 0 || nested.waited == 1);
	assert_int_equal(nested.flushed, 0);
	assert_int_equal(nested.probe.runs, 1);
	wq_destroy(outer);
	wq_destroy(nested.inner);
}

/* More items than the pool's level, each waiting for all others to have started. */
static void items_that_wait_for_each_other_get_on(void **state)
{
	static const unsigned flags[] = {0, WQ_PERCPU, WQ_HIGHPRI};
	struct probe probes[4];
	unsigned f, i;

	for (f = 0; f < ARRAY_SIZE(flags); f++) {
		struct wq *wq = wq_alloc("q", flags[f], 0);

		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			probe_init_gate(&probes[i]);
			wq_queue_on(wq, &probes[i].work, usable_cpu(0));
		}
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			latch_wait(&probes[i].started, 1);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			latch_post(&probes[i].open);
		wq_destroy(wq);
	}
}

static void cpu_intensive_items_do_not_hold_up_others(void **state)
{
	struct wq *intensive = wq_alloc("i", WQ_PERCPU | WQ_CPU_INTENSIVE, 0);
	struct wq *normal = wq_alloc("n", WQ_PERCPU, 0);
	struct probe gates[3], probe;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		probe_init_gate(&gates[i]);
		wq_queue_on(intensive, &gates[i].work, usable_cpu(0));
		latch_wait(&gates[i].started, 1);
	}
	probe_init(&probe);
	wq_queue_on(normal, &probe.work, usable_cpu(0));
	latch_wait(&probe.ended, 1);
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_post(&gates[i].open);
	wq_destroy(intensive);
	wq_destroy(normal);
}

struct destroyer {
	struct wq *wq;
	struct wq_work works[3];
	unsigned long accepted, ran, stop, shutdown;
};

static void destroyer_fn(struct wq_work *work, void *ctx)
{
	struct destroyer *d = ctx;

	count_up(&d->ran);
}

static void destroyer_queue(struct destroyer *d, unsigned index)
{
	for (;;) {
		int ret = wq_queue(d->wq, &d->works[index]);

		if (ret == 1)
			count_up(&d->accepted);
		if (ret == -ESHUTDOWN) {
			count_up(&d->shutdown);
			return;
		}
	}
}

/* The queue must outlive the producers: they stop at the first refusal, held by a gate. */
static void destroyer_thread(void *ctx, unsigned index)
{
	struct destroyer *d = ctx;

	if (index < ARRAY_SIZE(d->works))
		destroyer_queue(d, index);
	else
		wq_destroy(d->wq);
}

static void hold_until_shut(struct wq_work *work, void *ctx)
{
	struct destroyer *d = ctx;

	while (count_get(&d->shutdown) < ARRAY_SIZE(d->works))
		sched_yield();
}

static void destroy_refuses_new_items_and_runs_accepted_ones(void **state)
{
	unsigned long round, rounds = scaled(100);
	unsigned i;

	for (round = 0; round < rounds; round++) {
		struct destroyer d = {.wq = wq_alloc("q", round & 1 ? WQ_HIGHPRI : 0, 0)};
		struct wq_work hold = WQ_WORK_INIT(hold_until_shut, &d);

		for (i = 0; i < ARRAY_SIZE(d.works); i++)
			wq_work_init(&d.works[i], destroyer_fn, &d);
		assert_int_equal(wq_queue(d.wq, &hold), 1);
		run_threads(4, destroyer_thread, &d);
		assert_int_equal(d.accepted, d.ran);
		assert_int_equal(d.shutdown, 3);
	}
}

struct chain {
	struct wq_work work;
	struct wq *wq;
	unsigned long left, refused;
};

static void chain_fn(struct wq_work *work, void *ctx)
{
	struct chain *chain = ctx;

	if (--chain->left && wq_queue(chain->wq, work) != 1)
		chain->refused++;
}

static void destroy_waits_for_items_that_requeue_themselves(void **state)
{
	static const unsigned flags[] = {0, WQ_PERCPU, WQ_ORDERED};
	struct chain chain;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		chain.wq = wq_alloc("q", flags[i], 0);
		chain.left = scaled(100000);
		chain.refused = 0;
		wq_work_init(&chain.work, chain_fn, &chain);
		wq_queue(chain.wq, &chain.work);
		assert_int_equal(wq_destroy(chain.wq), 0);
		assert_int_equal(chain.left, 0);
		assert_int_equal(chain.refused, 0);
	}
}

static void ten_thousand_queues_come_and_go(void **state)
{
	unsigned long i, nr = scaled(10000);
	struct wq **queues = calloc(nr, sizeof(*queues));
	struct wq_work work = WQ_WORK_INIT(nop, NULL);

	assert_non_null(queues);
	for (i = 0; i < nr; i++) {
		queues[i] = wq_alloc("q", i % 3 ? i % 3 == 1 ? WQ_PERCPU : WQ_ORDERED : 0, 0);
		assert_non_null(queues[i]);
	}
	for (i = 0; i < nr; i++) {
		assert_int_equal(wq_queue(queues[i], &work), 1);
		wq_work_flush(&work);
		assert_int_equal(wq_destroy(queues[i]), 0);
	}
	for (i = 0; i < nr; i++) {
		struct wq *wq = wq_alloc("again", i & 1 ? WQ_PERCPU : 0, 0);

		assert_int_equal(wq_queue(wq, &work), 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
	free(queues);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alloc_refuses_bad_arguments),
		cmocka_unit_test(alloc_refuses_flags_that_are_not_built),
		cmocka_unit_test(alloc_takes_all_valid_arguments),
		cmocka_unit_test(destroy_of_null_is_nothing),
		cmocka_unit_test(set_max_active_checks_its_arguments),
		cmocka_unit_test(set_max_active_lets_waiting_items_go),
		cmocka_unit_test(system_queues_are_shared_and_protected),
		cmocka_unit_test(queue_on_runs_on_that_cpu),
		cmocka_unit_test(queue_on_checks_the_cpu),
		cmocka_unit_test(percpu_queue_runs_where_it_was_queued),
		cmocka_unit_test(highpri_workers_have_raised_priority),
		cmocka_unit_test(flush_and_destroy_from_own_item_answer_edeadlk),
		cmocka_unit_test(flush_inside_an_item_does_not_block_the_pool),
		cmocka_unit_test(items_that_wait_for_each_other_get_on),
		cmocka_unit_test(cpu_intensive_items_do_not_hold_up_others),
		cmocka_unit_test(destroy_refuses_new_items_and_runs_accepted_ones),
		cmocka_unit_test(destroy_waits_for_items_that_requeue_themselves),
		cmocka_unit_test(ten_thousand_queues_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
