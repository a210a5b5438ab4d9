/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the queue's record: attributes, table from CPU to pwq, flush and end. */
#ifndef WQI_QUEUE_H
#define WQI_QUEUE_H

#include <wq/queue.h>

#include "pwq.h"

/* Why a queue refuses items. */
#define WQI_QUEUE_DRAINING 1u

struct wqi_table {
	unsigned nr;		/* I */
	struct wqi_pwq *slot[]; /* I: by CPU */
};

struct wq {
	unsigned flags;		 /* I */
	uint32_t refuse;	 /* A, seq_cst: WQI_QUEUE_*; ORD-DRAIN */
	struct wqi_table *table; /* A, release: read inside a read-side section */
	uint32_t first_id;	 /* I: the pwqs' numbers begin here */
	unsigned nr_pwqs;	 /* I: one, or one a CPU */
	struct wqi_pwq *pwqs;	 /* I */
	bool system;		 /* I */
	unsigned max_active;	 /* A, relaxed; written under W */
	char *name;		 /* I */
	uint32_t work_color;	 /* A, seq_cst: what new pwqs start with; written under W */

	struct wqi_lock mutex WQI_CACHE_ALIGNED; /* W */
	uint64_t color_seq;   /* W: flushes begun; its low bits are the colour now in use */
	uint64_t done_seq;    /* W: flushes ended, all before this number */
	uint32_t flush_event; /* A, seq_cst: futex word, changes when a colour runs out */
	uint32_t nr_to_flush[WQI_NR_COLORS]; /* A, seq_cst: pwqs that a colour still waits for */
};

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

#endif /* WQI_QUEUE_H */
