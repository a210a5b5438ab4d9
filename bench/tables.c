/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tables: a line a figure, a column for each peer that has one there, and ratios. */
#include "report.h"

#include <string.h>

struct table {
	const char *title;
	enum bench_table kind;
	bool timers, own;
	int width;   /* of a cell */
	unsigned nr; /* figures that share one */
	const char *unit;
};

static const struct table tables[] = {
	{"items", BENCH_PLAIN, false, false, 9, 1, NULL},
	{"queue to start", BENCH_TRIPLES, false, false, 22, 3, "us 50/99/99.9"},
	{"behind one that blocks", BENCH_PAIRS, false, false, 15, 2, "us p50/p99"},
	{"timers", BENCH_PLAIN, true, false, 9, 1, NULL},
	{"only libwq", BENCH_PLAIN, false, true, 9, 1, NULL},
};

/* What a column shows of a figure. */
typedef double (*column_fn)(unsigned w, unsigned f, unsigned p);

/* Of libwq to the one that the figure looks best for. */
static double best_ratio(unsigned w, unsigned f, unsigned unused)
{
	double highest = NAN;
	unsigned p;

	(void)unused;
	for (p = 0; p + 1 < bench_nr_peers; p++)
		highest = fmax(highest, bench_figure_ratio(w, f, p)); /* ignores NAN */
	return highest;
}

static unsigned nr_figures(unsigned w)
{
	unsigned nr = 0;

	while (nr < BENCH_MAX_FIGURES && bench_workloads[w].figures[nr].name)
		nr++;
	return nr;
}

static bool is_in_table(unsigned w, const struct table *table)
{
	const struct bench_workload *workload = &bench_workloads[w];

	return workload->table == table->kind && workload->timers == table->timers &&
	       workload->own == table->own && bench_workload_is_chosen(w);
}

static bool is_empty_row(unsigned w, unsigned f)
{
	unsigned p = 0;

	while (p < bench_nr_peers && isnan(bench_figure_median(w, f, p)))
		p++;
	return p == bench_nr_peers;
}

static bool has_values(unsigned p, const struct table *table)
{
	unsigned w, f;

	for (w = 0; w < bench_nr_workloads; w++)
		for (f = 0; is_in_table(w, table) && f < nr_figures(w); f++)
			if (!isnan(bench_figure_median(w, f, p)))
				return true;
	return false;
}

/* Three digits, as far as they are not before the point. */
static int print_value(char *to, size_t bytes, double v)
{
	return snprintf(to, bytes, "%.*f", v < 10 ? 2 : v < 100 ? 1 : 0, v);
}

static void print_cell(int width, column_fn value, unsigned p, unsigned w, unsigned f, unsigned nr)
{
	char cell[96] = "-";
	unsigned i;
	int at = 0;

	for (i = f; i < f + nr; i++) {
		double v = value(w, i, p);

		if (isnan(v))
			break;
		if (i > f)
			at += snprintf(cell + at, sizeof(cell) - (unsigned)at, "/");
		at += print_value(cell + at, sizeof(cell) - (unsigned)at, v);
	}
	printf(" %*s", width, cell);
}

static void print_row(unsigned w, unsigned f, const struct table *table, const bool *columns)
{
	const struct bench_figure *figure = &bench_workloads[w].figures[f];
	unsigned p;

	printf("%-22s %-13s", figure->name, table->unit ? table->unit : figure->unit);
	for (p = 0; p < bench_nr_peers; p++)
		if (columns[p])
			print_cell(table->width, bench_figure_median, p, w, f, table->nr);
	/* The naive pool is the first. */
	if (!table->own && columns[0])
		print_cell(15, bench_figure_ratio, 0, w, f, table->nr);
	if (!table->own)
		print_cell(15, best_ratio, 0, w, f, table->nr);
	printf("\n");
}

static void print_head(const struct table *table, const bool *columns)
{
	unsigned p;

	printf("%-22s %-13s", table->title, "unit");
	for (p = 0; p < bench_nr_peers; p++)
		if (columns[p])
			printf(" %*s", table->width, bench_peers[p]->name);
	if (!table->own && columns[0])
		printf(" %15s", "libwq/naive");
	if (!table->own)
		printf(" %15s", "libwq/best");
	printf("\n");
}

static void print_table(const struct table *table)
{
	bool columns[BENCH_MAX_PEERS], any = false;
	unsigned w, p, f;

	for (p = 0; p < bench_nr_peers; p++) {
		columns[p] = has_values(p, table);
		any = any || columns[p];
	}
	if (!any)
		return;
	print_head(table, columns);
	for (w = 0; w < bench_nr_workloads; w++)
		for (f = 0; is_in_table(w, table) && f < nr_figures(w); f += table->nr)
			if (!is_empty_row(w, f))
				print_row(w, f, table, columns);
	printf("\n");
}

/* A line a peer: without and with items, and the ratio of these. */
static void print_forks(void)
{
	unsigned w, f, p;
	char pending[32];
	double none, with;

	if (!bench_find_figure("fork_exec", &w, &f))
		return;
	snprintf(pending, sizeof(pending), "%u items", bench_fork_items(bench_choice.quick));
	printf("%-22s %-13s %9s %14s %8s\n", "fork and exec", "unit", "no items", pending, "ratio");
	for (p = 0; p < bench_nr_peers; p++) {
		none = bench_figure_median(w, 0, p);
		with = bench_figure_median(w, 1, p);
		if (!isnan(none) && !isnan(with))
			printf("%-22s %-13s %9.0f %14.0f %8.2f\n", bench_peers[p]->name,
			       bench_workloads[w].figures[0].unit, none, with, with / none);
	}
	printf("\n");
}

/* What libwq takes for what the machine takes so long for. */
static const char *const beside_limits[][2] = {
	{"limit_exchange", "resubmit_chain"},
	{"limit_mutex", "empty_1p"},
	{"limit_queue", "empty_1p"},
	{"limit_futex_one_cpu", "pingpong_cold"},
	{"limit_futex_two_cpus", "pingpong_cold"},
	{"limit_threads_first", "blocking_first"},
	{"limit_threads_warm", "blocking_warm"},
};

static void print_limit(unsigned w, unsigned f)
{
	const struct bench_figure *figure = &bench_workloads[w].figures[f];
	char value[16] = "-", ratio[16] = "-";
	const char *beside = "";
	unsigned i, own_w, own_f;
	double v;

	for (i = 0; i < sizeof(beside_limits) / sizeof(beside_limits[0]); i++)
		if (!strcmp(beside_limits[i][0], figure->name) &&
		    bench_find_figure(beside_limits[i][1], &own_w, &own_f)) {
			beside = beside_limits[i][1];
			v = bench_figures_ratio(own_w, own_f, w, f);
			if (!isnan(v))
				print_value(ratio, sizeof(ratio), v);
		}
	v = bench_figure_median(w, f, bench_own_peer());
	if (!isnan(v))
		print_value(value, sizeof(value), v);
	printf("%-22s %-13s %9s %15s %15s\n", figure->name, figure->unit, value, ratio, beside);
}

static void print_limits(void)
{
	unsigned w, f;

	if (!bench_find_figure("limit_exchange", &w, &f) ||
	    isnan(bench_figure_median(w, f, bench_own_peer())))
		return;
	printf("%-22s %-13s %9s %15s %15s\n", "limits", "unit", "machine", "libwq/limit",
	       "of libwq's");
	for (f = 0; f < nr_figures(w); f++)
		print_limit(w, f);
	printf("\n");
}

void bench_print_tables(void)
{
	struct bench_distances runs = bench_count_distances();
	unsigned i;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		print_table(&tables[i]);
	print_forks();
	print_limits();
	printf("medians of %u rounds, interleaved; ratios are paired round by round\n",
	       bench_choice.rounds);
	printf("a cache line went between two CPUs as between near ones in %u runs, far ones in "
	       "%u, it changed in %u\n",
	       runs.near, runs.far, runs.changed);
}
