/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the limit of threads, max_threads. */
#ifndef WQI_LIMIT_H
#define WQI_LIMIT_H

#include "pool.h"

/* No thread may be made just now: it is no use asking for a reserve. */
extern bool wqi_limit_reached;

/* May @pool have one more thread?  If not, and it must, it is noted as needy. */
bool wqi_limit_grant_locked(struct wqi_pool *pool);

/* @n threads of @pool were made. */
void wqi_limit_count(struct wqi_pool *pool, int n);

/* One was joined: the pool that has waited longest is looked at next. */
void wqi_limit_release(struct wqi_pool *pool);

/* Have another pool give up a worker for @needy; no pool's lock held. */
void wqi_limit_take_from_others(struct wqi_pool *needy);

/* No thread exists. */
void wqi_limit_reset(void);

#endif /* WQI_LIMIT_H */
