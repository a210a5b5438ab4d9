/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the memory of closures' runs, as far as others have to know of it. */
#ifndef WQI_CLOSURE_H
#define WQI_CLOSURE_H

#include <wq/work.h>

/*
 * An item's function was left by pthread_exit() or cancelled: if the item is a
 * closure's run, its memory and its reference are given back.
 */
void wqi_closure_torn_down(struct wq_work *work, wq_work_fn fn);

/* Is it the function of the items that closures are run by? */
bool wqi_closure_is_run(wq_work_fn fn);

/* Free what no thread keeps for itself, and what the calling one does.  Under G. */
void wqi_closures_free(void);

/* In the child of a fork(). */
void wqi_closures_reset(void);

#endif /* WQI_CLOSURE_H */
