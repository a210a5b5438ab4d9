/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns k_work_delayable: schedule and reschedule.  How an item is armed is in timer.c. */
#include "zephyr.h"

#include <errno.h>

#include "clock.h"
#include "fork.h"
#include "queue.h"
#include "rcu.h"
#include "timer.h"

uint64_t wq_zephyr_now_ns(void)
{
	return wqi_clock_now_ns();
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

/* 1; 0 it is scheduled, or with @anyway not set is not idle; -errno. */
static inline int delayed_arm(struct k_work_q *queue, struct k_work_delayable *dwork,
			      uint64_t delay_ns, bool anyway)
{
	struct wq_delayed_work *dw = wqi_zephyr_timer(&dwork->work);
	struct wqi_arming how = {.wq = wqi_load_acquire(&queue->wq_queue),
				 .delay_ns = delay_ns,
				 .cpu = -1,
				 .beside = anyway,
				 .zephyr = queue};
	int ret;

	if (wqi_unlikely(!how.wq))
		return -ENODEV;
	ret = anyway ? wqi_timer_rearm(dw, &how) : 0;
	if (!ret)
		ret = wqi_timer_arm(dw, &how);
	if (wqi_unlikely(ret == -EAGAIN || (!ret && anyway)))
		ret = delayed_arm_cancelled(dw, &how);
	return wqi_likely(ret != -ESHUTDOWN) ? ret : -ENODEV;
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
	ret = delayed_arm(queue, dwork, delay_ns, anyway);
	if (ret != -ENODEV || !start)
		return ret;
	ret = wqi_zephyr_queue_auto(queue);
	return ret ? ret : delayed_arm(queue, dwork, delay_ns, anyway);
}

static inline int delayed_set(struct k_work_q *queue, struct k_work_delayable *dwork,
			      uint64_t delay_ns, bool anyway)
{
	int ret = -ENODEV;

	if (wqi_likely(queue && wqi_load_acquire(&wqi_fork.stale) == WQI_FORK_SETTLED))
		ret = delayed_arm(queue, dwork, delay_ns, anyway);
	return wqi_likely(ret != -ENODEV) ? ret
					  : delayed_set_slow(queue, dwork, delay_ns, anyway, true);
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
	uint64_t again_ns;

	if (!wqi_state_is_armed(wqi_state(&dwork->work.wq_work)))
		return 0;
	again_ns = wqi_load_relaxed(&dwork->wq_again_ns);
	return again_ns ? again_ns : wqi_load_relaxed(&dwork->wq_timer.wq_expires_ns);
}
