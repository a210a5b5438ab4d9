/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Items that do not return: pthread_exit() and cancellation inside them. */
#include "process.h"

#include <sys/prctl.h>

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_HIGHPRI, WQ_ORDERED, WQ_DEDICATED};

static void leave_by_exit(void)
{
	pthread_exit(NULL);
}

static void leave_by_cancel(void)
{
	pthread_cancel(pthread_self());
	pthread_testcancel();
}

static void (*const leaves[])(void) = {leave_by_exit, leave_by_cancel};

/* An item that does not return; told to, it queues itself first. */
struct leaver {
	struct wq_work work;
	struct wq *wq;
	void (*leave)(void);
	struct latch started, open;
	bool waits;
	unsigned long requeue, runs, cleaned, returned, refused;
};

static pthread_key_t leaver_key;
static unsigned long leaver_destroyed;

/* By then the item has ended, and its memory may be another's. */
static void leaver_destructor(void *ctx)
{
	count_up((unsigned long *)ctx);
}

static void leaver_cleanup(void *ctx)
{
	struct leaver *leaver = ctx;

	count_up(&leaver->cleaned);
}

static void leaver_fn(struct wq_work *work, void *ctx)
{
	struct leaver *leaver = ctx;

	pthread_setspecific(leaver_key, &leaver_destroyed);
	pthread_cleanup_push(leaver_cleanup, leaver);
	count_up(&leaver->runs);
	latch_post(&leaver->started);
	if (leaver->waits)
		latch_wait(&leaver->open, 1);
	if (leaver->requeue) {
		leaver->requeue--;
		if (wq_queue(leaver->wq, work) != 1)
			leaver->refused++;
	}
	leaver->leave();
	count_up(&leaver->returned);
	pthread_cleanup_pop(0);
}

static void leaver_call_fn(void *ctx)
{
	leaver_fn(NULL, ctx);
}

static void leaver_init(struct leaver *leaver, struct wq *wq, void (*leave)(void))
{
	memset(leaver, 0, sizeof(*leaver));
	wq_work_init(&leaver->work, leaver_fn, leaver);
	latch_init(&leaver->started);
	latch_init(&leaver->open);
	leaver->wq = wq;
	leaver->leave = leave;
}

static int leaver_setup(void **state)
{
	return pthread_key_create(&leaver_key, leaver_destructor);
}

static void each_way(void (*test)(struct wq *wq, void (*leave)(void)), int max_active)
{
	unsigned long round, rounds = scaled(50);
	unsigned k, l;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (l = 0; l < ARRAY_SIZE(leaves); l++) {
			bool one = kinds[k] & (WQ_ORDERED | WQ_DEDICATED);
			struct wq *wq = wq_alloc("leave", kinds[k], one ? 1 : max_active);

			assert_non_null(wq);
			for (round = 0; round < rounds; round++)
				test(wq, leaves[l]);
			assert_int_equal(wq_destroy(wq), 0);
		}
	}
}

static void flushes(struct wq *wq, void (*leave)(void))
{
	struct leaver leaver;

	leaver_init(&leaver, wq, leave);
	assert_int_equal(wq_queue(wq, &leaver.work), 1);
	assert_true(wq_work_flush(&leaver.work) >= 0);
	assert_int_equal(wq_work_busy(&leaver.work), 0);
	assert_int_equal(wq_queue(wq, &leaver.work), 1);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(leaver.runs, 2);
	assert_int_equal(leaver.returned, 0);
	assert_int_equal(leaver.cleaned, 2);
}

static void leaving_an_item_wakes_flushers(void **state)
{
	each_way(flushes, 0);
}

static void waits_running(struct wq *wq, void (*leave)(void))
{
	struct leaver leaver;
	struct probe opener;
	unsigned i;

	/* Opened by another queue's item, so that waiting has often begun. */
	for (i = 0; i < 4; i++) {
		int ret;

		leaver_init(&leaver, wq, leave);
		leaver.waits = true;
		probe_init(&opener);
		assert_int_equal(wq_queue(wq, &leaver.work), 1);
		latch_wait(&leaver.started, 1);
		latch_post(&leaver.open);
		ret = i == 0   ? wq_work_flush(&leaver.work)
		      : i == 1 ? wq_work_cancel_sync(&leaver.work)
		      : i == 2 ? wq_work_disable_sync(&leaver.work)
			       : wq_drain(wq);
		assert_true(ret >= 0);
		assert_int_equal(wq_work_busy(&leaver.work) & ~WQ_BUSY_DISABLED, 0);
		assert_int_equal(leaver.runs, 1);
		assert_int_equal(leaver.cleaned, 1);
	}
}

static void leaving_an_item_ends_every_kind_of_wait(void **state)
{
	each_way(waits_running, 0);
}

static void goes_on(struct wq *wq, void (*leave)(void))
{
	struct leaver leavers[3];
	struct probe behind[6];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(leavers); i++)
		leaver_init(&leavers[i], wq, leave);
	leavers[0].waits = true;
	assert_int_equal(wq_queue(wq, &leavers[0].work), 1);
	latch_wait(&leavers[0].started, 1);
	for (i = 0; i < ARRAY_SIZE(behind); i++) {
		probe_init(&behind[i]);
		assert_int_equal(wq_queue(wq, &behind[i].work), 1);
		if (i == 1 || i == 3)
			assert_int_equal(wq_queue(wq, &leavers[i / 2 + 1].work), 1);
	}
	latch_post(&leavers[0].open);
	assert_int_equal(wq_flush(wq), 0);
	for (i = 0; i < ARRAY_SIZE(behind); i++)
		assert_int_equal(behind[i].runs, 1);
	for (i = 0; i < ARRAY_SIZE(leavers); i++)
		assert_int_equal(leavers[i].cleaned, 1);
}

static void leaving_an_item_lets_the_items_behind_it_run(void **state)
{
	each_way(goes_on, 0);
}

/* As above, and the slot of max_active (G8) is free again. */
static void leaving_an_item_frees_its_place(void **state)
{
	each_way(goes_on, 1);
}

static void runs_again(struct wq *wq, void (*leave)(void))
{
	struct leaver leaver;

	/* Queued by itself, several times. */
	leaver_init(&leaver, wq, leave);
	leaver.requeue = 3;
	assert_int_equal(wq_queue(wq, &leaver.work), 1);
	assert_int_equal(wq_drain(wq), 0);
	assert_int_equal(leaver.refused, 0);
	assert_int_equal(leaver.runs, 4);
	/* Queued by another thread while it runs. */
	leaver_init(&leaver, wq, leave);
	leaver.waits = true;
	assert_int_equal(wq_queue(wq, &leaver.work), 1);
	latch_wait(&leaver.started, 1);
	assert_int_equal(wq_queue(wq, &leaver.work), 1);
	latch_post(&leaver.open);
	assert_true(wq_work_flush(&leaver.work) >= 0);
	assert_int_equal(leaver.runs, 2);
	assert_int_equal(wq_work_busy(&leaver.work), 0);
}

static void leaving_an_item_that_is_queued_again_lets_it_run_again(void **state)
{
	each_way(runs_again, 0);
	each_way(runs_again, 1);
}

/* Requeued and then cancelled by another thread. */
static void cancelled_again(struct wq *wq, void (*leave)(void))
{
	struct leaver leaver;

	leaver_init(&leaver, wq, leave);
	leaver.waits = true;
	assert_int_equal(wq_queue(wq, &leaver.work), 1);
	latch_wait(&leaver.started, 1);
	assert_int_equal(wq_queue(wq, &leaver.work), 1);
	assert_int_equal(wq_work_cancel(&leaver.work), 1);
	latch_post(&leaver.open);
	assert_int_equal(wq_work_cancel_sync(&leaver.work), 0);
	assert_int_equal(leaver.runs, 1);
	assert_int_equal(leaver.cleaned, 1);
}

static void leaving_an_item_beside_its_cancelling_works(void **state)
{
	each_way(cancelled_again, 0);
}

static void closures(struct wq *wq, void (*leave)(void))
{
	struct leaver call, closed;
	struct wq_closure *closure;

	leaver_init(&call, wq, leave);
	leaver_init(&closed, wq, leave);
	assert_int_equal(wq_call(wq, leaver_call_fn, &call), 1);
	closure = wq_closure_new(leaver_call_fn, &closed, leaver_cleanup);
	assert_non_null(closure);
	assert_int_equal(wq_enqueue(wq, closure), 1);
	assert_int_equal(wq_enqueue(wq, closure), 1);
	wq_closure_put(closure);
	assert_int_equal(wq_flush(wq), 0);
	assert_int_equal(call.cleaned, 1);
	/* Two runs, and the end of the last reference. */
	assert_int_equal(closed.cleaned, 3);
}

static void leaving_a_closure_gives_its_reference_back(void **state)
{
	each_way(closures, 1);
}

static void leaving_a_function_run_on_a_cpu_ends_the_wait_for_it(void **state)
{
	struct leaver leaver;
	unsigned l;

	for (l = 0; l < ARRAY_SIZE(leaves); l++) {
		leaver_init(&leaver, NULL, leaves[l]);
		assert_int_equal(wq_run_on(usable_cpu(0), leaver_call_fn, &leaver), 0);
		assert_int_equal(leaver.cleaned, 1);
		assert_int_equal(wq_run_on_each_cpu(leaver_call_fn, &leaver), 0);
		assert_int_equal(leaver.cleaned, leaver.runs);
	}
}

/* Destructors of thread-specific data are the worker's last, and a shutdown joins it. */
static void leaving_an_item_ends_its_thread(void **state)
{
	struct leaver leaver;
	unsigned long i, nr = scaled(20);

	assert_int_equal(wq_shutdown(), 0);
	leaver_destroyed = 0;
	leaver_init(&leaver, wq_system(), leave_by_exit);
	for (i = 0; i < nr; i++) {
		assert_int_equal(wq_schedule(&leaver.work), 1);
		wq_work_flush(&leaver.work);
	}
	assert_int_equal(wq_shutdown(), 0);
	assert_int_equal(leaver.runs, nr);
	assert_int_equal(leaver_destroyed, nr);
	assert_int_equal(nr_threads_falls_to("wq/", 0), 0);
}

struct waiter {
	struct wq_work work;
	struct latch started;
	pthread_t thread;
	int pipe[2];
	unsigned long returned;
};

static void waiter_fn(struct wq_work *work, void *ctx)
{
	struct waiter *waiter = ctx;
	char c;

	waiter->thread = pthread_self();
	latch_post(&waiter->started);
	if (read(waiter->pipe[0], &c, 1) != 2)
		count_up(&waiter->returned);
}

static void cancelling_a_worker_in_its_item_ends_the_item(void **state)
{
	unsigned long round, rounds = scaled(20);
	struct waiter waiter;
	struct probe behind;
	unsigned k;

	assert_int_equal(pipe(waiter.pipe), 0);
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct wq *wq = wq_alloc("cancel", kinds[k], 1);

		for (round = 0; round < rounds; round++) {
			latch_init(&waiter.started);
			waiter.returned = 0;
			wq_work_init(&waiter.work, waiter_fn, &waiter);
			probe_init(&behind);
			assert_int_equal(wq_queue(wq, &waiter.work), 1);
			assert_int_equal(wq_queue(wq, &behind.work), 1);
			latch_wait(&waiter.started, 1);
			assert_int_equal(pthread_cancel(waiter.thread), 0);
			wq_work_flush(&waiter.work);
			assert_int_equal(waiter.returned, 0);
			assert_int_equal(wq_flush(wq), 0);
			assert_int_equal(behind.runs, 1);
		}
		assert_int_equal(wq_destroy(wq), 0);
	}
	close(waiter.pipe[0]);
	close(waiter.pipe[1]);
}

struct named {
	struct wq_work work;
	pthread_t thread;
	char name[16];
	bool leave;
};

static void named_fn(struct wq_work *work, void *ctx)
{
	struct named *named = ctx;

	named->thread = pthread_self();
	prctl(PR_GET_NAME, named->name);
	if (named->leave)
		pthread_exit(NULL);
}

static void leaving_a_dedicated_queues_thread_brings_another_of_that_name(void **state)
{
	struct wq *wq = wq_alloc("mine", WQ_DEDICATED, 0);
	struct named a = {.leave = true}, b = {.leave = false}, c = b;

	wq_work_init(&a.work, named_fn, &a);
	wq_work_init(&b.work, named_fn, &b);
	wq_work_init(&c.work, named_fn, &c);
	wq_queue(wq, &a.work);
	wq_queue(wq, &b.work);
	wq_queue(wq, &c.work);
	assert_int_equal(wq_flush(wq), 0);
	assert_string_equal(a.name, "wq/mine");
	assert_string_equal(b.name, "wq/mine");
	assert_true(pthread_equal(b.thread, c.thread));
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaving_an_item_wakes_flushers),
		cmocka_unit_test(leaving_an_item_ends_every_kind_of_wait),
		cmocka_unit_test(leaving_an_item_lets_the_items_behind_it_run),
		cmocka_unit_test(leaving_an_item_frees_its_place),
		cmocka_unit_test(leaving_an_item_that_is_queued_again_lets_it_run_again),
		cmocka_unit_test(leaving_an_item_beside_its_cancelling_works),
		cmocka_unit_test(leaving_a_closure_gives_its_reference_back),
		cmocka_unit_test(leaving_a_function_run_on_a_cpu_ends_the_wait_for_it),
		cmocka_unit_test(leaving_an_item_ends_its_thread),
		cmocka_unit_test(cancelling_a_worker_in_its_item_ends_the_item),
		cmocka_unit_test(leaving_a_dedicated_queues_thread_brings_another_of_that_name),
	};

	return cmocka_run_group_tests(tests, leaver_setup, NULL);
}
