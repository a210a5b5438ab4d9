/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns reading a thread's state and CPU time. */
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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
 * Opened for each look (6 µs): a descriptor kept open for each worker (3 µs) would
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
