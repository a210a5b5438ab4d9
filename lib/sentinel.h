/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the sentinels: one SCHED_IDLE thread a CPU, which the kernel runs exactly
 * when nothing else wants that CPU, that is, when the worker there has blocked.
 *
 * A sentinel is a hint, run at a priority that may not run again for seconds.  So it
 * holds no lock and no read-side section, changes nothing that others would have to
 * wait for it to finish, makes no thread, and never spins: one look, one kick, then
 * a sleep.  What it says is checked, under the lock, by whom it wakes.
 */
#ifndef WQI_SENTINEL_H
#define WQI_SENTINEL_H

#include <stdbool.h>

struct wqi_pool;
struct wqi_worker;

/* Make room for one a CPU.  0 or -ENOMEM.  Under G. */
int wqi_sentinels_init(void);

/* Is there one on @cpu for @pool, or may there be? */
bool wqi_sentinel_is_ready(const struct wqi_pool *pool, unsigned cpu);

/*
 * The calling worker is about to run an item while others wait: have its CPU's
 * sentinel look when it blocks.  Not under a pool's lock.
 */
void wqi_sentinel_arm(struct wqi_worker *worker);

/* A producer was told to call @cpu's sentinel.  Lock-free, AS-safe. */
void wqi_sentinel_call(struct wqi_pool *pool, unsigned cpu);

/* Have @cpu's sentinel set @worker->invited, if and when nothing else wants that CPU. */
void wqi_sentinel_invite(struct wqi_worker *worker, unsigned cpu);

/*
 * The calling thread, a new worker of @pool, has its CPU: so who began an item there does not
 * run.  Has it blocked?  Then the caller finds room when it looks.  Under no lock.
 */
void wqi_sentinel_stand_in(struct wqi_pool *pool);

/* The manager's: make those that were asked for, if there are any. */
bool wqi_sentinels_are_wanted(void);
void wqi_sentinels_make(void);

/* ... and: threads can be made again. */
void wqi_sentinels_forgive(void);

/* The manager's: has one asked for a worker?  (Then some pool's `asked` is set.) */
bool wqi_sentinels_ask(void);

/* CPUs have come or gone: each to its own.  Under G. */
void wqi_sentinels_pin(void);

/* End and join all.  Nobody arms them any more.  And: they do not exist (fork). */
void wqi_sentinels_stop(void);
void wqi_sentinels_reset(void);

#endif /* WQI_SENTINEL_H */
