/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of interleavings share. */
#include "stops.h"

#include <sched.h>

#include "clock.h"
#include "testing.h"

static struct stop {
	const char *where;
	bool armed;
	struct latch reached, go;
	unsigned long left; /* the thread does not touch it any more */
} stops[NR_STOPS];

static struct {
	const char *where;
	bool armed;
	void (*fn)(void);
} call;

static struct caller {
	pthread_t thread;
	int (*fn)(void);
	int ret;
} callers[NR_CALLERS];

static pthread_t main_thread;

static void hook(const char *where)
{
	bool on_main =
		pthread_equal(pthread_self(), __atomic_load_n(&main_thread, __ATOMIC_RELAXED));
	unsigned i;

	if (count_get(&call.armed) && !strcmp(where, count_get(&call.where)) &&
	    __atomic_exchange_n(&call.armed, false, __ATOMIC_SEQ_CST))
		count_get (&call.fn)();
	for (i = 0; i < NR_STOPS; i++) {
		if (!count_get(&stops[i].armed) || on_main ||
		    strcmp(where, count_get(&stops[i].where)))
			continue;
		if (!__atomic_exchange_n(&stops[i].armed, false, __ATOMIC_SEQ_CST))
			continue;
		latch_post(&stops[i].reached);
		latch_wait(&stops[i].go, 1);
		count_set(&stops[i].left, 1);
	}
}

void stop_at(unsigned i, const char *where)
{
	count_set(&stops[i].where, where);
	latch_init(&stops[i].reached);
	latch_init(&stops[i].go);
	stops[i].left = 0;
	count_set(&stops[i].armed, true);
}

void stop_reached(unsigned i)
{
	latch_wait(&stops[i].reached, 1);
}

bool stop_is_reached(unsigned i)
{
	return latch_count(&stops[i].reached) > 0;
}

void let_go(unsigned i)
{
	latch_post(&stops[i].go);
	while (count_get(&stops[i].reached.count) && !count_get(&stops[i].left))
		sched_yield();
}

void call_at(const char *where, void (*fn)(void))
{
	count_set(&call.where, where);
	count_set(&call.fn, fn);
	count_set(&call.armed, true);
}

void stops_begin(void)
{
	__atomic_store_n(&main_thread, pthread_self(), __ATOMIC_RELAXED);
	__atomic_store_n(&wqi_test_clock_alone, true, __ATOMIC_RELEASE);
	__atomic_store_n(&wqi_test_hook, hook, __ATOMIC_RELEASE);
}

void stops_end(void)
{
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	__atomic_store_n(&wqi_test_clock_alone, false, __ATOMIC_RELEASE);
}

static void *caller_main(void *arg)
{
	struct caller *caller = arg;

	caller->ret = caller->fn();
	return NULL;
}

void begin(unsigned i, int (*fn)(void))
{
	callers[i].fn = fn;
	assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_main, &callers[i]), 0);
}

int end(unsigned i)
{
	pthread_join(callers[i].thread, NULL);
	return callers[i].ret;
}
