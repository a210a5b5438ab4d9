/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wq-bench: runs the workloads on libwq and on its peers, interleaved, and prints
 * medians and ratios.
 */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *json_path, *plots_path;
static bool alone; /* started by bench_run_alone() */

static void usage(FILE *to)
{
	unsigned i;

	fprintf(to,
		"usage: wq-bench [--quick [--all]] [--rounds N] [--workload NAME] [--peer NAME]\n"
		"                [--json FILE] [--plots DIRECTORY]\n"
		"  --quick     fewer items, fewer workloads and 2 rounds: about a minute\n"
		"  --all       with --quick: all workloads\n"
		"  --rounds N  1 to %u, default 5\n"
		"  --json FILE a line of JSON for each figure is added to FILE; - is standard\n"
		"              output, without tables\n"
		"  --plots DIRECTORY  gnuplot draws bars.svg, latency.svg and producers.svg there\n"
		"  workloads, those in brackets not with --quick alone:\n    ",
		BENCH_MAX_ROUNDS);
	for (i = 0; i < bench_nr_workloads; i++)
		fprintf(to, bench_workloads[i].lengthy ? " [%s]" : " %s", bench_workloads[i].name);
	fprintf(to, "\n  peers, each where its package was installed when this was built:\n    ");
	for (i = 0; i < bench_nr_peers; i++)
		fprintf(to, " %s", bench_peers[i]->name);
	fprintf(to, "\n");
}

static void bad(const char *what, const char *arg)
{
	fprintf(stderr, "wq-bench: %s '%s'\n", what, arg);
	usage(stderr);
	exit(2);
}

/* Their numbers, or how many there are. */
static unsigned find_workload(const char *name)
{
	unsigned i = 0;

	while (i < bench_nr_workloads && strcmp(name, bench_workloads[i].name))
		i++;
	return i;
}

static unsigned find_peer(const char *name)
{
	unsigned i = 0;

	while (i < bench_nr_peers && strcmp(name, bench_peers[i]->name))
		i++;
	return i;
}

static void parse_value(const char *arg, const char *value)
{
	if (!strcmp(arg, "--rounds")) {
		char *rest;
		unsigned long n = strtoul(value, &rest, 10);

		if (*rest || !n || n > BENCH_MAX_ROUNDS)
			bad("not a number of rounds:", value);
		bench_choice.rounds = (unsigned)n;
	} else if (!strcmp(arg, "--workload")) {
		if (find_workload(value) == bench_nr_workloads)
			bad("unknown workload", value);
		bench_choice.workload = value;
	} else if (!strcmp(arg, "--peer")) {
		if (find_peer(value) == bench_nr_peers)
			bad("unknown peer", value);
		bench_choice.peer = value;
	} else if (!strcmp(arg, "--json")) {
		json_path = value;
	} else {
		plots_path = value;
	}
}

static bool takes_value(const char *arg)
{
	static const char *const known[] = {"--rounds", "--workload", "--peer", "--json",
					    "--plots"};
	unsigned i = 0;

	while (i < sizeof(known) / sizeof(known[0]) && strcmp(arg, known[i]))
		i++;
	return i < sizeof(known) / sizeof(known[0]);
}

static void parse(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (!strcmp(arg, "--help")) {
			usage(stdout);
			exit(0);
		}
		if (!strcmp(arg, "--quick")) {
			bench_choice.quick = true;
			continue;
		}
		if (!strcmp(arg, "--all")) {
			bench_choice.all = true;
			continue;
		}
		if (!strcmp(arg, "--alone")) {
			alone = true;
			continue;
		}
		if (!takes_value(arg))
			bad("unknown argument", arg);
		if (++i == argc)
			bad("no value for", arg);
		parse_value(arg, argv[i]);
	}
	if (alone && (!bench_choice.workload || !bench_choice.peer))
		bad("a workload and a peer must be named with", "--alone");
	if (!bench_choice.rounds)
		bench_choice.rounds = bench_choice.quick ? 2 : 5;
}

static bool will_run(unsigned w, unsigned p)
{
	return bench_workload_is_chosen(w) && bench_peer_is_chosen(p) &&
	       bench_applies(&bench_workloads[w], bench_peers[p]);
}

static void print_progress(unsigned round, unsigned w, unsigned p)
{
	static unsigned nr_done;
	unsigned each = 0, i, j;

	for (i = 0; i < bench_nr_workloads; i++)
		for (j = 0; j < bench_nr_peers; j++)
			each += will_run(i, j);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%3u %% round %u/%u %s %s",
			100 * nr_done++ / (each * bench_choice.rounds), round + 1,
			bench_choice.rounds, bench_workloads[w].name, bench_peers[p]->name);
}

/* What does not apply is recorded as well. */
static void run_one(unsigned w, unsigned p, unsigned round, FILE *json)
{
	const struct bench_workload *workload = &bench_workloads[w];
	const struct bench_peer *peer = bench_peers[p];
	double line_ns[2] = {0, 0}, values[BENCH_MAX_FIGURES];
	bool applies = bench_applies(workload, peer);

	if (applies) {
		print_progress(round, w, p);
		line_ns[0] = bench_probe_line();
	}
	if (applies && (workload->alone || peer->program))
		bench_run_alone(workload, peer, bench_choice.quick, values);
	else
		bench_run(workload, peer, bench_choice.quick, values);
	if (applies)
		line_ns[1] = bench_probe_line();
	bench_record(w, p, round, values, line_ns, json);
}

static void run_all(FILE *json)
{
	unsigned w, p, round;

	for (p = 0; p < bench_nr_peers; p++)
		if (bench_peers[p]->start)
			bench_peers[p]->start();
	for (round = 0; round < bench_choice.rounds; round++)
		for (w = 0; w < bench_nr_workloads; w++)
			for (p = 0; p < bench_nr_peers; p++)
				if (bench_workload_is_chosen(w) && bench_peer_is_chosen(p))
					run_one(w, p, round, json);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	for (p = 0; p < bench_nr_peers; p++)
		if (bench_peers[p]->stop)
			bench_peers[p]->stop();
}

int main(int argc, char **argv)
{
	FILE *json = NULL;

	parse(argc, argv);
	if (alone) {
		bench_print_alone(&bench_workloads[find_workload(bench_choice.workload)],
				  bench_peers[find_peer(bench_choice.peer)], bench_choice.quick);
		return 0;
	}
	if (json_path) {
		json = strcmp(json_path, "-") ? fopen(json_path, "a") : stdout;
		if (!json) {
			fprintf(stderr, "wq-bench: %s: %s\n", json_path, strerror(errno));
			return 1;
		}
	}
	run_all(json);
	if (json != stdout)
		bench_print_tables();
	if (plots_path)
		bench_draw_plots(plots_path);
	if (fflush(stdout) || ferror(stdout) || (json && (fflush(json) || ferror(json)))) {
		fprintf(stderr, "wq-bench: the results could not be written: %s\n",
			strerror(errno));
		return 1;
	}
	return 0;
}
