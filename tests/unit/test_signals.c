/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* G15: signal handlers that use the library at any moment of its own calls, 20,000 times a second.
 */
#include "process.h"

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define NR_ITEMS    8
#define NR_QUEUES   5
#define NR_VICTIMS  3
#define INTERVAL_NS 50000

struct sig_item {
	struct wq_work work;
	unsigned long accepted, cancelled, ran;
};

/* Beside the items that all may queue: one of the handlers', one of the main thread's. */
enum { ITEM_SWITCHED = NR_ITEMS, ITEM_OWN, NR_ALL_ITEMS };

static struct sig_item items[NR_ALL_ITEMS];
static struct wq *queues[NR_QUEUES];
static int cpus[2];
static unsigned long wrong, errno_changed, allocations, called, calls, stop;

/* Who is interrupted: the main thread, one beside it, and one that never calls the library. */
struct victim {
	timer_t timer;
	uint64_t rng;
	unsigned long handled;
	bool on;
};

static struct victim victims[NR_VICTIMS];
static __thread struct victim *victim_self;
static __thread volatile sig_atomic_t in_handler;

/* --- No allocation in a handler --- */

#if !TEST_ASAN && !TEST_TSAN
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t nr, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void __libc_free(void *p);

static void count_allocation(void)
{
	if (in_handler)
		count_up(&allocations);
}

void *malloc(size_t bytes)
{
	count_allocation();
	return __libc_malloc(bytes);
}

void *calloc(size_t nr, size_t bytes)
{
	count_allocation();
	return __libc_calloc(nr, bytes);
}

void *realloc(void *p, size_t bytes)
{
	count_allocation();
	return __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
	count_allocation();
	return __libc_memalign(align, bytes);
}

void free(void *p)
{
	count_allocation();
	__libc_free(p);
}
#endif

/* --- Steps that both handlers and threads take --- */

static void expect(bool right)
{
	if (!right)
		count_up(&wrong);
}

static void sig_fn(struct wq_work *work, void *ctx)
{
	struct sig_item *item = ctx;

	/*
	 * Every eighth run queues itself once more.  Not the main thread's own item, or
	 * the 1 of wq_enable_and_queue() might be for a run that is counted already.
	 */
	if (count_up(&item->ran) % 8 == 0 && item != &items[ITEM_OWN] &&
	    wq_queue(wq_current_wq(), work) == 1)
		count_up(&item->accepted);
}

static void sig_accepted(struct sig_item *item, int ret)
{
	if (ret == 1)
		count_up(&item->accepted);
	expect(ret == 1 || ret == 0 || ret == -EBUSY || ret == -ESHUTDOWN);
}

static void sig_cancelled(struct sig_item *item, int ret)
{
	if (ret == 1)
		count_up(&item->cancelled);
	expect(ret == 1 || ret == 0);
}

static void sig_handler_step(uint64_t r)
{
	struct wq *wq = queues[(r >> 8) % NR_QUEUES];
	struct sig_item *item = &items[(r >> 16) % NR_ITEMS];
	struct sig_item *switched = &items[ITEM_SWITCHED];

	switch (r % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		sig_cancelled(item, wq_work_cancel(&item->work));
		break;
	case 4:
		expect(!(wq_work_busy(&item->work) & WQ_BUSY_DISABLED));
		break;
	case 5:
		wq_work_pending(&item->work);
		break;
	case 6:
		sig_accepted(switched, wq_queue(wq, &switched->work));
		break;
	case 7:
		sig_cancelled(switched, wq_work_disable(&switched->work));
		expect(wq_work_busy(&switched->work) & WQ_BUSY_DISABLED);
		expect(wq_queue(wq, &switched->work) == -EBUSY);
		expect(wq_work_enable(&switched->work) >= 0);
		break;
	case 8:
		sig_cancelled(&items[ITEM_OWN], wq_work_cancel(&items[ITEM_OWN].work));
		break;
	case 9:
	case 10:
	case 11:
		sig_accepted(item, wq_queue_on(wq, &item->work, cpus[r >> 32 & 1]));
		break;
	default:
		sig_accepted(item, wq_queue(wq, &item->work));
		break;
	}
}

static void victim_arm(struct victim *victim)
{
	struct itimerspec in = {.it_value.tv_nsec = INTERVAL_NS};

	timer_settime(victim->timer, 0, &in, NULL);
}

/* The timer is set anew at the end, so that what is interrupted gets on, however slow the checker.
 */
static void sig_handler(int sig)
{
	struct victim *victim = victim_self;
	int before = errno;
	unsigned n;

	if (!victim)
		return;
	in_handler = 1;
	for (n = 0; n < 2; n++) {
		errno = 12345;
		sig_handler_step(random_next(&victim->rng));
		if (errno != 12345)
			count_up(&errno_changed);
	}
	in_handler = 0;
	count_up(&victim->handled);
	if (count_get(&victim->on))
		victim_arm(victim);
	errno = before;
}

static void victim_begin(unsigned index)
{
	struct victim *victim = &victims[index];
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	sigset_t set;

	event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	victim->rng = test_seed() + index;
	count_set(&victim->on, true);
	victim_self = victim;
	expect(!timer_create(CLOCK_MONOTONIC, &event, &victim->timer));
	victim_arm(victim);
}

static void victim_end(void)
{
	struct victim *victim = victim_self;

	count_set(&victim->on, false);
	timer_delete(victim->timer);
	victim_self = NULL;
}

/* --- What is interrupted --- */

static void sig_call_fn(void *ctx)
{
	count_up(&called);
}

static void sig_nothing(void *ctx)
{
}

static void step_call(struct wq *wq)
{
	int ret = wq_call(wq, sig_call_fn, NULL);

	if (ret == 1)
		count_up(&calls);
	expect(ret == 1 || ret == -ESHUTDOWN);
}

static void step_enqueue(struct wq *wq)
{
	struct wq_closure *closure = wq_closure_new(sig_call_fn, NULL, NULL);
	int ret = wq_enqueue(wq, closure);

	if (ret == 1)
		count_up(&calls);
	expect(ret == 1 || ret == -ESHUTDOWN);
	wq_closure_put(closure);
}

static void step_whole_life(uint64_t r)
{
	static const unsigned flags[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_HIGHPRI, WQ_DEDICATED};
	struct wq *wq = wq_alloc("life", flags[r % ARRAY_SIZE(flags)], 0);
	struct probe probe;

	probe_init(&probe);
	expect(wq && wq_queue(wq, &probe.work) == 1);
	expect(wq_destroy(wq) == 0);
	expect(probe.runs == 1);
}

/* By any thread. */
static void sig_thread_step(uint64_t r)
{
	struct wq *wq = queues[(r >> 8) % NR_QUEUES];
	struct sig_item *item = &items[(r >> 16) % NR_ITEMS];

	switch (r % 13) {
	case 0:
	case 1:
	case 2:
		sig_accepted(item, wq_queue(wq, &item->work));
		break;
	case 3:
		sig_accepted(item, wq_queue_on(wq, &item->work, cpus[r >> 32 & 1]));
		break;
	case 4:
		sig_accepted(item, wq_queue_node(wq, &item->work, 0));
		break;
	case 5:
		sig_cancelled(item, wq_work_cancel(&item->work));
		break;
	case 6:
		sig_cancelled(item, wq_work_cancel_sync(&item->work));
		break;
	case 7:
		expect(wq_work_flush(&item->work) >= 0);
		break;
	case 8:
		expect(wq_flush(wq) == 0);
		break;
	case 9:
		step_call(wq);
		break;
	case 10:
		step_enqueue(wq);
		break;
	case 11:
		wq_congested(wq);
		break;
	case 12:
		sig_accepted(item, wq_schedule(&item->work));
		break;
	}
}

static void step_disable(struct wq *wq, struct sig_item *own, bool sync)
{
	int ret;

	sig_accepted(own, wq_queue(wq, &own->work));
	sig_cancelled(own, sync ? wq_work_disable_sync(&own->work) : wq_work_disable(&own->work));
	expect(wq_queue(wq, &own->work) == -EBUSY);
	ret = wq_enable_and_queue(wq, &own->work);
	if (ret == 1)
		count_up(&own->accepted);
	expect(ret == 1 || ret == -EBUSY);
}

/* By the main thread only: what is begun here is ended here. */
static void sig_main_step(uint64_t r)
{
	struct wq *wq = queues[(r >> 8) % NR_QUEUES];
	struct sig_item *item = &items[(r >> 16) % NR_ITEMS];

	switch (r >> 40 & 15) {
	case 0:
		expect(wq_plug(wq) == 0);
		expect(wq_unplug(wq) == 0);
		break;
	case 1:
		expect(wq_freeze_all() == 0);
		sig_accepted(item, wq_queue(queues[3], &item->work));
		expect(wq_freeze_busy() >= 0);
		expect(wq_thaw_all() == 0);
		break;
	case 2:
	case 3:
		step_disable(wq, &items[ITEM_OWN], r & 1);
		break;
	case 4:
		step_whole_life(r >> 16);
		break;
	case 5:
		expect(wq_set_max_active(queues[r & 1], 1 + (int)(r >> 16 & 3)) == 0);
		break;
	case 6:
		expect(wq_drain(wq) == 0);
		break;
	case 7:
		expect(wq_run_on_each_cpu(sig_nothing, NULL) == 0);
		expect(wq_run_on(cpus[0], sig_nothing, NULL) == 0);
		break;
	default:
		sig_thread_step(r);
		break;
	}
}

static void *beside_thread(void *ctx)
{
	uint64_t rng = test_seed() + 100;

	victim_begin(1);
	while (!count_get(&stop))
		sig_thread_step(random_next(&rng));
	victim_end();
	return NULL;
}

static void *stranger_thread(void *ctx)
{
	struct timespec ms = {.tv_nsec = 1000000};

	victim_begin(2);
	while (!count_get(&stop))
		nanosleep(&ms, NULL);
	victim_end();
	return NULL;
}

/* --- The tests --- */

static void sig_begin(void)
{
	static const unsigned flags[NR_QUEUES] = {0, WQ_PERCPU, WQ_ORDERED, WQ_FREEZABLE,
						  WQ_DEDICATED};
	struct sigaction action = {.sa_handler = sig_handler, .sa_flags = SA_RESTART};
	unsigned i;

	for (i = 0; i < NR_QUEUES; i++) {
		queues[i] = wq_alloc("signals", flags[i], 0);
		assert_non_null(queues[i]);
	}
	assert_non_null(wq_system());
	for (i = 0; i < NR_ALL_ITEMS; i++)
		wq_work_init(&items[i].work, sig_fn, &items[i]);
	for (i = 0; i < ARRAY_SIZE(cpus); i++)
		cpus[i] = usable_cpu(i) < 0 ? usable_cpu(0) : usable_cpu(i);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	test_seed();
}

static void sig_end(void)
{
	unsigned i;

	for (i = 0; i < NR_ALL_ITEMS; i++)
		wq_work_flush(&items[i].work);
	for (i = 0; i < NR_QUEUES; i++)
		assert_int_equal(wq_destroy(queues[i]), 0);
	for (i = 0; i < NR_ALL_ITEMS; i++) {
		assert_int_equal(wq_work_busy(&items[i].work), 0);
		if (items[i].accepted != items[i].ran + items[i].cancelled)
			fail_msg("item %u: accepted %lu, ran %lu, cancelled %lu", i,
				 items[i].accepted, items[i].ran, items[i].cancelled);
	}
	assert_int_equal(calls, called);
	assert_int_equal(wrong, 0);
	assert_int_equal(errno_changed, 0);
	assert_int_equal(allocations, 0);
	assert_int_equal(wq_shutdown(), 0);
}

static void g15_handlers_use_the_library_that_they_interrupt(void **state)
{
	unsigned long n, nr = scaled(20000);
	struct timespec ms = {.tv_nsec = 1000000};
	pthread_t beside, stranger;
	uint64_t rng;
	unsigned i;

	sig_begin();
	rng = test_seed() + 200;
	assert_int_equal(pthread_create(&beside, NULL, beside_thread, NULL), 0);
	assert_int_equal(pthread_create(&stranger, NULL, stranger_thread, NULL), 0);
	victim_begin(0);
	for (n = 0; n < nr; n++)
		sig_main_step(random_next(&rng));
	/* A signal that ThreadSanitizer puts off may get lost. */
	for (i = 0; i < NR_VICTIMS; i++) {
		while (!count_get(&victims[i].handled)) {
			victim_arm(&victims[i]);
			nanosleep(&ms, NULL);
		}
	}
	victim_end();
	count_set(&stop, 1);
	pthread_join(beside, NULL);
	pthread_join(stranger, NULL);
	print_message("handled %lu, %lu and %lu signals in %lu steps\n", victims[0].handled,
		      victims[1].handled, victims[2].handled, nr);
	sig_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(g15_handlers_use_the_library_that_they_interrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
