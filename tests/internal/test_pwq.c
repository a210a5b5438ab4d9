/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pwq's counting and order, on a pool without workers; and marks from signal handlers. */
#include "support.h"

#include "ids.h"
#include "inbox.h"
#include "lock.h"
#include "mem.h"
#include "pool.h"
#include "pwq.h"
#include "queue.h"

#define NR_ITEMS 6

struct bench_top {
	struct wq *wq;
	struct wqi_pool *pool;
	struct wqi_pwq *pwq;
	struct wq_work items[NR_ITEMS];
	uint32_t id;
};

static void nop(struct wq_work *work, void *ctx)
{
}

/* All items claimed and spliced: on the worklist, in order. */
static void set_up(struct bench_top *top, unsigned max_active)
{
	unsigned i;

	top->wq = wqi_zalloc(sizeof(*top->wq));
	top->pool = wqi_zalloc(sizeof(*top->pool));
	top->pwq = wqi_zalloc(sizeof(*top->pwq));
	top->pool->level = 1;
	top->wq->max_active = top->wq->limit = top->wq->shares.whole.max = max_active;
	top->pwq->share = &top->wq->shares.whole;
	top->id = wqi_ids_alloc(1);
	wqi_ids_set(top->id, top->pwq);
	wqi_pwq_prepare(top->pwq, top->wq, top->id, top->pool);
	for (i = 0; i < NR_ITEMS; i++) {
		wq_work_init(&top->items[i], nop, NULL);
		top->items[i].wq_state |= WQI_PENDING | (uint64_t)top->id << WQI_ID_SHIFT;
		wqi_inbox_push(&top->pool->inbox, &top->items[i]);
	}
	wqi_pool_lock(top->pool);
	assert_int_equal(wqi_pool_splice_locked(top->pool), NR_ITEMS);
}

static void tear_down(struct bench_top *top)
{
	wqi_pool_unlock(top->pool);
	wqi_ids_set(top->id, NULL);
	wqi_ids_free(top->id, 1);
	wqi_free(top->pwq, sizeof(*top->pwq));
	wqi_free(top->pool, sizeof(*top->pool));
	wqi_free(top->wq, sizeof(*top->wq));
}

/* @list holds the items from number @from on, @nr of them, and nothing else. */
static void check_list(struct bench_top *top, struct cds_list_head *list, unsigned from,
		       unsigned nr)
{
	struct cds_list_head *link = list->next;
	unsigned i;

	for (i = 0; i < nr; i++, link = link->next)
		assert_ptr_equal(wqi_link_work(link), &top->items[from + i]);
	assert_ptr_equal(link, list);
	for (i = 0, link = list->prev; i < nr; i++, link = link->prev)
		assert_ptr_equal(wqi_link_work(link), &top->items[from + nr - 1 - i]);
}

static void splice_keeps_the_order_and_counts(void **state)
{
	struct bench_top top;
	struct wq_work later;

	set_up(&top, 2);
	check_list(&top, &top.pool->worklist, 0, NR_ITEMS);
	assert_int_equal(top.pwq->nr_in_flight[0], NR_ITEMS);
	assert_int_equal(top.pwq->nr_accepted, NR_ITEMS);
	assert_int_equal(top.pwq->nr_active, 0);
	assert_false(wqi_pwq_is_idle_locked(top.pwq));

	/* What comes later goes behind; a marked item is dropped. */
	wq_work_init(&later, nop, NULL);
	later.wq_state |= WQI_PENDING | WQI_CANCEL | (uint64_t)top.id << WQI_ID_SHIFT;
	wqi_inbox_push(&top.pool->inbox, &later);
	assert_int_equal(wqi_pool_splice_locked(top.pool), 0);
	check_list(&top, &top.pool->worklist, 0, NR_ITEMS);
	assert_false(wq_work_pending(&later));
	assert_int_equal(wqi_state(&later) & WQI_PENDING_ALL, 0);
	tear_down(&top);
}

static void activation_keeps_the_order_and_the_limit(void **state)
{
	struct bench_top top;
	unsigned i;

	set_up(&top, 3);
	for (i = 0; i < NR_ITEMS; i++) {
		cds_list_del(wqi_work_link(&top.items[i]));
		cds_list_add_tail(wqi_work_link(&top.items[i]), &top.pwq->inactive);
	}
	wqi_pwq_activate_locked(top.pwq);
	check_list(&top, &top.pool->ready_list, 0, 3);
	check_list(&top, &top.pwq->inactive, 3, NR_ITEMS - 3);
	assert_int_equal(top.pwq->nr_active, 3);
	for (i = 0; i < NR_ITEMS; i++)
		assert_int_equal(!!(wqi_state(&top.items[i]) & WQI_COUNTED), i < 3);

	/* One ends: the next follows, behind those that were activated before. */
	wqi_work_unlist_locked(&top.items[0]);
	wqi_pwq_finish_locked(top.pwq, 0, true);
	check_list(&top, &top.pool->ready_list, 1, 3);
	assert_int_equal(top.pwq->nr_active, 3);
	assert_int_equal(top.pwq->nr_in_flight[0], NR_ITEMS - 1);

	/* One that held no place ends: nobody follows. */
	wqi_work_unlist_locked(&top.items[4]);
	wqi_pwq_finish_locked(top.pwq, 0, false);
	assert_int_equal(top.pwq->nr_active, 3);
	check_list(&top, &top.pwq->inactive, 5, 1);
	tear_down(&top);
}

static bool start(struct bench_top *top, unsigned i)
{
	struct cds_list_head *link = wqi_work_link(&top->items[i]);

	if (!wqi_pwq_start_locked(top->pwq, link))
		return false;
	wqi_work_unlist_locked(&top->items[i]);
	return true;
}

/* One at a time: the first has run, two have waited, and of these the first is the next. */
static void set_up_next(struct bench_top *top)
{
	set_up(top, 1);
	assert_true(start(top, 0));
	assert_false(start(top, 1));
	assert_false(start(top, 2));
	check_list(top, &top->pwq->inactive, 1, 2);
	wqi_pwq_finish_locked(top->pwq, 0, true);
	assert_int_equal(top->pwq->nr_active, 0);
	assert_ptr_equal(top->pwq->next, wqi_work_link(&top->items[1]));
	assert_ptr_equal(top->pool->worklist.next, wqi_work_link(&top->items[1]));
	assert_ptr_equal(top->pool->worklist.next->next, wqi_work_link(&top->items[3]));
	check_list(top, &top->pool->ready_list, 0, 0);
	check_list(top, &top->pwq->inactive, 2, 1);
}

static void next_one_has_the_place(void **state)
{
	struct bench_top top;

	set_up_next(&top);
	assert_true(wqi_pwq_is_congested_locked(top.pwq));
	assert_false(start(&top, 3));
	check_list(&top, &top.pwq->inactive, 2, 2);
	assert_true(start(&top, 1));
	assert_null(top.pwq->next);
	assert_int_equal(top.pwq->nr_active, 1);
	assert_false(wqi_state(&top.items[1]) & WQI_COUNTED);
	tear_down(&top);
}

/* ... also if max_active is raised meanwhile. */
static void next_one_is_before_those_that_are_let_in(void **state)
{
	struct bench_top top;

	set_up_next(&top);
	top.pwq->share->max = 3;
	wqi_pwq_activate_locked(top.pwq);
	assert_null(top.pwq->next);
	check_list(&top, &top.pool->ready_list, 1, 2);
	check_list(&top, &top.pool->worklist, 3, 3);
	assert_int_equal(top.pwq->nr_active, 2);
	tear_down(&top);
}

/* ... of all that was accepted: when nothing waits, the worklist is enough again. */
static void next_ones_come_in_order(void **state)
{
	struct bench_top top;
	unsigned i;

	set_up_next(&top);
	for (i = 1; i < NR_ITEMS; i++) {
		assert_ptr_equal(top.pool->worklist.next, wqi_work_link(&top.items[i]));
		assert_true(start(&top, i));
		wqi_pwq_finish_locked(top.pwq, 0, true);
		assert_int_equal(top.pwq->next != NULL, i < 2);
	}
	assert_true(wqi_pwq_is_idle_locked(top.pwq));
	tear_down(&top);
}

static void next_one_is_cancelled_and_another_follows(void **state)
{
	struct bench_top top;

	set_up_next(&top);
	wqi_work_unlist_locked(&top.items[3]);
	wqi_pwq_left_locked(top.pwq, wqi_work_link(&top.items[3]));
	check_list(&top, &top.pwq->inactive, 2, 1);
	wqi_work_unlist_locked(&top.items[1]);
	wqi_pwq_left_locked(top.pwq, wqi_work_link(&top.items[1]));
	wqi_pwq_finish_locked(top.pwq, 0, false);
	assert_null(top.pwq->next);
	check_list(&top, &top.pool->ready_list, 2, 1);
	assert_int_equal(top.pwq->nr_active, 1);
	tear_down(&top);
}

/* Frozen, or with an older table that is not empty. */
static void next_one_that_may_not_start_waits_before_all_others(void **state)
{
	struct bench_top top;
	bool held;

	for (held = false;; held = true) {
		set_up_next(&top);
		top.pwq->held = held;
		top.pwq->share->max = held;
		assert_false(start(&top, 1));
		assert_null(top.pwq->next);
		check_list(&top, &top.pwq->inactive, 1, 2);
		wqi_pwq_activate_locked(top.pwq);
		check_list(&top, &top.pwq->inactive, 1, 2);
		top.pwq->held = false;
		top.pwq->share->max = 1;
		wqi_pwq_activate_locked(top.pwq);
		check_list(&top, &top.pool->ready_list, 1, 1);
		tear_down(&top);
		if (held)
			break;
	}
}

static void splice_gives_the_present_colour(void **state)
{
	struct bench_top top;
	struct wq_work late;

	set_up(&top, 3);
	top.pwq->work_color = 5;
	wq_work_init(&late, nop, NULL);
	/* Claimed with the old colour, spliced after the flip. */
	late.wq_state |= WQI_PENDING | (uint64_t)top.id << WQI_ID_SHIFT;
	wqi_inbox_push(&top.pool->inbox, &late);
	assert_int_equal(wqi_pool_splice_locked(top.pool), 1);
	assert_int_equal(wqi_state_color(wqi_state(&late)), 5);
	assert_int_equal(top.pwq->nr_in_flight[5], 1);
	assert_int_equal(top.pwq->nr_in_flight[0], NR_ITEMS);
	tear_down(&top);
}

/*
 * A signal handler that interrupts the library may not take a pool's lock: it
 * only marks.  The item stays where it is, is refused, and ends without a run.
 */
static void check_mark(bool listed)
{
	struct wq *wq = wq_alloc("ordered", WQ_ORDERED, 0);
	int cancelled, again, queued;
	struct probe gate, probe;
	struct wqi_pool *pool;
	unsigned busy;

	probe_init_gate(&gate);
	probe_init(&probe);
	wq_queue(wq, &gate.work);
	latch_wait(&gate.started, 1);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_int_equal(wq_work_busy(&probe.work), WQ_BUSY_PENDING);
	/* As if its holder were interrupted; the monitor would have the mark end. */
	pool = wqi_queue_pwq_rcu(wq, 0)->pool;
	wqi_pool_lock(pool);
	if (listed)
		wqi_pool_splice_locked(pool);
	cancelled = wq_work_cancel(&probe.work);
	again = wq_work_cancel(&probe.work);
	busy = wq_work_busy(&probe.work);
	queued = wq_queue(wq, &probe.work);
	wqi_pool_unlock(pool);
	assert_int_equal(cancelled, 1);
	assert_int_equal(again, 0);
	assert_int_equal(busy, WQ_BUSY_PENDING | WQ_BUSY_CANCELING);
	assert_int_equal(queued, -EBUSY);

	latch_post(&gate.open);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(wq_work_busy(&probe.work), 0);
	assert_int_equal(probe.runs, 0);
	assert_int_equal(wq_queue(wq, &probe.work), 1);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(probe.runs, 1);
}

static void cancel_that_interrupts_the_library_only_marks(void **state)
{
	check_mark(false);
	check_mark(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splice_keeps_the_order_and_counts),
		cmocka_unit_test(activation_keeps_the_order_and_the_limit),
		cmocka_unit_test(next_one_has_the_place),
		cmocka_unit_test(next_one_is_before_those_that_are_let_in),
		cmocka_unit_test(next_ones_come_in_order),
		cmocka_unit_test(next_one_is_cancelled_and_another_follows),
		cmocka_unit_test(next_one_that_may_not_start_waits_before_all_others),
		cmocka_unit_test(splice_gives_the_present_colour),
		cmocka_unit_test(cancel_that_interrupts_the_library_only_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
