/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the reading of a machine by hwloc, and the division of its CPUs into groups by
 * scope.  Does not decide which scope a queue has, and does not follow later changes.
 */
#include "topology.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "mem.h"
#include "runtime.h"

#define SHARD_CORES 8u

/* What stands for a group before it has a number: an object of hwloc's, a node, or a group. */
#define KEY_NODE  (UINT64_C(1) << 40)
#define KEY_GROUP (UINT64_C(2) << 40)

static struct wqi_topology *topology_kept; /* G */

/* --- the CPUs --- */

static void cpus_of_process(wqi_cpu_mask *cpus)
{
	memset(cpus, 0, sizeof(*cpus));
	if (sched_getaffinity(getpid(), sizeof(*cpus), cpus->set))
		CPU_SET_S(wqi_cpu_current() % WQ_MAX_CPUS, sizeof(*cpus), cpus->set);
}

static bool cpu_is_in(const wqi_cpu_mask *cpus, unsigned cpu)
{
	return cpu < WQ_MAX_CPUS && CPU_ISSET_S(cpu, sizeof(*cpus), cpus->set);
}

/* Of hwloc's CPUs those that may be used, and that are in @limit if there is one. */
static void cpus_of_hwloc(hwloc_topology_t hw, const wqi_cpu_mask *limit, wqi_cpu_mask *cpus)
{
	hwloc_const_cpuset_t allowed = hwloc_topology_get_allowed_cpuset(hw);
	hwloc_obj_t pu = NULL;

	memset(cpus, 0, sizeof(*cpus));
	while ((pu = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_PU, pu)))
		if (pu->os_index < WQ_MAX_CPUS && hwloc_bitmap_isset(allowed, pu->os_index) &&
		    (!limit || cpu_is_in(limit, pu->os_index)))
			CPU_SET_S(pu->os_index, sizeof(*cpus), cpus->set);
}

/* --- what a CPU has in common with others --- */

/* Its core; where there is no such object, the CPU itself. */
static hwloc_obj_t key_core(hwloc_topology_t hw, hwloc_obj_t pu)
{
	hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(hw, HWLOC_OBJ_CORE, pu);

	return core ? core : pu;
}

/* The last cache that it has, if more than one core has it too. */
static hwloc_obj_t key_cache(hwloc_topology_t hw, hwloc_obj_t pu)
{
	hwloc_obj_t core = key_core(hw, pu), cache = NULL, obj;

	for (obj = pu->parent; obj; obj = obj->parent)
		if (hwloc_obj_type_is_dcache(obj->type))
			cache = obj;
	return cache && !hwloc_bitmap_isincluded(cache->cpuset, core->cpuset) ? cache : NULL;
}

static hwloc_obj_t key_package(hwloc_topology_t hw, hwloc_obj_t pu)
{
	hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(hw, HWLOC_OBJ_PACKAGE, pu);

	return package ? package : hwloc_get_root_obj(hw);
}

/* The first node that is anywhere inside @obj, or, with @attached, at @obj itself; or -1. */
static int key_first_node(hwloc_topology_t hw, hwloc_obj_t obj, bool attached, bool with_memory)
{
	hwloc_obj_t node;
	int i;

	for (i = hwloc_bitmap_first(obj->nodeset); i >= 0 && i < WQ_MAX_NODES;
	     i = hwloc_bitmap_next(obj->nodeset, i)) {
		node = hwloc_get_numanode_obj_by_os_index(hw, (unsigned)i);
		if (!node || (with_memory && !node->attr->numanode.local_memory))
			continue;
		if (attached ? node->parent == obj
			     : hwloc_bitmap_isincluded(node->cpuset, obj->cpuset))
			return i;
	}
	return -1;
}

static int key_nearest_node(hwloc_topology_t hw, hwloc_obj_t pu, bool with_memory)
{
	hwloc_obj_t package = key_package(hw, pu), obj;
	bool outside = false;
	int node = -1;

	for (obj = key_core(hw, pu); obj && node < 0; obj = obj->parent) {
		node = key_first_node(hw, obj, outside, with_memory);
		outside |= obj == package;
	}
	return node;
}

/*
 * The node nearest to the CPU's core, so that no core is in two: what is attached to
 * something that it is part of, or is elsewhere in its package.  One without CPUs hangs
 * at the machine as a whole, so what has another does not get to it.  A node without
 * memory counts only where there is no other.  -1: there is none.
 */
static int key_node(hwloc_topology_t hw, hwloc_obj_t pu)
{
	int node = key_nearest_node(hw, pu, true);

	return node >= 0 ? node : key_nearest_node(hw, pu, false);
}

static uint64_t key_of(hwloc_topology_t hw, hwloc_obj_t pu, unsigned scope,
		       const struct wqi_topology *topology)
{
	hwloc_obj_t cache;
	int node;

	switch (scope) {
	case WQ_AFFN_CPU:
		return pu->gp_index;
	case WQ_AFFN_SMT:
		return key_core(hw, pu)->gp_index;
	case WQ_AFFN_CACHE:
		cache = key_cache(hw, pu);
		return cache ? cache->gp_index
			     : KEY_GROUP + topology->group[WQ_AFFN_NUMA][pu->os_index];
	case WQ_AFFN_NUMA:
		node = key_node(hw, pu);
		return node >= 0 ? KEY_NODE + (unsigned)node : key_package(hw, pu)->gp_index;
	default:
		return 0;
	}
}

/* --- groups --- */

static bool topology_has(const struct wqi_topology *topology, unsigned cpu)
{
	return cpu_is_in(&topology->cpus, cpu);
}

/* Give numbers to the groups of @scope: CPUs with equal keys are together. */
static void groups_number(struct wqi_topology *topology, unsigned scope, const uint64_t *key,
			  uint64_t *seen)
{
	unsigned cpu, nr = 0, at = 0;

	for (cpu = 0; cpu < topology->nr_cpus; cpu++) {
		if (!topology_has(topology, cpu))
			continue;
		/* Mostly it is the one of the CPU before. */
		if (!nr || seen[at] != key[cpu])
			for (at = 0; at < nr && seen[at] != key[cpu]; at++)
				continue;
		if (at == nr)
			seen[nr++] = key[cpu];
		topology->group[scope][cpu] = (uint16_t)at;
	}
	topology->nr_groups[scope] = nr;
}

/* Where hwloc has no say (NULL) a CPU is a core, and the machine all else. */
static void groups_make(struct wqi_topology *topology, hwloc_topology_t hw, unsigned scope,
			uint64_t *key, uint64_t *seen)
{
	hwloc_obj_t pu = NULL;
	unsigned cpu;

	for (cpu = 0; !hw && cpu < topology->nr_cpus; cpu++)
		key[cpu] = scope <= WQ_AFFN_SMT ? cpu : 0;
	while (hw && (pu = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_PU, pu)))
		if (topology_has(topology, pu->os_index))
			key[pu->os_index] = key_of(hw, pu, scope, topology);
	groups_number(topology, scope, key, seen);
}

/* Of @nr cores, as evenly as can be, the shard that the one at @core is in. */
static unsigned shard_of(unsigned core, unsigned nr)
{
	unsigned shards = (nr + SHARD_CORES / 2) / SHARD_CORES, each, large;

	if (shards < 2)
		return 0;
	each = nr / shards;
	large = nr % shards; /* so many have one more */
	if (core < large * (each + 1))
		return core / (each + 1);
	return large + (core - large * (each + 1)) / each;
}

/*
 * Shards of the caches: whole cores, in the order of their lowest CPU, which is that of
 * the numbers of the SMT groups.  @place and @cores have an entry for each of those, or
 * of the caches.
 */
static void groups_make_shards(struct wqi_topology *topology, uint64_t *key, uint64_t *seen,
			       uint32_t *place, uint32_t *cores)
{
	const uint16_t *smt = topology->group[WQ_AFFN_SMT], *cache = topology->group[WQ_AFFN_CACHE];
	unsigned cpu, nr = 0;

	for (cpu = 0; cpu < topology->nr_cpus; cpu++) {
		if (!topology_has(topology, cpu) || smt[cpu] < nr)
			continue;
		place[smt[cpu]] = cores[cache[cpu]]++;
		nr++;
	}
	for (cpu = 0; cpu < topology->nr_cpus; cpu++)
		if (topology_has(topology, cpu))
			key[cpu] = (uint64_t)cache[cpu] * WQ_MAX_CPUS +
				   shard_of(place[smt[cpu]], cores[cache[cpu]]);
	groups_number(topology, WQ_AFFN_CACHE_SHARD, key, seen);
}

/*
 * Each group of a scope is inside one of the next larger: a core in a shard, a shard in
 * a cache.  Only a cache need not be inside a node: there are processors with more nodes
 * than caches.
 */
static int topology_make_groups(struct wqi_topology *topology, hwloc_topology_t hw)
{
	static const unsigned scopes[] = {WQ_AFFN_CPU, WQ_AFFN_SMT, WQ_AFFN_NUMA, WQ_AFFN_CACHE,
					  WQ_AFFN_SYSTEM};
	unsigned nr = topology->nr_cpus, i;
	size_t bytes = nr * (2 * sizeof(uint64_t) + 2 * sizeof(uint32_t));
	uint64_t *key = wqi_zalloc(bytes);
	uint32_t *place;

	if (!key)
		return -ENOMEM;
	place = (uint32_t *)(key + 2 * nr);
	for (i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++)
		groups_make(topology, hw, scopes[i], key, key + nr);
	groups_make_shards(topology, key, key + nr, place, place + nr);
	wqi_free(key, bytes);
	return 0;
}

static void topology_find_nodes(struct wqi_topology *topology, hwloc_topology_t hw)
{
	hwloc_obj_t obj = NULL;
	int node;

	topology->nr_nodes = 1;
	while ((obj = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_NUMANODE, obj)))
		if (obj->os_index < WQ_MAX_NODES && obj->os_index >= topology->nr_nodes)
			topology->nr_nodes = obj->os_index + 1;
	while ((obj = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_PU, obj))) {
		if (!topology_has(topology, obj->os_index))
			continue;
		node = key_node(hw, obj);
		topology->node[obj->os_index] = node < 0 ? 0 : (uint16_t)node;
	}
}

/* --- the whole --- */

static size_t topology_table_bytes(const struct wqi_topology *topology)
{
	return (WQI_NR_SCOPES + 1) * topology->nr_cpus * sizeof(uint16_t);
}

/* One block: a table for each scope, and that of the nodes, which is zero. */
static int topology_make_tables(struct wqi_topology *topology)
{
	unsigned scope;
	uint16_t *table = wqi_zalloc(topology_table_bytes(topology));

	if (!table)
		return -ENOMEM;
	memset(table, 0xff, WQI_NR_SCOPES * topology->nr_cpus * sizeof(*table));
	for (scope = 0; scope < WQI_NR_SCOPES; scope++)
		topology->group[scope] = table + scope * topology->nr_cpus;
	topology->node = table + WQI_NR_SCOPES * topology->nr_cpus;
	return 0;
}

static int topology_make(hwloc_topology_t hw, const wqi_cpu_mask *cpus, struct wqi_topology **to)
{
	struct wqi_topology *topology = wqi_zalloc(sizeof(*topology));
	unsigned cpu;
	int err;

	if (!topology)
		return -ENOMEM;
	topology->cpus = *cpus;
	topology->nr_nodes = 1;
	for (cpu = 0; cpu < WQ_MAX_CPUS; cpu++)
		if (topology_has(topology, cpu))
			topology->nr_cpus = cpu + 1;
	err = topology_make_tables(topology);
	if (!err && hw)
		topology_find_nodes(topology, hw);
	if (!err)
		err = topology_make_groups(topology, hw);
	if (err)
		wqi_topology_free(topology);
	else
		*to = topology;
	return err;
}

static int topology_read_machine(struct wqi_topology **to)
{
	wqi_cpu_mask mine, cpus;
	hwloc_topology_t hw = NULL;
	int err = wqi_machine_load(NULL, &hw);

	if (err == -ENOMEM)
		return err;
	/* The process's CPUs may become more, so all are looked at. */
	cpus_of_process(&mine);
	if (!err)
		cpus_of_hwloc(hw, NULL, &cpus);
	if (err || !CPU_COUNT_S(sizeof(cpus), cpus.set)) {
		wqi_machine_unload(&hw);
		cpus = mine;
	}
	err = topology_make(hw, &cpus, to);
	wqi_machine_unload(&hw);
	return err;
}

static int topology_read_pretended(const char *description, struct wqi_topology **to)
{
	hwloc_topology_t hw = NULL;
	int err = wqi_machine_load(description, &hw);
	wqi_cpu_mask cpus;

	if (!err) {
		cpus_of_hwloc(hw, NULL, &cpus);
		if (!CPU_COUNT_S(sizeof(cpus), cpus.set))
			err = -EINVAL;
	}
	if (!err)
		err = topology_make(hw, &cpus, to);
	if (!err)
		(*to)->pretended = true;
	wqi_machine_unload(&hw);
	return err;
}

int wqi_topology_read(const char *description, struct wqi_topology **to)
{
	int saved = errno, cancel, err;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	err = description ? topology_read_pretended(description, to) : topology_read_machine(to);
	pthread_setcancelstate(cancel, NULL);
	errno = saved;
	return err;
}

void wqi_topology_free(struct wqi_topology *topology)
{
	if (!topology)
		return;
	wqi_free(topology->group[0], topology_table_bytes(topology));
	wqi_free(topology, sizeof(*topology));
}

void wqi_topology_keep_locked(struct wqi_topology *topology)
{
	wqi_topology_drop_locked();
	wqi_store_release(&topology_kept, topology);
}

const struct wqi_topology *wqi_topology_get_locked(void)
{
	struct wqi_topology *topology;

	wqi_assert_held(&wqi_runtime.lock);

	if (!topology_kept && !wqi_topology_read(NULL, &topology))
		wqi_store_release(&topology_kept, topology);
	return topology_kept;
}

void wqi_topology_drop_locked(void)
{
	struct wqi_topology *old = topology_kept;

	wqi_assert_held(&wqi_runtime.lock);

	/* A copy that fork() makes meanwhile has it, or none. */
	wqi_store_release(&topology_kept, (struct wqi_topology *)NULL);
	wqi_topology_free(old);
}

void wqi_topology_follow_locked(const wqi_cpu_mask *cpus)
{
	wqi_cpu_mask unknown;

	wqi_assert_held(&wqi_runtime.lock);

	if (!topology_kept || topology_kept->pretended)
		return;
	CPU_AND_S(sizeof(unknown), unknown.set, cpus->set, topology_kept->cpus.set);
	if (!CPU_EQUAL_S(sizeof(unknown), unknown.set, cpus->set))
		wqi_topology_drop_locked();
}
