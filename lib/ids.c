/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the table of pwq numbers.  Does not know what a pwq is. */
#include "ids.h"

#include <string.h>

#include "mem.h"

/*
 * A free range keeps in its first entry the first number of the next free range
 * of the same length, shifted left by one and with the lowest bit set, so that a
 * reader with an old number sees "nothing" there.
 */
#define IDS_CLASSES 13 /* lengths are powers of two, up to WQ_MAX_CPUS */

uintptr_t *wqi_ids_chunks[WQI_IDS_CHUNKS]; /* GR */

static uint32_t ids_next = 1;	       /* G: lowest number never handed out */
static uint32_t ids_free[IDS_CLASSES]; /* G: first numbers of free ranges */

static uintptr_t *ids_entry(uint32_t id)
{
	return &wqi_ids_chunks[id / WQI_IDS_CHUNK][id % WQI_IDS_CHUNK];
}

static unsigned ids_class(unsigned nr)
{
	unsigned class = 0;

	while (1u << class < nr)
		class ++;
	return class;
}

uint32_t wqi_ids_alloc(unsigned nr)
{
	unsigned class = ids_class(nr);
	uint32_t id, last, c;

	if (class >= IDS_CLASSES)
		return 0;
	id = ids_free[class];
	if (id) {
		/* Release: a copy of any instant loses numbers at most; see fork.h. */
		wqi_store_release(&ids_free[class], (uint32_t)(*ids_entry(id) >> 1));
		wqi_store_relaxed(ids_entry(id), (uintptr_t)0);
		return id;
	}

	nr = 1u << class;
	last = ids_next + nr - 1;
	if (last >= WQI_IDS_CHUNK * WQI_IDS_CHUNKS)
		return 0;
	for (c = ids_next / WQI_IDS_CHUNK; c <= last / WQI_IDS_CHUNK; c++) {
		uintptr_t *chunk;

		if (wqi_ids_chunks[c])
			continue;
		chunk = wqi_zalloc(WQI_IDS_CHUNK * sizeof(*chunk));
		if (!chunk)
			return 0;
		wqi_store_release(&wqi_ids_chunks[c], chunk);
	}
	id = ids_next;
	ids_next += nr;
	return id;
}

void wqi_ids_free(uint32_t id, unsigned nr)
{
	unsigned class = ids_class(nr);

	wqi_store_relaxed(ids_entry(id), (uintptr_t)ids_free[class] << 1 | 1);
	wqi_store_release(&ids_free[class], id);
}

void wqi_ids_free_all(void)
{
	uint32_t c;

	memset(ids_free, 0, sizeof(ids_free));
	ids_next = 1;
	for (c = 0; c < WQI_IDS_CHUNKS; c++) {
		uintptr_t *chunk = wqi_ids_chunks[c];

		wqi_store_release(&wqi_ids_chunks[c], (uintptr_t *)NULL);
		wqi_free(chunk, WQI_IDS_CHUNK * sizeof(*chunk));
	}
}

void wqi_ids_set(uint32_t id, struct wqi_pwq *pwq)
{
	wqi_store_release(ids_entry(id), (uintptr_t)pwq);
}
