/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The set of timers. */
#include "timers.h"

#include <stdlib.h>

struct bench_timers bench_timers;

static void *timer_at(uint64_t i)
{
	return bench_timers.timers + i * bench_timers.ops->bytes;
}

void bench_timer_fired(void *timer)
{
	struct bench_timers *t = &bench_timers;
	uint64_t nr = t->nr; /* after the count they may be others */

	if (t->fired_at_ns)
		t->fired_at_ns[(uint64_t)((char *)timer - t->timers) / t->ops->bytes] = bench_now();
	if (__atomic_add_fetch(&t->nr_fired, 1, __ATOMIC_ACQ_REL) == nr)
		sem_post(&t->all_fired);
}

void bench_timers_call(void (*fn)(void *arg), void *arg)
{
	if (bench_timers.ops->call)
		bench_timers.ops->call(fn, arg);
	else
		fn(arg);
}

/* --- begin and end --- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void init_all(void *arg)
{
	uint64_t i;

	(void)arg;
	for (i = 0; i < bench_timers.nr; i++)
		bench_timers.ops->init(timer_at(i));
}

void bench_timers_begin(const struct bench_peer *peer, uint64_t nr, uint64_t from_ns,
			uint64_t span_ns)
{
	uint64_t seed = 88172645463325252u, i;

	bench_timers = (struct bench_timers){.ops = peer->timers, .nr = nr};
	bench_timers.timers = aligned_alloc(64, (nr * peer->timers->bytes + 63) / 64 * 64);
	bench_timers.delay_ns = calloc(nr, sizeof(*bench_timers.delay_ns));
	bench_must(bench_timers.timers && bench_timers.delay_ns, "allocating timers");
	bench_must(!sem_init(&bench_timers.all_fired, 0, 0), "sem_init");
	for (i = 0; i < nr; i++)
		bench_timers.delay_ns[i] = from_ns + next_random(&seed) % span_ns;
	bench_timers_call(init_all, NULL);
}

void bench_timers_keep_times(uint64_t *at_ns)
{
	bench_timers.deadline_ns = at_ns;
	bench_timers.fired_at_ns = at_ns + bench_timers.nr;
}

static void fini_all(void *arg)
{
	uint64_t i;

	(void)arg;
	for (i = 0; i < bench_timers.nr; i++)
		bench_timers.ops->fini(timer_at(i));
}

static void do_nothing(void *arg)
{
	(void)arg;
}

void bench_timers_end(void)
{
	if (bench_timers.ops->fini)
		bench_timers_call(fini_all, NULL);
	bench_timers_call(do_nothing, NULL); /* a loop has come round, and lets go of them */
	free(bench_timers.timers);
	free(bench_timers.delay_ns);
}

/* --- arm and cancel --- */

uint64_t bench_timers_arm_some(uint64_t first, uint64_t nr)
{
	const struct bench_timers *t = &bench_timers;
	uint64_t start = bench_now(), i;

	for (i = first; i < first + nr; i++) {
		if (t->deadline_ns) {
			if (t->ops->refresh)
				t->ops->refresh();
			t->deadline_ns[i] = bench_now() + t->delay_ns[i];
		}
		t->ops->arm(timer_at(i), t->delay_ns[i]);
	}
	return bench_now() - start;
}

uint64_t bench_timers_cancel_some(uint64_t first, uint64_t nr)
{
	uint64_t start = bench_now(), cancelled = 0, i;

	for (i = first; i < first + nr; i++)
		cancelled += bench_timers.ops->cancel(timer_at(i));
	__atomic_add_fetch(&bench_timers.nr_cancelled, cancelled, __ATOMIC_RELAXED);
	return bench_now() - start;
}

static void arm_all(void *arg)
{
	*(uint64_t *)arg = bench_timers_arm_some(0, bench_timers.nr);
}

static void cancel_all(void *arg)
{
	*(uint64_t *)arg = bench_timers_cancel_some(0, bench_timers.nr);
}

uint64_t bench_timers_arm(void)
{
	uint64_t took;

	bench_timers_call(arm_all, &took);
	return took;
}

uint64_t bench_timers_cancel(void)
{
	uint64_t took;

	bench_timers_call(cancel_all, &took);
	return took;
}

/* --- what has become of them --- */

/* Idle: 20 ms, of which it computes less than one in 200. */
#define IDLE_NS	    20000000u
#define IDLE_CPU_NS 100000u

uint64_t bench_timers_settle(void)
{
	uint64_t before, after = bench_clock(CLOCK_PROCESS_CPUTIME_ID);

	do {
		before = after;
		bench_sleep_ns(IDLE_NS);
		after = bench_clock(CLOCK_PROCESS_CPUTIME_ID);
	} while (after - before > IDLE_CPU_NS);
	return after;
}

void bench_timers_must_be_over(unsigned times)
{
	uint64_t over;

	bench_timers_settle();
	over = bench_timers.nr_cancelled +
	       __atomic_load_n(&bench_timers.nr_fired, __ATOMIC_ACQUIRE);
	bench_must(over == times * bench_timers.nr, "either cancelling or firing every timer");
}
