/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/wq.h
 * The native API of libwq: workqueues for POSIX programs.
 *
 * A program embeds a `struct wq_work` in its own structure, queues it on a
 * `struct wq`, and the library calls its function on a pool of threads that it
 * manages itself.
 *
 * Which calls may run at the same time, on one item (rows against columns):
 *
 *                    init   queue  cancel, disable, enable  *_sync  flush  busy
 *   wq_work_init      no     no     no                       no      no     no
 *   everything else   no     yes    yes                      yes     yes    yes
 *
 * and on one queue: all of them, but nothing may be called on a queue during or
 * after wq_destroy() except queueing during it (-ESHUTDOWN).
 */
#ifndef WQ_WQ_H
#define WQ_WQ_H

#include <wq/types.h>
#include <wq/work.h>
#include <wq/queue.h>
#include <wq/attrs.h>
#include <wq/delayed.h>
#include <wq/rcu.h>
#include <wq/trigger.h>
#include <wq/closure.h>
#include <wq/worker.h>
#include <wq/block.h>
#include <wq/stats.h>
#include <wq/runtime.h>

#endif /* WQ_WQ_H */
