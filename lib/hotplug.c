/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns hearing of CPUs.
 *
 * The thread has a table of descriptors of its own, with nothing in it but its socket: so
 * the program does not see that, can't close it, and neither fork() nor exec passes it on.
 * It waits for a signal, which the socket sends when a message has come, and others send to
 * have it end.  The signal stays blocked, so it has no handler and interrupts nothing.
 */
#include "hotplug.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"
#include "refresh.h"
#include "service.h"
#include "testing.h"

/* Neither Linux nor anybody else sends this one. */
#define HOTPLUG_SIGNAL SIGSTKFLT

/* The group of what the kernel itself announces. */
#define HOTPLUG_GROUP 1u

/* A cpuset follows its CPUs a little later than they are announced. */
#define HOTPLUG_SETTLE_S 1

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

/*
 * Its own table: the kernel copies some of the process's descriptors for that, and closes
 * the copies at once.
 */
static bool hotplug_leave_descriptors(void)
{
	return !syscall(SYS_close_range, 0u, ~0u, CLOSE_RANGE_UNSHARE);
}

/* The socket that sends the signal to this thread, or -1. */
static int hotplug_listen(void)
{
	const struct sock_fprog filter = {
		.len = sizeof(hotplug_filter) / sizeof(hotplug_filter[0]),
		.filter = hotplug_filter,
	};
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = HOTPLUG_GROUP};
	const struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = gettid()};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ||
	    fcntl(fd, F_SETOWN_EX, &owner) || fcntl(fd, F_SETSIG, HOTPLUG_SIGNAL) ||
	    fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Has anything come?  ENOBUFS: so much that some of it was lost. */
static bool hotplug_receive(int fd)
{
	bool any = false;
	char c;

	while (recv(fd, &c, sizeof(c), 0) >= 0 || errno == ENOBUFS)
		any = true;
	return any;
}

static void *hotplug_main(void *arg)
{
	const struct timespec settle = {.tv_sec = HOTPLUG_SETTLE_S};
	bool settled = true;
	sigset_t set;
	int fd;

	(void)arg;
	wqi_service_begin("wq/hotplug");
	wqi_service_last(WQI_LASTING_HOTPLUG);
	sigemptyset(&set);
	sigaddset(&set, HOTPLUG_SIGNAL);
	fd = hotplug_leave_descriptors() ? hotplug_listen() : -1;
	/* What changed before: whoever started the library may have asked long ago. */
	if (fd >= 0)
		wqi_refresh_check();
	while (fd >= 0 && !wqi_load_acquire(&hotplug_stopping)) {
		if (sigtimedwait(&set, NULL, settled ? NULL : &settle) < 0 && errno == EAGAIN) {
			settled = true;
			wqi_refresh_check();
		} else if (hotplug_receive(fd)) {
			settled = false;
			wqi_refresh_ask();
		}
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

void wqi_hotplug_start(void)
{
	if (hotplug_running || wqi_cpus.pretended || !wqi_test_listens)
		return;
	hotplug_running = !wqi_service_start(&hotplug_thread, -1, hotplug_main, NULL);
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
