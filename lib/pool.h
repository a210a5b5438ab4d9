/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the pool: where items wait and which worker is to look at them.  Makes no
 * threads (manager.c) and runs no items (worker.c).
 *
 * A zeroed pool is valid: the per-CPU pools are one untouched block of memory
 * until a CPU is used.  Whoever takes the lock first fills in the rest.
 */
#ifndef WQI_POOL_H
#define WQI_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include "atomic.h"
#include "futex.h"
#include "inbox.h"
#include "lock.h"
#include "pods.h"
#include "request.h"
#include "spin.h"

struct k_work;
struct wqi_pwq;
struct wqi_worker;

#define WQI_POOL_BUSY_BUCKETS 64u

/*
 * pool->kick: whom a producer has to call.  Anything else is a pointer to the
 * idle worker to be woken.
 */
#define WQI_KICK_MANAGER ((uintptr_t)0) /* there is no idle worker */
#define WQI_KICK_NOBODY	 ((uintptr_t)1) /* a worker is awake, or on its way, and will look */
#define WQI_KICK_MONITOR ((uintptr_t)2) /* those who run are in items, and nobody watches them */
/* A worker that runs may be blocked: that CPU's sentinel would know. */
#define WQI_KICK_SENTINEL(cpu) ((uintptr_t)(cpu) << 2 | 3u)

static inline bool wqi_kick_is_worker(uintptr_t kick)
{
	return kick > WQI_KICK_MONITOR && !(kick & 1);
}

/* From this cost on an item is worth some care: whom to call while it runs is published. */
#define WQI_DEAR_NS 5000u

/*
 * To wake a thread on another CPU takes 20 µs and more, on the same one 2: so idle
 * workers are also kept in mind by the CPU where they went to sleep, modulo this.
 */
#define WQI_RESERVES 8u

/* Places for those who run, beyond the level: for those who return from blocking. */
#define WQI_FEW_RUNNERS 4u

/*
 * A second worker is worth waking for items that cost at least this much, and is
 * a burden below the lower limit: the pool's lock and lines then change CPUs for
 * every item, which costs more than the item.
 */
#define WQI_HELP_WORTH_NS  2000u
#define WQI_HELP_BURDEN_NS 1000u

/* Who found a worker blocked, and how: see struct wq_pool_stats. */
enum wqi_blocked {
	WQI_BLOCKED_SLEEP,
	WQI_BLOCKED_DISK,
	WQI_BLOCKED_MONITOR,
	WQI_BLOCKED_SAID,
	WQI_NR_BLOCKED
};

struct wqi_waiter {
	struct cds_list_head node; /* L: pool->waiters, or worker->waiters */
	struct wq_work *work;	   /* I */
	bool spin;		   /* I: the item may end soon, on another CPU */
	bool elsewhere;		   /* L: it was cancelled, but runs in another pool */
	unsigned cpu;		   /* L: where it came from */
	uint64_t posted_ns;	   /* by `done`, stored before: when it was woken, if it slept */
	uint32_t done;		   /* A, release/acquire: futex word */
};

struct wqi_pool {
	/* What producers use: of the inbox each writes its slot. */
	struct wqi_inbox inbox WQI_CACHE_ALIGNED;
	uintptr_t kick;	     /* A, seq_cst: ORD-SLEEP */
	uintptr_t kick_next; /* A, relaxed; given under L: what a producer who takes a worker leaves
				there */

	/* What workers write. */
	struct wqi_lock lock WQI_CACHE_ALIGNED;
	struct wqi_worker *bias;    /* A, given under L: to whom the lock is biased; ORD-BIAS */
	unsigned calm_batches;	    /* L: of cheap items, since the bias was taken away */
	bool ready;		    /* L+: the lists are initialised */
	struct wqi_worker *spinner; /* L: waits awake for the inbox, or for others_wait; or NULL */
	bool retiring;		    /* L: an idle worker was told to end and has not */
	bool retire_timed;	    /* L: the manager will look when the oldest idle one is due */
	bool closing;		    /* L: all workers are to end */
	bool give_up;		    /* L: one worker is to end after its item */
	unsigned nr_running;	    /* L: workers that run items or look for some */
	unsigned nr_idle;	    /* L */
	unsigned nr_workers;	    /* L */
	unsigned nr_creating;	    /* L: threads on their way */
	struct wqi_spin idle_spin;  /* A: of workers that wait for items */
	struct wqi_spin flush_spin; /* A: of those who wait for an item to end */
	unsigned lazy_ns;	    /* L: how long to leave a busy inbox alone */
	uint64_t item_ns;	    /* L: what an item costs, from its run to the next */
	uint64_t nr_started;	    /* L+: items started */
	uint64_t seen_started;	    /* monitor only: nr_started at its last look */
	bool watched;		    /* L+, cleared seq_cst (ORD-WATCH): the monitor looks by time */
	bool offered;		    /* L: kick names somebody, though workers run */
	unsigned quiet_looks;	    /* L: looks in a row that found nothing to do */
	struct cds_list_head ready_list; /* L: items that got their share of max_active */
	struct cds_list_head worklist;	 /* L: items in the order of acceptance */
	struct cds_list_head idle;	 /* L: idle workers, last to sleep first */
	struct cds_list_head idle_on[WQI_RESERVES]; /* L: the same, by where they sleep */
	struct cds_list_head waiters; /* L: flushers of items that wait in this pool */

	/* What hardly changes. */
	struct wqi_worker *workers WQI_CACHE_ALIGNED; /* A, release: all ever made, by all_next */
	struct wqi_worker *spare;      /* L: those whose thread has ended, by spare_next */
	struct wqi_request to_manager; /* A */
	struct wqi_request to_monitor; /* A */
	/* A, release: idle workers for sentinels to wake; the first any, others by CPU */
	struct wqi_worker *reserve[1 + WQI_RESERVES];
	struct wqi_worker **runners; /* I: the array, whose places are A, release: who counts */
	unsigned nr_runners;	     /* I: its places; who finds none free is left to the monitor */
	struct wqi_worker *few[WQI_FEW_RUNNERS]; /* as runners, where these are enough */
	uint32_t told;		 /* A, seq_cst: sentinels have found runners blocked */
	bool asked;		 /* A, seq_cst: a sentinel wants the manager to look */
	uint64_t not_before_ns;	 /* A, relaxed: making a thread failed: when to try again, or 0 */
	unsigned id;		 /* I: number of an unbound pool */
	unsigned level;		 /* L+: workers that may run at once, with none borrowed */
	struct wqi_pods *pods;	 /* G; I while it has workers: whose it is, or NULL */
	unsigned pod;		 /* as pods: which of them */
	int cpu;		 /* I: the CPU, or -1 for an unbound pool */
	int nice;		 /* I: 0, or -20 for high priority */
	unsigned next_worker_id; /* L */
	unsigned last_cpu;	 /* L: where a worker last went to sleep */
	const char *name;	 /* G: of a dedicated queue's pool in use; I for its worker */
	bool dedicated;		 /* I: of one queue, or of its rescuer */
	bool bh;		 /* I: of a CPU, for WQ_BH */
	bool sole;		 /* I: one worker, and nobody stands in for it */
	bool adopted;		 /* L: its worker's thread is the program's */
	size_t stack_bytes;	 /* I while it has workers: their stacks are at least so large */
	struct wq *zephyr;	 /* I while it has workers: its queue, if that is a k_work_q */
	struct k_work
		*cancelled; /* A, seq_cst: by wq_next: cancelled while they run; ORD-CANCELLED */
	bool lets_go;	    /* A, relaxed: some were on that list */
	struct wq *rescues; /* A, release: the queue whose rescuer its worker is */
	uint32_t called;    /* A, seq_cst: the rescuer is to look; ORD-SLEEP */
	struct wqi_pool *unbound_next; /* GR: all unbound and dedicated pools */
	bool awaited;		       /* A, release/acquire: somebody waits for `settled` */
	uint32_t settled;	       /* A: futex word, posted by the manager */
	struct wqi_worker *dead;       /* L: workers to be joined, by spare_next */
	bool managed;		       /* manager only: on its list of pools */
	uint64_t needy_ns; /* manager only: since when it needs a thread at the limit, or 0 */
	struct wqi_pool *managed_next; /* manager only */
	uint64_t retry_ns;	       /* manager only: when to try creation again, 0 never */
	unsigned nr_failed_in_row;   /* manager only: threads that could not be made, one after the
					other */
	uint64_t join_ns;	     /* manager only: when to ask again for who ends, 0 never */
	uint64_t join_wait_ns;	     /* manager only: and how long it waited for that */
	struct wqi_pool *watch_next; /* monitor only: its list of pools */
	bool on_watch_list;	     /* monitor only */
	uint64_t watch_ns;	     /* monitor only: when to look again, 0 never */
	uint64_t distress_ns;	     /* monitor only: since when nobody can run its items, or 0 */
	uint64_t nr_create_failed;   /* L+: threads that could not be made */
	uint64_t nr_limit_waits;     /* L: waits for a thread at max_threads */
	uint64_t nr_above_level;     /* L: items started by one worker too many: none */
	uint64_t nr_intensive;	     /* L: items found computing for long */
	uint64_t nr_blocked[WQI_NR_BLOCKED]; /* L: workers found blocked */

	struct wqi_worker *busy[WQI_POOL_BUSY_BUCKETS] WQI_CACHE_ALIGNED; /* L: by item */
};

static inline unsigned wqi_pool_bucket(const struct wq_work *work)
{
	uintptr_t at = (uintptr_t)work;

	return (unsigned)(at >> 3 ^ at >> 9 ^ at >> 15) % WQI_POOL_BUSY_BUCKETS;
}

/* The per-CPU pools of a CPU. */
enum wqi_percpu { WQI_PERCPU_NORMAL, WQI_PERCPU_HIGH, WQI_PERCPU_BH, WQI_NR_PERCPU };

struct wqi_pool *wqi_pool_percpu(unsigned cpu, enum wqi_percpu kind);

/* A pool for one of @pods; NULL: no memory.  Under G. */
struct wqi_pool *wqi_pool_unbound(struct wqi_pods *pods, unsigned pod, unsigned level);

/*
 * Nobody will queue on it any more: its workers end by themselves.  When they have, it may
 * be given to other pods.  Under G.
 */
void wqi_pool_end_unbound(struct wqi_pool *pool);
bool wqi_pool_has_ended(struct wqi_pool *pool);
void wqi_pool_spare_unbound(struct wqi_pool *pool);

/* Another level.  Under G. */
void wqi_pool_set_level(struct wqi_pool *pool, unsigned level);

/* The CPUs on which its workers are to run.  False: they can't be pinned. */
bool wqi_pool_mask(const struct wqi_pool *pool, wqi_cpu_mask *mask);

/* These have changed: move the workers there. */
void wqi_pool_pin_locked(struct wqi_pool *pool);

/* Have the calling thread run where they do. */
void wqi_pool_go_to_cpus(const struct wqi_pool *pool);

/* What a pool with a thread of its own is made for. */
struct wqi_dedicated {
	const char *name; /* the queue's; outlives it */
	int nice;
	struct wq *rescues; /* it is the rescuer of that queue */
	struct wq *zephyr;  /* that queue is a k_work_q */
	size_t stack_bytes; /* a hint */
	bool adopted;	    /* the caller brings the thread */
};

/* 0, -ENOMEM, or -EAGAIN: the thread can't be made.  Under G. */
int wqi_pool_dedicated(struct wqi_pool **to, const struct wqi_dedicated *what);

/* The pool has no thread any more, and may serve another queue.  Under G. */
void wqi_pool_spare_dedicated(struct wqi_pool *pool);

/* Make room for the per-CPU pools, once.  0 or -ENOMEM.  Under G. */
int wqi_pools_init(void);

/* Call @fn with every pool that was ever locked.  Under G, or where nothing is queued. */
void wqi_pools_each(void (*fn)(struct wqi_pool *pool));

/* Start the rescuers that a child of fork() has not.  Under G. */
void wqi_pools_restart_rescuers(void);

/* Free all pools and what is left of their workers; no thread uses them.  Under G. */
void wqi_pools_free(void);

/* In the child of a fork(): no pool has workers or items.  Under G. */
void wqi_pools_reset(void);

/*
 * Pools' locks that this thread holds or is taking.  A signal handler on this
 * thread reads it to know that it may not take one; plain, since only this thread
 * writes it, in order.
 */
extern __thread volatile unsigned wqi_pool_locks_held __attribute__((tls_model("initial-exec")));

void wqi_pool_lock(struct wqi_pool *pool);
void wqi_pool_unlock(struct wqi_pool *pool);

/* It was never locked before: make its lists. */
void wqi_pool_ready_locked(struct wqi_pool *pool);

/* Move the inbox to the worklist.  Returns how many items came, or became ready by a message. */
unsigned wqi_pool_splice_some_locked(struct wqi_pool *pool);

static inline unsigned wqi_pool_splice_locked(struct wqi_pool *pool)
{
	return wqi_inbox_is_empty(&pool->inbox) ? 0 : wqi_pool_splice_some_locked(pool);
}

/* Wake the pool after a push: ORD-SLEEP (a), second half.  Lock-free, AS-safe. */
void wqi_pool_kick_slow(struct wqi_pool *pool);

static inline void wqi_pool_kick(struct wqi_pool *pool)
{
	wqi_yield_point();
	if (wqi_load_seq_cst(&pool->kick) != WQI_KICK_NOBODY)
		wqi_pool_kick_slow(pool);
}

/*
 * All workers end, those in items when these have: wake the idle ones.  The caller
 * has to request the manager, who joins them.
 */
void wqi_pool_close_locked(struct wqi_pool *pool);

/* Is there anything to start, not counting the inbox? */
static inline bool wqi_pool_has_work_locked(struct wqi_pool *pool)
{
	return !cds_list_empty(&pool->worklist) || !cds_list_empty(&pool->ready_list);
}

/* Wake @worker, unless somebody has.  Lock-free, AS-safe. */
bool wqi_pool_wake(struct wqi_worker *worker);

/* One that was woken, and is not there yet; or NULL. */
struct wqi_worker *wqi_pool_on_its_way_locked(struct wqi_pool *pool);

/* Wake an idle worker, or ask the manager for one. */
void wqi_pool_wake_one_locked(struct wqi_pool *pool);

/* ... if it can be, one that went to sleep on another CPU, for this one is in use. */
void wqi_pool_wake_afar_locked(struct wqi_pool *pool);

/* @worker has become idle, or is not any more: whom may a sentinel wake? */
void wqi_pool_publish_reserve_locked(struct wqi_pool *pool, const struct wqi_worker *worker);

/* Idle workers that the pool should have in hand while items wait. */
unsigned wqi_pool_reserve_locked(const struct wqi_pool *pool);

/* An idle worker is to end, and not to be called any more. */
void wqi_pool_retire_locked(struct wqi_pool *pool, struct wqi_worker *worker);

/* Have the monitor look at the pool from time to time, for it is busy. */
void wqi_pool_call_watch_locked(struct wqi_pool *pool);

/*
 * While workers are in items of some length, and nothing waits: publish whom a
 * producer is to call; @afar: the caller goes on to use this CPU.  True: something has
 * come already.  And take it back.
 */
bool wqi_pool_offer_locked(struct wqi_pool *pool, bool afar);
void wqi_pool_check_offer_locked(struct wqi_pool *pool);
void wqi_pool_withdraw_locked(struct wqi_pool *pool);

/* Can a thread be made, as far as is known?  Or is there hope for an idle worker at least? */
bool wqi_pool_can_make(const struct wqi_pool *pool);
bool wqi_pool_can_grow(const struct wqi_pool *pool);

/*
 * May one more worker run?  Pods that are not strict lend each other what they do not use;
 * who has borrowed leaves when the others want it back, at the end of its item.
 */
static inline bool wqi_pool_has_room_locked(const struct wqi_pool *pool)
{
	if (pool->nr_running < pool->level)
		return true;
	return pool->pods && pool->pods->lends && wqi_pods_have_room(pool->pods);
}

/* Does one too many run? */
static inline bool wqi_pool_is_over_locked(const struct wqi_pool *pool)
{
	if (wqi_likely(pool->nr_running <= pool->level))
		return false;
	return !pool->pods || !pool->pods->lends || wqi_pods_are_over(pool->pods);
}

/* Unknown (0) counts as expensive. */
static inline bool wqi_pool_is_dear_locked(const struct wqi_pool *pool, unsigned ns)
{
	return pool->item_ns - 1 >= ns - 1u;
}

/* Items were spliced that wait, not by a worker that looks for some: those that run are told. */
void wqi_pool_say_waiting_locked(struct wqi_pool *pool);

/*
 * To be called after nr_running fell, or where items may have become ready without
 * a push: leaves the pool to the next, if nobody runs; else sees that it is watched,
 * for those who run may all be blocked.
 */
void wqi_pool_hand_over_locked(struct wqi_pool *pool);

/* The worker that runs @work now, or NULL.  fn tells a new item at an old address. */
struct wqi_worker *wqi_pool_find_running_locked(struct wqi_pool *pool, const struct wq_work *work);

/*
 * End a claim without a run: the item's word becomes idle, or @held (0, or ARMED and
 * MOVING with a shard) if it was neither cancelled nor in a shard's hands besides; its
 * flushers are seen to.  Returns the state before.  Where the item is still running, the word goes
 * back to naming the pwq of that run: the one it was queued on in between may go away before the
 * run ends, and the next claim has to find the run (G2).
 */
uint64_t wqi_pool_unclaim_locked(struct wqi_pool *pool, struct wq_work *work, uint64_t held);

/*
 * The pwq on which @work is running in @pool, or NULL.  Lock-free.  Inside a
 * read-side section; the caller holds @work's PENDING (so that it can't start
 * anew), or takes the answer as a snapshot.  ORD-RUNNING (b).
 */
struct wqi_pwq *wqi_pool_running_pwq_rcu(struct wqi_pool *pool, const struct wq_work *work);

#endif /* WQI_POOL_H */
