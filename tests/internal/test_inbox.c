/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inbox: what comes out of its slots, and in which order. */
#include "support.h"

#include "inbox.h"
#include "mem.h"

static struct wqi_inbox *inbox;

static void nop(struct wq_work *work, void *ctx)
{
}

static struct wq_work *new_items(unsigned long nr)
{
	struct wq_work *items = calloc(nr, sizeof(*items));
	unsigned long i;

	assert_non_null(items);
	for (i = 0; i < nr; i++)
		wq_work_init(&items[i], nop, NULL);
	return items;
}

static void setup(unsigned slots)
{
	inbox = wqi_zalloc(sizeof(*inbox));
	assert_non_null(inbox);
	assert_int_equal(wqi_inbox_init(inbox, slots), 0);
	wqi_test_yields(test_seed(), 64);
}

static void teardown(void)
{
	wqi_test_hook = NULL;
	wqi_test_yields(0, 0);
	assert_true(wqi_inbox_is_empty(inbox));
	assert_int_equal(wqi_inbox_count(inbox), 0);
	wqi_inbox_destroy(inbox);
	wqi_free(inbox, sizeof(*inbox));
}

/* Empty it: the items in the order in which they are to run.  As a worker does, prev is cleared. */
static unsigned long take(struct wq_work **to, unsigned long max)
{
	struct wqi_inbox_taken taken;
	struct cds_list_head *link;
	unsigned long nr = 0, i;

	wqi_inbox_take(inbox, &taken);
	while ((link = wqi_inbox_next(&taken))) {
		assert_true(nr < max);
		wqi_store_relaxed(&link->prev, (struct cds_list_head *)NULL);
		to[nr++] = wqi_link_work(link);
	}
	for (i = 0; i < nr / 2; i++) {
		struct wq_work *work = to[i];

		to[i] = to[nr - 1 - i];
		to[nr - 1 - i] = work;
	}
	return nr;
}

/* --- under load --- */

#define NR_PUSHERS 3u

struct storm {
	struct wq_work *items, **taken;
	unsigned long per_thread, pushers_left, nr_taken, wrong;
	unsigned spread; /* CPUs that each seems to be moved between */
};

/* Those of one pusher come out in its order, whichever slots it used. */
static void storm_check(struct storm *storm, unsigned long *next, unsigned long nr)
{
	unsigned long i, at;

	for (i = 0; i < nr; i++) {
		at = (unsigned long)(storm->taken[i] - storm->items);
		storm->wrong += at != next[at / storm->per_thread];
		next[at / storm->per_thread] = at + 1;
	}
	storm->nr_taken += nr;
}

static void storm_thread(void *ctx, unsigned index)
{
	struct storm *storm = ctx;
	unsigned long next[NR_PUSHERS], i;
	bool last_look;

	if (index) {
		for (i = 0; i < storm->per_thread; i++)
			wqi_inbox_push_from(inbox, (unsigned)(index + i / 5) % storm->spread,
					    &storm->items[(index - 1) * storm->per_thread + i]);
		count_add(&storm->pushers_left, -1);
		return;
	}
	for (i = 0; i < NR_PUSHERS; i++)
		next[i] = i * storm->per_thread;
	do {
		last_look = !count_get(&storm->pushers_left);
		storm_check(storm, next, take(storm->taken, NR_PUSHERS * storm->per_thread));
	} while (!last_look);
}

static void keeps_the_order_of_each_pusher(unsigned slots, unsigned spread)
{
	struct storm storm = {.per_thread = scaled(50000),
			      .pushers_left = NR_PUSHERS,
			      .spread = spread};

	setup(slots);
	storm.items = new_items(NR_PUSHERS * storm.per_thread);
	storm.taken = calloc(NR_PUSHERS * storm.per_thread, sizeof(*storm.taken));
	run_threads(1 + NR_PUSHERS, storm_thread, &storm);
	assert_int_equal(storm.nr_taken, NR_PUSHERS * storm.per_thread);
	assert_int_equal(storm.wrong, 0);
	free(storm.taken);
	free(storm.items);
	teardown();
}

static void one_slot_keeps_the_order_of_each_pusher(void **state)
{
	keeps_the_order_of_each_pusher(1, 4);
}

static void slots_keep_the_order_of_pushers_that_stay(void **state)
{
	keeps_the_order_of_each_pusher(4, 1);
}

static void slots_keep_the_order_of_pushers_that_move(void **state)
{
	keeps_the_order_of_each_pusher(2, 2);
	keeps_the_order_of_each_pusher(5, 64);
}

/* --- one after the other --- */

#define NR_ITEMS 2000u

/* Items were pushed by their number: how many later ones does the worst come behind? */
static unsigned long worst_passed(const struct wq_work *items, struct wq_work **taken,
				  unsigned long nr)
{
	unsigned long i, j, passed, worst = 0;

	for (i = 0; i < nr; i++) {
		for (j = passed = 0; j < i; j++)
			passed += taken[j] > taken[i];
		if (passed > worst)
			worst = passed;
	}
	assert_true(taken[0] >= items && taken[0] < items + nr);
	return worst;
}

/* As if each slot had threads of its own, which take turns. */
static void check_bound(unsigned slots, unsigned long turn)
{
	struct wq_work *items = new_items(NR_ITEMS), *taken[NR_ITEMS];
	unsigned long i;

	setup(slots);
	for (i = 0; i < NR_ITEMS; i++)
		wqi_inbox_push_to(inbox, (unsigned)(i / turn) & inbox->mask, &items[i]);
	assert_int_equal(take(taken, NR_ITEMS), NR_ITEMS);
	assert_true(worst_passed(items, taken, NR_ITEMS) <= WQI_INBOX_RUN);
	free(items);
	teardown();
}

static void an_item_is_passed_by_few(void **state)
{
	static const unsigned long turns[] = {1, 3, 50, 64, 129, 333, NR_ITEMS / 2};
	unsigned slots, i;

	for (slots = 1; slots <= WQI_INBOX_SLOTS; slots *= 2)
		for (i = 0; i < ARRAY_SIZE(turns); i++)
			check_bound(slots, turns[i]);
}

static void slots_are_a_power_of_two(void **state)
{
	static const unsigned slots[][2] = {{0, 1}, {1, 1}, {2, 2}, {3, 4},
					    {8, 8}, {9, 8}, {64, 8}};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(slots); i++) {
		setup(slots[i][0]);
		assert_int_equal(inbox->mask + 1, slots[i][1]);
		teardown();
	}
	inbox = wqi_zalloc(sizeof(*inbox));
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 1);
	assert_int_equal(wqi_inbox_init(inbox, 2), -ENOMEM);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	assert_int_equal(inbox->mask, 0);
	wqi_free(inbox, sizeof(*inbox));
}

/* Beside those that come by CPU, as an ordered queue's. */
static void what_goes_to_slot_0_stays_in_order(void **state)
{
	struct wq_work *items = new_items(NR_ITEMS), *taken[NR_ITEMS], *last = NULL;
	unsigned long i, nr = 0;

	setup(2);
	for (i = 0; i < NR_ITEMS; i++)
		if (i % 3)
			wqi_inbox_push(inbox, &items[i]);
		else
			wqi_inbox_push_from(inbox, (unsigned)i / 100, &items[i]);
	assert_int_equal(take(taken, NR_ITEMS), NR_ITEMS);
	for (i = 0; i < NR_ITEMS; i++) {
		if (!((taken[i] - items) % 3))
			continue;
		assert_true(!last || taken[i] > last);
		last = taken[i];
		nr++;
	}
	assert_int_equal(nr, NR_ITEMS - (NR_ITEMS + 2) / 3);
	free(items);
	teardown();
}

/* --- interleavings --- */

static struct wq_work *hook_items;
static unsigned hook_slot, hook_calls;

/* The first slot has been taken: its pusher goes on, is moved, and goes on there. */
static void push_between(const char *where)
{
	if (strcmp(where, "inbox slot taken") || hook_calls++)
		return;
	wqi_inbox_push_from(inbox, 0, &hook_items[1]);
	wqi_inbox_push_from(inbox, 1, &hook_items[2]);
}

static void what_is_pushed_while_slots_are_taken_stays_in_order(void **state)
{
	struct wq_work *taken[3];

	setup(2);
	wqi_test_yields(0, 0);
	hook_items = new_items(3);
	hook_calls = 0;
	wqi_inbox_push_from(inbox, 0, &hook_items[0]);
	wqi_test_hook = push_between;
	assert_int_equal(take(taken, 3), 3);
	assert_ptr_equal(taken[0], &hook_items[0]);
	assert_ptr_equal(taken[1], &hook_items[1]);
	assert_ptr_equal(taken[2], &hook_items[2]);
	free(hook_items);
	teardown();
}

/* All of it while one pusher stalls: the top that it has read is taken, and comes back. */
static void push_meanwhile(const char *where)
{
	struct wq_work *taken[1];
	unsigned long i;

	if (strcmp(where, "inbox push") || hook_calls++)
		return;
	assert_int_equal(take(taken, 1), 1);
	assert_ptr_equal(taken[0], &hook_items[0]);
	for (i = 1; i < NR_ITEMS / 2; i++)
		wqi_inbox_push_to(inbox, !hook_slot, &hook_items[i]);
	for (; i < NR_ITEMS - 1; i++)
		wqi_inbox_push_to(inbox, hook_slot, &hook_items[i]);
	wqi_inbox_push_to(inbox, hook_slot, &hook_items[0]);
}

static void check_stale_push(unsigned slot)
{
	struct wq_work *taken[NR_ITEMS];

	setup(2);
	wqi_test_yields(0, 0);
	hook_items = new_items(NR_ITEMS);
	hook_slot = slot;
	hook_calls = 0;
	wqi_inbox_push_to(inbox, slot, &hook_items[0]);
	wqi_test_hook = push_meanwhile;
	wqi_inbox_push_to(inbox, slot, &hook_items[NR_ITEMS - 1]);
	wqi_test_hook = NULL;
	assert_int_equal(take(taken, NR_ITEMS), NR_ITEMS);
	/* The last to be pushed, and one before: by number it was the first of all. */
	assert_ptr_equal(taken[NR_ITEMS - 1], &hook_items[NR_ITEMS - 1]);
	assert_ptr_equal(taken[NR_ITEMS - 2], &hook_items[0]);
	assert_true(worst_passed(hook_items, taken, NR_ITEMS - 2) <= WQI_INBOX_RUN);
	free(hook_items);
	teardown();
}

static void a_push_that_stalls_lets_nobody_pass(void **state)
{
	check_stale_push(0);
	check_stale_push(1);
}

/*
 * Two pushers stall that found the slot empty.  It fills, and while it is being emptied one
 * after the other goes on, each into an empty slot again.
 */
static struct latch stalled[2], go_on[2], gone[2];
static __thread unsigned hook_thread;
static struct wq_work *hook_taken[NR_ITEMS];
static unsigned long hook_nr_taken;

static void stall(const char *where)
{
	unsigned i = hook_calls;

	if (!strcmp(where, "inbox push") && hook_thread) {
		latch_post(&stalled[hook_thread - 1]);
		latch_wait(&go_on[hook_thread - 1], 1);
	} else if (!strcmp(where, "inbox slot taken") && !hook_thread && i < 2 &&
		   !wqi_load_relaxed(&inbox->first.top)) {
		hook_calls++;
		latch_post(&go_on[i]);
		latch_wait(&gone[i], 1);
		wqi_inbox_note_move(wqi_inbox_cpu);
	}
}

static void stall_thread(void *ctx, unsigned index)
{
	unsigned long i;

	if (index < 2) {
		hook_thread = index + 1;
		wqi_inbox_push_to(inbox, 0, &hook_items[NR_ITEMS - 2 + index]);
		latch_post(&gone[index]);
		return;
	}
	latch_wait(&stalled[0], 1);
	latch_wait(&stalled[1], 1);
	for (i = 0; i < NR_ITEMS - 2; i++)
		wqi_inbox_push_to(inbox, i >= NR_ITEMS / 2 ? 0 : 1, &hook_items[i]);
	hook_nr_taken = take(hook_taken, NR_ITEMS);
}

static void pushes_that_stall_one_on_another_let_nobody_pass(void **state)
{
	unsigned i;

	setup(2);
	wqi_test_yields(0, 0);
	hook_items = new_items(NR_ITEMS);
	hook_calls = 0;
	for (i = 0; i < 2; i++) {
		latch_init(&stalled[i]);
		latch_init(&go_on[i]);
		latch_init(&gone[i]);
	}
	wqi_test_hook = stall;
	run_threads(3, stall_thread, NULL);
	assert_int_equal(hook_calls, 2);
	assert_int_equal(hook_nr_taken, NR_ITEMS);
	assert_true(worst_passed(hook_items, hook_taken, NR_ITEMS) <= WQI_INBOX_RUN);
	free(hook_items);
	teardown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_slot_keeps_the_order_of_each_pusher),
		cmocka_unit_test(slots_keep_the_order_of_pushers_that_stay),
		cmocka_unit_test(slots_keep_the_order_of_pushers_that_move),
		cmocka_unit_test(an_item_is_passed_by_few),
		cmocka_unit_test(slots_are_a_power_of_two),
		cmocka_unit_test(what_goes_to_slot_0_stays_in_order),
		cmocka_unit_test(what_is_pushed_while_slots_are_taken_stays_in_order),
		cmocka_unit_test(a_push_that_stalls_lets_nobody_pass),
		cmocka_unit_test(pushes_that_stall_one_on_another_let_nobody_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
