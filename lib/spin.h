/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns how long to wait awake before sleeping.  As KVM's halt polling: a sleep
 * that a spin could have bridged makes the next spin longer, one that it could not
 * have makes it shorter, down to none.
 */
#ifndef WQI_SPIN_H
#define WQI_SPIN_H

#include <sched.h>

#include "atomic.h"
#include "config.h"
#include "futex.h"

#define WQI_SPIN_START_NS 5000u
#define WQI_SPIN_MIN_NS	  2000u

/* Looks, 25 ns apart, between two yields. */
#define WQI_SPIN_LOOKS 20

struct wqi_spin {
	uint32_t ns; /* A, relaxed: a hint, any value will do */
};

/*
 * After a wait from @start_ns on.  Who had to be woken was at @woken_ns (anything before
 * the start: it was not): a spin would have ended then, and to wake up across CPUs takes
 * about as long as spins may.
 */
static inline void wqi_spin_adapt(struct wqi_spin *spin, uint64_t start_ns, uint64_t woken_ns)
{
	uint64_t waited_ns = (woken_ns > start_ns ? woken_ns : wqi_now_ns()) - start_ns;
	uint32_t ns = wqi_load_relaxed(&spin->ns);
	uint32_t max = wqi_load_relaxed(&wqi_config.spin_max_ns);

	if (waited_ns > max)
		ns = ns / 2 < WQI_SPIN_MIN_NS ? 0 : ns / 2;
	else if (waited_ns > ns)
		ns = ns ? 2 * ns : WQI_SPIN_START_NS;
	else
		return;
	wqi_store_relaxed(&spin->ns, ns < max ? ns : max);
}

/*
 * Look until @cond holds, from @start for @ns; the value is whether it does.
 * Yields, for whoever is to bring it about may want this very CPU, and only
 * threads that can run are moved to another.
 */
#define wqi_spin_until(cond, start, ns)                                                            \
	({                                                                                         \
		bool spin_hit = (cond);                                                            \
		int spin_i;                                                                        \
                                                                                                   \
		while (!spin_hit && wqi_now_ns() - (start) < (ns)) {                               \
			sched_yield();                                                             \
			for (spin_i = 0; spin_i < WQI_SPIN_LOOKS; spin_i++) {                      \
				spin_hit = (cond);                                                 \
				if (spin_hit)                                                      \
					break;                                                     \
				wqi_cpu_relax();                                                   \
			}                                                                          \
		}                                                                                  \
		spin_hit;                                                                          \
	})

#endif /* WQI_SPIN_H */
