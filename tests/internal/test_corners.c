/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Corners of the library's life that went wrong once: late claims, shutdown, children,
 * the limit of threads.  Each test starts the library anew and ends it.
 */
#include "process.h"

#include <sched.h>

#include "testing.h"

/* A thread that has set `stops_here` stops at the point, once, until it is let go. */
static struct stop {
	const char *where;
	struct latch reached, go;
} stop;

static __thread bool stops_here;

static void stop_hook(const char *where)
{
	if (!strcmp(where, "plug waits"))
		latch_post(&stop.go);
	if (!stops_here || strcmp(where, stop.where))
		return;
	stops_here = false;
	latch_post(&stop.reached);
	latch_wait(&stop.go, 1);
}

static void stop_at(const char *where)
{
	stop.where = where;
	latch_init(&stop.reached);
	latch_init(&stop.go);
	count_set(&wqi_test_hook, stop_hook);
}

static int end(void **state)
{
	struct wq_config usual = WQ_CONFIG_INIT;

	count_set(&wqi_test_hook, NULL);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	return wq_shutdown() || wq_configure(&usual);
}

/* --- claims on their way --- */

struct late {
	struct wq *wq;
	struct probe probe;
	struct wq_work canceller;
	struct latch started, open;
	int ret;
};

static void *queue_late(void *arg)
{
	struct late *late = arg;

	stops_here = true;
	return (void *)(intptr_t)wq_queue(late->wq, &late->probe.work);
}

static void cancel_late(struct wq_work *work, void *ctx)
{
	struct late *late = ctx;

	latch_post(&late->started);
	latch_wait(&late->open, 1);
	late->ret = wq_work_cancel_sync(&late->probe.work);
}

/* Nobody but the canceller is there to meet the claim. */
static void dedicated_item_cancels_what_is_on_its_way_behind_it(void **state)
{
	struct late late = {.wq = wq_alloc("one", WQ_DEDICATED, 0)};
	pthread_t thread;
	void *ret;

	latch_init(&late.started);
	latch_init(&late.open);
	probe_init(&late.probe);
	wq_work_init(&late.canceller, cancel_late, &late);
	stop_at("push");
	assert_int_equal(wq_queue(late.wq, &late.canceller), 1);
	latch_wait(&late.started, 1);
	assert_int_equal(pthread_create(&thread, NULL, queue_late, &late), 0);
	latch_wait(&stop.reached, 1);
	latch_post(&late.open);
	while (!(wq_work_busy(&late.probe.work) & WQ_BUSY_CANCELING))
		sched_yield();
	latch_post(&stop.go);
	pthread_join(thread, &ret);
	assert_int_equal((intptr_t)ret, 1);
	assert_int_equal(wq_destroy(late.wq), 0);
	assert_int_equal(late.ret, 1);
	assert_int_equal(late.probe.runs, 0);
}

struct again {
	struct wq_work work;
	struct wq *wq;
	unsigned long accepted, ran;
};

static void again_fn(struct wq_work *work, void *ctx)
{
	struct again *again = ctx;

	count_up(&again->ran);
	stops_here = count_get(&again->ran) == 1;
	if (wq_queue(again->wq, work) == 1)
		count_up(&again->accepted);
}

/* It has read that the queue takes items, and claims only then. */
static void plug_waits_for_an_item_that_queues_itself(void **state)
{
	struct again again = {.wq = wq_alloc("again", 0, 0)};

	wq_work_init(&again.work, again_fn, &again);
	stop_at("refuse read");
	assert_int_equal(wq_queue(again.wq, &again.work), 1);
	latch_wait(&stop.reached, 1);
	/* The plug comes to wait, and so lets it go; or returns, and it is never let go. */
	assert_int_equal(wq_plug(again.wq), 0);
	assert_int_equal(stop.go.count >= 1, 1);
	assert_int_equal(wq_drain(again.wq), 0);
	assert_int_equal(again.ran, again.accepted + 1);
	assert_int_equal(wq_destroy(again.wq), 0);
}

/* --- shutdown --- */

static struct wq_work other_work;
static int other_answer;

static void nop(struct wq_work *work, void *ctx)
{
}

static void schedule_other(struct wq_work *work, void *ctx)
{
	struct probe *probe = container_of(work, struct probe, work);

	latch_post(&probe->started);
	latch_wait(&probe->open, 1);
	other_answer = wq_schedule(&other_work);
}

static void *open_when_refusing(void *arg)
{
	struct wq_work work = WQ_WORK_INIT(nop, NULL);
	struct probe *probe = arg;

	while (wq_queue(wq_system_percpu(), &work) != -ESHUTDOWN)
		sched_yield();
	latch_post(&probe->open);
	return NULL;
}

static void system_queue_is_not_made_while_others_are_run_out(void **state)
{
	struct probe probe;
	pthread_t thread;

	probe_init(&probe);
	wq_work_init(&probe.work, schedule_other, NULL);
	wq_work_init(&other_work, nop, NULL);
	other_answer = 0;
	assert_int_equal(wq_queue(wq_system_percpu(), &probe.work), 1);
	latch_wait(&probe.started, 1);
	assert_int_equal(pthread_create(&thread, NULL, open_when_refusing, &probe), 0);
	assert_int_equal(wq_shutdown(), 0);
	pthread_join(thread, NULL);
	assert_int_equal(other_answer, -ESHUTDOWN);
	assert_int_equal(wq_schedule(&other_work), 1);
}

static pthread_key_t ending_key;

static void ending_thread_schedules(void *arg)
{
	other_answer = wq_schedule(&other_work);
}

static void set_key(struct wq_work *work, void *ctx)
{
	pthread_setspecific(ending_key, ctx);
}

static void destructor_that_schedules_in_a_shutdown_is_refused(void **state)
{
	struct wq_work work = WQ_WORK_INIT(set_key, &work);

	other_answer = 0;
	wq_work_init(&other_work, nop, NULL);
	assert_int_equal(pthread_key_create(&ending_key, ending_thread_schedules), 0);
	assert_int_equal(wq_schedule(&work), 1);
	assert_true(wq_work_flush(&work) >= 0);
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(other_answer, -ESHUTDOWN);
	pthread_key_delete(ending_key);
}

/* --- children --- */

static void destroy_in_child(void *ctx)
{
	CHECK_EQUAL(wq_destroy(ctx), 0);
}

static void destroying_a_dedicated_queue_may_be_a_childs_first_call(void **state)
{
	struct wq *wq;

	skip_if_checker_hangs_children();
	wq = wq_alloc("one", WQ_DEDICATED, 0);
	assert_int_equal(in_child(destroy_in_child, wq), 0);
	assert_int_equal(wq_destroy(wq), 0);
}

static void end_and_begin_in_child(void *ctx)
{
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(wq_freeze_all(), 0);
	CHECK_EQUAL(wq_thaw_all(), 0);
	new_queue_works(WQ_FREEZABLE);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void shutdown_may_be_a_childs_first_call(void **state)
{
	skip_if_checker_hangs_children();
	assert_non_null(wq_system_freezable());
	assert_int_equal(in_child(end_and_begin_in_child, NULL), 0);
}

static struct wq *handler_wq;
static int handler_answer;

static void handler_in_child(void)
{
	if (handler_wq)
		handler_answer = wq_queue(handler_wq, &other_work);
}

static void look_at_handlers_item(void *ctx)
{
	CHECK_EQUAL(handler_answer, 1);
	CHECK(wq_work_flush(&other_work) >= 0);
	CHECK_EQUAL(count_get((int *)ctx), 1);
}

static void set_int(struct wq_work *work, void *ctx)
{
	count_set((int *)ctx, 1);
}

/* Registered before the library's first use, so it runs early too. */
static void fork_handler_of_the_program_may_queue(void **state)
{
	int ran = 0;

	skip_if_checker_hangs_children();
	wq_work_init(&other_work, set_int, &ran);
	handler_wq = wq_alloc("handler", 0, 0);
	assert_int_equal(in_child(look_at_handlers_item, &ran), 0);
	assert_int_equal(wq_destroy(handler_wq), 0);
	handler_wq = NULL;
	assert_int_equal(ran, 0);
}

struct fork_in_item {
	struct wq_work work;
	struct wq *wq;
	struct probe probe;
	int status;
};

static void queue_in_child(void *ctx)
{
	struct fork_in_item *item = ctx;

	probe_runs(item->wq, &item->probe);
}

static void fork_when_dying(struct wq_work *work, void *ctx)
{
	struct fork_in_item *item = ctx;
	struct wq_work other = WQ_WORK_INIT(nop, NULL);

	latch_post(&item->probe.started);
	latch_wait(&item->probe.open, 1);
	item->status = in_child(queue_in_child, item);
	/* As one of the queue's own it may queue here too. */
	if (wq_queue(item->wq, &other) != 1 || wq_work_cancel_sync(&other) != 1)
		item->status = -1;
}

static void *destroy_main(void *arg)
{
	return (void *)(intptr_t)wq_destroy(arg);
}

static void item_of_a_dying_queue_uses_it_in_a_child_too(void **state)
{
	struct wq_work stranger = WQ_WORK_INIT(nop, NULL);
	struct fork_in_item item;
	pthread_t thread;
	void *ret;

	skip_if_checker_hangs_children();
	item.wq = wq_alloc("dying", WQ_ORDERED, 0);
	probe_init(&item.probe);
	wq_work_init(&item.work, fork_when_dying, &item);
	assert_int_equal(wq_queue(item.wq, &item.work), 1);
	latch_wait(&item.probe.started, 1);
	assert_int_equal(pthread_create(&thread, NULL, destroy_main, item.wq), 0);
	while (wq_queue(item.wq, &stranger) != -ESHUTDOWN)
		wq_work_cancel_sync(&stranger);
	latch_post(&item.probe.open);
	pthread_join(thread, &ret);
	assert_int_equal((intptr_t)ret, 0);
	assert_int_equal(item.status, 0);
}

/* --- the limit of threads --- */

static void limit_threads(unsigned nr)
{
	struct wq_config config = WQ_CONFIG_INIT;

	config.max_threads = nr;
	assert_int_equal(wq_configure(&config), 0);
}

/* One worker for two pools, one of which always has something to do. */
static void take_turns_at_the_limit(unsigned flags)
{
	struct again again = {.ran = 0};
	struct probe probe;
	struct wq *other;

	limit_threads(1);
	again.wq = wq_alloc("always", flags, 0);
	other = wq_alloc("other", WQ_PERCPU, 0);
	wq_work_init(&again.work, again_fn, &again);
	assert_int_equal(wq_queue(again.wq, &again.work), 1);
	while (count_get(&again.ran) < 100)
		sched_yield();
	probe_init(&probe);
	assert_int_equal(wq_queue(other, &probe.work), 1);
	assert_true(wq_work_flush(&probe.work) >= 0);
	/* And back. */
	count_set(&again.ran, 1);
	while (count_get(&again.ran) < 100)
		sched_yield();
	wq_work_cancel_sync(&again.work);
	assert_int_equal(wq_destroy(again.wq), 0);
	assert_int_equal(wq_destroy(other), 0);
}

static void pool_at_the_limit_gets_its_turn(void **state)
{
	take_turns_at_the_limit(WQ_ORDERED);
}

/* Whose worker never counts as running where others could see it. */
static void pool_at_the_limit_gets_its_turn_beside_an_intensive_one(void **state)
{
	take_turns_at_the_limit(WQ_CPU_INTENSIVE);
}

static struct probe *ending_waits_for;

static void ending_thread_waits(void *arg)
{
	latch_wait(&ending_waits_for->ended, 1);
}

/* The thread that was to make room waits for the very item that needs a thread. */
static void thread_that_ends_slowly_does_not_hold_up_the_limit(void **state)
{
	struct wq *slow, *idle, *needy;
	struct wq_work work = WQ_WORK_INIT(set_key, &work);
	struct probe probe, wanted;

	limit_threads(2);
	assert_int_equal(pthread_key_create(&ending_key, ending_thread_waits), 0);
	slow = wq_alloc("slow", WQ_PERCPU, 0);
	idle = wq_alloc("idle", 0, 0);
	needy = wq_alloc("needy", WQ_HIGHPRI, 0);
	probe_init(&probe);
	probe_init(&wanted);
	ending_waits_for = &wanted;
	assert_int_equal(wq_queue(idle, &probe.work), 1);
	assert_int_equal(wq_flush(idle), 0);
	assert_int_equal(wq_queue(slow, &work), 1);
	assert_int_equal(wq_flush(slow), 0);
	assert_int_equal(wq_queue(needy, &wanted.work), 1);
	assert_int_equal(wq_flush(needy), 0);
	assert_int_equal(wanted.runs, 1);
	assert_int_equal(wq_destroy(slow), 0);
	assert_int_equal(wq_destroy(idle), 0);
	assert_int_equal(wq_destroy(needy), 0);
	assert_int_equal(wq_shutdown(), 0);
	pthread_key_delete(ending_key);
}

/*
 * The only worker is in an item that does not count.  What is cancelled on its way
 * must not leave producers without anybody to wake.
 */
static void pool_at_the_limit_hears_of_later_items(void **state)
{
	struct probe holder, probe;
	struct late late = {.wq = NULL};
	pthread_t thread;
	struct wq *other;
	void *ret;

	limit_threads(2);
	late.wq = wq_alloc("intensive", WQ_CPU_INTENSIVE, 0);
	other = wq_alloc("other", WQ_PERCPU, 0);
	probe_init(&probe);
	assert_int_equal(wq_queue(other, &probe.work), 1);
	assert_true(wq_work_flush(&probe.work) >= 0);
	probe_init_gate(&holder);
	assert_int_equal(wq_queue(late.wq, &holder.work), 1);
	latch_wait(&holder.started, 1);
	probe_init(&late.probe);
	stop_at("push");
	assert_int_equal(pthread_create(&thread, NULL, queue_late, &late), 0);
	latch_wait(&stop.reached, 1);
	assert_int_equal(wq_work_cancel(&late.probe.work), 1);
	latch_post(&stop.go);
	pthread_join(thread, &ret);
	assert_int_equal((intptr_t)ret, 1);
	while (wq_work_busy(&late.probe.work))
		sched_yield();
	/* The other pool's idle worker is given up for it. */
	assert_int_equal(wq_queue(late.wq, &probe.work), 1);
	assert_true(wq_work_flush(&probe.work) >= 0);
	assert_int_equal(probe.runs, 2);
	latch_post(&holder.open);
	assert_int_equal(wq_destroy(late.wq), 0);
	assert_int_equal(wq_destroy(other), 0);
}

/* --- errors that change nothing --- */

static void failed_start_leaves_the_settings_open(void **state)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct wq *wq;

	wqi_test_fault(WQI_FAULT_THREAD, 0, 1);
	assert_null(wq_alloc("early", 0, 0));
	assert_int_equal(wq_configure(&config), 0);
	wq = wq_alloc("later", 0, 0);
	assert_int_equal(wq_configure(&config), -EBUSY);
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(dedicated_item_cancels_what_is_on_its_way_behind_it, end),
		cmocka_unit_test_teardown(plug_waits_for_an_item_that_queues_itself, end),
		cmocka_unit_test_teardown(system_queue_is_not_made_while_others_are_run_out, end),
		cmocka_unit_test_teardown(destructor_that_schedules_in_a_shutdown_is_refused, end),
		cmocka_unit_test_teardown(destroying_a_dedicated_queue_may_be_a_childs_first_call,
					  end),
		cmocka_unit_test_teardown(shutdown_may_be_a_childs_first_call, end),
		cmocka_unit_test_teardown(fork_handler_of_the_program_may_queue, end),
		cmocka_unit_test_teardown(item_of_a_dying_queue_uses_it_in_a_child_too, end),
		cmocka_unit_test_teardown(pool_at_the_limit_gets_its_turn, end),
		cmocka_unit_test_teardown(pool_at_the_limit_gets_its_turn_beside_an_intensive_one,
					  end),
		cmocka_unit_test_teardown(thread_that_ends_slowly_does_not_hold_up_the_limit, end),
		cmocka_unit_test_teardown(pool_at_the_limit_hears_of_later_items, end),
		cmocka_unit_test_teardown(failed_start_leaves_the_settings_open, end),
	};

	if (pthread_atfork(NULL, NULL, handler_in_child))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
