/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wq-bench: runs the workloads on libwq and on its peers, interleaved, and prints
 * medians and ratios.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ROUNDS 100u

/* Above this round trip of a cache line the two CPUs count as far from each other. */
#define FAR_NS 250

static const struct bench_peer *const peers[] = {&bench_peer_naive, &bench_peer_wq};
#define NR_PEERS (sizeof(peers) / sizeof(peers[0]))

static struct options {
	bool quick;
	unsigned rounds;
	const char *workload, *peer, *json;
} options;

static double results[16][NR_PEERS][MAX_ROUNDS];

/* Not in the table of peers: each peer is compared with itself, without and with items. */
#define FORK_EXEC "fork_exec"
#define FORK_UNIT "us p50"
static double fork_results[NR_PEERS][2][MAX_ROUNDS];

static void usage(FILE *to)
{
	unsigned i;

	fprintf(to,
		"usage: wq-bench [--quick] [--rounds N] [--workload NAME] [--peer NAME] [--json "
		"FILE]\n"
		"  --quick     fewer items and 3 rounds: about a minute\n"
		"  --rounds N  1 to %u, default 5\n"
		"  --json FILE one line of JSON a run is added to FILE; - is standard output\n"
		"  workloads: ",
		MAX_ROUNDS);
	for (i = 0; i < bench_nr_workloads; i++)
		fprintf(to, " %s", bench_workloads[i].name);
	fprintf(to, " " FORK_EXEC "\n  peers: ");
	for (i = 0; i < NR_PEERS; i++)
		fprintf(to, " %s", peers[i]->name);
	fprintf(to, "\n");
}

static void bad(const char *what, const char *arg)
{
	fprintf(stderr, "wq-bench: %s '%s'\n", what, arg);
	usage(stderr);
	exit(2);
}

static bool is_workload(const char *name)
{
	unsigned i;

	for (i = 0; i < bench_nr_workloads; i++)
		if (!strcmp(name, bench_workloads[i].name))
			return true;
	return !strcmp(name, FORK_EXEC);
}

static bool is_peer(const char *name)
{
	unsigned i;

	for (i = 0; i < NR_PEERS; i++)
		if (!strcmp(name, peers[i]->name))
			return true;
	return false;
}

/* Is it the one that an option names, or does none? */
static bool is_chosen(const char *option, const char *name)
{
	return !option || !strcmp(option, name);
}

static void parse(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *arg = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(arg, "--help")) {
			usage(stdout);
			exit(0);
		}
		if (!strcmp(arg, "--quick")) {
			options.quick = true;
			continue;
		}
		if (strcmp(arg, "--rounds") && strcmp(arg, "--workload") && strcmp(arg, "--peer") &&
		    strcmp(arg, "--json"))
			bad("unknown argument", arg);
		if (!value)
			bad("no value for", arg);
		i++;
		if (!strcmp(arg, "--rounds")) {
			char *rest;
			unsigned long n = strtoul(value, &rest, 10);

			if (*rest || !n || n > MAX_ROUNDS)
				bad("not a number of rounds:", value);
			options.rounds = (unsigned)n;
		} else if (!strcmp(arg, "--workload")) {
			if (!is_workload(value))
				bad("unknown workload", value);
			options.workload = value;
		} else if (!strcmp(arg, "--peer")) {
			if (!is_peer(value))
				bad("unknown peer", value);
			options.peer = value;
		} else {
			options.json = value;
		}
	}
	if (!options.rounds)
		options.rounds = options.quick ? 3 : 5;
}

static const char *distance(double before, double after)
{
	if (before < FAR_NS && after < FAR_NS)
		return "near";
	return before >= FAR_NS && after >= FAR_NS ? "far" : "changed";
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(const double *values, unsigned nr)
{
	double sorted[MAX_ROUNDS];

	memcpy(sorted, values, nr * sizeof(*values));
	qsort(sorted, nr, sizeof(*sorted), compare_double);
	return nr % 2 ? sorted[nr / 2] : (sorted[nr / 2 - 1] + sorted[nr / 2]) / 2;
}

static void print_json(FILE *json, const char *workload, const char *unit, const char *peer,
		       unsigned round, double value, const double line_ns[2])
{
	if (!json)
		return;
	fprintf(json,
		"{\"workload\":\"%s\",\"unit\":\"%s\",\"peer\":\"%s\",\"round\":%u,\"value\":%.2f,"
		"\"line_ns_before\":%.0f,\"line_ns_after\":%.0f,\"state\":\"%s\"}\n",
		workload, unit, peer, round, value, line_ns[0], line_ns[1],
		distance(line_ns[0], line_ns[1]));
	fflush(json);
}

static void run_one(unsigned w, unsigned p, unsigned round, FILE *json)
{
	const struct bench_workload *workload = &bench_workloads[w];
	double line_ns[2] = {bench_probe_line(), 0};
	double value = workload->run(peers[p], options.quick);

	line_ns[1] = bench_probe_line();
	results[w][p][round] = value;
	print_json(json, workload->name, workload->unit, peers[p]->name, round, value, line_ns);
}

static void run_fork(unsigned p, unsigned round, FILE *json)
{
	double line_ns[2] = {bench_probe_line(), 0}, none, pending;

	bench_fork_exec(peers[p], options.quick, &none, &pending);
	line_ns[1] = bench_probe_line();
	fork_results[p][0][round] = none;
	fork_results[p][1][round] = pending;
	print_json(json, FORK_EXEC, FORK_UNIT, peers[p]->name, round, none, line_ns);
	print_json(json, FORK_EXEC "_pending", FORK_UNIT, peers[p]->name, round, pending, line_ns);
}

static void print_forks(void)
{
	double ratios[MAX_ROUNDS];
	char pending[32];
	unsigned p, r;

	snprintf(pending, sizeof(pending), "%u items", bench_fork_items(options.quick));
	printf("%-16s %-8s %10s %14s %8s\n", FORK_EXEC, "unit", "no items", pending, "ratio");
	for (p = 0; p < NR_PEERS; p++) {
		if (!is_chosen(options.peer, peers[p]->name))
			continue;
		for (r = 0; r < options.rounds; r++)
			ratios[r] = fork_results[p][1][r] / fork_results[p][0][r];
		printf("%-16s %-8s %10.2f %14.2f %8.2f\n", peers[p]->name, FORK_UNIT,
		       median(fork_results[p][0], options.rounds),
		       median(fork_results[p][1], options.rounds), median(ratios, options.rounds));
	}
}

static void print_table(void)
{
	double ratios[MAX_ROUNDS];
	unsigned w, p, r;

	printf("%-16s %-8s", "workload", "unit");
	for (p = 0; p < NR_PEERS; p++)
		printf(" %10s", peers[p]->name);
	printf(" %12s\n", "libwq/naive");
	for (w = 0; w < bench_nr_workloads; w++) {
		if (!is_chosen(options.workload, bench_workloads[w].name))
			continue;
		printf("%-16s %-8s", bench_workloads[w].name, bench_workloads[w].unit);
		for (p = 0; p < NR_PEERS; p++) {
			if (!is_chosen(options.peer, peers[p]->name))
				printf(" %10s", "-");
			else
				printf(" %10.2f", median(results[w][p], options.rounds));
		}
		if (options.peer) {
			printf(" %12s\n", "-");
			continue;
		}
		for (r = 0; r < options.rounds; r++)
			ratios[r] = results[w][1][r] / results[w][0][r];
		printf(" %12.2f\n", median(ratios, options.rounds));
	}
}

static void print_progress(unsigned round, const char *workload, const char *peer)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[Kround %u/%u %s %s", round + 1, options.rounds, workload,
			peer);
}

int main(int argc, char **argv)
{
	unsigned w, p, round;
	FILE *json = NULL;

	parse(argc, argv);
	if (options.json) {
		json = strcmp(options.json, "-") ? fopen(options.json, "a") : stdout;
		if (!json) {
			fprintf(stderr, "wq-bench: %s: %s\n", options.json, strerror(errno));
			return 1;
		}
	}
	for (p = 0; p < NR_PEERS; p++)
		peers[p]->start();
	for (round = 0; round < options.rounds; round++) {
		for (w = 0; w < bench_nr_workloads; w++) {
			if (!is_chosen(options.workload, bench_workloads[w].name))
				continue;
			for (p = 0; p < NR_PEERS; p++) {
				if (!is_chosen(options.peer, peers[p]->name))
					continue;
				print_progress(round, bench_workloads[w].name, peers[p]->name);
				run_one(w, p, round, json);
			}
		}
		for (p = 0; p < NR_PEERS && is_chosen(options.workload, FORK_EXEC); p++) {
			if (!is_chosen(options.peer, peers[p]->name))
				continue;
			print_progress(round, FORK_EXEC, peers[p]->name);
			run_fork(p, round, json);
		}
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	for (p = 0; p < NR_PEERS; p++)
		peers[p]->stop();
	if (!options.workload || strcmp(options.workload, FORK_EXEC))
		print_table();
	if (is_chosen(options.workload, FORK_EXEC))
		print_forks();
	printf("medians of %u rounds, interleaved; ratios are paired round by round\n",
	       options.rounds);
	if (fflush(stdout) || ferror(stdout) || (json && (fflush(json) || ferror(json)))) {
		fprintf(stderr, "wq-bench: the results could not be written: %s\n",
			strerror(errno));
		return 1;
	}
	return 0;
}
