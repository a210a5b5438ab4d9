/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the shares of unbound queues: their sizes, their places and their lines. */
#include "share.h"

#include "freeze.h"
#include "mem.h"
#include "pool.h"
#include "pwq.h"
#include "queue.h"
#include "runtime.h"

/* --- a queue's shares --- */

#define SHARES_EACH(shares, share)                                                                 \
	for ((share) = &(shares)->whole; (share); (share) = wqi_load_acquire(&(share)->next))

static void share_init(struct wqi_share *share, int node)
{
	share->node = node;
	CDS_INIT_LIST_HEAD(&share->line);
}

void wqi_shares_init(struct wqi_shares *shares)
{
	share_init(&shares->whole, WQI_NO_NODE);
}

void wqi_shares_free(struct wqi_shares *shares)
{
	struct wqi_share *share = shares->whole.next, *next;

	for (; share; share = next) {
		next = share->next;
		wqi_free(share, sizeof(*share));
	}
}

/* They stay as long as the queue, so that they can be walked without a lock. */
struct wqi_share *wqi_share_get_locked(struct wqi_shares *shares, int node)
{
	struct wqi_share *share = &shares->whole;

	wqi_assert_held(&wqi_runtime.lock);

	while (share->node != node && share->next)
		share = share->next;
	if (share->node != node) {
		struct wqi_share *made = wqi_zalloc(sizeof(*made));

		if (!made)
			return NULL;
		share_init(made, node);
		wqi_store_release(&share->next, made);
		share = made;
	}
	share->nr_pwqs++;
	return share;
}

void wqi_share_put_locked(struct wqi_share *share)
{
	wqi_assert_held(&wqi_runtime.lock);

	share->nr_pwqs--;
}

/* --- sizes --- */

static void shares_count_cpus(struct wqi_shares *shares, const struct wqi_pods *pods)
{
	struct wqi_share *share;
	unsigned cpu;

	SHARES_EACH(shares, share)
	share->nr_cpus = 0;
	for (cpu = 0; cpu < pods->nr_cpus; cpu++) {
		if (!CPU_ISSET_S(cpu, sizeof(pods->cpus), pods->cpus.set))
			continue;
		shares->whole.nr_cpus++;
		for (share = shares->whole.next; share; share = share->next)
			share->nr_cpus += share->node == wqi_cpu_node(cpu);
	}
}

static unsigned share_size(const struct wq *wq, const struct wqi_share *share)
{
	unsigned max = wqi_load_relaxed(&wq->max_active), nr = wq->shares.whole.nr_cpus;
	unsigned min = wq->min_active < max ? wq->min_active : max;
	unsigned size;

	if (share->node == WQI_NO_NODE)
		return max;
	size = nr ? (max * share->nr_cpus + nr - 1) / nr : max;
	return size < min ? min : size;
}

void wqi_shares_resize(struct wq *wq, const struct wqi_pods *pods)
{
	unsigned limit = wqi_freeze_limit(wq), size;
	struct wqi_share *share;

	if (pods)
		shares_count_cpus(&wq->shares, pods);
	wqi_store_seq_cst(&wq->limit, limit);
	SHARES_EACH(&wq->shares, share)
	{
		size = share_size(wq, share);
		wqi_store_relaxed(&share->size, size);
		wqi_store_seq_cst(&share->max, limit ? size : 0); /* ORD-LIMIT (b) */
	}
}

/* --- places --- */

/*
 * A signal handler of this thread may not wait for the lock, and the locks that it may not
 * wait for are counted together.
 */
static void share_lock(struct wqi_share *share)
{
	wqi_pool_locks_held++;
	wqi_yield_point();
	wqi_lock(&share->lock);
}

static void share_unlock(struct wqi_share *share)
{
	wqi_unlock(&share->lock);
	wqi_pool_locks_held--;
}

static unsigned share_nr_taken(uint32_t places)
{
	return places & ~WQI_SHARE_LINE;
}

/* Without waiting, and not where others wait. */
static bool share_try(struct wqi_share *share)
{
	uint32_t places = wqi_load_relaxed(&share->places);

	do {
		wqi_yield_point();
		/* With the bit for the line it is above every limit.  ORD-LIMIT (a) */
		if (places >= wqi_load_seq_cst(&share->max))
			return false;
	} while (!wqi_cas(&share->places, &places, places + 1));
	return true;
}

static void share_leave_line_locked(struct wqi_share *share, struct wqi_pwq *pwq, uint32_t taken)
{
	cds_list_del(wqi_work_link(&pwq->message));
	if (cds_list_empty(&share->line))
		taken -= WQI_SHARE_LINE;
	wqi_add(&share->places, taken);
}

/* Nobody waits, or no place is free. */
static bool share_is_served_locked(struct wqi_share *share)
{
	return cds_list_empty(&share->line) ||
	       share_nr_taken(wqi_load_seq_cst(&share->places)) >= wqi_load_seq_cst(&share->max);
}

/*
 * The first in line, out of it and with a place; or NULL.  While somebody is in line only
 * the holder of the lock takes places.
 */
static struct wqi_pwq *share_next_locked(struct wqi_share *share)
{
	struct wqi_pwq *pwq;

	wqi_assert_held(&share->lock);

	if (share_is_served_locked(share))
		return NULL;
	pwq = wqi_message_pwq(wqi_link_work(share->line.next));
	share_leave_line_locked(share, pwq, 1);
	return pwq;
}

/* Its table stays while the message is on its way; once that is pushed, it may go. */
static void share_tell(struct wqi_pwq *pwq)
{
	struct wqi_pool *pool = wqi_pwq_pool(pwq);

	wqi_pause_point("place given");
	wqi_store_relaxed(&pwq->message.wq_state, WQI_CANCEL);
	wqi_inbox_push(&pool->inbox, &pwq->message);
	wqi_pool_kick(pool);
}

/* Give what is free to those in line, and tell their pools.  True: @self got one, which knows. */
static bool share_serve(struct wqi_share *share, const struct wqi_pwq *self)
{
	bool got = false, more;
	struct wqi_pwq *pwq;

	do {
		share_lock(share);
		pwq = share_next_locked(share);
		if (pwq)
			wqi_store_relaxed(&pwq->turn, pwq == self ? WQI_TURN_NONE : WQI_TURN_HAS);
		more = pwq && !share_is_served_locked(share);
		share_unlock(share);
		if (pwq && pwq == self)
			got = true;
		else if (pwq)
			share_tell(pwq);
	} while (more);
	return got;
}

void wqi_shares_serve(struct wqi_shares *shares)
{
	struct wqi_share *share;

	SHARES_EACH(shares, share)
	if (wqi_load_seq_cst(&share->places) & WQI_SHARE_LINE)
		share_serve(share, NULL);
}

/*
 * ORD-SHARE (a): the pwq stands in line, which `places` says, then looks whether a place
 * is free.  Partner (b): a place is given back, then it is looked whether somebody stands
 * in line.  Both are one read-modify-write of the same word, of which one is the second.
 * Who raises the limit looks at the line under its lock thereafter.
 */
static bool share_wait_locked(struct wqi_pwq *pwq)
{
	struct wqi_share *share = pwq->share;
	uint32_t places;

	share_lock(share);
	/* Its turn has come meanwhile, or it stands in line already. */
	if (pwq->turn != WQI_TURN_NONE) {
		bool has = pwq->turn == WQI_TURN_HAS;

		if (has)
			wqi_store_relaxed(&pwq->turn, WQI_TURN_SPENT);
		share_unlock(share);
		return has;
	}
	wqi_store_relaxed(&pwq->turn, WQI_TURN_WAITS);
	places = 0;
	if (cds_list_empty(&share->line))
		places = WQI_SHARE_LINE;
	cds_list_add_tail(wqi_work_link(&pwq->message), &share->line);
	places = wqi_add(&share->places, places);
	share_unlock(share);
	wqi_pause_point("in line");
	return share_nr_taken(places) < wqi_load_seq_cst(&share->max) && share_serve(share, pwq);
}

bool wqi_share_take_locked(struct wqi_pwq *pwq)
{
	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	switch (wqi_load_relaxed(&pwq->turn)) {
	case WQI_TURN_HAS:
		wqi_store_relaxed(&pwq->turn, WQI_TURN_SPENT);
		return true;
	case WQI_TURN_NONE:
		return share_try(pwq->share) || share_wait_locked(pwq);
	default:
		/* In line, or when its message comes the pwq looks again. */
		return share_try(pwq->share);
	}
}

void wqi_share_queue_up_locked(struct wqi_pwq *pwq)
{
	struct wqi_share *share = pwq->share;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	if (!(wqi_load_relaxed(&share->places) & WQI_SHARE_LINE))
		return;
	share_lock(share);
	if (pwq->turn == WQI_TURN_NONE && !cds_list_empty(&share->line)) {
		wqi_store_relaxed(&pwq->turn, WQI_TURN_WAITS);
		cds_list_add_tail(wqi_work_link(&pwq->message), &share->line);
	}
	share_unlock(share);
}

/* ORD-SHARE (b) */
static bool share_give(struct wqi_share *share, const struct wqi_pwq *self)
{
	return wqi_sub(&share->places, 1) & WQI_SHARE_LINE && share_serve(share, self);
}

bool wqi_share_give_locked(struct wqi_pwq *pwq)
{
	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	return share_give(pwq->share, pwq);
}

/* True: it held a place that it did not use. */
static bool share_end_turn_locked(struct wqi_pwq *pwq)
{
	struct wqi_share *share = pwq->share;
	bool had;

	share_lock(share);
	if (pwq->turn == WQI_TURN_WAITS) {
		share_leave_line_locked(share, pwq, 0);
		wqi_store_relaxed(&pwq->turn, WQI_TURN_NONE);
	}
	had = pwq->turn == WQI_TURN_HAS;
	if (had)
		wqi_store_relaxed(&pwq->turn, WQI_TURN_SPENT);
	share_unlock(share);
	return had;
}

void wqi_share_withdraw_locked(struct wqi_pwq *pwq)
{
	uint32_t turn = wqi_load_relaxed(&pwq->turn);

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	if (turn == WQI_TURN_NONE || turn == WQI_TURN_SPENT)
		return;
	if (share_end_turn_locked(pwq))
		share_give(pwq->share, NULL);
}

void wqi_share_join_locked(struct wqi_pwq *pwq)
{
	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	pwq->shared = true;
	wqi_add(&pwq->share->places, pwq->nr_active);
}

/* Nobody else is in line, or takes places. */
void wqi_share_part_locked(struct wqi_pwq *pwq)
{
	unsigned taken = pwq->nr_active;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	taken += share_end_turn_locked(pwq);
	wqi_sub(&pwq->share->places, taken);
	wqi_assert(!wqi_load_relaxed(&pwq->share->places));
	pwq->shared = false;
}

bool wqi_share_is_full(const struct wqi_share *share)
{
	return wqi_load_seq_cst(&share->places) >= wqi_load_seq_cst(&share->max);
}

/* --- fork --- */

void wqi_shares_reset(struct wq *wq)
{
	struct wqi_share *share;
	struct wqi_table *table;
	struct wqi_pwq *pwq;

	SHARES_EACH(&wq->shares, share)
	{
		wqi_lock_reset(&share->lock);
		share->places = 0;
		share->nr_pwqs = 0;
		CDS_INIT_LIST_HEAD(&share->line);
	}
	wqi_for_each_pwq(wq, table, pwq) if (wqi_table_is_shared(table)) pwq->share->nr_pwqs++;
	wqi_for_each_pwq(wq, table, pwq) pwq->shared =
		wqi_table_is_shared(table) && pwq->share->nr_pwqs > 1;
	wqi_shares_resize(wq, wqi_load_relaxed(&wq->table)->pods);
}
