/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns reading the sets of CPUs.  Does not follow later changes. */
#include "cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "atomic.h"

#define NODE_LIST_BYTES 4096

struct wqi_cpus wqi_cpus;

/* NUMA nodes, plus one; 0 unknown. */
static uint16_t cpu_node[WQ_MAX_CPUS];	/* I */
static uint16_t node_cpu[WQ_MAX_NODES]; /* I: a node's first usable CPU, plus one; 0 none */

static bool cpulist_number(const char **at, unsigned long *n)
{
	char *rest;

	if (**at < '0' || **at > '9')
		return false;
	*n = strtoul(*at, &rest, 10);
	*at = rest;
	return *n < WQ_MAX_CPUS;
}

bool wqi_cpulist_parse(const char *list, wqi_cpu_mask *mask)
{
	unsigned long first, last;

	memset(mask, 0, sizeof(*mask));
	do {
		if (!cpulist_number(&list, &first))
			return false;
		last = first;
		if (*list == '-') {
			list++;
			if (!cpulist_number(&list, &last) || last < first)
				return false;
		}
		for (; first <= last; first++)
			CPU_SET_S(first, sizeof(*mask), mask->set);
	} while (*list++ == ',');
	return list[-1] == '\0' || (list[-1] == '\n' && !*list);
}

/* A file's first line.  False: it can't be read, or is longer than @bytes. */
static bool cpu_read_line(const char *path, char *line, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, line, bytes - 1);
	close(fd);
	if (got <= 0)
		return false;
	line[got] = '\0';
	return strchr(line, '\n') != NULL;
}

static void cpus_read_node(unsigned node)
{
	char path[64], line[NODE_LIST_BYTES];
	wqi_cpu_mask cpus;
	unsigned cpu;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
	if (!cpu_read_line(path, line, sizeof(line)) || !wqi_cpulist_parse(line, &cpus))
		return;
	for (cpu = wqi_cpus.nr; cpu-- > 0;) {
		if (!CPU_ISSET_S(cpu, sizeof(cpus), cpus.set))
			continue;
		cpu_node[cpu] = (uint16_t)(node + 1);
		if (wqi_cpu_is_usable(cpu))
			node_cpu[node] = (uint16_t)(cpu + 1);
	}
}

/* A list of nodes is written like one of CPUs.  Where there is none, all is node 0. */
static void cpus_read_nodes(void)
{
	char line[NODE_LIST_BYTES];
	wqi_cpu_mask nodes;
	unsigned node, cpu;

	memset(cpu_node, 0, sizeof(cpu_node));
	memset(node_cpu, 0, sizeof(node_cpu));
	if (cpu_read_line("/sys/devices/system/node/online", line, sizeof(line)) &&
	    wqi_cpulist_parse(line, &nodes)) {
		for (node = 0; node < WQ_MAX_NODES; node++)
			if (CPU_ISSET_S(node, sizeof(nodes), nodes.set))
				cpus_read_node(node);
		return;
	}
	for (cpu = wqi_cpus.nr; cpu-- > 0;) {
		cpu_node[cpu] = 1;
		if (wqi_cpu_is_usable(cpu))
			node_cpu[0] = (uint16_t)(cpu + 1);
	}
}

int wqi_cpu_of_node(unsigned node)
{
	unsigned here = wqi_cpu_current();

	if (here < WQ_MAX_CPUS && cpu_node[here] == node + 1)
		return -1;
	return (int)node_cpu[node] - 1;
}

/* CPUs that the kernel's scheduler, or its tick, leaves alone. */
static void cpus_read_alone(void)
{
	static const char *const files[] = {"/sys/devices/system/cpu/isolated",
					    "/sys/devices/system/cpu/nohz_full"};
	char line[NODE_LIST_BYTES];
	wqi_cpu_mask cpus;
	unsigned i;

	memset(&wqi_cpus.alone, 0, sizeof(wqi_cpus.alone));
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (cpu_read_line(files[i], line, sizeof(line)) && wqi_cpulist_parse(line, &cpus))
			CPU_OR_S(sizeof(cpus), wqi_cpus.alone.set, wqi_cpus.alone.set, cpus.set);
}

void wqi_cpus_read(void)
{
	size_t bytes = sizeof(wqi_cpus.mask);
	long conf = sysconf(_SC_NPROCESSORS_CONF);
	cpu_set_t *mask = wqi_cpus.mask.set;
	int saved = errno;
	unsigned cpu, nr;

	/* The process's mask is its main thread's; the caller may be pinned. */
	memset(mask, 0, bytes);
	if (sched_getaffinity(getpid(), bytes, mask))
		CPU_SET_S(wqi_cpu_current() % WQ_MAX_CPUS, bytes, mask);

	nr = conf > 0 ? (unsigned)conf : 1;
	for (cpu = nr; cpu < WQ_MAX_CPUS; cpu++)
		if (CPU_ISSET_S(cpu, bytes, mask))
			nr = cpu + 1;
	if (nr > WQ_MAX_CPUS)
		nr = WQ_MAX_CPUS;

	wqi_cpus.nr = nr;
	wqi_cpus.nr_usable = wqi_cpus.nr_unbound = (unsigned)CPU_COUNT_S(bytes, mask);
	wqi_cpus.unbound = wqi_cpus.mask;
	cpus_read_nodes();
	cpus_read_alone();
	errno = saved;
}

void wqi_cpus_set_level(unsigned quota)
{
	wqi_cpus.level = quota && quota < wqi_cpus.nr_unbound ? quota : wqi_cpus.nr_unbound;
}

int wqi_cpus_limit_unbound(const char *list)
{
	wqi_cpu_mask mask;
	unsigned nr;

	if (!wqi_cpulist_parse(list, &mask))
		return -EINVAL;
	CPU_AND_S(sizeof(mask), mask.set, mask.set, wqi_cpus.mask.set);
	nr = (unsigned)CPU_COUNT_S(sizeof(mask), mask.set);
	if (!nr)
		return -EINVAL;
	wqi_cpus.unbound = mask;
	wqi_cpus.nr_unbound = nr;
	return 0;
}
