/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What memory a queue takes: by how much that of the process grows over many of them,
 * after a first one, which brings what queues share (the library, pools, workers).
 *
 * Resident is anonymous memory of which there are pages, by smaps_rollup: for that the
 * kernel walks the page tables, where statm answers from counters that it brings up to
 * date in batches.  Of each kind of queue there are figures for
 *          unused ones, which have been made, and no more
 *   again  the same, made after all of the former were destroyed
 *   used   these, after an item in each of their pods, or on each CPU
 *   all    what an unused one has allocated, resident or not
 */
#include "pretend.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NR_QUEUES 200u
#define MAX_CPUS  1024

struct memory_run {
	unsigned machine; /* its CPUs */
	unsigned flags;
	unsigned nr; /* queues */
	unsigned nr_used;
};

struct memory {
	double resident, allocated;
};

static struct wq *queues[NR_QUEUES];
static struct wq_work items[MAX_CPUS];
static int cpus[MAX_CPUS]; /* one of each pod */
static unsigned nr_cpus;
static unsigned nr_ran; /* atomic */

/* --- what the process has --- */

/* Into memory that is there already. */
static bool read_file(const char *path, char *text, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;

	if (fd >= 0) {
		got = read(fd, text, bytes - 1);
		close(fd);
	}
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

/* The number behind a word in the file; NAN: there is none. */
static double read_number(const char *path, const char *word)
{
	static char text[4096];
	const char *at;

	if (!read_file(path, text, sizeof(text)))
		return NAN;
	at = strstr(text, word);
	return at ? strtod(at + strlen(word), NULL) : NAN;
}

/* Until no thread comes or goes. */
static void settle(void)
{
	double before, after = read_number("/proc/self/status", "\nThreads:");

	do {
		before = after;
		bench_sleep_ns(20000000);
		after = read_number("/proc/self/status", "\nThreads:");
	} while (after > before || after < before);
}

static struct memory memory_now(void)
{
	struct mallinfo2 info;
	double data;

	settle();
	malloc_trim(0); /* what is free is not to hide what queues take */
	data = read_number("/proc/self/status", "\nVmData:") * 1024;
	info = mallinfo2();
	return (struct memory){
		.resident = read_number("/proc/self/smaps_rollup", "\nAnonymous:") * 1024,
		/* Of malloc()'s arenas what is in use; and all else. */
		.allocated = data - (double)info.arena + (double)info.uordblks,
	};
}

/* --- queues --- */

static struct wq *memory_alloc(unsigned flags)
{
	struct wq *wq = wq_alloc("bench-memory", flags, 0);

	bench_must(wq, "wq_alloc");
	return wq;
}

static void count_fn(struct wq_work *work, void *ctx)
{
	(void)work;
	(void)ctx;
	__atomic_add_fetch(&nr_ran, 1, __ATOMIC_RELAXED);
}

/* False too for a CPU that is not there. */
static bool is_lowest_of_pod(struct wq *wq, int cpu)
{
	cpu_set_t pod[MAX_CPUS / CPU_SETSIZE];
	int lowest = 0;

	if (wq_pool_cpus_read(wq, cpu, pod, sizeof(pod)))
		return false;
	while (!CPU_ISSET_S(lowest, sizeof(pod), pod))
		lowest++;
	return lowest == cpu;
}

static void find_cpus(struct wq *wq, unsigned machine, bool percpu)
{
	int cpu;

	for (cpu = 0; cpu < (int)machine; cpu++) {
		if (!percpu && !is_lowest_of_pod(wq, cpu))
			continue;
		wq_work_init(&items[nr_cpus], count_fn, NULL);
		cpus[nr_cpus++] = cpu;
	}
}

static void use(struct wq *wq)
{
	unsigned i;

	nr_ran = 0;
	for (i = 0; i < nr_cpus; i++)
		bench_must(wq_queue_on(wq, &items[i], cpus[i]) == 1, "wq_queue_on");
	bench_must(!wq_flush(wq), "wq_flush");
	bench_must(nr_ran == nr_cpus, "running every item once");
}

static void make_queues(const struct memory_run *run)
{
	unsigned i;

	for (i = 0; i < run->nr; i++)
		queues[i] = memory_alloc(run->flags);
}

static void measure(void *arg, double *values)
{
	const struct memory_run *run = arg;
	struct wq *first = memory_alloc(run->flags);
	struct memory none, unused;
	unsigned i;

	find_cpus(first, run->machine, run->flags & WQ_PERCPU);
	use(first);
	use(first);
	none = memory_now();
	make_queues(run);
	unused = memory_now();
	values[0] = (unused.resident - none.resident) / run->nr;
	values[3] = (unused.allocated - none.allocated) / run->nr;
	for (i = 0; i < run->nr; i++)
		bench_must(!wq_destroy(queues[i]), "wq_destroy");
	make_queues(run);
	values[1] = (memory_now().resident - none.resident) / run->nr;
	unused = memory_now();
	for (i = 0; i < run->nr_used; i++)
		use(queues[i]);
	values[2] = values[1] + (memory_now().resident - unused.resident) / run->nr_used;
}

/* A worker a pool, and no more: they would count in. */
static void run_memory(unsigned machine, bool quick, double *values)
{
	const unsigned nr_pods = machine < 16 ? 1 : machine / 16;
	struct memory_run run = {.machine = machine,
				 .nr = quick ? NR_QUEUES / 4 : NR_QUEUES,
				 .nr_used = quick ? 4 : NR_QUEUES};

	run.flags = 0;
	bench_pretend((struct bench_pretence){machine, nr_pods}, measure, &run, values, 4);
	run.flags = WQ_PERCPU;
	bench_pretend((struct bench_pretence){machine, machine}, measure, &run, values + 4, 4);
	run.flags = WQ_ORDERED;
	bench_pretend((struct bench_pretence){machine, 1}, measure, &run, values + 8, 4);
}

void bench_queue_memory_2(const struct bench_peer *peer, bool quick, double *values)
{
	run_memory(2, quick, values);
}

void bench_queue_memory_64(const struct bench_peer *peer, bool quick, double *values)
{
	run_memory(64, quick, values);
}

void bench_queue_memory_1024(const struct bench_peer *peer, bool quick, double *values)
{
	run_memory(1024, quick, values);
}
