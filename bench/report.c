/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was measured, and lines of JSON. */
#include "report.h"

#include <stdlib.h>
#include <string.h>

/* Above this round trip of a cache line the two CPUs count as far from each other. */
#define FAR_NS 250

struct bench_choice bench_choice;

static double results[BENCH_MAX_WORKLOADS][BENCH_MAX_FIGURES][BENCH_MAX_PEERS][BENCH_MAX_ROUNDS];
static struct bench_distances distances;

bool bench_workload_is_chosen(unsigned w)
{
	const struct bench_workload *workload = &bench_workloads[w];

	if (bench_choice.workload)
		return !strcmp(bench_choice.workload, workload->name);
	return !bench_choice.quick || bench_choice.all || !workload->lengthy;
}

bool bench_peer_is_chosen(unsigned p)
{
	return !bench_choice.peer || !strcmp(bench_choice.peer, bench_peers[p]->name);
}

static const char *distance(double before, double after)
{
	if (before < FAR_NS && after < FAR_NS)
		return "near";
	return before >= FAR_NS && after >= FAR_NS ? "far" : "changed";
}

static void count_distance(const char *name)
{
	distances.near += !strcmp(name, "near");
	distances.far += !strcmp(name, "far");
	distances.changed += !strcmp(name, "changed");
}

struct bench_distances bench_count_distances(void)
{
	return distances;
}

void bench_record(unsigned w, unsigned p, unsigned round, const double *values,
		  const double line_ns[2], FILE *json)
{
	const struct bench_figure *figure = bench_workloads[w].figures;
	const char *state = distance(line_ns[0], line_ns[1]), *who = bench_peers[p]->name;
	bool any = false;
	unsigned f;

	if (bench_workloads[w].table == BENCH_LIMITS)
		who = "machine";
	for (f = 0; f < BENCH_MAX_FIGURES && figure[f].name; f++) {
		results[w][f][p][round] = values[f];
		any = any || !isnan(values[f]);
		if (!json || isnan(values[f]))
			continue;
		fprintf(json,
			"{\"workload\":\"%s\",\"unit\":\"%s\",\"peer\":\"%s\",\"round\":%u,"
			"\"value\":%.2f,\"line_ns_before\":%.0f,\"line_ns_after\":%.0f,"
			"\"state\":\"%s\"}\n",
			figure[f].name, figure[f].unit, who, round, values[f], line_ns[0],
			line_ns[1], state);
	}
	if (any)
		count_distance(state);
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

double bench_figure_median(unsigned w, unsigned f, unsigned p)
{
	if (!bench_workload_is_chosen(w) || !bench_peer_is_chosen(p))
		return NAN;
	return bench_median(results[w][f][p], bench_choice.rounds);
}

static double median_of_ratios(const double *of, const double *to)
{
	double ratios[BENCH_MAX_ROUNDS];
	unsigned r;

	for (r = 0; r < bench_choice.rounds; r++)
		ratios[r] = to[r] > 0 ? of[r] / to[r] : NAN;
	return bench_median(ratios, bench_choice.rounds);
}

double bench_figure_ratio(unsigned w, unsigned f, unsigned p)
{
	if (!bench_workload_is_chosen(w) || bench_choice.peer)
		return NAN;
	return median_of_ratios(results[w][f][bench_own_peer()], results[w][f][p]);
}

double bench_figures_ratio(unsigned w, unsigned f, unsigned to_w, unsigned to_f)
{
	unsigned own = bench_own_peer();

	return median_of_ratios(results[w][f][own], results[to_w][to_f][own]);
}

bool bench_find_figure(const char *name, unsigned *workload, unsigned *figure)
{
	const struct bench_figure *figures;
	unsigned w, f;

	for (w = 0; w < bench_nr_workloads; w++) {
		figures = bench_workloads[w].figures;
		for (f = 0; f < BENCH_MAX_FIGURES && figures[f].name; f++)
			if (!strcmp(figures[f].name, name)) {
				*workload = w;
				*figure = f;
				return bench_workload_is_chosen(w);
			}
	}
	return false;
}
