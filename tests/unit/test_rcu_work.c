/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RCU items beside readers of four flavours: after the grace period, and not before. */
#include "flavors.h"
#include "process.h"

#include <sched.h>

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI, WQ_DEDICATED};

/* --- one reader --- */

/*
 * That the others have run, and others of their queues, shows that it was not for want
 * of time that this one has not.
 */
static void item_waits_for_readers_of_its_own_flavour_only(void **state)
{
	struct guarded held, others[NR_FLAVORS];
	struct reader reader;
	unsigned f, i;

	for (f = 0; f < NR_FLAVORS; f++) {
		struct wq *wq = wq_alloc("one", kinds[f], 0);

		reader_start(&reader, flavors[f]);
		guarded_init(&held, &reader);
		assert_int_equal(wq_queue_rcu(wq, &held.rw, flavors[f]), 1);
		for (i = 0; i < NR_FLAVORS; i++) {
			if (i == f)
				continue;
			guarded_init(&others[i], NULL);
			assert_true(guarded_runs(&others[i], wq, flavors[i]));
		}
		assert_int_equal(count_get(&held.runs), 0);
		assert_int_equal(wq_rcu_work_busy(&held.rw), WQ_BUSY_DELAYED);
		reader_end(&reader);
		latch_wait(&held.ended, 1);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(held.runs, 1);
		assert_int_equal(held.early, 0);
	}
}

/* Each comes before the last one leaves; who comes during the grace period is not waited for. */
static void item_runs_though_a_reader_is_always_inside(void **state)
{
	struct wq *wq = wq_alloc("always", 0, 0);
	struct reader readers[2];
	struct guarded item;
	unsigned f, i;

	for (f = 0; f < NR_FLAVORS; f++) {
		reader_start(&readers[0], flavors[f]);
		guarded_init(&item, NULL);
		assert_int_equal(wq_queue_rcu(wq, &item.rw, flavors[f]), 1);
		for (i = 0; !count_get(&item.runs); i ^= 1) {
			reader_start(&readers[i ^ 1], flavors[f]);
			reader_end(&readers[i]);
		}
		reader_end(&readers[i]);
		latch_wait(&item.ended, 1);
		wq_rcu_work_flush(&item.rw);
	}
	assert_int_equal(wq_destroy(wq), 0);
}

/* --- many items --- */

struct turn {
	struct wq_rcu_work rw;
	unsigned long *turns, turn, early;
	struct reader *reader;
};

static void turn_fn(struct wq_work *work, void *ctx)
{
	struct turn *turn = ctx;

	turn->early = !count_get(&turn->reader->left);
	turn->turn = count_up(turn->turns);
}

static void many_items_of_one_grace_period_run_once_and_in_order(void **state)
{
	static const unsigned ordered[] = {WQ_ORDERED, WQ_DEDICATED};
	unsigned long nr = scaled(2000) + 1, i, turns;
	struct turn *items = calloc(nr, sizeof(*items));
	struct reader reader;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		struct wq *wq = wq_alloc("many", ordered[f & 1], 0);

		turns = 0;
		reader_start(&reader, flavors[f]);
		for (i = 0; i < nr; i++) {
			items[i] = (struct turn){.turns = &turns, .reader = &reader};
			wq_rcu_work_init(&items[i].rw, turn_fn, &items[i]);
			assert_int_equal(wq_queue_rcu(wq, &items[i].rw, flavors[f]), 1);
		}
		assert_int_equal(count_get(&turns), 0);
		reader_end(&reader);
		wq_rcu_work_flush(&items[nr - 1].rw);
		assert_int_equal(wq_destroy(wq), 0);
		assert_int_equal(turns, nr);
		for (i = 0; i < nr; i++) {
			assert_int_equal(items[i].turn, i + 1);
			assert_int_equal(items[i].early, 0);
		}
	}
	free(items);
}

/* --- readers and a writer --- */

#define GOOD   0x600du
#define POISON 0xdeadu

struct object {
	struct wq_rcu_work rw;
	struct storm *storm;
	struct object *next; /* of the dead */
	unsigned magic;
};

struct storm {
	const struct rcu_flavor_struct *rcu;
	struct wq *queues[ARRAY_SIZE(kinds)];
	struct object *current, *dead;
	unsigned long stop, bad, reads, wrong;
	struct latch freed;
};

/*
 * liburcu tells ThreadSanitizer nothing of its grace periods, so that free() would be a
 * race with the readers to it: there the dead are only poisoned, and kept.
 */
static void object_die(struct object *object)
{
	struct object *top;

	__atomic_store_n(&object->magic, POISON, __ATOMIC_RELAXED);
	if (!TEST_TSAN) {
		free(object);
		return;
	}
	top = __atomic_load_n(&object->storm->dead, __ATOMIC_RELAXED);
	do
		object->next = top;
	while (!__atomic_compare_exchange_n(&object->storm->dead, &top, object, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
}

static void object_fn(struct wq_work *work, void *ctx)
{
	struct object *object = container_of(work, struct object, rw.work);
	struct storm *storm = ctx;

	object_die(object);
	latch_post(&storm->freed);
}

static void storm_read(struct storm *storm)
{
	struct object *object;
	unsigned i;

	flavor_read_lock(storm->rcu);
	object = __atomic_load_n(&storm->current, __ATOMIC_ACQUIRE);
	for (i = 0; i < 4; i++) {
		if (__atomic_load_n(&object->magic, __ATOMIC_RELAXED) != GOOD)
			count_up(&storm->bad);
		if (i == 1)
			sched_yield();
	}
	flavor_read_unlock(storm->rcu);
	count_up(&storm->reads);
}

static struct object *object_new(struct storm *storm)
{
	struct object *object = calloc(1, sizeof(*object));

	if (!object)
		abort();
	wq_rcu_work_init(&object->rw, object_fn, storm);
	object->storm = storm;
	object->magic = GOOD;
	return object;
}

/* Not in a section itself, or in one: wq_queue_rcu() may be called from both. */
static void storm_replace(struct storm *storm, unsigned long round)
{
	struct wq *wq = storm->queues[round % ARRAY_SIZE(storm->queues)];
	struct object *old;

	if (round & 1)
		flavor_read_lock(storm->rcu);
	old = __atomic_exchange_n(&storm->current, object_new(storm), __ATOMIC_SEQ_CST);
	if (wq_queue_rcu(wq, &old->rw, storm->rcu) != 1)
		count_up(&storm->wrong);
	if (round & 1)
		flavor_read_unlock(storm->rcu);
}

static void storm_thread(void *ctx, unsigned index)
{
	unsigned long round, rounds = scaled(20000);
	struct storm *storm = ctx;

	flavor_enlist(storm->rcu);
	if (index) {
		while (!count_get(&storm->stop))
			storm_read(storm);
	} else {
		for (round = 0; round < rounds; round++)
			storm_replace(storm, round);
		latch_wait(&storm->freed, rounds);
		count_set(&storm->stop, 1);
	}
	storm->rcu->unregister_thread();
}

static void readers_never_see_what_an_item_has_freed(void **state)
{
	unsigned f, i;

	for (f = 0; f < NR_FLAVORS; f++) {
		struct storm storm = {.rcu = flavors[f]};
		struct object *object;

		latch_init(&storm.freed);
		storm.current = object_new(&storm);
		for (i = 0; i < ARRAY_SIZE(kinds); i++)
			storm.queues[i] = wq_alloc("storm", kinds[i], 0);
		run_threads(4, storm_thread, &storm);
		for (i = 0; i < ARRAY_SIZE(kinds); i++)
			assert_int_equal(wq_destroy(storm.queues[i]), 0);
		assert_int_equal(storm.bad, 0);
		assert_int_equal(storm.wrong, 0);
		assert_int_equal(storm.freed.count, scaled(20000));
		free(storm.current);
		while ((object = storm.dead)) {
			storm.dead = object->next;
			free(object);
		}
	}
}

/* --- from an item --- */

struct chain {
	struct wq_rcu_work rw;
	const struct rcu_flavor_struct *rcu;
	struct wq *wq;
	unsigned long runs, length, wrong;
	struct latch ended;
};

static void chain_fn(struct wq_work *work, void *ctx)
{
	struct chain *chain = ctx;

	if (count_up(&chain->runs) > count_get(&chain->length))
		latch_post(&chain->ended);
	else if (wq_queue_rcu(chain->wq, &chain->rw, chain->rcu) != 1)
		count_up(&chain->wrong);
}

static void item_queues_itself_for_another_grace_period(void **state)
{
	struct chain chain;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		memset(&chain, 0, sizeof(chain));
		chain.wq = wq_alloc("chain", kinds[f], 0);
		chain.rcu = flavors[f];
		chain.length = scaled(50);
		latch_init(&chain.ended);
		wq_rcu_work_init(&chain.rw, chain_fn, &chain);
		assert_int_equal(wq_queue_rcu(chain.wq, &chain.rw, chain.rcu), 1);
		latch_wait(&chain.ended, 1);
		assert_int_equal(wq_destroy(chain.wq), 0);
		assert_int_equal(chain.runs, scaled(50) + 1);
		assert_int_equal(chain.wrong, 0);
	}
}

/* G6: each flush ends, whatever the item does afterwards. */
static void flush_ends_though_the_item_queues_itself_for_ever(void **state)
{
	struct chain chain;
	unsigned long i;
	unsigned f;

	for (f = 0; f < NR_FLAVORS; f++) {
		memset(&chain, 0, sizeof(chain));
		chain.wq = wq_alloc("ever", kinds[f], 0);
		chain.rcu = flavors[f];
		chain.length = ~0ul;
		latch_init(&chain.ended);
		wq_rcu_work_init(&chain.rw, chain_fn, &chain);
		assert_int_equal(wq_queue_rcu(chain.wq, &chain.rw, chain.rcu), 1);
		for (i = 0; i < scaled(100); i++)
			assert_true(wq_rcu_work_flush(&chain.rw) >= 0);
		assert_true(count_get(&chain.runs) > 0);
		count_set(&chain.length, 0);
		latch_wait(&chain.ended, 1);
		assert_int_equal(wq_destroy(chain.wq), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(item_waits_for_readers_of_its_own_flavour_only),
		cmocka_unit_test(item_runs_though_a_reader_is_always_inside),
		cmocka_unit_test(many_items_of_one_grace_period_run_once_and_in_order),
		cmocka_unit_test(readers_never_see_what_an_item_has_freed),
		cmocka_unit_test(item_queues_itself_for_another_grace_period),
		cmocka_unit_test(flush_ends_though_the_item_queues_itself_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
