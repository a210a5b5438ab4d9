/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns what is written into an item that is armed.  Claims none. */
#ifndef WQI_ARMING_H
#define WQI_ARMING_H

#include "rcu_work.h"
#include "shard.h"
#include "timer.h"
#include "zephyr.h"

#include <wq/rcu.h>

/* Under a shard's lock, or in a section: so long it has, if it has now. */
static inline bool wqi_arming_has_queue(const struct wqi_arming *how)
{
	return wqi_load_acquire(&how->zephyr->wq_queue) == how->wq;
}

static inline struct wq_rcu_work *wqi_arming_rcu(struct wq_delayed_work *dw)
{
	return caa_container_of(&dw->work, struct wq_rcu_work, work);
}

static inline void wqi_arming_set(struct wq_delayed_work *dw, const struct wqi_arming *how,
				  uint64_t expires_ns, int here)
{
	wqi_store_relaxed(&dw->wq_timer.wq_expires_ns, expires_ns);
	dw->wq_timer.wq_queue = how->wq;
	dw->wq_timer.wq_cpu = how->cpu < 0 ? here : how->cpu;
	if (wqi_unlikely(how->flavor)) {
		wqi_store_relaxed(&wqi_arming_rcu(dw)->wq_flavor, how->flavor);
		wqi_arming_rcu(dw)->wq_armings++;
	}
}

static inline uint64_t wqi_arming_expires_ns(uint64_t now_ns, uint64_t delay_ns)
{
	return delay_ns < WQI_NEVER - now_ns ? now_ns + delay_ns : WQI_NEVER;
}

/*
 * Lock the shard in which the item is armed.  NULL: it is not armed.  With the lock held
 * it stays so, or a signal handler cancels it; then whoever unlocks ends that.
 */
struct wqi_shard *wqi_timer_lock_armed(struct wq_work *work);

#endif /* WQI_ARMING_H */
