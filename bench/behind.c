/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long an item waits behind one that is blocked, on the same CPU, which has nothing
 * else to do: from queueing it to its start.  Either both are queued before the first
 * starts, or the second 1 ms after the first has blocked.  The first goes on when the
 * second has started, at the latest 20 ms after that was queued.
 */
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCKED_NS 20000000u

/* Ways to block: the first item's part, and the main thread's before and after it. */
struct way {
	bool (*open)(void); /* false: not possible here */
	void (*prepare)(void);
	void (*block)(void);
	void (*release)(void);
	void (*close)(void);
};

static const struct way *way;
static const struct bench_peer *peer_now;
static struct bench_item *gate, *first, *second;
static sem_t gate_runs, first_blocks, second_runs, one_ended;
static bool gate_open, released; /* atomic */
static uint64_t queued_at, started_at;

/* --- a pipe, a mutex, a sleep --- */

static int pipe_fds[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static bool pipe_open(void)
{
	return !pipe2(pipe_fds, O_CLOEXEC);
}

static void pipe_block(void)
{
	char byte;

	while (read(pipe_fds[0], &byte, 1) < 0)
		bench_must(errno == EINTR, "read");
}

static void pipe_release(void)
{
	bench_must(write(pipe_fds[1], "x", 1) == 1, "write");
}

static void pipe_close(void)
{
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void mutex_prepare(void)
{
	pthread_mutex_lock(&mutex);
}

static void mutex_block(void)
{
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
}

static void mutex_release(void)
{
	pthread_mutex_unlock(&mutex);
}

static void sleep_block(void)
{
	bench_sleep_ns(BLOCKED_NS);
}

/* --- reading one cold page of a file after the other --- */

#define PAGE_BYTES 4096u
#define NR_PAGES   4096u

static int file_fd;
static unsigned file_page;
static char file_block[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));

static void file_prepare(void)
{
	posix_fadvise(file_fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* Does the page cache give the file's pages back? */
static bool file_gets_cold(void)
{
	struct iovec iov = {file_block, sizeof(file_block)};

	file_prepare();
	return preadv2(file_fd, &iov, 1, 0, RWF_NOWAIT) < 0 && errno == EAGAIN;
}

static bool file_open(void)
{
	char path[64], self[32];
	unsigned i;
	int direct;

	snprintf(path, sizeof(path), "/var/tmp/wq-bench.%d", (int)getpid());
	file_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file_fd < 0)
		return false;
	unlink(path);
	posix_fadvise(file_fd, 0, 0, POSIX_FADV_RANDOM);
	for (i = 0; i < NR_PAGES; i++)
		if (write(file_fd, file_block, sizeof(file_block)) != sizeof(file_block))
			goto no;
	if (fsync(file_fd))
		goto no;
	if (file_gets_cold())
		return true;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", file_fd);
	direct = open(self, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (direct < 0)
		goto no;
	close(file_fd);
	file_fd = direct;
	return true;
no:
	close(file_fd);
	return false;
}

static void file_block_here(void)
{
	uint64_t until = bench_now() + BLOCKED_NS;

	do {
		file_page = (file_page + 1597) % NR_PAGES;
		bench_must(pread(file_fd, file_block, sizeof(file_block),
				 (off_t)file_page * PAGE_BYTES) == sizeof(file_block),
			   "pread");
	} while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE) && bench_now() < until);
}

static void file_close(void)
{
	close(file_fd);
}

/* --- the items --- */

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem))
		;
}

static void gate_fn(struct bench_item *item)
{
	(void)item;
	sem_post(&gate_runs);
	while (!__atomic_load_n(&gate_open, __ATOMIC_ACQUIRE))
		; /* it computes: what comes behind it is queued meanwhile */
	sem_post(&one_ended);
}

static void first_fn(struct bench_item *item)
{
	(void)item;
	sem_post(&first_blocks);
	way->block();
	sem_post(&one_ended);
}

static void second_fn(struct bench_item *item)
{
	(void)item;
	started_at = bench_now();
	sem_post(&second_runs);
	sem_post(&one_ended);
}

/* --- a sample --- */

static void queue_together(void *arg)
{
	(void)arg;
	peer_now->queue_one_cpu(gate);
	wait_for(&gate_runs);
	peer_now->queue_one_cpu(first);
	queued_at = bench_now();
	peer_now->queue_one_cpu(second);
	__atomic_store_n(&gate_open, true, __ATOMIC_RELEASE);
}

static void queue_first(void *arg)
{
	(void)arg;
	peer_now->queue_one_cpu(first);
}

static void queue_second(void *arg)
{
	(void)arg;
	queued_at = bench_now();
	peer_now->queue_one_cpu(second);
}

static bool second_runs_in_time(void)
{
	struct timespec until;
	int ret;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += BLOCKED_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while ((ret = sem_clockwait(&second_runs, CLOCK_MONOTONIC, &until)) && errno == EINTR)
		;
	return !ret;
}

static uint64_t sample(bool later)
{
	bool in_time;
	int nr_items = later ? 2 : 3;

	gate_open = false;
	__atomic_store_n(&released, false, __ATOMIC_RELEASE);
	if (way->prepare)
		way->prepare();
	if (later) {
		bench_call(peer_now, queue_first, NULL);
		wait_for(&first_blocks);
		bench_sleep_ns(1000000);
		bench_call(peer_now, queue_second, NULL);
	} else {
		bench_call(peer_now, queue_together, NULL);
		wait_for(&first_blocks);
	}
	in_time = second_runs_in_time();
	__atomic_store_n(&released, true, __ATOMIC_RELEASE);
	if (way->release)
		way->release();
	if (!in_time)
		wait_for(&second_runs);
	while (nr_items--)
		wait_for(&one_ended);
	if (peer_now->settle)
		peer_now->settle();
	bench_sleep_ns(500000); /* until all threads sleep */
	return started_at - queued_at;
}

/* So that the last CPU is idle but for the items. */
static void stay_on_first_cpu(void)
{
	cpu_set_t all, one;
	int cpu = 0;

	bench_must(!sched_getaffinity(0, sizeof(all), &all), "sched_getaffinity");
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	bench_must(!sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

static void behind(const struct bench_peer *peer, bool quick, const struct way *this_way,
		   double *values)
{
	unsigned nr = quick ? 5 : 110, later, i;
	struct bench_item *items;
	uint64_t took[110];

	way = this_way;
	peer_now = peer;
	if (!peer->queue_one_cpu || (way->open && !way->open()))
		return;
	/* libuv's pool has a size for the whole process, and starts with the first item. */
	bench_must(!setenv("UV_THREADPOOL_SIZE", "1", 1), "setenv");
	bench_must(!sem_init(&gate_runs, 0, 0) && !sem_init(&first_blocks, 0, 0) &&
			   !sem_init(&second_runs, 0, 0) && !sem_init(&one_ended, 0, 0),
		   "sem_init");
	items = bench_begin(peer, 3, 0, gate_fn);
	gate = &items[0];
	first = &items[1];
	second = &items[2];
	first->fn = first_fn;
	second->fn = second_fn;
	sample(true); /* makes threads, which may run on all CPUs */
	stay_on_first_cpu();
	for (later = 0; later < 2; later++) {
		sample(later);
		for (i = 0; i < nr; i++)
			took[i] = sample(later);
		values[2 * later] = bench_percentile_us(took, nr, 50);
		values[2 * later + 1] = bench_percentile_us(took, nr, 99);
	}
	bench_end();
	if (way->close)
		way->close();
}

void bench_behind_pipe(const struct bench_peer *peer, bool quick, double *values)
{
	static const struct way pipe_way = {
		.open = pipe_open,
		.block = pipe_block,
		.release = pipe_release,
		.close = pipe_close,
	};

	behind(peer, quick, &pipe_way, values);
}

void bench_behind_mutex(const struct bench_peer *peer, bool quick, double *values)
{
	static const struct way mutex_way = {
		.prepare = mutex_prepare,
		.block = mutex_block,
		.release = mutex_release,
	};

	behind(peer, quick, &mutex_way, values);
}

void bench_behind_file(const struct bench_peer *peer, bool quick, double *values)
{
	static const struct way file_way = {
		.open = file_open,
		.prepare = file_prepare,
		.block = file_block_here,
		.close = file_close,
	};

	behind(peer, quick, &file_way, values);
}

void bench_behind_sleep(const struct bench_peer *peer, bool quick, double *values)
{
	static const struct way sleep_way = {.block = sleep_block};

	behind(peer, quick, &sleep_way, values);
}
