/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns aligned zeroed allocation.  Keeps no caches. */
#include "mem.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "atomic.h"
#include "testing.h"

/* From here on calloc() is trusted not to touch what comes fresh from the system. */
#define MEM_LARGE (128u * 1024)

/*
 * A large block is aligned by hand, with calloc()'s own pointer before it: a leak
 * checker then sees only a pointer into it, so small ones, which all programs
 * have, are not made that way.
 */
void *wqi_zalloc(size_t bytes)
{
	size_t room = WQI_CACHE_LINE + sizeof(void *);
	int saved = errno;
	uintptr_t at;
	void *p;

	if (wqi_fault_now(WQI_FAULT_ALLOC) || bytes > SIZE_MAX - room)
		return NULL;
	if (bytes < MEM_LARGE) {
		bytes = (bytes + WQI_CACHE_LINE - 1) & ~(size_t)(WQI_CACHE_LINE - 1);
		p = aligned_alloc(WQI_CACHE_LINE, bytes);
		errno = saved;
		return p ? memset(p, 0, bytes) : NULL;
	}
	p = calloc(1, bytes + room);
	errno = saved;
	if (!p)
		return NULL;
	at = ((uintptr_t)p + room) & ~(uintptr_t)(WQI_CACHE_LINE - 1);
	((void **)at)[-1] = p;
	return (void *)at;
}

void wqi_free(void *p, size_t bytes)
{
	if (p && bytes >= MEM_LARGE)
		p = ((void **)p)[-1];
	free(p);
}
