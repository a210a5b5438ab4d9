/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plots: data and a script for gnuplot each, which draws an SVG file where it is
 * installed.
 */
#include "report.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *directory;

static FILE *open_file(const char *name, const char *ending)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.%s", directory, name, ending);
	file = fopen(path, "w");
	if (!file) {
		fprintf(stderr, "wq-bench: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return file;
}

static void close_file(FILE *file)
{
	bool ok = !fflush(file) && !ferror(file);

	fclose(file);
	bench_must(ok, "writing a plot's files");
}

/* --- data: a line a figure, a column a peer --- */

static void write_head(FILE *data, const char *first)
{
	unsigned p;

	fprintf(data, "\"%s\"", first);
	for (p = 0; p < bench_nr_peers; p++)
		fprintf(data, " \"%s\"", bench_peers[p]->name);
	fprintf(data, "\n");
}

static void write_row(FILE *data, const char *label, unsigned w, unsigned f)
{
	unsigned p;

	fprintf(data, "%s", label);
	for (p = 0; p < bench_nr_peers; p++) {
		double v = bench_figure_median(w, f, p);

		if (isnan(v))
			fprintf(data, " -");
		else
			fprintf(data, " %.3f", v);
	}
	fprintf(data, "\n");
}

/* The same in all plots, and libwq's stands out. */
static const char *color_of(unsigned p)
{
	static const char *const colors[BENCH_MAX_PEERS] = {
		"#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7",
		"#0072b2", "#999999", "#8c564b", "#bcbd22", "#f0e442",
	};

	return p == bench_own_peer() ? "black" : colors[p];
}

static bool is_drawn(unsigned p, unsigned w, unsigned f)
{
	return !isnan(bench_figure_median(w, f, p));
}

/* --- scripts --- */

static FILE *begin_script(const char *name, const char *title)
{
	FILE *script = open_file(name, "gp");

	fprintf(script,
		"set terminal svg noenhanced size 900,500 background 'white'\n"
		"set output '%s.svg'\n"
		"set datafile missing '-'\n"
		"set title '%s'\n"
		"set key outside right top noenhanced\n"
		"set grid y\n"
		"set logscale y\n",
		name, title);
	return script;
}

static void draw(const char *name)
{
	char script[256], svg[256];
	char *const argv[] = {(char *)"gnuplot", script, NULL};
	int status = -1, err;
	pid_t child;

	snprintf(script, sizeof(script), "%s.gp", name);
	snprintf(svg, sizeof(svg), "%s.svg", name);
	err = posix_spawnp(&child, "gnuplot", NULL, NULL, argv, environ);
	while (!err && waitpid(child, &status, 0) < 0)
		bench_must(errno == EINTR, "waitpid");
	if (err || !WIFEXITED(status) || WEXITSTATUS(status))
		fprintf(stderr, "wq-bench: no %s/%s: gnuplot %s\n", directory, svg,
			err ? "is not installed" : "failed");
}

/* --- which there are --- */

static const char *const bars[] = {"empty_1p",	 "empty_2p",	   "empty_4p",
				   "spawn_tree", "resubmit_chain", "serial_2p"};
#define NR_BARS (sizeof(bars) / sizeof(bars[0]))

static bool plot_bars(void)
{
	FILE *data, *script;
	unsigned i, w, f, p;
	bool any = false;

	for (i = 0; i < NR_BARS; i++)
		any = bench_find_figure(bars[i], &w, &f) || any;
	if (!any)
		return false;
	data = open_file("bars", "dat");
	write_head(data, "workload");
	for (i = 0; i < NR_BARS; i++)
		if (bench_find_figure(bars[i], &w, &f))
			write_row(data, bars[i], w, f);
	close_file(data);
	script = begin_script("bars", "items that do nothing");
	fprintf(script, "set ylabel 'ns an item'\nset style data histograms\n"
			"set style fill solid\nplot ");
	for (p = 0; p < bench_nr_peers; p++)
		if (bench_peer_is_chosen(p) && bench_applies(&bench_workloads[w], bench_peers[p]))
			fprintf(script, "'bars.dat' using %u:xtic(1) lc rgb '%s' title '%s', ",
				p + 2, color_of(p), bench_peers[p]->name);
	fprintf(script, "\n");
	close_file(script);
	return true;
}

/* A line for each peer, and with @second a dashed one of the row's other half. */
static void write_lines(FILE *script, const char *name, unsigned w, bool second)
{
	unsigned p;

	fprintf(script, "plot ");
	for (p = 0; p < bench_nr_peers; p++) {
		if (!is_drawn(p, w, 0))
			continue;
		fprintf(script, "'%s.dat' using 1:%u with linespoints lc rgb '%s' title '%s%s', ",
			name, p + 2, color_of(p), bench_peers[p]->name, second ? " p99" : "");
		if (second)
			fprintf(script,
				"'%s-p50.dat' using 1:%u with linespoints lc rgb '%s' dt 2 title "
				"'%s p50', ",
				name, p + 2, color_of(p), bench_peers[p]->name);
	}
	fprintf(script, "\n");
	close_file(script);
}

/* The number at the end of a figure's name. */
static const char *number_of(unsigned w, unsigned f)
{
	return strrchr(bench_workloads[w].figures[f].name, '_') + 1;
}

static bool plot_latency(void)
{
	FILE *data, *half, *script;
	unsigned w, f;

	if (!bench_find_figure("latency_25", &w, &f))
		return false;
	data = open_file("latency", "dat");
	half = open_file("latency-p50", "dat");
	write_head(data, "load");
	write_head(half, "load");
	for (f = 0; f < 9; f += 3) {
		write_row(half, number_of(w, f), w, f);
		write_row(data, number_of(w, f), w, f + 1);
	}
	close_file(data);
	close_file(half);
	script = begin_script("latency", "from queueing to start");
	fprintf(script, "set xlabel 'percent of the CPUs busy'\nset ylabel 'us'\n");
	write_lines(script, "latency", w, true);
	return true;
}

static bool plot_producers(void)
{
	FILE *data, *script;
	unsigned w, f;

	if (!bench_find_figure("producers_1", &w, &f))
		return false;
	data = open_file("producers", "dat");
	write_head(data, "producers");
	for (; f < BENCH_MAX_FIGURES && bench_workloads[w].figures[f].name; f++)
		write_row(data, number_of(w, f), w, f);
	close_file(data);
	script = begin_script("producers", "items that do nothing, from several threads");
	fprintf(script, "set logscale x 2\nset xlabel 'threads that queue'\n"
			"set ylabel 'ns an item'\n");
	write_lines(script, "producers", w, false);
	return true;
}

void bench_draw_plots(const char *into)
{
	bool drawn[3];

	directory = into;
	if (mkdir(into, 0777) && errno != EEXIST) {
		fprintf(stderr, "wq-bench: %s: %s\n", into, strerror(errno));
		exit(1);
	}
	drawn[0] = plot_bars();
	drawn[1] = plot_latency();
	drawn[2] = plot_producers();
	bench_must(!chdir(into), "entering the plots' directory");
	if (drawn[0])
		draw("bars");
	if (drawn[1])
		draw("latency");
	if (drawn[2])
		draw("producers");
}
