/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns a queue's table: from the CPU where an item is queued to the pwq that takes it, and
 * the pwqs themselves.  A table is replaced as a whole when the queue's attributes change;
 * an older one stays until it is empty.  Makes no pools.
 *
 * ORD-TABLE (a): who queues reads the table in a section, and pushes in it.  (b): a new
 * table is published, then a grace period; then only who saw an item run on an older one
 * still pushes there, as long as it runs.
 */
#ifndef WQI_TABLE_H
#define WQI_TABLE_H

#include "pods.h"
#include "pwq.h"

struct wq;

struct wqi_table {
	struct wq *wq;		 /* I */
	struct wqi_pods *pods;	 /* I: of the pools; NULL: per CPU, or one of the queue's own */
	struct wqi_pwq *pwqs;	 /* I: nr of them */
	struct wqi_table *older; /* WR, release: those before it that have items */
	uint32_t first_id;	 /* I: the pwqs' numbers begin here */
	unsigned nr;		 /* I */
	uint32_t users;		 /* A, seq_cst: rescuers that serve it; ORD-USERS */
	unsigned nr_slots;	 /* I */
	struct wqi_pwq *slot[];	 /* I: by CPU */
};

/* Every pwq of a queue, the older ones' too: under W or in a read-side section. */
#define wqi_for_each_pwq(wq, table, pwq)                                                           \
	for ((table) = wqi_load_acquire(&(wq)->table); (table);                                    \
	     (table) = wqi_load_acquire(&(table)->older))                                          \
		for ((pwq) = (table)->pwqs; (pwq) < (table)->pwqs + (table)->nr; (pwq)++)

/* Do its pwqs count in shares of max_active?  Else each for itself. */
bool wqi_table_is_shared(const struct wqi_table *table);

/*
 * A table of @wq's, with numbers: a pwq for each pod of @pods, whose reference it takes
 * over; for each CPU where @pods is NULL and the queue is per CPU; else one.  NULL: no
 * memory, or no numbers.  Under G.
 */
struct wqi_table *wqi_table_new(struct wq *wq, struct wqi_pods *pods);

/* Nobody can name it: its pwqs' numbers stand for nothing since a grace period.  Under G. */
void wqi_table_free(struct wqi_table *table);

/* From now on numbers stand for nothing; a grace period follows. */
void wqi_table_hide(struct wqi_table *table);

/* Make one of its pwqs fit for producers.  AS-safe. */
void wqi_table_prepare(struct wqi_table *table, struct wqi_pwq *pwq);

/*
 * The pwq of an older table of the same ordered queue on which @work still runs, though it
 * is pending on @pwq; or NULL.  In a read-side section, or under the lock of @pwq's pool.
 */
struct wqi_pwq *wqi_table_runs_before(struct wqi_pwq *pwq, const struct wq_work *work);

/* Publish @table.  What is older is retired.  Under W. */
void wqi_table_install_locked(struct wq *wq, struct wqi_table *table);

/* Free @wq's older tables that are empty, and let go what waited for that.  Under G and W. */
void wqi_tables_reap_locked(struct wq *wq);

/* The rescuer's: only let go what waited for that.  Not under W. */
void wqi_tables_go_on(struct wq *wq);

/* Have the manager look for older tables that are empty.  Lock-free. */
void wqi_tables_ask(void);

/* A retired pwq of @wq has become empty.  Lock-free. */
void wqi_tables_emptied(struct wq *wq);

/* The manager's: see to it.  Returns when to look again, or UINT64_MAX. */
uint64_t wqi_tables_serve(void);
bool wqi_tables_are_asked(void);

/* In the child of a fork(). */
void wqi_tables_reset(void);

#endif /* WQI_TABLE_H */
