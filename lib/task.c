/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns reading a thread's state and CPU time. */
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fd.h"

/* "/proc/self/task/4194304/stat", written without stdio: a sentinel takes no lock. */
static void task_path(char *path, pid_t tid)
{
	static const char before[] = "/proc/self/task/", after[] = "/stat";
	char digits[12];
	size_t nr = 0;

	memcpy(path, before, sizeof(before) - 1);
	path += sizeof(before) - 1;
	do
		digits[nr++] = (char)('0' + tid % 10);
	while ((tid /= 10));
	while (nr)
		*path++ = digits[--nr];
	memcpy(path, after, sizeof(after));
}

/* "TID (name) S ...": the name has at most 15 characters, of any kind. */
static char task_parse_state(const char *line, size_t nr)
{
	const char *end = memrchr(line, ')', nr < 40 ? nr : 40);

	return end && end + 2 < line + nr ? end[2] : 0;
}

/*
 * Opened for each look (6 to 9 µs): a descriptor kept open for each worker (3 µs) would
 * take hundreds of them, and could be closed under us and be another's.
 */
char wqi_task_state(pid_t tid)
{
	char path[48], line[64], state = 0;
	int saved = errno, fd;
	ssize_t nr;

	if (tid <= 0)
		return 0;
	task_path(path, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		nr = pread(fd, line, sizeof(line), 0); /* not our file? it is left as it was */
		if (nr > 0)
			state = task_parse_state(line, (size_t)nr);
		close(fd);
	}
	errno = saved;
	return state;
}

/* --- by descriptors that are kept --- */

void wqi_task_files_begin(struct wqi_task_files *files)
{
	memset(files, 0, sizeof(*files));
	files->own = wqi_fd_leave_all();
}

/*
 * As system calls, all of it: tools that know descriptors by their numbers take them for the
 * program's.  The offset is 0, in however many registers the processor has it.
 */
static char task_read_state(int fd)
{
	char line[64];
	long nr = syscall(SYS_pread64, fd, line, sizeof(line), 0, 0, 0);

	return nr > 0 ? task_parse_state(line, (size_t)nr) : 0;
}

static void task_close(struct wqi_task_file *file)
{
	if (file->tid)
		syscall(SYS_close, file->fd);
	file->tid = 0;
}

static void task_close_all(struct wqi_task_files *files)
{
	unsigned i;

	for (i = 0; i < WQI_TASK_FILES; i++)
		task_close(&files->file[i]);
}

/* Where the limit is so low that no more fit, it begins anew at the next look. */
static char task_open(struct wqi_task_files *files, struct wqi_task_file *file, pid_t tid)
{
	char path[48];

	task_path(path, tid);
	file->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (file->fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			task_close_all(files);
		return 0;
	}
	file->tid = tid;
	return task_read_state(file->fd);
}

/* The number may be another thread's by now: of one that has ended nothing can be read. */
char wqi_task_state_by(struct wqi_task_files *files, pid_t tid)
{
	struct wqi_task_file *file;
	int saved = errno;
	char state = 0;

	if (!files || !files->own || tid <= 0)
		return wqi_task_state(tid);
	file = &files->file[(unsigned)tid % WQI_TASK_FILES];
	if (file->tid == tid)
		state = task_read_state(file->fd);
	if (!state) {
		task_close(file);
		state = task_open(files, file, tid);
	}
	errno = saved;
	return state;
}

/* As pthread_getcpuclockid() makes it: the thread is named by number, and may be gone. */
static clockid_t task_cpu_clock(pid_t tid)
{
	return (clockid_t)((~(unsigned)tid << 3) | 6u);
}

static uint64_t task_clock_ns(clockid_t clock, bool *read)
{
	struct timespec ts = {0, 0};
	int saved = errno;

	*read = !clock_gettime(clock, &ts);
	errno = saved;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool wqi_task_cpu_ns(pid_t tid, uint64_t *ns)
{
	bool read;

	*ns = task_clock_ns(task_cpu_clock(tid), &read);
	return read;
}

uint64_t wqi_task_own_cpu_ns(void)
{
	bool read;

	return task_clock_ns(CLOCK_THREAD_CPUTIME_ID, &read);
}
