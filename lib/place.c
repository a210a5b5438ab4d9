/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns where a pool's workers run, and how many at once.  What says so: pods.c, cpu.c. */
#include "place.h"

#include <sched.h>
#include <string.h>

#include "sentinel.h"
#include "task.h"

void wqi_pool_set_level(struct wqi_pool *pool, unsigned level)
{
	wqi_pool_lock(pool);
	wqi_store_relaxed(&pool->level, level);
	wqi_pool_hand_over_locked(pool);
	wqi_pool_unlock(pool);
}

bool wqi_pool_mask(const struct wqi_pool *pool, wqi_cpu_mask *mask)
{
	const struct wqi_pods *pods = pool->pods;

	if (wqi_cpus.pretended)
		return false;
	if (pool->cpu >= 0 && wqi_cpu_is_usable((unsigned)pool->cpu)) {
		memset(mask, 0, sizeof(*mask));
		CPU_SET_S((unsigned)pool->cpu, sizeof(*mask), mask->set);
		return true;
	}
	wqi_mask_copy(mask, &wqi_cpus.unbound);
	if (pool->cpu < 0 && pods)
		wqi_pods_mask(pods, pool->pod, mask);
	return true;
}

void wqi_pool_pin_locked(struct wqi_pool *pool)
{
	struct wqi_worker *worker;
	wqi_cpu_mask mask;
	pid_t tid;

	wqi_assert_held(&pool->lock);

	for (worker = pool->workers; worker; worker = worker->all_next) {
		tid = wqi_load_acquire(&worker->tid);
		if (tid && wqi_pool_mask(worker->out_at ? worker->out_at : pool, &mask))
			sched_setaffinity(tid, sizeof(mask), mask.set);
	}
}

/* Where CPUs change meanwhile, it may have undone what was set for it then. */
void wqi_pool_go_to_cpus(const struct wqi_pool *pool)
{
	wqi_cpu_mask mask;
	uint32_t epoch;

	do {
		epoch = wqi_load_seq_cst(&wqi_cpus.epoch);
		if (wqi_pool_mask(pool, &mask))
			sched_setaffinity(0, sizeof(mask), mask.set);
	} while (epoch != wqi_load_seq_cst(&wqi_cpus.epoch));
}

/* --- a CPU for each --- */

/* The pool's CPUs where none of its runners is; false: there is no such.  @beside: who is where
 * @self is. */
static bool place_find_free(const struct wqi_worker *self, wqi_cpu_mask *mask,
			    const struct wqi_worker **beside)
{
	unsigned here = wqi_load_relaxed(&self->cpu), cpu, i;
	const struct wqi_pool *pool = self->pool;
	const struct wqi_worker *other;

	*beside = NULL;
	if (!wqi_pool_mask(pool, mask))
		return false;
	for (i = 0; i < pool->nr_runners; i++) {
		other = wqi_load_acquire(&pool->runners[i]);
		if (!other)
			continue;
		cpu = wqi_load_relaxed(&other->cpu);
		if (cpu == here && other != self)
			*beside = other;
		CPU_CLR_S(cpu, sizeof(*mask), mask->set);
	}
	return CPU_COUNT_S(sizeof(*mask), mask->set);
}

/* Whoever changes the pool's CPUs pins all anew, under the lock, after that. */
static void place_send_locked(struct wqi_worker *self, const struct wqi_worker *late)
{
	pid_t tid = wqi_load_acquire(&late->tid);
	wqi_cpu_mask free, all;
	const struct wqi_worker *beside;

	if (!tid || !wqi_pool_mask(self->pool, &all) || !place_find_free(self, &free, &beside))
		return;
	sched_setaffinity(tid, sizeof(free), free.set);
	sched_setaffinity(tid, sizeof(all), all.set);
}

bool wqi_place_check_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	struct wqi_worker *late;

	if (pool->cpu >= 0)
		return false;
	late = wqi_pool_on_its_way_locked(pool);
	if (late && late == self->late)
		place_send_locked(self, late);
	self->late = late;
	return !late && pool->nr_running > 1;
}

void wqi_place_move(struct wqi_worker *self)
{
	const struct wqi_worker *beside;
	wqi_cpu_mask free;

	if (!place_find_free(self, &free, &beside) || !beside)
		return;
	/* Who has blocked there needs no CPU: to look costs less than to move in vain. */
	if (wqi_task_state_is_blocked(wqi_task_state(wqi_load_acquire(&beside->tid))))
		return;
	sched_setaffinity(0, sizeof(free), free.set);
	wqi_pool_go_to_cpus(self->pool);
	wqi_place_say(self);
}

/* --- a flusher and its worker --- */

/* So many turns an idle CPU has to answer. */
#define PLACE_PATIENCE 16u

/* The next of the pool's CPUs; or @here if there is no other. */
static unsigned place_next(const struct wqi_pool *pool, unsigned here)
{
	wqi_cpu_mask mask;
	unsigned cpu, i;

	if (!wqi_pool_mask(pool, &mask))
		return here;
	for (i = 1; i < wqi_cpus.nr; i++) {
		cpu = (here + i) % wqi_cpus.nr;
		if (CPU_ISSET_S(cpu, sizeof(mask), mask.set))
			return cpu;
	}
	return here;
}

static void place_go(struct wqi_worker *self, unsigned cpu)
{
	wqi_cpu_mask mask;

	memset(&mask, 0, sizeof(mask));
	CPU_SET_S(cpu, sizeof(mask), mask.set);
	sched_setaffinity(0, sizeof(mask), mask.set);
	wqi_pool_go_to_cpus(self->pool);
	wqi_place_say(self);
	self->beside = 0;
}

/* Asks less and less often, if there is no answer: each time after twice as many turns. */
void wqi_place_part(struct wqi_worker *self)
{
	unsigned asked_at = 1u << (31 - __builtin_clz(self->beside));
	uint32_t invited = wqi_load_relaxed(&self->invited);
	unsigned here = wqi_cpu_current(), next;

	if (self->beside == asked_at) {
		wqi_store_relaxed(&self->invited, 0u);
		next = place_next(self->pool, here);
		if (next != here)
			wqi_sentinel_invite(self, next);
	} else if (invited && self->beside - asked_at <= PLACE_PATIENCE) {
		place_go(self, invited - 1);
	}
}
