/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G15 and G16 for delayed items: armed and cancelled by signal handlers that interrupt
 * the library doing the same; and fork().
 */
#include "shot.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct wq *wq, *percpu, *plugged;

static int setup(void **state)
{
	wq = wq_alloc("test", 0, 0);
	percpu = wq_alloc("percpu", WQ_PERCPU, 0);
	plugged = wq_alloc("plugged", 0, 0);
	return wq && percpu && plugged && wq_system() ? wq_plug(plugged) : -1;
}

static int teardown(void **state)
{
	return wq_destroy(wq) || wq_destroy(percpu) || wq_destroy(plugged);
}

/* --- Signal handlers --- */

#define NR_ITEMS    4
#define INTERVAL_NS 30000

struct counted {
	struct wq_delayed_work dw;
	unsigned long accepted, cancelled, ran;
};

/* Of the main thread, of the handler, and of both. */
static struct counted mine[NR_ITEMS], handlers[NR_ITEMS], both[NR_ITEMS];
static unsigned long wrong, handled;
static uint64_t handler_rng;
static timer_t timer;
static volatile sig_atomic_t on;

static void expect(bool right)
{
	if (!right)
		count_up(&wrong);
}

static void counted_fn(struct wq_work *work, void *ctx)
{
	count_up(&((struct counted *)ctx)->ran);
}

static void counted_arm(struct counted *item, uint64_t r)
{
	struct wq *queue = r & 1 ? wq : percpu;
	uint64_t delay_ns = r >> 1 & 1 ? HOUR : 1 + (r >> 2) % 60000;
	int ret = wq_queue_delayed(queue, &item->dw, delay_ns);

	if (ret == 1)
		count_up(&item->accepted);
	expect(ret == 1 || ret == 0 || ret == -EBUSY);
}

static void counted_cancelled(struct counted *item, int ret)
{
	if (ret == 1)
		count_up(&item->cancelled);
	expect(ret == 1 || ret == 0);
}

static struct counted *pick(struct counted *items, uint64_t r)
{
	return &items[(r >> 48) % NR_ITEMS];
}

static void handler_step(uint64_t r)
{
	struct counted *item = pick(r >> 40 & 1 ? handlers : both, r);

	switch (r >> 32 & 7) {
	case 0:
	case 1:
	case 2:
		counted_cancelled(item, wq_delayed_work_cancel(&item->dw));
		break;
	case 3:
		wq_delayed_work_pending(&item->dw);
		expect(!(wq_delayed_work_busy(&item->dw) & WQ_BUSY_DISABLED));
		wq_delayed_work_remaining_ns(&item->dw);
		break;
	default:
		counted_arm(item, r);
		break;
	}
}

/* The timer is set anew at the end, so that what is interrupted gets on. */
static void timer_set(void)
{
	struct itimerspec in = {.it_value.tv_nsec = INTERVAL_NS};

	timer_settime(timer, 0, &in, NULL);
}

static void handler(int sig)
{
	int before = errno;
	unsigned i;

	for (i = 0; i < 3; i++)
		handler_step(random_next(&handler_rng));
	count_up(&handled);
	if (on)
		timer_set();
	errno = before;
}

static void main_step(uint64_t r)
{
	struct counted *item = pick(r >> 40 & 1 ? mine : both, r);
	int ret;

	switch (r >> 32 & 15) {
	case 0:
	case 1:
	case 2:
		counted_cancelled(item, wq_delayed_work_cancel(&item->dw));
		break;
	case 3:
		counted_cancelled(item, wq_delayed_work_cancel_sync(&item->dw));
		break;
	case 4:
		expect(wq_delayed_work_flush(&item->dw) >= 0);
		break;
	case 5:
	case 6:
		/*
		 * 1: what was accepted before runs for this call.  -EBUSY: it was cancelled just
		 * now, and the clock holds it a moment longer.
		 */
		item = pick(mine, r);
		ret = wq_mod_delayed(wq, &item->dw, (r & 1) * HOUR + (r >> 2) % 30000);
		if (ret == 0)
			count_up(&item->accepted);
		expect(ret == 0 || ret == 1 || ret == -EBUSY);
		break;
	default:
		counted_arm(item, r);
		break;
	}
}

static void counted_init(struct counted *items)
{
	unsigned i;

	for (i = 0; i < NR_ITEMS; i++)
		wq_delayed_work_init(&items[i].dw, counted_fn, &items[i]);
}

static void counted_add_up(struct counted *items)
{
	unsigned i;

	for (i = 0; i < NR_ITEMS; i++) {
		assert_true(wq_delayed_work_flush(&items[i].dw) >= 0);
		assert_int_equal(wq_delayed_work_busy(&items[i].dw), 0);
		assert_int_equal(items[i].accepted, items[i].ran + items[i].cancelled);
		assert_true(items[i].accepted > 0);
	}
}

/* On one CPU, so that handler and interrupted code share a timer shard. */
static void g15_handlers_arm_and_cancel_where_they_interrupt_that(void **state)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
	unsigned long i, nr = scaled(200000);
	cpu_set_t before, one;
	uint64_t rng;

	counted_init(mine);
	counted_init(handlers);
	counted_init(both);
	handler_rng = test_seed();
	rng = test_seed() + 1;
	sched_getaffinity(0, sizeof(before), &before);
	CPU_ZERO(&one);
	CPU_SET(usable_cpu(0), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
	event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	on = 1;
	timer_set();
	for (i = 0; i < nr || count_get(&handled) < 20; i++) {
		main_step(random_next(&rng));
		/* A signal that ThreadSanitizer puts off may get lost. */
		if (i % 1000 == 999)
			timer_set();
	}
	on = 0;
	timer_delete(timer);
	sched_setaffinity(0, sizeof(before), &before);
	sigaction(SIGALRM, &old, NULL);
	counted_add_up(mine);
	counted_add_up(handlers);
	counted_add_up(both);
	assert_int_equal(wrong, 0);
	print_message("handled %lu signals in %lu steps\n", handled, i);
}

/* --- fork() --- */

/* In a child: it can be armed, cancelled, and run. */
static void shot_renews(struct shot *shot)
{
	CHECK_EQUAL(wq_delayed_work_busy(&shot->dw), 0);
	CHECK(!wq_delayed_work_pending(&shot->dw));
	CHECK(!wq_delayed_work_expires_ns(&shot->dw));
	CHECK(!wq_delayed_work_remaining_ns(&shot->dw));
	CHECK_EQUAL(wq_delayed_work_flush(&shot->dw), 0);
	CHECK_EQUAL(wq_delayed_work_cancel(&shot->dw), 0);
	CHECK_EQUAL(wq_delayed_work_cancel_sync(&shot->dw), 0);
	latch_init(&shot->started);
	latch_init(&shot->open);
	latch_init(&shot->ended);
	latch_post(&shot->open);
	latch_post(&shot->open);
	latch_post(&shot->open);
	shot->runs = 0;
	CHECK_EQUAL(wq_queue_delayed(wq, &shot->dw, 1), 1);
	shot_wait(shot, 1);
	CHECK_EQUAL(wq_queue_delayed(wq, &shot->dw, HOUR), 1);
	CHECK_EQUAL(wq_queue_delayed(wq, &shot->dw, 1), 0);
	CHECK_EQUAL(wq_delayed_work_busy(&shot->dw), WQ_BUSY_DELAYED);
	CHECK_EQUAL(wq_mod_delayed(percpu, &shot->dw, 1), 1);
	shot_wait(shot, 2);
	CHECK_EQUAL(wq_queue_delayed(wq, &shot->dw, HOUR), 1);
	CHECK_EQUAL(wq_delayed_work_cancel_sync(&shot->dw), 1);
	CHECK_EQUAL(wq_queue(wq, &shot->dw.work), 1);
	shot_wait(shot, 3);
	CHECK_EQUAL(shot->runs, 3);
	CHECK_EQUAL(wq_delayed_work_busy(&shot->dw), 0);
}

enum { ARMED, SOON, PARKED, PENDING_TOO, DISABLED, NR_SHOTS };

static void fork_child(void *ctx)
{
	struct shot *shots = ctx;
	unsigned i;

	CHECK_EQUAL(wq_delayed_work_busy(&shots[DISABLED].dw), WQ_BUSY_DISABLED);
	CHECK_EQUAL(wq_queue_delayed(wq, &shots[DISABLED].dw, 1), -EBUSY);
	CHECK_EQUAL(wq_delayed_work_enable(&shots[DISABLED].dw), 1);
	for (i = 0; i < NR_SHOTS; i++)
		shot_renews(&shots[i]);
	/* Nothing of the parent's is armed on them here. */
	CHECK_EQUAL(wq_unplug(plugged), 0);
	CHECK_EQUAL(wq_queue_delayed(plugged, &shots[ARMED].dw, HOUR), 1);
	CHECK_EQUAL(wq_destroy(plugged), -EBUSY);
	CHECK_EQUAL(wq_delayed_work_cancel(&shots[ARMED].dw), 1);
	CHECK_EQUAL(wq_destroy(plugged), 0);
	CHECK_EQUAL(wq_destroy(percpu), 0);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void fork_leaves_the_parents_items_idle_in_the_child(void **state)
{
	struct shot shots[NR_SHOTS];
	unsigned long round, rounds = scaled(10);
	unsigned i;

	skip_if_checker_hangs_children();
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < NR_SHOTS; i++)
			shot_init(&shots[i]);
		assert_int_equal(wq_queue_delayed(wq, &shots[ARMED].dw, HOUR), 1);
		assert_int_equal(wq_queue_delayed(percpu, &shots[SOON].dw, 2 * MS), 1);
		shot_park(plugged, &shots[PARKED], wq);
		shot_init_gate(&shots[PENDING_TOO]);
		assert_int_equal(wq_queue(wq, &shots[PENDING_TOO].dw.work), 1);
		latch_wait(&shots[PENDING_TOO].started, 1);
		assert_int_equal(wq_queue(wq, &shots[PENDING_TOO].dw.work), 1);
		assert_int_equal(wq_reschedule(wq, &shots[PENDING_TOO].dw, HOUR), 1);
		assert_int_equal(wq_delayed_work_disable(&shots[DISABLED].dw), 0);
		assert_int_equal(in_child(fork_child, shots), 0);
		shot_is_armed(&shots[ARMED]);
		shot_is_parked(&shots[PARKED]);
		shot_wait(&shots[SOON], 1);
		shot_is_idle(&shots[SOON], 1);
		latch_post(&shots[PENDING_TOO].open);
		latch_post(&shots[PENDING_TOO].open);
		shot_wait(&shots[PENDING_TOO], 2);
		shot_is_armed(&shots[PENDING_TOO]);
		assert_int_equal(wq_delayed_work_cancel_sync(&shots[PENDING_TOO].dw), 1);
		assert_int_equal(wq_mod_delayed(wq, &shots[ARMED].dw, 1), 1);
		shot_wait(&shots[ARMED], 1);
		assert_int_equal(wq_unplug(plugged), 0);
		shot_wait(&shots[PARKED], 1);
		assert_int_equal(wq_plug(plugged), 0);
	}
}

/* A child that arms first of all: its threads, the clock too, start with that. */
static void first_child(void *ctx)
{
	struct shot *shot = ctx;

	shot_init(shot);
	CHECK_EQUAL(wq_queue_delayed(wq, &shot->dw, MS), 1);
	shot_wait(shot, 1);
	CHECK_EQUAL(nr_threads("wq/clock"), 1);
}

static void fork_lets_the_child_begin_with_an_arming(void **state)
{
	struct shot shot, soon;
	unsigned long round, rounds = scaled(20);

	skip_if_checker_hangs_children();
	for (round = 0; round < rounds; round++) {
		/* The clock, or the item, is at work while the process forks. */
		shot_init(&soon);
		assert_int_equal(wq_queue_delayed(wq, &soon.dw, 1 + round * 10000), 1);
		assert_int_equal(in_child(first_child, &shot), 0);
		shot_wait(&soon, 1);
		shot_is_idle(&soon, 1);
	}
}

struct inside {
	struct wq_delayed_work dw;
	struct shot shot;
	int status;
};

static void inside_fn(struct wq_work *work, void *ctx)
{
	struct inside *inside = ctx;
	pid_t pid;

	wq_queue_delayed(wq, &inside->dw, HOUR);
	pid = fork();
	if (!pid) {
		watchdog();
		CHECK_EQUAL(wq_delayed_work_busy(&inside->dw), 0);
		CHECK_EQUAL(wq_delayed_work_cancel(&inside->dw), 0);
		shot_renews(&inside->shot);
		CHECK_EQUAL(wq_destroy(wq), 0);
		_exit(0);
	}
	inside->status = child_status(pid);
}

static void fork_inside_a_delayed_item_works(void **state)
{
	struct inside inside;

	skip_if_checker_hangs_children();
	inside.status = -1;
	shot_init(&inside.shot);
	wq_delayed_work_init(&inside.dw, inside_fn, &inside);
	assert_int_equal(wq_queue_delayed(percpu, &inside.shot.dw, HOUR), 1);
	assert_int_equal(wq_queue_delayed(wq, &inside.dw, 1), 1);
	while (!(wq_delayed_work_busy(&inside.dw) & WQ_BUSY_RUNNING) &&
	       count_get(&inside.status) < 0)
		sched_yield();
	while (wq_delayed_work_busy(&inside.dw) & WQ_BUSY_RUNNING)
		sched_yield();
	assert_int_equal(inside.status, 0);
	assert_int_equal(wq_delayed_work_cancel_sync(&inside.dw), 1);
	shot_is_armed(&inside.shot);
	assert_int_equal(wq_delayed_work_cancel_sync(&inside.shot.dw), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(g15_handlers_arm_and_cancel_where_they_interrupt_that),
		cmocka_unit_test(fork_leaves_the_parents_items_idle_in_the_child),
		cmocka_unit_test(fork_lets_the_child_begin_with_an_arming),
		cmocka_unit_test(fork_inside_a_delayed_item_works),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
