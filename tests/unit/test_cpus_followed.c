/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUs that change under a library that is idle: the kernel announces them to a thread whose
 * descriptor the program does not see, or the program says so.  Announcements are asked for,
 * which takes root: nothing goes offline.
 */
#include "events.h"
#include "flavors.h"
#include "host.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

static struct wq *wq;

/* --- the listener --- */

static pid_t listener_tid(void)
{
	DIR *tasks = opendir("/proc/self/task");
	char path[300], name[32];
	struct dirent *task;
	pid_t tid = 0;

	CHECK(tasks);
	while (!tid && (task = readdir(tasks))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) && !strcmp(name, "wq/hotplug\n"))
			tid = atoi(task->d_name);
		if (file)
			fclose(file);
	}
	closedir(tasks);
	return tid;
}

/* Has the listener a socket that is told what the kernel announces, and no process's number? */
static bool listens(void)
{
	FILE *file = fopen("/proc/net/netlink", "re");
	unsigned protocol, portid, groups, tid = (unsigned)listener_tid();
	bool found = false;
	char line[256];

	if (!file)
		skip_child("sockets can't be seen");
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%*s %u %u %x", &protocol, &portid, &groups) == 3 &&
			protocol == NETLINK_KOBJECT_UEVENT && groups == 1 && tid && portid >> 31 &&
			(portid & ((1u << 27) - 1)) == tid;
	fclose(file);
	return found;
}

static void start(void)
{
	struct probe probe;

	wq = wq_alloc("percpu", WQ_PERCPU, 0);
	CHECK(wq);
	probe_init(&probe);
	probe_runs(wq, &probe);
	while (!listens())
		sched_yield();
}

static void end(void)
{
	CHECK_EQUAL(wq_destroy(wq), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
	CHECK_EQUAL(nr_threads_falls_to("wq/", 0), 0);
	CHECK(!listens());
}

/* --- what is announced --- */

static void announce(int cpu)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/uevent", cpu);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "online", 6) != 6)
		skip_child("nothing can be announced");
	close(fd);
}

/* What "taskset -a" does. */
static void set_affinity_of_all(const cpu_set_t *set)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;

	CHECK(tasks);
	while ((task = readdir(tasks)))
		if (task->d_name[0] != '.')
			sched_setaffinity(atoi(task->d_name), sizeof(*set), set);
	closedir(tasks);
}

static void wait_until_cpu_is(int cpu, int expected)
{
	cpu_set_t set;

	while (wq_pool_cpus_read(wq, cpu, &set, sizeof(set)) != expected)
		sched_yield();
}

/* Nothing runs, so nobody else finds out. */
static void announcements_are_heard(void)
{
	int kept = usable_cpu(0), taken = usable_cpu(1);
	cpu_set_t all, one;

	if (taken < 0)
		skip_child("one CPU only");
	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&one);
	CPU_SET(kept, &one);
	set_affinity_of_all(&one);
	announce(taken);
	wait_until_cpu_is(taken, -EINVAL);
	set_affinity_of_all(&all);
	announce(taken);
	wait_until_cpu_is(taken, 0);
}

/* --- all of the library's threads --- */

/* A sentinel is for one CPU, and sleeps where that has gone. */
static bool is_to_follow(const char *name)
{
	return !strncmp(name, "wq/", 3) && strncmp(name, "wq/idle-", 8);
}

/* How many run on @set and nowhere else; or 0, if any runs elsewhere. */
static unsigned nr_threads_on(const cpu_set_t *set)
{
	DIR *tasks = opendir("/proc/self/task");
	char path[300], name[32];
	struct dirent *task;
	bool all = true;
	unsigned nr = 0;
	cpu_set_t its;

	CHECK(tasks);
	while ((task = readdir(tasks))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) && is_to_follow(name) &&
		    !sched_getaffinity(atoi(task->d_name), sizeof(its), &its)) {
			nr++;
			all = all && CPU_EQUAL(&its, set);
		}
		if (file)
			fclose(file);
	}
	closedir(tasks);
	return all ? nr : 0;
}

static void follow_child(void *ctx)
{
	int kept = usable_cpu(0);
	struct guarded guarded;
	struct wq *rescued;
	cpu_set_t one;

	if (usable_cpu(1) < 0)
		skip_child("one CPU only");
	start();
	rescued = wq_alloc("rescued", WQ_MEM_RECLAIM, 0);
	CHECK(rescued);
	CHECK(trigger_works(rescued));
	guarded_init(&guarded, NULL);
	CHECK(guarded_runs(&guarded, rescued, flavors[0]));
	CPU_ZERO(&one);
	CPU_SET(kept, &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one));
	CHECK_EQUAL(wq_topology_refresh(), 0);
	/*
	 * A worker, a rescuer, manager, monitor, clock, hotplug, trigger and rcu; those that are
	 * just beginning, too.
	 */
	while (nr_threads_on(&one) < 8)
		sched_yield();
	CHECK_EQUAL(wq_destroy(rescued), 0);
	end();
}

static void threads_follow_the_main_thread_when_told(void **state)
{
	skip_if_cpus_are_pretended();
	holds_in_child(follow_child, NULL);
}

/* --- tests --- */

static void idle_child(void *ctx)
{
	start();
	announcements_are_heard();
	end();
}

static void announced_cpu_is_noticed_while_all_is_idle(void **state)
{
	skip_if_cpus_are_pretended();
	holds_in_child(idle_child, NULL);
}

static unsigned nr_descriptors_of(pid_t tid)
{
	char path[64];
	unsigned nr = 0;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/self/task/%d/fd", tid);
	fds = opendir(path);
	CHECK(fds);
	while (readdir(fds))
		nr++;
	closedir(fds);
	return nr - 2; /* . and .. */
}

static void unseen_child(void *ctx)
{
	unsigned before = nr_descriptors();
	pid_t tid;

	start();
	CHECK_EQUAL(nr_descriptors(), before);
	tid = listener_tid();
	/* A socket, and what it is waited for with. */
	while (nr_descriptors_of(tid) != 3)
		sched_yield();
	end();
	CHECK_EQUAL(nr_descriptors(), before);
}

static void listener_has_descriptors_that_nobody_else_has(void **state)
{
	skip_if_cpus_are_pretended();
	skip_if_checker_has_descriptors();
	holds_in_child(unseen_child, NULL);
}

/* The program may have a socket for the same, under the process's number. */
static void port_child(void *ctx)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK,
				      .nl_pid = (uint32_t)getpid(),
				      .nl_groups = 1};
	int fd;

	start();
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	CHECK(fd >= 0);
	CHECK_EQUAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	end();
}

static void listener_leaves_the_processs_number_to_the_program(void **state)
{
	skip_if_cpus_are_pretended();
	holds_in_child(port_child, NULL);
}

/* A program that waits for the signal which ends the listener gets all of its own. */
static void signal_child(void *ctx)
{
	struct timespec none = {0, 0};
	sigset_t set;
	unsigned i;

	sigemptyset(&set);
	sigaddset(&set, SIGSTKFLT);
	CHECK_EQUAL(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	start();
	for (i = 0; i < 50; i++) {
		CHECK_EQUAL(kill(getpid(), SIGSTKFLT), 0);
		sched_yield();
		CHECK_EQUAL(sigtimedwait(&set, NULL, &none), SIGSTKFLT);
	}
	CHECK_EQUAL(kill(getpid(), SIGSTKFLT), 0);
	end();
	CHECK_EQUAL(sigtimedwait(&set, NULL, &none), SIGSTKFLT);
}

static void listener_takes_no_signal_of_the_programs(void **state)
{
	skip_if_cpus_are_pretended();
	holds_in_child(signal_child, NULL);
}

static void daemon_child(void *ctx)
{
	int fd;

	start();
	for (fd = 3; fd < 1024; fd++)
		close(fd);
	announcements_are_heard();
	end();
}

static void listener_stays_where_all_descriptors_are_closed(void **state)
{
	skip_if_cpus_are_pretended();
	holds_in_child(daemon_child, NULL);
}

static void grandchild(void *ctx)
{
	struct probe probe;

	CHECK_EQUAL(listener_tid(), 0);
	CHECK(!listens());
	probe_init(&probe);
	probe_runs(wq, &probe);
	while (!listens())
		sched_yield();
	end();
}

static void fork_child(void *ctx)
{
	start();
	CHECK_EQUAL(in_child(grandchild, NULL), 0);
	CHECK(listens());
	announcements_are_heard();
	end();
}

static void listener_of_a_child_is_its_own(void **state)
{
	skip_if_cpus_are_pretended();
	skip_if_checker_hangs_children();
	holds_in_child(fork_child, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(announced_cpu_is_noticed_while_all_is_idle),
		cmocka_unit_test(listener_has_descriptors_that_nobody_else_has),
		cmocka_unit_test(listener_leaves_the_processs_number_to_the_program),
		cmocka_unit_test(listener_takes_no_signal_of_the_programs),
		cmocka_unit_test(listener_stays_where_all_descriptors_are_closed),
		cmocka_unit_test(listener_of_a_child_is_its_own),
		cmocka_unit_test(threads_follow_the_main_thread_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
