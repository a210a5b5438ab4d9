/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How delayed items run: in which order, on which CPU, again and again, and many of them. */
#include "shot.h"

#include <sched.h>

static struct wq *wq, *ordered, *percpu;

static int setup(void **state)
{
	wq = wq_alloc("test", 0, 0);
	ordered = wq_alloc("ordered", WQ_ORDERED, 0);
	percpu = wq_alloc("percpu", WQ_PERCPU, 0);
	return wq && ordered && percpu ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq) || wq_destroy(ordered) || wq_destroy(percpu);
}

/* Returns what to give back to unpin(). */
static cpu_set_t pin(int cpu)
{
	cpu_set_t before, one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	return before;
}

static void unpin(cpu_set_t before)
{
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

/* --- Order --- */

struct turn {
	struct wq_delayed_work dw;
	uint64_t first_ns, last_ns; /* it is due between these */
	unsigned long turn;
};

static unsigned long turns;

static void turn_fn(struct wq_work *work, void *ctx)
{
	((struct turn *)ctx)->turn = count_up(&turns);
}

/* Armed on one CPU, in another order than they are due. */
static void items_due_in_order_run_in_that_order(void **state)
{
	enum { NR = 64, STEP = 10 };
	static struct turn items[NR];
	unsigned long round, rounds = scaled(20), compared = 0;
	cpu_set_t before = pin(usable_cpu(0));
	unsigned i, j;

	for (round = 0; round < rounds; round++) {
		uint64_t base = now_ns() + 2 * MS, rng = test_seed() + round;

		turns = 0;
		for (i = 0; i < NR; i++) {
			struct turn *item = &items[i];
			uint64_t due = base + random_next(&rng) % (NR * STEP) * TICK, now;

			wq_delayed_work_init(&item->dw, turn_fn, item);
			now = now_ns();
			due = due > now ? due - now : 1;
			item->first_ns = now + due;
			assert_int_equal(wq_queue_delayed(ordered, &item->dw, due), 1);
			item->last_ns = now_ns() + due;
		}
		while (count_get(&turns) < NR)
			sched_yield();
		assert_int_equal(wq_flush(ordered), 0);
		for (i = 0; i < NR; i++) {
			for (j = 0; j < NR; j++) {
				/* Armed before either was due, so as not to race with the clock. */
				if (items[i].last_ns + TICK >= items[j].first_ns)
					continue;
				compared++;
				assert_true(items[i].turn < items[j].turn);
			}
		}
	}
	unpin(before);
	assert_true(compared > 0);
}

/* --- CPUs --- */

static void delayed_on_runs_on_that_cpu(void **state)
{
	struct shot shot;
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	for (i = 0; i < 2 && (cpu = usable_cpu(i)) >= 0; i++) {
		shot_init(&shot);
		assert_int_equal(wq_queue_delayed_on(percpu, &shot.dw, 1, cpu), 1);
		shot_wait(&shot, 1);
		assert_int_equal(shot.cpu, cpu);
		assert_int_equal(wq_mod_delayed_on(percpu, &shot.dw, 1, cpu), 0);
		shot_wait(&shot, 2);
		assert_int_equal(shot.cpu, cpu);
		assert_int_equal(wq_queue_delayed_on(percpu, &shot.dw, 0, cpu), 1);
		shot_wait(&shot, 3);
		assert_int_equal(shot.cpu, cpu);
		assert_int_equal(wq_mod_delayed_on(percpu, &shot.dw, 0, cpu), 0);
		shot_wait(&shot, 4);
		assert_int_equal(shot.cpu, cpu);
		/* Armed for one, and taken to the other. */
		assert_int_equal(wq_queue_delayed_on(percpu, &shot.dw, HOUR, usable_cpu(0)), 1);
		assert_int_equal(wq_mod_delayed_on(percpu, &shot.dw, MS, cpu), 1);
		shot_wait(&shot, 5);
		assert_int_equal(shot.cpu, cpu);
		assert_int_equal(wq_queue_delayed_on(percpu, &shot.dw, HOUR, cpu), 1);
		assert_int_equal(wq_delayed_work_flush(&shot.dw), 1);
		assert_int_equal(shot.cpu, cpu);
		shot_is_idle(&shot, 6);
	}
}

static void delayed_percpu_item_runs_where_it_was_armed(void **state)
{
	struct shot shot;
	cpu_set_t before;
	unsigned i;
	int cpu;

	skip_if_cpus_are_pretended();
	for (i = 0; i < 2 && (cpu = usable_cpu(i)) >= 0; i++) {
		shot_init(&shot);
		before = pin(cpu);
		assert_int_equal(wq_queue_delayed(percpu, &shot.dw, MS), 1);
		unpin(before);
		shot_wait(&shot, 1);
		assert_int_equal(shot.cpu, cpu);
		before = pin(cpu);
		assert_int_equal(wq_reschedule(percpu, &shot.dw, MS), 1);
		unpin(before);
		shot_wait(&shot, 2);
		assert_int_equal(shot.cpu, cpu);
		assert_int_equal(wq_queue_delayed_on(percpu, &shot.dw, HOUR, usable_cpu(0)), 1);
		before = pin(cpu);
		assert_int_equal(wq_mod_delayed(percpu, &shot.dw, MS), 1);
		unpin(before);
		shot_wait(&shot, 3);
		assert_int_equal(shot.cpu, cpu);
		shot_is_idle(&shot, 3);
	}
}

static void delayed_on_an_absent_cpu_runs_anywhere(void **state)
{
	struct shot shot;

	shot_init(&shot);
	assert_int_equal(wq_queue_delayed_on(percpu, &shot.dw, 1, WQ_MAX_CPUS - 1), 1);
	shot_wait(&shot, 1);
	assert_int_equal(wq_mod_delayed_on(wq, &shot.dw, HOUR, WQ_MAX_CPUS - 1), 0);
	assert_int_equal(wq_mod_delayed_on(percpu, &shot.dw, 1, WQ_MAX_CPUS - 1), 1);
	shot_wait(&shot, 2);
	assert_int_equal(wq_queue_delayed_on(percpu, &shot.dw, 0, WQ_MAX_CPUS - 1), 1);
	shot_wait(&shot, 3);
	shot_is_idle(&shot, 3);
}

/* --- Functions that do something with their own item --- */

static struct latch freed = LATCH_INIT;

static void free_fn(struct wq_work *work, void *ctx)
{
	free(container_of(work, struct wq_delayed_work, work));
	latch_post(&freed);
}

static void item_may_be_freed_by_its_function(void **state)
{
	unsigned long i, nr = scaled(2000);

	latch_reset(&freed);
	for (i = 0; i < nr; i++) {
		struct wq_delayed_work *dw = malloc(sizeof(*dw));

		assert_non_null(dw);
		wq_delayed_work_init(dw, free_fn, NULL);
		assert_int_equal(wq_queue_delayed(i % 2 ? wq : percpu, dw, 1 + i % 50 * 1000), 1);
	}
	latch_wait(&freed, nr);
}

struct chain {
	struct wq_delayed_work dw;
	unsigned long runs, most, wrong;
	uint64_t due_ns;
	struct latch ended;
	bool both;
};

/* Arms itself; or queues itself, and arms itself besides. */
static void chain_fn(struct wq_work *work, void *ctx)
{
	struct chain *chain = ctx;

	if (now_ns() < chain->due_ns)
		count_up(&chain->wrong);
	chain->due_ns = 0;
	if (++chain->runs >= chain->most) {
		latch_post(&chain->ended);
		return;
	}
	if (chain->both) {
		/* While the timer is on, queueing answers 0. */
		if (wq_delayed_work_cancel(&chain->dw) != (chain->runs > 1) ||
		    wq_queue(wq, work) != 1 || wq_reschedule(wq, &chain->dw, HOUR) != 1 ||
		    wq_delayed_work_busy(&chain->dw) !=
			    (WQ_BUSY_RUNNING | WQ_BUSY_PENDING | WQ_BUSY_DELAYED))
			count_up(&chain->wrong);
		return;
	}
	chain->due_ns = now_ns() + TICK;
	if (wq_queue_delayed(wq, &chain->dw, TICK) != 1)
		count_up(&chain->wrong);
}

static void chain_init(struct chain *chain, unsigned long most)
{
	memset(chain, 0, sizeof(*chain));
	wq_delayed_work_init(&chain->dw, chain_fn, chain);
	latch_init(&chain->ended);
	chain->most = most;
}

static void item_that_arms_itself_runs_so_often(void **state)
{
	struct chain chain;

	chain_init(&chain, scaled(1000));
	assert_int_equal(wq_queue_delayed(wq, &chain.dw, 1), 1);
	latch_wait(&chain.ended, 1);
	assert_int_equal(wq_delayed_work_cancel_sync(&chain.dw), 0);
	assert_int_equal(chain.runs, chain.most);
	assert_int_equal(chain.wrong, 0);
}

static void item_that_queues_and_arms_itself_runs_for_both(void **state)
{
	struct chain chain;

	chain_init(&chain, 20);
	chain.both = true;
	assert_int_equal(wq_queue_delayed(wq, &chain.dw, 1), 1);
	latch_wait(&chain.ended, 1);
	/* It has run for each time that it queued itself; the timer is on still. */
	while (wq_delayed_work_busy(&chain.dw) & WQ_BUSY_RUNNING)
		sched_yield();
	assert_int_equal(wq_delayed_work_busy(&chain.dw), WQ_BUSY_DELAYED);
	assert_int_equal(wq_mod_delayed(wq, &chain.dw, 1), 1);
	latch_wait(&chain.ended, 2);
	assert_int_equal(wq_delayed_work_cancel_sync(&chain.dw), 0);
	assert_int_equal(chain.runs, chain.most + 1);
	assert_int_equal(chain.wrong, 0);
}

/* --- Many --- */

struct many {
	struct wq_delayed_work dw;
	uint64_t due_ns;
	unsigned ran, early, cancelled;
};

static unsigned long many_ran;

static void many_fn(struct wq_work *work, void *ctx)
{
	struct many *many = container_of(work, struct many, dw.work);

	many->early += now_ns() < many->due_ns;
	many->ran++;
	count_up(&many_ran);
}

static struct many *many_new(unsigned long nr)
{
	struct many *many = calloc(nr, sizeof(*many));
	unsigned long i;

	assert_non_null(many);
	for (i = 0; i < nr; i++)
		wq_delayed_work_init(&many[i].dw, many_fn, NULL);
	count_set(&many_ran, 0);
	return many;
}

static void many_arm(struct many *many, struct wq *queue, uint64_t delay_ns)
{
	many->due_ns = now_ns() + delay_ns;
	assert_int_equal(wq_queue_delayed(queue, &many->dw, delay_ns), 1);
}

static void a_million_armed_items_are_cancelled(void **state)
{
	unsigned long nr = scaled(TEST_TSAN ? 200000 : 1000000), i, ran = 0;
	struct wq *const queues[] = {wq, percpu, ordered};
	uint64_t rng = test_seed();
	struct many *many = many_new(nr);

	/* From nanoseconds to two years. */
	for (i = 0; i < nr; i++) {
		uint64_t r = random_next(&rng);

		many_arm(&many[i], queues[i % ARRAY_SIZE(queues)],
			 1 + r % (UINT64_C(1) << (r >> 56) % 57));
	}
	for (i = 0; i < nr; i++) {
		int ret = wq_delayed_work_cancel(&many[i].dw);

		assert_in_range(ret, 0, 1);
		many[i].cancelled = (unsigned)ret;
	}
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(wq_flush(queues[i]), 0);
	for (i = 0; i < nr; i++) {
		assert_int_equal(wq_delayed_work_cancel_sync(&many[i].dw), 0);
		assert_int_equal(wq_delayed_work_busy(&many[i].dw), 0);
		assert_int_equal(many[i].ran + many[i].cancelled, 1);
		assert_int_equal(many[i].early, 0);
		ran += many[i].ran;
	}
	assert_true(ran < nr);
	print_message("%lu of %lu ran\n", ran, nr);
	free(many);
}

static void many_armed_items_fire_once_each(void **state)
{
	unsigned long nr = scaled(100000), i;
	struct wq *const queues[] = {wq, percpu, ordered};
	uint64_t rng = test_seed();
	struct many *many = many_new(nr);

	for (i = 0; i < nr; i++)
		many_arm(&many[i], queues[i % ARRAY_SIZE(queues)],
			 1 + random_next(&rng) % (20 * MS));
	while (count_get(&many_ran) < nr)
		sched_yield();
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(wq_flush(queues[i]), 0);
	for (i = 0; i < nr; i++) {
		assert_int_equal(wq_delayed_work_busy(&many[i].dw), 0);
		assert_int_equal(many[i].ran, 1);
		assert_int_equal(many[i].early, 0);
	}
	free(many);
}

/* Threads that arm, flush and cancel the same items; each acceptance is a run or a cancel. */
struct shared {
	struct wq_delayed_work dw;
	unsigned long accepted, cancelled, ran;
};

static struct shared shared[6];
static unsigned long shared_wrong;

static void shared_fn(struct wq_work *work, void *ctx)
{
	count_up(&((struct shared *)ctx)->ran);
}

static void shared_thread(void *ctx, unsigned index)
{
	struct wq *const queues[] = {wq, percpu, ordered};
	uint64_t rng = test_seed() + index;
	unsigned long i, nr = scaled(20000);

	for (i = 0; i < nr; i++) {
		uint64_t r = random_next(&rng);
		struct shared *item = &shared[(r >> 8) % ARRAY_SIZE(shared)];
		uint64_t delay_ns = r >> 16 & 1 ? HOUR : (r >> 17) % 30000;
		struct wq *queue = queues[(r >> 40) % ARRAY_SIZE(queues)];
		int ret;

		switch (r % 8) {
		case 0:
		case 1:
			ret = wq_delayed_work_cancel(&item->dw);
			if (ret == 1)
				count_up(&item->cancelled);
			break;
		case 2:
			ret = wq_delayed_work_cancel_sync(&item->dw);
			if (ret == 1)
				count_up(&item->cancelled);
			break;
		case 3:
			ret = wq_delayed_work_flush(&item->dw);
			break;
		default:
			ret = wq_queue_delayed(queue, &item->dw, delay_ns);
			if (ret == 1)
				count_up(&item->accepted);
			break;
		}
		if (ret != 0 && ret != 1 && ret != -EBUSY)
			count_up(&shared_wrong);
	}
}

static void items_shared_by_threads_run_once_for_each_acceptance(void **state)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(shared); i++)
		wq_delayed_work_init(&shared[i].dw, shared_fn, &shared[i]);
	run_threads(4, shared_thread, NULL);
	for (i = 0; i < ARRAY_SIZE(shared); i++) {
		assert_true(wq_delayed_work_flush(&shared[i].dw) >= 0);
		assert_int_equal(wq_delayed_work_busy(&shared[i].dw), 0);
		assert_int_equal(shared[i].accepted, shared[i].ran + shared[i].cancelled);
	}
	assert_int_equal(shared_wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_due_in_order_run_in_that_order),
		cmocka_unit_test(delayed_on_runs_on_that_cpu),
		cmocka_unit_test(delayed_percpu_item_runs_where_it_was_armed),
		cmocka_unit_test(delayed_on_an_absent_cpu_runs_anywhere),
		cmocka_unit_test(item_may_be_freed_by_its_function),
		cmocka_unit_test(item_that_arms_itself_runs_so_often),
		cmocka_unit_test(item_that_queues_and_arms_itself_runs_for_both),
		cmocka_unit_test(a_million_armed_items_are_cancelled),
		cmocka_unit_test(many_armed_items_fire_once_each),
		cmocka_unit_test(items_shared_by_threads_run_once_for_each_acceptance),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
