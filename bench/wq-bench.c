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

static struct bench_choice choice;
static const char *json_path;
static bool alone; /* started by bench_run_alone() */

static void usage(FILE *to)
{
	unsigned i;

	fprintf(to,
		"usage: wq-bench [--quick] [--rounds N] [--workload NAME] [--peer NAME] [--json "
		"FILE]\n"
		"  --quick     fewer items and 3 rounds: about 3 minutes\n"
		"  --rounds N  1 to %u, default 5\n"
		"  --json FILE one line of JSON a run is added to FILE; - is standard output\n"
		"  workloads: ",
		BENCH_MAX_ROUNDS);
	for (i = 0; i < bench_nr_workloads; i++)
		fprintf(to, " %s", bench_workloads[i].name);
	fprintf(to, "\n  peers: ");
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
		choice.rounds = (unsigned)n;
	} else if (!strcmp(arg, "--workload")) {
		if (find_workload(value) == bench_nr_workloads)
			bad("unknown workload", value);
		choice.workload = value;
	} else if (!strcmp(arg, "--peer")) {
		if (find_peer(value) == bench_nr_peers)
			bad("unknown peer", value);
		choice.peer = value;
	} else {
		json_path = value;
	}
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
			choice.quick = true;
			continue;
		}
		if (!strcmp(arg, "--alone")) {
			alone = true;
			continue;
		}
		if (strcmp(arg, "--rounds") && strcmp(arg, "--workload") && strcmp(arg, "--peer") &&
		    strcmp(arg, "--json"))
			bad("unknown argument", arg);
		if (++i == argc)
			bad("no value for", arg);
		parse_value(arg, argv[i]);
	}
	if (alone && (!choice.workload || !choice.peer))
		bad("a workload and a peer must be named with", "--alone");
	if (!choice.rounds)
		choice.rounds = choice.quick ? 3 : 5;
}

static void print_progress(unsigned round, const char *workload, const char *peer)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[Kround %u/%u %s %s", round + 1, choice.rounds, workload,
			peer);
}

static void run_one(unsigned w, unsigned p, unsigned round, FILE *json)
{
	const struct bench_workload *workload = &bench_workloads[w];
	const struct bench_peer *peer = bench_peers[p];
	double line_ns[2] = {bench_probe_line(), 0}, values[BENCH_MAX_FIGURES];

	print_progress(round, workload->name, peer->name);
	if ((workload->alone || peer->program) && bench_applies(workload, peer))
		bench_run_alone(workload, peer, choice.quick, values);
	else
		bench_run(workload, peer, choice.quick, values);
	line_ns[1] = bench_probe_line();
	bench_record(w, p, round, values, line_ns, json);
}

static void run_all(FILE *json)
{
	unsigned w, p, round;

	for (p = 0; p < bench_nr_peers; p++)
		if (bench_peers[p]->start)
			bench_peers[p]->start();
	for (round = 0; round < choice.rounds; round++)
		for (w = 0; w < bench_nr_workloads; w++)
			for (p = 0; p < bench_nr_peers; p++)
				if (bench_is_chosen(choice.workload, bench_workloads[w].name) &&
				    bench_is_chosen(choice.peer, bench_peers[p]->name))
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
		bench_print_alone(&bench_workloads[find_workload(choice.workload)],
				  bench_peers[find_peer(choice.peer)], choice.quick);
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
	bench_print_tables(&choice);
	if (fflush(stdout) || ferror(stdout) || (json && (fflush(json) || ferror(json)))) {
		fprintf(stderr, "wq-bench: the results could not be written: %s\n",
			strerror(errno));
		return 1;
	}
	return 0;
}
