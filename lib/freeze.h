/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns whether freezable queues are frozen. */
#ifndef WQI_FREEZE_H
#define WQI_FREEZE_H

struct wq;

/* How many items of @wq may be active now: max_active, or 0.  Under G or W. */
unsigned wqi_freeze_limit(const struct wq *wq);

#endif /* WQI_FREEZE_H */
