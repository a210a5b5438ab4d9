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

void wqi_mask_copy(wqi_cpu_mask *to, const wqi_cpu_mask *from)
{
	const __cpu_mask *words = from->set[0].__bits;
	__cpu_mask *copy = to->set[0].__bits;
	unsigned i;

	for (i = 0; i < sizeof(*to) / sizeof(*copy); i++)
		wqi_store_relaxed(&copy[i], wqi_load_relaxed(&words[i]));
}

bool wqi_cpus_are_all(const wqi_cpu_mask *mask)
{
	wqi_cpu_mask all;

	wqi_mask_copy(&all, &wqi_cpus.mask);
	return !memcmp(&all, mask, sizeof(all));
}

void wqi_cpus_go_to_all(void)
{
	wqi_cpu_mask mask;

	wqi_mask_copy(&mask, &wqi_cpus.mask);
	sched_setaffinity(0, sizeof(mask), mask.set);
}

/* --- nodes --- */

static void cpu_set_node(unsigned cpu, unsigned node)
{
	wqi_store_relaxed(&cpu_node[cpu], (uint16_t)(node + 1));
}

static void cpus_read_node(unsigned node)
{
	char path[64], line[NODE_LIST_BYTES];
	wqi_cpu_mask cpus;
	unsigned cpu;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
	if (!cpu_read_line(path, line, sizeof(line)) || !wqi_cpulist_parse(line, &cpus))
		return;
	for (cpu = 0; cpu < wqi_cpus.nr; cpu++)
		if (CPU_ISSET_S(cpu, sizeof(cpus), cpus.set))
			cpu_set_node(cpu, node);
}

/* The first usable CPU of each, for the nodes that CPUs have. */
static void cpus_find_first(void)
{
	static uint16_t first[WQ_MAX_NODES]; /* G */
	unsigned cpu, node;

	memset(first, 0, sizeof(first));
	for (cpu = wqi_cpus.nr; cpu-- > 0;)
		if (wqi_cpu_is_usable(cpu) && cpu_node[cpu])
			first[cpu_node[cpu] - 1] = (uint16_t)(cpu + 1);
	for (node = 0; node < WQ_MAX_NODES; node++)
		wqi_store_relaxed(&node_cpu[node], first[node]);
}

/*
 * A list of nodes is written like one of CPUs.  Where there is none, all is node 0.  CPUs
 * that have gone keep theirs.
 */
static void cpus_read_nodes(void)
{
	char line[NODE_LIST_BYTES];
	wqi_cpu_mask nodes;
	unsigned node, cpu;

	if (cpu_read_line("/sys/devices/system/node/online", line, sizeof(line)) &&
	    wqi_cpulist_parse(line, &nodes)) {
		for (node = 0; node < WQ_MAX_NODES; node++)
			if (CPU_ISSET_S(node, sizeof(nodes), nodes.set))
				cpus_read_node(node);
	} else {
		for (cpu = 0; cpu < wqi_cpus.nr; cpu++)
			cpu_set_node(cpu, 0);
	}
	cpus_find_first();
}

int wqi_cpu_of_node(unsigned node)
{
	unsigned here = wqi_cpu_current();

	if (here < WQ_MAX_CPUS && wqi_load_relaxed(&cpu_node[here]) == node + 1)
		return -1;
	return (int)wqi_load_relaxed(&node_cpu[node]) - 1;
}

int wqi_cpu_node(unsigned cpu)
{
	unsigned node = cpu < WQ_MAX_CPUS ? wqi_load_relaxed(&cpu_node[cpu]) : 0;

	return node ? (int)node - 1 : 0;
}

/* --- CPUs --- */

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

static unsigned mask_nr(const wqi_cpu_mask *mask)
{
	return (unsigned)CPU_COUNT_S(sizeof(*mask), mask->set);
}

/* Those of the list; else all but isolated ones, unless there are no others. */
static void cpus_set_unbound(void)
{
	wqi_cpu_mask unbound = wqi_cpus.mask;

	if (wqi_cpus.limited)
		CPU_AND_S(sizeof(unbound), unbound.set, unbound.set, wqi_cpus.list.set);
	if (!wqi_cpus.limited || !mask_nr(&unbound)) {
		CPU_AND_S(sizeof(unbound), unbound.set, wqi_cpus.mask.set, wqi_cpus.alone.set);
		CPU_XOR_S(sizeof(unbound), unbound.set, unbound.set, wqi_cpus.mask.set);
	}
	if (!mask_nr(&unbound))
		unbound = wqi_cpus.mask;
	wqi_mask_copy(&wqi_cpus.unbound, &unbound);
	wqi_store_relaxed(&wqi_cpus.nr_unbound, mask_nr(&unbound));
}

static void cpus_set_usable(const wqi_cpu_mask *mask)
{
	wqi_mask_copy(&wqi_cpus.mask, mask);
	wqi_store_relaxed(&wqi_cpus.nr_usable, mask_nr(mask));
}

bool wqi_cpus_change_locked(const wqi_cpu_mask *mask)
{
	wqi_cpu_mask within = *mask;
	unsigned cpu;

	for (cpu = wqi_cpus.nr; cpu < WQ_MAX_CPUS; cpu++)
		CPU_CLR_S(cpu, sizeof(within), within.set);
	if (!mask_nr(&within) || !memcmp(&within, &wqi_cpus.mask, sizeof(within)))
		return false;
	cpus_set_usable(&within);
	cpus_set_unbound();
	cpus_read_nodes();
	wqi_cpus_set_level(wqi_cpus.quota);
	return true;
}

void wqi_cpus_read(void)
{
	long conf = sysconf(_SC_NPROCESSORS_CONF);
	wqi_cpu_mask mask;
	int saved = errno;
	unsigned cpu, nr;

	/* The process's mask is its main thread's; the caller may be pinned. */
	memset(&mask, 0, sizeof(mask));
	if (sched_getaffinity(getpid(), sizeof(mask), mask.set))
		CPU_SET_S(wqi_cpu_current() % WQ_MAX_CPUS, sizeof(mask), mask.set);

	nr = conf > 0 ? (unsigned)conf : 1;
	for (cpu = nr; cpu < WQ_MAX_CPUS; cpu++)
		if (CPU_ISSET_S(cpu, sizeof(mask), mask.set))
			nr = cpu + 1;
	if (nr > WQ_MAX_CPUS)
		nr = WQ_MAX_CPUS;

	wqi_cpus.pretended = wqi_cpus.limited = false;
	wqi_cpus.nr = nr;
	memset(cpu_node, 0, sizeof(cpu_node));
	cpus_read_alone();
	cpus_set_usable(&mask);
	cpus_set_unbound();
	cpus_read_nodes();
	errno = saved;
}

void wqi_cpus_pretend(const wqi_cpu_mask *cpus, const uint16_t *node)
{
	unsigned cpu;

	memset(&wqi_cpus, 0, sizeof(wqi_cpus));
	memset(cpu_node, 0, sizeof(cpu_node));
	wqi_cpus.pretended = true;
	for (cpu = 0; cpu < WQ_MAX_CPUS; cpu++) {
		if (!CPU_ISSET_S(cpu, sizeof(*cpus), cpus->set))
			continue;
		wqi_cpus.nr = cpu + 1;
		cpu_set_node(cpu, node[cpu]);
	}
	cpus_set_usable(cpus);
	cpus_set_unbound();
	cpus_find_first();
}

void wqi_cpus_set_level(unsigned quota)
{
	wqi_store_relaxed(&wqi_cpus.quota, quota);
	wqi_cpus.level = quota && quota < wqi_cpus.nr_unbound ? quota : wqi_cpus.nr_unbound;
}

int wqi_cpus_limit_unbound(const char *list)
{
	wqi_cpu_mask mask, usable;

	if (!wqi_cpulist_parse(list, &mask))
		return -EINVAL;
	CPU_AND_S(sizeof(mask), usable.set, mask.set, wqi_cpus.mask.set);
	if (!mask_nr(&usable))
		return -EINVAL;
	wqi_cpus.list = mask;
	wqi_cpus.limited = true;
	cpus_set_unbound();
	return 0;
}
