/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the monitor's thread and its looks.  Runs no items. */
#include "monitor.h"

#include <errno.h>
#include <pthread.h>

#include "block.h"
#include "charge.h"
#include "config.h"
#include "pwq.h"
#include "refresh.h"
#include "rescuer.h"
#include "runtime.h"
#include "service.h"
#include "task.h"

#define MONITOR_INTERVAL_NS 1000000u

/* Between two looks whether there are other CPUs, while it has others to do. */
#define MONITOR_REFRESH_NS 1000000000u

/* So many items started since the last look, by workers that had the CPU: nothing is to be done. */
#define MONITOR_FLOW_ITEMS (MONITOR_INTERVAL_NS / WQI_HELP_WORTH_NS)
#define MONITOR_FLOW_NS	   (MONITOR_INTERVAL_NS / 4 * 3)

/* So many looks at which nothing waits and nothing starts: no more, until it does. */
#define MONITOR_QUIET_LOOKS 4

/* States that are read at one look; the others have their turn at the next. */
#define MONITOR_MAX_READS 16u

/* Where states can't be read: who has used less CPU time since the last look is blocked. */
#define MONITOR_STILL_NS 50000u

enum monitor_verdict { VERDICT_NONE, VERDICT_LONG, VERDICT_BLOCKED, VERDICT_INTENSIVE };

static struct wqi_requests monitor_requests;
static struct wqi_pool *monitor_pools; /* monitor only: pools to look at, by watch_next */
static pthread_t monitor_thread;       /* G */
static bool monitor_stopping;	       /* A, release/acquire */

void wqi_monitor_request(struct wqi_pool *pool)
{
	wqi_request_make(&monitor_requests, &pool->to_monitor);
}

/* --- what workers do --- */

/* Blocked, or computing for long?  Reads the state only if @may_read. */
static enum monitor_verdict monitor_judge(struct wqi_worker *worker, uint64_t run, bool may_read)
{
	pid_t tid = wqi_load_acquire(&worker->tid);
	bool known = worker->seen_run == run;
	enum monitor_verdict none = known ? VERDICT_LONG : VERDICT_NONE;
	uint64_t cpu_ns = 0, used_ns;
	bool has_clock = wqi_task_cpu_ns(tid, &cpu_ns);
	char state = 0;

	used_ns = cpu_ns - worker->last_cpu_ns;
	worker->last_cpu_ns = cpu_ns;
	if (!known) {
		wqi_store_relaxed(&worker->seen_cpu_ns, cpu_ns);
		wqi_store_release(&worker->seen_run, run);
	}
	if (wqi_load_relaxed(&worker->in_lock))
		return none;
	if (known && has_clock && wqi_config.cpu_intensive_ns &&
	    cpu_ns - worker->seen_cpu_ns >= wqi_config.cpu_intensive_ns)
		return VERDICT_INTENSIVE;
	/* It had the CPU nearly all the time: if it has blocked just now, that is seen next time.
	 */
	if (has_clock && used_ns >= MONITOR_FLOW_NS)
		return none;
	if (may_read) {
		state = wqi_task_state(tid);
		if (state)
			return wqi_task_state_is_blocked(state) ? VERDICT_BLOCKED : none;
	}
	if (known && has_clock && used_ns < MONITOR_STILL_NS)
		return VERDICT_BLOCKED;
	return none;
}

/*
 * The workers that count and are in an item, with no lock held: reading a state
 * takes microseconds.  If nothing waits, only those that were in it at the last look.
 */
static bool monitor_judge_all(struct wqi_pool *pool, bool waiting)
{
	struct wqi_worker *worker = wqi_load_acquire(&pool->workers);
	unsigned reads = 0;
	bool found = false, may_read;
	uint64_t run;

	for (; worker; worker = worker->all_next) {
		worker->verdict = VERDICT_NONE;
		run = wqi_load_acquire(&worker->run);
		if (!(run & 1) || !wqi_load_relaxed(&worker->counted))
			continue;
		may_read = (waiting || worker->seen_run == run) && reads < MONITOR_MAX_READS;
		reads += may_read;
		worker->verdict = monitor_judge(worker, run, may_read);
		found = found || worker->verdict;
	}
	return found;
}

/* What was found still holds if it is the same run. */
static void monitor_apply_locked(struct wqi_pool *pool, bool waiting)
{
	struct wqi_worker *worker;

	for (worker = pool->workers; worker; worker = worker->all_next) {
		if (!worker->verdict || !worker->counted ||
		    worker->seen_run != wqi_load_acquire(&worker->run))
			continue;
		worker->is_long = worker->marked = true;
		if (worker->verdict == VERDICT_BLOCKED) {
			wqi_worker_found_blocked_locked(worker, WQI_BLOCKED_MONITOR);
		} else if (worker->verdict == VERDICT_INTENSIVE && waiting) {
			if (!worker->hogged)
				wqi_charge_hog_locked(worker, worker->current_pwq,
						      worker->current_fn);
			wqi_worker_uncount_locked(worker);
		}
	}
}

/* --- what pools need --- */

/*
 * Is there anything to start?  The inbox is left as it is: to empty it is the workers' task, who
 * would then have to fetch each item's line from here, and wait for the lock meanwhile.
 */
static bool monitor_sees_waiting_locked(struct wqi_pool *pool)
{
	return wqi_pool_has_work_locked(pool) || !wqi_inbox_is_empty(&pool->inbox);
}

/* How many there are, as far as it matters: 0, 1, or 2 for more. */
static unsigned monitor_count_locked(const struct cds_list_head *list)
{
	return (list->next != list) + (list->next != list->prev);
}

/* One that waits while others start is the next to start: so it is where two threads take turns. */
static bool monitor_sees_backlog_locked(struct wqi_pool *pool)
{
	unsigned nr = wqi_inbox_count(&pool->inbox);

	nr += monitor_count_locked(&pool->worklist) + monitor_count_locked(&pool->ready_list);
	return nr > 1;
}

/* Dear items that looked cheap, or a worker that is on its way and does not come. */
static void monitor_help_locked(struct wqi_pool *pool, uint64_t started)
{
	if (!pool->nr_running) {
		/* While creation fails the manager knows when to try again. */
		if (pool->nr_idle || !wqi_load_relaxed(&pool->not_before_ns) ||
		    wqi_pool_can_make(pool))
			wqi_pool_hand_over_locked(pool);
	} else if (wqi_pool_has_room_locked(pool) &&
		   started < MONITOR_INTERVAL_NS / WQI_HELP_WORTH_NS &&
		   (!started || monitor_sees_backlog_locked(pool))) {
		if (pool->item_ns < MONITOR_INTERVAL_NS / (started + 1))
			pool->item_ns = MONITOR_INTERVAL_NS / (started + 1);
		if (wqi_pool_can_grow(pool))
			wqi_pool_wake_one_locked(pool);
	}
}

/*
 * Items wait, nobody runs, and there is no worker to wake: after 10 ms the rescuers
 * of their queues are called, and then every 100 ms.  Returns when to look again.
 */
static uint64_t monitor_distress_locked(struct wqi_pool *pool, uint64_t now)
{
	uint64_t next;

	if (pool->nr_running || pool->nr_idle) {
		pool->distress_ns = 0;
		return now + MONITOR_INTERVAL_NS;
	}
	if (!pool->distress_ns)
		pool->distress_ns = now + WQI_MAYDAY_FIRST_NS;
	if (now >= pool->distress_ns) {
		wqi_pool_splice_locked(pool);
		wqi_mayday_locked(pool);
		pool->distress_ns = now + WQI_MAYDAY_AGAIN_NS;
	}
	next = now + WQI_MAYDAY_FIRST_NS;
	return pool->distress_ns < next ? pool->distress_ns : next;
}

/*
 * Nothing waits, nothing starts.  Items may go on for hours: then the looks end,
 * and the next producer asks for them again (ORD-SLEEP (b): publish whom to wake,
 * then look at the inbox), unless it was told already whom to call (ORD-WATCH (b)).
 * A worker whose item ends asks too.
 */
static bool monitor_may_end_locked(struct wqi_pool *pool)
{
	wqi_store_seq_cst(&pool->watched, false);
	if (pool->nr_idle == pool->nr_workers) {
		/* If there is none at all, a rescuer had all that there was. */
		wqi_pool_hand_over_locked(pool);
		return true;
	}
	if (++pool->quiet_looks < MONITOR_QUIET_LOOKS || pool->nr_creating) {
		wqi_store_seq_cst(&pool->watched, true);
		return false;
	}
	if (!pool->nr_running) {
		wqi_pool_hand_over_locked(pool);
		return true;
	}
	if (pool->offered && wqi_load_seq_cst(&pool->kick) == WQI_KICK_NOBODY)
		pool->offered = false; /* taken, for an item that was cancelled since */
	if (!pool->offered)
		wqi_xchg(&pool->kick, WQI_KICK_MONITOR);
	if (wqi_inbox_is_empty(&pool->inbox))
		return true;
	if (!pool->offered)
		wqi_xchg(&pool->kick, WQI_KICK_NOBODY);
	wqi_store_seq_cst(&pool->watched, true);
	return false;
}

/* Has it had the CPU since the last such look, and is it not in the same item as then? */
static bool monitor_sees_worker_flow(struct wqi_worker *worker)
{
	uint64_t run = wqi_load_acquire(&worker->run), cpu_ns, used_ns;
	bool known = wqi_task_cpu_ns(wqi_load_acquire(&worker->tid), &cpu_ns);
	bool same = run & 1 && run == worker->flow_run;

	used_ns = cpu_ns - worker->flow_cpu_ns;
	worker->flow_cpu_ns = cpu_ns;
	worker->flow_run = run;
	return known && !same && used_ns >= MONITOR_FLOW_NS;
}

/*
 * With no lock held: do items start in number, by workers that all get on?  Who has blocked since
 * is seen at the next look; who computes for long, beside others, is judged as ever.
 */
static bool monitor_sees_flow(struct wqi_pool *pool)
{
	struct wqi_worker *worker = wqi_load_acquire(&pool->workers);
	uint64_t now_started = wqi_load_relaxed(&pool->nr_started);
	bool flows = now_started - pool->seen_started >= MONITOR_FLOW_ITEMS;

	for (; worker && flows; worker = worker->all_next)
		if (wqi_load_relaxed(&worker->counted))
			flows = monitor_sees_worker_flow(worker);
	if (flows)
		pool->seen_started = now_started;
	return flows;
}

/* When to look again (CLOCK_MONOTONIC), or 0: not before it is busy again. */
static uint64_t monitor_look(struct wqi_pool *pool, uint64_t now)
{
	uint64_t started, next = now + MONITOR_INTERVAL_NS;
	bool waiting, found;

	if (monitor_sees_flow(pool))
		return next;
	wqi_pool_lock(pool);
	waiting = monitor_sees_waiting_locked(pool);
	if (wqi_pool_has_work_locked(pool))
		wqi_pool_say_waiting_locked(pool);
	started = pool->nr_started - pool->seen_started;
	pool->seen_started = pool->nr_started;
	wqi_pool_unlock(pool);

	found = monitor_judge_all(pool, waiting);

	wqi_pool_lock(pool);
	/* Whether somebody is let in for who blocks goes by the lists, and is counted by them. */
	if (found && wqi_pool_splice_locked(pool))
		wqi_pool_say_waiting_locked(pool);
	waiting = monitor_sees_waiting_locked(pool);
	if (found)
		monitor_apply_locked(pool, waiting);
	if (waiting || started)
		pool->quiet_looks = 0;
	if (waiting) {
		monitor_help_locked(pool, started);
		next = monitor_distress_locked(pool, now);
	} else {
		pool->distress_ns = 0;
		if (!started && monitor_may_end_locked(pool))
			next = 0;
	}
	wqi_pool_unlock(pool);
	return next;
}

/* --- the thread --- */

static void monitor_begin(struct wqi_pool *pool, uint64_t now)
{
	bool watched;

	wqi_pool_lock(pool);
	/* A producer asks too: when workers are in items and it was not watched. */
	if (pool->nr_idle < pool->nr_workers || monitor_sees_waiting_locked(pool))
		wqi_store_relaxed(&pool->watched, true);
	/* Who asked may have said so already; the first look finds whether it is over. */
	watched = pool->watched && !pool->sole;
	if (wqi_pool_has_work_locked(pool))
		wqi_pool_say_waiting_locked(pool);
	pool->quiet_looks = 0;
	pool->seen_started = pool->nr_started;
	wqi_pool_unlock(pool);
	if (!watched || pool->watch_ns)
		return;
	pool->watch_ns = now + MONITOR_INTERVAL_NS;
	if (!pool->on_watch_list) {
		pool->on_watch_list = true;
		pool->watch_next = monitor_pools;
		monitor_pools = pool;
	}
}

static void monitor_serve_requests(void)
{
	struct wqi_request *request = wqi_requests_take(&monitor_requests), *next;

	for (; request; request = next) {
		next = wqi_request_take(request);
		monitor_begin(caa_container_of(request, struct wqi_pool, to_monitor), wqi_now_ns());
	}
}

/* What is due.  Returns when the next look is. */
static uint64_t monitor_serve_times(void)
{
	uint64_t now = wqi_now_ns(), next = UINT64_MAX;
	struct wqi_pool **at = &monitor_pools, *pool;

	while ((pool = *at)) {
		if (now >= pool->watch_ns)
			pool->watch_ns = monitor_look(pool, now);
		if (!pool->watch_ns) {
			pool->on_watch_list = false;
			*at = pool->watch_next;
			continue;
		}
		if (pool->watch_ns < next)
			next = pool->watch_ns;
		at = &pool->watch_next;
	}
	return next;
}

static void *monitor_main(void *arg)
{
	uint64_t next, now, refreshed = wqi_now_ns();
	uint32_t event;

	(void)arg;
	wqi_service_begin("wq/monitor");
	wqi_service_last(WQI_LASTING_MONITOR);
	for (;;) {
		event = wqi_load_seq_cst(&monitor_requests.event);
		monitor_serve_requests();
		if (wqi_load_acquire(&monitor_stopping))
			return NULL;
		next = monitor_serve_times();
		now = wqi_now_ns();
		if (next != UINT64_MAX && now - refreshed > MONITOR_REFRESH_NS) {
			wqi_refresh_check();
			refreshed = now;
		}
		if (next > now)
			wqi_futex_wait(&monitor_requests.event, event,
				       next == UINT64_MAX ? WQI_NO_TIMEOUT : next - now);
	}
}

int wqi_monitor_start(void)
{
	wqi_assert_held(&wqi_runtime.lock);

	return wqi_service_start(&monitor_thread, -1, monitor_main, NULL) ? -EAGAIN : 0;
}

void wqi_monitor_stop(void)
{
	wqi_store_release(&monitor_stopping, true);
	wqi_requests_poke(&monitor_requests);
	pthread_join(monitor_thread, NULL);
	wqi_monitor_reset();
}

void wqi_monitor_reset(void)
{
	wqi_requests_reset(&monitor_requests);
	wqi_store_relaxed(&monitor_stopping, false);
	monitor_pools = NULL;
}
