/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the timer shards: which delayed, rcu and trigger items are armed, and their way
 * in and out.  Has no thread (clock.c) and waits for no item.
 *
 * A shard serves the CPUs whose number is its own modulo the number of shards.  Who
 * gets its lock at once arms right into the wheel; who does not (another thread has
 * it, or a signal handler interrupted its holder) leaves the item in the shard's
 * inbox, and whoever unlocks takes it from there.  So arming waits for nobody, and
 * nothing is left for later.
 *
 * The state word (item.h) says where an armed item is:
 *   ARMED             in its shard: in the wheel, or parked because its queue refuses
 *   ARMED and MOVING  claimed, and on its way to the inbox or in it
 *   MOVING            cancelled on its way, or from a signal handler: who holds it, or
 *                     takes it from the inbox, makes it idle
 * The number of the shard stands in the word too, so that who reads ARMED knows which
 * lock to take; with that held, the word can't change but by a signal handler's cancel.
 */
#ifndef WQI_TIMER_H
#define WQI_TIMER_H

#include <wq/delayed.h>

#include "item.h"

struct wq;

/* How many items are armed on a queue in one shard.  T of that shard. */
struct wqi_armed {
	unsigned nr;
} WQI_CACHE_ALIGNED;

/* Make the shards, once.  0 or -ENOMEM.  Under G. */
int wqi_timers_init(void);

/* Free them; no item is armed, and no thread uses them.  Under G. */
void wqi_timers_free(void);

/* In the child of a fork(): nothing is armed.  Under G. */
void wqi_timers_reset(void);

/* Memory for the counts of a queue, of every shard. */
size_t wqi_timers_armed_bytes(void);

/* What an item is armed for. */
struct wqi_arming {
	struct wq *wq;
	uint64_t delay_ns;	 /* WQI_NEVER: until wqi_timer_expire() */
	int cpu;		 /* -1: the caller's */
	bool beside;		 /* also while it is pending */
	struct k_work_q *zephyr; /* by Zephyr's rules: see below; had @wq when read */
	const struct rcu_flavor_struct *flavor; /* of an RCU item */
};

/*
 * 1; 0 armed or pending already; -EINVAL, -EBUSY, -ESHUTDOWN.  Lock-free, AS-safe.
 *
 * By Zephyr's rules who is being cancelled is not refused: it is as good as pending, or with
 * `beside` is armed all the same.  -EAGAIN: a shard has it still, though it was cancelled, for
 * wqi_timer_rearm().  -ENODEV: the k_work_q has another queue meanwhile, or none; so `wq` need not
 * be kept by the caller: who stops one takes it away, and then has all shards' holders and
 * sections end (wqi_timers_pass()).
 */
int wqi_timer_arm(struct wq_delayed_work *dw, const struct wqi_arming *how);

/*
 * The same in two steps, for who has something to do between: it is claimed as if on its
 * way to the inbox, and then put into its shard.  In one read-side section; the second
 * sleeps for the lock, and says false if the item was cancelled: the caller ends that.
 */
int wqi_timer_claim(struct wq_delayed_work *dw, const struct wqi_arming *how);
bool wqi_timer_admit(struct wq_delayed_work *dw);

/*
 * Change what an armed item is armed for; without a delay, queue it, or where the queue
 * refuses it just now, leave it armed with its time up.  1; 0 it is not armed, or not any
 * more; -EBUSY, -ESHUTDOWN.  May sleep.
 */
int wqi_timer_move(struct wq_delayed_work *dw, const struct wqi_arming *how);

/*
 * Zephyr's: the same, with a delay, AS-safe, and whatever else the item does with `beside`; what
 * a shard has still, though it was cancelled, is armed again.  1; 0 no shard has it, or it is
 * armed or pending without `beside`; -ESHUTDOWN,
 * -ENODEV.
 */
int wqi_timer_rearm(struct wq_delayed_work *dw, const struct wqi_arming *how);

/* The same for a pending one.  0 it is not pending, or was on its way: look again. */
int wqi_timer_move_pending(struct wq_delayed_work *dw, const struct wqi_arming *how);

/*
 * Take an armed item back.  1, and in *@beside whether an instance was pending; 0 it is
 * not armed, or not any more; -EBUSY one that waits for a grace period.  AS-safe.
 */
int wqi_timer_cancel(struct wq_work *work, bool *beside);

/* Somebody was just arming or cancelling the item: have that end.  Sleeps. */
void wqi_timer_settle(struct wq_work *work);

/*
 * Queue an armed item now, whatever its queue says.  1; 0 it is not armed; -EDEADLK it
 * could not run before the caller's own item has ended; -EAGAIN it waits for a grace
 * period.  May sleep.
 */
int wqi_timer_fire(struct wq_work *work);

/*
 * An item that is due, and where it goes: wq_reschedule() may arm it anew, for elsewhere,
 * as soon as it is claimed.
 */
struct wqi_due {
	struct wq_delayed_work *dw;
	struct wq *wq;
	int cpu;
};

/*
 * What the item waits for, other than its time, has come: it is due, and is parked if its
 * queue refuses it.  True: it is claimed, for wqi_timer_push_due() in the same read-side
 * section, which the caller is in.
 */
bool wqi_timer_claim_event(struct wq_delayed_work *dw, struct wqi_due *due);

/* Queue an item that was claimed as due.  In the same section. */
void wqi_timer_push_due(const struct wqi_due *due);

/*
 * The flavour of whose grace period an RCU item waits for the end, and the number of this
 * arming, which no later one shares.  NULL: it does not, or not any more.  May sleep.
 */
const struct rcu_flavor_struct *wqi_timer_flavor(struct wq_delayed_work *dw, uint64_t *number);

/*
 * From now on nothing is armed on @wq.  -EBUSY: something is, and nothing has changed.
 * Sleeps.
 */
int wqi_timers_close(struct wq *wq);
void wqi_timers_reopen(struct wq *wq);

/* Queues have begun to take items again: what is parked is looked at.  AS-unsafe. */
void wqi_timers_unpark(void);

/* Have the manager do that, for a signal handler; and the manager's. */
void wqi_timers_ask_unpark(void);
void wqi_timers_serve_unpark(void);

/* Wait for whoever holds a shard's lock.  Sleeps. */
void wqi_timers_pass(void);

/*
 * The clock's: queue what is due, until *@enough if that is given.  Returns when the next
 * is due, or WQI_NEVER.  By one thread at a time.
 */
uint64_t wqi_timers_run(const uint32_t *enough);

/* The clock thread's: not later than the first that is due.  ORD-CLOCK (b). */
uint64_t wqi_timers_earliest(void);

/* Locks of shards that this thread holds or is taking; as wqi_pool_locks_held. */
extern __thread volatile unsigned wqi_timer_locks_held __attribute__((tls_model("initial-exec")));

static inline struct wq_delayed_work *wqi_timer_of_work(struct wq_work *work)
{
	return caa_container_of(work, struct wq_delayed_work, work);
}

#endif /* WQI_TIMER_H */
