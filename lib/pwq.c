/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the counting of a queue's items in one pool.  Wakes no workers. */
#include "pwq.h"

#include <string.h>

#include "queue.h"
#include "table.h"

/*
 * Several threads may prepare the same pwq: all store the same values, and `pool`
 * last, so whoever sees it sees the rest.  seq_cst: ORD-FLUSH-NEW (a).
 */
void wqi_pwq_prepare(struct wqi_pwq *pwq, struct wq *wq, uint32_t id, struct wqi_pool *pool)
{
	wqi_store_relaxed(&pwq->wq, wq);
	wqi_store_relaxed(&pwq->id, id);
	wqi_store_relaxed(&pwq->in_order, (wq->flags & WQ_ORDERED) != 0);
	wqi_store_seq_cst(&pwq->pool, pool);
}

/* ORD-FLUSH-NEW (a): after `pool` was stored, by whoever locks it first. */
void wqi_pwq_ready_locked(struct wqi_pwq *pwq)
{
	uint32_t color;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	if (pwq->ready)
		return;
	CDS_INIT_LIST_HEAD(&pwq->inactive);
	color = wqi_load_seq_cst(&wqi_pwq_wq(pwq)->work_color);
	wqi_pause_point("pwq ready");
	wqi_store_relaxed(&pwq->work_color, color);
	pwq->ready = true;
}

void wqi_pwq_accept_locked(struct wqi_pwq *pwq, struct wq_work *work, uint64_t state)
{
	uint64_t color;

	if (wqi_unlikely(!pwq->ready))
		wqi_pwq_ready_locked(pwq);
	color = (uint64_t)pwq->work_color << WQI_COLOR_SHIFT;
	if (wqi_unlikely((state & WQI_COLOR_MASK) != color))
		wqi_state_change(work, WQI_COLOR_MASK, color);
	pwq->nr_in_flight[pwq->work_color]++;
	pwq->nr_accepted++;
}

/*
 * Such a flush has not ended: its turn comes after the flush of the colour of the
 * run that goes on, which is this one or an earlier one.
 */
void wqi_pwq_accept_requeued_locked(struct wqi_pwq *pwq, uint64_t state)
{
	unsigned color = wqi_state_color(state);

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	if (wqi_unlikely(color != pwq->work_color && !(pwq->flush_mask & 1u << color))) {
		pwq->flush_mask |= 1u << color;
		wqi_add(&wqi_pwq_wq(pwq)->nr_to_flush[color], 1);
	}
	pwq->nr_in_flight[color]++;
	pwq->nr_accepted++;
}

/* --- places --- */

static bool pwq_has_room_locked(const struct wqi_pwq *pwq)
{
	if (pwq->held)
		return false;
	if (pwq->shared)
		return !wqi_share_is_full(pwq->share);
	return pwq->nr_active + (pwq->next != NULL) < wqi_load_seq_cst(&wqi_pwq_share(pwq)->max);
}

/* A place for the first that waits. */
static bool pwq_take_locked(struct wqi_pwq *pwq)
{
	if (wqi_likely(!pwq->shared))
		return pwq_has_room_locked(pwq);
	return wqi_share_take_locked(pwq);
}

/* What waits already comes before; @first: it has been waiting itself, before all others. */
static bool pwq_may_start_locked(struct wqi_pwq *pwq, bool first)
{
	if (pwq->held || pwq->next || (!first && !cds_list_empty(&pwq->inactive)))
		return false;
	return pwq_take_locked(pwq);
}

WQI_SLOW bool wqi_pwq_start_slow_locked(struct wqi_pwq *pwq, struct cds_list_head *link)
{
	bool first = pwq->next == link;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	if (first)
		pwq->next = NULL;
	if (pwq_may_start_locked(pwq, first)) {
		pwq->nr_active++;
		return true;
	}
	cds_list_del(link);
	if (first)
		cds_list_add(link, &pwq->inactive);
	else
		cds_list_add_tail(link, &pwq->inactive);
	return false;
}

static void pwq_activate_first_locked(struct wqi_pwq *pwq)
{
	struct cds_list_head *link = pwq->inactive.next;

	cds_list_del(link);
	cds_list_add_tail(link, &wqi_pwq_pool(pwq)->ready_list);
	wqi_state_change(wqi_link_work(link), 0, WQI_COUNTED);
	pwq->nr_active++;
}

/*
 * What waits here was accepted before anything of this queue that is still on
 * the worklist, so it goes to the ready list, which is served first.
 */
void wqi_pwq_activate_locked(struct wqi_pwq *pwq)
{
	struct cds_list_head *next = pwq->next;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	/* Or, where there is room for more by now, those behind it would come before. */
	if (wqi_unlikely(next)) {
		pwq->next = NULL;
		cds_list_del(next);
		cds_list_add(next, &pwq->inactive);
	}
	while (!cds_list_empty(&pwq->inactive) && pwq_take_locked(pwq))
		pwq_activate_first_locked(pwq);
}

void wqi_pwq_left_locked(struct wqi_pwq *pwq, const struct cds_list_head *link)
{
	if (wqi_likely(pwq->next != link))
		return;
	pwq->next = NULL;
	wqi_pwq_activate_locked(pwq);
}

static void pwq_resume_locked(struct wqi_pwq *pwq)
{
	struct cds_list_head *link = pwq->inactive.next;

	if (wqi_load_seq_cst(&wqi_pwq_share(pwq)->max) != 1 || !pwq_has_room_locked(pwq)) {
		wqi_pwq_activate_locked(pwq);
		return;
	}
	cds_list_del(link);
	cds_list_add(link, &wqi_pwq_pool(pwq)->worklist);
	pwq->next = link;
}

/* After the turn, the next item stands in line anew: pwqs take turns item by item. */
unsigned wqi_pwq_told_locked(struct wqi_pwq *pwq)
{
	bool has = wqi_load_relaxed(&pwq->turn) == WQI_TURN_HAS;
	unsigned before = pwq->nr_active, nr;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	wqi_store_relaxed(&pwq->turn, WQI_TURN_NONE);
	if (has && !cds_list_empty(&pwq->inactive))
		pwq_activate_first_locked(pwq);
	else if (has)
		wqi_share_give_locked(pwq);
	wqi_pwq_activate_locked(pwq);
	nr = pwq->nr_active - before;
	if (pwq->flush_mask & WQI_PWQ_RETIRED && wqi_pwq_is_idle_locked(pwq))
		wqi_tables_ask();
	return nr;
}

/* Beside the one that is just being finished, and those that hold a place. */
static bool pwq_has_waiting_locked(struct wqi_pwq *pwq)
{
	uint64_t in_flight = 0;
	unsigned color;

	if (!cds_list_empty(&pwq->inactive))
		return true;
	if (!wqi_pool_has_work_locked(wqi_pwq_pool(pwq)))
		return false;
	for (color = 0; color < WQI_NR_COLORS; color++)
		in_flight += pwq->nr_in_flight[color];
	return in_flight - 1 > pwq->nr_active;
}

/*
 * Whoever gets the place may be through with its item before this pool's worker has looked
 * at the next one: so that comes behind it, and not behind all that others have.
 */
static void pwq_pass_place_locked(struct wqi_pwq *pwq, bool waiting)
{
	if (waiting && wqi_load_relaxed(&pwq->turn) == WQI_TURN_SPENT)
		wqi_pool_splice_locked(wqi_pwq_pool(pwq)); /* its message */
	if (waiting)
		wqi_share_queue_up_locked(pwq);
	if (!wqi_share_give_locked(pwq))
		return;
	/* It was the first in line itself. */
	if (!cds_list_empty(&pwq->inactive))
		pwq_activate_first_locked(pwq);
	else
		wqi_share_give_locked(pwq);
}

static WQI_SLOW void pwq_finish_shared_locked(struct wqi_pwq *pwq, bool active)
{
	bool waiting = pwq_has_waiting_locked(pwq);

	if (active)
		pwq_pass_place_locked(pwq, waiting);
	if (!waiting)
		wqi_share_withdraw_locked(pwq);
	else
		wqi_pwq_activate_locked(pwq);
}

void wqi_pwq_join_locked(struct wqi_pwq *pwq)
{
	wqi_share_join_locked(pwq);
	if (pwq->ready)
		wqi_pwq_activate_locked(pwq);
}

void wqi_pwq_part_locked(struct wqi_pwq *pwq)
{
	wqi_share_part_locked(pwq);
	if (pwq->ready)
		wqi_pwq_activate_locked(pwq);
}

/* --- ends --- */

static WQI_SLOW void pwq_color_ended_locked(struct wqi_pwq *pwq, unsigned color)
{
	if (pwq->flush_mask & 1u << color) {
		pwq->flush_mask &= ~(1u << color);
		wqi_queue_color_done(wqi_pwq_wq(pwq), color);
	}
	if (pwq->flush_mask & WQI_PWQ_RETIRED && wqi_pwq_is_idle_locked(pwq))
		wqi_tables_emptied(wqi_pwq_wq(pwq));
}

void wqi_pwq_finish_locked(struct wqi_pwq *pwq, unsigned color, bool active)
{
	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);
	wqi_assert(pwq->nr_in_flight[color]);
	wqi_assert(!active || pwq->nr_active);

	pwq->nr_active -= active;
	if (wqi_unlikely(pwq->shared))
		pwq_finish_shared_locked(pwq, active);
	else if (active && !cds_list_empty(&pwq->inactive))
		pwq_resume_locked(pwq);
	if (!--pwq->nr_in_flight[color] && wqi_unlikely(pwq->flush_mask))
		pwq_color_ended_locked(pwq, color);
}

void wqi_pwq_retire_locked(struct wqi_pwq *pwq)
{
	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	pwq->flush_mask |= WQI_PWQ_RETIRED;
}

bool wqi_pwq_is_idle_locked(const struct wqi_pwq *pwq)
{
	unsigned color;

	for (color = 0; color < WQI_NR_COLORS; color++)
		if (pwq->nr_in_flight[color])
			return false;
	return wqi_load_relaxed(&pwq->turn) == WQI_TURN_NONE;
}

bool wqi_pwq_is_congested_locked(const struct wqi_pwq *pwq)
{
	uint64_t in_flight = 0;
	unsigned color;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	for (color = 0; color < WQI_NR_COLORS; color++)
		in_flight += pwq->nr_in_flight[color];
	return !pwq_has_room_locked(pwq) && in_flight > pwq->nr_active;
}

void wqi_pwq_reset(struct wqi_pwq *pwq)
{
	size_t kept = offsetof(struct wqi_pwq, inactive);

	if (!pwq->pool)
		return;
	/* A copy of any instant has to do for a child of this one too: pool, wq, id stay. */
	pwq->work_color = 0;
	memset((char *)pwq + kept, 0, sizeof(*pwq) - kept);
}
