/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the library's way to allocate.  Never aborts: NULL is an answer. */
#ifndef WQI_MEM_H
#define WQI_MEM_H

#include <stddef.h>

/*
 * Zeroed memory on its own cache lines, to be given back with its size; NULL where
 * there is none.  Large blocks come untouched from the system: what of them nobody
 * uses costs address space only.
 */
void *wqi_zalloc(size_t bytes);
void wqi_free(void *p, size_t bytes);

#endif /* WQI_MEM_H */
