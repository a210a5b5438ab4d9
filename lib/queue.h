/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the queue's record: attributes, table from CPU to pwq, flush and end. */
#ifndef WQI_QUEUE_H
#define WQI_QUEUE_H

#include <wq/queue.h>

#include <wq/stats.h>

#include "attrs.h"
#include "pwq.h"
#include "share.h"
#include "table.h"
#include "timer.h"

/* Why a queue refuses items: all but its own; all. */
#define WQI_QUEUE_DRAINING 1u
#define WQI_QUEUE_PLUGGED  2u

struct wq {
	/* What producers and workers read. */
	unsigned flags;		 /* I */
	uint32_t refuse;	 /* A, seq_cst: WQI_QUEUE_*; ORD-DRAIN */
	struct wqi_table *table; /* A, release; written under W: read inside a read-side section */
	unsigned limit;		 /* A, seq_cst; written under W: max_active, or 0 while frozen */
	unsigned max_active;	 /* A, relaxed; written under W: as set */
	unsigned min_active;	 /* W: of a NUMA node's share, unless max_active is less */
	uint32_t work_color;	 /* A, seq_cst: what new pwqs start with; written under W */
	bool system;		 /* I */
	bool counted;		 /* G: one of wqi_runtime.nr_queues */
	bool closed;		 /* A, seq_cst: nothing is armed on it any more; ORD-CLOSE */
	bool ending;		 /* A, relaxed: wq_destroy() runs it out */
	bool dying;		 /* A, relaxed: ... or has, and nobody can name it */

	bool reported; /* A: an item of it waits for a queue without a rescuer */

	struct wqi_shares shares; /* of max_active */

	struct wqi_attrs attrs;	  /* G: of an unbound queue, as asked for */
	struct wq_stats past;	  /* W: counted in tables that are gone */
	uint64_t past_accepted;	  /* W: nr_accepted of those */
	struct wqi_armed *armed;  /* I: the array, by timer shard */
	struct wqi_pool *own;	  /* I: the pool of a WQ_DEDICATED queue */
	struct wqi_pool *rescuer; /* I: its rescuer's home; rescuer.h */
	char *name;		  /* I */
	struct k_work_q *zephyr;  /* I: whose queue it is, if that is one of Zephyr's header */
	struct wq *system_next;	  /* G: of system queues beside those of wq/queue.h */
	struct cds_list_head all; /* GR: wqi_queues */

	struct wqi_lock mutex WQI_CACHE_ALIGNED; /* W */
	uint64_t color_seq;   /* W: flushes begun; its low bits are the colour now in use */
	uint64_t done_seq;    /* W: flushes ended, all before this number */
	uint32_t flush_event; /* A, seq_cst: futex word, changes when a colour runs out */
	uint32_t nr_to_flush[WQI_NR_COLORS]; /* A, seq_cst: pwqs that a colour still waits for */
	unsigned nr_drainers;		     /* W */
};

/* Every queue, system queues too.  GR: linked so that a copy of any instant can be walked. */
extern struct cds_list_head wqi_queues;

/* A, seq_cst: how many are plugged, that claims need not look where none is. */
extern unsigned wqi_queues_plugged;

static inline struct wq *wqi_queue_of_link(struct cds_list_head *link)
{
	return cds_list_entry(link, struct wq, all);
}

/*
 * wq_alloc_attrs(), arguments checked, for a system queue too; takes over what @attrs
 * holds, unless it is NULL, and leaves it empty.  0 or -errno.  Under G.
 */
int wqi_queue_make_locked(struct wq **to, const char *name, unsigned flags, int max_active,
			  struct wqi_attrs *attrs, bool system);

/* A WQ_DEDICATED queue for Zephyr's header; @own as for its pool, but the queue itself. */
int wqi_queue_make_zephyr_locked(struct wq **to, struct k_work_q *zephyr, bool system,
				 const struct wqi_dedicated *own);

/* Free a queue that nobody can reach but by its number; waits for those who do.  Not under G. */
void wqi_queue_unmake(struct wq *wq);

/* Let the limit follow max_active and the state of freezing.  Under W. */
void wqi_queue_update_limit_locked(struct wq *wq);

/* Make @wq refuse, and wait until nothing is queued or running. */
void wqi_queue_drain(struct wq *wq);

/* Wait until nothing is queued or running. */
void wqi_queue_wait_idle(struct wq *wq);

/* wq_plug() and wq_unplug(), system queues too. */
int wqi_queue_plug(struct wq *wq);
int wqi_queue_unplug(struct wq *wq);

/* Does @wq refuse an item that the caller queues?  Inside a read-side section. */
bool wqi_queue_refuses(const struct wq *wq);

/* wq_congested() for a CPU; one that can't be used stands for the caller's. */
bool wqi_queue_is_congested(struct wq *wq, int cpu);

enum wqi_system {
	WQI_SYSTEM_UNBOUND,
	WQI_SYSTEM_PERCPU,
	WQI_SYSTEM_HIGHPRI,
	WQI_SYSTEM_LONG,
	WQI_SYSTEM_FREEZABLE,
	WQI_SYSTEM_POWER_EFFICIENT,
	WQI_SYSTEM_BH,
	/* Linux has these too; see wq/compat/linux.h. */
	WQI_SYSTEM_DFL_LONG,
	WQI_SYSTEM_FREEZABLE_POWER_EFFICIENT,
	WQI_SYSTEM_BH_HIGHPRI,
	WQI_SYSTEM_QUEUES
};

/* As wq_system(). */
struct wq *wqi_system_queue(enum wqi_system kind);

/* Each system queue that was made; and: take them all, by system_next, to be unmade (under G). */
void wqi_system_queues_each(void (*fn)(struct wq *wq));
struct wq *wqi_system_queues_take_locked(void);

/*
 * Zephyr's queues that nobody stops are system queues, too.  Unlisted, one is like those from
 * wq_alloc(); -EBUSY: wq_shutdown() is at work.  Under G.
 */
void wqi_system_others_each(void (*fn)(struct wq *wq));
void wqi_system_list_locked(struct wq *wq);
int wqi_system_unlist_locked(struct wq *wq);

/* In the child of a fork(), under G: queues become empty, and stay. */
void wqi_queues_reset(void);

/*
 * Free what is still listed: queues that other threads of the parent were about to
 * destroy when it forked.  Under G, with no thread left that could use them.
 */
void wqi_queues_bury_locked(void);

/* Which of a CPU's pools serves a per-CPU queue. */
enum wqi_percpu wqi_queue_percpu_kind(const struct wq *wq);

/* Add to @wq's statistics what was counted in a table that goes.  Under W. */
void wqi_stats_keep_locked(struct wq *wq, struct wqi_table *table);

/*
 * The pwq for an item queued on @cpu, ready for producers.  Inside a read-side
 * section.  AS-safe.
 */
struct wqi_pwq *wqi_queue_pwq_rcu(struct wq *wq, unsigned cpu);

/* A pwq of @wq's is free of a colour that was being flushed.  Under the pool's lock. */
void wqi_queue_color_done(struct wq *wq, unsigned color);

/* wq_flush(), whatever the queue and the caller. */
void wqi_queue_flush(struct wq *wq);

/* wq_queue() and friends, arguments checked; @cpu is a usable CPU, or -1 for the current one. */
int wqi_queue_work(struct wq *wq, struct wq_work *work, int cpu);

/*
 * The same for an item that the caller has claimed (PENDING and TRANSIT), whatever the
 * queue says now.  Inside the read-side section in which it was claimed.
 */
void wqi_queue_claimed(struct wq *wq, struct wq_work *work, int cpu);

/*
 * The last of a claim in TRANSIT: the pwq to push to, which is where it runs if it does; NULL:
 * it was cancelled meanwhile.  Inside the section in which it was claimed.
 */
struct wqi_pwq *wqi_work_settle_rcu(struct wq_work *work, struct wqi_pwq *pwq);

/*
 * Take a pending item back without letting others have it: its word becomes @held, ARMED
 * and MOVING with a shard.  So it is never seen idle: to queue it answers 0, and who
 * cancels it takes it from the holder.  1; 0 it is not pending; -EAGAIN it is on its
 * way, which a grace period ends, or was not to be held: look again.  Inside the
 * read-side section in which the holder lets it go.
 */
int wqi_cancel_hold_rcu(struct wq_work *work, uint64_t held);

/* Does @wq hold up what comes from outside: plugged, draining or frozen? */
static inline bool wqi_queue_is_shut(const struct wq *wq)
{
	return wqi_load_seq_cst(&wq->refuse) || !wqi_load_seq_cst(&wq->limit);
}

#endif /* WQI_QUEUE_H */
