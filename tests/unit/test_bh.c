/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* WQ_BH: one worker a CPU, of the highest priority, for items that never block. */
#include "observe.h"

#include <sched.h>
#include <signal.h>

#define NR_ITEMS 30

/* Settles which CPUs the library uses. */
static int start(void **state)
{
	return wq_system() ? 0 : -1;
}

/* --- what it is --- */

static void alloc_checks_what_goes_with_bh(void **state)
{
	static const unsigned right[] = {WQ_BH, WQ_BH | WQ_HIGHPRI, WQ_BH | WQ_PERCPU,
					 WQ_BH | WQ_PERCPU | WQ_HIGHPRI};
	static const unsigned wrong[] = {WQ_ORDERED,	   WQ_DEDICATED, WQ_MEM_RECLAIM,
					 WQ_CPU_INTENSIVE, WQ_FREEZABLE, WQ_POWER_EFFICIENT};
	struct probe probe;
	unsigned i, k;

	for (i = 0; i < ARRAY_SIZE(right); i++) {
		struct wq *wq = wq_alloc("bh", right[i], 0);

		assert_non_null(wq);
		probe_init(&probe);
		assert_int_equal(wq_queue(wq, &probe.work), 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(probe.runs, 1);
		assert_int_equal(wq_destroy(wq), 0);
		for (k = 0; k < ARRAY_SIZE(wrong); k++) {
			errno = 0;
			assert_null(wq_alloc("bh", right[i] | wrong[k], 0));
			assert_int_equal(errno, EINVAL);
		}
	}
}

static void bh_system_queue_is_protected(void **state)
{
	struct wq *wq = wq_system_bh();
	struct probe probe;

	assert_non_null(wq);
	assert_ptr_equal(wq_system_bh(), wq);
	probe_init(&probe);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	wq_work_flush(&probe.work);
	assert_int_equal(probe.runs, 1);
	assert_int_equal(wq_flush(wq), -EPERM);
	assert_int_equal(wq_drain(wq), -EPERM);
	assert_int_equal(wq_plug(wq), -EPERM);
	assert_int_equal(wq_unplug(wq), -EPERM);
	assert_int_equal(wq_destroy(wq), -EPERM);
}

/* --- where items run --- */

static void bh_items_run_in_order_on_one_thread_of_their_cpu(void **state)
{
	struct wq *wq = wq_alloc("bh", WQ_BH, 0);
	struct where wheres[NR_ITEMS];
	pid_t tids[2] = {0, 0};
	unsigned long turns;
	unsigned i, k, round;
	int cpu;

	skip_if_cpus_are_pretended();
	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
		tids[0] = 0;
		for (round = 0; round < 3; round++) {
			turns = 0;
			for (k = 0; k < ARRAY_SIZE(wheres); k++) {
				where_init(&wheres[k], &turns);
				assert_int_equal(wq_queue_on(wq, &wheres[k].work, cpu), 1);
			}
			assert_int_equal(wq_flush(wq), 0);
			for (k = 0; k < ARRAY_SIZE(wheres); k++) {
				tids[0] = tids[0] ? tids[0] : wheres[k].tid;
				assert_int_equal(wheres[k].runs, 1);
				assert_int_equal(wheres[k].turn, k + 1);
				assert_int_equal(wheres[k].cpu, cpu);
				assert_int_equal(wheres[k].nr_cpus, 1);
				assert_int_equal(wheres[k].tid, tids[0]);
				assert_ptr_equal(wheres[k].wq, wq);
				assert_true(wheres[k].blocks_signals);
				assert_memory_equal(wheres[k].name, "wq/", 3);
			}
		}
		assert_int_not_equal(tids[0], tids[1]);
		tids[1] = tids[0];
		assert_int_equal(pool_stats_of(wq, cpu).cpu, cpu);
		assert_int_equal(pool_stats_of(wq, cpu).level, 1);
		assert_int_equal(pool_stats_of(wq, cpu).nr_workers, 1);
		assert_int_equal(pool_stats_of(wq, cpu).started_above_level, 0);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

struct crowd {
	struct wq *wq;
	unsigned long accepted, ran, busy[2], together;
};

struct member {
	struct wq_work work;
	struct crowd *crowd;
	unsigned cpu;
};

static void member_fn(struct wq_work *work, void *ctx)
{
	struct member *member = ctx;
	struct crowd *crowd = member->crowd;
	unsigned long *busy = &crowd->busy[member->cpu];

	if (count_up(busy) != 1)
		count_up(&crowd->together);
	count_up(&crowd->ran);
	__atomic_sub_fetch(busy, 1, __ATOMIC_SEQ_CST);
}

static void crowd_thread(void *ctx, unsigned index)
{
	struct crowd *crowd = ctx;
	struct member members[4];
	unsigned long i, rounds = scaled(2000);
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(members); k++) {
		wq_work_init(&members[k].work, member_fn, &members[k]);
		members[k].crowd = crowd;
		members[k].cpu = usable_cpu(1) >= 0 ? k % 2 : 0;
	}
	for (i = 0; i < rounds; i++) {
		for (k = 0; k < ARRAY_SIZE(members); k++)
			if (wq_queue_on(crowd->wq, &members[k].work, usable_cpu(members[k].cpu)) ==
			    1)
				count_up(&crowd->accepted);
		wq_work_flush(&members[i % ARRAY_SIZE(members)].work);
	}
	for (k = 0; k < ARRAY_SIZE(members); k++)
		wq_work_flush(&members[k].work);
}

static void bh_items_of_a_cpu_never_run_together(void **state)
{
	struct crowd crowd = {.wq = wq_alloc("bh", WQ_BH, 0)};

	run_threads(4, crowd_thread, &crowd);
	assert_int_equal(crowd.ran, crowd.accepted);
	assert_int_equal(crowd.together, 0);
	assert_int_equal(stats_of(crowd.wq).started, crowd.accepted);
	assert_int_equal(stats_of(crowd.wq).completed, crowd.accepted);
	assert_int_equal(wq_destroy(crowd.wq), 0);
}

/* Not even while one blocks, which it must not. */
static void bh_item_that_blocks_all_the_same_keeps_the_next_waiting(void **state)
{
	struct wq *wq = wq_alloc("bh", WQ_BH, 0), *other = wq_alloc("other", WQ_PERCPU, 0);
	int cpu = usable_cpu(0);
	struct probe first, second, others[2];
	unsigned i;

	probe_init_gate(&first);
	probe_init(&second);
	assert_int_equal(wq_queue_on(wq, &first.work, cpu), 1);
	assert_int_equal(wq_queue_on(wq, &second.work, cpu), 1);
	latch_wait(&first.started, 1);
	/* Other pools of the CPU go on meanwhile, and their blocked items are looked at. */
	for (i = 0; i < 10; i++) {
		probe_init_gate(&others[0]);
		probe_init(&others[1]);
		assert_int_equal(wq_queue_on(other, &others[0].work, cpu), 1);
		assert_int_equal(wq_queue_on(other, &others[1].work, cpu), 1);
		latch_wait(&others[1].ended, 1);
		latch_post(&others[0].open);
		assert_int_equal(wq_flush(other), 0);
	}
	assert_int_equal(count_get(&second.runs), 0);
	assert_int_equal(pool_stats_of(wq, cpu).nr_workers, 1);
	latch_post(&first.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(second.runs, 1);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(other), 0);
}

/* --- who queues, who waits --- */

struct normal {
	struct wq_work work;
	struct wq *wq;
	struct probe probe;
	int queued, flushed;
};

static void normal_fn(struct wq_work *work, void *ctx)
{
	struct normal *normal = ctx;

	normal->queued = wq_queue_on(normal->wq, &normal->probe.work, usable_cpu(0));
	normal->flushed = wq_flush(normal->wq);
}

static void bh_item_queued_from_an_item_runs(void **state)
{
	static const unsigned kinds[] = {0, WQ_PERCPU, WQ_HIGHPRI, WQ_ORDERED, WQ_DEDICATED};
	struct wq *bh = wq_alloc("bh", WQ_BH, 0);
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("normal", kinds[k], 0);
		struct normal normal = {.wq = bh};

		probe_init(&normal.probe);
		wq_work_init(&normal.work, normal_fn, &normal);
		assert_int_equal(wq_queue_on(wq, &normal.work, usable_cpu(0)), 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(normal.queued, 1);
		assert_int_equal(normal.flushed, 0);
		assert_int_equal(normal.probe.runs, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_int_equal(wq_destroy(bh), 0);
}

static struct wq *handler_wq;
static struct probe handler_probe;
static int handler_cpu;
static volatile sig_atomic_t handler_ret;

static void handler(int sig)
{
	handler_ret = wq_queue_on(handler_wq, &handler_probe.work, handler_cpu);
}

static void bh_item_queued_from_a_signal_handler_runs(void **state)
{
	struct sigaction action = {.sa_handler = handler}, before;
	unsigned long i, rounds = scaled(200);

	handler_wq = wq_alloc("bh", WQ_BH, 0);
	handler_cpu = usable_cpu(0);
	sigaction(SIGUSR1, &action, &before);
	for (i = 0; i < rounds; i++) {
		probe_init(&handler_probe);
		handler_ret = -1;
		assert_int_equal(raise(SIGUSR1), 0);
		assert_int_equal(handler_ret, 1);
		wq_work_flush(&handler_probe.work);
		assert_int_equal(handler_probe.runs, 1);
	}
	sigaction(SIGUSR1, &before, NULL);
	assert_int_equal(wq_destroy(handler_wq), 0);
}

struct again {
	struct wq_work work;
	struct wq *wq;
	unsigned long runs;
	unsigned long most;
	struct latch ran;
};

static void again_fn(struct wq_work *work, void *ctx)
{
	struct again *again = ctx;

	/* Posted seldom: a post may wait for a lock. */
	if (count_up(&again->runs) % 16 == 1)
		latch_post(&again->ran);
	/* Not for ever: it would have the CPU for itself, where the main thread may be too. */
	if (count_get(&again->runs) < again->most)
		wq_queue_on(again->wq, work, usable_cpu(0));
}

static void bh_item_that_queues_itself_can_be_flushed_and_cancelled(void **state)
{
	struct again again = {.wq = wq_alloc("bh", WQ_BH, 0),
			      .most = scaled(5000),
			      .ran = LATCH_INIT};
	unsigned long runs;
	struct probe gate, behind;
	unsigned i;

	wq_work_init(&again.work, again_fn, &again);
	for (i = 1; i <= 5; i++) {
		latch_reset(&again.ran);
		count_set(&again.runs, 0);
		assert_int_equal(wq_queue_on(again.wq, &again.work, usable_cpu(0)), 1);
		latch_wait(&again.ran, 1);
		assert_int_equal(wq_flush(again.wq), 0);
		assert_true(wq_work_flush(&again.work) >= 0);
		assert_true(wq_work_cancel_sync(&again.work) >= 0);
		runs = count_get(&again.runs);
		assert_int_equal(wq_work_busy(&again.work), 0);
		assert_int_equal(wq_drain(again.wq), 0);
		assert_int_equal(count_get(&again.runs), runs);
	}

	/* What has not started is taken back. */
	probe_init_gate(&gate);
	probe_init(&behind);
	assert_int_equal(wq_queue_on(again.wq, &gate.work, usable_cpu(0)), 1);
	latch_wait(&gate.started, 1);
	assert_int_equal(wq_queue_on(again.wq, &behind.work, usable_cpu(0)), 1);
	assert_int_equal(wq_work_cancel_sync(&behind.work), 1);
	latch_post(&gate.open);
	assert_true(wq_work_cancel_sync(&gate.work) >= 0);
	assert_int_equal(gate.ended.count, 1);
	assert_int_equal(behind.runs, 0);
	assert_int_equal(wq_destroy(again.wq), 0);
}

/* A queue for each CPU's item, and several queues on a CPU. */
static void bh_queues_share_the_worker_and_all_get_on(void **state)
{
	struct wq *queues[3];
	struct where wheres[3 * NR_ITEMS];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(queues); i++)
		queues[i] = wq_alloc("bh", WQ_BH, 0);
	for (i = 0; i < ARRAY_SIZE(wheres); i++) {
		where_init(&wheres[i], NULL);
		assert_int_equal(wq_queue_on(queues[i % 3], &wheres[i].work, usable_cpu(0)), 1);
	}
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(wq_flush(queues[i]), 0);
	for (i = 0; i < ARRAY_SIZE(wheres); i++) {
		assert_int_equal(wheres[i].runs, 1);
		assert_int_equal(wheres[i].tid, wheres[0].tid);
	}
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(wq_destroy(queues[i]), 0);
}

/* --- its priority --- */

static void bh_pool_says_what_priority_was_got(void **state)
{
	struct wq *wq = wq_alloc("bh", WQ_BH, 0);
	struct wq_pool_stats pool;
	struct where where;
	unsigned i;
	int cpu;

	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
		where_init(&where, NULL);
		assert_int_equal(wq_queue_on(wq, &where.work, cpu), 1);
		assert_int_equal(wq_flush(wq), 0);
		pool = pool_stats_of(wq, cpu);
		assert_int_equal(pool.policy & ~SCHED_RESET_ON_FORK, where.policy);
		assert_true(where.policy == SCHED_FIFO || where.policy == SCHED_OTHER);
		assert_int_equal(pool.nice_wanted, -20);
		if (where.policy == SCHED_OTHER)
			assert_true(pool.nice >= where.nice);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

struct parent {
	struct wq_work work;
	pthread_t thread;
	int created, policy;
};

static void *child_main(void *ctx)
{
	struct parent *parent = ctx;

	parent->policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
	return NULL;
}

static void parent_fn(struct wq_work *work, void *ctx)
{
	struct parent *parent = ctx;

	parent->created = pthread_create(&parent->thread, NULL, child_main, parent);
}

/* One that computes would keep everybody from its CPU. */
static void bh_item_does_not_hand_its_policy_on(void **state)
{
	struct wq *wq = wq_alloc("bh", WQ_BH, 0);
	struct parent parent = {.created = -1, .policy = -1};

	wq_work_init(&parent.work, parent_fn, &parent);
	assert_int_equal(wq_queue_on(wq, &parent.work, usable_cpu(0)), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(parent.created, 0);
	pthread_join(parent.thread, NULL);
	assert_int_equal(parent.policy, SCHED_OTHER);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- the worker's end --- */

static void quit_fn(struct wq_work *work, void *ctx)
{
	pthread_exit(NULL);
}

static void bh_worker_that_an_item_ended_is_replaced(void **state)
{
	struct wq *wq = wq_alloc("bh", WQ_BH, 0);
	unsigned i;

	skip_if_cpus_are_pretended();
	for (i = 0; i < 3; i++) {
		struct wq_work quit = WQ_WORK_INIT(quit_fn, NULL);
		struct where where;

		where_init(&where, NULL);
		assert_int_equal(wq_queue_on(wq, &quit, usable_cpu(0)), 1);
		assert_int_equal(wq_queue_on(wq, &where.work, usable_cpu(0)), 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(where.runs, 1);
		assert_int_equal(where.cpu, usable_cpu(0));
	}
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alloc_checks_what_goes_with_bh),
		cmocka_unit_test(bh_system_queue_is_protected),
		cmocka_unit_test(bh_items_run_in_order_on_one_thread_of_their_cpu),
		cmocka_unit_test(bh_items_of_a_cpu_never_run_together),
		cmocka_unit_test(bh_item_that_blocks_all_the_same_keeps_the_next_waiting),
		cmocka_unit_test(bh_item_queued_from_an_item_runs),
		cmocka_unit_test(bh_item_queued_from_a_signal_handler_runs),
		cmocka_unit_test(bh_item_that_queues_itself_can_be_flushed_and_cancelled),
		cmocka_unit_test(bh_queues_share_the_worker_and_all_get_on),
		cmocka_unit_test(bh_pool_says_what_priority_was_got),
		cmocka_unit_test(bh_item_does_not_hand_its_policy_on),
		cmocka_unit_test(bh_worker_that_an_item_ended_is_replaced),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
