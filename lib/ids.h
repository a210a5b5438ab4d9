/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the numbers that stand for pwqs in the items' state words, and the table
 * from number to pwq.  Looking up is lock-free and async-signal-safe; what comes
 * back may be used inside the read-side section in which it was looked up.
 */
#ifndef WQI_IDS_H
#define WQI_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "atomic.h"

struct wqi_pwq;

#define WQI_IDS_CHUNK  4096u
#define WQI_IDS_CHUNKS 256u /* 20 bits in all: see item.h */

extern uintptr_t *wqi_ids_chunks[WQI_IDS_CHUNKS];

/*
 * Take @nr numbers in a row, all empty.  Returns the first, or 0 where memory or
 * numbers ran out.  Under G.  Freed ranges are found again by the same @nr.
 */
uint32_t wqi_ids_alloc(unsigned nr);

/* Give back what wqi_ids_alloc() gave, emptied a grace period ago.  Under G. */
void wqi_ids_free(uint32_t id, unsigned nr);

/* Free the table; no number is in use.  Under G. */
void wqi_ids_free_all(void);

/* Point @id, from wqi_ids_alloc(), to @pwq (or NULL to empty it).  Release. */
void wqi_ids_set(uint32_t id, struct wqi_pwq *pwq);

/* NULL for 0 and for numbers that stand for nothing now.  Acquire. */
static inline struct wqi_pwq *wqi_ids_get(uint32_t id)
{
	uintptr_t *chunk, entry;

	if (!id)
		return NULL;
	chunk = wqi_load_acquire(&wqi_ids_chunks[id / WQI_IDS_CHUNK]);
	if (wqi_unlikely(!chunk))
		return NULL; /* from before wq_shutdown() */
	entry = wqi_load_acquire(&chunk[id % WQI_IDS_CHUNK]);
	return entry & 1 ? NULL : (struct wqi_pwq *)entry;
}

#endif /* WQI_IDS_H */
