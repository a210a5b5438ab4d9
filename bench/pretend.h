/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Machines that the library pretends to run on, each in a process of its own. */
#ifndef BENCH_PRETEND_H
#define BENCH_PRETEND_H

#include "bench.h"

/* What is measured there sets a value for each figure. */
typedef void (*bench_pretend_fn)(void *arg, double *values);

struct bench_pretence {
	unsigned nr_cpus;     /* 2, 64 or 1024; 0: this machine, as it is */
	unsigned max_threads; /* as of struct wq_config */
};

/*
 * Call @fn in a child, where the library has not started and will find that machine.
 * @values, of @nr, are as @fn left them.  The caller's process has not started the library
 * either, and has no threads.
 */
void bench_pretend(struct bench_pretence what, bench_pretend_fn fn, void *arg, double *values,
		   unsigned nr);

#endif /* BENCH_PRETEND_H */
