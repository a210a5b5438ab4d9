/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns aligned zeroed allocation.  Keeps no caches. */
#include "mem.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "atomic.h"
#include "testing.h"

/* Not so small that pages are wasted, nor so large that it matters to touch less. */
#define MEM_LARGE (64u * 1024)

/*
 * Not calloc(): that touches all of a block that it had before.  A leak checker does not
 * look in here for pointers.
 */
static void *mem_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *wqi_zalloc(size_t bytes)
{
	int saved = errno;
	void *p;

	if (wqi_fault_now(WQI_FAULT_ALLOC) || bytes > SIZE_MAX - WQI_CACHE_LINE)
		return NULL;
	if (bytes >= MEM_LARGE) {
		p = mem_map(bytes);
	} else {
		bytes = (bytes + WQI_CACHE_LINE - 1) & ~(size_t)(WQI_CACHE_LINE - 1);
		p = aligned_alloc(WQI_CACHE_LINE, bytes);
		if (p)
			memset(p, 0, bytes);
	}
	errno = saved;
	return p;
}

void wqi_free(void *p, size_t bytes)
{
	int saved = errno;

	if (p && bytes >= MEM_LARGE)
		munmap(p, bytes);
	else
		free(p);
	errno = saved;
}
