/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prints the groups of the machine that is described, or of this one, for
 * test_topology_tools.sh: lines of a scope and the CPUs of a group.  Judges nothing.
 */
#include <stdio.h>

#include "topology.h"

static const char *const scopes[WQI_NR_SCOPES] = {"cpu", "smt", "cache", "shard", "numa", "system"};

static void show_group(const struct wqi_topology *topology, unsigned scope, unsigned group)
{
	const char *between = " ";
	unsigned cpu;

	fputs(scopes[scope], stdout);
	for (cpu = 0; cpu < topology->nr_cpus; cpu++) {
		if (topology->group[scope][cpu] != group)
			continue;
		printf("%s%u", between, cpu);
		between = ",";
	}
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct wqi_topology *topology;
	unsigned scope, group;

	if (wqi_topology_read(argc > 1 ? argv[1] : NULL, &topology))
		return 1;
	for (scope = 0; scope < WQI_NR_SCOPES; scope++)
		for (group = 0; group < topology->nr_groups[scope]; group++)
			show_group(topology, scope, group);
	wqi_topology_free(topology);
	return 0;
}
