/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns what the library has to know of the items of wq/compat/. */
#ifndef WQI_COMPAT_H
#define WQI_COMPAT_H

#include <wq/work.h>

/* Is it the function that those items share, and that calls theirs? */
bool wqi_compat_is_run(wq_work_fn fn);

#endif /* WQI_COMPAT_H */
