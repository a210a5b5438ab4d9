/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns items that wait for grace periods, and the threads that do. */
#include "rcu_work.h"

#include <errno.h>
#include <pthread.h>
#include <urcu/flavor.h>

#include "block.h"
#include "futex.h"
#include "mem.h"
#include "queue.h"
#include "rcu.h"
#include "runtime.h"
#include "service.h"
#include "timer.h"
#include "wheel.h"

struct rcu_waiter {
	const struct rcu_flavor_struct *flavor; /* I */
	struct rcu_waiter *next;		/* GR */
	struct wq_rcu_work *items;		/* A, seq_cst: newest first, by wq_later */
	uint32_t event;	  /* A, seq_cst: futex word, changed when items come */
	uint32_t asked;	  /* A, seq_cst: how often somebody waits for all that has come */
	uint32_t settled; /* A, seq_cst: ... and up to which of these it has gone */
	bool running;	  /* G: it has a thread; read without by whoever queued before */
	bool stopping;	  /* A, release/acquire */
	pid_t tid;	  /* A, seq_cst: the thread's, or 0 */
	pthread_t thread; /* G */
};

static struct rcu_waiter *rcu_waiters; /* GR: linked by a release store; see fork.h */
static uint32_t rcu_over_event;	       /* A, seq_cst: futex word, changed when items were let go */

void wq_rcu_work_init(struct wq_rcu_work *rw, wq_work_fn fn, void *ctx)
{
	*rw = (struct wq_rcu_work)WQ_RCU_WORK_INIT(NULL, NULL);
	wq_work_init(&rw->work, fn, ctx);
}

/* --- the thread --- */

/* The item may be gone afterwards. */
static void rcu_let_go(struct wq_delayed_work *dw)
{
	struct wqi_due due;
	uint64_t number;
	unsigned token;

	/* Not inside a section: it may just be on its way into its shard. */
	if (!wqi_timer_flavor(dw, &number))
		return;
	token = wqi_rcu_read_lock();
	if (wqi_timer_claim_event(dw, &due))
		wqi_timer_push_due(&due);
	wqi_rcu_read_unlock(token);
}

/* One grace period for all that has come until it begins. */
static void rcu_serve(struct rcu_waiter *waiter, struct wq_rcu_work *rw)
{
	struct wq_rcu_work *oldest = NULL, *next;

	waiter->flavor->update_synchronize_rcu();
	wqi_pause_point("grace period over");
	for (; rw; rw = next) {
		next = rw->wq_later;
		rw->wq_later = oldest;
		oldest = rw;
	}
	for (rw = oldest; rw; rw = next) {
		next = rw->wq_later;
		rcu_let_go(wqi_timer_of_work(&rw->work));
	}
	wqi_add(&rcu_over_event, 1);
	wqi_futex_wake(&rcu_over_event, INT_MAX);
}

/* What was queued before @asked was counted up has been let go. */
static void rcu_settle(struct rcu_waiter *waiter, uint32_t asked)
{
	wqi_store_seq_cst(&waiter->settled, asked);
	wqi_add(&rcu_over_event, 1);
	wqi_futex_wake(&rcu_over_event, INT_MAX);
}

static void *rcu_main(void *arg)
{
	struct rcu_waiter *waiter = arg;
	struct wq_rcu_work *rw;
	uint32_t event, asked;

	wqi_service_begin("wq/rcu");
	wqi_service_tell(&waiter->tid);
	for (;;) {
		event = wqi_load_seq_cst(&waiter->event);
		asked = wqi_load_seq_cst(&waiter->asked); /* ORD-SETTLE (b) */
		rw = wqi_xchg(&waiter->items, (struct wq_rcu_work *)NULL);
		if (rw)
			rcu_serve(waiter, rw);
		if (wqi_unlikely(asked != waiter->settled))
			rcu_settle(waiter, asked);
		else if (rw)
			continue;
		else if (wqi_load_acquire(&waiter->stopping))
			return NULL;
		else
			wqi_futex_wait(&waiter->event, event, WQI_NO_TIMEOUT);
	}
}

static void rcu_poke(struct rcu_waiter *waiter)
{
	wqi_add(&waiter->event, 1);
	wqi_futex_wake(&waiter->event, 1);
}

static struct rcu_waiter *rcu_find(const struct rcu_flavor_struct *flavor)
{
	struct rcu_waiter *waiter = wqi_load_acquire(&rcu_waiters);

	while (waiter && waiter->flavor != flavor)
		waiter = waiter->next;
	return waiter;
}

/* Under G, so that wq_shutdown() does not come between. */
static int rcu_start_locked(const struct rcu_flavor_struct *flavor, struct rcu_waiter **to)
{
	struct rcu_waiter *waiter = rcu_find(flavor);

	wqi_assert_held(&wqi_runtime.lock);

	if (wqi_runtime.stopped)
		return -ESHUTDOWN;
	if (!waiter) {
		waiter = wqi_zalloc(sizeof(*waiter));
		if (!waiter)
			return -ENOMEM;
		waiter->flavor = flavor;
		waiter->next = rcu_waiters;
		wqi_store_release(&rcu_waiters, waiter);
	}
	if (!waiter->running && wqi_service_start(&waiter->thread, -1, rcu_main, waiter))
		return -EAGAIN;
	wqi_store_relaxed(&waiter->running, true);
	*to = waiter;
	return 0;
}

static int rcu_start(const struct rcu_flavor_struct *flavor, struct rcu_waiter **to)
{
	int err;

	wqi_lock(&wqi_runtime.lock);
	err = rcu_start_locked(flavor, to);
	wqi_unlock(&wqi_runtime.lock);
	return err;
}

void wqi_rcu_works_stop(void)
{
	struct rcu_waiter *waiter, *next;

	/* Nobody can start one: wq_shutdown() has set `stopped`. */
	for (waiter = rcu_waiters; waiter; waiter = waiter->next) {
		if (!waiter->running)
			continue;
		wqi_store_release(&waiter->stopping, true);
		rcu_poke(waiter);
		pthread_join(waiter->thread, NULL);
	}
	waiter = rcu_waiters;
	wqi_store_release(&rcu_waiters, (struct rcu_waiter *)NULL);
	for (; waiter; waiter = next) {
		next = waiter->next;
		wqi_free(waiter, sizeof(*waiter));
	}
}

void wqi_rcu_works_reset(void)
{
	struct rcu_waiter *waiter;

	for (waiter = rcu_waiters; waiter; waiter = waiter->next) {
		waiter->items = NULL;
		waiter->running = waiter->stopping = false;
		waiter->tid = 0;
	}
}

void wqi_rcu_works_move_locked(const wqi_cpu_mask *mask)
{
	struct rcu_waiter *waiter;

	wqi_assert_held(&wqi_runtime.lock);

	for (waiter = rcu_waiters; waiter; waiter = waiter->next)
		wqi_service_move(wqi_load_seq_cst(&waiter->tid), mask);
}

/* --- the calls --- */

int wq_queue_rcu(struct wq *wq, struct wq_rcu_work *rw, const struct rcu_flavor_struct *flavor)
{
	struct wqi_arming how = {.wq = wq, .delay_ns = WQI_NEVER, .cpu = -1, .flavor = flavor};
	struct rcu_waiter *waiter;
	int ret;

	if (!wq || !rw || !flavor || !flavor->update_synchronize_rcu ||
	    !(wqi_state(&rw->work) & WQI_INIT) || rw->wq_timer.wq_kind != WQ_TIMER_RCU)
		return -EINVAL;
	ret = wqi_fork_enter(true);
	if (ret)
		return ret;
	waiter = rcu_find(flavor);
	if (!waiter || !wqi_load_relaxed(&waiter->running)) {
		ret = rcu_start(flavor, &waiter);
		if (ret)
			return ret;
	}
	ret = wqi_timer_arm(wqi_timer_of_work(&rw->work), &how);
	if (ret == 1) {
		struct wq_rcu_work *top = wqi_load_relaxed(&waiter->items);

		/* Nobody can take it back, so it stays until the thread lets go of it. */
		do
			rw->wq_later = top;
		while (!wqi_cas(&waiter->items, &top, rw));
		if (!top)
			rcu_poke(waiter);
	}
	return ret;
}

bool wq_rcu_work_pending(const struct wq_rcu_work *rw)
{
	return rw && wq_work_pending(&rw->work);
}

unsigned wq_rcu_work_busy(const struct wq_rcu_work *rw)
{
	return rw ? wq_work_busy(&rw->work) : 0;
}

/* G6: one that has been queued again since is not waited for. */
static void rcu_wait_over(struct wq_delayed_work *dw, uint64_t number)
{
	bool uncounted = wqi_worker_wait_begin();
	uint32_t event = wqi_load_seq_cst(&rcu_over_event);
	uint64_t latest;

	while (wqi_timer_flavor(dw, &latest) && latest == number) {
		wqi_futex_wait(&rcu_over_event, event, WQI_NO_TIMEOUT);
		wqi_pause_point("rcu wait woken");
		event = wqi_load_seq_cst(&rcu_over_event);
	}
	wqi_worker_wait_end(uncounted);
}

/*
 * A thread of qsbr is a reader as long as it is online, and so may not wait; of the other
 * flavours to be offline is nothing, and who still reads then waits for himself.
 */
static bool rcu_offline(const struct rcu_flavor_struct *flavor)
{
	bool reads = flavor->read_ongoing();

	if (reads)
		flavor->thread_offline();
	return reads;
}

int wqi_rcu_work_wait(struct wq_work *work)
{
	struct wq_delayed_work *dw = wqi_timer_of_work(work);
	const struct rcu_flavor_struct *flavor;
	uint64_t number;
	bool reads;
	int ret = 1;

	if (dw->wq_timer.wq_kind != WQ_TIMER_RCU)
		return 0;
	flavor = wqi_timer_flavor(dw, &number);
	if (!flavor)
		return 0;
	reads = rcu_offline(flavor);
	if (reads && flavor->read_ongoing())
		ret = -EDEADLK;
	else
		rcu_wait_over(dw, number);
	if (reads)
		flavor->thread_online();
	return ret;
}

static void rcu_wait_settled(struct rcu_waiter *waiter)
{
	bool uncounted = wqi_worker_wait_begin();
	uint32_t mine = wqi_add(&waiter->asked, 1) + 1, event; /* ORD-SETTLE (a) */

	rcu_poke(waiter);
	event = wqi_load_seq_cst(&rcu_over_event);
	while ((int32_t)(wqi_load_seq_cst(&waiter->settled) - mine) < 0) {
		wqi_futex_wait(&rcu_over_event, event, WQI_NO_TIMEOUT);
		event = wqi_load_seq_cst(&rcu_over_event);
	}
	wqi_worker_wait_end(uncounted);
}

void wqi_rcu_works_wait(void)
{
	struct rcu_waiter *waiter;
	bool reads;

	for (waiter = wqi_load_acquire(&rcu_waiters); waiter; waiter = waiter->next) {
		if (!wqi_load_relaxed(&waiter->running))
			continue;
		reads = rcu_offline(waiter->flavor);
		if (!reads || !waiter->flavor->read_ongoing())
			rcu_wait_settled(waiter);
		if (reads)
			waiter->flavor->thread_online();
	}
}

/* Offline during the run too: the function may wait for a grace period itself. */
int wq_rcu_work_flush(struct wq_rcu_work *rw)
{
	const struct rcu_flavor_struct *flavor;
	bool reads, waits;
	int ret;

	if (!rw || !(wqi_state(&rw->work) & WQI_INIT))
		return -EINVAL;
	/* From before a fork() it is idle; a lock of the flavour's may be held by nobody there. */
	if (!wqi_state_is_ours(wqi_state(&rw->work)))
		return 0;
	flavor = wqi_load_relaxed(&rw->wq_flavor);
	waits = wq_work_pending(&rw->work);
	reads = flavor && rcu_offline(flavor);
	ret = wq_work_flush(&rw->work);
	if (reads)
		flavor->thread_online();
	/* Where it was we that the item waited for, it may have run before we looked. */
	return ret || !reads ? ret : waits;
}
