/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef WQ_COMPAT_ZEPHYR_POLL_H
#define WQ_COMPAT_ZEPHYR_POLL_H
#endif
