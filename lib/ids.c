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
#define IDS_CLASSES 4

uintptr_t *wqi_ids_chunks[WQI_IDS_CHUNKS]; /* GR */

static uint32_t ids_next = 1; /* G: lowest number never handed out */
static struct {
	unsigned nr;
	uint32_t first;
} ids_free[IDS_CLASSES]; /* G */

static uintptr_t *ids_entry(uint32_t id)
{
	return &wqi_ids_chunks[id / WQI_IDS_CHUNK][id % WQI_IDS_CHUNK];
}

static int ids_class(unsigned nr)
{
	int i;

	for (i = 0; i < IDS_CLASSES; i++) {
		if (!ids_free[i].nr)
			ids_free[i].nr = nr;
		if (ids_free[i].nr == nr)
			return i;
	}
	return -1; /* an odd length: its numbers are not used again */
}

uint32_t wqi_ids_alloc(unsigned nr)
{
	int class = ids_class(nr);
	uint32_t id, last, c;

	if (class >= 0 && ids_free[class].first) {
		id = ids_free[class].first;
		/* Release: a copy of any instant loses numbers at most; see fork.h. */
		wqi_store_release(&ids_free[class].first, (uint32_t)(*ids_entry(id) >> 1));
		wqi_store_relaxed(ids_entry(id), (uintptr_t)0);
		return id;
	}

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
	int class = ids_class(nr);

	if (class < 0)
		return;
	wqi_store_relaxed(ids_entry(id), (uintptr_t)ids_free[class].first << 1 | 1);
	wqi_store_release(&ids_free[class].first, id);
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
