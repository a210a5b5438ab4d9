/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The model of the matrix against histories written by hand: what the contract
 * allows must be explained, what it forbids must not.
 */
#include "support.h"

#include "model.h"

static struct model_history h;
static unsigned starts, ends;
static bool gate_ended;
static unsigned seen[MODEL_THREADS];
static bool together;

static int new_history(void **state)
{
	memset(&h, 0, sizeof(h));
	starts = ends = 0;
	gate_ended = together = false;
	return 0;
}

/* Calls said from here on by different threads do not know of each other. */
static void at_the_same_time(void)
{
	unsigned t;

	for (t = 0; t < MODEL_THREADS; t++)
		seen[t] = h.threads[t].nr;
	together = true;
}

/* A call that has returned before what is said next. */
static struct model_call *say(unsigned t, enum model_kind kind, unsigned queue, int ret)
{
	struct model_call *c = &h.threads[t].calls[h.threads[t].nr];
	unsigned u;

	for (u = 0; u < MODEL_THREADS; u++)
		c->seen_done[u] = (uint8_t)(together ? seen[u] : h.threads[u].nr);
	c->kind = (uint8_t)kind;
	c->queue = (uint8_t)queue;
	c->ret = ret;
	c->seen_starts = (uint8_t)starts;
	c->seen_ends = (uint8_t)ends;
	c->seen_gate = gate_ended;
	if (t == MODEL_INSIDE)
		c->run = (uint8_t)starts;
	h.threads[t].nr++;
	return c;
}

static void item_starts(unsigned queue)
{
	h.ran_on[starts++] = (uint8_t)queue;
	h.nr_runs = starts;
}

static void item_runs(unsigned queue)
{
	item_starts(queue);
	ends++;
}

#define explained() assert_int_equal(model_check(&h), MODEL_YES)
#define refused()   assert_int_equal(model_check(&h), MODEL_NO)

enum { A = MODEL_HERE, B = MODEL_ELSEWHERE };

/* --- counting --- */

static void an_accepted_item_runs_once(void **state)
{
	say(1, MODEL_QUEUE, A, 1);
	item_runs(A);
	say(1, MODEL_FLUSH, 0, 0);
	explained();
	h.nr_runs = 2; /* a double run */
	refused();
	h.nr_runs = 0; /* a lost item */
	refused();
}

static void a_lost_item_is_missed_by_a_flush(void **state)
{
	say(1, MODEL_QUEUE, A, 1);
	say(1, MODEL_FLUSH, 0, 1);
	refused();
}

static void a_cancelled_item_does_not_run(void **state)
{
	say(1, MODEL_QUEUE, A, 1);
	say(1, MODEL_CANCEL, 0, 1);
	explained();
	item_runs(A);
	refused();
}

static void two_callers_do_not_cancel_the_same_acceptance(void **state)
{
	say(1, MODEL_QUEUE, A, 1);
	at_the_same_time();
	say(1, MODEL_CANCEL, 0, 1);
	say(2, MODEL_CANCEL_SYNC, 0, 0);
	explained();
	h.threads[2].calls[0].ret = 1;
	refused();
}

static void an_item_is_not_accepted_while_pending(void **state)
{
	h.gate = h.exclusive = true;
	say(0, MODEL_QUEUE, A, 1);
	say(1, MODEL_QUEUE, B, 0);
	gate_ended = true;
	say(0, MODEL_OPEN, 0, 0);
	item_runs(A);
	say(0, MODEL_FLUSH_QUEUE, A, 0);
	explained();
	h.threads[1].calls[0].ret = 1;
	refused();
	h.threads[1].calls[0].ret = -EBUSY;
	refused();
}

/* --- waits --- */

static void a_flush_answers_whether_it_waited(void **state)
{
	h.hold = true;
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	at_the_same_time();
	say(0, MODEL_LET_GO, 0, 0);
	say(1, MODEL_FLUSH, 0, 1)->seen_ends = 1;
	explained();
	/* It may have come when the item had ended already. */
	h.threads[1].calls[0].ret = 0;
	explained();
	/* But not when the item had not been let go. */
	h.threads[1].calls[0].seen_ends = 0;
	refused();
}

static void a_flush_does_not_return_before_the_run_has_ended(void **state)
{
	h.hold = true;
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	say(1, MODEL_FLUSH, 0, 1);
	say(0, MODEL_LET_GO, 0, 0);
	refused();
	h.threads[1].calls[0].kind = MODEL_FLUSH_QUEUE;
	h.threads[1].calls[0].queue = A;
	h.threads[1].calls[0].ret = 0;
	refused();
	h.threads[1].calls[0].queue = B;
	explained();
}

static void a_flush_does_not_wait_for_later_acceptances(void **state)
{
	h.hold = true;
	say(1, MODEL_FLUSH, 0, 0);
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	at_the_same_time();
	say(2, MODEL_FLUSH, 0, 1)->seen_ends = 1;
	say(0, MODEL_QUEUE, A, 1);
	say(0, MODEL_LET_GO, 0, 0);
	ends++;
	item_runs(A);
	say(0, MODEL_CANCEL_SYNC, 0, 0);
	explained();
	h.threads[2].calls[0].seen_ends = 0;
	refused();
}

static void nothing_runs_when_cancel_sync_has_returned(void **state)
{
	say(1, MODEL_QUEUE, A, 1);
	item_starts(A);
	say(1, MODEL_CANCEL_SYNC, 0, 0);
	refused();
	h.threads[1].calls[1].seen_ends = 1;
	explained();
}

static void nothing_starts_while_disabled(void **state)
{
	say(1, MODEL_DISABLE_SYNC, 0, 0);
	say(1, MODEL_QUEUE, A, 1);
	item_runs(A);
	say(1, MODEL_ENABLE, 0, 1);
	refused();
	h.threads[1].calls[1].ret = -EBUSY;
	refused(); /* for it ran */
	h.nr_runs = h.threads[1].calls[2].seen_starts = 0;
	explained();
	h.threads[1].calls[2].ret = 0; /* disabled once only */
	refused();
}

static void queueing_during_a_cancel_sync_is_busy(void **state)
{
	h.hold = true;
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	at_the_same_time();
	say(1, MODEL_CANCEL_SYNC, 0, 0)->seen_ends = 1;
	say(2, MODEL_QUEUE, A, -EBUSY);
	say(0, MODEL_LET_GO, 0, 0);
	explained();
	h.threads[2].calls[0].seen_done[1] = 1; /* it had returned */
	refused();
}

static void enable_does_not_end_a_cancel_sync(void **state)
{
	h.hold = true;
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	at_the_same_time();
	say(1, MODEL_CANCEL_SYNC, 0, 0)->seen_ends = 1;
	say(2, MODEL_ENABLE, 0, -EINVAL);
	say(0, MODEL_LET_GO, 0, 0);
	explained();
	h.threads[2].calls[0].ret = 0;
	refused();
	h.threads[2].calls[0].ret = 1;
	refused();
}

static void a_cancel_may_linger_only_beside_the_queueing(void **state)
{
	at_the_same_time();
	say(1, MODEL_QUEUE, A, 1);
	say(2, MODEL_CANCEL, 0, 1);
	say(2, MODEL_QUEUE, A, -EBUSY);
	explained();
	h.threads[2].calls[0].seen_done[1] = 1;
	refused();
}

/* Enabled by somebody while it waits for the run: what is queued then is not its concern. */
static void a_disable_sync_undone_meanwhile_leaves_later_claims_alone(void **state)
{
	h.hold = true;
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	at_the_same_time();
	say(1, MODEL_DISABLE_SYNC, 0, 0)->seen_ends = 1;
	say(1, MODEL_BUSY, 0, MODEL_IS_PENDING | MODEL_IS_DISABLED)->seen_ends = 1;
	say(2, MODEL_ENABLE_QUEUE, A, 1);
	say(3, MODEL_CANCEL, 0, 1);
	say(3, MODEL_DISABLE, 0, 0);
	say(0, MODEL_LET_GO, 0, 0);
	explained();
	h.threads[2].nr = 1;
	h.threads[2].calls[0].kind = MODEL_QUEUE; /* nobody enables: it comes before */
	refused();
}

/* --- queues that refuse --- */

static void a_plugged_queue_accepts_nothing_more(void **state)
{
	at_the_same_time();
	say(1, MODEL_PLUG, A, 0);
	say(2, MODEL_QUEUE, A, 1);
	say(1, MODEL_CANCEL, 0, 0);
	item_runs(A);
	say(1, MODEL_FLUSH, 0, 0);
	explained(); /* it was accepted and ran before the plug */
	h.threads[1].calls[1].seen_starts = h.threads[1].calls[1].seen_ends = 0;
	h.threads[1].calls[2].seen_ends = 1;
	h.threads[1].calls[2].ret = 1;
	explained(); /* it was running */
	h.threads[2].calls[0].seen_done[1] = 1;
	refused(); /* it came when the plug had returned */
	h.threads[2].calls[0].ret = -ESHUTDOWN;
	refused();
	h.nr_runs = h.threads[1].calls[2].seen_starts = 0;
	h.threads[1].calls[2].ret = 0;
	explained();
}

static void plug_waits_for_whom_it_let_pass(void **state)
{
	h.gate = h.exclusive = true;
	at_the_same_time();
	say(1, MODEL_PLUG, A, 0);
	say(1, MODEL_CANCEL, 0, 0);
	say(2, MODEL_QUEUE, A, 1);
	/* Had it been accepted before, it would have been pending behind the gate. */
	say(0, MODEL_OPEN, 0, 0)->seen_done[1] = 2;
	gate_ended = true;
	item_runs(A);
	say(0, MODEL_DRAIN, A, 0);
	refused();
}

static void a_draining_queue_takes_only_from_its_own_item(void **state)
{
	h.hold = true;
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	at_the_same_time();
	say(1, MODEL_DRAIN, A, 0)->seen_ends = 2;
	say(2, MODEL_QUEUE, A, -ESHUTDOWN);
	say(0, MODEL_LET_GO, 0, 0);
	say(MODEL_INSIDE, MODEL_QUEUE, A, 1);
	ends++;
	item_runs(A);
	explained();
	h.threads[1].calls[0].seen_ends = 1; /* the drain did not wait for the second run */
	h.threads[MODEL_INSIDE].calls[0].seen_done[2] = 1;
	refused();
	h.threads[1].calls[0].seen_ends = 2;
	h.threads[MODEL_INSIDE].calls[0].ret = -ESHUTDOWN;
	h.nr_runs = 1;
	refused();
}

static void a_drain_that_was_seen_lets_nobody_in(void **state)
{
	h.hold = true;
	say(0, MODEL_QUEUE, B, 1);
	item_starts(B);
	h.gate = h.apart = true;
	at_the_same_time();
	say(1, MODEL_DRAIN, A, 0)->seen_gate = 1;
	h.threads[1].calls[0].seen_ends = 1;
	say(2, MODEL_SHUT, A, 1);
	say(2, MODEL_LET_GO, 0, 0);
	ends++;
	say(2, MODEL_FLUSH, 0, 1);
	say(2, MODEL_QUEUE, A, -ESHUTDOWN);
	say(0, MODEL_OPEN, 0, 0)->seen_done[2] = 4;
	explained();
	h.threads[2].calls[3].ret = 1;
	item_runs(A);
	refused();
	h.threads[2].calls[0].ret = 0; /* but it was before the drain if nobody knows */
	h.threads[1].calls[0].seen_ends = 2;
	explained();
}

static void an_item_that_runs_stays_where_it_runs(void **state)
{
	h.hold = h.apart = true;
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	say(1, MODEL_QUEUE, B, 1);
	say(0, MODEL_LET_GO, 0, 0);
	ends++;
	item_runs(A);
	say(0, MODEL_CANCEL_SYNC, 0, 0);
	explained();
	h.ran_on[1] = B;
	refused();
}

static void where_an_item_runs_decides_who_refuses_it(void **state)
{
	h.hold = h.apart = true;
	say(0, MODEL_QUEUE, A, 1);
	item_starts(A);
	say(1, MODEL_PLUG, A, 0);
	say(1, MODEL_QUEUE, B, -ESHUTDOWN);
	say(1, MODEL_UNPLUG, A, 0);
	say(1, MODEL_PLUG, B, 0);
	say(1, MODEL_QUEUE, B, 1);
	say(0, MODEL_LET_GO, 0, 0);
	ends++;
	item_runs(A);
	say(0, MODEL_FLUSH, 0, 0);
	explained();
	h.threads[1].calls[1].ret = 1;
	refused();
	h.threads[1].calls[1].ret = h.threads[1].calls[4].ret = -ESHUTDOWN;
	h.nr_runs = h.threads[0].calls[2].seen_starts = 1;
	refused();
}

/* --- freezing --- */

static void nothing_new_starts_while_frozen(void **state)
{
	h.freezable = true;
	say(0, MODEL_FREEZE, 0, 0);
	say(1, MODEL_QUEUE, A, 1);
	item_runs(A);
	say(0, MODEL_BUSY, 0, 0);
	say(0, MODEL_THAW, 0, 0);
	refused(); /* it had run before the thaw */
	h.threads[0].calls[1].seen_starts = h.threads[0].calls[1].seen_ends = 0;
	h.threads[0].calls[2].seen_starts = h.threads[0].calls[2].seen_ends = 0;
	h.threads[0].calls[1].ret = MODEL_IS_PENDING;
	explained();
	h.freezable = false;
	explained();
}

static void what_was_active_may_start_while_frozen(void **state)
{
	h.freezable = true;
	say(1, MODEL_QUEUE, A, 1);
	say(0, MODEL_FREEZE, 0, 0);
	say(0, MODEL_FREEZE_BUSY, 0, 1);
	item_runs(A);
	say(0, MODEL_FREEZE_BUSY, 0, 0);
	say(0, MODEL_THAW, 0, 0);
	explained();
	h.threads[0].calls[1].ret = 0; /* counted as waiting, so it must wait */
	refused();
}

static void what_has_no_room_does_not_start_while_frozen(void **state)
{
	h.freezable = h.exclusive = h.gate = true;
	say(1, MODEL_QUEUE, A, 1);
	say(0, MODEL_FREEZE, 0, 0);
	say(0, MODEL_OPEN, 0, 0);
	gate_ended = true;
	item_runs(A);
	say(0, MODEL_THAW, 0, 0);
	refused();
}

#define test(name) cmocka_unit_test_setup(name, new_history)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(an_accepted_item_runs_once),
		test(a_lost_item_is_missed_by_a_flush),
		test(a_cancelled_item_does_not_run),
		test(two_callers_do_not_cancel_the_same_acceptance),
		test(an_item_is_not_accepted_while_pending),
		test(a_flush_answers_whether_it_waited),
		test(a_flush_does_not_return_before_the_run_has_ended),
		test(a_flush_does_not_wait_for_later_acceptances),
		test(nothing_runs_when_cancel_sync_has_returned),
		test(nothing_starts_while_disabled),
		test(queueing_during_a_cancel_sync_is_busy),
		test(enable_does_not_end_a_cancel_sync),
		test(a_cancel_may_linger_only_beside_the_queueing),
		test(a_disable_sync_undone_meanwhile_leaves_later_claims_alone),
		test(a_plugged_queue_accepts_nothing_more),
		test(plug_waits_for_whom_it_let_pass),
		test(a_draining_queue_takes_only_from_its_own_item),
		test(a_drain_that_was_seen_lets_nobody_in),
		test(an_item_that_runs_stays_where_it_runs),
		test(where_an_item_runs_decides_who_refuses_it),
		test(nothing_new_starts_while_frozen),
		test(what_was_active_may_start_while_frozen),
		test(what_has_no_room_does_not_start_while_frozen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
