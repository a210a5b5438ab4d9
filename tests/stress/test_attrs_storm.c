/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Storms on queues whose attributes change: everything against wq_apply_attrs(), on a
 * pretended machine, with yields at random in the library's protocols.  WQ_TEST_SEED
 * repeats a run's choices (not its interleaving); WQ_STRESS_MS sets the length of two
 * storms (default 1000).
 */
#include "process.h"

#include <sched.h>
#include <time.h>

#include "testing.h"

#define NR_ITEMS   12
#define NR_QUEUES  6
#define NR_THREADS 4
#define NR_TICKETS 16
#define NR_CPUS	   16

static const unsigned queue_flags[NR_QUEUES] = {
	0,
	WQ_ORDERED,
	WQ_HIGHPRI | WQ_FREEZABLE,
	WQ_ORDERED | WQ_MEM_RECLAIM | WQ_FREEZABLE,
	WQ_MEM_RECLAIM,
	WQ_PERCPU,
};

struct storm_item {
	struct wq_delayed_work dw;
	struct storm *storm;
	unsigned long accepted, cancelled, ran, inside, overlaps;
	uint64_t rng; /* used only inside fn, which never overlaps (G2) */
};

/* An item that nobody cancels: it says in which order those of a thread ran. */
struct ticket {
	struct wq_work work;
	struct line *line;
	unsigned long number, busy;
};

/* The tickets of a thread on a queue. */
struct line {
	struct storm *storm;
	struct ticket tickets[NR_TICKETS];
	unsigned long sold; /* its thread's */
	unsigned long last; /* written by items of an ordered queue, one after the other */
	unsigned long ran;
	bool ordered;
};

struct storm {
	struct wq *queues[NR_QUEUES];
	unsigned long inside[NR_QUEUES];
	struct storm_item items[NR_ITEMS];
	struct line lines[NR_THREADS][NR_QUEUES];
	uint64_t end_ns;
	unsigned long wrong, misordered, crowded, ops, applied, no_memory;
	unsigned long requeue;
	bool scarce;
};

static struct storm storm;

/* What was answered where it should not. */
#define WRONG(ret) storm_wrong(__LINE__, (ret))

static void storm_wrong(int line, long ret)
{
	if (count_up(&storm.wrong) <= 10)
		fprintf(stderr, "line %d: %ld\n", line, ret);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t storm_end(void)
{
	const char *text = getenv("WQ_STRESS_MS");

	return now_ns() + (text ? strtoull(text, NULL, 10) : 1000) * 500000u;
}

/* --- what runs --- */

/* -1: a queue that lives for a moment. */
static int queue_index(const struct wq *wq)
{
	int i;

	for (i = 0; i < NR_QUEUES; i++)
		if (count_get(&storm.queues[i]) == wq)
			return i;
	return -1;
}

static int enter_queue(void)
{
	int i = queue_index(wq_current_wq());

	if (i >= 0 && count_up(&storm.inside[i]) > 1 && queue_flags[i] & WQ_ORDERED)
		count_up(&storm.crowded);
	return i;
}

static void leave_queue(int i)
{
	if (i >= 0)
		__atomic_sub_fetch(&storm.inside[i], 1, __ATOMIC_SEQ_CST);
}

static void storm_queue(struct wq *wq, struct storm_item *item, uint64_t r)
{
	int ret = r & 1 ? wq_queue(wq, &item->dw.work)
			: wq_queue_on(wq, &item->dw.work, (int)((r >> 1) % NR_CPUS));

	if (ret == 1)
		count_up(&item->accepted);
	else if (ret != 0 && ret != -EBUSY && ret != -ESHUTDOWN)
		WRONG(ret);
}

static void storm_fn(struct wq_work *work, void *ctx)
{
	struct storm_item *item = container_of(work, struct storm_item, dw.work);
	int at = enter_queue();
	uint64_t r;

	if (__atomic_exchange_n(&item->inside, 1, __ATOMIC_RELAXED))
		count_up(&item->overlaps);
	r = random_next(&item->rng);
	if (r % 8 == 0)
		sched_yield();
	if (count_get(&storm.requeue) && r >> 8 & 1)
		storm_queue(storm.queues[(r >> 16) % NR_QUEUES], item, r >> 32);
	if (r % 64 == 1 && wq_work_cancel(work) == 1)
		count_up(&item->cancelled);
	__atomic_store_n(&item->inside, 0, __ATOMIC_RELAXED);
	leave_queue(at);
	count_up(&item->ran);
}

static void ticket_fn(struct wq_work *work, void *ctx)
{
	struct ticket *ticket = container_of(work, struct ticket, work);
	struct line *line = ticket->line;
	int at = enter_queue();

	if (line->ordered) {
		if (ticket->number != line->last + 1)
			count_up(&storm.misordered);
		line->last = ticket->number;
	}
	leave_queue(at);
	count_up(&line->ran);
	count_set(&ticket->busy, 0);
}

/* --- what threads do --- */

static void sell_ticket(unsigned thread, unsigned queue, uint64_t r)
{
	struct line *line = &storm.lines[thread][queue];
	struct ticket *ticket = &line->tickets[line->sold % NR_TICKETS];
	int ret;

	if (count_get(&ticket->busy))
		return;
	ticket->number = line->sold + 1;
	count_set(&ticket->busy, 1);
	ret = r & 1 ? wq_queue(storm.queues[queue], &ticket->work)
		    : wq_queue_on(storm.queues[queue], &ticket->work, (int)((r >> 1) % NR_CPUS));
	if (ret == 1) {
		line->sold++;
		return;
	}
	count_set(&ticket->busy, 0);
	if (ret != -ESHUTDOWN)
		WRONG(ret);
}

static void random_attrs(struct wq_attrs *attrs, unsigned flags, uint64_t r)
{
	cpu_set_t cpus;
	unsigned i;

	wq_attrs_init(attrs);
	if (r & 1)
		wq_attrs_set_nice(attrs, (int)(r >> 1 & 3));
	if (r >> 3 & 1 && !(flags & WQ_ORDERED))
		wq_attrs_set_affinity(attrs, (enum wq_affn_scope)((r >> 4) % 6));
	wq_attrs_set_strict(attrs, r >> 8 & 1);
	if (!(r >> 9 & 1))
		return;
	CPU_ZERO(&cpus);
	for (i = 0; i < NR_CPUS; i++)
		if (r >> (16 + i) & 1)
			CPU_SET(i, &cpus);
	if (wq_attrs_set_cpumask(attrs, &cpus, sizeof(cpus)) && !storm.scarce && CPU_COUNT(&cpus))
		WRONG(-EINVAL);
}

static bool is_scarcity(int err)
{
	return storm.scarce && (err == -ENOMEM || err == -EAGAIN);
}

static void storm_apply(struct wq *wq, unsigned flags, uint64_t r)
{
	struct wq_attrs attrs;
	int err;

	random_attrs(&attrs, flags, r);
	err = wq_apply_attrs(wq, &attrs);
	wq_attrs_fini(&attrs);
	if (!err)
		count_up(&storm.applied);
	else if (is_scarcity(err))
		count_up(&storm.no_memory);
	else if (!(err == -EINVAL && flags & WQ_PERCPU))
		WRONG(err);
}

/* A queue that lives for a moment: its numbers are used again at once. */
static void storm_short_queue(struct storm_item *item, uint64_t r)
{
	static const unsigned flags[] = {0, WQ_ORDERED, WQ_HIGHPRI, WQ_MEM_RECLAIM};
	unsigned with = flags[r % ARRAY_SIZE(flags)], i;
	struct wq_attrs attrs;
	struct wq *wq;

	random_attrs(&attrs, with, r >> 3);
	wq = wq_alloc_attrs("short", with, 1, &attrs);
	if (!wq && !is_scarcity(-errno))
		WRONG(errno);
	wq_attrs_fini(&attrs);
	if (!wq)
		return;
	for (i = 0; i < (r >> 12) % 4; i++) {
		storm_queue(wq, item, r >> (8 + i));
		storm_apply(wq, with, r >> (2 * i));
	}
	if (r >> 10 & 1)
		wq_flush(wq);
	if (wq_destroy(wq))
		WRONG(-EBUSY);
}

static void storm_disable(struct storm_item *item, uint64_t r)
{
	int ret = r & 1 ? wq_work_disable(&item->dw.work) : wq_work_disable_sync(&item->dw.work);

	if (ret == 1)
		count_up(&item->cancelled);
	if (ret < 0 || wq_work_enable(&item->dw.work) < 0)
		WRONG(ret);
}

static void storm_arm(struct wq *wq, struct storm_item *item, uint64_t r)
{
	int ret = wq_queue_delayed(wq, &item->dw, r % 200000);

	if (ret == 1)
		count_up(&item->accepted);
	else if (ret != 0 && ret != -EBUSY && ret != -ESHUTDOWN)
		WRONG(ret);
}

/* On a whole queue: what makes it wait, refuse, or look at all its pwqs. */
static void storm_queue_call(struct wq *wq, uint64_t r)
{
	struct wq_stats stats;
	struct wq_pool_stats pool;

	switch (r % 8) {
	case 0:
		if (wq_drain(wq))
			WRONG(0);
		break;
	case 1:
		wq_plug(wq);
		if (r >> 8 & 1)
			sched_yield();
		wq_unplug(wq);
		break;
	case 2:
		wq_freeze_all();
		if (r >> 8 & 1)
			sched_yield();
		wq_thaw_all();
		break;
	case 3:
		wq_stats_read(wq, &stats, sizeof(stats));
		if (stats.completed > stats.started)
			WRONG(0);
		break;
	case 4:
		if (wq_pool_stats_read(wq, (int)((r >> 8) % NR_CPUS), &pool, sizeof(pool)))
			WRONG(0);
		break;
	case 5:
		wq_congested(wq);
		break;
	default:
		if (wq_flush(wq) < 0)
			WRONG(0);
	}
}

static int storm_item_call(struct storm_item *item, uint64_t r)
{
	switch (r % 8) {
	case 0:
		return wq_work_cancel_sync(&item->dw.work);
	case 1:
		return wq_delayed_work_cancel(&item->dw);
	case 2:
		return wq_work_flush(&item->dw.work) < 0 ? -EINVAL : 0;
	case 3:
		return wq_work_busy(&item->dw.work) & ~31u ? -EINVAL : 0;
	default:
		return wq_work_cancel(&item->dw.work);
	}
}

static void storm_thread(void *ctx, unsigned index)
{
	uint64_t rng = test_seed() * 31 + index;

	while (now_ns() < storm.end_ns) {
		uint64_t r = random_next(&rng), more = random_next(&rng);
		struct storm_item *item = &storm.items[(r >> 40) % NR_ITEMS];
		unsigned queue = (unsigned)(r >> 32) % NR_QUEUES;
		struct wq *wq = storm.queues[queue];
		int ret = 0;

		if (storm.scarce && !(r >> 56 & 15))
			wqi_test_fault(r >> 60 & 1 ? WQI_FAULT_ALLOC : WQI_FAULT_THREAD,
				       (unsigned)(more >> 50 & 7), (unsigned)(more >> 54 & 3));
		switch (r % 32) {
		case 0:
		case 1:
			storm_queue_call(wq, r >> 8);
			break;
		case 2:
		case 3:
		case 4:
			storm_apply(wq, queue_flags[queue], more);
			break;
		case 5:
			storm_short_queue(item, more);
			break;
		case 6:
			storm_disable(item, r >> 8);
			break;
		case 7:
		case 8:
			storm_arm(wq, item, more);
			break;
		case 9:
		case 10:
		case 11:
		case 12:
			ret = storm_item_call(item, r >> 8);
			break;
		case 13:
		case 14:
		case 15:
		case 16:
		case 17:
		case 18:
		case 19:
			sell_ticket(index, queue, r >> 8);
			break;
		default:
			storm_queue(wq, item, r >> 8);
		}
		if (ret == 1)
			count_up(&item->cancelled);
		if (ret < 0)
			WRONG(ret);
		count_up(&storm.ops);
	}
}

/* --- a storm --- */

static void line_init(struct line *line, bool ordered)
{
	unsigned i;

	line->ordered = ordered;
	for (i = 0; i < NR_TICKETS; i++) {
		wq_work_init(&line->tickets[i].work, ticket_fn, NULL);
		line->tickets[i].line = line;
	}
}

static void storm_begin(bool requeue, bool scarce)
{
	unsigned i, j;

	memset(&storm, 0, sizeof(storm));
	storm.requeue = requeue;
	storm.scarce = scarce;
	for (i = 0; i < NR_QUEUES; i++) {
		storm.queues[i] = wq_alloc("storm", queue_flags[i], 0);
		assert_non_null(storm.queues[i]);
		for (j = 0; j < NR_THREADS; j++)
			line_init(&storm.lines[j][i], queue_flags[i] & WQ_ORDERED);
	}
	for (i = 0; i < NR_ITEMS; i++) {
		wq_delayed_work_init(&storm.items[i].dw, storm_fn, NULL);
		storm.items[i].rng = test_seed() + i;
	}
	storm.end_ns = storm_end();
}

static void storm_no_faults(void)
{
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	wqi_test_fault(WQI_FAULT_THREAD, 0, 0);
}

static void storm_check(void)
{
	unsigned i, j;

	assert_int_equal(storm.wrong, 0);
	assert_int_equal(storm.misordered, 0);
	assert_int_equal(storm.crowded, 0);
	assert_true(storm.ops > 0);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_item *item = &storm.items[i];

		assert_int_equal(item->overlaps, 0);
		assert_int_equal(item->accepted, item->ran + item->cancelled);
	}
	for (i = 0; i < NR_QUEUES; i++)
		for (j = 0; j < NR_THREADS; j++)
			assert_int_equal(storm.lines[j][i].ran, storm.lines[j][i].sold);
}

static void storm_finish(void)
{
	unsigned i;

	storm_no_faults();
	wq_thaw_all();
	count_set(&storm.requeue, 0);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_item *item = &storm.items[i];

		if (wq_work_cancel_sync(&item->dw.work) == 1)
			item->cancelled++;
		assert_int_equal(wq_work_busy(&item->dw.work), 0);
	}
	for (i = 0; i < NR_QUEUES; i++)
		assert_int_equal(wq_destroy(storm.queues[i]), 0);
	wqi_test_yields(0, 0);
	storm_check();
	printf("%lu calls, %lu changes, %lu refused for want of memory\n", storm.ops, storm.applied,
	       storm.no_memory);
}

static void storm_run(bool requeue, bool scarce, unsigned one_in)
{
	storm_begin(requeue, scarce);
	wqi_test_yields(test_seed(), one_in);
	run_threads(NR_THREADS, storm_thread, &storm);
	storm_finish();
}

static void queues_survive_changes(void **state)
{
	storm_run(false, false, 64);
}

static void items_that_requeue_themselves_survive_changes(void **state)
{
	storm_run(true, false, 64);
}

static void changes_without_yields(void **state)
{
	storm_run(true, false, 0);
}

static void changes_where_memory_and_threads_are_scarce(void **state)
{
	storm_run(true, true, 64);
}

/* --- fork() in the middle --- */

/* All queues are empty and usable, whatever was going on with their tables. */
static void storm_child(void)
{
	unsigned i, j;

	watchdog();
	storm_no_faults();
	wq_thaw_all();
	for (i = 0; i < NR_ITEMS; i++)
		CHECK_EQUAL(wq_work_busy(&storm.items[i].dw.work) & ~WQ_BUSY_DISABLED, 0);
	for (i = 0; i < NR_QUEUES; i++) {
		struct wq *wq = storm.queues[i];
		struct probe probes[3];

		wq_unplug(wq);
		for (j = 0; j < ARRAY_SIZE(probes); j++) {
			probe_init(&probes[j]);
			CHECK_EQUAL(wq_queue_on(wq, &probes[j].work, (int)j), 1);
			if (!(queue_flags[i] & WQ_PERCPU) && j < 2)
				storm_apply(wq, queue_flags[i], test_seed() >> j);
		}
		CHECK_EQUAL(wq_flush(wq), 0);
		for (j = 0; j < ARRAY_SIZE(probes); j++)
			CHECK_EQUAL(probes[j].runs, 1);
	}
	CHECK_EQUAL(storm.wrong, 0);
	for (i = 0; i < NR_QUEUES; i++)
		CHECK_EQUAL(wq_destroy(storm.queues[i]), 0);
	_exit(0);
}

static void *storm_main(void *ctx)
{
	run_threads(NR_THREADS, storm_thread, ctx);
	return NULL;
}

static void children_of_a_storm_find_their_queues_empty(void **state)
{
	pthread_t thread;
	unsigned nr = 0;
	pid_t pid;

	skip_if_checker_hangs_children();
	storm_begin(true, false);
	wqi_test_yields(test_seed(), 64);
	assert_int_equal(pthread_create(&thread, NULL, storm_main, &storm), 0);
	while (now_ns() < storm.end_ns) {
		unsigned long wrong = count_get(&storm.wrong);

		pid = fork();
		if (!pid) {
			storm.wrong = 0;
			storm_child();
		}
		assert_int_equal(child_status(pid), 0);
		assert_int_equal(wrong, 0);
		nr++;
	}
	pthread_join(thread, NULL);
	storm_finish();
	printf("%u children\n", nr);
}

static int begin_pretended(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;

	test_seed();
	config.topology = "node:2 l3:2 core:2 pu:2";
	return wq_configure(&config);
}

static int end_pretended(void **state)
{
	return wq_shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queues_survive_changes),
		cmocka_unit_test(items_that_requeue_themselves_survive_changes),
		cmocka_unit_test(changes_without_yields),
		cmocka_unit_test(changes_where_memory_and_threads_are_scarce),
		cmocka_unit_test(children_of_a_storm_find_their_queues_empty),
	};

	return cmocka_run_group_tests(tests, begin_pretended, end_pretended);
}
