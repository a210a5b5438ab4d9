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

static void stats_add_pwq(struct wq_stats *stats, struct wqi_pwq *pwq)
{
	struct wqi_pool *pool = wqi_load_acquire(&pwq->pool);

	if (!pool)
		return;
	wqi_pool_lock(pool);
	stats_add_locked(stats, pwq);
	wqi_pool_unlock(pool);
}

void wqi_stats_keep_locked(struct wq *wq, struct wqi_table *table)
{
	unsigned i;

	wqi_assert_held(&wq->mutex);

	for (i = 0; i < table->nr; i++) {
		stats_add_pwq(&wq->past, &table->pwqs[i]);
		wq->past_accepted += table->pwqs[i].nr_accepted;
	}
}

int wq_stats_read(struct wq *wq, struct wq_stats *stats, size_t size)
{
	struct wqi_table *table;
	struct wqi_pwq *pwq;
	struct wq_stats sum;

	if (!wq || !stats)
		return -EINVAL;
	wqi_fork_enter(false);
	wqi_lock(&wq->mutex);
	sum = wq->past;
	wqi_for_each_pwq(wq, table, pwq) stats_add_pwq(&sum, pwq);
	wqi_unlock(&wq->mutex);
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

static bool stats_cpu_is_valid(int cpu)
{
	return cpu == -1 || (cpu >= 0 && wqi_cpu_is_usable((unsigned)cpu));
}

/* Inside a read-side section. */
static struct wqi_pool *stats_pool_rcu(struct wq *wq, int cpu)
{
	return wqi_pwq_pool(wqi_queue_pwq_rcu(wq, cpu < 0 ? wqi_cpu_current() : (unsigned)cpu));
}

int wq_pool_stats_read(struct wq *wq, int cpu, struct wq_pool_stats *stats, size_t size)
{
	struct wq_pool_stats now = {0};
	struct wqi_pool *pool;
	unsigned token;

	if (!wq || !stats || !stats_cpu_is_valid(cpu))
		return -EINVAL;
	wqi_fork_enter(false);
	token = wqi_rcu_read_lock();
	pool = stats_pool_rcu(wq, cpu);
	wqi_pool_lock(pool);
	stats_read_pool_locked(&now, pool);
	wqi_pool_unlock(pool);
	wqi_rcu_read_unlock(token);
	stats_hand_over(stats, size, &now, sizeof(now));
	return 0;
}

int wq_pool_cpus_read(struct wq *wq, int cpu, cpu_set_t *mask, size_t bytes)
{
	struct wqi_pool *pool;
	wqi_cpu_mask cpus;
	unsigned token;

	if (!wq || !mask || !stats_cpu_is_valid(cpu))
		return -EINVAL;
	wqi_fork_enter(false);
	/* A queue's pods stay while its table does. */
	token = wqi_rcu_read_lock();
	pool = stats_pool_rcu(wq, cpu);
	/* A CPU's own is filled in by who locks it first. */
	wqi_pool_lock(pool);
	wqi_pool_unlock(pool);
	if (pool->cpu >= 0) {
		memset(&cpus, 0, sizeof(cpus));
		CPU_SET_S((unsigned)pool->cpu, sizeof(cpus), cpus.set);
	} else if (pool->pods) {
		wqi_pods_cpus(pool->pods, pool->pod, &cpus);
	} else {
		wqi_mask_copy(&cpus, &wqi_cpus.mask);
	}
	wqi_rcu_read_unlock(token);
	stats_hand_over(mask, bytes, cpus.set, sizeof(cpus));
	return 0;
}
