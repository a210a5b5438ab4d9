/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A workload in a process of its own: there the peer is fresh, and no other peer's
 * threads count.  wq-bench runs itself, or the program that is the peer, and reads a figure
 * a line.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned nr_figures(const struct bench_workload *workload)
{
	unsigned nr = 0;

	while (nr < BENCH_MAX_FIGURES && workload->figures[nr].name)
		nr++;
	return nr;
}

void bench_print_alone(const struct bench_workload *workload, const struct bench_peer *peer,
		       bool quick)
{
	double values[BENCH_MAX_FIGURES];
	unsigned i;

	if (!workload->fresh)
		peer->start();
	bench_run(workload, peer, quick, values);
	if (!workload->fresh)
		peer->stop();
	for (i = 0; i < nr_figures(workload); i++)
		printf("%.6f\n", values[i]);
	bench_must(!fflush(stdout), "writing the figures");
}

/* The program beside this one, or this one. */
static void find_program(const char *beside, char *path, size_t bytes)
{
	ssize_t got = readlink("/proc/self/exe", path, bytes - 1);
	char *name;

	bench_must(got > 0, "readlink");
	path[got] = '\0';
	name = strrchr(path, '/') + 1;
	bench_must(!beside || (size_t)(name - path) + strlen(beside) < bytes, "room for a path");
	if (beside)
		memcpy(name, beside, strlen(beside) + 1);
}

static pid_t spawn(const char *path, char *const argv[], int out)
{
	posix_spawn_file_actions_t actions;
	pid_t child;
	int err;

	bench_must(!posix_spawn_file_actions_init(&actions) &&
			   !posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO),
		   "preparing a process");
	err = posix_spawn(&child, path, &actions, NULL, argv, environ);
	bench_must(!err, path);
	posix_spawn_file_actions_destroy(&actions);
	return child;
}

void bench_run_alone(const struct bench_workload *workload, const struct bench_peer *peer,
		     bool quick, double *values)
{
	char *const argv[] = {(char *)"wq-bench",
			      (char *)"--alone",
			      (char *)"--workload",
			      (char *)workload->name,
			      (char *)"--peer",
			      (char *)peer->name,
			      (char *)(quick ? "--quick" : NULL),
			      NULL};
	int fds[2], status = -1;
	char path[4096];
	unsigned i;
	pid_t child;
	FILE *from;

	bench_must(!pipe2(fds, O_CLOEXEC), "pipe2");
	find_program(peer->program, path, sizeof(path));
	child = spawn(path, argv, fds[1]);
	close(fds[1]);
	from = fdopen(fds[0], "r");
	bench_must(from, "fdopen");
	for (i = 0; i < nr_figures(workload); i++)
		bench_must(fscanf(from, "%lf", &values[i]) == 1, workload->name);
	fclose(from);
	while (waitpid(child, &status, 0) < 0)
		bench_must(errno == EINTR, "waitpid");
	bench_must(WIFEXITED(status) && !WEXITSTATUS(status), workload->name);
}
