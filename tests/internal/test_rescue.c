/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G13: no thread can be made, and WQ_MEM_RECLAIM queues get on all the same.  Each
 * test starts the library anew, so that no worker is there.
 */
#include "observe.h"

#include <sched.h>
#include <sys/wait.h>

#include "testing.h"

#define FOR_EVER 1000000

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI, WQ_PERCPU | WQ_HIGHPRI};

static void no_more_threads(void)
{
	wqi_test_fault(WQI_FAULT_THREAD, 0, FOR_EVER);
}

static void threads_again(void)
{
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
}

static int finish(void **state)
{
	threads_again();
	return wq_shutdown();
}

static bool on_rescuer(const struct where *where)
{
	return !strncmp(where->name, "wq/R-", 5);
}

/* An item that notes where it runs, and waits to be let go. */
struct held {
	struct where where;
	struct wq_work work;
	struct latch started, open;
	unsigned long inside, together, runs;
};

static void held_fn(struct wq_work *work, void *ctx)
{
	struct held *held = ctx;

	if (count_up(&held->inside) != 1)
		count_up(&held->together);
	where_note(&held->where);
	count_up(&held->runs);
	latch_post(&held->started);
	latch_wait(&held->open, 1);
	__atomic_sub_fetch(&held->inside, 1, __ATOMIC_SEQ_CST);
}

static void held_init(struct held *held)
{
	memset(held, 0, sizeof(*held));
	latch_init(&held->started);
	latch_init(&held->open);
	wq_work_init(&held->work, held_fn, held);
}

static void held_start(struct held *held, struct wq *wq)
{
	held_init(held);
	assert_int_equal(wq_queue_on(wq, &held->work, usable_cpu(0)), 1);
	latch_wait(&held->started, 1);
	assert_true(on_rescuer(&held->where));
}

/* --- the queue gets on --- */

static void rescuer_runs_all_where_no_thread_can_be_made(void **state)
{
	unsigned nr = (unsigned)scaled(100), k, i;
	struct where *wheres = calloc(nr, sizeof(*wheres));
	unsigned long turns;

	assert_non_null(wheres);
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("rescue", kinds[k] | WQ_MEM_RECLAIM, 0);
		struct wq_stats stats;

		no_more_threads();
		turns = 0;
		for (i = 0; i < nr; i++) {
			where_init(&wheres[i], &turns);
			assert_int_equal(wq_queue_on(wq, &wheres[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < nr; i++) {
			assert_int_equal(wheres[i].runs, 1);
			assert_string_equal(wheres[i].name, "wq/R-rescue");
			assert_int_equal(wheres[i].tid, wheres[0].tid);
			assert_ptr_equal(wheres[i].wq, wq);
			assert_true(wheres[i].blocks_signals);
			/* It is one thread, so also those of other queues keep their order. */
			if (kinds[k] & (WQ_ORDERED | WQ_PERCPU))
				assert_int_equal(wheres[i].turn, i + 1);
			if (kinds[k] & WQ_PERCPU) {
				assert_int_equal(wheres[i].cpu, usable_cpu(0));
				assert_int_equal(wheres[i].nr_cpus, 1);
			}
		}
		stats = stats_of(wq);
		assert_true(stats.mayday > 0);
		assert_int_equal(stats.rescued, nr);
		assert_int_equal(stats.started, nr);
		assert_int_equal(stats.completed, nr);
		assert_true(pool_stats_of(wq, usable_cpu(0)).create_failed > 0);
		assert_int_equal(pool_stats_of(wq, usable_cpu(0)).started_above_level, 0);
		threads_again();
		assert_int_equal(wq_destroy(wq), 0);
		/* Threads may have been made since: away with them. */
		assert_int_equal(wq_shutdown(), 0);
	}
	free(wheres);
}

static void rescuer_serves_all_cpus(void **state)
{
	struct wq *wq = wq_alloc("cpus", WQ_MEM_RECLAIM | WQ_PERCPU, 0);
	unsigned nr = nr_usable_cpus(), i, round;
	struct where *wheres = calloc(nr, sizeof(*wheres));

	assert_non_null(wheres);
	no_more_threads();
	for (round = 0; round < 3; round++) {
		for (i = 0; i < nr; i++) {
			where_init(&wheres[i], NULL);
			assert_int_equal(wq_queue_on(wq, &wheres[i].work, usable_cpu(i)), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < nr; i++) {
			assert_int_equal(wheres[i].runs, 1);
			assert_int_equal(wheres[i].cpu, usable_cpu(i));
			assert_true(on_rescuer(&wheres[i]));
		}
	}
	assert_int_equal(wq_destroy(wq), 0);
	free(wheres);
}

struct again {
	struct wq_work work;
	struct wq *wq;
	unsigned long left, runs;
};

static void again_fn(struct wq_work *work, void *ctx)
{
	struct again *again = ctx;

	again->runs++;
	if (--again->left)
		wq_queue(again->wq, work);
}

static void rescuer_runs_items_that_queue_themselves(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		unsigned long nr = scaled(20);
		struct again again = {.wq = wq_alloc("again", kinds[k] | WQ_MEM_RECLAIM, 0),
				      .left = nr};

		no_more_threads();
		wq_work_init(&again.work, again_fn, &again);
		assert_int_equal(wq_queue(again.wq, &again.work), 1);
		assert_int_equal(wq_drain(again.wq), 0);
		assert_int_equal(again.runs, nr);
		assert_true(stats_of(again.wq).rescued > 0);
		threads_again();
		assert_int_equal(wq_destroy(again.wq), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

/* --- what the API promises, meanwhile --- */

static void rescued_item_never_runs_twice_at_once(void **state)
{
	struct wq *wq = wq_alloc("first", WQ_MEM_RECLAIM, 0);
	struct wq *other = wq_alloc("second", WQ_MEM_RECLAIM | WQ_HIGHPRI | WQ_PERCPU, 0);
	struct probe probe;
	struct held held;

	no_more_threads();
	held_start(&held, wq);
	/* Accepted where it runs; what else is queued there is served by the other's rescuer. */
	assert_int_equal(wq_queue(other, &held.work), 1);
	probe_init(&probe);
	assert_int_equal(wq_queue(other, &probe.work), 1);
	latch_wait(&probe.ended, 1);
	assert_int_equal(count_get(&held.runs), 1);
	latch_post(&held.open);
	wq_work_flush(&held.work);
	assert_int_equal(held.runs, 2);
	assert_int_equal(held.together, 0);
	assert_ptr_equal(held.where.wq, wq);
	wq_work_flush(&probe.work);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(other), 0);
}

static void *cancel_main(void *ctx)
{
	return (void *)(intptr_t)wq_work_cancel_sync(ctx);
}

static void rescued_items_can_be_cancelled_and_flushed(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("calls", kinds[k] | WQ_MEM_RECLAIM, 0);
		struct probe behind[3];
		pthread_t canceller;
		struct held held;
		void *ret;
		unsigned i;

		no_more_threads();
		held_start(&held, wq);
		for (i = 0; i < ARRAY_SIZE(behind); i++) {
			probe_init(&behind[i]);
			assert_int_equal(wq_queue_on(wq, &behind[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_work_cancel_sync(&behind[1].work), 1);
		assert_int_equal(pthread_create(&canceller, NULL, cancel_main, &held.work), 0);
		latch_post(&held.open);
		pthread_join(canceller, &ret);
		assert_true(ret == 0);
		assert_int_equal(wq_work_busy(&held.work), 0);
		assert_true(wq_work_flush(&behind[2].work) >= 0);
		assert_int_equal(behind[2].runs, 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(wq_drain(wq), 0);
		assert_int_equal(behind[0].runs, 1);
		assert_int_equal(behind[1].runs, 0);
		threads_again();
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

static void rescued_queue_can_be_destroyed_with_items_on_it(void **state)
{
	struct probe probes[20];
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq =
			wq_alloc("ending", kinds[k] | WQ_MEM_RECLAIM, 3 * !(kinds[k] & WQ_ORDERED));

		no_more_threads();
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			probe_init(&probes[i]);
			assert_int_equal(wq_queue_on(wq, &probes[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_destroy(wq), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			assert_int_equal(probes[i].runs, 1);
		assert_int_equal(nr_threads_falls_to("wq/R-", 0), 0);
		threads_again();
		assert_int_equal(wq_shutdown(), 0);
	}
}

/* --- several queues in a pool --- */

/* An item of each blocks on its rescuer; the other gets on. */
static void rescuers_of_queues_in_one_pool_both_get_on(void **state)
{
	static const unsigned with[] = {0, WQ_PERCPU};
	struct probe probes[10];
	unsigned k, i, blocked;

	for (k = 0; k < 2 * ARRAY_SIZE(with); k++) {
		struct wq *queues[] = {wq_alloc("one", with[k / 2] | WQ_MEM_RECLAIM, 0),
				       wq_alloc("two", with[k / 2] | WQ_MEM_RECLAIM, 0)};
		struct held held;

		no_more_threads();
		blocked = k % 2;
		held_start(&held, queues[blocked]);
		assert_string_equal(held.where.name, blocked ? "wq/R-two" : "wq/R-one");
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			probe_init(&probes[i]);
			assert_int_equal(wq_queue_on(queues[!blocked], &probes[i].work,
						     usable_cpu(0)),
					 1);
		}
		assert_int_equal(wq_flush(queues[!blocked]), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			assert_int_equal(probes[i].runs, 1);
		assert_int_equal(stats_of(queues[!blocked]).rescued, ARRAY_SIZE(probes));
		latch_post(&held.open);
		assert_int_equal(wq_flush(queues[blocked]), 0);
		threads_again();
		assert_int_equal(wq_destroy(queues[0]), 0);
		assert_int_equal(wq_destroy(queues[1]), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

static void rescuer_leaves_other_queues_items_where_they_are(void **state)
{
	static const unsigned with[] = {0, WQ_PERCPU};
	struct where own[5], others[5];
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(with); k++) {
		struct wq *wq = wq_alloc("careful", with[k] | WQ_MEM_RECLAIM, 0);
		struct wq *careless = wq_alloc("careless", with[k], 0);

		no_more_threads();
		for (i = 0; i < ARRAY_SIZE(own); i++) {
			where_init(&others[i], NULL);
			where_init(&own[i], NULL);
			assert_int_equal(wq_queue_on(careless, &others[i].work, usable_cpu(0)), 1);
			assert_int_equal(wq_queue_on(wq, &own[i].work, usable_cpu(0)), 1);
		}
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(own); i++) {
			assert_int_equal(count_get(&own[i].runs), 1);
			assert_int_equal(count_get(&others[i].runs), 0);
		}
		/* They are not lost: some are taken back, the others run when they can. */
		assert_int_equal(wq_work_cancel_sync(&others[0].work), 1);
		threads_again();
		assert_int_equal(wq_flush(careless), 0);
		assert_int_equal(others[0].runs, 0);
		for (i = 1; i < ARRAY_SIZE(others); i++) {
			assert_int_equal(others[i].runs, 1);
			assert_false(on_rescuer(&others[i]));
		}
		assert_int_equal(stats_of(careless).rescued, 0);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_destroy(careless), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

/* --- the way back --- */

static void workers_take_over_when_threads_can_be_made_again(void **state)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("back", kinds[k] | WQ_MEM_RECLAIM, 0);
		struct where where;

		no_more_threads();
		where_init(&where, NULL);
		assert_int_equal(wq_queue_on(wq, &where.work, usable_cpu(0)), 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_true(on_rescuer(&where));
		threads_again();
		do {
			where_init(&where, NULL);
			assert_int_equal(wq_queue_on(wq, &where.work, usable_cpu(0)), 1);
			assert_int_equal(wq_flush(wq), 0);
		} while (on_rescuer(&where));
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

struct quitter {
	struct where where;
	struct wq_work work;
};

static void quitter_fn(struct wq_work *work, void *ctx)
{
	where_note(&((struct quitter *)ctx)->where);
	pthread_exit(NULL);
}

static void rescuer_that_an_item_ended_is_replaced(void **state)
{
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("quitter", kinds[k] | WQ_MEM_RECLAIM, 0);
		struct quitter quitter;
		struct probe behind[5];

		no_more_threads();
		memset(&quitter, 0, sizeof(quitter));
		wq_work_init(&quitter.work, quitter_fn, &quitter);
		assert_int_equal(wq_queue_on(wq, &quitter.work, usable_cpu(0)), 1);
		for (i = 0; i < ARRAY_SIZE(behind); i++) {
			probe_init(&behind[i]);
			assert_int_equal(wq_queue_on(wq, &behind[i].work, usable_cpu(0)), 1);
		}
		/* The run counts as finished. */
		wq_work_flush(&quitter.work);
		assert_true(on_rescuer(&quitter.where));
		threads_again();
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(behind); i++)
			assert_int_equal(behind[i].runs, 1);
		assert_int_equal(stats_of(wq).completed, 1 + ARRAY_SIZE(behind));
		while (task_state(quitter.where.tid) || nr_threads("wq/R-quitter") != 1)
			sched_yield();
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(nr_threads_falls_to("wq/R-", 0), 0);
		assert_int_equal(wq_shutdown(), 0);
	}
}

/* --- the rest --- */

struct forker {
	struct where where;
	struct wq_work work;
	int status;
};

static void forker_fn(struct wq_work *work, void *ctx)
{
	struct forker *forker = ctx;
	pid_t pid;

	where_note(&forker->where);
	pid = fork();
	if (!pid)
		_exit(wq_current_work() || wq_current_wq() ? 3 : 0);
	forker->status = child_status(pid);
}

static void rescued_item_can_fork(void **state)
{
	struct forker forker = {.status = -1};
	struct wq *wq;

	skip_if_checker_hangs_children();
	wq = wq_alloc("forker", WQ_MEM_RECLAIM, 0);
	no_more_threads();
	wq_work_init(&forker.work, forker_fn, &forker);
	assert_int_equal(wq_queue(wq, &forker.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_true(on_rescuer(&forker.where));
	assert_int_equal(forker.status, 0);
	assert_int_equal(wq_destroy(wq), 0);
}

static void alloc_without_a_rescuer_changes_nothing(void **state)
{
	struct wq *first = wq_alloc("first", 0, 0), *wq = NULL;
	unsigned i;

	wqi_test_fault(WQI_FAULT_THREAD, 0, 1);
	errno = 0;
	assert_null(wq_alloc("none", WQ_MEM_RECLAIM, 0));
	assert_int_equal(errno, EAGAIN);
	threads_again();
	for (i = 0; !wq && i < 100; i++) {
		wqi_test_fault(WQI_FAULT_ALLOC, i, 1);
		errno = 0;
		wq = wq_alloc("some", WQ_MEM_RECLAIM, 0);
		assert_int_equal(errno, wq ? 0 : ENOMEM);
		assert_int_equal(nr_threads_falls_to("wq/R-", wq ? 1 : 0), wq ? 1 : 0);
	}
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_true(i > 1);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(first), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(rescuer_runs_all_where_no_thread_can_be_made, finish),
		cmocka_unit_test_teardown(rescuer_serves_all_cpus, finish),
		cmocka_unit_test_teardown(rescuer_runs_items_that_queue_themselves, finish),
		cmocka_unit_test_teardown(rescued_item_never_runs_twice_at_once, finish),
		cmocka_unit_test_teardown(rescued_items_can_be_cancelled_and_flushed, finish),
		cmocka_unit_test_teardown(rescued_queue_can_be_destroyed_with_items_on_it, finish),
		cmocka_unit_test_teardown(rescuers_of_queues_in_one_pool_both_get_on, finish),
		cmocka_unit_test_teardown(rescuer_leaves_other_queues_items_where_they_are, finish),
		cmocka_unit_test_teardown(workers_take_over_when_threads_can_be_made_again, finish),
		cmocka_unit_test_teardown(rescuer_that_an_item_ended_is_replaced, finish),
		cmocka_unit_test_teardown(rescued_item_can_fork, finish),
		cmocka_unit_test_teardown(alloc_without_a_rescuer_changes_nothing, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
