/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The workloads, in the order in which they are run and printed. */
#include "bench.h"

#include <string.h>

#define PLAIN(workload, unit)                                                                      \
	{                                                                                          \
		.name = #workload, .run = bench_##workload, .figures = {{#workload, unit}},        \
	}

#define BEHIND(how, is_lengthy)                                                                    \
	{                                                                                          \
		.name = "behind_" #how, .run = bench_behind_##how, .alone = true,                  \
		.lengthy = is_lengthy, .table = BENCH_PAIRS,                                       \
		.figures = {{"behind_" #how, "us p50"},                                            \
			    {"behind_" #how, "us p99"},                                            \
			    {"behind_" #how "_later", "us p50"},                                   \
			    {"behind_" #how "_later", "us p99"}},                                  \
	}

#define LOAD(percent)                                                                              \
	{"latency_" #percent, "us p50"}, {"latency_" #percent, "us p99"},                          \
	{                                                                                          \
		"latency_" #percent, "us p99.9"                                                    \
	}

#define SCOPES(workload, producers)                                                                \
	{                                                                                          \
		.name = #workload, .run = bench_##workload, .own = true, .lengthy = true,          \
		.figures = {{"scope_cpu" producers, "ns/item"},                                    \
			    {"scope_smt" producers, "ns/item"},                                    \
			    {"scope_cache" producers, "ns/item"},                                  \
			    {"scope_cache_shard" producers, "ns/item"},                            \
			    {"scope_numa" producers, "ns/item"},                                   \
			    {"scope_system" producers, "ns/item"}},                                \
	}

#define TABLE(workload)                                                                            \
	{                                                                                          \
		.name = #workload, .run = bench_##workload, .alone = true, .own = true,            \
		.fresh = true, .lengthy = true,                                                    \
		.figures = {{#workload "_2", "ns"},                                                \
			    {#workload "_64", "ns"},                                               \
			    {#workload "_1024", "ns"}},                                            \
	}

#define KIND(kind, cpus)                                                                           \
	{"mem_" kind "_" #cpus, "bytes"}, {"mem_" kind "_" #cpus "_again", "bytes"},               \
		{"mem_" kind "_" #cpus "_used", "bytes"},                                          \
	{                                                                                          \
		"mem_" kind "_" #cpus "_all", "bytes"                                              \
	}

#define MEMORY(cpus)                                                                               \
	{                                                                                          \
		.name = "queue_memory_" #cpus, .run = bench_queue_memory_##cpus, .alone = true,    \
		.own = true, .fresh = true, .lengthy = true,                                       \
		.figures = {KIND("unbound", cpus), KIND("percpu", cpus), KIND("ordered", cpus)},   \
	}

const struct bench_workload bench_workloads[] = {
	PLAIN(empty_1p, "ns/item"),
	PLAIN(empty_2p, "ns/item"),
	PLAIN(empty_4p, "ns/item"),
	PLAIN(spawn_tree, "ns/item"),
	PLAIN(resubmit_chain, "ns/hop"),
	PLAIN(serial_2p, "ns/item"),
	{
		.name = "producers",
		.run = bench_producers,
		.figures = {{"producers_1", "ns/item"},
			    {"producers_2", "ns/item"},
			    {"producers_4", "ns/item"},
			    {"producers_8", "ns/item"},
			    {"producers_16", "ns/item"}},
	},
	PLAIN(pingpong_hot, "us p50"),
	PLAIN(pingpong_cold, "us p50"),
	{
		.name = "latency",
		.run = bench_latency,
		.table = BENCH_TRIPLES,
		.figures = {LOAD(25), LOAD(50), LOAD(80)},
	},
	{
		.name = "blocking_256",
		.run = bench_blocking,
		.alone = true,
		.figures = {{"blocking_first", "ms"}, {"blocking_warm", "ms"}},
	},
	{
		.name = "starvation",
		.run = bench_starvation,
		.alone = true,
		.figures = {{"starvation_first", "ms"},
			    {"starvation", "ms"},
			    {"starvation_switches", "per item"}},
	},
	{
		.name = "percpu",
		.run = bench_percpu,
		.own = true,
		.figures = {{"percpu_1p", "ns/item"}, {"percpu_2p", "ns/item"}},
	},
	{
		.name = "cancel_flush",
		.run = bench_cancel_flush,
		.own = true,
		.figures = {{"cancel_pending", "ns"},
			    {"cancel_sync_idle", "ns"},
			    {"flush_idle", "ns"},
			    {"flush_queue_idle", "ns"}},
	},
	{
		.name = "closure",
		.run = bench_closure,
		.own = true,
		.figures = {{"embedded_item", "ns/item"},
			    {"call", "ns/item"},
			    {"closure_enqueue", "ns/item"}},
	},
	SCOPES(scopes_1p, "_1p"),
	SCOPES(scopes, ""),
	{
		.name = "limits",
		.run = bench_limits,
		.own = true,
		.table = BENCH_LIMITS,
		.figures = {{"limit_exchange", "ns"},
			    {"limit_mutex", "ns"},
			    {"limit_queue", "ns/item"},
			    {"limit_futex_one_cpu", "us"},
			    {"limit_futex_two_cpus", "us"},
			    {"limit_threads_first", "ms"},
			    {"limit_threads_warm", "ms"}},
	},
	BEHIND(pipe, true),
	BEHIND(mutex, true),
	BEHIND(file, true),
	BEHIND(sleep, false),
	{
		.name = "idle",
		.run = bench_idle,
		.alone = true,
		.figures = {{"idle_switches", "number"}, {"idle_cpu", "us"}},
	},
	{
		.name = "timer_arm_cancel",
		.run = bench_timer_arm_cancel,
		.alone = true,
		.timers = true,
		.figures = {{"timer_arm", "ns"},
			    {"timer_arm_cpu", "ns"},
			    {"timer_cancel", "ns"},
			    {"timer_cancel_cpu", "ns"},
			    {"timer_cancel_settled", "ns"}},
	},
	{
		.name = "timer_arm_2p",
		.run = bench_timer_arm_2p,
		.lengthy = true,
		.alone = true,
		.timers = true,
		.figures = {{"timer_arm_2p", "ns"}, {"timer_cancel_cross", "ns"}},
	},
	{
		.name = "timer_10m",
		.run = bench_timer_10m,
		.lengthy = true,
		.alone = true,
		.timers = true,
		.figures = {{"timer_10m_arm", "ns"},
			    {"timer_10m_cancel", "ns"},
			    {"timer_10m_memory", "bytes"}},
	},
	{
		.name = "timer_late",
		.run = bench_timer_late,
		.alone = true,
		.timers = true,
		.figures = {{"timer_late_p50", "us"},
			    {"timer_late_p99", "us"},
			    {"timer_early", "number"}},
	},
	{
		.name = "timer_fire",
		.run = bench_timer_fire,
		.lengthy = true,
		.alone = true,
		.timers = true,
		.figures = {{"timer_fire_cpu", "ns"}},
	},
	{
		.name = "timer_idle",
		.run = bench_timer_idle,
		.lengthy = true,
		.alone = true,
		.timers = true,
		.figures = {{"timer_idle_switches", "number"}, {"timer_idle_cpu", "us"}},
	},
	TABLE(table),
	TABLE(table_percpu),
	{
		.name = "topology",
		.run = bench_topology,
		.lengthy = true,
		.alone = true,
		.own = true,
		.fresh = true,
		.figures = {{"topology_none", "us"},
			    {"topology_first", "us"},
			    {"topology_later", "us"},
			    {"topology_later_2", "us"},
			    {"topology_later_64", "us"},
			    {"topology_later_1024", "us"}},
	},
	MEMORY(2),
	MEMORY(64),
	MEMORY(1024),
	{
		.name = "fork_exec",
		.run = bench_fork_exec,
		.lengthy = true,
		.table = BENCH_FORKS,
		.figures = {{"fork_exec", "us p50"}, {"fork_exec_pending", "us p50"}},
	},
};

const unsigned bench_nr_workloads = sizeof(bench_workloads) / sizeof(bench_workloads[0]);

_Static_assert(sizeof(bench_workloads) / sizeof(bench_workloads[0]) <= BENCH_MAX_WORKLOADS,
	       "room for the results");

static bool is_known(const char *const *names, const char *name)
{
	while (*names && strcmp(*names, name))
		names++;
	return *names;
}

bool bench_applies(const struct bench_workload *workload, const struct bench_peer *peer)
{
	if (peer->program)
		return is_known(peer->workloads, workload->name);
	if (workload->own)
		return peer == bench_peers[bench_nr_peers - 1];
	return workload->timers ? peer->timers != NULL : peer->queue != NULL;
}

void bench_run(const struct bench_workload *workload, const struct bench_peer *peer, bool quick,
	       double *values)
{
	unsigned f;

	for (f = 0; f < BENCH_MAX_FIGURES; f++)
		values[f] = NAN;
	if (bench_applies(workload, peer))
		workload->run(peer, quick, values);
}
