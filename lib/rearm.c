/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns giving an item that is armed, or pending, another time.  Arms none that is idle (timer.c).
 */
#include "arming.h"

#include <errno.h>

#include "clock.h"
#include "cpu.h"
#include "queue.h"
#include "rcu.h"

/* Off the wheel, and not armed any more.  True: it is claimed, and the caller's to queue. */
static bool rearm_claim_due_locked(struct wq_work *work)
{
	uint64_t old = wqi_timer_disarm_locked(work, WQI_PENDING | WQI_TRANSIT, 0);

	return old & WQI_ARMED && !(old & WQI_PENDING);
}

/*
 * Without the shard's lock: the caller may be a signal handler that interrupted its holder.
 * The new time, and in the same word the queue, goes beside the old one, which that may be using,
 * and the item to the inbox: whoever takes it from there has it armed anew.  Of several the last
 * one counts.  False: it changed meanwhile; then the caller sets it once more.
 */
static bool rearm_beside(struct wq_delayed_work *dw, const struct wqi_arming *how, uint64_t state,
			 uint64_t expires_ns)
{
	uint64_t again = wqi_zephyr_again(how->wq, expires_ns), mine = again;
	struct k_work_delayable *item = wqi_zephyr_delayable(dw);

	wqi_store_release(&item->wq_again, again);
	wqi_pause_point("timer again");
	if (wqi_cas(&dw->work.wq_state, &state, state | WQI_ARMED | WQI_MOVING)) {
		if (!(state & WQI_MOVING))
			wqi_shard_push(wqi_shard_of_state(state), dw);
		return true;
	}
	wqi_cas(&item->wq_again, &mine, UINT64_C(0));
	return false;
}

/* 1; 0 it changed meanwhile; -ENODEV, -ESHUTDOWN. */
static WQI_SLOW int rearm_unlocked(struct wq_delayed_work *dw, const struct wqi_arming *how,
				   uint64_t state, uint64_t expires_ns)
{
	unsigned token = wqi_rcu_read_lock();
	int ret;

	if (!wqi_arming_has_queue(how))
		ret = -ENODEV;
	else if (wqi_load_seq_cst(&how->wq->closed)) /* ORD-CLOSE (a) */
		ret = -ESHUTDOWN;
	else
		ret = rearm_beside(dw, how, state, expires_ns);
	wqi_rcu_read_unlock(token);
	return ret;
}

static int rearm_locked(struct wqi_shard *shard, struct wq_delayed_work *dw,
			const struct wqi_arming *how, uint64_t now_ns)
{
	uint64_t state = wqi_state(&dw->work);

	wqi_shard_assert_held(shard);

	if (!wqi_state_is_armed(state) || state & WQI_MOVING || wqi_shard_of_state(state) != shard)
		return 0;
	if (!wqi_arming_has_queue(how))
		return -ENODEV;
	if (how->wq != dw->wq_timer.wq_queue && wqi_load_seq_cst(&how->wq->closed))
		return -ESHUTDOWN;
	wqi_shard_unlink_locked(shard, dw);
	wqi_arming_set(dw, how, wqi_arming_expires_ns(now_ns, how->delay_ns),
		       (int)wqi_cpu_current());
	wqi_shard_link_locked(shard, dw, now_ns);
	return 1;
}

/*
 * To wait for a shard's lock is safe for a handler unless it interrupted a holder of one: who
 * has one waits for no other lock.
 */
int wqi_timer_rearm(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	uint64_t now_ns = wqi_clock_late_ns(), state;
	struct wqi_shard *shard;
	int ret;

	do {
		state = wqi_state(&dw->work);
		if (!wqi_state_is_in_shard(state))
			return 0;
		if (!how->beside && state & ~WQI_MOVING & (WQI_ARMED | WQI_PENDING))
			return 0;
		if (wqi_unlikely(state & WQI_MOVING || wqi_timer_locks_held)) {
			ret = rearm_unlocked(dw, how, state,
					     wqi_arming_expires_ns(now_ns, how->delay_ns));
			continue;
		}
		shard = wqi_shard_of_state(state);
		wqi_shard_lock(shard);
		ret = rearm_locked(shard, dw, how, now_ns);
		wqi_shard_unlock(shard);
	} while (!ret);
	return ret;
}

int wqi_timer_move(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	uint64_t now_ns = wqi_clock_late_ns();
	struct wqi_shard *shard = wqi_timer_lock_armed(&dw->work);
	int here = (int)wqi_cpu_current(), ret = 1;
	bool due = false;
	unsigned token;

	if (!shard)
		return 0;
	/* ORD-DRAIN (a): `refuse` is read inside the section in which the item is pushed. */
	token = wqi_rcu_read_lock();
	if (wqi_state_refusal(wqi_state(&dw->work))) {
		ret = -EBUSY;
	} else if (how->wq != dw->wq_timer.wq_queue && wqi_load_seq_cst(&how->wq->closed)) {
		ret = -ESHUTDOWN;
	} else {
		wqi_shard_unlink_locked(shard, dw);
		if (!how->delay_ns && !wqi_queue_refuses(how->wq)) {
			due = rearm_claim_due_locked(&dw->work);
			ret = due;
		} else {
			wqi_arming_set(dw, how, wqi_arming_expires_ns(now_ns, how->delay_ns), here);
			wqi_shard_link_locked(shard, dw, now_ns);
		}
	}
	wqi_shard_unlock(shard);
	if (due)
		wqi_queue_claimed(how->wq, &dw->work, how->cpu < 0 ? here : how->cpu);
	wqi_rcu_read_unlock(token);
	return ret;
}

/*
 * An item that is held (ARMED and MOVING) is queued, or made idle if it has been
 * cancelled.  False: the queue refuses it, and it is held still.
 */
static bool rearm_queue_held_rcu(struct wq_delayed_work *dw)
{
	uint64_t old = wqi_state(&dw->work), new;
	struct wq *wq = dw->wq_timer.wq_queue;
	int cpu = dw->wq_timer.wq_cpu;

	/* ORD-DRAIN (a) */
	if (wqi_queue_refuses(wq))
		return false;
	do {
		new = old & ~(WQI_ARMED | WQI_MOVING);
		if (old & WQI_ARMED && !(old & WQI_PENDING))
			new |= WQI_PENDING | WQI_TRANSIT;
	} while (!wqi_cas(&dw->work.wq_state, &old, new));
	if (new &WQI_TRANSIT && !(old & WQI_PENDING))
		wqi_queue_claimed(wq, &dw->work, cpu);
	return true;
}

int wqi_timer_move_pending(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	unsigned here = wqi_cpu_current(), token;
	struct wqi_shard *shard = &wqi_shards[here & (wqi_nr_shards - 1)];
	uint64_t held = WQI_ARMED | WQI_MOVING | wqi_shard_in_state(shard);
	uint64_t expires_ns = wqi_arming_expires_ns(wqi_clock_now_ns(), how->delay_ns);
	int ret = -ESHUTDOWN;

	token = wqi_rcu_read_lock();
	/* ORD-CLOSE (a) */
	if (!wqi_load_seq_cst(&how->wq->closed))
		ret = wqi_cancel_hold_rcu(&dw->work, held);
	if (ret == 1) {
		wqi_arming_set(dw, how, expires_ns, (int)here);
		wqi_timer_node(dw)->link.prev = NULL;
		wqi_pause_point("timer held");
		if (how->delay_ns || !rearm_queue_held_rcu(dw))
			wqi_shard_push(shard, dw);
	}
	wqi_rcu_read_unlock(token);
	if (ret != -EAGAIN)
		return ret;
	wqi_pause_point("timer looks again");
	wqi_rcu_synchronize();
	return 0;
}
