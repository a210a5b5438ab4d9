/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns dividing CPUs into pods, and sharing the result. */
#include "pods.h"

#include <errno.h>
#include <string.h>

#include "mem.h"
#include "pool.h"
#include "runtime.h"
#include "topology.h"

#define NO_POD UINT16_MAX

/* So many that nobody uses are kept. */
#define PODS_KEPT 4u

static struct wqi_pods *pods_all; /* GR: by next */
static uint64_t pods_nr_puts;	  /* G */

/* --- the CPUs --- */

/* Of those that the key names, what is left to unbound items. */
static unsigned pods_choose_cpus(const struct wqi_pods_key *key, wqi_cpu_mask *cpus)
{
	*cpus = wqi_cpus.unbound;
	if (key->cpus)
		CPU_AND_S(sizeof(*cpus), cpus->set, cpus->set, key->cpus->set);
	return (unsigned)CPU_COUNT_S(sizeof(*cpus), cpus->set);
}

/* Pods in the order of their lowest CPU.  Returns how many. */
static unsigned pods_divide(const struct wqi_topology *topology, const struct wqi_pods_key *key,
			    struct wqi_pods *pods, uint16_t *pod_of_group)
{
	unsigned cpu, group, nr = 0;

	for (cpu = 0; cpu < pods->nr_cpus; cpu++) {
		pods->of_cpu[cpu] = NO_POD;
		if (!CPU_ISSET_S(cpu, sizeof(pods->cpus), pods->cpus.set))
			continue;
		group = 0;
		if (topology && cpu < topology->nr_cpus)
			group = topology->group[key->scope][cpu];
		if (group == WQI_NO_GROUP)
			group = 0; /* it came after the topology was read */
		if (pod_of_group[group] == NO_POD)
			pod_of_group[group] = (uint16_t)nr++;
		pods->of_cpu[cpu] = pod_of_group[group];
	}
	return nr;
}

/* From CPUs on which nothing is to run, items go to the same node, or to all in turn. */
static void pods_serve_others(struct wqi_pods *pods)
{
	unsigned cpu, i, turn = 0;

	for (cpu = 0; cpu < pods->nr_cpus; cpu++) {
		if (pods->of_cpu[cpu] != NO_POD)
			continue;
		for (i = 0; i < pods->nr; i++)
			if (pods->pod[i].node == wqi_cpu_node(cpu))
				break;
		pods->of_cpu[cpu] = (uint16_t)(i < pods->nr ? i : turn++ % pods->nr);
	}
}

static void pods_count_cpus(struct wqi_pods *pods)
{
	struct wqi_pod *pod;
	unsigned cpu;
	int node;

	for (cpu = 0; cpu < pods->nr_cpus; cpu++) {
		if (pods->of_cpu[cpu] == NO_POD)
			continue;
		pod = &pods->pod[pods->of_cpu[cpu]];
		node = wqi_cpu_node(cpu);
		if (!pod->nr_cpus++)
			pod->node = node;
		else if (pod->node != node)
			pod->node = WQI_NO_NODE;
	}
}

void wqi_pods_cpus(const struct wqi_pods *pods, unsigned pod, wqi_cpu_mask *cpus)
{
	unsigned cpu;

	*cpus = pods->cpus;
	for (cpu = 0; cpu < pods->nr_cpus; cpu++)
		if (pods->of_cpu[cpu] != pod)
			CPU_CLR_S(cpu, sizeof(*cpus), cpus->set);
}

void wqi_pods_mask(const struct wqi_pods *pods, unsigned pod, wqi_cpu_mask *mask)
{
	if (pods->strict)
		wqi_pods_cpus(pods, pod, mask);
	else
		*mask = pods->cpus;
}

/* --- levels --- */

/* As many as it has CPUs; where a quota allows less, its share of that. */
static unsigned pods_level_of(const struct wqi_pods *pods, const struct wqi_pod *pod)
{
	unsigned nr = (unsigned)CPU_COUNT_S(sizeof(pods->cpus), pods->cpus.set);
	unsigned level = wqi_load_relaxed(&pods->level);

	if (level >= nr)
		return pod->nr_cpus;
	level = (pod->nr_cpus * level + nr / 2) / nr;
	return level ? level : 1;
}

static void pods_set_level(struct wqi_pods *pods)
{
	unsigned nr = (unsigned)CPU_COUNT_S(sizeof(pods->cpus), pods->cpus.set);

	wqi_store_relaxed(&pods->level,
			  wqi_cpus.quota && wqi_cpus.quota < nr ? wqi_cpus.quota : nr);
}

void wqi_pods_set_levels_locked(void)
{
	struct wqi_pods *pods;
	unsigned i;

	wqi_assert_held(&wqi_runtime.lock);

	for (pods = pods_all; pods; pods = pods->next) {
		pods_set_level(pods);
		for (i = 0; i < pods->nr; i++)
			wqi_pool_set_level(pods->pod[i].pool, pods_level_of(pods, &pods->pod[i]));
	}
}

/* --- life --- */

static size_t pods_map_bytes(const struct wqi_pods *pods)
{
	return pods->nr_cpus * sizeof(*pods->of_cpu);
}

static void pods_free(struct wqi_pods *pods)
{
	wqi_free(pods->of_cpu, pods_map_bytes(pods));
	wqi_free(pods->pod, pods->nr * sizeof(*pods->pod));
	wqi_free(pods, sizeof(*pods));
}

/* Which CPU goes where; the pods have no pools yet.  NULL: no memory. */
static struct wqi_pods *pods_plan(const struct wqi_topology *topology,
				  const struct wqi_pods_key *key, const wqi_cpu_mask *cpus)
{
	unsigned nr_groups = topology ? topology->nr_groups[key->scope] : 1;
	size_t bytes = (nr_groups + 1) * sizeof(uint16_t);
	struct wqi_pods *pods = wqi_zalloc(sizeof(*pods));
	uint16_t *pod_of_group = wqi_zalloc(bytes);

	if (pods) {
		pods->nr_cpus = wqi_cpus.nr;
		pods->of_cpu = wqi_zalloc(pods_map_bytes(pods));
	}
	if (pods && pod_of_group && pods->of_cpu) {
		pods->nice = key->nice;
		pods->cpus = *cpus;
		memset(pod_of_group, 0xff, bytes);
		pods->nr = pods_divide(topology, key, pods, pod_of_group);
		pods->pod = wqi_zalloc(pods->nr * sizeof(*pods->pod));
	}
	wqi_free(pod_of_group, bytes);
	if (pods && !pods->pod) {
		pods_free(pods);
		return NULL;
	}
	if (!pods)
		return NULL;
	pods->strict = key->strict && pods->nr > 1;
	pods->lends = !pods->strict && pods->nr > 1;
	pods_count_cpus(pods);
	pods_serve_others(pods);
	pods_set_level(pods);
	return pods;
}

static bool pods_are_equal(const struct wqi_pods *a, const struct wqi_pods *b)
{
	return a->nice == b->nice && a->strict == b->strict && a->nr == b->nr &&
	       !memcmp(a->cpus.set, b->cpus.set, sizeof(a->cpus)) &&
	       !memcmp(a->of_cpu, b->of_cpu, pods_map_bytes(a));
}

/* Their workers' records refer to them until the last has ended. */
static void pods_collect_locked(void)
{
	struct wqi_pods **at = &pods_all, *pods;
	unsigned i;

	while ((pods = *at)) {
		bool ended = pods->ended;

		for (i = 0; ended && i < pods->nr; i++)
			ended = wqi_pool_has_ended(pods->pod[i].pool);
		if (!ended) {
			at = &pods->next;
			continue;
		}
		wqi_store_release(at, pods->next);
		for (i = 0; i < pods->nr; i++)
			wqi_pool_spare_unbound(pods->pod[i].pool);
		pods_free(pods);
	}
}

static int pods_make_pools_locked(struct wqi_pods *pods)
{
	unsigned i;

	for (i = 0; i < pods->nr; i++) {
		pods->pod[i].pool = wqi_pool_unbound(pods, i, pods_level_of(pods, &pods->pod[i]));
		if (pods->pod[i].pool)
			continue;
		while (i--)
			wqi_pool_spare_unbound(pods->pod[i].pool);
		return -ENOMEM;
	}
	return 0;
}

int wqi_pods_get_locked(const struct wqi_pods_key *key, struct wqi_pods **to)
{
	const struct wqi_topology *topology = NULL;
	struct wqi_pods *pods, *made;
	wqi_cpu_mask cpus;
	unsigned nr;

	wqi_assert_held(&wqi_runtime.lock);

	pods_collect_locked();
	nr = pods_choose_cpus(key, &cpus);
	if (!nr)
		return -EINVAL;
	/* To read it takes milliseconds. */
	if (nr > 1 && key->scope != WQ_AFFN_SYSTEM) {
		topology = wqi_topology_get_locked();
		if (!topology)
			return -ENOMEM;
	}
	made = pods_plan(topology, key, &cpus);
	if (!made)
		return -ENOMEM;
	for (pods = pods_all; pods; pods = pods->next)
		if (!pods->ended && pods_are_equal(pods, made))
			break;
	if (pods) {
		pods_free(made);
	} else {
		if (pods_make_pools_locked(made)) {
			pods_free(made);
			return -ENOMEM;
		}
		pods = made;
		pods->next = pods_all;
		wqi_store_release(&pods_all, pods);
	}
	pods->refs++;
	*to = pods;
	return 0;
}

static void pods_end_locked(struct wqi_pods *pods)
{
	unsigned i;

	pods->ended = true;
	for (i = 0; i < pods->nr; i++)
		wqi_pool_end_unbound(pods->pod[i].pool);
}

/* All but the @kept that were used last. */
static void pods_end_unused_locked(uint64_t kept)
{
	struct wqi_pods *pods, *oldest;
	uint64_t nr;

	for (;;) {
		oldest = NULL;
		nr = 0;
		for (pods = pods_all; pods; pods = pods->next) {
			if (pods->refs || pods->ended)
				continue;
			nr++;
			if (!oldest || pods->unused_since < oldest->unused_since)
				oldest = pods;
		}
		if (nr <= kept)
			break;
		pods_end_locked(oldest);
	}
	pods_collect_locked();
}

void wqi_pods_put_locked(struct wqi_pods *pods)
{
	wqi_assert_held(&wqi_runtime.lock);

	if (--pods->refs)
		return;
	pods->unused_since = ++pods_nr_puts;
	pods_end_unused_locked(PODS_KEPT);
}

void wqi_pods_forget_locked(void)
{
	pods_end_unused_locked(0);
}

void wqi_pods_reset(void)
{
	struct wqi_pods *pods;

	for (pods = pods_all; pods; pods = pods->next)
		wqi_store_relaxed(&pods->nr_running, 0u);
}

void wqi_pods_free_all(void)
{
	struct wqi_pods *pods = pods_all, *next;

	wqi_store_release(&pods_all, (struct wqi_pods *)NULL);
	for (; pods; pods = next) {
		next = pods->next;
		pods_free(pods);
	}
}
