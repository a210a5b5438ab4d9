/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/worker.h
 * What an item can ask of, and tell, the worker that runs it.
 */
#ifndef WQ_WORKER_H
#define WQ_WORKER_H

#include <wq/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * wq_current_work - the item whose function the caller is in
 *
 * Return: the item, NULL outside one, and in a child that fork() made inside one.
 *   The function may have freed it: then only the address means something.  In a
 *   closure's function (wq/closure.h) it is the library's own item.
 * Context: any.  Never waits or allocates.
 * Safety: MT-Safe, AS-Safe.
 * Since: 0.1
 */
WQ_API struct wq_work *wq_current_work(void);

/**
 * wq_current_wq - the queue on which the item runs whose function the caller is in
 *
 * Return: the queue, NULL outside an item.  It may differ from the one named when
 *   queueing: see wq_queue() on items that were running elsewhere.
 * Context: any.  Never waits or allocates.
 * Safety: MT-Safe, AS-Safe.
 * Lifetime: at least until the function returns.
 * Since: 0.1
 */
WQ_API struct wq *wq_current_wq(void);

/** Longest description that is kept, its end included; what is longer is cut. */
#define WQ_DESC_BYTES 64

/**
 * wq_set_worker_desc - say what the item that runs is busy with
 * @fmt: as for printf
 *
 * Shown where workers are listed (dumps, stalls), until the item's function
 * returns.  Source: Linux set_worker_desc().
 *
 * Return: 0; -EPERM the caller is not in an item's function; -EINVAL @fmt NULL or
 *   not a valid format.  Nothing has changed after a failure.
 * Context: an item's function.  Does not allocate, but what vsnprintf does.
 * Safety: MT-Safe, AS-Unsafe.
 * Since: 0.1
 */
WQ_API int wq_set_worker_desc(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif

#endif /* WQ_WORKER_H */
