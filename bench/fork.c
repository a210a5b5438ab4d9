/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long fork, exec and wait take on the main thread while many items are pending,
 * beside none: what a fork handler that looks at every item would cost.  The items'
 * memory is there and written in both cases, as copying its page tables costs more
 * than anything else here.
 */
#include "bench.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Forks whose time does not count: the first after a change finds cold caches. */
#define NR_WARM 3u

static sem_t gate_reached, gate_open, all_ran;
static uint64_t nr_ran; /* by the serial queue's items, then by the main thread */

static void gate_fn(struct bench_item *item)
{
	(void)item;
	sem_post(&gate_reached);
	while (sem_wait(&gate_open))
		;
}

static void count_fn(struct bench_item *item)
{
	nr_ran++;
	if (item->number)
		sem_post(&all_ran);
}

static uint64_t fork_exec(void)
{
	static char path[] = "/bin/true";
	char *const argv[] = {path, NULL}, *const envp[] = {NULL};
	uint64_t start = bench_now();
	int status = -1;
	pid_t child;

	child = fork();
	if (!child) {
		execve(path, argv, envp);
		_exit(127);
	}
	bench_must(child > 0, "fork");
	while (waitpid(child, &status, 0) < 0)
		bench_must(errno == EINTR, "waitpid");
	bench_must(WIFEXITED(status) && !WEXITSTATUS(status), "running /bin/true");
	return bench_now() - start;
}

static void time_forks(uint64_t *took, unsigned nr)
{
	unsigned i;

	bench_sleep_ns(20000000); /* until what was queued is sorted in, or has run */
	for (i = 0; i < NR_WARM; i++)
		fork_exec();
	for (i = 0; i < nr; i++)
		took[i] = fork_exec();
}

static void time_forks_beside(const struct bench_peer *peer, struct bench_item *items,
			      unsigned nr_items, uint64_t *took, unsigned nr)
{
	struct bench_item *gate = &items[nr_items];
	unsigned i;

	nr_ran = 0;
	peer->queue_serial(gate);
	while (sem_wait(&gate_reached))
		;
	for (i = 0; i < nr_items; i++)
		peer->queue_serial(&items[i]);
	time_forks(took, nr);
	sem_post(&gate_open);
	while (sem_wait(&all_ran))
		;
	bench_must(nr_ran == nr_items, "running every pending item once");
}

unsigned bench_fork_items(bool quick)
{
	return quick ? 200000 : 1000000;
}

void bench_fork_exec(const struct bench_peer *peer, bool quick, double *values)
{
	unsigned nr_items = bench_fork_items(quick), nr = quick ? 50 : 200, half = nr / 2, i;
	struct bench_item *items;
	uint64_t *took;

	if (!peer->queue_serial)
		return;
	items = aligned_alloc(64, (nr_items + 1) * sizeof(*items));
	took = calloc(2 * nr, sizeof(*took));
	bench_must(items && took, "allocating items");
	bench_must(!sem_init(&gate_reached, 0, 0) && !sem_init(&gate_open, 0, 0) &&
			   !sem_init(&all_ran, 0, 0),
		   "sem_init");
	for (i = 0; i < nr_items; i++) {
		peer->init(&items[i], count_fn);
		items[i].number = i == nr_items - 1;
	}
	peer->init(&items[nr_items], gate_fn);
	/* One way and back, so that a drift of the machine favours neither. */
	time_forks(took, half);
	time_forks_beside(peer, items, nr_items, took + nr, half);
	time_forks_beside(peer, items, nr_items, took + nr + half, nr - half);
	time_forks(took + half, nr - half);
	values[0] = bench_percentile_us(took, nr, 50);
	values[1] = bench_percentile_us(took + nr, nr, 50);
	for (i = 0; i <= nr_items && peer->fini; i++)
		peer->fini(&items[i]);
	free(took);
	free(items);
}
