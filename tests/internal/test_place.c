/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Workers that the kernel has put on the CPU of another, or of a flusher. */
#include "observe.h"

#include <sched.h>

#include "place.h"
#include "queue.h"

static struct wq *wq;
static unsigned first, second; /* CPUs */

/* Computes on one CPU until it is told to stop. */
static struct spinner {
	struct wq_work work;
	struct wqi_worker *worker;
	unsigned long started, stop;
} spinner;

static void go_to(pid_t tid, unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(tid, sizeof(set), &set);
}

static bool is_kept_on(pid_t tid, unsigned cpu)
{
	cpu_set_t set;

	return !sched_getaffinity(tid, sizeof(set), &set) && CPU_COUNT(&set) == 1 &&
	       CPU_ISSET(cpu, &set);
}

static bool may_be_on_both(pid_t tid)
{
	cpu_set_t set;

	return !sched_getaffinity(tid, sizeof(set), &set) && CPU_ISSET(first, &set) &&
	       CPU_ISSET(second, &set);
}

static void spinner_fn(struct wq_work *work, void *ctx)
{
	spinner.worker = wqi_worker_self;
	go_to(0, *(unsigned *)ctx);
	wqi_place_say(wqi_worker_self);
	count_set(&spinner.started, 1);
	while (!count_get(&spinner.stop))
		sched_yield();
	wqi_pool_go_to_cpus(wqi_worker_self->pool);
}

static void spinner_begin(unsigned *cpu)
{
	memset(&spinner, 0, sizeof(spinner));
	wq_work_init(&spinner.work, spinner_fn, cpu);
	assert_int_equal(wq_queue(wq, &spinner.work), 1);
	while (!count_get(&spinner.started))
		sched_yield();
}

static void spinner_end(void)
{
	count_set(&spinner.stop, 1);
	assert_true(wq_work_flush(&spinner.work) >= 0);
}

static int setup(void **state)
{
	first = (unsigned)usable_cpu(0);
	second = (unsigned)usable_cpu(1);
	wq = wq_alloc("place", 0, 0);
	return wq ? 0 : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq) || wq_shutdown();
}

static void skip_with_one_cpu(void)
{
	if (usable_cpu(1) < 0)
		skip();
}

/* --- what the worker of an item does --- */

static struct {
	struct wq_work work;
	bool kept, free, beside;
	unsigned cpu, said;
} mover;

static void mover_fn(struct wq_work *work, void *ctx)
{
	struct wqi_worker *self = wqi_worker_self;

	go_to(0, first);
	wqi_place_say(self);
	wqi_place_move(self);
	mover.beside = wqi_load_relaxed(&spinner.worker->counted);
	mover.cpu = (unsigned)sched_getcpu();
	mover.said = self->cpu;
	mover.kept = is_kept_on(0, first);
	mover.free = may_be_on_both(0);
	wqi_pool_go_to_cpus(self->pool);
}

static void mover_run(void)
{
	memset(&mover, 0, sizeof(mover));
	wq_work_init(&mover.work, mover_fn, NULL);
	assert_int_equal(wq_queue(wq, &mover.work), 1);
	assert_true(wq_work_flush(&mover.work) >= 0);
}

/* Under a checker who computes may seem to sleep; nobody moves away from such a one. */
static void worker_on_the_cpu_of_another_moves(void **state)
{
	skip_with_one_cpu();
	do {
		spinner_begin(&first);
		mover_run();
		spinner_end();
	} while (!mover.beside);
	assert_int_not_equal(mover.said, first);
	assert_true(mover.free);
}

static void worker_with_a_cpu_of_its_own_stays(void **state)
{
	skip_with_one_cpu();
	spinner_begin(&second);
	mover_run();
	spinner_end();
	assert_int_equal(mover.cpu, first);
	assert_true(mover.kept);
}

/* --- one that was woken and does not come --- */

static struct {
	struct wq_work work;
	bool first_look, second_look;
} looker;

static struct wqi_worker *idle_of_locked(struct wqi_pool *pool)
{
	return cds_list_empty(&pool->idle)
		       ? NULL
		       : cds_list_first_entry(&pool->idle, struct wqi_worker, idle_node);
}

/* The one that is woken waits for the lock, which we have. */
static void looker_fn(struct wq_work *work, void *ctx)
{
	struct wqi_worker *self = wqi_worker_self, *late;
	struct wqi_pool *pool = self->pool;

	self->late = NULL;
	wqi_pool_lock(pool);
	while (!(late = idle_of_locked(pool))) {
		wqi_pool_unlock(pool);
		sched_yield();
		wqi_pool_lock(pool);
	}
	wqi_pool_wake(late);
	go_to(late->tid, first);
	wqi_place_check_locked(self);
	looker.first_look = is_kept_on(late->tid, first);
	wqi_place_check_locked(self);
	looker.second_look = may_be_on_both(late->tid);
	wqi_pool_unlock(pool);
}

static void worker_that_does_not_come_is_sent_elsewhere(void **state)
{
	skip_with_one_cpu();
	/* So there are two workers. */
	spinner_begin(&first);
	mover_run();
	spinner_end();
	wq_work_init(&looker.work, looker_fn, NULL);
	assert_int_equal(wq_queue(wq, &looker.work), 1);
	assert_true(wq_work_flush(&looker.work) >= 0);
	assert_true(looker.first_look);
	assert_true(looker.second_look);
}

/* --- turns with a flusher --- */

static struct {
	struct wq_work work;
	bool asked, stayed, gone, free;
	unsigned beside;
} parter;

/* The other CPU answers when nothing else wants it. */
static void wait_for_invitation(struct wqi_worker *self)
{
	while (!wqi_load_relaxed(&self->invited))
		sleep_ns(1000000);
}

static void parter_fn(struct wq_work *work, void *ctx)
{
	struct wqi_worker *self = wqi_worker_self;

	go_to(0, first);
	self->beside = WQI_PLACE_TURNS;
	wqi_place_part(self);
	wait_for_invitation(self);
	parter.asked = wqi_load_relaxed(&self->invited) - 1 != first;
	/* An answer from long ago says nothing. */
	self->beside = WQI_PLACE_TURNS + WQI_PLACE_TURNS / 2;
	wqi_place_part(self);
	parter.stayed = is_kept_on(0, first);
	self->beside = WQI_PLACE_TURNS + 1;
	wqi_place_part(self);
	parter.gone = self->cpu != first;
	parter.free = may_be_on_both(0);
	parter.beside = self->beside;
	wqi_pool_go_to_cpus(self->pool);
}

static void worker_and_flusher_part_when_a_cpu_is_idle(void **state)
{
	skip_with_one_cpu();
	memset(&parter, 0, sizeof(parter));
	wq_work_init(&parter.work, parter_fn, NULL);
	assert_int_equal(wq_queue(wq, &parter.work), 1);
	assert_true(wq_work_flush(&parter.work) >= 0);
	assert_true(parter.asked);
	assert_true(parter.stayed);
	assert_true(parter.gone);
	assert_true(parter.free);
	assert_int_equal(parter.beside, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(worker_on_the_cpu_of_another_moves, setup,
						teardown),
		cmocka_unit_test_setup_teardown(worker_with_a_cpu_of_its_own_stays, setup,
						teardown),
		cmocka_unit_test_setup_teardown(worker_that_does_not_come_is_sent_elsewhere, setup,
						teardown),
		cmocka_unit_test_setup_teardown(worker_and_flusher_part_when_a_cpu_is_idle, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
