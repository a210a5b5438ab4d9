/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the library's way to allocate.  Never aborts: NULL is an answer. */
#ifndef WQI_MEM_H
#define WQI_MEM_H

#include <stddef.h>

/*
 * Zeroed memory on its own cache lines, for wqi_free(); NULL where there is none.
 * Large blocks come untouched from the system: zeroed memory that nobody uses
 * costs address space only.
 */
void *wqi_zalloc(size_t bytes);
void wqi_free(void *p);

#endif /* WQI_MEM_H */
