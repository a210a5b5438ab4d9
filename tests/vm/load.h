/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that queue without a pause, on queues of each kind, and count what runs. */
#ifndef TEST_LOAD_H
#define TEST_LOAD_H

#include "support.h"

struct load;

struct load *load_start(void);
/* Wait until so many more items of each kind have run. */
void load_progress(struct load *load, unsigned long nr);
/* Stop and flush.  Each item accepted has run, and those of the ordered queue in their order. */
void load_stop_and_check(struct load *load);

#endif /* TEST_LOAD_H */
