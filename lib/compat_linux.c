/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what wq/compat/linux.h can't do by native calls alone: the items' function, names by
 * format, what Linux allows and the native calls refuse, and reports where a kernel's
 * function has no answer.  Has no state of items or queues.
 */
#include <wq/compat/linux.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "block.h"
#include "compat.h"
#include "flush.h"
#include "fork.h"
#include "mem.h"
#include "queue.h"
#include "rcu_work.h"
#include "report.h"
#include "spin.h"
#include "worker.h"

_Static_assert(offsetof(struct work_struct, func) == offsetof(struct wq_work, wq_ctx) &&
		       sizeof(work_func_t) == sizeof(void *) &&
		       sizeof(struct work_struct) == sizeof(struct wq_work),
	       "the function of an item is the native item's context");
_Static_assert(offsetof(struct delayed_work, work) == offsetof(struct wq_delayed_work, work) &&
		       offsetof(struct delayed_work, wq_timer) ==
			       offsetof(struct wq_delayed_work, wq_timer) &&
		       offsetof(struct rcu_work, work) == offsetof(struct wq_rcu_work, work),
	       "items are native items under another name");
_Static_assert(sizeof(struct cpumask) * 8 == WQ_MAX_CPUS, "a mask has a bit for each CPU");
_Static_assert(WQ_AFFN_SYSTEM < 7, "the default scope is none of the others");
_Static_assert(!((WQ_UNBOUND | WQ_SYSFS) & (2u * WQ_OBSERVE - 1)), "no native flag");

/* --- items --- */

/* The context comes in a register: nothing of the item is read, which may be gone soon. */
void wq_linux_run(struct wq_work *work, void *func)
{
	wqi_worker_calls(func);
	((work_func_t)(uintptr_t)func)((struct work_struct *)(void *)work);
}

bool wqi_compat_is_run(wq_work_fn fn)
{
	return fn == wq_linux_run;
}

uint64_t wq_linux_now_ns(void)
{
	return wqi_now_ns();
}

/* --- reports --- */

/* What these calls may be answered in a signal handler, each said once. */
static void linux_say_once(bool *said, const char *sentence)
{
	if (!wqi_load_relaxed(said) && !wqi_xchg(said, true))
		wqi_report_plain(sentence);
}

bool wq_linux_refused(int err)
{
	static bool said_shut, said_invalid, said_threads; /* A */

	if (err == -EBUSY)
		return false;
	if (err == -ESHUTDOWN)
		linux_say_once(&said_shut, "an item was refused, for its queue is draining, "
					   "plugged or being destroyed");
	else if (err == -EINVAL)
		linux_say_once(&said_invalid, "an item was refused: no queue, no such CPU, or the "
					      "item was not initialised");
	else
		linux_say_once(
			&said_threads,
			"an item was refused, for no thread could be made, or no memory had");
	return false;
}

bool wq_linux_kept(void)
{
	static bool said; /* A */

	linux_say_once(&said, "an item was not taken back, for it waits for a grace period, was "
			      "disabled too often, or was not initialised");
	return false;
}

bool wq_linux_not_disabled(const struct wq_work *work)
{
	static bool said; /* A */

	linux_say_once(&said, "an item was enabled that is not disabled, or not initialised");
	return wqi_state(work) & WQ_WORK_STATE_INIT;
}

static const char *linux_reason(int err)
{
	switch (err) {
	case -EDEADLK:
		return "it would be for ever, so it was not waited for";
	case -EBUSY:
		return "an RCU item that waits for its grace period can't be taken back";
	case -EPERM:
		return "a system queue is for all";
	case -EALREADY:
		return "done already";
	case -EOVERFLOW:
		return "disabled too often";
	default:
		return "not valid here";
	}
}

bool wq_linux_complain(const char *call, int err)
{
	wqi_report("%s(): %s", call, linux_reason(err));
	return false;
}

static void linux_complain_of(const char *call, struct wq *wq, int err)
{
	const char *reason = linux_reason(err);

	if (err == -EBUSY)
		reason = "items are armed on it; it stays until it is destroyed without";
	wqi_report("%s(%.*s): %s", call, WQI_REPORT_NAME, wq ? wq->name : "NULL", reason);
}

/* --- queues --- */

#define LINUX_NAME_BYTES 256

/* What Linux warns of; the rest that does not go together wq_alloc() knows. */
static bool linux_flags_fit(unsigned flags, int max_active)
{
	if (flags & WQ_BH)
		return !(flags & (WQ_UNBOUND | WQ_SYSFS)) && !max_active;
	return !(flags & WQ_UNBOUND && flags & WQ_PERCPU);
}

static struct wq *linux_make(const char *name, unsigned flags, int max_active)
{
	if (!linux_flags_fit(flags, max_active)) {
		errno = EINVAL;
		return NULL;
	}
	flags &= ~WQ_SYSFS;
	/* Unbound already: there is no power to be saved by making it so. */
	if (flags & (WQ_UNBOUND | WQ_ORDERED | WQ_DEDICATED))
		flags &= ~(WQ_UNBOUND | WQ_POWER_EFFICIENT);
	else if (!(flags & (WQ_POWER_EFFICIENT | WQ_BH)))
		flags |= WQ_PERCPU;
	return wq_alloc(name, flags, max_active ? wq_linux_clamp_active(max_active) : 0);
}

/* The name is kept whole, so it is made twice where it is long. */
static struct workqueue_struct *linux_make_named(unsigned flags, int max_active, const char *fmt,
						 va_list args)
{
	char buffer[LINUX_NAME_BYTES], *name = buffer;
	struct wq *wq = NULL;
	va_list again;
	size_t bytes;
	int len;

	va_copy(again, args);
	len = vsnprintf(buffer, sizeof(buffer), fmt, args);
	bytes = (size_t)len + 1;
	if (len >= (int)sizeof(buffer)) {
		name = wqi_zalloc(bytes);
		if (name)
			vsnprintf(name, bytes, fmt, again);
	}
	va_end(again);
	if (len < 0)
		errno = EINVAL;
	else if (!name)
		errno = ENOMEM;
	else
		wq = linux_make(name, flags, max_active);
	if (name && name != buffer)
		wqi_free(name, bytes);
	return wq_to_linux(wq);
}

struct workqueue_struct *wq_linux_alloc(const char *fmt, unsigned flags, int max_active, ...)
{
	struct workqueue_struct *wq;
	va_list args;

	va_start(args, max_active);
	wq = linux_make_named(flags, max_active, fmt, args);
	va_end(args);
	return wq;
}

struct workqueue_struct *wq_linux_alloc_ordered(const char *fmt, unsigned flags, ...)
{
	struct workqueue_struct *wq;
	va_list args;

	va_start(args, flags);
	wq = linux_make_named(flags | WQ_UNBOUND | WQ_ORDERED, 1, fmt, args);
	va_end(args);
	return wq;
}

/*
 * In Linux rcu_barrier() lets RCU items go to their queues, and whoever destroys these has
 * called it.  liburcu's does not know of our items, so they are waited for here.
 */
void wq_linux_destroy(struct workqueue_struct *linux_wq)
{
	struct wq *wq = wq_from_linux(linux_wq);
	int err = wq_destroy(wq);

	if (err == -EBUSY) {
		wqi_rcu_works_wait();
		err = wq_destroy(wq);
	}
	if (err)
		linux_complain_of("destroy_workqueue", wq, err);
}

void wq_linux_drain(struct workqueue_struct *linux_wq)
{
	struct wq *wq = wq_from_linux(linux_wq);
	int err = wq_drain(wq);

	if (err)
		linux_complain_of("drain_workqueue", wq, err);
}

void wq_linux_flush(struct workqueue_struct *linux_wq)
{
	struct wq *wq = wq_from_linux(linux_wq);
	int err = wqi_flush_any(wq);

	if (err)
		linux_complain_of("flush_workqueue", wq, err);
}

struct workqueue_struct *wq_linux_system(enum wq_linux_system which)
{
	static const enum wqi_system kinds[] = {
		[WQ_LINUX_SYSTEM_DFL_LONG] = WQI_SYSTEM_DFL_LONG,
		[WQ_LINUX_SYSTEM_FREEZABLE_POWER_EFFICIENT] = WQI_SYSTEM_FREEZABLE_POWER_EFFICIENT,
		[WQ_LINUX_SYSTEM_BH_HIGHPRI] = WQI_SYSTEM_BH_HIGHPRI,
	};

	return wq_to_linux(wqi_system_queue(kinds[which]));
}

bool wq_linux_congested(int cpu, struct workqueue_struct *wq)
{
	return wqi_queue_is_congested(wq_from_linux(wq), cpu);
}

/* --- functions --- */

static void linux_call_with_item(void *func)
{
	struct work_struct work;

	INIT_WORK_ONSTACK(&work, (work_func_t)(uintptr_t)func);
	work.func(&work);
	destroy_work_on_stack(&work);
}

int wq_linux_schedule_on_each_cpu(work_func_t func)
{
	return func ? wq_run_on_each_cpu(linux_call_with_item, (void *)(uintptr_t)func) : -EINVAL;
}

struct linux_call {
	long (*fn)(void *arg);
	void *arg;
	long ret;
};

static void linux_call(void *ctx)
{
	struct linux_call *call = ctx;

	call->ret = call->fn(call->arg);
}

long wq_linux_work_on_cpu(int cpu, long (*fn)(void *arg), void *arg)
{
	struct linux_call call = {fn, arg, 0};
	int err = fn ? wq_run_on(cpu, linux_call, &call) : -EINVAL;

	return err ? err : call.ret;
}

int wq_linux_execute(work_func_t fn, struct execute_work *ew)
{
	struct wqi_worker *self = wqi_worker_self;

	if (!self || !self->current_work || !(wqi_pwq_wq(self->current_pwq)->flags & WQ_BH)) {
		fn(&ew->work);
		return 0;
	}
	INIT_WORK(&ew->work, fn);
	schedule_work(&ew->work);
	return 1;
}
