/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns how the library's descriptors are kept out of the program's way. */
#ifndef WQI_FD_H
#define WQI_FD_H

#include <stdbool.h>

/*
 * Give a descriptor a number from 700 on, or from half of the limit on where that is lower:
 * far above those that programs get by themselves.  Close-on-exec.  Returns it, or @fd as
 * it was if none is to be had.  errno is kept.
 */
int wqi_fd_raise(int fd);

/*
 * Give the calling thread, for good, a table of descriptors of its own with nothing in it.  False:
 * the kernel can't, and nothing has changed.  It copies up to the first 64 of the process's for
 * that, and closes the copies at once.
 */
bool wqi_fd_leave_all(void);

#endif /* WQI_FD_H */
