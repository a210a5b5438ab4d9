/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the sentinels' threads and what they look at.  Counts nobody out (block.c). */
#include "sentinel.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cpu.h"
#include "manager.h"
#include "mem.h"
#include "monitor.h"
#include "runtime.h"
#include "service.h"
#include "task.h"
#include "worker.h"

/* How long to sleep when there is something to look at; doubled while it stays as it is. */
#define SENTINEL_MIN_NS 50000u
#define SENTINEL_MAX_NS 10000000u

/* Pools that one CPU's sentinel keeps in mind. */
#define SENTINEL_SLOTS 8u

enum sentinel_state {
	SENTINEL_NONE,	  /* nobody has asked for it */
	SENTINEL_WANTED,  /* the manager is to make it */
	SENTINEL_READY,	  /* its thread runs */
	SENTINEL_REFUSED, /* the CPU or the policy can't be had: the monitor must do */
};

struct wqi_sentinel {
	uint32_t armed;			       /* A, seq_cst: futex word; ORD-ARM */
	uint32_t state;			       /* A, seq_cst: enum sentinel_state; ORD-ARM */
	pid_t tid;			       /* A, release: 0 until it is ready */
	struct wqi_pool *slot[SENTINEL_SLOTS]; /* A, seq_cst */
	struct wqi_worker *guest;     /* A, seq_cst: who has asked whether the CPU is idle */
	struct wqi_task_files *files; /* its thread only */
	bool started;		      /* manager only: there is a thread to join */
	pthread_t thread;	      /* manager only */
} WQI_CACHE_ALIGNED;

static struct wqi_sentinel *sentinels; /* I, by CPU */
static uint32_t sentinels_wanted;      /* A, seq_cst: some are WANTED */
static uint32_t sentinels_ask;	       /* A, seq_cst: some pool's `asked` is set */
static bool sentinels_end;	       /* A, release/acquire */
static bool sentinels_failed;	       /* manager only: one could not be made */

static size_t sentinels_bytes(void)
{
	return wqi_cpus.nr * sizeof(*sentinels);
}

int wqi_sentinels_init(void)
{
	if (!sentinels)
		sentinels = wqi_zalloc(sentinels_bytes());
	return sentinels ? 0 : -ENOMEM;
}

/* --- arming --- */

/* Where CPUs are pretended there is none, and the monitor does all. */
static struct wqi_sentinel *sentinel_on(unsigned cpu)
{
	return wqi_cpu_is_usable(cpu) && !wqi_cpus.pretended ? &sentinels[cpu] : NULL;
}

/* Unbound items must not draw one to a CPU that is kept free of strangers. */
static bool sentinel_may_be(const struct wqi_pool *pool, unsigned cpu)
{
	return sentinel_on(cpu) && (pool->cpu >= 0 || !wqi_cpu_is_alone(cpu));
}

bool wqi_sentinel_is_ready(const struct wqi_pool *pool, unsigned cpu)
{
	return sentinel_may_be(pool, cpu) &&
	       wqi_load_relaxed(&sentinels[cpu].state) != SENTINEL_REFUSED;
}

static void sentinel_want(struct wqi_sentinel *sentinel)
{
	uint32_t none = SENTINEL_NONE;

	if (!wqi_cas(&sentinel->state, &none, SENTINEL_WANTED))
		return;
	wqi_xchg(&sentinels_wanted, 1);
	wqi_manager_poke();
}

/*
 * ORD-ARM (a): what there is to look at is stored, then `armed` is read, by a
 * read-modify-write: what was stored under a biased lock no other one has followed.
 */
static void sentinel_wake(struct wqi_sentinel *sentinel)
{
	uint32_t state;

	if (wqi_likely(wqi_add(&sentinel->armed, 0)))
		return;
	/* One that is being made looks when it is ready. */
	state = wqi_load_seq_cst(&sentinel->state);
	if (state == SENTINEL_NONE)
		sentinel_want(sentinel);
	else if (state == SENTINEL_READY && !wqi_xchg(&sentinel->armed, 1))
		wqi_futex_wake(&sentinel->armed, 1);
}

static unsigned sentinel_slot_of(const struct wqi_pool *pool)
{
	if (pool->cpu >= 0)
		return pool->nice < 0;
	return 2 + pool->id % (SENTINEL_SLOTS - 2);
}

static void sentinel_remember(struct wqi_sentinel *sentinel, struct wqi_pool *pool)
{
	struct wqi_pool **slot = &sentinel->slot[sentinel_slot_of(pool)];

	if (wqi_load_relaxed(slot) != pool)
		wqi_store_seq_cst(slot, pool);
}

void wqi_sentinel_arm(struct wqi_worker *worker)
{
	unsigned cpu = wqi_load_relaxed(&worker->cpu);
	struct wqi_sentinel *sentinel = &sentinels[cpu];

	if (!sentinel_may_be(worker->pool, cpu) || !wqi_pool_can_grow(worker->pool))
		return;
	sentinel_remember(sentinel, worker->pool);
	sentinel_wake(sentinel);
}

void wqi_sentinel_call(struct wqi_pool *pool, unsigned cpu)
{
	struct wqi_sentinel *sentinel = sentinel_on(cpu);

	if (sentinel) {
		sentinel_remember(sentinel, pool);
		sentinel_wake(sentinel);
	}
	/* It may not get to run: ORD-WATCH (a), the item is in the inbox, then `watched` is read.
	 */
	if (!sentinel || !wqi_load_seq_cst(&pool->watched))
		wqi_monitor_request(pool);
}

void wqi_sentinel_invite(struct wqi_worker *worker, unsigned cpu)
{
	if (!sentinel_may_be(worker->pool, cpu))
		return;
	wqi_store_seq_cst(&sentinels[cpu].guest, worker);
	sentinel_wake(&sentinels[cpu]);
}

/* --- the look --- */

enum sentinel_look { LOOK_NOTHING, LOOK_BUSY, LOOK_KICKED, LOOK_HEARD };

/* False: it has been woken by somebody. */
static bool sentinel_rouse(struct wqi_worker *idle)
{
	uint32_t asleep = 0;

	if (!wqi_cas(&idle->wake, &asleep, 2))
		return false;
	wqi_futex_wake(&idle->wake, 1);
	return true;
}

/* Does it still count, in the run in which it was found? */
static bool sentinel_is_unheard(const struct wqi_worker *blocked)
{
	return wqi_load_relaxed(&blocked->counted) &&
	       wqi_load_acquire(&blocked->run) == wqi_load_relaxed(&blocked->blocked_run);
}

/*
 * Nobody waits for the sentinel between any two of these steps: an idle worker that
 * it marks (2) is woken by everybody else too, and the manager is only poked.
 */
static enum sentinel_look sentinel_kick(struct wqi_pool *pool, const struct wqi_worker *blocked)
{
	unsigned slot = wqi_cpu_current() % WQI_RESERVES;
	struct wqi_worker *reserve;

	wqi_pause_point("sentinel kicks");
	wqi_store_seq_cst(&pool->told, 1);
	reserve = wqi_load_acquire(&pool->reserve[1 + slot]);
	if (!reserve || !sentinel_rouse(reserve)) {
		reserve = wqi_load_acquire(&pool->reserve[0]);
		if (reserve)
			sentinel_rouse(reserve);
	}
	if (!reserve) {
		wqi_store_seq_cst(&pool->asked, true);
		wqi_store_seq_cst(&sentinels_ask, 1);
		wqi_manager_poke();
	}
	/*
	 * If the woken worker is to run here, it has run before we go on.  `told` does not say so:
	 * another CPU's sentinel may have set it again.
	 */
	return sentinel_is_unheard(blocked) ? LOOK_KICKED : LOOK_HEARD;
}

static enum sentinel_look sentinel_look_at(struct wqi_task_files *files, struct wqi_pool *pool,
					   struct wqi_worker *worker)
{
	uint64_t run = wqi_load_acquire(&worker->run);
	char state;

	if (!(run & 1) || !wqi_load_relaxed(&worker->counted))
		return LOOK_NOTHING;
	/* What waited may be gone; the monitor knows. */
	if (wqi_inbox_is_empty(&pool->inbox) &&
	    !(wqi_load_relaxed(&worker->others_wait) && wqi_load_relaxed(&pool->watched)))
		return LOOK_NOTHING;
	state = wqi_task_state_by(files, wqi_load_acquire(&worker->tid));
	if (!wqi_task_state_is_blocked(state) || wqi_load_relaxed(&worker->in_lock) ||
	    wqi_load_acquire(&worker->run) != run)
		return LOOK_BUSY;
	wqi_store_relaxed(&worker->blocked_how,
			  (uint32_t)(state == 'D' ? WQI_BLOCKED_DISK : WQI_BLOCKED_SLEEP));
	wqi_store_relaxed(&worker->blocked_run, run);
	return LOOK_KICKED;
}

/* Those of the pool who began their item on this CPU. */
static enum sentinel_look sentinel_look_in(struct wqi_sentinel *sentinel, struct wqi_pool *pool)
{
	unsigned cpu = (unsigned)(sentinel - sentinels);
	enum sentinel_look found = LOOK_NOTHING, one;
	struct wqi_worker *worker, *blocked = NULL;
	unsigned i;

	if (!wqi_pool_can_grow(pool))
		return LOOK_NOTHING; /* a kick would change nothing */
	for (i = 0; i < pool->nr_runners; i++) {
		worker = wqi_load_acquire(&pool->runners[i]);
		if (!worker || wqi_load_relaxed(&worker->cpu) != cpu)
			continue;
		one = sentinel_look_at(sentinel->files, pool, worker);
		if (one == LOOK_KICKED)
			blocked = worker;
		else if (one > found)
			found = one;
	}
	return blocked ? sentinel_kick(pool, blocked) : found;
}

void wqi_sentinel_stand_in(struct wqi_pool *pool)
{
	unsigned cpu = wqi_cpu_current(), i;
	struct wqi_worker *worker;

	for (i = 0; i < pool->nr_runners; i++) {
		worker = wqi_load_acquire(&pool->runners[i]);
		if (worker && wqi_load_relaxed(&worker->cpu) == cpu &&
		    sentinel_look_at(NULL, pool, worker) == LOOK_KICKED)
			wqi_store_seq_cst(&pool->told, 1);
	}
}

static enum sentinel_look sentinel_look(struct wqi_sentinel *sentinel)
{
	struct wqi_worker *guest = wqi_load_seq_cst(&sentinel->guest);
	enum sentinel_look found = LOOK_NOTHING, one;
	struct wqi_pool *pool;
	unsigned i;

	if (guest) {
		wqi_store_relaxed(&guest->invited, (uint32_t)(sentinel - sentinels) + 1);
		wqi_store_relaxed(&sentinel->guest, (struct wqi_worker *)NULL);
	}
	for (i = 0; i < SENTINEL_SLOTS; i++) {
		pool = wqi_load_seq_cst(&sentinel->slot[i]);
		if (!pool)
			continue;
		one = sentinel_look_in(sentinel, pool);
		if (one > found)
			found = one;
	}
	return found;
}

/*
 * While somebody hears, it goes on: it runs again only when the one it woke has
 * blocked or gone.  Else it sleeps, for ever if there was nothing to look at.  ORD-ARM
 * (b): `armed` is cleared, then it is looked once more; so whoever arms later wakes
 * it, and what was there before is seen.
 */
static void sentinel_watch_cpu(struct wqi_sentinel *sentinel)
{
	uint64_t wait_ns = SENTINEL_MIN_NS;
	enum sentinel_look found;

	while (!wqi_load_acquire(&sentinels_end)) {
		found = sentinel_look(sentinel);
		if (found == LOOK_HEARD) {
			wait_ns = SENTINEL_MIN_NS;
			continue;
		}
		wqi_xchg(&sentinel->armed, 0);
		if (found == LOOK_NOTHING && sentinel_look(sentinel) != LOOK_NOTHING)
			continue;
		if (found == LOOK_NOTHING)
			wait_ns = SENTINEL_MIN_NS;
		if (!wqi_load_acquire(&sentinels_end))
			wqi_futex_wait(&sentinel->armed, 0,
				       found == LOOK_NOTHING ? WQI_NO_TIMEOUT : wait_ns);
		if (found != LOOK_NOTHING && wait_ns < SENTINEL_MAX_NS)
			wait_ns *= 2;
		wqi_store_relaxed(&sentinel->armed, 1u);
	}
}

static void *sentinel_main(void *arg)
{
	struct wqi_sentinel *sentinel = arg;
	struct sched_param param = {.sched_priority = 0};
	struct wqi_task_files files;
	char name[16];

	snprintf(name, sizeof(name), "wq/idle-%u", (unsigned)(sentinel - sentinels));
	wqi_service_begin(name);
	prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);
	if (sched_setscheduler(0, SCHED_IDLE, &param)) {
		wqi_store_release(&sentinel->state, (uint32_t)SENTINEL_REFUSED);
		return NULL;
	}
	wqi_task_files_begin(&files);
	sentinel->files = &files;
	wqi_store_release(&sentinel->tid, gettid());
	wqi_store_seq_cst(&sentinel->state, (uint32_t)SENTINEL_READY);
	sentinel_watch_cpu(sentinel);
	return NULL;
}

/* --- CPUs that come and go --- */

static void sentinel_pin(struct wqi_sentinel *sentinel, unsigned cpu)
{
	pid_t tid = wqi_load_acquire(&sentinel->tid);
	wqi_cpu_mask mask;

	if (!tid)
		return;
	wqi_mask_copy(&mask, &wqi_cpus.mask);
	if (wqi_cpu_is_usable(cpu)) {
		memset(&mask, 0, sizeof(mask));
		CPU_SET_S(cpu, sizeof(mask), mask.set);
	}
	sched_setaffinity(tid, sizeof(mask), mask.set);
}

/* Of a CPU that has gone it floats about, and is not armed: it finds nothing there. */
void wqi_sentinels_pin(void)
{
	unsigned cpu;

	wqi_assert_held(&wqi_runtime.lock);

	for (cpu = 0; sentinels && cpu < wqi_cpus.nr; cpu++)
		sentinel_pin(&sentinels[cpu], cpu);
}

/* --- life --- */

bool wqi_sentinels_are_wanted(void)
{
	return wqi_load_relaxed(&sentinels_wanted);
}

/* Where one can't be made the monitor does its work. */
void wqi_sentinels_make(void)
{
	struct wqi_sentinel *sentinel;
	unsigned cpu;

	if (!wqi_xchg(&sentinels_wanted, 0))
		return;
	for (cpu = 0; cpu < wqi_cpus.nr; cpu++) {
		sentinel = &sentinels[cpu];
		if (wqi_load_acquire(&sentinel->state) != SENTINEL_WANTED || sentinel->started)
			continue;
		sentinel->started =
			!wqi_service_start(&sentinel->thread, (int)cpu, sentinel_main, sentinel);
		if (!sentinel->started) {
			wqi_store_release(&sentinel->state, (uint32_t)SENTINEL_REFUSED);
			sentinels_failed = true;
		}
	}
}

void wqi_sentinels_forgive(void)
{
	unsigned cpu;

	for (cpu = 0; sentinels_failed && cpu < wqi_cpus.nr; cpu++)
		if (!sentinels[cpu].started &&
		    wqi_load_acquire(&sentinels[cpu].state) == SENTINEL_REFUSED)
			wqi_store_release(&sentinels[cpu].state, (uint32_t)SENTINEL_NONE);
	sentinels_failed = false;
}

bool wqi_sentinels_ask(void)
{
	return wqi_load_relaxed(&sentinels_ask) && wqi_xchg(&sentinels_ask, 0);
}

/*
 * Beside a program that hogs its CPU a sentinel might not get to its end for long:
 * all CPUs will do for that, and the usual policy where it may have it back.
 */
void wqi_sentinels_stop(void)
{
	struct sched_param param = {.sched_priority = 0};
	struct wqi_sentinel *sentinel;
	wqi_cpu_mask mask;
	unsigned cpu;

	wqi_store_release(&sentinels_end, true);
	for (cpu = 0; sentinels && cpu < wqi_cpus.nr; cpu++) {
		sentinel = &sentinels[cpu];
		if (!sentinel->started)
			continue;
		wqi_mask_copy(&mask, &wqi_cpus.mask);
		pthread_setaffinity_np(sentinel->thread, sizeof(mask), mask.set);
		pthread_setschedparam(sentinel->thread, SCHED_OTHER, &param);
		wqi_xchg(&sentinel->armed, 1);
		wqi_futex_wake(&sentinel->armed, 1);
		pthread_join(sentinel->thread, NULL);
	}
	wqi_sentinels_reset();
}

void wqi_sentinels_reset(void)
{
	struct wqi_sentinel *old = sentinels;

	/* A copy that fork() makes meanwhile finds them, or none. */
	wqi_store_release(&sentinels, (struct wqi_sentinel *)NULL);
	if (old)
		wqi_free(old, sentinels_bytes());
	wqi_store_relaxed(&sentinels_wanted, 0u);
	wqi_store_relaxed(&sentinels_ask, 0u);
	wqi_store_relaxed(&sentinels_end, false);
	sentinels_failed = false;
}
