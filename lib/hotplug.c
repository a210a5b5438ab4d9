/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns hearing of CPUs.
 *
 * The thread has a table of descriptors of its own, with nothing in it but what it waits on:
 * so the program does not see that, can't close it, and neither fork() nor exec passes it on.
 * System calls are made as such, for tools that know descriptors by their numbers take them
 * for the program's.
 *
 * It is ended by a signal to it alone, which stays blocked: what waits is a signalfd that
 * nobody reads.  So no signal of the program's is taken, and none interrupts anything.
 */
#include "hotplug.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"
#include "fd.h"
#include "refresh.h"
#include "service.h"
#include "testing.h"

/* What the signal is does not matter, but that it is blocked in the library's threads. */
#define HOTPLUG_SIGNAL SIGSTKFLT

/* The group of what the kernel itself announces. */
#define HOTPLUG_GROUP 1u

/* No process has such a number, so no program's socket asks for it. */
#define HOTPLUG_PORT  (1u << 31)
#define HOTPLUG_PORTS 16u

/* A cpuset follows its CPUs a little later than they are announced. */
#define HOTPLUG_SETTLE_MS 1000

static bool hotplug_running;	 /* the manager's; then whose who has joined it */
static pthread_t hotplug_thread; /* as above */
static bool hotplug_stopping;	 /* A, release/acquire */

/* Compare four characters of a message, as the filter loads them, with those of @text. */
#define CHARS(text)                                                                                \
	((uint32_t)(text)[0] << 24 | (uint32_t)(text)[1] << 16 | (uint32_t)(text)[2] << 8 |        \
	 (uint32_t)(text)[3])
#define LOAD(at)	       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define IF_TEXT(text, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CHARS(text), yes, no)

/*
 * Nothing but "online@/devices/system/cpu/..." and "offline@/devices/system/cpu/..."
 * wakes us.  A message that is shorter than what is looked at is dropped, too.
 */
static struct sock_filter hotplug_filter[] = {
	LOAD(0),
	IF_TEXT("offl", 0, 6),
	LOAD(16),
	IF_TEXT("/sys", 0, 13),
	LOAD(20),
	IF_TEXT("tem/", 0, 11),
	LOAD(24),
	IF_TEXT("cpu/", 8, 9),
	LOAD(0),
	IF_TEXT("onli", 0, 7),
	LOAD(15),
	IF_TEXT("/sys", 0, 5),
	LOAD(19),
	IF_TEXT("tem/", 0, 3),
	LOAD(23),
	IF_TEXT("cpu/", 0, 1),
	BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	BPF_STMT(BPF_RET | BPF_K, 0),
};

/* What it waits on, in its own table, which ends with the thread. */
struct hotplug {
	int epoll, socket;
};

static bool hotplug_bind(int fd)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = HOTPLUG_GROUP};
	uint32_t i;

	for (i = 0; i < HOTPLUG_PORTS; i++) {
		address.nl_pid = (HOTPLUG_PORT | i << 27) ^ (uint32_t)gettid();
		if (!syscall(SYS_bind, fd, &address, sizeof(address)))
			return true;
		if (errno != EADDRINUSE)
			break;
	}
	return false;
}

static bool hotplug_open_socket(struct hotplug *hotplug)
{
	const struct sock_fprog filter = {
		.len = sizeof(hotplug_filter) / sizeof(hotplug_filter[0]),
		.filter = hotplug_filter,
	};
	int fd = (int)syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK,
			      NETLINK_KOBJECT_UEVENT);

	hotplug->socket = fd;
	return fd >= 0 &&
	       !syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter,
			sizeof(filter)) &&
	       hotplug_bind(fd);
}

/*
 * Edge-triggered: a signal of that number that waits for the whole process, and is not for
 * us, is told of once.
 */
static bool hotplug_open(struct hotplug *hotplug)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	uint64_t mask = UINT64_C(1) << (HOTPLUG_SIGNAL - 1);
	int fd;

	if (!wqi_fd_leave_all() || !hotplug_open_socket(hotplug))
		return false;
	fd = (int)syscall(SYS_signalfd4, -1, &mask, sizeof(mask), 0);
	hotplug->epoll = (int)syscall(SYS_epoll_create1, 0);
	return fd >= 0 && hotplug->epoll >= 0 &&
	       !syscall(SYS_epoll_ctl, hotplug->epoll, EPOLL_CTL_ADD, fd, &event) &&
	       !syscall(SYS_epoll_ctl, hotplug->epoll, EPOLL_CTL_ADD, hotplug->socket, &event);
}

/* Has anything come?  ENOBUFS: so much that some of it was lost. */
static bool hotplug_receive(const struct hotplug *hotplug)
{
	bool any = false;
	char c;

	while (syscall(SYS_recvfrom, hotplug->socket, &c, sizeof(c), 0, NULL, NULL) >= 0 ||
	       errno == ENOBUFS)
		any = true;
	return any;
}

static void hotplug_follow(const struct hotplug *hotplug)
{
	struct epoll_event event;
	bool settled = true;
	long nr;

	/* What changed before. */
	wqi_refresh_check_cpus();
	while (!wqi_load_acquire(&hotplug_stopping)) {
		nr = syscall(SYS_epoll_pwait, hotplug->epoll, &event, 1,
			     settled ? -1 : HOTPLUG_SETTLE_MS, NULL, 0);
		if (nr < 0 && errno != EINTR)
			return;
		if (hotplug_receive(hotplug)) {
			settled = false;
			wqi_refresh_ask();
		} else if (!nr) {
			settled = true;
			wqi_refresh_check_cpus();
		}
	}
}

static void *hotplug_main(void *arg)
{
	struct hotplug hotplug;

	(void)arg;
	wqi_service_begin("wq/hotplug");
	if (hotplug_open(&hotplug)) {
		wqi_service_last(WQI_LASTING_HOTPLUG);
		hotplug_follow(&hotplug);
		wqi_service_ends(WQI_LASTING_HOTPLUG);
	}
	return NULL;
}

bool wqi_hotplug_start(void)
{
	if (!hotplug_running && !wqi_cpus.pretended && wqi_test_listens)
		hotplug_running = !wqi_service_start(&hotplug_thread, -1, hotplug_main, NULL);
	return hotplug_running || wqi_cpus.pretended || !wqi_test_listens;
}

void wqi_hotplug_stop(void)
{
	if (hotplug_running) {
		wqi_store_release(&hotplug_stopping, true);
		pthread_kill(hotplug_thread, HOTPLUG_SIGNAL);
		pthread_join(hotplug_thread, NULL);
	}
	wqi_hotplug_reset();
}

void wqi_hotplug_reset(void)
{
	hotplug_running = false;
	wqi_store_relaxed(&hotplug_stopping, false);
}
