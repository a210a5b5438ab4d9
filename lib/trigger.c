/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns trigger items: what each waits for, and what it is told. */
#include "trigger.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lock.h"
#include "poller.h"
#include "queue.h"
#include "rcu.h"
#include "timer.h"
#include "watch.h"
#include "wheel.h"

#define TRIGGER_EVENTS                                                                             \
	(EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM | EPOLLWRBAND |   \
	 EPOLLMSG | EPOLLRDHUP | EPOLLERR | EPOLLHUP)

/* What comes whether it is waited for or not. */
#define TRIGGER_ALWAYS ((uint32_t)(EPOLLERR | EPOLLHUP | POLLNVAL))

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLPRI == POLLPRI &&
		       EPOLLERR == POLLERR && EPOLLHUP == POLLHUP,
	       "poll() and epoll call events alike");

static struct cds_list_head *event_link(struct wq_event *ev)
{
	return (struct cds_list_head *)(void *)ev->wq_node;
}

static struct wq_event *event_of_link(struct cds_list_head *link)
{
	return caa_container_of((void **)(void *)link, struct wq_event, wq_node[0]);
}

static struct wq_delayed_work *trigger_timer(struct wq_trigger_work *tw)
{
	return wqi_timer_of_work(&tw->work);
}

/* Lock Q with all there that needs memory or a thread.  0, or -errno without the lock. */
static int trigger_lock_ready(const struct wq_event *ev, unsigned nr)
{
	int err;

	for (;;) {
		wqi_trigger_lock();
		if (!wqi_watch_has_locked(ev, nr)) {
			wqi_trigger_unlock();
			err = wqi_watch_add(ev, nr);
		} else if (!wqi_poller_is_ready_locked()) {
			wqi_trigger_unlock();
			err = wqi_poller_begin();
		} else {
			return 0;
		}
		if (err)
			return err;
	}
}

/* --- who waits for what --- */

static uint32_t entry_wanted_locked(const struct wqi_watch *entry)
{
	struct cds_list_head *link;
	uint32_t events = 0;

	for (link = entry->events.next; link != &entry->events; link = link->next)
		events |= event_of_link(link)->events;
	return events;
}

/* Tell the kernel of all that is waited for now. */
static int entry_register_locked(struct wqi_watch *entry, int fd)
{
	return wqi_poller_watch_locked(fd, entry_wanted_locked(entry), ++entry->serial);
}

static void trigger_detach_locked(struct wq_trigger_work *tw)
{
	unsigned i;

	wqi_assert_held(&wqi_watch_lock);

	for (i = 0; i < tw->wq_nr; i++) {
		if (!event_link(&tw->wq_events[i])->prev)
			continue;
		cds_list_del(event_link(&tw->wq_events[i]));
		event_link(&tw->wq_events[i])->prev = NULL;
	}
}

void wqi_trigger_detach(struct wq_trigger_work *tw)
{
	wqi_trigger_lock();
	trigger_detach_locked(tw);
	wqi_trigger_unlock();
}

static void trigger_prepare(struct wq_trigger_work *tw, struct wq_event *ev, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		event_link(&ev[i])->prev = NULL;
		ev[i].wq_trigger = tw;
		ev[i].revents = 0;
	}
	tw->wq_events = ev;
	tw->wq_nr = nr;
}

/* --- when something is ready --- */

/*
 * An item that is claimed here goes to @due; one whose queue refuses it is parked; one
 * that somebody else has claimed just now is looked at by him.
 */
static void trigger_event_locked(struct wq_event *ev, uint32_t ready, struct wq_trigger_work **due)
{
	struct wq_trigger_work *tw = ev->wq_trigger;
	struct wqi_due claimed;

	ev->revents = ready;
	trigger_detach_locked(tw);
	if (!wqi_timer_claim_event(trigger_timer(tw), &claimed))
		return;
	tw->wq_timer.wq_next = *due;
	*due = tw;
}

/* Those who wait for what is ready; the first may take others, its own, off the list. */
static void entry_ready_locked(struct wqi_watch *entry, uint32_t ready,
			       struct wq_trigger_work **due)
{
	struct cds_list_head *link = entry->events.next;

	while (link != &entry->events) {
		struct wq_event *ev = event_of_link(link);
		uint32_t mine = ready & (ev->events | TRIGGER_ALWAYS);

		link = link->next;
		if (!mine)
			continue;
		trigger_event_locked(ev, mine, due);
		link = entry->events.next;
	}
}

/* Of others than @tw: the descriptor that they wait for is closed. */
static void entry_closed_locked(struct wqi_watch *entry, const struct wq_trigger_work *tw,
				struct wq_trigger_work **due)
{
	struct cds_list_head *link = entry->events.next;

	while (link != &entry->events) {
		struct wq_event *ev = event_of_link(link);

		link = link->next;
		if (ev->wq_trigger == tw)
			continue;
		trigger_event_locked(ev, POLLNVAL, due);
		link = entry->events.next;
	}
}

/*
 * Each descriptor is registered with what others wait for, too.  Where the kernel does
 * not know it, they have waited for one that is closed.  0, or -errno.
 */
static int trigger_attach_locked(struct wq_trigger_work *tw, struct wq_trigger_work **due)
{
	int ret = 0;
	unsigned i;

	for (i = 0; i < tw->wq_nr && ret >= 0; i++) {
		struct wq_event *ev = &tw->wq_events[i];
		struct wqi_watch *entry = wqi_watch_find_locked(ev->fd);

		cds_list_add_tail(event_link(ev), &entry->events);
		ret = entry_register_locked(entry, ev->fd);
		if (ret == 1 || ret == -EBADF || ret == -EPERM)
			entry_closed_locked(entry, tw, due);
	}
	return ret < 0 ? ret : 0;
}

/*
 * What was registered anew since the kernel looked is looked at anew, too: then this
 * answer is old.  Who waits on for something else is registered again.
 */
static void trigger_ready_locked(int fd, uint32_t serial, uint32_t ready,
				 struct wq_trigger_work **due)
{
	struct wqi_watch *entry = wqi_watch_find_locked(fd);
	int ret = 0;

	if (!entry || entry->serial != serial)
		return;
	entry_ready_locked(entry, ready, due);
	if (!cds_list_empty(&entry->events))
		ret = entry_register_locked(entry, fd);
	if (ret == -ENOMEM || ret == -ENOSPC)
		entry_ready_locked(entry, EPOLLERR, due); /* they can't wait on */
	else if (ret && ret != -ESTALE)
		entry_closed_locked(entry, NULL, due);
}

void wqi_trigger_push(struct wq_trigger_work *last)
{
	struct wq_trigger_work *due = NULL, *next;

	for (; last; last = next) {
		next = last->wq_timer.wq_next;
		last->wq_timer.wq_next = due;
		due = last;
	}
	for (; due; due = next) {
		next = due->wq_timer.wq_next;
		due->result = 0;
		wqi_queue_claimed(due->wq_timer.wq_queue, &due->work, due->wq_timer.wq_cpu);
	}
}

/*
 * Those who wait on are registered again, so the descriptors must be ours still.  Where
 * that begins anew, these answers are old; where it can't, they are the last.
 */
void wqi_trigger_dispatch(const struct epoll_event *events, int nr)
{
	struct wq_trigger_work *due = NULL;
	unsigned token;
	int i;

	wqi_pause_point("trigger ready");
	if (trigger_lock_ready(NULL, 0))
		wqi_trigger_lock();
	token = wqi_rcu_read_lock();
	for (i = 0; i < nr; i++)
		if ((uint32_t)events[i].data.u64 <= INT_MAX)
			trigger_ready_locked((int)(uint32_t)events[i].data.u64,
					     (uint32_t)(events[i].data.u64 >> 32), events[i].events,
					     &due);
	wqi_trigger_unlock();
	wqi_trigger_push(due);
	wqi_rcu_read_unlock(token);
}

struct wq_trigger_work *wqi_trigger_register_all_locked(void)
{
	struct wq_trigger_work *due = NULL;
	int fd;

	wqi_assert_held(&wqi_watch_lock);

	for (fd = 0; fd < wqi_watch_end_locked(); fd++) {
		struct wqi_watch *entry = wqi_watch_find_locked(fd);
		int ret = 0;

		if (entry && !cds_list_empty(&entry->events))
			ret = entry_register_locked(entry, fd);
		if (ret < 0 && ret != -ESTALE)
			entry_closed_locked(entry, NULL, &due);
	}
	return due;
}

/* At the time-out: is one ready after all, or closed? */
static bool trigger_look(struct wq_trigger_work *tw)
{
	struct pollfd fds[WQ_MAX_EVENTS];
	unsigned i;
	bool any;

	for (i = 0; i < tw->wq_nr; i++)
		fds[i] = (struct pollfd){tw->wq_events[i].fd, (short)tw->wq_events[i].events, 0};
	any = poll(fds, tw->wq_nr, 0) > 0;
	/* Also where none is: an event that came too late may have set one. */
	for (i = 0; i < tw->wq_nr; i++)
		tw->wq_events[i].revents = any ? (unsigned short)fds[i].revents : 0;
	return any;
}

void wqi_trigger_release(struct wq_trigger_work *tw)
{
	int saved = errno;

	wqi_trigger_detach(tw);
	/* An event came, and the queue refused the item then. */
	if (!tw->wq_timer.wq_expires_ns || trigger_look(tw))
		tw->result = 0;
	else
		tw->result = -ETIMEDOUT;
	errno = saved;
}

/* --- the calls --- */

void wq_trigger_work_init(struct wq_trigger_work *tw, wq_work_fn fn, void *ctx)
{
	*tw = (struct wq_trigger_work)WQ_TRIGGER_WORK_INIT(NULL, NULL);
	wq_work_init(&tw->work, fn, ctx);
}

static int trigger_check(const struct wq *wq, const struct wq_trigger_work *tw,
			 const struct wq_event *ev, unsigned nr)
{
	unsigned i;

	if (!wq || !tw || !ev || !nr || !(wqi_state(&tw->work) & WQI_INIT) ||
	    tw->wq_timer.wq_kind != WQ_TIMER_TRIGGER)
		return -EINVAL;
	if (nr > WQ_MAX_EVENTS)
		return -E2BIG;
	for (i = 0; i < nr; i++) {
		if (ev[i].events & ~(uint32_t)TRIGGER_EVENTS)
			return -EINVAL;
		if (ev[i].fd < 0)
			return -EBADF;
	}
	return 0;
}

/*
 * Claimed and on its way while its events are registered: so nobody runs it before, and
 * who cancels it leaves its end to us.
 */
static int trigger_arm_locked(struct wq_trigger_work *tw, const struct wqi_arming *how,
			      struct wq_event *ev, unsigned nr, struct wq_trigger_work **due)
{
	int ret = wqi_timer_claim(trigger_timer(tw), how);
	uint64_t old;

	if (ret != 1)
		return ret;
	trigger_prepare(tw, ev, nr);
	ret = trigger_attach_locked(tw, due);
	wqi_pause_point("trigger attached");
	if (!ret && wqi_timer_admit(trigger_timer(tw)))
		return 1;
	trigger_detach_locked(tw);
	old = wqi_state_change(&tw->work, WQI_ARMED | WQI_MOVING, 0);
	/* Cancelled meanwhile: who did that was told that it was accepted. */
	return old & WQI_ARMED ? ret : 1;
}

static int trigger_arm(struct wq_trigger_work *tw, const struct wqi_arming *how,
		       struct wq_event *ev, unsigned nr)
{
	struct wq_trigger_work *due = NULL;
	int ret = trigger_lock_ready(ev, nr);
	unsigned token;

	if (ret)
		return ret;
	token = wqi_rcu_read_lock();
	wqi_pause_point("trigger arms");
	ret = trigger_arm_locked(tw, how, ev, nr, &due);
	wqi_trigger_unlock();
	wqi_trigger_push(due);
	wqi_rcu_read_unlock(token);
	return ret;
}

int wq_queue_trigger(struct wq *wq, struct wq_trigger_work *tw, struct wq_event *ev, unsigned nr,
		     uint64_t timeout_ns)
{
	struct wqi_arming how = {.wq = wq, .delay_ns = timeout_ns, .cpu = -1};
	int ret = trigger_check(wq, tw, ev, nr);

	if (!ret)
		ret = wqi_fork_enter(true);
	if (!ret && wqi_load_seq_cst(&wq->closed))
		ret = wqi_state_refusal(wqi_state(&tw->work)) ? -EBUSY : -ESHUTDOWN;
	if (ret)
		return ret;
	do {
		ret = trigger_arm(tw, &how, ev, nr);
	} while (ret == -ESTALE);
	return ret;
}

bool wq_trigger_work_pending(const struct wq_trigger_work *tw)
{
	return tw && wq_work_pending(&tw->work);
}

unsigned wq_trigger_work_busy(const struct wq_trigger_work *tw)
{
	return tw ? wq_work_busy(&tw->work) : 0;
}

int wq_trigger_work_flush(struct wq_trigger_work *tw)
{
	return tw ? wq_work_flush(&tw->work) : -EINVAL;
}

int wq_trigger_work_cancel(struct wq_trigger_work *tw)
{
	return tw ? wq_work_cancel(&tw->work) : -EINVAL;
}

int wq_trigger_work_cancel_sync(struct wq_trigger_work *tw)
{
	return tw ? wq_work_cancel_sync(&tw->work) : -EINVAL;
}

int wq_trigger_work_disable(struct wq_trigger_work *tw)
{
	return tw ? wq_work_disable(&tw->work) : -EINVAL;
}

int wq_trigger_work_disable_sync(struct wq_trigger_work *tw)
{
	return tw ? wq_work_disable_sync(&tw->work) : -EINVAL;
}

int wq_trigger_work_enable(struct wq_trigger_work *tw)
{
	return tw ? wq_work_enable(&tw->work) : -EINVAL;
}

/* --- the end --- */

void wqi_triggers_stop(void)
{
	wqi_poller_stop();
	wqi_watches_free();
}

void wqi_triggers_reset(void)
{
	wqi_poller_reset();
	wqi_watches_reset();
}
