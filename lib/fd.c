/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the numbers of descriptors, and the leaving of the program's. */
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FD_FIRST 700

int wqi_fd_raise(int fd)
{
	struct rlimit limit;
	int first = FD_FIRST, high, saved = errno;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 2 < FD_FIRST)
		first = (int)(limit.rlim_cur / 2);
	high = fcntl(fd, F_DUPFD_CLOEXEC, first);
	errno = saved;
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

bool wqi_fd_leave_all(void)
{
	int saved = errno;
	bool left = !syscall(SYS_close_range, 0u, ~0u, CLOSE_RANGE_UNSHARE);

	errno = saved;
	return left;
}
