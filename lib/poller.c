/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the poller's descriptors and thread. */
#include "poller.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "futex.h"
#include "mem.h"
#include "service.h"
#include "testing.h"
#include "trigger.h"

#define POLLER_EVENTS 64

/* Our descriptors get numbers from here on, or from half of the limit on. */
#define POLLER_FIRST_FD 700

/* One for each time that we had to begin anew; the newest first. */
struct poller {
	int epoll, end;	     /* I */
	uint64_t cookie;     /* I: what the eventfd is registered with */
	bool lost;	     /* A, release/acquire: the descriptors are not ours any more */
	bool stopping;	     /* A, release/acquire */
	pthread_t thread;    /* I */
	struct poller *next; /* Q */
};

static struct poller *poller_newest; /* Q; the list is read in a child of fork() too */

/* The event that is none of a descriptor's. */
#define POLLER_NO_FD UINT32_MAX

static bool poller_is_ours(const struct poller *poller)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = poller->cookie};
	int saved = errno;
	bool ours = !epoll_ctl(poller->epoll, EPOLL_CTL_MOD, poller->end, &event);

	errno = saved;
	return ours;
}

/* The thread does not end by itself where nothing tells it: then it is cancelled in there. */
static void *poller_main(void *arg)
{
	struct epoll_event events[POLLER_EVENTS];
	struct poller *poller = arg;
	int nr, state;

	wqi_service_begin("wq/trigger");
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
	wqi_store_release(&poller->lost, true);
	return NULL;
}

static int poller_raise(int fd)
{
	struct rlimit limit;
	int first = POLLER_FIRST_FD, high, saved = errno;

	if (fd < 0)
		return fd;
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 2 < POLLER_FIRST_FD)
		first = (int)(limit.rlim_cur / 2);
	high = fcntl(fd, F_DUPFD_CLOEXEC, first);
	errno = saved;
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

static int poller_open(struct poller *poller)
{
	struct epoll_event event = {.events = EPOLLIN};

	/* Not guessed, and told apart from those of descriptors by the lower half. */
	poller->cookie = (wqi_now_ns() ^ (uintptr_t)poller << 20) << 32 | POLLER_NO_FD;
	event.data.u64 = poller->cookie;
	poller->epoll = poller_raise(epoll_create1(EPOLL_CLOEXEC));
	if (poller->epoll < 0)
		return -errno;
	poller->end = poller_raise(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (poller->end >= 0 && !epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->end, &event))
		return 0;
	return -errno;
}

static void poller_close(const struct poller *poller)
{
	if (poller->epoll >= 0)
		close(poller->epoll);
	if (poller->end >= 0)
		close(poller->end);
}

/* The thread starts with cancellation off, which it inherits from nobody. */
static void *poller_begin(void *arg)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return poller_main(arg);
}

static int poller_make_locked(void)
{
	struct poller *poller = wqi_zalloc(sizeof(*poller));
	int err;

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
	poller->next = poller_newest;
	wqi_store_release(&poller_newest, poller);
	return 0;
}

int wqi_poller_ready_locked(void)
{
	bool again = poller_newest != NULL;
	int err, saved = errno;

	if (again && !wqi_load_acquire(&poller_newest->lost)) {
		if (poller_is_ours(poller_newest))
			return 0;
		wqi_store_release(&poller_newest->lost, true);
		pthread_cancel(poller_newest->thread);
	}
	err = poller_make_locked();
	errno = saved;
	if (!err && again)
		wqi_trigger_register_all_locked();
	return err;
}

int wqi_poller_watch_locked(int fd, uint32_t events, uint32_t serial)
{
	struct epoll_event event = {
		.events = events | EPOLLONESHOT,
		.data.u64 = (uint64_t)serial << 32 | (uint32_t)fd,
	};
	int epoll = poller_newest->epoll, saved = errno, ret = 0;

	if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event)) {
		ret = 1;
		if (errno != ENOENT || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
			ret = -errno;
	}
	errno = saved;
	return ret;
}

void wqi_poller_stop(void)
{
	struct poller *poller = poller_newest, *next;
	uint64_t one = 1;

	wqi_store_release(&poller_newest, (struct poller *)NULL);
	for (; poller; poller = next) {
		next = poller->next;
		wqi_store_release(&poller->stopping, true);
		if (wqi_load_acquire(&poller->lost) || !poller_is_ours(poller) ||
		    write(poller->end, &one, sizeof(one)) != sizeof(one)) {
			wqi_store_release(&poller->lost, true);
			pthread_cancel(poller->thread);
		}
		pthread_join(poller->thread, NULL);
		if (poller_is_ours(poller))
			poller_close(poller);
		wqi_free(poller, sizeof(*poller));
	}
}

/* Says the kernel that the eventfd is registered there?  Without changing anything. */
static bool poller_is_registered(const struct poller *poller)
{
	char path[64], line[160], want[32];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", poller->epoll);
	snprintf(want, sizeof(want), "data: %16llx", (unsigned long long)poller->cookie);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, want);
	fclose(file);
	return found;
}

/* What is registered is the parent's too: it must not be changed from here. */
void wqi_poller_reset(void)
{
	struct poller *poller = poller_newest;
	int saved = errno;

	poller_newest = NULL;
	if (poller && poller_is_registered(poller))
		poller_close(poller);
	/* The records stay taken: another thread of the parent may have been at the list. */
	errno = saved;
}
