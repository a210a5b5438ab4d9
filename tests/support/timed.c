/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the white-box tests of timers share. */
#include "timed.h"

#include <sched.h>
#include <sys/prctl.h>

#include "cpu.h"
#include "testing.h"

static struct stop *clock_stop;	    /* atomic */
static unsigned long nr_sleeps;	    /* atomic */
static __thread struct stop *stops; /* of this thread */
static __thread int is_clock;	    /* 0 not known yet, 1, or -1 */

static __thread struct {
	const char *where;
	void (*fn)(void *ctx);
	void *ctx;
} interrupt;

static cpu_set_t cpus_before;

static void timed_fn(struct wq_work *work, void *ctx)
{
	struct timed *timed = container_of(work, struct timed, dw.work);

	count_up(&timed->runs);
	timed->wq = wq_current_wq();
	latch_post(&timed->started);
	if (ctx)
		latch_wait(&timed->open, 1);
	latch_post(&timed->ended);
}

static void timed_init_ctx(struct timed *timed, void *ctx)
{
	wq_delayed_work_init(&timed->dw, timed_fn, ctx);
	latch_init(&timed->started);
	latch_init(&timed->open);
	latch_init(&timed->ended);
	timed->runs = 0;
	timed->wq = NULL;
}

void timed_init(struct timed *timed)
{
	timed_init_ctx(timed, NULL);
}

void timed_init_gate(struct timed *timed)
{
	timed_init_ctx(timed, timed);
}

static bool on_clock(void)
{
	char name[16] = "";

	if (!is_clock) {
		prctl(PR_GET_NAME, name);
		is_clock = strcmp(name, "wq/clock") ? -1 : 1;
	}
	return is_clock > 0;
}

static void timed_hook(const char *where)
{
	struct stop *stop = stops;

	if (interrupt.where && !strcmp(where, interrupt.where)) {
		interrupt.where = NULL;
		interrupt.fn(interrupt.ctx);
	}
	if (!strcmp(where, "clock sleeps"))
		count_up(&nr_sleeps);
	if (on_clock())
		stop = __atomic_load_n(&clock_stop, __ATOMIC_ACQUIRE);
	if (!stop || strcmp(where, stop->where))
		return;
	if (on_clock())
		__atomic_store_n(&clock_stop, stop->next, __ATOMIC_RELEASE);
	else
		stops = stop->next;
	latch_post(&stop->reached);
	latch_wait(&stop->go, 1);
	count_set(&stop->left, 1);
}

void stop_init(struct stop *stop, const char *where)
{
	stop->where = where;
	stop->next = NULL;
	stop->left = 0;
	latch_init(&stop->reached);
	latch_init(&stop->go);
}

void stop_wait(struct stop *stop)
{
	latch_wait(&stop->reached, 1);
}

void stop_let_go(struct stop *stop)
{
	latch_post(&stop->go);
	while (count_get(&stop->reached.count) && !count_get(&stop->left))
		sched_yield();
}

void stop_clock(struct stop *stop, const char *where)
{
	stop_init(stop, where);
	__atomic_store_n(&clock_stop, stop, __ATOMIC_RELEASE);
}

/*
 * The first wake-up may come after the clock has begun its round: then it would not sleep, but go
 * round once more.  The second comes while it is stopped, so in that round it knows.
 */
void stop_clock_asleep(struct stop *stop)
{
	struct stop first;

	stop_clock(&first, "clock sleeps");
	wqi_clock_wake();
	stop_wait(&first);
	stop_clock(stop, "clock sleeps");
	wqi_clock_wake();
	stop_let_go(&first);
	stop_wait(stop);
}

void interrupt_at(const char *where, void (*fn)(void *ctx), void *ctx)
{
	interrupt.fn = fn;
	interrupt.ctx = ctx;
	interrupt.where = where;
}

unsigned long clock_sleeps(void)
{
	return count_get(&nr_sleeps);
}

void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

void timed_begin(void)
{
	sched_getaffinity(0, sizeof(cpus_before), &cpus_before);
	/* The library starts with all CPUs. */
	assert_non_null(wq_system());
	__atomic_store_n(&wqi_test_clock_alone, true, __ATOMIC_RELEASE);
	__atomic_store_n(&wqi_test_hook, timed_hook, __ATOMIC_RELEASE);
	pin_to(usable_cpu(0));
}

void timed_end(void)
{
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	__atomic_store_n(&wqi_test_clock_alone, false, __ATOMIC_RELEASE);
	__atomic_store_n(&clock_stop, NULL, __ATOMIC_RELEASE);
	sched_setaffinity(0, sizeof(cpus_before), &cpus_before);
}

int other_cpu(void)
{
	unsigned cpu, mask = wqi_nr_shards - 1;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cpus_before) && (cpu & mask) != (wqi_cpu_current() & mask))
			return (int)cpu;
	return -1;
}

struct wqi_shard *shard_here(void)
{
	return &wqi_shards[wqi_cpu_current() & (wqi_nr_shards - 1)];
}

static void *caller_main(void *arg)
{
	struct caller *caller = arg;

	if (caller->stop.where)
		stops = &caller->stop;
	caller->ret = caller->call(caller);
	return NULL;
}

void caller_start(struct caller *caller, int (*call)(struct caller *), const char *where)
{
	struct stop *next = caller->stop.next;

	caller->call = call;
	stop_init(&caller->stop, where);
	caller->stop.next = next;
	assert_int_equal(pthread_create(&caller->thread, NULL, caller_main, caller), 0);
	if (where)
		stop_wait(&caller->stop);
}

int caller_finish(struct caller *caller)
{
	stop_let_go(&caller->stop);
	pthread_join(caller->thread, NULL);
	return caller->ret;
}

int call_arm(struct caller *self)
{
	return wq_queue_delayed(self->wq, &self->timed->dw, self->delay_ns);
}

int call_mod(struct caller *self)
{
	return wq_mod_delayed(self->wq, &self->timed->dw, self->delay_ns);
}

int call_flush(struct caller *self)
{
	return wq_delayed_work_flush(&self->timed->dw);
}

int call_cancel(struct caller *self)
{
	return wq_delayed_work_cancel(&self->timed->dw);
}

int call_cancel_sync(struct caller *self)
{
	return wq_delayed_work_cancel_sync(&self->timed->dw);
}

int call_destroy(struct caller *self)
{
	return wq_destroy(self->wq);
}

int call_drain(struct caller *self)
{
	return wq_drain(self->wq);
}

int call_unplug(struct caller *self)
{
	return wq_unplug(self->wq);
}

int call_thaw(struct caller *self)
{
	return wq_thaw_all();
}
