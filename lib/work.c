/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the item's way in: the claim and the hand-over to a pool's inbox.  Takes no
 * lock, waits for nothing, allocates nothing.
 */
#include "item.h"

#include <errno.h>

#include "cpu.h"
#include "pool.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "worker.h"

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
	return work && wqi_state(work) & WQI_PENDING;
}

unsigned wq_work_busy(const struct wq_work *work)
{
	struct wqi_pool *pool;
	unsigned token, busy = 0;
	uint64_t state;

	if (!work)
		return 0;
	token = wqi_rcu_read_lock();
	state = wqi_state(work);
	if (state & WQI_PENDING)
		busy |= WQ_BUSY_PENDING;
	if (state & WQI_CANCEL)
		busy |= WQ_BUSY_CANCELING;
	if (state & WQI_DEPTH_MASK)
		busy |= WQ_BUSY_DISABLED;
	if (wqi_pwq_of_state(state, &pool) && wqi_pool_running_pwq_rcu(pool, work))
		busy |= WQ_BUSY_RUNNING;
	wqi_rcu_read_unlock(token);
	return busy;
}

/*
 * The item's last pool is not where it was to go: if it is running there, it must
 * be queued there (G2).  We hold PENDING, so it can't start; ORD-RUNNING says that
 * a run that has not ended is seen.
 *
 * Returns the pwq to push to, or NULL if the item was cancelled meanwhile.
 */
static struct wqi_pwq *work_settle_rcu(struct wq_work *work, struct wqi_pool *last,
				       struct wqi_pwq *pwq)
{
	struct wqi_pwq *running;
	uint64_t old, new;

	wqi_yield_point();
	running = wqi_pool_running_pwq_rcu(last, work);
	if (running)
		pwq = running;

	old = wqi_state(work);
	do {
		if (old & WQI_CANCEL)
			new = old & ~WQI_PENDING_ALL;
		else
			new = (old & ~(WQI_TRANSIT | WQI_COLOR_MASK | WQI_ID_MASK)) |
			      (uint64_t)wqi_load_relaxed(&pwq->work_color) << WQI_COLOR_SHIFT |
			      (uint64_t)pwq->id << WQI_ID_SHIFT;
	} while (!wqi_cas(&work->wq_state, &old, new));
	return old & WQI_CANCEL ? NULL : pwq;
}

/*
 * Claim the item for a queueing on @pwq.  ORD-PENDING (a): the claim, or for the
 * answer 0 a completed exchange of the word with itself, is a read-modify-write
 * that the worker's clearing of PENDING (b) reads from: the run that follows sees
 * what the caller wrote (G4).
 *
 * Returns 1 and in *@last the pool in which to look for a run that goes on, or
 * NULL; 0 or -errno.  A @chained caller is in no read-side section: it gets
 * -EAGAIN where one is needed.
 */
static int work_claim(struct wq *wq, struct wq_work *work, struct wqi_pwq *pwq, bool chained,
		      struct wqi_pool **last)
{
	uint64_t old = wqi_load_relaxed(&work->wq_state), new;
	uint64_t fresh = WQI_PENDING | (uint64_t)pwq->id << WQI_ID_SHIFT |
			 (uint64_t)wqi_load_relaxed(&pwq->work_color) << WQI_COLOR_SHIFT;

	do {
		if (wqi_unlikely(!(old & WQI_INIT)))
			return -EINVAL;
		if (wqi_unlikely(old & (WQI_DEPTH_MASK | WQI_CANCEL)))
			return -EBUSY;
		*last = NULL;
		if (old & WQI_PENDING) {
			new = old;
			continue;
		}
		/* ORD-DRAIN (a): read inside the section, after it began. */
		if (wqi_unlikely(wqi_load_seq_cst(&wq->refuse)) && !wqi_worker_serves(wq))
			return -ESHUTDOWN;
		new = (old & ~WQI_ID_MASK) | fresh;
		if (wqi_state_id(old) == pwq->id || !wqi_state_id(old))
			continue;
		if (chained)
			return -EAGAIN;
		wqi_pwq_of_state(old, last);
		if (*last == pwq->pool)
			*last = NULL;
		if (*last)
			new = old | WQI_PENDING | WQI_TRANSIT;
	} while (wqi_unlikely(!wqi_cas(&work->wq_state, &old, new)));

	return !(old & WQI_PENDING);
}

static void work_push(struct wq_work *work, struct wqi_pool *pool)
{
	wqi_yield_point();
	wqi_inbox_push(&pool->inbox, work);
	wqi_pool_kick(pool);
}

/*
 * An item queues on its own queue.  No read-side section: the queue, its table,
 * its pwqs and their pools stay as long as one of its items runs; a drain counts
 * the caller, and looks twice; and who finds the item claimed but not pushed yet
 * leaves a waiter or a mark with it.  -EAGAIN: a section is needed after all.
 */
static int work_queue_chained(struct wq *wq, struct wq_work *work)
{
	struct wqi_pwq *pwq = wqi_queue_pwq_rcu(wq, wqi_cpu_current());
	struct wqi_pool *last;
	int ret = work_claim(wq, work, pwq, true, &last);

	if (ret > 0)
		work_push(work, pwq->pool);
	return ret;
}

int wqi_queue_work(struct wq *wq, struct wq_work *work, int cpu)
{
	unsigned here, token;
	struct wqi_pool *last;
	struct wqi_pwq *pwq;
	int ret;

	if (cpu < 0 && wqi_worker_serves(wq)) {
		ret = work_queue_chained(wq, work);
		if (ret != -EAGAIN)
			return ret;
	}
	here = wqi_cpu_current();
	token = wqi_rcu_read_lock_on(here);
	pwq = wqi_queue_pwq_rcu(wq, cpu < 0 ? here : (unsigned)cpu);
	ret = work_claim(wq, work, pwq, false, &last);
	if (ret > 0 && wqi_unlikely(last))
		pwq = work_settle_rcu(work, last, pwq);
	if (ret > 0 && pwq)
		work_push(work, pwq->pool);
	wqi_rcu_read_unlock(token);
	return ret;
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

int wq_schedule(struct wq_work *work)
{
	int saved = errno, ret;
	struct wq *wq = wq_system();

	ret = wq ? wq_queue(wq, work) : -errno;
	errno = saved;
	return ret;
}
