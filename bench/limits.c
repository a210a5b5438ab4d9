/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the machine itself takes, which no library gets below: a locked exchange, a mutex that
 * nobody else wants, waking another thread and being woken by it on one CPU and across two, and
 * a queue of one producer and one consumer that takes items in batches.
 */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- one thread --- */

static uint32_t word __attribute__((aligned(128)));

static double exchange_ns(uint64_t nr)
{
	uint64_t start = bench_now(), i;

	for (i = 0; i < nr; i++)
		__atomic_exchange_n(&word, (uint32_t)i, __ATOMIC_SEQ_CST);
	return (double)(bench_now() - start) / (double)nr;
}

static double mutex_ns(uint64_t nr)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	uint64_t start = bench_now(), i;

	for (i = 0; i < nr; i++) {
		pthread_mutex_lock(&mutex);
		pthread_mutex_unlock(&mutex);
	}
	return (double)(bench_now() - start) / (double)nr;
}

/* --- there and back, each side sleeping meanwhile --- */

struct partner {
	pthread_t thread;
	unsigned cpu;
	uint32_t trips;
};

static void futex_wait_for(uint32_t value)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(&word, __ATOMIC_SEQ_CST)) != value)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_set(uint32_t value)
{
	__atomic_store_n(&word, value, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void *futex_echo(void *arg)
{
	const struct partner *partner = arg;
	uint32_t i;

	bench_must(bench_pin(partner->cpu), "moving to a CPU");
	for (i = 1; i <= 2 * partner->trips; i += 2) {
		futex_wait_for(i);
		futex_set(i + 1);
	}
	return NULL;
}

/* In µs; NAN: there is no such CPU. */
static double futex_us(unsigned cpu, uint32_t trips)
{
	struct partner partner = {.cpu = cpu, .trips = trips};
	cpu_set_t before;
	uint64_t start;
	uint32_t i;

	if (bench_nr_cpus() <= cpu)
		return NAN;
	bench_must(!sched_getaffinity(0, sizeof(before), &before), "sched_getaffinity");
	word = 0;
	bench_must(!pthread_create(&partner.thread, NULL, futex_echo, &partner), "making a thread");
	bench_must(bench_pin(0), "moving to a CPU");
	start = bench_now();
	for (i = 1; i <= 2 * trips; i += 2) {
		futex_set(i);
		futex_wait_for(i + 1);
	}
	start = bench_now() - start;
	pthread_join(partner.thread, NULL);
	bench_must(!pthread_setaffinity_np(pthread_self(), sizeof(before), &before), "moving back");
	return (double)start / 1000 / trips;
}

/* --- one producer, one consumer --- */

/* How long the consumer leaves the producer alone after it has found nothing. */
#define PAUSE_NS 20000u

struct node {
	struct node *next;
	void (*fn)(struct node *node);
} __attribute__((aligned(64)));

static struct node *top __attribute__((aligned(128)));
static uint64_t nr_run __attribute__((aligned(128))); /* the consumer's, then the main thread's */

static void node_fn(struct node *node)
{
	(void)node;
	nr_run++;
}

/* All there are, with one exchange; newest first, so they are turned round. */
static struct node *take_all(void)
{
	struct node *node = __atomic_exchange_n(&top, NULL, __ATOMIC_SEQ_CST), *first = NULL;

	while (node) {
		struct node *next = node->next;

		node->next = first;
		first = node;
		node = next;
	}
	return first;
}

static void *consume(void *arg)
{
	uint64_t nr = *(uint64_t *)arg;

	while (nr_run < nr) {
		struct node *node = take_all();
		uint64_t until = bench_now() + PAUSE_NS;

		while (!node && bench_now() < until)
			sched_yield();
		while (node) {
			struct node *next = node->next;

			node->fn(node);
			node = next;
		}
	}
	return NULL;
}

static double queue_ns(uint64_t nr)
{
	struct node *nodes = aligned_alloc(64, nr * sizeof(*nodes));
	pthread_t consumer;
	uint64_t start, i;

	bench_must(nodes, "allocating items");
	for (i = 0; i < nr; i++)
		nodes[i] = (struct node){.fn = node_fn};
	nr_run = 0;
	bench_must(!pthread_create(&consumer, NULL, consume, &nr), "making a thread");
	start = bench_now();
	for (i = 0; i < nr; i++) {
		nodes[i].next = __atomic_load_n(&top, __ATOMIC_RELAXED);
		while (!__atomic_compare_exchange_n(&top, &nodes[i].next, &nodes[i], false,
						    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			;
	}
	pthread_join(consumer, NULL);
	start = bench_now() - start;
	bench_must(nr_run == nr, "running every item once");
	free(nodes);
	return (double)start / (double)nr;
}

/* --- threads that sleep 20 ms: made for it, and there already --- */

#define NR_THREADS 256u
#define SLEEP_NS   20000000u

static struct {
	pthread_t threads[NR_THREADS];
	sem_t go, done;
} sleepers;

static void *sleeper_main(void *arg)
{
	(void)arg;
	bench_sleep_ns(SLEEP_NS);
	sem_post(&sleepers.done);
	while (sem_wait(&sleepers.go))
		;
	bench_sleep_ns(SLEEP_NS);
	sem_post(&sleepers.done);
	return NULL;
}

static void sleepers_wait(unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		while (sem_wait(&sleepers.done))
			;
}

/* In ms. */
static void sleepers_run(unsigned nr, double *first, double *warm)
{
	uint64_t start = bench_now();
	unsigned i;

	bench_must(!sem_init(&sleepers.go, 0, 0) && !sem_init(&sleepers.done, 0, 0), "sem_init");
	for (i = 0; i < nr; i++)
		bench_must(!pthread_create(&sleepers.threads[i], NULL, sleeper_main, NULL),
			   "making a thread");
	sleepers_wait(nr);
	*first = (double)(bench_now() - start) / 1e6;
	bench_sleep_ns(SLEEP_NS); /* until they all wait */
	start = bench_now();
	for (i = 0; i < nr; i++)
		sem_post(&sleepers.go);
	sleepers_wait(nr);
	*warm = (double)(bench_now() - start) / 1e6;
	for (i = 0; i < nr; i++)
		pthread_join(sleepers.threads[i], NULL);
	sem_destroy(&sleepers.go);
	sem_destroy(&sleepers.done);
}

void bench_limits(const struct bench_peer *peer, bool quick, double *values)
{
	uint64_t nr = quick ? 400000 : 4000000;

	(void)peer;
	values[0] = exchange_ns(nr);
	values[1] = mutex_ns(nr);
	values[2] = queue_ns(nr / 2);
	values[3] = futex_us(0, quick ? 2000 : 20000);
	values[4] = futex_us(1, quick ? 1000 : 10000);
	sleepers_run(quick ? 32 : NR_THREADS, &values[5], &values[6]);
}
