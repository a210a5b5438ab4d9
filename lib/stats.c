/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns reading counters out.  What they count is counted where it happens. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "cpu.h"
#include "fork.h"
#include "queue.h"
#include "rcu.h"
#include "worker.h"

#include <wq/stats.h>

/* @size is the caller's: of a structure that may be of an older or newer library. */
static void stats_hand_over(void *to, size_t size, const void *from, size_t known)
{
	memset(to, 0, size);
	memcpy(to, from, size < known ? size : known);
}

/* Runs that go on: no counter is kept for what a walk can tell. */
static unsigned stats_nr_runs_locked(const struct wqi_pwq *pwq)
{
	struct wqi_pool *pool = wqi_pwq_pool(pwq);
	const struct wqi_worker *worker;
	unsigned bucket, nr = 0;

	for (bucket = 0; bucket < WQI_POOL_BUSY_BUCKETS; bucket++)
		for (worker = pool->busy[bucket]; worker; worker = worker->busy_next)
			nr += worker->current_pwq == pwq;
	return nr;
}

static void stats_add_locked(struct wq_stats *stats, const struct wqi_pwq *pwq)
{
	stats->completed += pwq->nr_completed;
	stats->started += pwq->nr_completed + stats_nr_runs_locked(pwq);
	stats->cpu_time_ns += pwq->cpu_ns;
	stats->cpu_intensive += pwq->nr_intensive;
	stats->cm_wakeup += pwq->nr_cm_wakeup;
	stats->mayday += pwq->nr_mayday;
	stats->rescued += pwq->nr_rescued;
	stats->reclaim_waits += pwq->nr_reclaim_waits;
	stats->bh_blocks += pwq->nr_bh_blocks;
}

int wq_stats_read(struct wq *wq, struct wq_stats *stats, size_t size)
{
	struct wq_stats sum = {0};
	unsigned i;

	if (!wq || !stats)
		return -EINVAL;
	wqi_fork_enter(false);
	for (i = 0; i < wq->nr_pwqs; i++) {
		struct wqi_pool *pool = wqi_load_acquire(&wq->pwqs[i].pool);

		if (!pool)
			continue;
		wqi_pool_lock(pool);
		stats_add_locked(&sum, &wq->pwqs[i]);
		wqi_pool_unlock(pool);
	}
	stats_hand_over(stats, size, &sum, sizeof(sum));
	return 0;
}

/* The worst that one of the workers got: what was asked for may not be permitted. */
static void stats_read_priority_locked(struct wq_pool_stats *stats, struct wqi_pool *pool)
{
	const struct wqi_worker *worker;
	int nice, policy;

	stats->nice_wanted = stats->nice = pool->nice;
	stats->policy = pool->bh ? SCHED_FIFO : SCHED_OTHER;
	for (worker = pool->workers; worker; worker = worker->all_next) {
		if (!wqi_load_acquire(&worker->tid))
			continue;
		nice = wqi_load_relaxed(&worker->nice);
		policy = wqi_load_relaxed(&worker->policy);
		if (nice > stats->nice)
			stats->nice = nice;
		if (policy != SCHED_FIFO)
			stats->policy = policy;
	}
}

static void stats_read_pool_locked(struct wq_pool_stats *stats, struct wqi_pool *pool)
{
	stats_read_priority_locked(stats, pool);
	stats->cpu = pool->cpu;
	stats->level = pool->level;
	stats->nr_workers = pool->nr_workers;
	stats->nr_idle = pool->nr_idle;
	stats->nr_running = pool->nr_running;
	stats->started = wqi_load_relaxed(&pool->nr_started);
	stats->started_above_level = pool->nr_above_level;
	stats->blocked_sleep = pool->nr_blocked[WQI_BLOCKED_SLEEP];
	stats->blocked_disk = pool->nr_blocked[WQI_BLOCKED_DISK];
	stats->blocked_monitor = pool->nr_blocked[WQI_BLOCKED_MONITOR];
	stats->blocked_said = pool->nr_blocked[WQI_BLOCKED_SAID];
	stats->cpu_intensive = pool->nr_intensive;
	stats->create_failed = wqi_load_relaxed(&pool->nr_create_failed);
	stats->limit_waits = pool->nr_limit_waits;
}

int wq_pool_stats_read(struct wq *wq, int cpu, struct wq_pool_stats *stats, size_t size)
{
	struct wq_pool_stats now = {0};
	struct wqi_pool *pool;
	unsigned token;

	if (!wq || !stats || cpu < -1 || (cpu >= 0 && !wqi_cpu_is_usable((unsigned)cpu)))
		return -EINVAL;
	wqi_fork_enter(false);
	token = wqi_rcu_read_lock();
	pool = wqi_pwq_pool(wqi_queue_pwq_rcu(wq, cpu < 0 ? wqi_cpu_current() : (unsigned)cpu));
	wqi_pool_lock(pool);
	stats_read_pool_locked(&now, pool);
	wqi_pool_unlock(pool);
	wqi_rcu_read_unlock(token);
	stats_hand_over(stats, size, &now, sizeof(now));
	return 0;
}
