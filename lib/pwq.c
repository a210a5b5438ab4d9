/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the counting of a queue's items in one pool.  Wakes no workers. */
#include "pwq.h"

#include <string.h>

#include "queue.h"

/*
 * Several threads may prepare the same pwq: all store the same values, and `pool`
 * last, so whoever sees it sees the rest.  seq_cst: ORD-FLUSH-NEW (a).
 */
void wqi_pwq_prepare(struct wqi_pwq *pwq, struct wq *wq, uint32_t id, struct wqi_pool *pool)
{
	wqi_store_relaxed(&pwq->wq, wq);
	wqi_store_relaxed(&pwq->id, id);
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

bool wqi_pwq_has_room_locked(const struct wqi_pwq *pwq)
{
	return pwq->nr_active < wqi_load_seq_cst(&wqi_pwq_wq(pwq)->limit); /* ORD-LIMIT (a) */
}

/*
 * What waits here was accepted before anything of this queue that is still on
 * the worklist, so it goes to the ready list, which is served first.
 */
void wqi_pwq_activate_locked(struct wqi_pwq *pwq)
{
	struct cds_list_head *link;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	while (!cds_list_empty(&pwq->inactive) && wqi_pwq_has_room_locked(pwq)) {
		link = pwq->inactive.next;
		cds_list_del(link);
		cds_list_add_tail(link, &wqi_pwq_pool(pwq)->ready_list);
		wqi_state_change(wqi_link_work(link), 0, WQI_COUNTED);
		pwq->nr_active++;
	}
}

void wqi_pwq_finish_locked(struct wqi_pwq *pwq, unsigned color, bool active)
{
	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);
	wqi_assert(pwq->nr_in_flight[color]);
	wqi_assert(!active || pwq->nr_active);

	if (active) {
		pwq->nr_active--;
		if (!cds_list_empty(&pwq->inactive))
			wqi_pwq_activate_locked(pwq);
	}
	if (--pwq->nr_in_flight[color])
		return;
	if (wqi_unlikely(pwq->flush_mask & 1u << color)) {
		pwq->flush_mask &= ~(1u << color);
		wqi_queue_color_done(wqi_pwq_wq(pwq), color);
	}
}

bool wqi_pwq_is_idle_locked(const struct wqi_pwq *pwq)
{
	unsigned color;

	for (color = 0; color < WQI_NR_COLORS; color++)
		if (pwq->nr_in_flight[color])
			return false;
	return true;
}

bool wqi_pwq_is_congested_locked(const struct wqi_pwq *pwq)
{
	uint64_t in_flight = 0;
	unsigned color;

	wqi_assert_held(&wqi_pwq_pool(pwq)->lock);

	for (color = 0; color < WQI_NR_COLORS; color++)
		in_flight += pwq->nr_in_flight[color];
	return !wqi_pwq_has_room_locked(pwq) && in_flight > pwq->nr_active;
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
