/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the emulated machine says and lets be changed. */
#include "guest.h"
#include "process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"

bool guest_is_own(void)
{
	const char *machine = getenv("WQ_TEST_MACHINE");

	return machine && !strcmp(machine, "own");
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		fail_msg("%s: %s: %s", path, text, strerror(errno));
	close(fd);
}

bool guest_cpu_list(const char *path, unsigned index, cpu_set_t *set)
{
	unsigned first, last;
	char name[128];
	FILE *file;

	CPU_ZERO(set);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(name, sizeof(name), path, index);
#pragma GCC diagnostic pop
	file = fopen(name, "re");
	if (!file)
		return false;
	while (fscanf(file, "%u", &first) == 1) {
		last = first;
		if (fscanf(file, "-%u", &last) < 0)
			last = first;
		for (; first <= last; first++)
			CPU_SET(first, set);
		if (fgetc(file) != ',')
			break;
	}
	fclose(file);
	return true;
}

void guest_set_online(int cpu, bool online)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	write_text(path, online ? "1" : "0");
}

/* Into a group of which @file says @text, or back. */
static void move_to_group(const char *file, const char *text)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (!text) {
		write_text(CGROUPS "/cgroup.procs", pid);
		return;
	}
	if (mkdir(CGROUPS "/test", 0755) && errno != EEXIST)
		fail_msg("no cgroup: %s", strerror(errno));
	write_text(file, text);
	write_text(CGROUPS "/test/cgroup.procs", pid);
}

void guest_set_cpuset(const char *cpus)
{
	move_to_group(CGROUPS "/test/cpuset.cpus", cpus);
}

void guest_set_quota(unsigned cpus)
{
	char text[32];

	snprintf(text, sizeof(text), "%u 100000", cpus * 100000);
	move_to_group(CGROUPS "/test/cpu.max", cpus ? text : NULL);
}

struct pinned {
	int cpu;
	void (*fn)(void *ctx);
	void *ctx;
};

static void pinned_main(void *ctx, unsigned index)
{
	struct pinned *pinned = ctx;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(pinned->cpu, &one);
	CHECK_EQUAL(sched_setaffinity(0, sizeof(one), &one), 0);
	pinned->fn(pinned->ctx);
}

void guest_run_pinned(int cpu, void (*fn)(void *ctx), void *ctx)
{
	struct pinned pinned = {cpu, fn, ctx};

	run_threads(1, pinned_main, &pinned);
}
