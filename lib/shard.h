/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns a timer shard: its lock, its inbox, its wheel, and what is parked.  What the
 * items' words say is in timer.h.
 *
 * The lock (T) is a leaf.  No pool's lock is taken under it, and nobody waits or
 * allocates; it is taken in read-side sections too.
 */
#ifndef WQI_SHARD_H
#define WQI_SHARD_H

#include "clock.h"
#include "fenced.h"
#include "queue.h"
#include "timer.h"
#include "wheel.h"

struct wqi_shard {
	struct wqi_fenced lock;		 /* T */
	struct wq_delayed_work *inbox;	 /* A, seq_cst: newest first, by wq_next; ORD-FENCED */
	uint64_t earliest_ns;		 /* T+, seq_cst: not later than the first that is due */
	unsigned index;			 /* I: its number */
	bool unpark;			 /* T: what is parked is to be looked at */
	struct cds_list_head parked;	 /* T: due, and their queues refuse them */
	struct wq_delayed_work *leaving; /* T: trigger items that signal handlers cancelled */
	struct wqi_wheel wheel;		 /* T */
} WQI_CACHE_ALIGNED;

extern struct wqi_shard *wqi_shards; /* I once started */
extern unsigned wqi_nr_shards;	     /* I once started: a power of two */

static inline struct wqi_wheel_node *wqi_timer_node(struct wq_delayed_work *dw)
{
	return (struct wqi_wheel_node *)(void *)&dw->wq_timer;
}

static inline struct wqi_shard *wqi_shard_of_state(uint64_t state)
{
	return &wqi_shards[(state & WQI_SHARD_MASK) >> WQI_SHARD_SHIFT];
}

static inline uint64_t wqi_shard_in_state(const struct wqi_shard *shard)
{
	return (uint64_t)shard->index << WQI_SHARD_SHIFT;
}

static inline unsigned *wqi_shard_count(const struct wqi_shard *shard, const struct wq *wq)
{
	return &wq->armed[shard->index].nr;
}

#define wqi_shard_assert_held(shard) wqi_assert_held(&(shard)->lock.lock)

/*
 * The caller is a signal handler, and the thread that it interrupted holds a shard's or a
 * pool's lock.  To wait for either kind is to wait for oneself, or, where another
 * handler does the same the other way round, for each other.
 */
static inline bool wqi_cancel_may_not_lock(void)
{
	return wqi_timer_locks_held || wqi_pool_locks_held;
}

/* Take from the inbox what is in it. */
void wqi_shard_splice_locked(struct wqi_shard *shard);

static inline bool wqi_shard_try_lock(struct wqi_shard *shard)
{
	wqi_timer_locks_held++;
	if (wqi_likely(wqi_fenced_try_lock(&shard->lock)))
		return true;
	wqi_timer_locks_held--;
	return false;
}

/* The same, but looks a few times; unless the caller may be above the holder, as a handler. */
bool wqi_shard_spin_lock(struct wqi_shard *shard);

static inline void wqi_shard_lock(struct wqi_shard *shard)
{
	wqi_yield_point();
	wqi_timer_locks_held++;
	wqi_fenced_lock(&shard->lock);
	if (wqi_unlikely(wqi_load_relaxed(&shard->inbox)))
		wqi_shard_splice_locked(shard);
}

/*
 * ORD-FENCED (a): unlock, then look at the inbox.  Partner (b): push, fence, then try the
 * lock.  So "the pusher finds it locked and the holder finds nothing" is impossible.
 */
static inline void wqi_shard_unlock(struct wqi_shard *shard)
{
	uint64_t earliest_ns;

	do {
		earliest_ns = shard->earliest_ns;
		wqi_fenced_unlock(&shard->lock);
		wqi_timer_locks_held--;
		wqi_clock_note(earliest_ns);
		if (wqi_likely(!wqi_load_relaxed(&shard->inbox)) || !wqi_shard_try_lock(shard))
			return;
		wqi_shard_splice_locked(shard);
	} while (true);
}

/*
 * Leave an item in MOVING to whoever has the lock; ORD-FENCED (b).  In a read-side
 * section.  The item may be gone afterwards.
 */
void wqi_shard_push(struct wqi_shard *shard, struct wq_delayed_work *dw);

static inline void wqi_shard_set_earliest_locked(struct wqi_shard *shard, uint64_t ns)
{
	wqi_store_seq_cst(&shard->earliest_ns, ns); /* ORD-CLOCK (a), first half */
}

static inline void wqi_shard_link_locked(struct wqi_shard *shard, struct wq_delayed_work *dw,
					 uint64_t now_ns)
{
	uint64_t expires_ns = dw->wq_timer.wq_expires_ns;

	wqi_shard_assert_held(shard);

	wqi_wheel_add(&shard->wheel, wqi_timer_node(dw), now_ns);
	++*wqi_shard_count(shard, dw->wq_timer.wq_queue);
	if (wqi_unlikely(expires_ns < shard->earliest_ns))
		wqi_shard_set_earliest_locked(shard, expires_ns);
}

static inline void wqi_shard_unlink_locked(struct wqi_shard *shard, struct wq_delayed_work *dw)
{
	wqi_shard_assert_held(shard);

	wqi_wheel_remove(wqi_timer_node(dw));
	--*wqi_shard_count(shard, dw->wq_timer.wq_queue);
}

/*
 * An item off the wheel is to be queued; unless @anyway, it is parked if its queue
 * refuses it.  True: it is claimed (TRANSIT), for wqi_timer_push_due() without the lock,
 * in the same read-side section.
 */
bool wqi_shard_claim_due_locked(struct wqi_shard *shard, struct wq_delayed_work *dw, bool anyway,
				struct wqi_due *due);

/* Have what is in the inbox, and what signal handlers cancelled, end.  Not in a section. */
void wqi_shard_settle(struct wqi_shard *shard);

/*
 * Not armed any more, but @set, and @set_idle if it is not pending.  Unless a signal
 * handler has cancelled it just now, or armed it anew: then it stays in MOVING, and will come
 * out of the inbox.  Returns the word before, without ARMED then.
 */
static inline uint64_t wqi_timer_disarm_locked(struct wq_work *work, uint64_t set_idle,
					       uint64_t set)
{
	uint64_t old = wqi_state(work), new;

	do {
		if ((old & (WQI_ARMED | WQI_MOVING)) != WQI_ARMED)
			return old & ~WQI_ARMED;
		new = (old & ~WQI_ARMED) | set;
		if (!(old & WQI_PENDING))
			new |= set_idle;
	} while (!wqi_cas(&work->wq_state, &old, new));
	return old;
}

#endif /* WQI_SHARD_H */
