/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of RCU items share: the flavours of liburcu, and readers that stay in
 * a read-side section until they are told to leave it.
 */
#ifndef TEST_FLAVORS_H
#define TEST_FLAVORS_H

#include "support.h"

#include <urcu/flavor.h>

extern const struct rcu_flavor_struct urcu_memb_flavor, urcu_mb_flavor, urcu_qsbr_flavor,
	urcu_bp_flavor;

#define NR_FLAVORS 4

extern const struct rcu_flavor_struct *const flavors[NR_FLAVORS];

/* Sections as all flavours have them: of qsbr, to be online is to be in one. */
void flavor_enlist(const struct rcu_flavor_struct *rcu);
void flavor_read_lock(const struct rcu_flavor_struct *rcu);
void flavor_read_unlock(const struct rcu_flavor_struct *rcu);

struct reader {
	const struct rcu_flavor_struct *rcu;
	struct latch inside, leave;
	pthread_t thread;
	unsigned long left; /* set as its last act inside */
};

/* A registered thread; it is inside when the call returns. */
void reader_start(struct reader *reader, const struct rcu_flavor_struct *rcu);
/* Have it leave, and join it. */
void reader_end(struct reader *reader);

/* An RCU item that notes whether a reader has left, and how often it runs. */
struct guarded {
	struct wq_rcu_work rw;
	struct reader *reader; /* NULL: nobody in particular */
	struct latch ended;
	unsigned long runs, early;
};

void guarded_init(struct guarded *guarded, struct reader *reader);
/* Queue it as new, with no reader, and wait for its run; false: it was refused, or did not run
 * once. */
bool guarded_runs(struct guarded *guarded, struct wq *wq, const struct rcu_flavor_struct *rcu);

#endif /* TEST_FLAVORS_H */
