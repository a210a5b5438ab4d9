/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of the kernel's names share: an item that notes its runs and can be held
 * up, what was reported, and the table of the names.
 */
#ifndef TEST_KERNEL_H
#define TEST_KERNEL_H

#include "observe.h"

#include <wq/compat/linux.h>

/* A line of the table: names, what is promised of them, and the test, which takes its reports. */
#define ROW(names, promise, test)                                                                  \
	{                                                                                          \
		names ": " promise, test, NULL, no_report_is_left, NULL                            \
	}

/* Both kinds of items that queue_work() and queue_delayed_work() take: one at a time. */
struct job {
	struct work_struct work;
	struct delayed_work dwork;
	struct latch started, open, ended;
	unsigned long runs;
	bool gated;		     /* each run waits until `open` was posted that often */
	struct where where;	     /* of the last run */
	struct work_struct *current; /* what current_work() said in it */
};

void job_init(struct job *job);
void job_init_gate(struct job *job);
/* Wait until so many runs have ended, and none is going on. */
void job_wait(struct job *job, unsigned long runs);

/* What a queue is, as an item of it shows. */
struct kind {
	bool percpu, highpri, bh;
};

struct kind kind_of(struct workqueue_struct *wq);

/* In a file where HZ is 300. */
unsigned long msecs_to_jiffies_of_300(unsigned m);
uint64_t delay_ns_of_300(unsigned long delay);

/* Reports since the start or the last call; and the text of the last. */
unsigned reports_taken(void);
extern char report_last[256];
void reports_begin(void);
int no_report_is_left(void **state);

#endif /* TEST_KERNEL_H */
