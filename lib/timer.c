/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns an item's way into a shard, and back. */
#include "timer.h"

#include <errno.h>

#include "block.h"
#include "cpu.h"
#include "rcu.h"
#include "shard.h"

_Static_assert(sizeof(struct wq_delayed_work) <= 96, "a delayed item is at most 96 bytes");
_Static_assert(offsetof(struct wq_timer, wq_expires_ns) ==
		       offsetof(struct wqi_wheel_node, expires_ns),
	       "a timer begins with a node of the wheel");

/* --- the way in --- */

/*
 * Claim the item for arming; ORD-PENDING (a), as a queueing's claim.  1; 0 by a
 * completed exchange of the word with itself; -errno.  Under the shard's lock, or in a
 * read-side section: wqi_timers_close() waits for both.
 */
static int timer_claim(struct wq_delayed_work *dw, const struct wqi_arming *how, uint64_t set)
{
	uint64_t old = wqi_load_relaxed(&dw->work.wq_state), new, taken = WQI_ARMED | WQI_PENDING;

	if (how->beside)
		taken = WQI_ARMED;
	do {
		int err = wqi_state_refusal(old);

		if (wqi_unlikely(err))
			return err;
		new = old;
		if (wqi_unlikely(!wqi_state_is_ours(old)))
			new = (old & (WQI_INIT | WQI_DEPTH_MASK)) | wqi_fork.generation | set;
		else if (!(old & taken))
			new = (old & ~WQI_SHARD_MASK) | set;
		/* ORD-CLOSE (a) */
		if (new != old && wqi_unlikely(wqi_load_seq_cst(&how->wq->closed)))
			return -ESHUTDOWN;
	} while (!wqi_cas(&dw->work.wq_state, &old, new));
	return new != old;
}

static inline void timer_set(struct wq_delayed_work *dw, const struct wqi_arming *how,
			     uint64_t expires_ns, int here)
{
	wqi_store_relaxed(&dw->wq_timer.wq_expires_ns, expires_ns);
	dw->wq_timer.wq_queue = how->wq;
	dw->wq_timer.wq_cpu = how->cpu < 0 ? here : how->cpu;
}

/* The lock is not to be had at once. */
static WQI_SLOW int timer_arm_through_inbox(struct wqi_shard *shard, struct wq_delayed_work *dw,
					    const struct wqi_arming *how, uint64_t expires_ns,
					    int here)
{
	unsigned token = wqi_rcu_read_lock();
	int ret = timer_claim(dw, how, WQI_ARMED | WQI_MOVING | wqi_shard_in_state(shard));

	if (ret == 1) {
		timer_set(dw, how, expires_ns, here);
		wqi_timer_node(dw)->link.prev = NULL;
		wqi_pause_point("timer push");
		wqi_shard_push(shard, dw);
	}
	wqi_rcu_read_unlock(token);
	return ret;
}

static uint64_t timer_expires_ns(uint64_t now_ns, uint64_t delay_ns)
{
	return delay_ns < WQI_NEVER - now_ns ? now_ns + delay_ns : WQI_NEVER;
}

int wqi_timer_arm(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	unsigned here = wqi_cpu_current();
	struct wqi_shard *shard = &wqi_shards[here & (wqi_nr_shards - 1)];
	uint64_t now_ns = wqi_clock_now_ns();
	uint64_t expires_ns = timer_expires_ns(now_ns, how->delay_ns);
	int ret;

	if (wqi_unlikely(!wqi_shard_try_lock(shard)))
		return timer_arm_through_inbox(shard, dw, how, expires_ns, (int)here);
	ret = timer_claim(dw, how, WQI_ARMED | wqi_shard_in_state(shard));
	wqi_pause_point("timer claimed");
	if (wqi_likely(ret == 1)) {
		timer_set(dw, how, expires_ns, (int)here);
		wqi_shard_link_locked(shard, dw, now_ns);
	}
	wqi_shard_unlock(shard);
	return ret;
}

/*
 * Lock the shard in which the item is armed.  NULL: it is not armed.  With the lock held
 * it stays so, or a signal handler cancels it; then whoever unlocks ends that.
 */
static struct wqi_shard *timer_lock_armed(struct wq_work *work)
{
	uint64_t state = wqi_state(work);
	struct wqi_shard *shard;

	while (wqi_state_is_armed(state)) {
		if (state & WQI_MOVING) {
			wqi_timer_settle(work);
			state = wqi_state(work);
			continue;
		}
		shard = wqi_shard_of_state(state);
		wqi_shard_lock(shard);
		state = wqi_state(work);
		if (wqi_state_is_armed(state) && !(state & WQI_MOVING) &&
		    wqi_shard_of_state(state) == shard)
			return shard;
		wqi_shard_unlock(shard);
		state = wqi_state(work);
	}
	return NULL;
}

int wqi_timer_move(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	uint64_t now_ns = wqi_clock_now_ns();
	struct wqi_shard *shard = timer_lock_armed(&dw->work);
	int ret = 1;

	if (!shard)
		return 0;
	if (wqi_state_refusal(wqi_state(&dw->work))) {
		ret = -EBUSY;
	} else if (how->wq != dw->wq_timer.wq_queue && wqi_load_seq_cst(&how->wq->closed)) {
		ret = -ESHUTDOWN;
	} else {
		wqi_shard_unlink_locked(shard, dw);
		timer_set(dw, how, timer_expires_ns(now_ns, how->delay_ns), (int)wqi_cpu_current());
		wqi_shard_link_locked(shard, dw, now_ns);
	}
	wqi_shard_unlock(shard);
	return ret;
}

/* --- the way back --- */

void wqi_timer_settle(struct wq_work *work)
{
	struct wqi_shard *shard;
	uint64_t state;

	wqi_pause_point("timer settles");
	wqi_rcu_synchronize();
	state = wqi_state(work);
	if (!wqi_state_is_in_shard(state))
		return;
	shard = wqi_shard_of_state(state);
	wqi_shard_lock(shard);
	wqi_shard_unlock(shard);
}

/*
 * Cancel without the shard's lock: whoever brings the item there, or takes it from the
 * inbox, makes it idle.
 */
static bool timer_mark(struct wq_work *work, uint64_t state)
{
	unsigned token = wqi_rcu_read_lock();
	bool marked = wqi_cas(&work->wq_state, &state, (state & ~WQI_ARMED) | WQI_MOVING);

	if (marked && !(state & WQI_MOVING))
		wqi_shard_push(wqi_shard_of_state(state), wqi_timer_of_work(work));
	wqi_rcu_read_unlock(token);
	return marked;
}

int wqi_timer_cancel(struct wq_work *work)
{
	struct wqi_shard *shard;
	uint64_t state = wqi_state(work);
	bool taken;

	while (wqi_state_is_armed(state)) {
		if (wqi_unlikely(wqi_timer_of_work(work)->wq_timer.wq_kind == WQ_TIMER_RCU))
			return -EBUSY;
		if (wqi_unlikely(state & WQI_MOVING || wqi_timer_locks_held)) {
			if (timer_mark(work, state))
				return 1;
			state = wqi_state(work);
			continue;
		}
		shard = wqi_shard_of_state(state);
		wqi_shard_lock(shard);
		state = wqi_state(work);
		if (wqi_likely(wqi_state_is_armed(state) && !(state & WQI_MOVING) &&
			       wqi_shard_of_state(state) == shard)) {
			/* Off the wheel before others may have it. */
			wqi_shard_unlink_locked(shard, wqi_timer_of_work(work));
			taken = wqi_timer_disarm_locked(work, 0) & WQI_ARMED;
			wqi_shard_unlock(shard);
			return taken;
		}
		wqi_shard_unlock(shard);
		state = wqi_state(work);
	}
	return 0;
}

/* --- before its time --- */

/*
 * @anyway: whatever its queue says, but not where the caller, who
 * wants to wait for it, is in its way (-EDEADLK).  1; 0 it is not armed.
 */
static int timer_end_wait(struct wq_delayed_work *dw, bool anyway)
{
	struct wqi_shard *shard = timer_lock_armed(&dw->work);
	unsigned token;
	bool due;

	if (!shard)
		return 0;
	token = wqi_rcu_read_lock();
	if (anyway && wqi_worker_is_in_the_way(wqi_queue_pwq_rcu(dw->wq_timer.wq_queue,
								 (unsigned)dw->wq_timer.wq_cpu))) {
		wqi_shard_unlock(shard);
		wqi_rcu_read_unlock(token);
		return -EDEADLK;
	}
	wqi_wheel_remove(wqi_timer_node(dw));
	due = wqi_shard_claim_due_locked(shard, dw, anyway);
	wqi_shard_unlock(shard);
	if (due)
		wqi_timer_push_due(dw);
	wqi_rcu_read_unlock(token);
	return 1;
}

int wqi_timer_fire(struct wq_work *work)
{
	return timer_end_wait(wqi_timer_of_work(work), true);
}

bool wqi_timer_expire(struct wq_delayed_work *dw)
{
	return timer_end_wait(dw, false);
}
