/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A pipeline: compress a file with zstd, in chunks, in parallel, written in their order.
 * The main thread reads; a chunk's compression is an item of an unbound queue, its writing one of
 * an ordered queue that waits for the former.  So many chunks are on their way at once, and no
 * more.  Each is a frame of its own; zstd reads them as one file.
 *
 * usage: wqzstd LEVEL IN OUT
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <wq/wq.h>

/*
 * Twice as much as a job of zstd's own threads has at its default level: those begin with what
 * the job before has ended with, so they lose less by being apart.
 */
#define CHUNK_BYTES (16u << 20)

struct chunk {
	struct wq_work compress, write;
	ZSTD_CCtx *zstd;
	char *in, *out;
	size_t in_bytes, out_bytes;
};

static struct wq *compressing, *writing;
static sem_t nr_free; /* chunks; they become free in their order */
static int out_fd;

static void die(const char *what)
{
	fprintf(stderr, "wqzstd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void compress_fn(struct wq_work *work, void *ctx)
{
	struct chunk *chunk = ctx;

	(void)work;
	chunk->out_bytes = ZSTD_compress2(chunk->zstd, chunk->out, ZSTD_compressBound(CHUNK_BYTES),
					  chunk->in, chunk->in_bytes);
	if (ZSTD_isError(chunk->out_bytes)) {
		fprintf(stderr, "wqzstd: %s\n", ZSTD_getErrorName(chunk->out_bytes));
		exit(1);
	}
}

static void write_fn(struct wq_work *work, void *ctx)
{
	struct chunk *chunk = ctx;
	size_t done = 0;
	ssize_t got;

	(void)work;
	if (wq_work_flush(&chunk->compress) < 0)
		die("wq_work_flush");
	while (done < chunk->out_bytes) {
		got = write(out_fd, chunk->out + done, chunk->out_bytes - done);
		if (got < 0 && errno != EINTR)
			die("write");
		done += got > 0 ? (size_t)got : 0;
	}
	sem_post(&nr_free);
}

/* Fewer only at the end of the file. */
static size_t read_all(int fd, char *to, size_t bytes)
{
	size_t done = 0;
	ssize_t got = 1;

	while (done < bytes && got) {
		got = read(fd, to + done, bytes - done);
		if (got < 0 && errno != EINTR)
			die("read");
		done += got > 0 ? (size_t)got : 0;
	}
	return done;
}

static void chunk_init(struct chunk *chunk, int level)
{
	wq_work_init(&chunk->compress, compress_fn, chunk);
	wq_work_init(&chunk->write, write_fn, chunk);
	chunk->zstd = ZSTD_createCCtx();
	chunk->in = malloc(CHUNK_BYTES);
	chunk->out = malloc(ZSTD_compressBound(CHUNK_BYTES));
	if (!chunk->zstd || !chunk->in || !chunk->out)
		die("memory");
	ZSTD_CCtx_setParameter(chunk->zstd, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(chunk->zstd, ZSTD_c_checksumFlag, 1); /* as the program zstd does */
}

static void chunk_fini(struct chunk *chunk)
{
	ZSTD_freeCCtx(chunk->zstd);
	free(chunk->in);
	free(chunk->out);
}

static void run(struct chunk *chunks, unsigned nr, int in_fd)
{
	bool more = true, first = true;
	unsigned i;

	for (i = 0; more; i = (i + 1) % nr) {
		struct chunk *chunk = &chunks[i];

		while (sem_wait(&nr_free))
			;
		/* Its writing has ended but for the return, and may be queued again. */
		chunk->in_bytes = read_all(in_fd, chunk->in, CHUNK_BYTES);
		more = chunk->in_bytes == CHUNK_BYTES;
		/* An empty file is a frame, too. */
		if (!chunk->in_bytes && !first)
			break;
		if (wq_queue(compressing, &chunk->compress) != 1 ||
		    wq_queue(writing, &chunk->write) != 1)
			die("wq_queue");
		first = false;
	}
	if (wq_flush(writing))
		die("wq_flush");
}

int main(int argc, char **argv)
{
	struct chunk *chunks;
	unsigned nr, i;
	cpu_set_t cpus;
	int in_fd;

	if (argc != 4) {
		fprintf(stderr, "usage: wqzstd LEVEL IN OUT\n");
		return 2;
	}
	in_fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (in_fd < 0)
		die(argv[2]);
	out_fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (out_fd < 0)
		die(argv[3]);
	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		die("sched_getaffinity");
	/* One being read, one being written, and one for each CPU. */
	nr = (unsigned)CPU_COUNT(&cpus) + 2;
	chunks = calloc(nr, sizeof(*chunks));
	compressing = wq_alloc("compress", 0, 0);
	writing = wq_alloc("write", WQ_ORDERED, 0);
	if (!chunks || !compressing || !writing || sem_init(&nr_free, 0, nr))
		die("starting");
	for (i = 0; i < nr; i++)
		chunk_init(&chunks[i], atoi(argv[1]));
	run(chunks, nr, in_fd);
	for (i = 0; i < nr; i++)
		chunk_fini(&chunks[i]);
	free(chunks);
	if (wq_destroy(compressing) || wq_destroy(writing) || close(out_fd))
		die("ending");
	return 0;
}
