/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the system queues, made when first asked for. */
#include <errno.h>

#include "config.h"
#include "queue.h"
#include "runtime.h"

enum {
	SYSTEM_UNBOUND,
	SYSTEM_PERCPU,
	SYSTEM_HIGHPRI,
	SYSTEM_LONG,
	SYSTEM_FREEZABLE,
	SYSTEM_POWER_EFFICIENT,
	SYSTEM_BH,
	SYSTEM_NR
};

static const struct {
	const char *name;
	unsigned flags;
} system_kinds[SYSTEM_NR] = {
	[SYSTEM_UNBOUND] = {"system", 0},
	[SYSTEM_PERCPU] = {"system_percpu", WQ_PERCPU},
	[SYSTEM_HIGHPRI] = {"system_highpri", WQ_PERCPU | WQ_HIGHPRI},
	[SYSTEM_LONG] = {"system_long", WQ_PERCPU},
	[SYSTEM_FREEZABLE] = {"system_freezable", WQ_PERCPU | WQ_FREEZABLE},
	[SYSTEM_POWER_EFFICIENT] = {"system_power_efficient", WQ_POWER_EFFICIENT},
	[SYSTEM_BH] = {"system_bh", WQ_BH},
};

static struct wq *system_queues[SYSTEM_NR]; /* GR */

_Static_assert(SYSTEM_NR == WQI_SYSTEM_QUEUES, "room for all of them");

static struct wq *system_queue(unsigned kind)
{
	struct wq *wq = wqi_load_acquire(&system_queues[kind]);
	int err;

	if (wqi_likely(wq))
		return wq;
	err = wqi_fork_enter(true);
	if (!err) {
		wqi_lock(&wqi_runtime.lock);
		wq = system_queues[kind];
		/* wq_shutdown() runs out those that are there. */
		if (!wq && wqi_runtime.stopping)
			err = -ESHUTDOWN;
		else if (!wq)
			err = wqi_queue_make_locked(&wq, system_kinds[kind].name,
						    system_kinds[kind].flags, 0, NULL, true);
		if (!err)
			wqi_store_release(&system_queues[kind], wq);
		wqi_unlock(&wqi_runtime.lock);
	}
	if (err)
		errno = -err;
	return wq;
}

void wqi_system_queues_each(void (*fn)(struct wq *wq))
{
	unsigned i;

	for (i = 0; i < SYSTEM_NR; i++) {
		struct wq *wq = wqi_load_acquire(&system_queues[i]);

		if (wq)
			fn(wq);
	}
}

unsigned wqi_system_queues_take_locked(struct wq *taken[WQI_SYSTEM_QUEUES])
{
	unsigned i, nr = 0;

	wqi_assert_held(&wqi_runtime.lock);

	for (i = 0; i < SYSTEM_NR; i++) {
		if (!system_queues[i])
			continue;
		taken[nr++] = system_queues[i];
		wqi_store_release(&system_queues[i], (struct wq *)NULL);
	}
	return nr;
}

struct wq *wq_system(void)
{
	return system_queue(SYSTEM_UNBOUND);
}

struct wq *wq_system_percpu(void)
{
	return system_queue(SYSTEM_PERCPU);
}

struct wq *wq_system_highpri(void)
{
	return system_queue(SYSTEM_HIGHPRI);
}

struct wq *wq_system_long(void)
{
	return system_queue(SYSTEM_LONG);
}

struct wq *wq_system_freezable(void)
{
	return system_queue(SYSTEM_FREEZABLE);
}

struct wq *wq_system_power_efficient(void)
{
	return system_queue(SYSTEM_POWER_EFFICIENT);
}

struct wq *wq_system_bh(void)
{
	return system_queue(SYSTEM_BH);
}
