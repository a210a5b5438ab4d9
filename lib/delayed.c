/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the calls for delayed items: what each does to one that is armed, pending or
 * idle.  How it is armed is in timer.c.
 */
#include <errno.h>

#include "clock.h"
#include "cpu.h"
#include "queue.h"
#include "timer.h"
#include "wheel.h"

#include <wq/wq.h>

void wq_delayed_work_init(struct wq_delayed_work *dw, wq_work_fn fn, void *ctx)
{
	*dw = (struct wq_delayed_work)WQ_DELAYED_WORK_INIT(NULL, NULL);
	wq_work_init(&dw->work, fn, ctx);
}

static bool delayed_is_valid(const struct wq *wq, const struct wq_delayed_work *dw)
{
	return wq && dw && wqi_state(&dw->work) & WQI_INIT &&
	       dw->wq_timer.wq_kind == WQ_TIMER_DELAYED;
}

static int delayed_queue(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	int err;

	if (wqi_unlikely(!delayed_is_valid(how->wq, dw)))
		return -EINVAL;
	if (!how->delay_ns)
		return wqi_queue_work(how->wq, &dw->work, how->cpu);
	err = wqi_fork_enter(true);
	return wqi_unlikely(err) ? err : wqi_timer_arm(dw, how);
}

int wq_queue_delayed(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns)
{
	struct wqi_arming how = {.wq = wq, .delay_ns = delay_ns, .cpu = -1};

	return delayed_queue(dw, &how);
}

/* As wq_queue_on() understands CPUs.  False: out of range. */
static bool delayed_set_cpu(struct wqi_arming *how, int cpu)
{
	if (cpu < 0 || cpu >= WQ_MAX_CPUS)
		return false;
	if (wqi_cpu_is_usable((unsigned)cpu))
		how->cpu = cpu;
	return true;
}

int wq_queue_delayed_on(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns, int cpu)
{
	struct wqi_arming how = {.wq = wq, .delay_ns = delay_ns, .cpu = -1};

	return delayed_set_cpu(&how, cpu) ? delayed_queue(dw, &how) : -EINVAL;
}

/*
 * One run is left to come, as in Linux.  What is armed or pending becomes what it is to
 * be in one step, never idle in between: else others could queue it then, and two
 * acceptances would be one run; or disable it, and one would be lost.
 */
static int delayed_mod(struct wq_delayed_work *dw, const struct wqi_arming *how)
{
	uint64_t state;
	int ret;

	if (!delayed_is_valid(how->wq, dw))
		return -EINVAL;
	ret = wqi_fork_enter(true);
	if (ret)
		return ret;
	do {
		state = wqi_state(&dw->work);
		ret = wqi_state_refusal(state);
		if (ret)
			return ret;
		if (wqi_state_is_pending(state)) {
			ret = wqi_timer_move_pending(dw, how);
		} else if (wqi_state_is_armed(state)) {
			ret = wqi_timer_move(dw, how);
		} else {
			ret = delayed_queue(dw, how);
			if (ret == 1)
				return 0;
		}
	} while (!ret);
	return ret;
}

int wq_mod_delayed(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns)
{
	struct wqi_arming how = {.wq = wq, .delay_ns = delay_ns, .cpu = -1};

	return delayed_mod(dw, &how);
}

int wq_mod_delayed_on(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns, int cpu)
{
	struct wqi_arming how = {.wq = wq, .delay_ns = delay_ns, .cpu = -1};

	return delayed_set_cpu(&how, cpu) ? delayed_mod(dw, &how) : -EINVAL;
}

int wq_reschedule(struct wq *wq, struct wq_delayed_work *dw, uint64_t delay_ns)
{
	struct wqi_arming how = {.wq = wq, .delay_ns = delay_ns, .cpu = -1, .beside = true};
	int ret;

	if (!delayed_is_valid(wq, dw))
		return -EINVAL;
	ret = wqi_fork_enter(true);
	if (ret)
		return ret;
	ret = wqi_state_refusal(wqi_state(&dw->work));
	if (ret)
		return ret;
	/* Without a delay, 0 says that it is pending: the timer is off then. */
	do {
		ret = wqi_timer_move(dw, &how);
		if (!ret)
			ret = delay_ns ? wqi_timer_arm(dw, &how)
				       : wqi_queue_work(wq, &dw->work, -1);
	} while (!ret && (delay_ns || wqi_state_is_armed(wqi_state(&dw->work))));
	return ret;
}

int wq_schedule_delayed(struct wq_delayed_work *dw, uint64_t delay_ns)
{
	int saved = errno, ret;
	struct wq *wq = wq_system();

	ret = wq ? wq_queue_delayed(wq, dw, delay_ns) : -errno;
	errno = saved;
	return ret;
}

uint64_t wq_delayed_work_expires_ns(const struct wq_delayed_work *dw)
{
	if (!dw || !wqi_state_is_armed(wqi_state(&dw->work)))
		return 0;
	return wqi_load_relaxed(&dw->wq_timer.wq_expires_ns);
}

uint64_t wq_delayed_work_remaining_ns(const struct wq_delayed_work *dw)
{
	uint64_t expires_ns = wq_delayed_work_expires_ns(dw), now_ns;

	if (!expires_ns)
		return 0;
	now_ns = wqi_clock_now_ns();
	return expires_ns > now_ns ? expires_ns - now_ns : 0;
}

/* The item's own calls know that it is armed. */

bool wq_delayed_work_pending(const struct wq_delayed_work *dw)
{
	return dw && wq_work_pending(&dw->work);
}

unsigned wq_delayed_work_busy(const struct wq_delayed_work *dw)
{
	return dw ? wq_work_busy(&dw->work) : 0;
}

int wq_delayed_work_flush(struct wq_delayed_work *dw)
{
	return dw ? wq_work_flush(&dw->work) : -EINVAL;
}

int wq_delayed_work_cancel(struct wq_delayed_work *dw)
{
	return dw ? wq_work_cancel(&dw->work) : -EINVAL;
}

int wq_delayed_work_cancel_sync(struct wq_delayed_work *dw)
{
	return dw ? wq_work_cancel_sync(&dw->work) : -EINVAL;
}

int wq_delayed_work_disable(struct wq_delayed_work *dw)
{
	return dw ? wq_work_disable(&dw->work) : -EINVAL;
}

int wq_delayed_work_disable_sync(struct wq_delayed_work *dw)
{
	return dw ? wq_work_disable_sync(&dw->work) : -EINVAL;
}

int wq_delayed_work_enable(struct wq_delayed_work *dw)
{
	return dw ? wq_work_enable(&dw->work) : -EINVAL;
}
