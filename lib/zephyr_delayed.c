/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns k_work_delayable: schedule and reschedule.  How an item is armed is in timer.c. */
#include "zephyr.h"

#include <errno.h>

#include "clock.h"
#include "fork.h"
#include "ids.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"
#include "table.h"
#include "timer.h"

uint64_t wq_zephyr_now_ns(void)
{
	return wqi_clock_now_ns();
}

uint64_t wqi_zephyr_again(const struct wq *wq, uint64_t expires_ns)
{
	const struct wqi_pwq *pwq = wqi_load_acquire(&wq->table)->pwqs; /* it has but one */
	uint64_t ticks = WQI_AGAIN_TICKS;

	if (expires_ns < (WQI_AGAIN_TICKS - 1) << WQI_TICK_SHIFT)
		ticks = (expires_ns + WQI_TICK_NS - 1) >> WQI_TICK_SHIFT;
	return (uint64_t)wqi_load_relaxed(&pwq->id) << WQI_ID_SHIFT | ticks;
}

void wqi_zephyr_arm_again(struct wq_delayed_work *dw)
{
	uint64_t again = wqi_xchg(&wqi_zephyr_delayable(dw)->wq_again, UINT64_C(0));

	if (!again)
		return;
	wqi_store_relaxed(&dw->wq_timer.wq_expires_ns, wqi_zephyr_again_ns(again));
	dw->wq_timer.wq_queue = wqi_pwq_wq(wqi_ids_get((uint32_t)(again >> WQI_ID_SHIFT)));
}

/* A cancelled item that a shard still has. */
static WQI_SLOW int delayed_arm_cancelled(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	int ret;

	do {
		ret = wqi_timer_rearm(dw, how);
		if (!ret)
			ret = wqi_timer_arm(dw, how);
	} while (ret == -EAGAIN || (!ret && how->beside));
	return ret;
}

/* 1; 0 it is scheduled, or without `beside` is not idle; -errno, -ENODEV for a queue that ends. */
static int delayed_arm(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	int ret = how->beside ? wqi_timer_rearm(dw, how) : 0;

	if (!ret)
		ret = wqi_timer_arm(dw, how);
	if (wqi_unlikely(ret == -EAGAIN || (!ret && how->beside)))
		ret = delayed_arm_cancelled(dw, how);
	return ret != -ESHUTDOWN ? ret : -ENODEV;
}

static int delayed_arm_for(struct k_work_q *queue, struct k_work_delayable *dwork,
			   uint64_t delay_ns, bool anyway)
{
	struct wqi_arming how = {.wq = wqi_load_acquire(&queue->wq_queue),
				 .delay_ns = delay_ns,
				 .cpu = -1,
				 .beside = anyway,
				 .zephyr = queue};

	return how.wq ? delayed_arm(wqi_zephyr_timer(&dwork->work), &how) : -ENODEV;
}

static WQI_SLOW int delayed_set_slow(struct k_work_q *queue, struct k_work_delayable *dwork,
				     uint64_t delay_ns, bool anyway, bool start)
{
	int ret = wqi_fork_enter(true);

	if (ret)
		return ret;
	if (!(wqi_state(&dwork->work.wq_work) & WQI_INIT))
		return -EINVAL;
	if (!queue)
		queue = wqi_load_relaxed(&dwork->work.queue);
	if (!queue)
		return -EINVAL;
	ret = delayed_arm_for(queue, dwork, delay_ns, anyway);
	if (ret != -ENODEV || !start)
		return ret;
	ret = wqi_zephyr_queue_auto(queue);
	return ret ? ret : delayed_arm_for(queue, dwork, delay_ns, anyway);
}

/* It was not armed at once: @ret. */
static WQI_SLOW int delayed_set_again(struct wq_delayed_work *dw, const struct wqi_arming *how,
				      int ret)
{
	if (ret == -EAGAIN || (!ret && how->beside))
		ret = delayed_arm_cancelled(dw, how);
	if (ret != -ESHUTDOWN && ret != -ENODEV)
		return ret;
	return delayed_set_slow(how->zephyr, wqi_zephyr_delayable(dw), how->delay_ns, how->beside,
				true);
}

static inline int delayed_set(struct k_work_q *queue, struct k_work_delayable *dwork,
			      uint64_t delay_ns, bool anyway)
{
	struct wq_delayed_work *dw = wqi_zephyr_timer(&dwork->work);
	struct wqi_arming how = {.delay_ns = delay_ns,
				 .cpu = -1,
				 .beside = anyway,
				 .zephyr = queue};
	int ret = 0;

	if (wqi_unlikely(!queue || wqi_load_acquire(&wqi_fork.stale) != WQI_FORK_SETTLED))
		return delayed_set_slow(queue, dwork, delay_ns, anyway, true);
	how.wq = wqi_load_acquire(&queue->wq_queue);
	if (wqi_unlikely(!how.wq))
		return delayed_set_slow(queue, dwork, delay_ns, anyway, true);
	if (anyway)
		ret = wqi_timer_rearm(dw, &how);
	if (!ret)
		ret = wqi_timer_arm(dw, &how);
	return wqi_likely(ret == 1) ? 1 : delayed_set_again(dw, &how, ret);
}

int wqi_zephyr_schedule_started(struct k_work_q *queue, struct k_work_delayable *dwork,
				uint64_t delay_ns, bool anyway)
{
	return delayed_set_slow(queue, dwork, delay_ns, anyway, false);
}

int wq_zephyr_schedule(struct k_work_q *queue, struct k_work_delayable *dwork, uint64_t delay_ns)
{
	if (wqi_unlikely(!delay_ns))
		return wqi_zephyr_submit_idle(queue, &dwork->work);
	return delayed_set(queue, dwork, delay_ns, false);
}

int wq_zephyr_reschedule(struct k_work_q *queue, struct k_work_delayable *dwork, uint64_t delay_ns)
{
	bool beside;

	if (wqi_likely(delay_ns))
		return delayed_set(queue, dwork, delay_ns, true);
	if (wqi_state_is_armed(wqi_state(&dwork->work.wq_work)))
		wqi_timer_cancel(&dwork->work.wq_work, &beside);
	return wq_zephyr_submit(queue, &dwork->work);
}

uint64_t wq_zephyr_expires_ns(const struct k_work_delayable *dwork)
{
	uint64_t again;

	if (!wqi_state_is_armed(wqi_state(&dwork->work.wq_work)))
		return 0;
	again = wqi_load_relaxed(&dwork->wq_again);
	return again ? wqi_zephyr_again_ns(again)
		     : wqi_load_relaxed(&dwork->wq_timer.wq_expires_ns);
}
