/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shares of max_active: their sizes, who counts where, and a message on its way. */
#include "stops.h"

#include <sched.h>

#include "pool.h"
#include "queue.h"
#include "share.h"

static void machine(const char *topology)
{
	struct wq_config config = WQ_CONFIG_INIT;

	assert_int_equal(wq_shutdown(), 0);
	config.topology = topology;
	assert_int_equal(wq_configure(&config), 0);
}

static struct wq *queue_new(enum wq_affn_scope scope, int max_active)
{
	struct wq_attrs attrs;
	struct wq *wq;

	wq_attrs_init(&attrs);
	wq_attrs_set_affinity(&attrs, scope);
	wq = wq_alloc_attrs("share", WQ_FREEZABLE, max_active, &attrs);
	assert_non_null(wq);
	return wq;
}

static void set_scope(struct wq *wq, enum wq_affn_scope scope)
{
	struct wq_attrs attrs;

	wq_attrs_init(&attrs);
	wq_attrs_set_affinity(&attrs, scope);
	assert_int_equal(wq_apply_attrs(wq, &attrs), 0);
}

/* Each of the nodes' shares, and the whole. */
static void check_sizes(struct wq *wq, unsigned whole, unsigned nr_nodes, unsigned size)
{
	struct wqi_share *share;

	assert_int_equal(wq->shares.whole.size, whole);
	for (share = wq->shares.whole.next; share; share = share->next, nr_nodes--) {
		assert_int_equal(share->size, size);
		assert_int_equal(share->max, size);
	}
	assert_int_equal(nr_nodes, 0);
}

static void sizes_follow_the_limits(void **state)
{
	static const struct {
		int max, min; /* min 0: not set */
		unsigned size;
	} cases[] = {
		{1, 0, 1},	{3, 0, 3},	{8, 0, 8},	{9, 0, 8},  {16, 0, 8},
		{2048, 0, 512}, {0, 0, 256},	{9, 1, 3},	{16, 1, 4}, {17, 1, 5},
		{16, 5, 5},	{16, 2048, 16}, {2048, 1, 512}, {2, 1, 1},
	};
	struct wqi_share *share;
	unsigned i;

	machine("node:4 core:2 pu:1");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wq *wq = queue_new(i % 2 ? WQ_AFFN_CPU : WQ_AFFN_NUMA, cases[i].max);
		unsigned whole = cases[i].max ? (unsigned)cases[i].max : WQ_DFL_ACTIVE;

		if (cases[i].min)
			assert_int_equal(wq_set_min_active(wq, cases[i].min), 0);
		check_sizes(wq, whole, 4, cases[i].size);
		set_scope(wq, WQ_AFFN_SYSTEM);
		check_sizes(wq, whole, 4, cases[i].size);
		assert_int_equal(wq_freeze_all(), 0);
		for (share = &wq->shares.whole; share; share = share->next)
			assert_int_equal(share->max, 0);
		assert_int_equal(wq_thaw_all(), 0);
		check_sizes(wq, whole, 4, cases[i].size);
		assert_int_equal(wq_destroy(wq), 0);
	}
}

static void wait_for_one_table(struct wq *wq)
{
	while (wqi_load_acquire(&wqi_load_acquire(&wq->table)->older))
		sched_yield();
}

/* The manager has the queue's mutex until it has done with what it found. */
static bool counts_for_itself(struct wq *wq)
{
	bool ret;

	wqi_lock(&wq->mutex);
	ret = !wq->table->pwqs->shared;
	wqi_unlock(&wq->mutex);
	return ret;
}

static void the_only_pwq_of_a_share_counts_for_itself(void **state)
{
	struct probe gates[4];
	struct wq *wq;
	unsigned i;

	machine("core:2 pu:1");
	wq = queue_new(WQ_AFFN_NUMA, 2);
	assert_true(counts_for_itself(wq));
	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		probe_init_gate(&gates[i]);
		if (i == 3)
			set_scope(wq, WQ_AFFN_CPU);
		assert_int_equal(wq_queue_on(wq, &gates[i].work, 0), 1);
		if (i < 2)
			latch_wait(&gates[i].started, 1);
	}
	assert_false(counts_for_itself(wq));
	assert_int_equal(wqi_load_seq_cst(&wq->shares.whole.next->places) & ~WQI_SHARE_LINE, 2);
	set_scope(wq, WQ_AFFN_NUMA);
	assert_false(counts_for_itself(wq));
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_post(&gates[i].open);
	assert_int_equal(wq_flush(wq), 0);
	wait_for_one_table(wq);
	assert_true(counts_for_itself(wq));
	assert_int_equal(wq->shares.whole.next->places, 0);
	assert_int_equal(wq->shares.whole.next->nr_pwqs, 1);
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- a message on its way --- */

struct scene {
	struct wq *wq;
	struct wqi_share *share;
	struct wqi_pwq *second;
	struct probe gate, waiting;
};

static uint32_t turn_of_second(struct scene *scene)
{
	return wqi_load_relaxed(&scene->second->turn);
}

static void wait_for_turn(struct scene *scene, enum wqi_turn turn)
{
	while (turn_of_second(scene) != turn)
		sched_yield();
}

/* The one place is taken on the first CPU; an item waits, or is about to, on the second. */
static void scene_begin(struct scene *scene, const char *stop_before)
{
	machine("core:2 pu:1");
	scene->wq = queue_new(WQ_AFFN_CPU, 1);
	scene->share = scene->wq->shares.whole.next;
	scene->second = &scene->wq->table->pwqs[1];
	probe_init_gate(&scene->gate);
	probe_init(&scene->waiting);
	assert_int_equal(wq_queue_on(scene->wq, &scene->gate.work, 0), 1);
	latch_wait(&scene->gate.started, 1);
	if (stop_before)
		stop_at(0, stop_before);
	assert_int_equal(wq_queue_on(scene->wq, &scene->waiting.work, 1), 1);
	wait_for_turn(scene, WQI_TURN_WAITS);
}

static void scene_end(struct scene *scene)
{
	assert_int_equal(wq_drain(scene->wq), 0);
	assert_int_equal(turn_of_second(scene), WQI_TURN_NONE);
	assert_int_equal(wqi_load_seq_cst(&scene->share->places), 0);
	assert_int_equal(wq_destroy(scene->wq), 0);
}

static bool second_is_idle(struct scene *scene)
{
	bool idle;

	wqi_pool_lock(scene->second->pool);
	idle = wqi_pwq_is_idle_locked(scene->second);
	wqi_pool_unlock(scene->second->pool);
	return idle;
}

static void place_that_is_given_before_the_look_is_not_lost(void **state)
{
	struct scene scene;

	stops_begin();
	scene_begin(&scene, "in line");
	stop_reached(0);
	latch_post(&scene.gate.open);
	wait_for_turn(&scene, WQI_TURN_HAS);
	let_go(0);
	latch_wait(&scene.waiting.ended, 1);
	stops_end();
	scene_end(&scene);
}

static void message_for_an_item_that_was_cancelled_keeps_the_pwq_but_no_place(void **state)
{
	struct probe later;
	struct scene scene;

	stops_begin();
	scene_begin(&scene, NULL);
	stop_at(0, "place given");
	latch_post(&scene.gate.open);
	stop_reached(0);
	assert_int_equal(turn_of_second(&scene), WQI_TURN_HAS);
	assert_int_equal(wq_work_cancel_sync(&scene.waiting.work), 1);
	assert_int_equal(turn_of_second(&scene), WQI_TURN_SPENT);
	assert_int_equal(wqi_load_seq_cst(&scene.share->places), 0);
	assert_false(second_is_idle(&scene));

	/* Others may have it meanwhile. */
	probe_init(&later);
	assert_int_equal(wq_queue_on(scene.wq, &later.work, 1), 1);
	latch_wait(&later.ended, 1);
	let_go(0);
	stops_end();
	scene_end(&scene);
	assert_int_equal(scene.waiting.runs, 0);
}

/* ... and may need it: the turn is used before the message comes, which then is for nothing. */
static void message_that_comes_after_its_turn_was_used_changes_nothing(void **state)
{
	struct scene scene;

	stops_begin();
	scene_begin(&scene, NULL);
	stop_at(0, "place given");
	latch_post(&scene.gate.open);
	stop_reached(0);
	wqi_pool_lock(scene.second->pool);
	wqi_pwq_activate_locked(scene.second);
	assert_int_equal(scene.second->nr_active, 1);
	wqi_pool_hand_over_locked(scene.second->pool);
	wqi_pool_unlock(scene.second->pool);
	latch_wait(&scene.waiting.ended, 1);
	assert_int_equal(turn_of_second(&scene), WQI_TURN_SPENT);
	let_go(0);
	stops_end();
	scene_end(&scene);
	assert_int_equal(scene.waiting.runs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_follow_the_limits),
		cmocka_unit_test(the_only_pwq_of_a_share_counts_for_itself),
		cmocka_unit_test(place_that_is_given_before_the_look_is_not_lost),
		cmocka_unit_test(message_for_an_item_that_was_cancelled_keeps_the_pwq_but_no_place),
		cmocka_unit_test(message_that_comes_after_its_turn_was_used_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
