/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns aligned zeroed allocation.  Keeps no caches. */
#include "mem.h"

#include <stdint.h>
#include <stdlib.h>

#include "atomic.h"
#include "testing.h"

/*
 * calloc() rather than aligned_alloc() and memset(): it leaves pages that come
 * fresh from the system untouched.  The block's own start stands before it.
 */
void *wqi_zalloc(size_t bytes)
{
	size_t room = WQI_CACHE_LINE + sizeof(void *);
	uintptr_t at;
	void *raw;

	if (wqi_fault_now(WQI_FAULT_ALLOC) || bytes > SIZE_MAX - room)
		return NULL;
	raw = calloc(1, bytes + room);
	if (!raw)
		return NULL;
	at = ((uintptr_t)raw + room) & ~(uintptr_t)(WQI_CACHE_LINE - 1);
	((void **)at)[-1] = raw;
	return (void *)at;
}

void wqi_free(void *p)
{
	if (p)
		free(((void **)p)[-1]);
}
