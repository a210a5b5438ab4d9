/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libwq beside an application that uses three flavours of liburcu, with their fork handlers. */
#define URCU_NO_COMPAT_IDENTIFIERS
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>
#include <urcu/urcu-bp.h>

#include "process.h"

#include <sched.h>

/* <urcu/call-rcu.h> declares these for the flavour that is included first only. */
#define DECLARE_CALL_RCU(flavor)                                                                   \
	void urcu_##flavor##_call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head * head));  \
	void urcu_##flavor##_barrier(void);                                                        \
	void urcu_##flavor##_call_rcu_before_fork(void);                                           \
	void urcu_##flavor##_call_rcu_after_fork_parent(void);                                     \
	void urcu_##flavor##_call_rcu_after_fork_child(void)
DECLARE_CALL_RCU(memb);
DECLARE_CALL_RCU(qsbr);
DECLARE_CALL_RCU(bp);

#define NR_FLAVORS 3
#define NR_ITEMS   6
#define GOOD	   0x600d
#define FREED	   0xdead

struct object {
	struct rcu_head head;
	unsigned magic;
};

/* The calls of a flavour; its registration is nothing for bp. */
static const struct flavor {
	void (*enlist)(void);
	void (*delist)(void);
	void (*read_lock)(void);
	void (*read_unlock)(void);
	void (*synchronize)(void);
	void (*barrier)(void);
	void (*call)(struct rcu_head *head, void (*fn)(struct rcu_head *head));
} flavors[NR_FLAVORS] = {
	{urcu_memb_register_thread, urcu_memb_unregister_thread, urcu_memb_read_lock,
	 urcu_memb_read_unlock, urcu_memb_synchronize_rcu, urcu_memb_barrier, urcu_memb_call_rcu},
	{urcu_qsbr_register_thread, urcu_qsbr_unregister_thread, urcu_qsbr_read_lock,
	 urcu_qsbr_read_unlock, urcu_qsbr_synchronize_rcu, urcu_qsbr_barrier, urcu_qsbr_call_rcu},
	{urcu_bp_register_thread, urcu_bp_unregister_thread, urcu_bp_read_lock, urcu_bp_read_unlock,
	 urcu_bp_synchronize_rcu, urcu_bp_barrier, urcu_bp_call_rcu},
};

static struct object *shared[NR_FLAVORS];
static unsigned long bad_reads, reads, freed, made;

/*
 * memb and qsbr want nobody to be registered, or in a grace period, at a fork: who
 * is holds this meanwhile.
 */
static pthread_rwlock_t registered = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static void before_fork(void)
{
	pthread_rwlock_wrlock(&registered);
	urcu_memb_call_rcu_before_fork();
	urcu_qsbr_call_rcu_before_fork();
	urcu_bp_call_rcu_before_fork();
	urcu_bp_before_fork();
}

static void after_fork_parent(void)
{
	urcu_bp_after_fork_parent();
	urcu_bp_call_rcu_after_fork_parent();
	urcu_qsbr_call_rcu_after_fork_parent();
	urcu_memb_call_rcu_after_fork_parent();
	pthread_rwlock_unlock(&registered);
}

static void after_fork_child(void)
{
	urcu_bp_after_fork_child();
	urcu_bp_call_rcu_after_fork_child();
	urcu_qsbr_call_rcu_after_fork_child();
	urcu_memb_call_rcu_after_fork_child();
	registered = (pthread_rwlock_t)PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
}

static void object_free(struct rcu_head *head)
{
	struct object *object = container_of(head, struct object, head);

	object->magic = FREED;
	free(object);
	count_up(&freed);
}

static void read_shared(unsigned f)
{
	const struct flavor *flavor = &flavors[f];
	struct object *object;

	pthread_rwlock_rdlock(&registered);
	flavor->enlist();
	flavor->read_lock();
	object = rcu_dereference(shared[f]);
	if (object && object->magic != GOOD)
		count_up(&bad_reads);
	flavor->read_unlock();
	flavor->delist();
	pthread_rwlock_unlock(&registered);
	count_up(&reads);
}

/* By one thread at a time. */
static void replace_shared(unsigned f, bool wait)
{
	struct object *object = malloc(sizeof(*object)), *old;

	if (!object)
		return;
	object->magic = GOOD;
	old = rcu_xchg_pointer(&shared[f], object);
	pthread_rwlock_rdlock(&registered);
	if (old && wait) {
		flavors[f].synchronize();
		object_free(&old->head);
	} else if (old) {
		/* call_rcu() wants its caller registered. */
		flavors[f].enlist();
		flavors[f].call(&old->head, object_free);
		flavors[f].delist();
	}
	pthread_rwlock_unlock(&registered);
	count_up(&made);
}

struct reading {
	struct wq_work work;
	struct wq *wq;
	unsigned long left, ran;
};

static void reading_fn(struct wq_work *work, void *ctx)
{
	struct reading *reading = ctx;

	read_shared((unsigned)(count_up(&reading->ran) % NR_FLAVORS));
	if (count_get(&reading->left) && count_add(&reading->left, -1ul))
		wq_queue(reading->wq, work);
}

struct app {
	struct wq *queues[2];
	struct reading items[NR_ITEMS];
	unsigned long stop, rounds;
};

static void *app_writer(void *ctx)
{
	struct app *app = ctx;

	while (!count_get(&app->stop)) {
		unsigned long round = count_up(&app->rounds);

		replace_shared(round % NR_FLAVORS, round % 16 < NR_FLAVORS);
		if (round % 8 == 0)
			sched_yield();
	}
	return NULL;
}

static void app_child(void *ctx)
{
	struct app *app = ctx;
	struct wq *wq;
	struct probe probe;
	unsigned i;

	count_set(&bad_reads, 0);
	probe_init(&probe);
	for (i = 0; i < ARRAY_SIZE(app->queues); i++)
		probe_runs(app->queues[i], &probe);
	for (i = 0; i < NR_ITEMS; i++) {
		count_set(&app->items[i].left, 20);
		CHECK_EQUAL(wq_queue(app->items[i].wq, &app->items[i].work), 1);
	}
	for (i = 0; i < 2 * NR_FLAVORS; i++) {
		replace_shared(i % NR_FLAVORS, i < NR_FLAVORS);
		read_shared(i % NR_FLAVORS);
	}
	wq = wq_alloc("child", 0, 0);
	CHECK(wq);
	probe_runs(wq, &probe);
	CHECK_EQUAL(wq_destroy(wq), 0);
	for (i = 0; i < ARRAY_SIZE(app->queues); i++)
		CHECK_EQUAL(wq_destroy(app->queues[i]), 0);
	for (i = 0; i < NR_FLAVORS; i++)
		flavors[i].barrier();
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(bad_reads, 0);
}

static void app_forking_fn(struct wq_work *work, void *ctx)
{
	struct app *app = ctx;
	int status = in_child(app_child, app);

	count_set(&app->stop, status ? 2 : 0);
}

static void app_fork_in_a_loop(struct app *app, unsigned long nr)
{
	struct wq_work forking = WQ_WORK_INIT(app_forking_fn, app);
	unsigned long n;

	for (n = 0; n < nr; n++) {
		unsigned long before = count_get(&app->rounds), i;

		for (i = 0; i < NR_ITEMS; i++) {
			count_set(&app->items[i].left, 100);
			wq_queue(app->items[i].wq, &app->items[i].work);
		}
		if (n % 4 == 3) {
			assert_int_equal(wq_schedule(&forking), 1);
			wq_work_flush(&forking);
			assert_int_equal(count_get(&app->stop), 0);
		} else {
			assert_int_equal(in_child(app_child, app), 0);
		}
		while (count_get(&app->rounds) == before)
			sched_yield();
	}
}

static void fork_beside_liburcu_leaves_both_working(void **state)
{
	struct app app = {.stop = 0};
	pthread_t writer;
	unsigned i;

	skip_if_checker_hangs_children();
	app.queues[0] = wq_alloc("a", 0, 0);
	app.queues[1] = wq_alloc("b", WQ_PERCPU, 0);
	for (i = 0; i < NR_ITEMS; i++) {
		app.items[i].wq = app.queues[i % 2];
		wq_work_init(&app.items[i].work, reading_fn, &app.items[i]);
	}
	for (i = 0; i < NR_FLAVORS; i++)
		replace_shared(i, false);
	assert_int_equal(pthread_create(&writer, NULL, app_writer, &app), 0);
	app_fork_in_a_loop(&app, scaled(60));
	count_set(&app.stop, 1);
	pthread_join(writer, NULL);
	for (i = 0; i < ARRAY_SIZE(app.queues); i++)
		assert_int_equal(wq_destroy(app.queues[i]), 0);
	for (i = 0; i < NR_FLAVORS; i++)
		flavors[i].barrier();
	assert_int_equal(bad_reads, 0);
	assert_true(reads > 0);
	assert_int_equal(freed, made - NR_FLAVORS);
	assert_int_equal(wq_shutdown(), 0);
}

/* Who registers first has its prepare handler called last, and its child handler first. */
static int handlers_before_the_library(void **state)
{
	return pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork_beside_liburcu_leaves_both_working),
	};

	return cmocka_run_group_tests(tests, handlers_before_the_library, NULL);
}
