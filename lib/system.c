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

static struct wq *system_others; /* GR, release: by system_next */

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
	wqi_system_others_each(fn);
}

/* While wq_shutdown() goes through them none is unlisted. */
void wqi_system_others_each(void (*fn)(struct wq *wq))
{
	struct wq *wq = wqi_load_acquire(&system_others);

	for (; wq; wq = wq->system_next)
		fn(wq);
}

void wqi_system_list_locked(struct wq *wq)
{
	wqi_assert_held(&wqi_runtime.lock);

	wq->system_next = system_others;
	wqi_store_release(&system_others, wq);
}

int wqi_system_unlist_locked(struct wq *wq)
{
	struct wq **at = &system_others;

	wqi_assert_held(&wqi_runtime.lock);

	if (wqi_runtime.stopping)
		return -EBUSY;
	while (*at != wq)
		at = &(*at)->system_next;
	wqi_store_release(at, wq->system_next);
	wq->system = false;
	wq->counted = true;
	wqi_runtime.nr_queues++;
	return 0;
}

struct wq *wqi_system_queues_take_locked(void)
{
	struct wq *taken = system_others;
	unsigned i;

	wqi_assert_held(&wqi_runtime.lock);

	wqi_store_release(&system_others, (struct wq *)NULL);
	for (i = 0; i < WQI_SYSTEM_QUEUES; i++) {
		if (!system_queues[i])
			continue;
		system_queues[i]->system_next = taken;
		taken = system_queues[i];
		wqi_store_release(&system_queues[i], (struct wq *)NULL);
	}
	return taken;
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
