/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the system queues, made when first asked for. */
#include <errno.h>

#include "config.h"
#include "queue.h"
#include "runtime.h"

static const struct {
	const char *name;
	unsigned flags;
} system_kinds[WQI_SYSTEM_QUEUES] = {
	[WQI_SYSTEM_UNBOUND] = {"system", 0},
	[WQI_SYSTEM_PERCPU] = {"system_percpu", WQ_PERCPU},
	[WQI_SYSTEM_HIGHPRI] = {"system_highpri", WQ_PERCPU | WQ_HIGHPRI},
	[WQI_SYSTEM_LONG] = {"system_long", WQ_PERCPU},
	[WQI_SYSTEM_FREEZABLE] = {"system_freezable", WQ_PERCPU | WQ_FREEZABLE},
	[WQI_SYSTEM_POWER_EFFICIENT] = {"system_power_efficient", WQ_POWER_EFFICIENT},
	[WQI_SYSTEM_BH] = {"system_bh", WQ_BH},
	[WQI_SYSTEM_DFL_LONG] = {"system_dfl_long", 0},
	[WQI_SYSTEM_FREEZABLE_POWER_EFFICIENT] = {"system_freezable_power_efficient",
						  WQ_FREEZABLE | WQ_POWER_EFFICIENT},
	[WQI_SYSTEM_BH_HIGHPRI] = {"system_bh_highpri", WQ_BH | WQ_HIGHPRI},
};

static struct wq *system_queues[WQI_SYSTEM_QUEUES]; /* GR */

struct wq *wqi_system_queue(enum wqi_system kind)
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

	for (i = 0; i < WQI_SYSTEM_QUEUES; i++) {
		struct wq *wq = wqi_load_acquire(&system_queues[i]);

		if (wq)
			fn(wq);
	}
}

unsigned wqi_system_queues_take_locked(struct wq *taken[WQI_SYSTEM_QUEUES])
{
	unsigned i, nr = 0;

	wqi_assert_held(&wqi_runtime.lock);

	for (i = 0; i < WQI_SYSTEM_QUEUES; i++) {
		if (!system_queues[i])
			continue;
		taken[nr++] = system_queues[i];
		wqi_store_release(&system_queues[i], (struct wq *)NULL);
	}
	return nr;
}

struct wq *wq_system(void)
{
	return wqi_system_queue(WQI_SYSTEM_UNBOUND);
}

struct wq *wq_system_percpu(void)
{
	return wqi_system_queue(WQI_SYSTEM_PERCPU);
}

struct wq *wq_system_highpri(void)
{
	return wqi_system_queue(WQI_SYSTEM_HIGHPRI);
}

struct wq *wq_system_long(void)
{
	return wqi_system_queue(WQI_SYSTEM_LONG);
}

struct wq *wq_system_freezable(void)
{
	return wqi_system_queue(WQI_SYSTEM_FREEZABLE);
}

struct wq *wq_system_power_efficient(void)
{
	return wqi_system_queue(WQI_SYSTEM_POWER_EFFICIENT);
}

struct wq *wq_system_bh(void)
{
	return wqi_system_queue(WQI_SYSTEM_BH);
}
