/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns what happens under a shard's lock, and the shards' memory. */
#include "shard.h"

#include <errno.h>

#include "cpu.h"
#include "manager.h"
#include "mem.h"
#include "rcu.h"
#include "runtime.h"
#include "trigger.h"
#include "zephyr.h"

/* Items that are moved or queued without letting others have the lock. */
#define SHARD_BATCH 64u

struct wqi_shard *wqi_shards;
unsigned wqi_nr_shards;

__thread volatile unsigned wqi_timer_locks_held;

static struct wq_delayed_work *shard_timer_of(struct wqi_wheel_node *node)
{
	return caa_container_of((struct wq_timer *)(void *)node, struct wq_delayed_work, wq_timer);
}

static struct wq_trigger_work *shard_trigger(struct wq_delayed_work *dw)
{
	return caa_container_of(&dw->work, struct wq_trigger_work, work);
}

/* --- the lock and the inbox --- */

/*
 * What comes out of the inbox was armed or, by a signal handler, cancelled.  Once
 * MOVING is off an item that is not ARMED is its owner's.
 */
static void shard_receive_locked(struct wqi_shard *shard, struct wq_delayed_work *dw)
{
	if (wqi_wheel_node_is_linked(wqi_timer_node(dw)))
		wqi_shard_unlink_locked(shard, dw);
	if (wqi_unlikely(dw->wq_timer.wq_kind == WQ_TIMER_TRIGGER)) {
		/* Its events need another lock: that is left to the clock. */
		dw->wq_timer.wq_next = shard->leaving;
		shard->leaving = dw;
		wqi_shard_set_earliest_locked(shard, 0);
		return;
	}
	if (!(wqi_state_change(&dw->work, WQI_MOVING, 0) & WQI_ARMED))
		return;
	if (wqi_unlikely(dw->wq_timer.wq_kind == WQ_TIMER_ZEPHYR))
		wqi_zephyr_arm_again(dw);
	wqi_shard_link_locked(shard, dw, 0);
}

WQI_SLOW void wqi_shard_splice_locked(struct wqi_shard *shard)
{
	struct wq_delayed_work *dw = wqi_xchg(&shard->inbox, (struct wq_delayed_work *)NULL);
	struct wq_delayed_work *oldest = NULL, *next;

	wqi_shard_assert_held(shard);

	for (; dw; dw = next) {
		next = dw->wq_timer.wq_next;
		dw->wq_timer.wq_next = oldest;
		oldest = dw;
	}
	for (dw = oldest; dw; dw = next) {
		next = dw->wq_timer.wq_next;
		shard_receive_locked(shard, dw);
	}
}

bool wqi_shard_spin_lock(struct wqi_shard *shard)
{
	if (wqi_timer_locks_held)
		return false;
	wqi_timer_locks_held++;
	if (wqi_fenced_spin_lock(&shard->lock))
		return true;
	wqi_timer_locks_held--;
	return false;
}

void wqi_shard_push(struct wqi_shard *shard, struct wq_delayed_work *dw)
{
	struct wq_delayed_work *top = wqi_load_relaxed(&shard->inbox);

	do {
		wqi_yield_point();
		dw->wq_timer.wq_next = top;
	} while (!wqi_cas(&shard->inbox, &top, dw));
	wqi_pause_point("timer pushed");
	if (wqi_runtime.can_fence)
		wqi_runtime_fence();
	if (wqi_shard_try_lock(shard)) {
		wqi_shard_splice_locked(shard);
		wqi_shard_unlock(shard);
	}
}

/* --- time is up --- */

/*
 * An item off the wheel is to be queued, or parked if its queue refuses it.  ORD-PARK
 * (b): under the lock the queue is asked; partner (a): it takes items again, then each
 * shard is locked and told.
 *
 * True: it is claimed (TRANSIT), to be pushed without the lock, in the same section.
 */
bool wqi_shard_claim_due_locked(struct wqi_shard *shard, struct wq_delayed_work *dw, bool anyway,
				struct wqi_due *due)
{
	struct wq *wq = dw->wq_timer.wq_queue;
	uint64_t old;

	wqi_shard_assert_held(shard);

	if (!anyway && wqi_unlikely(wqi_queue_is_shut(wq)) &&
	    wqi_state_is_armed(wqi_state(&dw->work))) {
		wqi_pause_point("timer parks");
		cds_list_add_tail(&wqi_timer_node(dw)->link, &shard->parked);
		if (wqi_unlikely(wq->zephyr))
			wqi_zephyr_note_kept(wq, dw);
		return false;
	}
	--*wqi_shard_count(shard, wq);
	*due = (struct wqi_due){.dw = dw, .wq = wq, .cpu = dw->wq_timer.wq_cpu};
	old = wqi_timer_disarm_locked(&dw->work, WQI_PENDING | WQI_TRANSIT, 0);
	return old & WQI_ARMED && !(old & WQI_PENDING);
}

void wqi_timer_push_due(const struct wqi_due *due)
{
	wqi_pause_point("timer due");
	if (wqi_unlikely(due->dw->wq_timer.wq_kind == WQ_TIMER_TRIGGER))
		wqi_trigger_release(shard_trigger(due->dw));
	wqi_queue_claimed(due->wq, &due->dw->work, due->cpu);
}

static void shard_let_go(struct wq_delayed_work *leaving)
{
	struct wq_delayed_work *next;

	for (; leaving; leaving = next) {
		next = leaving->wq_timer.wq_next;
		wqi_pause_point("trigger leaves");
		wqi_trigger_detach(shard_trigger(leaving));
		wqi_state_change(&leaving->work, WQI_MOVING, 0);
	}
}

/* The clock would do it, but that may not get a CPU while the caller waits for it. */
void wqi_shard_settle(struct wqi_shard *shard)
{
	unsigned token = wqi_rcu_read_lock();
	struct wq_delayed_work *leaving;

	wqi_shard_lock(shard);
	leaving = shard->leaving;
	shard->leaving = NULL;
	wqi_shard_unlock(shard);
	shard_let_go(leaving);
	wqi_rcu_read_unlock(token);
}

/* A batch of what is due until @until_ns, with the lock held once. */
static void shard_run_batch(struct wqi_shard *shard, uint64_t until_ns)
{
	struct wq_delayed_work *leaving;
	struct wqi_due due[SHARD_BATCH];
	unsigned token = wqi_rcu_read_lock(), nr = 0, i, looked = 0;
	struct wqi_wheel_node *node;
	bool done;

	wqi_shard_lock(shard);
	leaving = shard->leaving;
	shard->leaving = NULL;
	if (shard->unpark) {
		shard->unpark = false;
		cds_list_splice(&shard->parked, &shard->wheel.due);
		CDS_INIT_LIST_HEAD(&shard->parked);
	}
	done = wqi_wheel_advance(&shard->wheel, until_ns, SHARD_BATCH);
	while (looked++ < SHARD_BATCH && (node = wqi_wheel_pop(&shard->wheel)))
		nr += wqi_shard_claim_due_locked(shard, shard_timer_of(node), false, &due[nr]);
	done = done && cds_list_empty(&shard->wheel.due);
	wqi_shard_set_earliest_locked(shard, done ? wqi_wheel_next_ns(&shard->wheel) : 0);
	wqi_shard_unlock(shard);
	for (i = 0; i < nr; i++)
		wqi_timer_push_due(&due[i]);
	shard_let_go(leaving);
	wqi_rcu_read_unlock(token);
}

/* The shard where the first is due, and when the next one is of those that come after it. */
static struct wqi_shard *shards_first(uint64_t *first_ns, uint64_t *second_ns)
{
	struct wqi_shard *first = NULL;
	unsigned i;

	*first_ns = *second_ns = WQI_NEVER;
	for (i = 0; i < wqi_nr_shards; i++) {
		uint64_t ns = wqi_load_seq_cst(&wqi_shards[i].earliest_ns);

		if (ns < *first_ns) {
			*second_ns = *first_ns;
			*first_ns = ns;
			first = &wqi_shards[i];
		} else if (ns < *second_ns) {
			*second_ns = ns;
		}
	}
	return first;
}

/* Where the clock is late, what was armed on different CPUs still comes in its order. */
uint64_t wqi_timers_run(const uint32_t *enough)
{
	uint64_t now_ns = wqi_clock_now_ns(), first_ns, second_ns;
	struct wqi_shard *shard;

	for (;;) {
		shard = shards_first(&first_ns, &second_ns);
		if (first_ns > now_ns || (enough && wqi_load_acquire(enough)))
			return first_ns;
		shard_run_batch(shard, second_ns < now_ns ? second_ns : now_ns);
	}
}

uint64_t wqi_timers_earliest(void)
{
	uint64_t first = WQI_NEVER, ns;
	unsigned i;

	for (i = 0; i < wqi_nr_shards; i++) {
		ns = wqi_load_seq_cst(&wqi_shards[i].earliest_ns);
		if (ns < first)
			first = ns;
	}
	return first;
}

/* --- queues --- */

static bool timers_are_armed(const struct wq *wq)
{
	unsigned i, nr = 0;

	for (i = 0; i < wqi_nr_shards; i++) {
		wqi_shard_lock(&wqi_shards[i]);
		nr |= *wqi_shard_count(&wqi_shards[i], wq);
		wqi_shard_unlock(&wqi_shards[i]);
	}
	return nr;
}

/*
 * ORD-CLOSE (b): `closed` is set, then a grace period, then each shard is locked and its
 * inbox taken.  Partner (a): under the lock, or in a section, `closed` is read.  So what
 * is armed all the same is counted.  An item that gets its time for a k_work_q from one section may
 * be brought to its shard by another, which began meanwhile.
 */
int wqi_timers_close(struct wq *wq)
{
	if (timers_are_armed(wq))
		return -EBUSY;
	wqi_store_seq_cst(&wq->closed, true);
	wqi_pause_point("timers closed");
	wqi_rcu_synchronize();
	if (wq->zephyr)
		wqi_rcu_synchronize();
	if (!timers_are_armed(wq))
		return 0;
	wqi_timers_reopen(wq);
	return -EBUSY;
}

void wqi_timers_reopen(struct wq *wq)
{
	wqi_store_seq_cst(&wq->closed, false);
}

void wqi_timers_unpark(void)
{
	unsigned i;

	for (i = 0; i < wqi_nr_shards; i++) {
		struct wqi_shard *shard = &wqi_shards[i];

		wqi_shard_lock(shard);
		if (!cds_list_empty(&shard->parked)) {
			shard->unpark = true;
			wqi_shard_set_earliest_locked(shard, 0);
		}
		wqi_shard_unlock(shard);
	}
}

void wqi_timers_pass(void)
{
	unsigned i;

	for (i = 0; i < wqi_nr_shards; i++) {
		wqi_shard_lock(&wqi_shards[i]);
		wqi_shard_unlock(&wqi_shards[i]);
	}
}

static bool timers_unpark_asked; /* A, seq_cst */

void wqi_timers_ask_unpark(void)
{
	wqi_store_seq_cst(&timers_unpark_asked, true);
	wqi_manager_poke();
}

void wqi_timers_serve_unpark(void)
{
	if (wqi_load_seq_cst(&timers_unpark_asked) && wqi_xchg(&timers_unpark_asked, false))
		wqi_timers_unpark();
}

/* --- the shards' memory --- */

static size_t timers_bytes(void)
{
	return wqi_nr_shards * sizeof(struct wqi_shard);
}

size_t wqi_timers_armed_bytes(void)
{
	return wqi_nr_shards * sizeof(struct wqi_armed);
}

void wqi_timers_reset(void)
{
	unsigned i;

	for (i = 0; i < wqi_nr_shards; i++) {
		struct wqi_shard *shard = &wqi_shards[i];

		wqi_fenced_reset(&shard->lock);
		shard->index = i;
		shard->inbox = NULL;
		shard->earliest_ns = WQI_NEVER;
		shard->unpark = false;
		shard->leaving = NULL;
		CDS_INIT_LIST_HEAD(&shard->parked);
		wqi_wheel_init(&shard->wheel);
	}
}

int wqi_timers_init(void)
{
	wqi_assert_held(&wqi_runtime.lock);

	if (wqi_shards)
		return 0;
	wqi_nr_shards = 1;
	while (wqi_nr_shards < wqi_cpus.nr && wqi_nr_shards < WQI_NR_SHARDS)
		wqi_nr_shards *= 2;
	wqi_shards = wqi_zalloc(timers_bytes());
	if (!wqi_shards) {
		wqi_nr_shards = 0;
		return -ENOMEM;
	}
	wqi_timers_reset();
	return 0;
}

void wqi_timers_free(void)
{
	struct wqi_shard *shards = wqi_shards;

	wqi_shards = NULL;
	if (shards)
		wqi_free(shards, timers_bytes());
	wqi_nr_shards = 0;
}
