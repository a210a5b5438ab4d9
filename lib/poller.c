/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the poller's descriptors and thread. */
#include "poller.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fd.h"
#include "lock.h"
#include "mem.h"
#include "rcu.h"
#include "service.h"
#include "testing.h"
#include "trigger.h"

#define POLLER_EVENTS 64

/*
 * How our descriptors are told from others: by the signal that they would send, were
 * they asked to send any (fcntl(2), F_SETSIG).  This one is nobody's choice.
 */
#define POLLER_MARK SIGSTOP

/* One for each time that we had to begin anew; the newest first. */
struct poller {
	int epoll, end;	     /* I */
	bool lost;	     /* A, release/acquire: the descriptors are not ours any more */
	bool stopping;	     /* A, release/acquire */
	pid_t tid;	     /* A, seq_cst: the thread's, 0 once it is about to end */
	pthread_t thread;    /* I */
	struct poller *next; /* Q */
};

static struct poller *poller_newest; /* P and Q; the list is read in a child of fork() too */
static struct wqi_lock poller_mutex; /* P */
static bool poller_ending;	     /* P: no new one is made */

/* The event that is none of a descriptor's. */
#define POLLER_NO_FD UINT32_MAX

static bool poller_fd_is_ours(int fd)
{
	int saved = errno;
	bool ours = fd >= 0 && fcntl(fd, F_GETSIG) == POLLER_MARK;

	errno = saved;
	return ours;
}

static bool poller_is_ours(const struct poller *poller)
{
	return poller_fd_is_ours(poller->epoll) && poller_fd_is_ours(poller->end);
}

static void poller_close(const struct poller *poller)
{
	if (poller_fd_is_ours(poller->epoll))
		close(poller->epoll);
	if (poller_fd_is_ours(poller->end))
		close(poller->end);
}

/* The thread does not end by itself where nothing tells it: then it is cancelled in there. */
static void *poller_main(void *arg)
{
	struct epoll_event events[POLLER_EVENTS];
	struct poller *poller = arg;
	int nr, state;

	wqi_service_begin("wq/trigger");
	wqi_service_tell(&poller->tid);
	while (!wqi_load_acquire(&poller->stopping) && !wqi_load_acquire(&poller->lost)) {
		if (!poller_is_ours(poller))
			break;
		wqi_pause_point("poller waits");
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
		nr = epoll_wait(poller->epoll, events, POLLER_EVENTS, -1);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
		if (nr > 0)
			wqi_trigger_dispatch(events, nr);
		else if (errno != EINTR)
			break;
	}
	wqi_store_release(&poller->tid, 0);
	if (wqi_load_acquire(&poller->stopping))
		return NULL;
	/* Who waits for descriptors that the program has kept goes on doing so. */
	wqi_store_release(&poller->lost, true);
	wqi_poller_begin();
	return NULL;
}

static int poller_raise(int fd)
{
	if (fd < 0)
		return fd;
	fcntl(fd, F_SETSIG, POLLER_MARK);
	return wqi_fd_raise(fd);
}

static int poller_open(struct poller *poller)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = POLLER_NO_FD};

	poller->epoll = poller_raise(epoll_create1(EPOLL_CLOEXEC));
	if (poller->epoll < 0)
		return -errno;
	poller->end = poller_raise(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (poller->end >= 0 && !epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->end, &event))
		return 0;
	return -errno;
}

/* The thread starts with cancellation off, which it inherits from nobody. */
static void *poller_begin(void *arg)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return poller_main(arg);
}

/* The thread may sleep on what was closed; or it is the caller, and about to end. */
static void poller_give_up(struct poller *poller)
{
	wqi_store_release(&poller->lost, true);
	if (!pthread_equal(poller->thread, pthread_self()))
		pthread_cancel(poller->thread);
	poller_close(poller);
}

/* From here on all is waited for there. */
static void poller_publish(struct poller *poller)
{
	unsigned token = wqi_rcu_read_lock();
	struct wq_trigger_work *due = NULL;
	bool again = poller_newest;

	wqi_trigger_lock();
	poller->next = poller_newest;
	wqi_store_release(&poller_newest, poller);
	if (again)
		due = wqi_trigger_register_all_locked();
	wqi_trigger_unlock();
	wqi_trigger_push(due);
	wqi_rcu_read_unlock(token);
}

static int poller_make(void)
{
	struct poller *poller;
	void *frame;
	int err;

	wqi_assert_held(&poller_mutex);

	/*
	 * The C library loads what pthread_cancel() needs when it is first needed, and
	 * aborts where it is not there: in a program that has changed its root since.
	 */
	backtrace(&frame, 1);
	if (poller_newest)
		poller_give_up(poller_newest);
	poller = wqi_zalloc(sizeof(*poller));
	if (!poller)
		return -ENOMEM;
	poller->epoll = poller->end = -1;
	err = poller_open(poller);
	if (!err && wqi_service_start(&poller->thread, -1, poller_begin, poller))
		err = -EAGAIN;
	if (err) {
		poller_close(poller);
		wqi_free(poller, sizeof(*poller));
		return err;
	}
	poller_publish(poller);
	return 0;
}

bool wqi_poller_is_ready_locked(void)
{
	return poller_newest && !wqi_load_acquire(&poller_newest->lost) &&
	       poller_is_ours(poller_newest);
}

int wqi_poller_begin(void)
{
	int err = 0, saved = errno;
	bool ready;

	wqi_lock(&poller_mutex);
	wqi_trigger_lock();
	ready = wqi_poller_is_ready_locked();
	wqi_trigger_unlock();
	if (!ready)
		err = poller_ending ? -ESHUTDOWN : poller_make();
	wqi_unlock(&poller_mutex);
	errno = saved;
	return err;
}

int wqi_poller_watch_locked(int fd, uint32_t events, uint32_t serial)
{
	struct epoll_event event = {
		.events = events | EPOLLONESHOT,
		.data.u64 = (uint64_t)serial << 32 | (uint32_t)fd,
	};
	int saved = errno, ret = 0, epoll;

	if (!poller_newest || wqi_load_acquire(&poller_newest->lost))
		return -ENOMEM;
	epoll = poller_newest->epoll;
	if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event)) {
		ret = 1;
		if (errno != ENOENT || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
			ret = poller_is_ours(poller_newest) ? -errno : -ESTALE;
	}
	errno = saved;
	return ret;
}

/* One that is lost may end at any time. */
void wqi_poller_move(const wqi_cpu_mask *mask)
{
	wqi_trigger_lock();
	if (poller_newest && !wqi_load_acquire(&poller_newest->lost))
		wqi_service_move(wqi_load_seq_cst(&poller_newest->tid), mask);
	wqi_trigger_unlock();
}

void wqi_poller_stop(void)
{
	struct poller *poller, *next;
	uint64_t one = 1;

	/* The threads may want to begin anew: they are not waited for under the lock. */
	wqi_lock(&poller_mutex);
	poller_ending = true;
	poller = poller_newest;
	wqi_trigger_lock();
	wqi_store_release(&poller_newest, (struct poller *)NULL);
	wqi_trigger_unlock();
	wqi_unlock(&poller_mutex);
	for (; poller; poller = next) {
		next = poller->next;
		wqi_store_release(&poller->stopping, true);
		if (wqi_load_acquire(&poller->lost) || !poller_is_ours(poller) ||
		    write(poller->end, &one, sizeof(one)) != sizeof(one))
			poller_give_up(poller);
		pthread_join(poller->thread, NULL);
		poller_close(poller);
		wqi_free(poller, sizeof(*poller));
	}
	wqi_lock(&poller_mutex);
	poller_ending = false;
	wqi_unlock(&poller_mutex);
}

/* What is registered is the parent's too: it must not be changed from here. */
void wqi_poller_reset(void)
{
	struct poller *poller = poller_newest;

	wqi_lock_reset(&poller_mutex);
	poller_ending = false;
	poller_newest = NULL;
	if (poller)
		poller_close(poller);
	/* The records stay taken: another thread of the parent may have been at the list. */
}
