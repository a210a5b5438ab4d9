/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of attributes against other calls, with threads stopped at named points: a new
 * table is published while somebody holds the old one.
 */
#include "observe.h"

#include <sched.h>

#include "pool.h"
#include "queue.h"
#include "rcu.h"
#include "stops.h"
#include "testing.h"

#define FOR_EVER 1000000

static struct wq *wq;
static struct probe gate, probes[3];
static unsigned long calls_ended;

/* --- calls that are made on threads of their own --- */

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

static int ended(int ret)
{
	count_up(&calls_ended);
	return ret;
}

static int call_apply(void)
{
	return ended(apply_nice(1));
}

static int call_queue(void)
{
	return ended(wq_queue(wq, &probes[0].work));
}

static int call_queue_gate(void)
{
	return ended(wq_queue(wq, &gate.work));
}

static int call_cancel_gate(void)
{
	return ended(wq_work_cancel_sync(&gate.work));
}

static int call_flush(void)
{
	return ended(wq_flush(wq));
}

static int call_drain(void)
{
	return ended(wq_drain(wq));
}

static int call_plug(void)
{
	return ended(wq_plug(wq));
}

static int call_destroy(void)
{
	return ended(wq_destroy(wq));
}

/* What must not happen has had the time for it. */
static void give_time(void)
{
	sleep_ns(3000000);
}

static void has_not_ended(void)
{
	give_time();
	assert_int_equal(count_get(&calls_ended), 0);
}

/* A queue whose gate is running on its first table. */
static void begin_with_gate(unsigned flags)
{
	unsigned i;

	wq = wq_alloc("races", flags, 0);
	assert_non_null(wq);
	probe_init_gate(&gate);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		probe_init(&probes[i]);
	calls_ended = 0;
	assert_int_equal(wq_queue(wq, &gate.work), 1);
	latch_wait(&gate.started, 1);
}

static unsigned nr_older(void)
{
	unsigned token = wqi_rcu_read_lock(), nr = 0;
	struct wqi_table *table = wqi_load_acquire(&wq->table);

	while ((table = wqi_load_acquire(&table->older)))
		nr++;
	wqi_rcu_read_unlock(token);
	return nr;
}

/* --- a producer that has read the old table --- */

static void producer_with_the_old_table_keeps_the_order(void **state)
{
	wq = wq_alloc("order", WQ_ORDERED, 0);
	probe_init_gate(&probes[0]);
	probe_init(&probes[1]);
	calls_ended = 0;
	stop_at(0, "push");
	begin(0, call_queue);
	stop_reached(0);
	begin(1, call_apply);
	while (!nr_older())
		sched_yield();
	/* What is queued now has the new table; the apply waits for the producer. */
	assert_int_equal(wq_queue(wq, &probes[1].work), 1);
	has_not_ended();
	assert_int_equal(count_get(&probes[1].runs), 0);
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(end(1), 0);
	latch_wait(&probes[0].started, 1);
	give_time();
	assert_int_equal(count_get(&probes[1].runs), 0);
	latch_post(&probes[0].open);
	latch_wait(&probes[1].ended, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

static struct where wheres[2];

static int call_queue_where(void)
{
	return ended(wq_queue(wq, &wheres[0].work));
}

static void producer_with_the_old_table_has_the_old_attributes(void **state)
{
	wq = wq_alloc("old", 0, 0);
	where_init(&wheres[0], NULL);
	where_init(&wheres[1], NULL);
	calls_ended = 0;
	stop_at(0, "push");
	begin(0, call_queue_where);
	stop_reached(0);
	begin(1, call_apply);
	while (!nr_older())
		sched_yield();
	assert_int_equal(wq_queue(wq, &wheres[1].work), 1);
	wq_work_flush(&wheres[1].work);
	assert_int_equal(wheres[1].nice, nice_to_get(1));
	has_not_ended();
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(end(1), 0);
	wq_work_flush(&wheres[0].work);
	assert_int_equal(wheres[0].nice, nice_to_get(0));
	assert_int_equal(wq_destroy(wq), 0);
}

/* The second change comes while the first waits for a producer. */
static int call_apply_more(void)
{
	return ended(apply_nice(2));
}

static void changes_one_after_the_other_keep_the_order(void **state)
{
	begin_with_gate(WQ_ORDERED);
	stop_at(0, "push");
	begin(0, call_queue);
	stop_reached(0);
	begin(1, call_apply);
	while (!nr_older())
		sched_yield();
	assert_int_equal(wq_queue(wq, &probes[1].work), 1);
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(end(1), 0);
	assert_int_equal(call_apply_more(), 0);
	assert_int_equal(wq_queue(wq, &probes[2].work), 1);
	give_time();
	assert_int_equal(probes[0].runs + probes[1].runs + probes[2].runs, 0);
	latch_post(&gate.open);
	latch_wait(&probes[2].ended, 1);
	assert_int_equal(probes[0].runs, 1);
	assert_int_equal(probes[1].runs, 1);
	assert_int_equal(wq_flush(wq), 0);
	COMES_TRUE(!nr_older());
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- a claimer that is choosing where to push --- */

/* The item runs on the old table; the claim was for the new one. */
static void item_that_is_settling_is_cancelled(void **state)
{
	static const unsigned kinds[] = {0, WQ_ORDERED};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k]);
		assert_int_equal(apply_nice(1), 0);
		stop_at(0, "settle");
		begin(0, call_queue_gate);
		stop_reached(0);
		assert_int_equal(wq_work_cancel(&gate.work), 1);
		assert_true(wq_work_busy(&gate.work) & WQ_BUSY_RUNNING);
		let_go(0);
		assert_int_equal(end(0), 1);
		assert_int_equal(wq_work_busy(&gate.work), WQ_BUSY_RUNNING);
		/* G7 */
		calls_ended = 0;
		begin(0, call_cancel_gate);
		has_not_ended();
		latch_post(&gate.open);
		assert_int_equal(end(0), 0);
		assert_int_equal(gate.runs, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void item_that_is_settling_when_cancel_sync_comes(void **state)
{
	static const unsigned kinds[] = {0, WQ_ORDERED};
	unsigned k;

	for (k = 0; k < 2 * ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k / 2]);
		assert_int_equal(apply_nice(1), 0);
		stop_at(0, k % 2 ? "settle" : "push");
		begin(0, call_queue_gate);
		stop_reached(0);
		begin(1, call_cancel_gate);
		COMES_TRUE(wq_work_busy(&gate.work) & WQ_BUSY_CANCELING);
		has_not_ended();
		let_go(0);
		assert_int_equal(end(0), 1);
		COMES_TRUE(!(wq_work_busy(&gate.work) & WQ_BUSY_PENDING));
		give_time();
		assert_int_equal(count_get(&calls_ended), 1);
		latch_post(&gate.open);
		assert_int_equal(end(1), 1);
		assert_int_equal(gate.runs, 1);
		assert_int_equal(wq_work_busy(&gate.work), 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* The table that was current when the claimer chose is an older one when it pushes. */
static void item_is_pushed_to_a_table_that_was_replaced(void **state)
{
	begin_with_gate(WQ_ORDERED);
	stop_at(0, "settle");
	assert_int_equal(apply_nice(1), 0);
	begin(0, call_queue_gate);
	stop_reached(0);
	begin(1, call_apply_more);
	while (nr_older() < 2)
		sched_yield();
	assert_int_equal(wq_queue(wq, &probes[0].work), 1);
	has_not_ended();
	let_go(0);
	assert_int_equal(end(0), 1);
	assert_int_equal(end(1), 0);
	assert_int_equal(wq_work_busy(&gate.work), WQ_BUSY_RUNNING | WQ_BUSY_PENDING);
	assert_int_equal(count_get(&probes[0].runs), 0);
	latch_post(&gate.open);
	latch_wait(&probes[0].ended, 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(gate.runs, 2);
	assert_int_equal(wq_destroy(wq), 0);
}

/* The run that the claimer is about to look for ends, and the table that it chose is replaced. */
static void claim_outlives_the_run_and_the_table(void **state)
{
	static const unsigned kinds[] = {0, WQ_ORDERED};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k]);
		assert_int_equal(apply_nice(1), 0);
		stop_at(0, "claim");
		begin(0, call_queue_gate);
		stop_reached(0);
		begin(1, call_apply_more);
		while (nr_older() < 2)
			sched_yield();
		assert_int_equal(wq_queue(wq, &probes[0].work), 1);
		latch_post(&gate.open);
		latch_wait(&gate.ended, 1);
		has_not_ended();
		let_go(0);
		assert_int_equal(end(0), 1);
		assert_int_equal(end(1), 0);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(gate.runs, 2);
		assert_int_equal(probes[0].runs, 1);
		COMES_TRUE(!nr_older());
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* --- the whole queue --- */

static int call_apply_and_plug(void)
{
	int err = apply_nice(1);

	return ended(err ? err : wq_plug(wq));
}

static void claim_that_saw_the_queue_open_is_waited_for(void **state)
{
	static const unsigned kinds[] = {0, WQ_ORDERED};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k]);
		stop_at(0, "refuse read");
		begin(0, call_queue);
		stop_reached(0);
		begin(1, call_apply_and_plug);
		while (!nr_older())
			sched_yield();
		has_not_ended();
		let_go(0);
		assert_int_equal(end(0), 1);
		assert_int_equal(end(1), 0);
		assert_int_equal(wq_queue(wq, &probes[1].work), -ESHUTDOWN);
		/* Where it runs is older, and the queue is the same. */
		assert_int_equal(wq_queue(wq, &gate.work), -ESHUTDOWN);
		latch_post(&gate.open);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(probes[0].runs, 1);
		assert_int_equal(gate.runs, 1);
		assert_int_equal(wq_unplug(wq), 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void flush_waits_for_both_tables(void **state)
{
	static const unsigned kinds[] = {0, WQ_ORDERED};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k]);
		assert_int_equal(apply_nice(1), 0);
		probe_init_gate(&probes[0]);
		assert_int_equal(wq_queue(wq, &probes[0].work), 1);
		begin(0, call_flush);
		begin(1, call_drain);
		if (kinds[k])
			latch_post(&gate.open);
		latch_wait(&probes[0].started, 1);
		has_not_ended();
		latch_post(&probes[0].open);
		if (!kinds[k]) {
			has_not_ended();
			latch_post(&gate.open);
		}
		assert_int_equal(end(0), 0);
		assert_int_equal(end(1), 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* A pwq of the new table gets its first item between the flusher's two rounds. */
static void flush_flips_while_the_new_table_is_first_used(void **state)
{
	unsigned first;

	for (first = 0; first < 2; first++) {
		begin_with_gate(0);
		assert_int_equal(apply_nice(1), 0);
		probe_init_gate(&probes[0]);
		stop_at(0, "flip");
		begin(0, call_flush);
		stop_reached(0);
		stop_at(1, "pwq ready");
		begin(1, call_queue);
		stop_reached(1);
		let_go(first);
		let_go(!first);
		assert_int_equal(end(1), 1);
		latch_post(&gate.open);
		latch_post(&probes[0].open);
		assert_int_equal(end(0), 0);
		assert_int_equal(wq_flush(wq), 0);
		assert_int_equal(probes[0].runs, 1);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

/* While the flusher flips, a change waits; what comes after has a colour that is not waited for. */
static void change_waits_for_a_flip(void **state)
{
	begin_with_gate(0);
	stop_at(0, "flip");
	begin(0, call_flush);
	stop_reached(0);
	begin(1, call_apply);
	has_not_ended();
	let_go(0);
	assert_int_equal(end(1), 0);
	probe_init_gate(&probes[0]);
	assert_int_equal(wq_queue(wq, &probes[0].work), 1);
	latch_wait(&probes[0].started, 1);
	latch_post(&gate.open);
	assert_int_equal(end(0), 0);
	assert_int_equal(count_get(&probes[0].ended.count), 0);
	latch_post(&probes[0].open);
	assert_int_equal(wq_destroy(wq), 0);
}

/* The change has published its table and waits for sections. */
static void other_calls_while_a_table_is_published(void **state)
{
	static int (*const calls[])(void) = {call_flush, call_drain, call_plug};
	static const unsigned kinds[] = {0, WQ_ORDERED};
	unsigned k, c;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (c = 0; c < ARRAY_SIZE(calls); c++) {
			begin_with_gate(kinds[k]);
			stop_at(0, "table published");
			begin(0, call_apply);
			stop_reached(0);
			assert_int_equal(wq_queue(wq, &probes[0].work), 1);
			assert_true(wq_work_cancel(&probes[0].work) >= !!kinds[k]);
			assert_int_equal(wq_queue(wq, &probes[1].work), 1);
			begin(1, calls[c]);
			has_not_ended();
			let_go(0);
			assert_int_equal(end(0), 0);
			latch_post(&gate.open);
			assert_int_equal(end(1), 0);
			wq_unplug(wq);
			assert_int_equal(wq_flush(wq), 0);
			assert_int_equal(probes[1].runs, 1);
			assert_int_equal(wq_destroy(wq), 0);
		}
	}
}

static void change_while_frozen(void **state)
{
	static const unsigned kinds[] = {WQ_FREEZABLE, WQ_FREEZABLE | WQ_ORDERED};
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k]);
		assert_int_equal(wq_freeze_all(), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			assert_int_equal(wq_queue(wq, &probes[i].work), 1);
			assert_int_equal(apply_nice((int)i + 1), 0);
		}
		latch_post(&gate.open);
		COMES_TRUE(!wq_freeze_busy());
		give_time();
		assert_int_equal(probes[0].runs + probes[1].runs + probes[2].runs, 0);
		assert_int_equal(wq_thaw_all(), 0);
		assert_int_equal(wq_flush(wq), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			assert_int_equal(probes[i].runs, 1);
		COMES_TRUE(!nr_older());
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void destroy_with_older_tables(void **state)
{
	static const unsigned kinds[] = {0, WQ_ORDERED, WQ_MEM_RECLAIM,
					 WQ_ORDERED | WQ_MEM_RECLAIM};
	unsigned k, i;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		begin_with_gate(kinds[k]);
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			assert_int_equal(apply_nice((int)i + 1), 0);
			assert_int_equal(wq_queue(wq, &probes[i].work), 1);
		}
		begin(0, call_destroy);
		has_not_ended();
		latch_post(&gate.open);
		assert_int_equal(end(0), 0);
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			assert_int_equal(probes[i].runs, 1);
	}
}

static int begin_test(void **state)
{
	stops_begin();
	return 0;
}

static int end_test(void **state)
{
	stops_end();
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
	return wq_shutdown();
}

#define RACE(test) cmocka_unit_test_setup_teardown(test, begin_test, end_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RACE(producer_with_the_old_table_keeps_the_order),
		RACE(producer_with_the_old_table_has_the_old_attributes),
		RACE(changes_one_after_the_other_keep_the_order),
		RACE(item_that_is_settling_is_cancelled),
		RACE(item_that_is_settling_when_cancel_sync_comes),
		RACE(item_is_pushed_to_a_table_that_was_replaced),
		RACE(claim_outlives_the_run_and_the_table),
		RACE(claim_that_saw_the_queue_open_is_waited_for),
		RACE(flush_waits_for_both_tables),
		RACE(flush_flips_while_the_new_table_is_first_used),
		RACE(change_waits_for_a_flip),
		RACE(other_calls_while_a_table_is_published),
		RACE(change_while_frozen),
		RACE(destroy_with_older_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
