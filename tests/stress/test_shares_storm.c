/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Storms on the shares of max_active, on pretended machines: items count themselves in and
 * out of the share that they hold a place of, while they are cancelled, limits and
 * attributes change, and all freezes and thaws.  Afterwards every place is free, and each
 * share can be filled.  WQ_TEST_SEED repeats a run's choices; WQ_STRESS_MS is the length of
 * four storms (default 1000).
 */
#include "support.h"

#include <sched.h>
#include <time.h>

#include "pool.h"
#include "queue.h"
#include "testing.h"
#include "worker.h"

#define NR_THREADS 4
#define NR_ITEMS   96
#define NR_SHARES  8

struct machine {
	const char *topology;
	unsigned nr_cpus, cpus_for_queue;
	int max_active, min_active;
	bool limits, scopes, freezes;
};

struct storm {
	const struct machine *machine;
	struct wq *wq;
	uint64_t end_ns;
	unsigned long wrong, over, ended;
	/* By node + 1; the bound is the highest limit that may still hold. */
	unsigned long active[NR_SHARES], bound[NR_SHARES];
	struct storm_item {
		struct wq_work work;
		struct storm *storm;
		unsigned long accepted, cancelled, ran;
		uint64_t rng;
	} items[NR_ITEMS];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t storm_end(void)
{
	const char *text = getenv("WQ_STRESS_MS");

	return now_ns() + (text ? strtoull(text, NULL, 10) : 1000) * 250000u;
}

static void storm_queue(struct storm *storm, struct storm_item *item, uint64_t r)
{
	int ret = wq_queue_on(storm->wq, &item->work, (int)(r % storm->machine->nr_cpus));

	if (ret == 1)
		count_up(&item->accepted);
	else if (ret && ret != -EBUSY)
		count_up(&storm->wrong);
}

/* An item in four stays a while, for others to take what places are left. */
static void storm_stay(struct storm *storm, unsigned at)
{
	unsigned i;

	for (i = 0; i < 16 && count_get(&storm->active[at]) < count_get(&storm->bound[at]); i++)
		sched_yield();
}

static void storm_fn(struct wq_work *work, void *ctx)
{
	struct storm_item *item = container_of(work, struct storm_item, work);
	unsigned at = (unsigned)(wqi_worker_self->current_pwq->share->node + 1);
	struct storm *storm = item->storm;
	unsigned long now = count_up(&storm->active[at]);
	uint64_t r = random_next(&item->rng);

	if (now > count_get(&storm->bound[at]))
		count_up(&storm->over);
	if (r % 4 == 0)
		storm_stay(storm, at);
	if (r >> 8 & 1 && !count_get(&storm->ended))
		storm_queue(storm, item, r >> 16);
	count_add(&storm->active[at], -1);
	count_up(&item->ran);
}

/* --- what one thread changes --- */

static void storm_set_bounds(struct storm *storm)
{
	struct wqi_share *share;

	for (share = &storm->wq->shares.whole; share; share = wqi_load_acquire(&share->next))
		count_set(&storm->bound[share->node + 1], wqi_load_relaxed(&share->size));
}

/* What began by a limit that was higher has ended after a flush. */
static void storm_change_limits(struct storm *storm, uint64_t r)
{
	unsigned i;

	for (i = 0; i < NR_SHARES; i++)
		count_set(&storm->bound[i], WQ_MAX_ACTIVE);
	if (r & 1)
		wq_set_max_active(storm->wq, 1 + (int)((r >> 8) % 12));
	else
		wq_set_min_active(storm->wq, 1 + (int)((r >> 8) % 12));
	wq_flush(storm->wq);
	storm_set_bounds(storm);
}

static void storm_change_scope(struct storm *storm, uint64_t r)
{
	static const enum wq_affn_scope scopes[] = {WQ_AFFN_CPU, WQ_AFFN_NUMA, WQ_AFFN_SYSTEM,
						    WQ_AFFN_CACHE};
	struct wq_attrs attrs;
	cpu_set_t set;
	unsigned cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < storm->machine->cpus_for_queue; cpu++)
		CPU_SET(cpu, &set);
	wq_attrs_init(&attrs);
	wq_attrs_set_affinity(&attrs, scopes[r % ARRAY_SIZE(scopes)]);
	if (wq_attrs_set_cpumask(&attrs, &set, sizeof(set)) || wq_apply_attrs(storm->wq, &attrs))
		count_up(&storm->wrong);
	wq_attrs_fini(&attrs);
}

static void storm_change(struct storm *storm, uint64_t r)
{
	const struct machine *machine = storm->machine;

	if (machine->limits && r % 8 == 0)
		storm_change_limits(storm, r >> 8);
	if (machine->scopes && r % 8 == 1)
		storm_change_scope(storm, r >> 8);
	if (machine->freezes && r % 8 == 2) {
		wq_freeze_all();
		sched_yield();
		wq_thaw_all();
	}
}

static void storm_thread(void *ctx, unsigned index)
{
	struct storm *storm = ctx;
	uint64_t rng = test_seed() * 31 + index;

	while (now_ns() < storm->end_ns) {
		uint64_t r = random_next(&rng);
		struct storm_item *item = &storm->items[(r >> 40) % NR_ITEMS];
		int ret = 0;

		if (!index && r >> 60 == 0)
			storm_change(storm, r >> 8);
		switch (r % 16) {
		case 0:
			ret = wq_work_cancel_sync(&item->work);
			break;
		case 1:
		case 2:
		case 3:
			ret = wq_work_cancel(&item->work);
			break;
		case 4:
			if (wq_work_flush(&item->work) < 0)
				count_up(&storm->wrong);
			break;
		case 5:
			if (r >> 8 & 31)
				wq_congested(storm->wq);
			else
				wq_flush(storm->wq);
			break;
		default:
			storm_queue(storm, item, r >> 8);
		}
		if (ret == 1)
			count_up(&item->cancelled);
		if (ret < 0)
			count_up(&storm->wrong);
	}
}

/* --- afterwards --- */

static void check_places_are_free(struct wq *wq)
{
	struct wqi_share *share;
	struct wqi_table *table;
	struct wqi_pwq *pwq;

	assert_int_equal(wq_drain(wq), 0);
	for (share = &wq->shares.whole; share; share = share->next) {
		assert_int_equal(wqi_load_seq_cst(&share->places), 0);
		assert_true(cds_list_empty(&share->line));
	}
	wqi_lock(&wq->mutex);
	wqi_for_each_pwq(wq, table, pwq)
	{
		if (!wqi_load_acquire(&pwq->pool))
			continue;
		wqi_pool_lock(pwq->pool);
		assert_int_equal(pwq->turn, WQI_TURN_NONE);
		assert_int_equal(pwq->nr_active, 0);
		wqi_pool_unlock(pwq->pool);
	}
	wqi_unlock(&wq->mutex);
}

/* On each CPU more items than its share has places: as many as that start. */
static void check_shares_fill(struct storm *storm)
{
	unsigned i, nr = storm->machine->nr_cpus, size = 0;
	struct probe *gates = calloc((size_t)nr * 7, sizeof(*gates));
	unsigned long started;
	struct wqi_share *share;

	/* Of pods on one node each, whatever was last. */
	wq_set_max_active(storm->wq, 6);
	wq_set_min_active(storm->wq, 1);
	if (storm->machine->scopes)
		storm_change_scope(storm, 0);
	for (share = storm->wq->shares.whole.next; share; share = share->next)
		size += share->size;
	assert_true(size > 0);
	for (i = 0; i < nr * 7; i++) {
		probe_init_gate(&gates[i]);
		assert_int_equal(wq_queue_on(storm->wq, &gates[i].work, (int)(i % nr)), 1);
	}
	do {
		sched_yield();
		for (i = 0, started = 0; i < nr * 7; i++)
			started += latch_count(&gates[i].started);
	} while (started < size);
	assert_int_equal(started, size);
	for (i = 0; i < nr * 7; i++)
		latch_post(&gates[i].open);
	assert_int_equal(wq_flush(storm->wq), 0);
	free(gates);
}

static void storm_make_queue(struct storm *storm)
{
	const struct machine *machine = storm->machine;
	struct wq_config config = WQ_CONFIG_INIT;

	assert_int_equal(wq_shutdown(), 0);
	config.topology = machine->topology;
	assert_int_equal(wq_configure(&config), 0);
	storm->wq = wq_alloc("storm", WQ_FREEZABLE, machine->max_active);
	assert_non_null(storm->wq);
	if (machine->min_active)
		assert_int_equal(wq_set_min_active(storm->wq, machine->min_active), 0);
	storm_change_scope(storm, 0); /* a pod for each CPU */
	storm_set_bounds(storm);
}

static void storm_run(const struct machine *machine, unsigned one_in)
{
	struct storm *storm = calloc(1, sizeof(*storm));
	unsigned i;

	storm->machine = machine;
	storm_make_queue(storm);
	for (i = 0; i < NR_ITEMS; i++) {
		wq_work_init(&storm->items[i].work, storm_fn, NULL);
		storm->items[i].storm = storm;
		storm->items[i].rng = test_seed() + i;
	}
	wqi_test_yields(test_seed(), one_in);
	storm->end_ns = storm_end();
	run_threads(NR_THREADS, storm_thread, storm);
	count_set(&storm->ended, 1);
	check_places_are_free(storm->wq);
	wqi_test_yields(0, 0);
	assert_int_equal(storm->wrong, 0);
	assert_int_equal(storm->over, 0);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_item *item = &storm->items[i];

		assert_int_equal(wq_work_busy(&item->work), 0);
		assert_int_equal(item->accepted, item->ran + item->cancelled);
	}
	check_shares_fill(storm);
	check_places_are_free(storm->wq);
	assert_int_equal(wq_destroy(storm->wq), 0);
	free(storm);
}

static void storm_on(const struct machine *machine)
{
	storm_run(machine, 16);
	storm_run(machine, 0);
}

static void pods_of_one_node_survive_a_storm(void **state)
{
	static const struct machine machine = {"core:4 pu:1", 4, 4, 3, 0, false, false, false};

	storm_on(&machine);
}

static void one_place_for_all_survives_a_storm(void **state)
{
	static const struct machine machine = {"core:4 pu:1", 4, 4, 1, 0, true, true, true};
	static const struct machine same = {"core:2 pu:1", 2, 2, 1, 0, false, false, false};

	storm_on(&same);
	storm_on(&machine);
}

static void one_pod_survives_a_storm(void **state)
{
	static const struct machine machine = {"core:1 pu:1", 1, 1, 2, 0, false, true, true};

	storm_on(&machine);
}

static void nodes_survive_a_storm(void **state)
{
	static const struct machine machine = {"node:2 core:4 pu:1", 8, 8, 9, 2, false, true, true};

	storm_on(&machine);
}

static void unequal_nodes_survive_a_storm(void **state)
{
	static const struct machine machine = {"node:2 core:4 pu:1", 8, 5, 8, 1, true, true, true};

	storm_on(&machine);
}

static void many_nodes_and_places_survive_a_storm(void **state)
{
	static const struct machine machine = {
		"node:4 core:2 pu:1", 8, 8, 16, 1, false, true, false};
	static const struct machine many = {
		"node:4 core:2 pu:1", 8, 8, 2048, 1, false, true, false};

	storm_on(&machine);
	storm_on(&many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods_of_one_node_survive_a_storm),
		cmocka_unit_test(one_place_for_all_survives_a_storm),
		cmocka_unit_test(one_pod_survives_a_storm),
		cmocka_unit_test(nodes_survive_a_storm),
		cmocka_unit_test(unequal_nodes_survive_a_storm),
		cmocka_unit_test(many_nodes_and_places_survive_a_storm),
	};

	test_seed();
	/* They choose their machines themselves. */
	unsetenv("WQ_TOPOLOGY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
