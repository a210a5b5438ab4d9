/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pretended machines. */
#include "pretend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* 1024 workers must not need so much address space that a machine refuses it. */
#define STACK_BYTES 131072u

static const char *topology_of(unsigned nr_cpus)
{
	if (nr_cpus == 2)
		return "core:2 pu:1";
	if (nr_cpus == 64)
		return "node:2 l3:2 core:8 pu:2";
	bench_must(nr_cpus == 1024, "knowing such a machine");
	return "node:16 l3:4 core:8 pu:2";
}

/* Variables would win over what is set here. */
static void be_child(struct bench_pretence what, bench_pretend_fn fn, void *arg, double *values)
{
	struct wq_config config = WQ_CONFIG_INIT;

	unsetenv("WQ_TOPOLOGY");
	unsetenv("WQ_UNBOUND_CPUS");
	unsetenv("WQ_MAX_THREADS");
	if (what.nr_cpus) {
		config.topology = topology_of(what.nr_cpus);
		config.max_threads = what.max_threads;
		config.stack_bytes = STACK_BYTES;
		bench_must(!wq_configure(&config), "wq_configure");
	}
	fn(arg, values);
	_exit(0);
}

void bench_pretend(struct bench_pretence what, bench_pretend_fn fn, void *arg, double *values,
		   unsigned nr)
{
	size_t bytes = BENCH_MAX_FIGURES * sizeof(double);
	double *shared =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	pid_t child;

	bench_must(shared != MAP_FAILED, "mmap");
	memcpy(shared, values, nr * sizeof(*values));
	child = fork();
	bench_must(child >= 0, "fork");
	if (!child)
		be_child(what, fn, arg, shared);
	while (waitpid(child, &status, 0) < 0)
		bench_must(errno == EINTR, "waitpid");
	bench_must(WIFEXITED(status) && !WEXITSTATUS(status), "measuring on a pretended machine");
	memcpy(values, shared, nr * sizeof(*values));
	munmap(shared, bytes);
}
