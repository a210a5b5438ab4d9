/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns where the library's descriptors have their numbers: out of the program's way. */
#ifndef WQI_FD_H
#define WQI_FD_H

/*
 * Give a descriptor a number from 700 on, or from half of the limit on where that is lower:
 * far above those that programs get by themselves.  Close-on-exec.  Returns it, or @fd as
 * it was if none is to be had.  errno is kept.
 */
int wqi_fd_raise(int fd);

#endif /* WQI_FD_H */
