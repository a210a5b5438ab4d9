/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How CPUs are divided into pods, and where items run: on a strict queue, in the pod of
 * the CPU from which they were queued.  WQ_TOPOLOGY="node:2 l3:2 core:4 pu:2" shows it of a
 * machine that is not there; no thread is pinned then, so it is not asked who ran where.
 * Of more than 1024 CPUs the first are shown, as many as a cpu_set_t has.
 */
#include <wq/wq.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* By the CPU from which they are queued. */
static struct wq_work jobs[CPU_SETSIZE];
static int ran_on[CPU_SETSIZE];

static void job_fn(struct wq_work *work, void *ctx)
{
	(void)ctx;
	ran_on[work - jobs] = sched_getcpu();
}

static void print_cpus(const cpu_set_t *cpus)
{
	const char *before = " ";
	int cpu, last;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu = last + 1) {
		last = cpu;
		if (!CPU_ISSET(cpu, cpus))
			continue;
		while (CPU_ISSET(last + 1, cpus))
			last++;
		printf(last > cpu ? "%s%d-%d" : "%s%d", before, cpu, last);
		before = ",";
	}
}

/* Each once, and how many items it has run, if any. */
static void print_pods(struct wq *wq, const char *title)
{
	struct wq_pool_stats pool;
	cpu_set_t pod, printed;
	int cpu;

	CPU_ZERO(&printed);
	printf("%s:", title);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (wq_pool_cpus_read(wq, cpu, &pod, sizeof(pod)) || !CPU_ISSET(cpu, &pod) ||
		    CPU_ISSET(cpu, &printed))
			continue;
		print_cpus(&pod);
		CPU_OR(&printed, &printed, &pod);
		wq_pool_stats_read(wq, cpu, &pool, sizeof(pool));
		if (pool.started)
			printf(" (%d items)", (int)pool.started);
	}
	printf("\n");
}

/* An item from each CPU.  Returns how many ran outside their pod. */
static int run_jobs(struct wq *wq)
{
	cpu_set_t pod;
	int cpu, astray = 0;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		wq_work_init(&jobs[cpu], job_fn, NULL);
		if (!wq_pool_cpus_read(wq, cpu, &pod, sizeof(pod)))
			wq_queue_on(wq, &jobs[cpu], cpu); /* as wq_queue() there */
	}
	wq_flush(wq);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (!wq_pool_cpus_read(wq, cpu, &pod, sizeof(pod)))
			astray += !CPU_ISSET(ran_on[cpu], &pod);
	return astray;
}

static struct wq *alloc_strict(enum wq_affn_scope scope)
{
	struct wq_attrs attrs;
	struct wq *wq;

	wq_attrs_init(&attrs);
	wq_attrs_set_affinity(&attrs, scope);
	wq_attrs_set_strict(&attrs, true);
	wq = wq_alloc_attrs("pods", 0, 0, &attrs);
	wq_attrs_fini(&attrs);
	if (!wq) {
		perror("11_affinity: wq_alloc_attrs");
		exit(1);
	}
	return wq;
}

int main(void)
{
	static const char *const names[] = {"CPUs",   "cores", "caches",
					    "shards", "nodes", "machine"};
	struct wq *wq;
	int i, astray;

	for (i = WQ_AFFN_CPU; i <= WQ_AFFN_SYSTEM; i++) {
		wq = alloc_strict((enum wq_affn_scope)i);
		print_pods(wq, names[i]);
		wq_destroy(wq);
	}
	wq = alloc_strict(WQ_AFFN_CACHE_SHARD);
	astray = run_jobs(wq);
	print_pods(wq, "an item queued from each CPU");
	if (!getenv("WQ_TOPOLOGY"))
		printf("outside their pod ran %d\n", astray);
	return wq_destroy(wq) ? 1 : 0;
}
