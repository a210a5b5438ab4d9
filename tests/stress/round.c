/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the threads of a round, what they and the item record, and the end of a
 * round: what was left plugged, frozen, disabled or pending is put right, by calls
 * that the model judges too.  Judges nothing.
 */
#include "round.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "queue.h"
#include "rcu.h"

/*
 * What is recorded must not order the threads for ThreadSanitizer, or it would not
 * see what the library forgets to order.  The hardware does, on x86.
 */
#if defined(__x86_64__)
#define SEE_ORDER  __ATOMIC_RELAXED
#define SHOW_ORDER __ATOMIC_RELAXED
#else
#define SEE_ORDER  __ATOMIC_ACQUIRE
#define SHOW_ORDER __ATOMIC_RELEASE
#endif
#define see(p)	   __atomic_load_n((p), SEE_ORDER)
#define show(p, v) __atomic_store_n((p), (v), SHOW_ORDER)

enum { NR_HELPERS = MODEL_INSIDE - 1, STUCK_SECONDS = 100 };

static struct round {
	struct wq_work work, gate;
	const struct round_plan *plan;
	struct model_history history;
	uint64_t rng;
	/* Counted by who does it, read by all. */
	unsigned done[MODEL_THREADS], starts, ends;
	unsigned gate_started, gate_ended, gate_open, let_go;
	unsigned inside, ready, finished, nr_helpers;
	unsigned long plain; /* by each run, with no other order than the library's */
	unsigned long wrong;
} round_;

static struct helpers {
	pthread_t threads[NR_HELPERS + 1], watchdog;
	struct latch go[NR_HELPERS + 1];
	unsigned long rounds;
	bool stop;
} helpers;

static void pause_for(unsigned spins)
{
	volatile unsigned n;

	if (spins % 16 == 15)
		sched_yield();
	for (n = 0; n < spins; n++)
		;
}

/* --- a call --- */

static int round_queue(const struct round_call *call, struct wq *wq)
{
	int cpu = call->on_cpu ? usable_cpu(call->on_cpu - 1u) : -1;

	return cpu < 0 ? wq_queue(wq, &round_.work) : wq_queue_on(wq, &round_.work, cpu);
}

/* Does it refuse?  Looked for a while, at what no call shows without changing it. */
static int round_await_shut(const struct wq *wq)
{
	unsigned tries, token, shut = 0;

	for (tries = 0; tries < 64 && !shut; tries++) {
		token = wqi_rcu_read_lock();
		shut = wqi_load_seq_cst(&wq->refuse);
		wqi_rcu_read_unlock(token);
		pause_for(tries);
	}
	return shut != 0;
}

static int round_do(const struct round_call *call, struct wq *wq)
{
	struct wq_work *work = &round_.work;

	switch (call->kind) {
	case MODEL_QUEUE:
		return round_queue(call, wq);
	case MODEL_CANCEL:
		return wq_work_cancel(work);
	case MODEL_CANCEL_SYNC:
		return wq_work_cancel_sync(work);
	case MODEL_DISABLE:
		return wq_work_disable(work);
	case MODEL_DISABLE_SYNC:
		return wq_work_disable_sync(work);
	case MODEL_ENABLE:
		return wq_work_enable(work);
	case MODEL_ENABLE_QUEUE:
		return wq_enable_and_queue(wq, work);
	case MODEL_BUSY:
		return (int)wq_work_busy(work);
	case MODEL_FLUSH:
		return wq_work_flush(work);
	case MODEL_FLUSH_QUEUE:
		return wq_flush(wq);
	case MODEL_DRAIN:
		return wq_drain(wq);
	case MODEL_DESTROY:
		return wq_destroy(wq);
	case MODEL_PLUG:
		return wq_plug(wq);
	case MODEL_UNPLUG:
		return wq_unplug(wq);
	case MODEL_FREEZE:
		return wq_freeze_all();
	case MODEL_THAW:
		return wq_thaw_all();
	case MODEL_FREEZE_BUSY:
		return wq_freeze_busy();
	case MODEL_SHUT:
		return round_await_shut(wq);
	case MODEL_OPEN:
		show(&round_.gate_open, 1);
		return 0;
	case MODEL_LET_GO:
		show(&round_.let_go, 1);
		return 0;
	}
	return -ENOSYS;
}

/* Which of the two it is; 0 none. */
static unsigned round_queue_index(const struct wq *wq)
{
	unsigned q = MODEL_QUEUES;

	while (--q && round_.plan->queues[q] != wq)
		;
	return q;
}

/* Make a call and record it, unless it is one that only counts when it answers 0. */
static int round_call(unsigned t, const struct round_call *call, bool only_0)
{
	struct model_thread *thread = &round_.history.threads[t];
	struct model_call *c = &thread->calls[thread->nr];
	unsigned u;

	if (thread->nr == MODEL_CALLS) {
		count_up(&round_.wrong);
		return -ENOSPC;
	}
	c->kind = call->kind;
	c->queue = call->queue;
	if (call->queue == ROUND_CURRENT)
		c->queue = (uint8_t)round_queue_index(wq_current_wq());
	c->run = call->run;
	for (u = 0; u < MODEL_THREADS; u++)
		c->seen_done[u] = (uint8_t)see(&round_.done[u]);
	c->seen_starts = (uint8_t)see(&round_.starts);
	c->ret = round_do(call, round_.plan->queues[c->queue]);
	c->seen_ends = (uint8_t)see(&round_.ends);
	c->seen_gate = (uint8_t)see(&round_.gate_ended);
	if (c->ret && only_0)
		return c->ret;
	thread->nr++;
	show(&round_.done[t], thread->nr);
	return c->ret;
}

static int round_do_now(enum model_kind kind, unsigned queue)
{
	struct round_call call = {.kind = (uint8_t)kind, .queue = (uint8_t)queue};

	return round_call(MODEL_MAIN, &call, kind == MODEL_THAW);
}

/* --- the items --- */

static void round_fn(struct wq_work *work, void *ctx)
{
	const struct round_calls *inside = &round_.plan->threads[MODEL_INSIDE];
	unsigned run = see(&round_.starts) + 1, i;

	if (__atomic_exchange_n(&round_.inside, 1, __ATOMIC_RELAXED) || run > MODEL_RUNS) {
		count_up(&round_.wrong);
		return;
	}
	round_.plain++;
	round_.history.nr_runs = run;
	round_.history.ran_on[run - 1] = (uint8_t)round_queue_index(wq_current_wq());
	show(&round_.starts, run);
	while (run == 1 && round_.plan->hold && !see(&round_.let_go))
		sched_yield();
	for (i = 0; i < inside->nr; i++)
		if (inside->calls[i].run == run) {
			pause_for(inside->calls[i].spins);
			round_call(MODEL_INSIDE, &inside->calls[i], false);
		}
	__atomic_store_n(&round_.inside, 0, __ATOMIC_RELAXED);
	show(&round_.ends, run);
}

static void gate_fn(struct wq_work *work, void *ctx)
{
	show(&round_.gate_started, 1);
	while (!see(&round_.gate_open))
		sched_yield();
	show(&round_.gate_ended, 1);
}

/* --- the threads --- */

static void helper_perform(unsigned t)
{
	const struct round_calls *mine = &round_.plan->threads[t];
	unsigned i, spins;

	count_up(&round_.ready);
	for (spins = 0; count_get(&round_.ready) < round_.nr_helpers; spins++)
		if (spins % 64 == 63)
			sched_yield();
	for (i = 0; i < mine->nr; i++) {
		pause_for(mine->calls[i].spins);
		round_call(t, &mine->calls[i], false);
	}
	count_up(&round_.finished);
}

static void *helper_main(void *arg)
{
	struct latch *go = arg;
	unsigned t = (unsigned)(go - helpers.go);
	unsigned long n = 0;

	for (;;) {
		latch_wait(go, ++n);
		if (count_get(&helpers.stop))
			return NULL;
		helper_perform(t);
	}
}

/* A wait that does not end is a failure, and says in which round. */
static void *watchdog_main(void *arg)
{
	unsigned long seen = 0, now, seconds = 0;

	while (!count_get(&helpers.stop)) {
		usleep(100000);
		now = count_get(&helpers.rounds);
		seconds = now == seen ? seconds + 1 : 0;
		seen = now;
		if (seconds < 10 * STUCK_SECONDS || !now)
			continue;
		printf("round %lu does not end; so far:\n", now);
		model_print(stdout, &round_.history);
		fflush(stdout);
		abort();
	}
	return NULL;
}

void round_threads_start(void)
{
	unsigned t;

	memset(&helpers, 0, sizeof(helpers));
	wq_work_init(&round_.work, round_fn, NULL);
	wq_work_init(&round_.gate, gate_fn, NULL);
	for (t = 1; t <= NR_HELPERS; t++) {
		latch_init(&helpers.go[t]);
		assert_int_equal(pthread_create(&helpers.threads[t], NULL, helper_main,
						&helpers.go[t]),
				 0);
	}
	assert_int_equal(pthread_create(&helpers.watchdog, NULL, watchdog_main, NULL), 0);
}

void round_threads_join(void)
{
	unsigned t;

	count_set(&helpers.stop, true);
	for (t = 1; t <= NR_HELPERS; t++) {
		latch_post(&helpers.go[t]);
		pthread_join(helpers.threads[t], NULL);
	}
	pthread_join(helpers.watchdog, NULL);
}

/* --- a round --- */

static void round_begin(const struct round_plan *plan)
{
	const struct round_calls *setup = &plan->threads[MODEL_MAIN];
	struct model_history *h = &round_.history;
	unsigned i;

	memset(h, 0, sizeof(*h));
	memset(round_.done, 0, sizeof(round_.done));
	round_.starts = round_.ends = round_.inside = round_.ready = round_.finished = 0;
	round_.gate_started = round_.gate_ended = round_.gate_open = round_.let_go = 0;
	round_.plain = 0;
	round_.plan = plan;
	round_.rng = plan->seed;
	h->freezable = plan->freezable;
	h->exclusive = plan->exclusive;
	h->apart = plan->apart;
	memcpy(h->spread, plan->spread, sizeof(h->spread));
	h->gate = plan->gate;
	h->hold = plan->hold;
	if (plan->fresh)
		wq_work_init(&round_.work, round_fn, NULL);
	if (plan->gate) {
		if (wq_queue(plan->queues[MODEL_HERE], &round_.gate) != 1)
			count_up(&round_.wrong);
		while (!see(&round_.gate_started))
			sched_yield();
	}
	for (i = 0; i < setup->nr; i++) {
		round_call(MODEL_MAIN, &setup->calls[i], false);
		while (plan->waits_for_run && i == 0 && !see(&round_.starts))
			sched_yield();
	}
}

/* The gate, or the item that runs in its place, holds up who destroys the queue. */
static bool round_gate_may_open(void)
{
	unsigned t;

	for (t = 1; t <= NR_HELPERS; t++)
		if (see(&round_.done[t]) < round_.plan->gate_needs[t])
			return false;
	return true;
}

/* One of the things that somebody may be waiting for. */
static void round_help(uint64_t r)
{
	switch (r % 3) {
	case 0:
		if (round_.plan->gate && !see(&round_.gate_open) && round_gate_may_open())
			round_do_now(MODEL_OPEN, 0);
		break;
	case 1:
		if (round_.plan->hold && !see(&round_.let_go) && round_gate_may_open())
			round_do_now(MODEL_LET_GO, 0);
		break;
	case 2:
		round_do_now(MODEL_THAW, 0);
	}
}

/* Leave the others alone for a while, then see to it that their waits can end. */
static void round_attend(void)
{
	unsigned patience = 0;
	uint64_t r;

	for (;;) {
		if (!patience--) {
			r = random_next(&round_.rng);
			round_help(r);
			patience = r >> 8 & 31;
		}
		if (count_get(&round_.finished) == round_.nr_helpers)
			return;
		sched_yield();
	}
}

/* Back to idle: nothing may hold up what is pending, and it ends or is taken back. */
static void round_clear_up(void)
{
	const struct round_plan *plan = round_.plan;
	uint64_t r = random_next(&round_.rng);
	unsigned q;

	if (plan->gate && !see(&round_.gate_open))
		round_do_now(MODEL_OPEN, 0);
	if (plan->hold && !see(&round_.let_go))
		round_do_now(MODEL_LET_GO, 0);
	round_do_now(MODEL_THAW, 0);
	for (q = 1; q < MODEL_QUEUES; q++) {
		if (plan->destroys[q])
			continue;
		round_do_now(MODEL_UNPLUG, q);
		if (r >> q & 1)
			round_do_now(r & 1 ? MODEL_DRAIN : MODEL_FLUSH_QUEUE, q);
	}
	if (r & 8)
		round_do_now(MODEL_FLUSH, 0);
	round_do_now(MODEL_CANCEL_SYNC, 0);
	/* Not before: the item disables itself. */
	while (round_do_now(MODEL_ENABLE, 0) >= 0)
		;
	if (round_do_now(MODEL_BUSY, 0))
		count_up(&round_.wrong);
	if (plan->gate && !plan->destroys[MODEL_HERE])
		wq_work_flush(&round_.gate);
}

const struct model_history *round_run(const struct round_plan *plan)
{
	unsigned t;

	count_up(&helpers.rounds);
	round_begin(plan);
	round_.nr_helpers = 0;
	for (t = 1; t <= NR_HELPERS; t++)
		round_.nr_helpers += plan->threads[t].nr != 0;
	for (t = 1; t <= NR_HELPERS; t++)
		if (plan->threads[t].nr)
			latch_post(&helpers.go[t]);
	round_attend();
	round_clear_up();
	if (round_.plain != round_.history.nr_runs || round_.ends != round_.starts)
		count_up(&round_.wrong);
	return &round_.history;
}

unsigned long round_nr_wrong(void)
{
	return count_get(&round_.wrong);
}
