/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns k_work_poll and k_poll_signal: who waits for which signal.  The time-out is the item's own
 * timer; where that comes first, the item finds out when it runs.
 *
 * One lock for all of it, which signal handlers take too: so whoever holds it has all signals
 * blocked.  Under it nobody waits for another lock: the thread that holds that could be
 * interrupted by a handler that waits for this one.  The timers' code is told so.
 *
 * Lists change by one store at a time, so that a child of fork() finds them whole.
 */
#include "zephyr.h"

#include <errno.h>
#include <signal.h>

#include "fork.h"
#include "lock.h"
#include "report.h"
#include "timer.h"
#include "worker.h"

static struct wqi_lock poll_lock;

_Static_assert(offsetof(struct k_work_poll, wq_again) ==
		       offsetof(struct k_work_delayable, wq_again),
	       "a k_work_poll begins with a k_work_delayable");

static void poll_enter(sigset_t *mask)
{
	sigset_t all;

	wqi_fork_enter(false);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, mask);
	wqi_lock(&poll_lock);
	wqi_timer_locks_held++;
}

static void poll_leave(const sigset_t *mask)
{
	wqi_timer_locks_held--;
	wqi_unlock(&poll_lock);
	pthread_sigmask(SIG_SETMASK, mask, NULL);
}

void wqi_zephyr_polls_reset(void)
{
	wqi_lock_reset(&poll_lock);
}

static struct k_work_delayable *poll_delayable(struct k_work_poll *poll)
{
	return (struct k_work_delayable *)(void *)poll;
}

static struct k_work_poll *poll_of(struct k_work *work)
{
	return CONTAINER_OF(work, struct k_work_poll, work);
}

/* --- events --- */

static void event_unlink_locked(struct k_poll_event *event)
{
	struct k_poll_event **at;

	if (event->type != K_POLL_TYPE_SIGNAL)
		return;
	for (at = &event->signal->wq_waiting; *at && *at != event; at = &(*at)->wq_next)
		;
	if (*at)
		wqi_store_release(at, event->wq_next);
}

/* Behind those that wait already. */
static void event_link_locked(struct k_poll_event *event, struct k_work_poll *poll)
{
	struct k_poll_event **at;

	event->wq_poll = poll;
	event->wq_next = NULL;
	if (event->type != K_POLL_TYPE_SIGNAL)
		return;
	for (at = &event->signal->wq_waiting; *at; at = &(*at)->wq_next)
		;
	wqi_store_release(at, event);
}

static void poll_unlink_locked(struct k_work_poll *poll)
{
	int i;

	for (i = 0; i < poll->wq_nr_events; i++)
		event_unlink_locked(&poll->wq_events[i]);
	poll->wq_waiting = false;
}

/* Which are ready?  Returns whether one is. */
static bool poll_look_locked(struct k_work_poll *poll)
{
	bool ready = false;
	int i;

	for (i = 0; i < poll->wq_nr_events; i++) {
		struct k_poll_event *event = &poll->wq_events[i];
		bool is = event->type == K_POLL_TYPE_SIGNAL &&
			  wqi_load_relaxed(&event->signal->signaled);

		event->state = is ? K_POLL_STATE_SIGNALED : K_POLL_STATE_NOT_READY;
		ready |= is;
	}
	return ready;
}

static bool poll_events_are_valid(const struct k_poll_event *events, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		if (events[i].type > K_POLL_TYPE_SIGNAL ||
		    (events[i].type == K_POLL_TYPE_SIGNAL && !events[i].signal))
			return false;
	return nr >= 0 && (events || !nr);
}

/* --- the item --- */

void wqi_zephyr_poll_run(struct k_work *work)
{
	struct k_work_poll *poll = poll_of(work);
	struct wqi_worker *self = wqi_worker_self;
	k_work_handler_t handler;
	sigset_t mask;

	poll_enter(&mask);
	if (poll->wq_waiting) {
		poll_unlink_locked(poll);
		wqi_store_relaxed(&poll->poll_result, -EAGAIN);
	}
	poll->wq_queue = NULL;
	handler = poll->wq_handler;
	poll_leave(&mask);
	if (self)
		wqi_store_relaxed(&self->call_fn, (const void *)(uintptr_t)handler);
	handler(work);
}

void wq_zephyr_poll_init(struct k_work_poll *poll, k_work_handler_t handler)
{
	*poll = (struct k_work_poll){.wq_handler = handler};
	wq_zephyr_delayable_init(poll_delayable(poll), handler ? wqi_zephyr_poll_run : NULL);
	poll->work.flags = 0;
}

/* What waited in the parent of a fork() does not wait here. */
static void poll_renew_locked(struct k_work_poll *poll)
{
	if (poll->wq_generation == wqi_fork.generation)
		return;
	if (poll->wq_waiting)
		poll_unlink_locked(poll);
	poll->wq_queue = NULL;
	poll->wq_generation = wqi_fork.generation;
}

/* It is triggered.  Where the queue refuses it just now, it is kept as a timer that is due. */
static int poll_queue_locked(struct k_work_poll *poll)
{
	int ret = wqi_zephyr_submit_started(poll->wq_queue, &poll->work);

	if (ret == -EBUSY)
		ret = wqi_zephyr_schedule_started(poll->wq_queue, poll_delayable(poll), 1, true);
	return ret < 0 ? ret : 0;
}

static void poll_trigger_locked(struct k_work_poll *poll)
{
	bool beside;

	poll_unlink_locked(poll);
	wqi_store_relaxed(&poll->poll_result, 0);
	if (poll->wq_timed && wqi_state_is_armed(wqi_state(&poll->work.wq_work)))
		wqi_timer_cancel(&poll->work.wq_work, &beside);
	poll_queue_locked(poll);
}

/* 0 it waits no more; -EINVAL it did not, or its time-out has come. */
static int poll_take_back_locked(struct k_work_poll *poll)
{
	bool beside;

	if (!poll->wq_waiting)
		return -EINVAL;
	if (poll->wq_timed && wqi_timer_cancel(&poll->work.wq_work, &beside) != 1)
		return -EINVAL;
	poll_unlink_locked(poll);
	poll->wq_queue = NULL;
	return 0;
}

static int poll_wait_locked(struct k_work_poll *poll, uint64_t timeout_ns)
{
	int i, ret = 0;

	for (i = 0; i < poll->wq_nr_events; i++)
		event_link_locked(&poll->wq_events[i], poll);
	poll->wq_waiting = true;
	poll->wq_timed = timeout_ns != UINT64_MAX;
	if (poll->wq_timed)
		ret = wqi_zephyr_schedule_started(poll->wq_queue, poll_delayable(poll), timeout_ns,
						  false);
	if (ret == 1 || !poll->wq_timed)
		return 0;
	poll_unlink_locked(poll);
	return ret ? ret : -EBUSY; /* it is being cancelled */
}

static int poll_begin_locked(struct k_work_poll *poll, struct k_work_q *queue,
			     struct k_poll_event *events, int nr, uint64_t timeout_ns)
{
	bool ready;
	int ret;

	poll->wq_queue = queue;
	poll->wq_events = events;
	poll->wq_nr_events = nr;
	wqi_store_relaxed(&poll->poll_result, -EINPROGRESS);
	ready = poll_look_locked(poll);
	if (ready || !timeout_ns) {
		wqi_store_relaxed(&poll->poll_result, ready ? 0 : -EAGAIN);
		ret = poll_queue_locked(poll);
	} else {
		ret = poll_wait_locked(poll, timeout_ns);
	}
	if (ret)
		poll->wq_queue = NULL;
	return ret;
}

int wq_zephyr_poll_submit(struct k_work_q *queue, struct k_work_poll *poll,
			  struct k_poll_event *events, int nr, uint64_t timeout_ns)
{
	sigset_t mask;
	int ret;

	if (!queue || !poll || !(wqi_state(&poll->work.wq_work) & WQI_INIT) ||
	    !poll_events_are_valid(events, nr))
		return -EINVAL;
	ret = wqi_fork_enter(true);
	if (!ret && !wqi_load_acquire(&queue->wq_queue))
		ret = wqi_zephyr_queue_auto(queue);
	if (ret)
		return ret;
	poll_enter(&mask);
	poll_renew_locked(poll);
	if (poll->wq_queue)
		ret = poll->wq_queue == queue ? poll_take_back_locked(poll) : -EADDRINUSE;
	if (!ret)
		ret = poll_begin_locked(poll, queue, events, nr, timeout_ns);
	poll_leave(&mask);
	return ret;
}

int wq_zephyr_poll_cancel(struct k_work_poll *poll)
{
	sigset_t mask;
	int ret;

	if (!poll)
		return -EINVAL;
	poll_enter(&mask);
	poll_renew_locked(poll);
	ret = poll->wq_queue ? poll_take_back_locked(poll) : -EINVAL;
	poll_leave(&mask);
	return ret;
}

/*
 * The plain calls that cancel, of the item in one that waits.  It is on no list of an event's
 * before they look what else it does, so nothing triggers it after them; and until they are through
 * it is in use still, so nobody has it wait anew meanwhile.
 */
bool wqi_zephyr_poll_leave(struct k_work *work)
{
	struct k_work_poll *poll = poll_of(work);
	sigset_t mask;
	bool waited;

	poll_enter(&mask);
	poll_renew_locked(poll);
	waited = poll->wq_waiting;
	if (waited)
		poll_unlink_locked(poll);
	poll_leave(&mask);
	return waited;
}

void wqi_zephyr_poll_left(struct k_work *work)
{
	struct k_work_poll *poll = poll_of(work);
	sigset_t mask;

	poll_enter(&mask);
	if (!poll->wq_waiting)
		poll->wq_queue = NULL;
	poll_leave(&mask);
}

/* --- signals --- */

/* The first that waits; those of the parent of a fork() do not. */
static struct k_poll_event *signal_first_locked(struct k_poll_signal *signal)
{
	struct k_poll_event *event;

	while ((event = signal->wq_waiting) && event->wq_poll->wq_generation != wqi_fork.generation)
		wqi_store_release(&signal->wq_waiting, event->wq_next);
	return event;
}

int wq_zephyr_signal_raise(struct k_poll_signal *signal, int result)
{
	struct k_poll_event *event;
	sigset_t mask;

	poll_enter(&mask);
	wqi_store_relaxed(&signal->result, result);
	wqi_store_release(&signal->signaled, 1u);
	event = signal_first_locked(signal);
	if (event) {
		event->state = K_POLL_STATE_SIGNALED;
		poll_trigger_locked(event->wq_poll);
	}
	poll_leave(&mask);
	return 0;
}

void wq_zephyr_signal_reset(struct k_poll_signal *signal)
{
	wqi_store_release(&signal->signaled, 0u);
}

void wq_zephyr_signal_check(const struct k_poll_signal *signal, unsigned int *signaled, int *result)
{
	*signaled = wqi_load_acquire(&signal->signaled);
	*result = wqi_load_relaxed(&signal->result);
}

/* --- user mode work --- */

void wq_zephyr_user_run(struct k_work *work)
{
	struct k_work_user *user = CONTAINER_OF(work, struct k_work_user, wq_work);

	if (user->handler)
		user->handler(user);
	else
		wqi_report("k_work_user %p has no function, and was not run", (void *)user);
}
