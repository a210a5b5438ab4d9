/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trigger items and fork(): the child has its own poller, and the parent notices nothing. */
#include "events.h"

#include <fcntl.h>
#include <sys/wait.h>

static struct wq *wq;

static int setup(void **state)
{
	wq = wq_alloc("fork", 0, 0);
	return !wq;
}

static int teardown(void **state)
{
	return wq_destroy(wq);
}

/* Armed in the parent: one that waits for ever, one for an hour, one on a plugged queue. */
struct scene {
	struct waiter forever, hour, parked, witness;
	struct wq *plugged;
	struct ends ends, other;
};

static void scene_begin(struct scene *scene)
{
	waiter_init(&scene->forever);
	waiter_init(&scene->hour);
	waiter_init(&scene->parked);
	waiter_init(&scene->witness);
	ends_open(&scene->ends);
	ends_open(&scene->other);
	scene->plugged = wq_alloc("plugged", 0, 0);
	assert_int_equal(waiter_arm(scene->plugged, &scene->parked, scene->other.in, EPOLLIN,
				    WQ_FOREVER),
			 1);
	assert_int_equal(wq_plug(scene->plugged), 0);
	assert_int_equal(waiter_arm(wq, &scene->witness, scene->other.in, EPOLLIN, WQ_FOREVER), 1);
	byte_write(scene->other.out);
	waiter_wait(&scene->witness, 1);
	assert_int_equal(waiter_arm(wq, &scene->forever, scene->ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(waiter_arm(wq, &scene->hour, scene->ends.in, EPOLLIN, 3600 * 1000 * MS),
			 1);
}

/* In the parent all is as it was. */
static void scene_end(struct scene *scene)
{
	assert_int_equal(wq_trigger_work_busy(&scene->forever.tw), WQ_BUSY_DELAYED);
	assert_int_equal(wq_trigger_work_busy(&scene->hour.tw), WQ_BUSY_DELAYED);
	assert_int_equal(wq_trigger_work_busy(&scene->parked.tw), WQ_BUSY_DELAYED);
	byte_write(scene->ends.out);
	waiter_wait(&scene->forever, 1);
	waiter_wait(&scene->hour, 1);
	assert_int_equal(scene->forever.ev[0].revents, EPOLLIN);
	assert_int_equal(scene->hour.ev[0].revents, EPOLLIN);
	assert_int_equal(wq_unplug(scene->plugged), 0);
	waiter_wait(&scene->parked, 1);
	assert_int_equal(scene->parked.ev[0].revents, EPOLLIN);
	assert_true(trigger_works(wq));
	assert_int_equal(wq_destroy(scene->plugged), 0);
	ends_close(&scene->ends);
	ends_close(&scene->other);
}

/* In a child, made new, it gets an event of its own. */
static void works_anew(struct waiter *waiter, struct ends *ends)
{
	latch_init(&waiter->ran);
	waiter->runs = 0;
	CHECK_EQUAL(waiter_arm(wq, waiter, ends->in, EPOLLIN, WQ_FOREVER), 1);
	CHECK_EQUAL(wq_trigger_work_busy(&waiter->tw), WQ_BUSY_DELAYED);
	byte_write(ends->out);
	waiter_wait(waiter, 1);
	CHECK_EQUAL(waiter->tw.result, 0);
	CHECK_EQUAL(waiter->ev[0].revents, EPOLLIN);
}

static void idle_child(void *ctx)
{
	struct scene *scene = ctx;
	struct waiter *all[] = {&scene->forever, &scene->hour, &scene->parked};
	struct ends ends;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		CHECK_EQUAL(wq_trigger_work_busy(&all[i]->tw), 0);
		CHECK(!wq_trigger_work_pending(&all[i]->tw));
		CHECK_EQUAL(wq_trigger_work_cancel(&all[i]->tw), 0);
		CHECK_EQUAL(wq_trigger_work_cancel_sync(&all[i]->tw), 0);
		CHECK_EQUAL(wq_trigger_work_flush(&all[i]->tw), 0);
	}
	/* A pipe of the child's own: the parent shall not see what is written. */
	ends_open(&ends);
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		works_anew(all[i], &ends);
		byte_read(ends.in);
	}
	CHECK_EQUAL(wq_destroy(scene->plugged), 0);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
	CHECK_EQUAL(own_fds_find(3).epoll, -1);
	CHECK_EQUAL(own_fds_find(3).end, -1);
}

static void trigger_items_are_idle_in_the_child_and_untouched_in_the_parent(void **state)
{
	struct scene scene;

	skip_if_checker_hangs_children();
	scene_begin(&scene);
	assert_int_equal(in_child(idle_child, &scene), 0);
	scene_end(&scene);
}

/* The child waits for the parent's descriptors, then ends in one way or another. */
static void sharing_child(void *ctx)
{
	struct scene *scene = ctx;
	struct waiter waiter[2];
	unsigned i;

	for (i = 0; i < 2; i++) {
		waiter_init(&waiter[i]);
		CHECK_EQUAL(waiter_arm(wq, &waiter[i], scene->ends.in, EPOLLIN | EPOLLPRI,
				       WQ_FOREVER),
			    1);
	}
	CHECK_EQUAL(wq_trigger_work_cancel_sync(&waiter[0].tw), 1);
	CHECK_EQUAL(waiter_arm(wq, &waiter[0], scene->other.in, EPOLLIN, WQ_FOREVER), 1);
	waiter_wait(&waiter[0], 1);
	CHECK_EQUAL(waiter[0].ev[0].revents, EPOLLIN);
	/* The other stays armed, and the process ends. */
}

static void closing_child(void *ctx)
{
	struct scene *scene = ctx;

	ends_close(&scene->ends);
	ends_close(&scene->other);
	CHECK(trigger_works(wq));
}

static void unused_child(void *ctx)
{
}

static void trigger_parent_is_not_harmed_by_its_children(void **state)
{
	static void (*const children[])(void *ctx) = {sharing_child, closing_child, unused_child};
	struct scene scene;
	unsigned i;

	skip_if_checker_hangs_children();
	for (i = 0; i < ARRAY_SIZE(children); i++) {
		scene_begin(&scene);
		assert_int_equal(in_child(children[i], &scene), 0);
		scene_end(&scene);
	}
}

static unsigned nr_before;

static void descriptors_child(void *ctx)
{
	/* The copies go at the first use, and are no more than the child's own then. */
	CHECK_EQUAL(nr_descriptors(), nr_before);
	CHECK(trigger_works(wq));
	CHECK_EQUAL(nr_descriptors(), nr_before);
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_descriptors(), nr_before - 2);
}

static void trigger_child_has_no_descriptor_left_over(void **state)
{
	skip_if_checker_has_descriptors();
	skip_if_checker_hangs_children();
	assert_true(trigger_works(wq));
	nr_before = nr_descriptors();
	assert_int_equal(in_child(descriptors_child, NULL), 0);
	assert_true(trigger_works(wq));
	assert_int_equal(nr_descriptors(), nr_before);
}

/* Copies that the child has closed and used for something else are not the library's. */
static void taken_copies_child(void *ctx)
{
	struct own_fds own = own_fds_find(3);
	struct ends ends;

	ends_open(&ends);
	CHECK_EQUAL(dup2(ends.in, own.end), own.end);
	CHECK(trigger_works(wq));
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	byte_write(ends.out);
	byte_read(own.end);
	CHECK_EQUAL(fcntl(own.epoll, F_GETFD), -1);
}

static void trigger_child_that_took_a_number_keeps_it(void **state)
{
	skip_if_checker_hangs_children();
	assert_true(trigger_works(wq));
	assert_int_equal(in_child(taken_copies_child, NULL), 0);
	assert_true(trigger_works(wq));
}

/* --- from inside an item --- */

struct forker {
	struct wq_trigger_work tw;
	struct wq_event ev;
	struct latch ran;
	pid_t pid;
};

static void forker_fn(struct wq_work *work, void *ctx)
{
	struct forker *forker = ctx;

	forker->pid = fork();
	if (!forker->pid) {
		watchdog();
		CHECK_EQUAL(forker->tw.result, 0);
		CHECK_EQUAL(forker->ev.revents, EPOLLIN);
		CHECK_EQUAL(wq_trigger_work_busy(work ? &forker->tw : NULL), 0);
		CHECK(trigger_works(wq));
		CHECK_EQUAL(wq_destroy(wq), 0);
		_exit(5);
	}
	latch_post(&forker->ran);
}

static void trigger_item_that_forks_goes_on_in_the_child(void **state)
{
	struct forker forker = {.ev.events = EPOLLIN};
	struct ends ends;

	skip_if_checker_hangs_children();
	ends_open(&ends);
	wq_trigger_work_init(&forker.tw, forker_fn, &forker);
	latch_init(&forker.ran);
	forker.ev.fd = ends.in;
	assert_int_equal(wq_queue_trigger(wq, &forker.tw, &forker.ev, 1, WQ_FOREVER), 1);
	byte_write(ends.out);
	latch_wait(&forker.ran, 1);
	assert_int_equal(child_status(forker.pid), 5);
	assert_true(trigger_works(wq));
	wq_flush(wq);
	ends_close(&ends);
}

/* --- while others arm --- */

struct load {
	struct wq *wq;
	bool stop;
	unsigned long wrong;
};

static void load_thread(void *ctx, unsigned index)
{
	struct load *load = ctx;
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open(&ends);
	while (!count_get(&load->stop)) {
		if (waiter_arm(load->wq, &waiter, ends.in, EPOLLIN, index ? WQ_FOREVER : 1000) < 0)
			count_up(&load->wrong);
		if (index & 1 && wq_trigger_work_cancel(&waiter.tw) < 0)
			count_up(&load->wrong);
	}
	wq_trigger_work_cancel_sync(&waiter.tw);
	ends_close(&ends);
}

static void *load_main(void *arg)
{
	run_threads(3, load_thread, arg);
	return NULL;
}

static void load_child(void *ctx)
{
	CHECK(trigger_works(wq));
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

static void trigger_fork_at_any_instant_of_arming_leaves_both_working(void **state)
{
	unsigned long i, rounds = scaled(100);
	struct load load = {.wq = wq};
	pthread_t thread;

	skip_if_checker_hangs_children();
	skip_if_checker_is_slow();
	assert_int_equal(pthread_create(&thread, NULL, load_main, &load), 0);
	for (i = 0; i < rounds; i++)
		assert_int_equal(in_child(load_child, NULL), 0);
	count_set(&load.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(load.wrong, 0);
	assert_true(trigger_works(wq));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trigger_items_are_idle_in_the_child_and_untouched_in_the_parent),
		cmocka_unit_test(trigger_parent_is_not_harmed_by_its_children),
		cmocka_unit_test(trigger_child_has_no_descriptor_left_over),
		cmocka_unit_test(trigger_child_that_took_a_number_keeps_it),
		cmocka_unit_test(trigger_item_that_forks_goes_on_in_the_child),
		cmocka_unit_test(trigger_fork_at_any_instant_of_arming_leaves_both_working),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
