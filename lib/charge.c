/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns CPU accounting and the list of functions that hog CPUs.  Uncounts nobody. */
#include "charge.h"

#include <stdlib.h>
#include <string.h>

#include "closure.h"
#include "compat.h"
#include "config.h"
#include "fork.h"
#include "zephyr.h"

#include <wq/stats.h>

/* Shorter batches leave the mark where it is. */
#define CHARGE_BATCH_NS 100000u

static struct wqi_lock hogs_lock; /* a leaf */
static struct wq_cpu_hog hogs[WQ_MAX_CPU_HOGS];
static unsigned nr_hogs;

static void hogs_note(const void *fn)
{
	unsigned i;

	wqi_lock(&hogs_lock);
	for (i = 0; i < nr_hogs && hogs[i].fn != fn; i++)
		;
	if (i == nr_hogs && nr_hogs < WQ_MAX_CPU_HOGS)
		hogs[nr_hogs++].fn = fn;
	if (i < nr_hogs)
		hogs[i].count++;
	wqi_unlock(&hogs_lock);
}

static int hogs_compare(const void *a, const void *b)
{
	const struct wq_cpu_hog *x = a, *y = b;

	return x->count > y->count ? -1 : x->count < y->count;
}

unsigned wq_cpu_hogs(struct wq_cpu_hog *to, unsigned max)
{
	struct wq_cpu_hog copy[WQ_MAX_CPU_HOGS];
	unsigned nr;

	wqi_fork_enter(false);
	wqi_lock(&hogs_lock);
	nr = nr_hogs;
	memcpy(copy, hogs, nr * sizeof(*copy));
	wqi_unlock(&hogs_lock);
	qsort(copy, nr, sizeof(*copy), hogs_compare);
	if (to)
		memcpy(to, copy, (nr < max ? nr : max) * sizeof(*to));
	return nr;
}

void wqi_hogs_reset(void)
{
	wqi_lock_reset(&hogs_lock);
	memset(hogs, 0, sizeof(hogs));
	nr_hogs = 0;
}

void wqi_charge_hog_locked(struct wqi_worker *worker, struct wqi_pwq *pwq, wq_work_fn fn)
{
	bool shared = wqi_closure_is_run(fn) || wqi_compat_is_run(fn) || fn == wq_zephyr_run;
	const void *call = wqi_load_relaxed(&worker->call_fn);

	wqi_assert_held(&worker->pool->lock);

	worker->hogged = worker->marked = true;
	wqi_count(&pwq->nr_intensive, 1);
	wqi_count(&worker->pool->nr_intensive, 1);
	hogs_note(shared && call ? call : (const void *)(uintptr_t)fn);
}

void wqi_charge_end_locked(struct wqi_worker *self, struct wqi_pwq *pwq, wq_work_fn fn)
{
	uint64_t now, used = self->cpu_used_ns;
	bool exact = self->measure;

	if (!self->measure && !self->is_long) {
		pwq->cpu_ns += self->pool->item_ns;
		return;
	}
	if (!exact) {
		/* The monitor saw its beginning, or the mark is of some items earlier. */
		exact = wqi_load_acquire(&self->seen_run) == self->run - 1;
		now = wqi_task_own_cpu_ns();
		used = now - (exact ? wqi_load_relaxed(&self->seen_cpu_ns) : self->cpu_mark_ns);
		self->cpu_mark_ns = now;
	}
	pwq->cpu_ns += used;
	if (exact && wqi_config.cpu_intensive_ns && used >= wqi_config.cpu_intensive_ns &&
	    !self->hogged && !self->intensive)
		wqi_charge_hog_locked(self, pwq, fn);
}

void wqi_charge_batch(struct wqi_worker *self, uint64_t wall_ns)
{
	if (wall_ns >= CHARGE_BATCH_NS && self->cpu_mark_run != self->run + 1)
		self->cpu_mark_ns = wqi_task_own_cpu_ns();
}
