/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns an item's way into a shard, and back.  One that is there gets another time in rearm.c. */
#include "timer.h"

#include <errno.h>

#include "arming.h"
#include "block.h"
#include "cpu.h"
#include "rcu.h"
#include "shard.h"
#include "trigger.h"
#include "zephyr.h"

#include <wq/rcu.h>

_Static_assert(sizeof(struct wq_delayed_work) <= 96, "a delayed item is at most 96 bytes");
_Static_assert(offsetof(struct wq_timer, wq_expires_ns) ==
		       offsetof(struct wqi_wheel_node, expires_ns),
	       "a timer begins with a node of the wheel");

/* --- the way in --- */

/* What keeps an item from being armed; *@as_good: it has what it was to get. */
static int timer_refusal(uint64_t state, const struct wqi_arming *how, bool *as_good)
{
	uint64_t busy = WQI_PENDING | WQI_CANCEL | WQI_CANCELLER_MASK;

	if (wqi_likely(!how->zephyr))
		return wqi_state_refusal(state);
	if (!(state & WQI_INIT) || state & WQI_DEPTH_MASK)
		return state & WQI_INIT ? -EBUSY : -EINVAL;
	if (!wqi_state_is_ours(state))
		return 0;
	*as_good = state & WQI_ARMED || (state & busy && !how->beside);
	return state & WQI_MOVING && !*as_good ? -EAGAIN : 0;
}

/* What the word of an item that is not plainly idle becomes; or @old: it is as good as armed. */
static WQI_SLOW int timer_choose(uint64_t old, const struct wqi_arming *how, uint64_t set,
				 uint64_t *new)
{
	uint64_t taken = how->beside ? WQI_ARMED : WQI_ARMED | WQI_PENDING;
	bool as_good = false;
	int err = timer_refusal(old, how, &as_good);

	*new = old;
	if (err)
		return err;
	if (!wqi_state_is_ours(old))
		*new = (old & (WQI_INIT | WQI_DEPTH_MASK)) | wqi_fork.generation | set;
	else if (!(old & taken) && !as_good)
		*new = (old & ~WQI_SHARD_MASK) | set;
	return 0;
}

/*
 * Claim the item for arming; ORD-PENDING (a), as a queueing's claim.  1; 0 by a
 * completed exchange of the word with itself; -errno.  Under the shard's lock, or in a
 * read-side section: wqi_timers_close() waits for both.
 */
static inline int timer_claim(struct wq_delayed_work *dw, const struct wqi_arming *how,
			      uint64_t set)
{
	uint64_t old = wqi_load_relaxed(&dw->work.wq_state), new;
	uint64_t idle = wqi_fork.generation | WQI_INIT;
	int err;

	do {
		if (wqi_likely(!((old ^ idle) & (WQI_UNUSUAL | WQI_PENDING)))) {
			new = (old & ~WQI_SHARD_MASK) | set;
		} else {
			err = timer_choose(old, how, set, &new);
			if (err)
				return err;
			if (new == old)
				continue;
		}
		if (wqi_unlikely(how->zephyr && !wqi_arming_has_queue(how)))
			return -ENODEV;
		/* ORD-CLOSE (a) */
		if (wqi_unlikely(wqi_load_seq_cst(&how->wq->closed)))
			return -ESHUTDOWN;
	} while (!wqi_cas(&dw->work.wq_state, &old, new));
	/* On a list of the parent's, if it was pending at a fork(): the word has forgotten. */
	if (wqi_unlikely(new != old && !wqi_state_is_ours(old))) {
		wqi_work_link(&dw->work)->prev = NULL;
		if (how->zephyr)
			wqi_zephyr_forget(&dw->work);
	}
	return new != old;
}

/* The lock is not to be had at once. */
static WQI_SLOW int timer_arm_through_inbox(struct wqi_shard *shard, struct wq_delayed_work *dw,
					    const struct wqi_arming *how, uint64_t expires_ns,
					    int here)
{
	unsigned token = wqi_rcu_read_lock();
	int ret = timer_claim(dw, how, WQI_ARMED | WQI_MOVING | wqi_shard_in_state(shard));

	if (ret == 1) {
		wqi_arming_set(dw, how, expires_ns, here);
		wqi_timer_node(dw)->link.prev = NULL;
		wqi_pause_point("timer push");
		wqi_shard_push(shard, dw);
	}
	wqi_rcu_read_unlock(token);
	return ret;
}

static struct wqi_shard *shard_of_cpu(unsigned cpu)
{
	return &wqi_shards[cpu & (wqi_nr_shards - 1)];
}

int wqi_timer_arm(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	unsigned here = wqi_cpu_current();
	struct wqi_shard *shard = shard_of_cpu(here);
	uint64_t now_ns = wqi_clock_late_ns();
	uint64_t expires_ns = wqi_arming_expires_ns(now_ns, how->delay_ns);
	int ret;

	if (wqi_unlikely(!wqi_shard_try_lock(shard)) && !wqi_shard_spin_lock(shard))
		return timer_arm_through_inbox(shard, dw, how, expires_ns, (int)here);
	ret = timer_claim(dw, how, WQI_ARMED | wqi_shard_in_state(shard));
	wqi_pause_point("timer claimed");
	if (wqi_likely(ret == 1)) {
		wqi_arming_set(dw, how, expires_ns, (int)here);
		wqi_shard_link_locked(shard, dw, now_ns);
	}
	wqi_shard_unlock(shard);
	return ret;
}

int wqi_timer_claim(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	unsigned here = wqi_cpu_current();
	struct wqi_shard *shard = shard_of_cpu(here);
	uint64_t expires_ns = wqi_arming_expires_ns(wqi_clock_late_ns(), how->delay_ns);
	int ret = timer_claim(dw, how, WQI_ARMED | WQI_MOVING | wqi_shard_in_state(shard));

	if (ret == 1) {
		wqi_arming_set(dw, how, expires_ns, (int)here);
		wqi_timer_node(dw)->link.prev = NULL;
	}
	return ret;
}

bool wqi_timer_admit(struct wq_delayed_work *dw)
{
	uint64_t old = wqi_state(&dw->work);
	struct wqi_shard *shard = wqi_shard_of_state(old);
	bool armed;

	wqi_shard_lock(shard);
	do {
		armed = old & WQI_ARMED;
	} while (armed && !wqi_cas(&dw->work.wq_state, &old, old & ~WQI_MOVING));
	if (armed)
		wqi_shard_link_locked(shard, dw, 0);
	wqi_shard_unlock(shard);
	return armed;
}

struct wqi_shard *wqi_timer_lock_armed(struct wq_work *work)
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

/* --- the way back --- */

void wqi_timer_settle(struct wq_work *work)
{
	uint64_t state;

	wqi_pause_point("timer settles");
	wqi_rcu_synchronize();
	state = wqi_state(work);
	if (wqi_state_is_in_shard(state))
		wqi_shard_settle(wqi_shard_of_state(state));
}

/*
 * Cancel without the shard's lock: whoever brings the item there, or takes it from the
 * inbox, makes it idle.
 */
static bool timer_mark(struct wq_work *work, uint64_t state)
{
	unsigned token = wqi_rcu_read_lock();
	bool marked;

	/* A time beside the old one is of what is cancelled now. */
	if (wqi_unlikely(wqi_timer_of_work(work)->wq_timer.wq_kind == WQ_TIMER_ZEPHYR))
		wqi_zephyr_drop_again(wqi_timer_of_work(work));
	marked = wqi_cas(&work->wq_state, &state, (state & ~WQI_ARMED) | WQI_MOVING);
	if (marked && !(state & WQI_MOVING))
		wqi_shard_push(wqi_shard_of_state(state), wqi_timer_of_work(work));
	wqi_rcu_read_unlock(token);
	return marked;
}

/*
 * Off the wheel before others may have it.  A trigger item stays in MOVING until its
 * events are off their lists; in a read-side section then.  Returns the word before, not
 * ARMED if a signal handler was quicker.
 */
static uint64_t timer_take_back_locked(struct wqi_shard *shard, struct wq_work *work, uint64_t set)
{
	wqi_shard_unlink_locked(shard, wqi_timer_of_work(work));
	return wqi_timer_disarm_locked(work, 0, set);
}

/* With the shard's lock held, which it drops. */
static WQI_SLOW bool timer_cancel_trigger(struct wqi_shard *shard, struct wq_work *work)
{
	unsigned token = wqi_rcu_read_lock();
	bool taken = timer_take_back_locked(shard, work, WQI_MOVING) & WQI_ARMED;

	wqi_shard_unlock(shard);
	if (taken) {
		wqi_pause_point("trigger cancelled");
		wqi_trigger_detach(caa_container_of(work, struct wq_trigger_work, work));
		wqi_state_change(work, WQI_MOVING, 0);
	}
	wqi_rcu_read_unlock(token);
	return taken;
}

int wqi_timer_cancel(struct wq_work *work, bool *beside)
{
	const struct wq_timer *timer = &wqi_timer_of_work(work)->wq_timer;
	uint64_t state = wqi_state(work);
	struct wqi_shard *shard;

	while (wqi_state_is_armed(state)) {
		*beside = state & WQI_PENDING;
		if (wqi_unlikely(timer->wq_kind == WQ_TIMER_RCU))
			return -EBUSY;
		if (wqi_unlikely(state & WQI_MOVING || wqi_cancel_may_not_lock())) {
			if (timer_mark(work, state))
				return 1;
			state = wqi_state(work);
			continue;
		}
		wqi_pause_point("timer cancels");
		shard = wqi_shard_of_state(state);
		wqi_shard_lock(shard);
		state = wqi_state(work);
		if (wqi_likely(wqi_state_is_armed(state) && !(state & WQI_MOVING) &&
			       wqi_shard_of_state(state) == shard)) {
			if (wqi_unlikely(timer->wq_kind == WQ_TIMER_TRIGGER)) {
				*beside = !timer_cancel_trigger(shard, work);
				return !*beside;
			}
			state = timer_take_back_locked(shard, work, 0);
			wqi_shard_unlock(shard);
			*beside = !(state & WQI_ARMED) || state & WQI_PENDING;
			return !!(state & WQI_ARMED);
		}
		wqi_shard_unlock(shard);
		state = wqi_state(work);
	}
	*beside = true;
	return 0;
}

/* --- before its time --- */

static bool timer_is_waiting_locked(const struct wq_delayed_work *dw)
{
	return dw->wq_timer.wq_expires_ns == WQI_NEVER;
}

const struct rcu_flavor_struct *wqi_timer_flavor(struct wq_delayed_work *dw, uint64_t *number)
{
	const struct rcu_flavor_struct *flavor = NULL;
	struct wqi_shard *shard = wqi_timer_lock_armed(&dw->work);

	if (!shard)
		return NULL;
	if (timer_is_waiting_locked(dw)) {
		flavor = wqi_load_relaxed(&wqi_arming_rcu(dw)->wq_flavor);
		*number = wqi_arming_rcu(dw)->wq_armings;
	}
	wqi_shard_unlock(shard);
	return flavor;
}

/* Who wants to wait for the item must not be in its way. */
static int timer_may_fire_locked(const struct wq_delayed_work *dw)
{
	struct wqi_pwq *pwq;

	if (dw->wq_timer.wq_kind == WQ_TIMER_RCU && timer_is_waiting_locked(dw))
		return -EAGAIN;
	pwq = wqi_queue_pwq_rcu(dw->wq_timer.wq_queue, (unsigned)dw->wq_timer.wq_cpu);
	return wqi_worker_is_in_the_way(pwq) ? -EDEADLK : 1;
}

int wqi_timer_fire(struct wq_work *work)
{
	struct wq_delayed_work *dw = wqi_timer_of_work(work);
	struct wqi_shard *shard = wqi_timer_lock_armed(work);
	bool claimed = false;
	struct wqi_due due;
	unsigned token;
	int ret;

	if (!shard)
		return 0;
	token = wqi_rcu_read_lock();
	ret = timer_may_fire_locked(dw);
	if (ret == 1) {
		wqi_wheel_remove(wqi_timer_node(dw));
		claimed = wqi_shard_claim_due_locked(shard, dw, true, &due);
	}
	wqi_shard_unlock(shard);
	if (claimed)
		wqi_timer_push_due(&due);
	wqi_rcu_read_unlock(token);
	return ret;
}

bool wqi_timer_claim_event(struct wq_delayed_work *dw, struct wqi_due *due)
{
	struct wqi_shard *shard = wqi_timer_lock_armed(&dw->work);
	bool claimed;

	if (!shard)
		return false;
	wqi_wheel_remove(wqi_timer_node(dw));
	wqi_store_relaxed(&dw->wq_timer.wq_expires_ns, UINT64_C(0));
	claimed = wqi_shard_claim_due_locked(shard, dw, false, due);
	wqi_shard_unlock(shard);
	return claimed;
}
