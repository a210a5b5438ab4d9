/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The report. */
#include "report.h"

#include <stdlib.h>
#include <string.h>

/* Above this round trip of a cache line the two CPUs count as far from each other. */
#define FAR_NS 250

static double results[BENCH_MAX_WORKLOADS][BENCH_MAX_FIGURES][BENCH_MAX_PEERS][BENCH_MAX_ROUNDS];

bool bench_is_chosen(const char *option, const char *name)
{
	return !option || !strcmp(option, name);
}

static const char *distance(double before, double after)
{
	if (before < FAR_NS && after < FAR_NS)
		return "near";
	return before >= FAR_NS && after >= FAR_NS ? "far" : "changed";
}

void bench_record(unsigned w, unsigned p, unsigned round, const double *values,
		  const double line_ns[2], FILE *json)
{
	const struct bench_figure *figure = bench_workloads[w].figures;
	unsigned f;

	for (f = 0; f < BENCH_MAX_FIGURES && figure[f].name; f++) {
		results[w][f][p][round] = values[f];
		if (!json || isnan(values[f]))
			continue;
		fprintf(json,
			"{\"workload\":\"%s\",\"unit\":\"%s\",\"peer\":\"%s\",\"round\":%u,"
			"\"value\":%.2f,\"line_ns_before\":%.0f,\"line_ns_after\":%.0f,"
			"\"state\":\"%s\"}\n",
			figure[f].name, figure[f].unit, bench_peers[p]->name, round, values[f],
			line_ns[0], line_ns[1], distance(line_ns[0], line_ns[1]));
	}
	if (json)
		fflush(json);
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double bench_median(const double *values, unsigned nr)
{
	double sorted[BENCH_MAX_ROUNDS];
	unsigned i;

	for (i = 0; i < nr; i++)
		if (isnan(values[i]))
			return NAN;
	memcpy(sorted, values, nr * sizeof(*values));
	qsort(sorted, nr, sizeof(*sorted), compare_double);
	return nr % 2 ? sorted[nr / 2] : (sorted[nr / 2 - 1] + sorted[nr / 2]) / 2;
}

/* What a column shows of a figure. */
typedef double (*column_fn)(unsigned w, unsigned f, unsigned p, const struct bench_choice *choice);

static double peer_median(unsigned w, unsigned f, unsigned p, const struct bench_choice *choice)
{
	if (!bench_is_chosen(choice->peer, bench_peers[p]->name))
		return NAN;
	return bench_median(results[w][f][p], choice->rounds);
}

/* Median of the ratios of libwq, the last peer, to another. */
static double peer_ratio(unsigned w, unsigned f, unsigned p, const struct bench_choice *choice)
{
	const double *mine = results[w][f][bench_nr_peers - 1], *other = results[w][f][p];
	double ratios[BENCH_MAX_ROUNDS];
	unsigned r;

	if (choice->peer)
		return NAN;
	for (r = 0; r < choice->rounds; r++)
		ratios[r] = other[r] > 0 ? mine[r] / other[r] : NAN;
	return bench_median(ratios, choice->rounds);
}

/* ... to the one that the figure looks best for. */
static double best_ratio(unsigned w, unsigned f, unsigned unused, const struct bench_choice *choice)
{
	double highest = NAN;
	unsigned p;

	(void)unused;
	for (p = 0; p + 1 < bench_nr_peers; p++)
		highest = fmax(highest, peer_ratio(w, f, p, choice)); /* ignores NAN */
	return highest;
}

/* Of @nr figures that share a cell. */
static void print_cell(int width, column_fn value, unsigned p, unsigned w, unsigned f, unsigned nr,
		       const struct bench_choice *choice)
{
	char cell[64] = "-";
	unsigned i;
	int at = 0;

	for (i = f; i < f + nr; i++) {
		double v = value(w, i, p, choice);

		if (isnan(v))
			break;
		at += snprintf(cell + at, sizeof(cell) - (unsigned)at, i > f ? " / %.2f" : "%.2f",
			       v);
	}
	printf(" %*s", width, cell);
}

static void print_row(unsigned w, unsigned f, unsigned nr, int width,
		      const struct bench_choice *choice)
{
	const struct bench_figure *figure = &bench_workloads[w].figures[f];
	unsigned p;

	printf("%-22s %-11s", figure->name, nr > 1 ? "us p50/p99" : figure->unit);
	for (p = 0; p < bench_nr_peers; p++)
		print_cell(width, peer_median, p, w, f, nr, choice);
	print_cell(13, peer_ratio, 0, w, f, nr, choice);
	print_cell(13, best_ratio, 0, w, f, nr, choice);
	printf("\n");
}

static bool is_in_table(unsigned w, enum bench_table table, const struct bench_choice *choice)
{
	return bench_workloads[w].table == table &&
	       bench_is_chosen(choice->workload, bench_workloads[w].name);
}

/* Cells are so wide, and hold @nr figures. */
static void print_table(enum bench_table table, int width, unsigned nr,
			const struct bench_choice *choice)
{
	bool head = false;
	unsigned w, p, f;

	for (w = 0; w < bench_nr_workloads; w++) {
		if (!is_in_table(w, table, choice))
			continue;
		if (!head) {
			printf("%-22s %-11s", "workload", "unit");
			for (p = 0; p < bench_nr_peers; p++)
				printf(" %*s", width, bench_peers[p]->name);
			printf(" %13s %13s\n", "libwq/naive", "libwq/best");
			head = true;
		}
		for (f = 0; f < BENCH_MAX_FIGURES && bench_workloads[w].figures[f].name; f += nr)
			print_row(w, f, nr, width, choice);
	}
}

/* A line a peer: without and with items, and the ratio of these. */
static void print_forks(const struct bench_choice *choice)
{
	double ratios[BENCH_MAX_ROUNDS];
	char pending[32];
	unsigned w = 0, p, r;

	while (w < bench_nr_workloads && !is_in_table(w, BENCH_FORKS, choice))
		w++;
	if (w == bench_nr_workloads)
		return;
	snprintf(pending, sizeof(pending), "%u items", bench_fork_items(choice->quick));
	printf("%-22s %-11s %10s %14s %8s\n", bench_workloads[w].name, "unit", "no items", pending,
	       "ratio");
	for (p = 0; p < bench_nr_peers; p++) {
		double none = peer_median(w, 0, p, choice);

		if (isnan(none))
			continue;
		for (r = 0; r < choice->rounds; r++)
			ratios[r] = results[w][1][p][r] / results[w][0][p][r];
		printf("%-22s %-11s %10.2f %14.2f %8.2f\n", bench_peers[p]->name,
		       bench_workloads[w].figures[0].unit, none, peer_median(w, 1, p, choice),
		       bench_median(ratios, choice->rounds));
	}
}

void bench_print_tables(const struct bench_choice *choice)
{
	print_table(BENCH_PLAIN, 10, 1, choice);
	print_table(BENCH_PAIRS, 19, 2, choice);
	print_forks(choice);
	printf("medians of %u rounds, interleaved; ratios are paired round by round\n",
	       choice->rounds);
}
