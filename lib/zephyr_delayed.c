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

/*
 * In a read-side section, for the queue may be stopped meanwhile.  1; 0 it is scheduled, or
 * with @anyway not set is not idle; -errno.
 */
static int delayed_arm_rcu(struct k_work_q *queue, struct k_work_delayable *dwork,
			   uint64_t delay_ns, bool anyway)
{
	struct wqi_arming how = {.delay_ns = delay_ns, .cpu = -1, .beside = anyway, .zephyr = true};
	struct wq_delayed_work *dw = wqi_zephyr_timer(&dwork->work);
	int ret;

	if (!(wqi_state(&dw->work) & WQI_INIT))
		return -EINVAL;
	if (!queue)
		queue = wqi_load_relaxed(&dwork->work.queue);
	if (!queue)
		return -EINVAL;
	how.wq = wqi_load_acquire(&queue->wq_queue);
	if (!how.wq)
		return -ENODEV;
	do {
		ret = anyway ? wqi_timer_rearm(dw, &how) : 0;
		if (!ret)
			ret = wqi_timer_arm(dw, &how);
		/* A cancelled one that a shard still has. */
		if (ret == -EAGAIN)
			ret = wqi_timer_rearm(dw, &how);
		else if (!ret && !anyway)
			return 0; /* it is scheduled, queued or being cancelled */
	} while (!ret);
	return ret == -ESHUTDOWN ? -ENODEV : ret;
}

static int delayed_arm(struct k_work_q *queue, struct k_work_delayable *dwork, uint64_t delay_ns,
		       bool anyway)
{
	int ret = wqi_fork_enter(true);
	unsigned token;

	if (ret)
		return ret;
	token = wqi_rcu_read_lock();
	ret = delayed_arm_rcu(queue, dwork, delay_ns, anyway);
	wqi_rcu_read_unlock(token);
	return ret;
}

static int delayed_set(struct k_work_q *queue, struct k_work_delayable *dwork, uint64_t delay_ns,
		       bool anyway)
{
	int ret = delayed_arm(queue, dwork, delay_ns, anyway);

	if (wqi_likely(ret != -ENODEV))
		return ret;
	ret = wqi_zephyr_queue_auto(queue ? queue : wqi_load_relaxed(&dwork->work.queue));
	return ret ? ret : delayed_arm(queue, dwork, delay_ns, anyway);
}

int wq_zephyr_schedule(struct k_work_q *queue, struct k_work_delayable *dwork, uint64_t delay_ns)
{
	if (!delay_ns)
		return wqi_zephyr_submit_idle(queue, &dwork->work);
	return delayed_set(queue, dwork, delay_ns, false);
}

int wq_zephyr_reschedule(struct k_work_q *queue, struct k_work_delayable *dwork, uint64_t delay_ns)
{
	bool beside;

	if (delay_ns)
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
