/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The report: values by workload, figure, peer and round; tables and lines of JSON. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench.h"

#define BENCH_MAX_ROUNDS 100u

/* What of it was asked for; the names are NULL for all. */
struct bench_choice {
	bool quick;
	unsigned rounds;
	const char *workload, *peer;
};

/* Is it the one that an option names, or does none? */
bool bench_is_chosen(const char *option, const char *name);

/* Keep a workload's values, and add them to @json if that is not NULL. */
void bench_record(unsigned workload, unsigned peer, unsigned round, const double *values,
		  const double line_ns[2], FILE *json);

void bench_print_tables(const struct bench_choice *choice);

#endif /* BENCH_REPORT_H */
