/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/block.h
 * Blocking regions: an item says that it is about to block.
 *
 * Optional.  An item that blocks without a word is noticed too, after some
 * microseconds on an idle CPU; a region takes effect at once, and also where the
 * library can't see that a thread waits (a busy loop around a device).
 */
#ifndef WQ_BLOCK_H
#define WQ_BLOCK_H

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * wq_block_begin - the item that runs is about to block: others may run
 *
 * From here to the matching wq_block_end() the worker does not count as running,
 * and another starts on what waits in its pool.  Regions nest; the outermost
 * counts.  Those still open when the function returns end there.
 *
 * Outside an item, and in one that has its thread to itself (WQ_DEDICATED) or does
 * not count as running anyway (WQ_CPU_INTENSIVE), nothing happens.
 *
 * Return: 0; -EPERM in an item of a WQ_BH queue, which must not block: no region
 *   begins, and the queue counts it (struct wq_stats, bh_blocks); -EOVERFLOW more than
 *   4294967295 open regions.
 * Context: any; in items for what follows in the same function call.  May sleep for
 *   a lock.  Does not allocate.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_block_begin(void);

/**
 * wq_block_end - it does not block any more
 *
 * The worker counts as running again at once: until its item ends, one worker more
 * than the pool's level may run.
 *
 * Return: 0, outside an item too; -EINVAL in an item, no region is open; -EPERM as
 *   wq_block_begin().
 * Context: as wq_block_begin().
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_block_end(void);

#ifdef __cplusplus
}
#endif

#endif /* WQ_BLOCK_H */
