/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The report: values by workload, figure, peer and round; lines of JSON, tables and plots. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench.h"

#define BENCH_MAX_ROUNDS 100u

/* What of it was asked for; the names are NULL for all. */
struct bench_choice {
	bool quick, all;
	unsigned rounds;
	const char *workload, *peer;
};

extern struct bench_choice bench_choice;

bool bench_workload_is_chosen(unsigned workload);
bool bench_peer_is_chosen(unsigned peer);

/* Keep a workload's values, and add them to @json if that is not NULL. */
void bench_record(unsigned workload, unsigned peer, unsigned round, const double *values,
		  const double line_ns[2], FILE *json);

/* How many of the runs were with the CPUs near each other, far, or with a change in between. */
struct bench_distances {
	unsigned near, far, changed;
};

struct bench_distances bench_count_distances(void);

/* Of all rounds; NAN: the peer has no figure. */
double bench_figure_median(unsigned workload, unsigned figure, unsigned peer);

/* Median of libwq's ratios to another peer's, round by round. */
double bench_figure_ratio(unsigned workload, unsigned figure, unsigned peer);

/* ... and of one of libwq's figures to another. */
double bench_figures_ratio(unsigned workload, unsigned figure, unsigned to_workload,
			   unsigned to_figure);

/* False: there is none of this name, or it was not chosen. */
bool bench_find_figure(const char *name, unsigned *workload, unsigned *figure);

/* libwq is the last peer. */
static inline unsigned bench_own_peer(void)
{
	return bench_nr_peers - 1;
}

/* tables.c */
void bench_print_tables(void);

/* plot.c: into the directory, which is made if need be. */
void bench_draw_plots(const char *directory);

#endif /* BENCH_REPORT_H */
