/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wqsum: SHA-256 of every file below the given paths, in parallel, printed exactly
 * as sha256sum prints it for the same files in the same order.
 *
 * A directory stands for the regular files below it, sorted by the bytes of their
 * paths, symbolic links not followed; "-" for standard input.  Anything else is
 * read as it is named.
 */
#include <wq/wq.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#define HASH_BYTES  32
#define BLOCK_BYTES (256 * 1024)

struct job {
	struct wq_work work;
	char *path;
	int err; /* 0, or why it can't be read */
	unsigned char hash[HASH_BYTES];
};

struct list {
	char **paths;
	size_t nr, room;
};

static unsigned long jobs_done; /* atomic: for the progress bar */
static int status;

static bool bar_shown;

static void complain(const char *path, int err)
{
	if (bar_shown)
		fprintf(stderr, "\r\033[K");
	bar_shown = false;
	fprintf(stderr, "wqsum: %s: %s\n", path, strerror(err));
	status = 1;
}

static void no_memory(void)
{
	fprintf(stderr, "wqsum: out of memory\n");
	exit(1);
}

/* --- hashing: on the workers --- */

static int hash_fd(int fd, EVP_MD_CTX *md, unsigned char *hash)
{
	static __thread unsigned char block[BLOCK_BYTES];
	ssize_t got;

	if (!EVP_DigestInit_ex(md, EVP_sha256(), NULL))
		return ENOMEM;
	for (;;) {
		got = read(fd, block, sizeof(block));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			break;
		if (!EVP_DigestUpdate(md, block, (size_t)got))
			return EIO;
	}
	return EVP_DigestFinal_ex(md, hash, NULL) ? 0 : EIO;
}

static void hash_file(struct wq_work *work, void *ctx)
{
	struct job *job = ctx;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int fd = -1;

	(void)work;
	if (!md) {
		job->err = ENOMEM;
	} else if (!strcmp(job->path, "-")) {
		job->err = hash_fd(STDIN_FILENO, md, job->hash);
	} else if ((fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NOCTTY)) < 0) {
		job->err = errno;
	} else {
		posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		job->err = hash_fd(fd, md, job->hash);
	}
	if (fd >= 0)
		close(fd);
	EVP_MD_CTX_free(md);
	__atomic_fetch_add(&jobs_done, 1, __ATOMIC_RELAXED);
}

/* --- the list of files --- */

static void list_add(struct list *list, char *path)
{
	if (list->nr == list->room) {
		list->room = list->room ? 2 * list->room : 256;
		list->paths = realloc(list->paths, list->room * sizeof(*list->paths));
		if (!list->paths)
			no_memory();
	}
	list->paths[list->nr++] = path;
}

static char *join(const char *dir, const char *name)
{
	size_t length = strlen(dir);
	const char *slash = length && dir[length - 1] == '/' ? "" : "/";
	char *path;

	if (asprintf(&path, "%s%s%s", dir, slash, name) < 0)
		no_memory();
	return path;
}

static int entry_type(const struct dirent *entry, const char *path)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (lstat(path, &st)) {
		complain(path, errno);
		return DT_UNKNOWN;
	}
	return S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
}

/* Takes over @dir.  The directories still to be read are a list too: no recursion. */
static void walk(struct list *files, char *dir)
{
	struct list dirs = {NULL, 0, 0};

	list_add(&dirs, dir);
	while (dirs.nr) {
		struct dirent *entry;
		DIR *stream;

		dir = dirs.paths[--dirs.nr];
		stream = opendir(dir);
		if (!stream) {
			complain(dir, errno);
			free(dir);
			continue;
		}
		while ((errno = 0, entry = readdir(stream))) {
			char *path;
			int type;

			if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
				continue;
			path = join(dir, entry->d_name);
			type = entry_type(entry, path);
			if (type == DT_DIR)
				list_add(&dirs, path);
			else if (type == DT_REG)
				list_add(files, path);
			else
				free(path);
		}
		if (errno)
			complain(dir, errno);
		closedir(stream);
		free(dir);
	}
	free(dirs.paths);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_argument(struct list *files, const char *arg)
{
	size_t before = files->nr;
	char *path = strdup(arg);
	struct stat st;

	if (!path)
		no_memory();
	if (stat(arg, &st) || !S_ISDIR(st.st_mode)) {
		list_add(files, path); /* what can't be read is said in its turn */
		return;
	}
	walk(files, path);
	if (files->nr > before)
		qsort(files->paths + before, files->nr - before, sizeof(*files->paths),
		      compare_paths);
}

/* --- printing, in order --- */

/* As coreutils: a backslash before the line tells that the name is escaped. */
static void print_line(const struct job *job)
{
	char hex[2 * HASH_BYTES + 1];
	const char *c;
	int i;

	for (i = 0; i < HASH_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", job->hash[i]);
	printf("%s%s  ", strpbrk(job->path, "\\\n\r") ? "\\" : "", hex);
	for (c = job->path; *c; c++) {
		if (*c == '\\')
			fputs("\\\\", stdout);
		else if (*c == '\n')
			fputs("\\n", stdout);
		else if (*c == '\r')
			fputs("\\r", stdout);
		else
			putchar(*c);
	}
	putchar('\n');
}

static void print_progress(size_t nr, bool end)
{
	static int shown = -1;
	unsigned long done = __atomic_load_n(&jobs_done, __ATOMIC_RELAXED);
	int percent = nr ? (int)(done * 100 / nr) : 100, i;

	if (end) {
		fprintf(stderr, "\r\033[K");
		return;
	}
	if (percent == shown && bar_shown)
		return;
	shown = percent;
	bar_shown = true;
	fprintf(stderr, "\r[");
	for (i = 0; i < 50; i++)
		fputc(i < percent / 2 ? '#' : '.', stderr);
	fprintf(stderr, "] %3d%% of %zu files", percent, nr);
}

static int sum_files(struct list *files)
{
	bool progress = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
	struct job *jobs = calloc(files->nr ? files->nr : 1, sizeof(*jobs));
	struct wq *wq = wq_alloc("wqsum", 0, 0);
	size_t i;

	if (!jobs)
		no_memory();
	if (!wq) {
		fprintf(stderr, "wqsum: can't start the workers: %s\n", strerror(errno));
		return 1;
	}
	for (i = 0; i < files->nr; i++) {
		jobs[i].path = files->paths[i];
		wq_work_init(&jobs[i].work, hash_file, &jobs[i]);
		wq_queue(wq, &jobs[i].work);
	}
	for (i = 0; i < files->nr; i++) {
		wq_work_flush(&jobs[i].work);
		if (progress)
			print_progress(files->nr, false);
		if (jobs[i].err)
			complain(jobs[i].path, jobs[i].err);
		else
			print_line(&jobs[i]);
		free(jobs[i].path);
	}
	if (progress)
		print_progress(files->nr, true);
	wq_destroy(wq);
	free(jobs);
	return status;
}

int main(int argc, char **argv)
{
	struct list files = {NULL, 0, 0};
	int i = 1;

	if (argc > 1 && !strcmp(argv[1], "--help")) {
		printf("usage: wqsum [--] PATH...\n"
		       "Print the SHA-256 of every file below the paths, as sha256sum does.\n");
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--"))
		i++;
	if (i >= argc) {
		fprintf(stderr, "usage: wqsum [--] PATH...\n");
		return 1;
	}
	for (; i < argc; i++)
		list_argument(&files, argv[i]);
	if (sum_files(&files))
		status = 1;
	free(files.paths);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "wqsum: write error: %s\n", strerror(errno));
		return 1;
	}
	return status;
}
