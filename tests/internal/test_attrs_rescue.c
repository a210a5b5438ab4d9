/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of attributes where threads or memory can't be had: rescuers serve tables that
 * are being replaced, and what fails changes nothing.
 */
#include "observe.h"

#include <sched.h>

#include "pool.h"
#include "queue.h"
#include "runtime.h"
#include "stops.h"
#include "testing.h"
#include "worker.h"

#define FOR_EVER 1000000

static const unsigned kinds[] = {WQ_MEM_RECLAIM, WQ_MEM_RECLAIM | WQ_ORDERED};

static struct wq *wq;
static struct probe gate, probes[4];

static void no_more_threads(void)
{
	wqi_test_fault(WQI_FAULT_THREAD, 0, FOR_EVER);
}

static void threads_again(void)
{
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
}

static int apply_nice(int nice)
{
	struct wq_attrs attrs;
	int err;

	wq_attrs_init(&attrs);
	wq_attrs_set_nice(&attrs, nice);
	err = wq_apply_attrs(wq, &attrs);
	wq_attrs_fini(&attrs);
	return err;
}

static struct wqi_table *older(void)
{
	return wqi_load_acquire(&wqi_load_acquire(&wq->table)->older);
}

static void begin_with_gate(unsigned flags, bool scarce)
{
	unsigned i;

	wq = wq_alloc("rescued", flags, 0);
	assert_non_null(wq);
	if (scarce)
		no_more_threads();
	probe_init_gate(&gate);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		probe_init(&probes[i]);
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	latch_wait(&gate.started, 1);
}

static bool is_idle(struct wqi_pool *pool)
{
	bool idle;

	wqi_pool_lock(pool);
	idle = pool->nr_idle == 1 && !pool->nr_running;
	wqi_pool_unlock(pool);
	return idle;
}

/* As the monitor does. */
static void call_rescuer(void)
{
	wqi_xchg(&wq->rescuer->called, 1);
	wqi_pool_kick(wq->rescuer);
}

/* --- a rescuer on tables that are replaced --- */

static void rescuer_serves_old_and_new(void **state)
{
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k], true);
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			assert_int_equal(apply_nice((int)i % 3), 0);
			assert_int_equal(wq_queue(wq, &probes[i].work), 1);
		}
		latch_post(&gate.open);
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			assert_int_equal(probes[i].runs, 1);
		assert_int_equal(stats_of(wq).rescued, 1 + ARRAY_SIZE(probes));
		assert_int_equal(stats_of(wq).completed, 1 + ARRAY_SIZE(probes));
		COMES_TRUE(!older());
		assert_int_equal(stats_of(wq).rescued, 1 + ARRAY_SIZE(probes));
		threads_again();
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

static int nr_cpus_of(pid_t tid)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(tid, sizeof(set), &set), 0);
	return CPU_COUNT(&set);
}

/* All workers are pinned anew then: the one that is out, where it is. */
static void rescuer_keeps_its_cpu_over_a_refresh(void **state)
{
	pid_t tid;

	begin_with_gate(WQ_MEM_RECLAIM | WQ_PERCPU, true);
	tid = wq->rescuer->workers->tid;
	assert_int_equal(nr_cpus_of(tid), 1);
	assert_int_equal(wq_topology_refresh(), 0);
	assert_int_equal(nr_cpus_of(tid), 1);
	latch_post(&gate.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(stats_of(wq).rescued, 1);
	COMES_TRUE(nr_cpus_of(tid) == (int)nr_usable_cpus());
	threads_again();
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_shutdown(), 0);
}

/*
 * The rescuer takes an old table while it is being unlinked, and has left it when it is
 * linked again: somebody has to look once more.
 */
static void table_that_the_rescuer_leaves_meanwhile_is_freed(void **state)
{
	struct wqi_table *old;

	begin_with_gate(WQ_MEM_RECLAIM, false);
	old = wq->table;
	assert_int_equal(apply_nice(1), 0);
	stop_at(0, "table over");
	latch_post(&gate.open);
	stop_reached(0);
	/* On its way from the new table to the old one it has both. */
	stop_at(1, "rescuer leaves");
	call_rescuer();
	stop_reached(1);
	assert_int_equal(wqi_load_seq_cst(&old->users), 1);
	stop_at(2, "table in use");
	let_go(0);
	stop_reached(2);
	let_go(1);
	COMES_TRUE(!wqi_load_seq_cst(&old->users) && is_idle(wq->rescuer));
	let_go(2);
	COMES_TRUE(!older());
	assert_int_equal(wq_destroy(wq), 0);
}

/* G13: the manager is busy for another pool, and making a thread takes long. */
static void ordered_queue_gets_on_while_the_manager_is_stuck(void **state)
{
	struct wq *other;
	struct probe waits;

	begin_with_gate(WQ_MEM_RECLAIM | WQ_ORDERED, false);
	assert_int_equal(apply_nice(1), 0);
	assert_int_equal(wq_queue(wq, &probes[0].work), 1);
	other = wq_alloc("other", WQ_HIGHPRI, 0);
	assert_non_null(other);
	stop_at(0, "worker is made");
	probe_init(&waits);
	assert_int_equal(wq_queue(other, &waits.work), 1);
	stop_reached(0);
	latch_post(&gate.open);
	COMES_TRUE(count_get(&probes[0].runs) == 1);
	let_go(0);
	latch_wait(&waits.ended, 1);
	assert_int_equal(wq_destroy(other), 0);
	assert_int_equal(wq_destroy(wq), 0);
}

/* The same, while it waits for a grace period, to free an old table. */
static void queue_gets_on_while_the_manager_frees_a_table(void **state)
{
	struct wq *other = wq_alloc("other", WQ_MEM_RECLAIM | WQ_HIGHPRI, 0);

	assert_non_null(other);
	begin_with_gate(0, false);
	assert_int_equal(apply_nice(1), 0);
	stop_at(0, "table over");
	latch_post(&gate.open);
	stop_reached(0);
	assert_int_equal(wq_queue(other, &probes[0].work), 1);
	COMES_TRUE(count_get(&probes[0].runs) == 1);
	let_go(0);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(other), 0);
}

/* A change, and the items after it, while the rescuer is on its way. */
static int call_apply(void)
{
	return apply_nice(1);
}

static void change_while_the_rescuer_is_between_tables(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k], true);
		assert_int_equal(apply_nice(2), 0);
		assert_int_equal(wq_queue(wq, &probes[0].work), 1);
		stop_at(0, "rescuer leaves");
		latch_post(&gate.open);
		stop_reached(0);
		begin(0, call_apply);
		assert_int_equal(end(0), 0);
		assert_int_equal(wq_queue(wq, &probes[1].work), 1);
		let_go(0);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(probes[0].runs, 1);
		assert_int_equal(probes[1].runs, 1);
		COMES_TRUE(!older());
		threads_again();
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

struct quitter {
	struct wq_work work;
	struct latch started, open;
};

static void quitter_fn(struct wq_work *work, void *ctx)
{
	struct quitter *quitter = ctx;

	latch_post(&quitter->started);
	latch_wait(&quitter->open, 1);
	pthread_exit(NULL);
}

static void rescuer_that_ends_on_an_old_table_lets_it_go(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct quitter quitter = {.started = LATCH_INIT, .open = LATCH_INIT};

		wq = wq_alloc("quits", kinds[k], 0);
		no_more_threads();
		wq_work_init(&quitter.work, quitter_fn, &quitter);
		assert_int_equal(wq_queue(wq, &quitter.work), 1);
		latch_wait(&quitter.started, 1);
		assert_int_equal(apply_nice(1), 0);
		probe_init(&probes[0]);
		assert_int_equal(wq_queue(wq, &probes[0].work), 1);
		latch_post(&quitter.open);
		wq_work_flush(&quitter.work);
		threads_again();
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(probes[0].runs, 1);
		COMES_TRUE(!older());
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

/* --- memory --- */

static struct wqi_pool *pool_of(unsigned cpu)
{
	return wqi_pwq_pool(wqi_queue_pwq_rcu(wq, cpu));
}

static void change_that_fails_changes_nothing(void **state)
{
	static const unsigned flags[] = {0, WQ_ORDERED, WQ_MEM_RECLAIM};
	struct wqi_table *table;
	struct wqi_pool *pool;
	struct wq_attrs attrs;
	cpu_set_t cpus;
	unsigned k, i;
	int err;

	for (k = 0; k < ARRAY_SIZE(flags); k++) {
		wq = wq_alloc("scarce", flags[k], 0);
		table = wq->table;
		pool = pool_of((unsigned)usable_cpu(0));
		CPU_ZERO(&cpus);
		CPU_SET(usable_cpu(0), &cpus);
		wq_attrs_init(&attrs);
		wqi_test_fault(WQI_FAULT_ALLOC, 0, 1);
		assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), -ENOMEM);
		assert_null(attrs.wq_cpumask);
		assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
		assert_int_equal(wq_attrs_set_nice(&attrs, 1 + (int)k), 0);
		err = -ENOMEM;
		for (i = 0; err && i < 100; i++) {
			wqi_test_fault(WQI_FAULT_ALLOC, i, 1);
			err = wq_apply_attrs(wq, &attrs);
			if (!err)
				break;
			assert_int_equal(err, -ENOMEM);
			assert_ptr_equal(wqi_load_acquire(&wq->table), table);
			assert_ptr_equal(pool_of((unsigned)usable_cpu(0)), pool);
			wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
			probe_init(&probes[0]);
			assert_int_equal(wq_queue(wq, &probes[0].work), 1);
			assert_int_equal(wq_flush(wq), 0);
			assert_int_equal(probes[0].runs, 1);
		}
		assert_true(i > 3);
		assert_int_equal(err, 0);
		wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
		assert_int_equal(pool_of((unsigned)usable_cpu(0))->nice, 1 + (int)k);
		wq_attrs_fini(&attrs);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void alloc_that_fails_leaves_nothing(void **state)
{
	unsigned nr_queues, i;
	struct wq_attrs attrs;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(usable_cpu(0), &cpus);
	wq_attrs_init(&attrs);
	assert_int_equal(wq_attrs_set_cpumask(&attrs, &cpus, sizeof(cpus)), 0);
	wq_attrs_set_nice(&attrs, 5);
	wq = NULL;
	for (i = 0; !wq && i < 100; i++) {
		nr_queues = wqi_runtime.nr_queues;
		wqi_test_fault(WQI_FAULT_ALLOC, i, 1);
		wq = wq_alloc_attrs("scarce", 0, 0, &attrs);
		assert_true(wq || errno == ENOMEM);
		assert_int_equal(wqi_runtime.nr_queues, nr_queues + (wq ? 1 : 0));
	}
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_true(i > 5);
	wq_attrs_fini(&attrs);
	assert_int_equal(wq_destroy(wq), 0);
}

static int begin_test(void **state)
{
	stops_begin();
	return 0;
}

static int end_test(void **state)
{
	stops_end();
	threads_again();
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	return wq_shutdown();
}

#define RESCUE(test) cmocka_unit_test_setup_teardown(test, begin_test, end_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RESCUE(rescuer_keeps_its_cpu_over_a_refresh),
		RESCUE(rescuer_serves_old_and_new),
		RESCUE(change_while_the_rescuer_is_between_tables),
		RESCUE(rescuer_that_ends_on_an_old_table_lets_it_go),
		RESCUE(change_that_fails_changes_nothing),
		RESCUE(alloc_that_fails_leaves_nothing),
		RESCUE(table_that_the_rescuer_leaves_meanwhile_is_freed),
		RESCUE(ordered_queue_gets_on_while_the_manager_is_stuck),
		RESCUE(queue_gets_on_while_the_manager_frees_a_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
