/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the item's way in: the claim and the hand-over to a pool's inbox.  Takes no
 * lock, waits for nothing, allocates nothing.
 */
#include "item.h"

#include <errno.h>

#include "bias.h"
#include "cpu.h"
#include "help.h"
#include "pool.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "runtime.h"
#include "worker.h"
#include "zephyr.h"

#include <wq/wq.h>

void wq_work_init(struct wq_work *work, wq_work_fn fn, void *ctx)
{
	work->wq_state = fn ? WQI_INIT : 0; /* without a function it is refused everywhere */
	work->wq_fn = fn;
	work->wq_ctx = ctx;
	work->wq_link[0] = NULL;
	work->wq_link[1] = NULL;
}

bool wq_work_pending(const struct wq_work *work)
{
	uint64_t state = work ? wqi_state(work) : 0;

	return state & (WQI_PENDING | WQI_ARMED) && wqi_state_is_ours(state);
}

unsigned wq_work_busy(const struct wq_work *work)
{
	struct wqi_pool *pool;
	unsigned token, busy = 0;
	struct wqi_pwq *pwq;
	uint64_t state;

	if (!work)
		return 0;
	state = wqi_state(work);
	if (state & WQI_DEPTH_MASK)
		busy |= WQ_BUSY_DISABLED;
	if (!wqi_state_is_ours(state))
		return busy;
	if (state & WQI_PENDING)
		busy |= WQ_BUSY_PENDING;
	if (state & WQI_ARMED)
		busy |= WQ_BUSY_DELAYED;
	if (state & (WQI_CANCEL | WQI_CANCELLER_MASK) ||
	    (state & (WQI_ARMED | WQI_MOVING)) == WQI_MOVING)
		busy |= WQ_BUSY_CANCELING;
	token = wqi_rcu_read_lock();
	state = wqi_state(work);
	pwq = wqi_pwq_of_state(state, &pool);
	if (pwq && (wqi_pool_running_pwq_rcu(pool, work) || wqi_table_runs_before(pwq, work)))
		busy |= WQ_BUSY_RUNNING;
	wqi_rcu_read_unlock(token);
	return busy;
}

/*
 * Where the item runs it is queued; of an ordered queue on the newest table, which waits
 * for that run anyway: on an older one it would pass what waits there.
 */
static struct wqi_pwq *work_goes_to(struct wqi_pwq *running)
{
	struct wq *wq = wqi_pwq_wq(running);

	return wq->flags & WQ_ORDERED ? wqi_queue_pwq_rcu(wq, 0) : running;
}

/*
 * The item was last on a pwq of another pool, or on one that is gone.  If it is
 * running there still, it must be queued there (G2).  The number is looked up
 * again now that the claim is ours: before it, it could come to stand for a new
 * pwq, on which the item ran and became idle again with the same word.  We hold
 * PENDING, so it can't start; ORD-RUNNING says that a run that has not ended is
 * seen.
 *
 * Returns the pwq to push to, or NULL if the item was cancelled meanwhile.
 */
WQI_SLOW struct wqi_pwq *wqi_work_settle_rcu(struct wq_work *work, struct wqi_pwq *pwq)
{
	uint64_t old = wqi_state(work), new;
	struct wqi_pwq *running = NULL;
	struct wqi_pool *last;

	wqi_pause_point("settle");
	/* On a list of the parent's, if the item was last queued before a fork(). */
	wqi_work_link(work)->prev = NULL;
	if (wqi_pwq_of_state(old, &last))
		running = wqi_pool_running_pwq_rcu(last, work);
	if (running)
		pwq = work_goes_to(running);

	do {
		if (old & WQI_CANCEL)
			new = old & ~WQI_PENDING_ALL;
		else
			new = (old & ~(WQI_TRANSIT | WQI_COLOR_MASK | WQI_ID_MASK)) |
			      wqi_pwq_in_state(pwq);
	} while (!wqi_cas(&work->wq_state, &old, new));
	return old & WQI_CANCEL ? NULL : pwq;
}

/*
 * Where the queue refuses, or one that is plugged could be where the item runs: it
 * is that queue's answer that counts if the item runs in another pool.  Seen
 * running inside this section, it is accepted as it was then: the end of that
 * queue's drain, or of its plugging, waits for us.
 *
 * 1 *@to is to take it, 0 it was not running there, -ESHUTDOWN.
 */
static int work_find_running(struct wq_work *work, struct wqi_pool *last, bool refused,
			     struct wqi_pwq **to)
{
	struct wqi_pwq *running = last ? wqi_pool_running_pwq_rcu(last, work) : NULL;

	if (!running || work_goes_to(running) == *to)
		return refused ? -ESHUTDOWN : 0;
	if (wqi_load_seq_cst(&wqi_pwq_wq(running)->refuse) & WQI_QUEUE_PLUGGED)
		return -ESHUTDOWN;
	*to = work_goes_to(running);
	return 1;
}

/*
 * The word of a claim that takes the item from @old, which is idle, to *@to.
 * Where it may run in another pool, that is settled after the claim (TRANSIT).
 */
static WQI_SLOW int work_claimed_word(struct wq_work *work, uint64_t old, bool refused,
				      struct wqi_pwq **to, uint64_t *word)
{
	struct wqi_pool *last = NULL;
	int ret = 0;

	*word = (old & (WQI_INIT | WQI_DEPTH_MASK)) | wqi_fork.generation | WQI_PENDING |
		WQI_TRANSIT;
	if (!wqi_state_is_ours(old))
		return refused ? -ESHUTDOWN : 0;
	wqi_pwq_of_state(old, &last);
	wqi_pause_point("claim");
	if (last != wqi_pwq_pool(*to)) {
		*word = old | WQI_PENDING | WQI_TRANSIT;
		if (refused || wqi_load_seq_cst(&wqi_queues_plugged))
			ret = work_find_running(work, last, refused, to);
		if (ret <= 0)
			return ret;
	} else if (refused) {
		return -ESHUTDOWN;
	}
	*word = (old & ~WQI_ID_MASK) | WQI_PENDING | wqi_pwq_in_state(*to);
	return 0;
}

/* The same as work_claim(), for all cases.  What is armed is as good as pending. */
static WQI_SLOW int work_claim_slow(struct wq *wq, struct wq_work *work, struct wqi_pwq *pwq,
				    struct wqi_pwq **to)
{
	uint64_t old = wqi_load_relaxed(&work->wq_state), new;
	struct wqi_pwq *target;
	bool ours, refused;
	int err;

	do {
	again:
		err = wqi_state_refusal(old);
		if (err)
			return err;
		ours = wqi_state_is_ours(old);
		target = pwq;
		new = old;
		if (old & (WQI_PENDING | WQI_ARMED) && ours)
			continue;
		/* ORD-DRAIN (a) */
		refused = wqi_load_seq_cst(&wq->refuse) && wqi_queue_refuses(wq);
		wqi_pause_point("refuse read");
		if (ours &&
		    (!wqi_state_id(old) || wqi_state_id(old) == wqi_load_relaxed(&pwq->id))) {
			if (refused)
				return -ESHUTDOWN;
			new = (old & ~WQI_ID_MASK) | WQI_PENDING | wqi_pwq_in_state(pwq);
			continue;
		}
		if (!to)
			return -EAGAIN;
		err = work_claimed_word(work, old, refused, &target, &new);
		if (err && wqi_state(work) != old) {
			/* It ran when the word was read, and does not any more: it was queued. */
			old = wqi_state(work);
			goto again;
		}
		if (err)
			return err;
	} while (!wqi_cas(&work->wq_state, &old, new));

	if (new == old)
		return 0;
	if (new &WQI_TRANSIT)
		target = wqi_work_settle_rcu(work, target);
	if (to)
		*to = target;
	return 1;
}

/*
 * Claim the item for a queueing on @pwq.  ORD-PENDING (a): the claim, or for the
 * answer 0 a completed exchange of the word with itself, is a read-modify-write
 * that the worker's clearing of PENDING (b) reads from: the run that follows sees
 * what the caller wrote (G4).
 *
 * A claim that needs no look elsewhere names its pwq at once: the item was never
 * queued, or last on this pwq, or on one of the same pool, whose number can't
 * change hands inside this section.  A word from before a fork() is claimed like
 * one that was last on another pool: its link may still be in the parent's list.
 *
 * Returns 1 and in *@to where to push (NULL: cancelled meanwhile), 0 or -errno.
 * Outside a read-side section @to is NULL, and -EAGAIN says that one is needed.
 */
static int work_claim(struct wq *wq, struct wq_work *work, struct wqi_pwq *pwq, struct wqi_pwq **to)
{
	uint64_t usual = wqi_fork.generation | WQI_INIT;
	uint64_t old = wqi_load_relaxed(&work->wq_state), new;
	uint64_t fresh = WQI_PENDING | wqi_pwq_in_state(pwq);

	do {
		if (wqi_unlikely((old ^ usual) & WQI_UNUSUAL))
			return work_claim_slow(wq, work, pwq, to);
		new = old;
		if (old & WQI_PENDING)
			continue;
		/* ORD-DRAIN (a): read inside the section, after it began. */
		if (wqi_unlikely(wqi_load_seq_cst(&wq->refuse)) ||
		    (wqi_state_id(old) && (old ^ fresh) & WQI_ID_MASK))
			return work_claim_slow(wq, work, pwq, to);
		wqi_pause_point("refuse read");
		new = (old & ~WQI_ID_MASK) | fresh;
	} while (wqi_unlikely(!wqi_cas(&work->wq_state, &old, new)));

	if (old & WQI_PENDING)
		return 0;
	if (to)
		*to = pwq;
	return 1;
}

static inline void work_push(struct wqi_pwq *pwq, unsigned cpu, struct wq_work *work)
{
	struct wqi_pool *pool = wqi_pwq_pool(pwq);

	wqi_pause_point("push");
	if (wqi_unlikely(wqi_load_relaxed(&pwq->in_order)))
		wqi_inbox_push(&pool->inbox, work);
	else
		wqi_inbox_push_from(&pool->inbox, cpu, work);
	wqi_pool_kick(pool);
}

/* As if by the inbox, and behind what that has. */
static void work_put_locked(struct wqi_pool *pool, struct wqi_pwq *pwq, struct wq_work *work)
{
	uint64_t state;

	wqi_pool_splice_locked(pool);
	state = wqi_state(work);
	if (wqi_unlikely(state & WQI_CANCEL)) {
		wqi_pool_unclaim_locked(pool, work, 0);
		return;
	}
	wqi_pwq_accept_locked(pwq, work, state);
	cds_list_add_tail(wqi_work_link(work), &pool->worklist);
}

/*
 * As work_push(), to a pool of which the caller may be the only worker.  While the lock is
 * biased to it the worklist is nearer than the inbox: no locked instruction, and no batch
 * to take out again.  Whoever else looks for items, or says whom to call, takes the lock
 * from it first, so ORD-SLEEP needs nothing more.
 */
static inline void work_push_inside(struct wqi_worker *self, struct wqi_pwq *pwq,
				    struct wq_work *work)
{
	struct wqi_pool *pool = wqi_pwq_pool(pwq);

	if (wqi_load_relaxed(&pool->bias) != self) {
		work_push(pwq, wqi_cpu_current(), work);
		return;
	}
	wqi_pause_point("put");
	wqi_worker_lock_pool(self, pool);
	work_put_locked(pool, pwq, work);
	wqi_help_say_waiting(self, true);
	wqi_worker_unlock_pool(self, pool);
	wqi_pool_kick(pool);
}

/*
 * From an item, to its own queue.  No section: the run keeps queue, pwq and pool, a plug
 * waits for `requeueing`, and who looks whether they are in use finds what was pushed after
 * the run has ended.  ORD-PLUG (a): say so, then look whether the queue refuses.
 *
 * The item that runs can't start before its function returns (@own): its worker keeps it
 * until then, and puts it on the worklist when it takes the pool's lock anyway.
 */
static int work_queue_inside(struct wqi_worker *self, struct wq_work *work, bool own)
{
	struct wqi_pwq *pwq = self->current_pwq;
	bool before = wqi_load_relaxed(&self->requeueing);
	int ret;

	wqi_store_relaxed(&self->requeueing, true);
	wqi_compiler_barrier();
	wqi_pause_point("requeueing");
	ret = work_claim(wqi_pwq_wq(pwq), work, pwq, NULL);
	wqi_pause_point("requeue");
	if (ret > 0 && own)
		wqi_store_release(&self->requeued, work);
	else if (ret > 0)
		work_push_inside(self, pwq, work);
	wqi_store_release(&self->requeueing, before);
	return ret;
}

/*
 * -EAGAIN: it takes a section.  So where order counts, for what is queued until its function
 * returns would pass an item that queues itself; and where other pwqs are to be used by now.
 */
static inline int work_try_inside(struct wq *wq, struct wq_work *work, int cpu)
{
	struct wqi_worker *self = wqi_worker_self;
	bool own;

	/* With a pool's lock held we are a signal handler, and self is between items. */
	if (!self || wqi_pool_locks_held || !self->current_work ||
	    wqi_pwq_wq(self->current_pwq) != wq || !wqi_runtime.can_fence)
		return -EAGAIN;
	own = self->current_work == work && self->current_fn == work->wq_fn;
	if (own ? wq->flags & (WQ_PERCPU | WQ_ORDERED)
		: cpu >= 0 || wqi_load_relaxed(&wq->table) !=
				      wqi_load_relaxed(&self->current_pwq->table))
		return -EAGAIN;
	return work_queue_inside(self, work, own);
}

int wqi_queue_work(struct wq *wq, struct wq_work *work, int cpu)
{
	int ret = work_try_inside(wq, work, cpu);
	unsigned here, token;
	struct wqi_pwq *pwq;

	if (ret != -EAGAIN)
		return ret;
	ret = wqi_fork_enter(true);
	if (wqi_unlikely(ret))
		return ret;
	here = wqi_cpu_current();
	token = wqi_rcu_read_lock_on(here);
	pwq = wqi_queue_pwq_rcu(wq, cpu < 0 ? here : (unsigned)cpu);
	ret = work_claim(wq, work, pwq, &pwq);
	if (ret > 0 && pwq)
		work_push(pwq, here, work);
	wqi_rcu_read_unlock(token);
	return ret;
}

void wqi_queue_claimed(struct wq *wq, struct wq_work *work, int cpu)
{
	struct wqi_pwq *pwq = wqi_queue_pwq_rcu(wq, (unsigned)cpu);

	pwq = wqi_work_settle_rcu(work, pwq);
	if (!pwq)
		return;
	if (wqi_unlikely(work->wq_fn == wq_zephyr_run))
		wqi_zephyr_note_queue(work, wqi_pwq_wq(pwq)->zephyr);
	work_push(pwq, wqi_cpu_current(), work);
}

int wq_queue(struct wq *wq, struct wq_work *work)
{
	if (wqi_unlikely(!wq || !work))
		return -EINVAL;
	return wqi_queue_work(wq, work, -1);
}

int wq_queue_on(struct wq *wq, struct wq_work *work, int cpu)
{
	if (wqi_unlikely(!wq || !work || cpu < 0 || cpu >= WQ_MAX_CPUS))
		return -EINVAL;
	return wqi_queue_work(wq, work, wqi_cpu_is_usable((unsigned)cpu) ? cpu : -1);
}

int wq_queue_node(struct wq *wq, struct wq_work *work, int node)
{
	if (wqi_unlikely(!wq || !work || node < 0 || node >= WQ_MAX_NODES))
		return -EINVAL;
	return wqi_queue_work(wq, work, wqi_cpu_of_node((unsigned)node));
}

int wq_schedule(struct wq_work *work)
{
	int saved = errno, ret;
	struct wq *wq = wq_system();

	ret = wq ? wq_queue(wq, work) : -errno;
	errno = saved;
	return ret;
}
