/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of processes share. */
#include "process.h"

#include <dirent.h>
#include <sys/wait.h>
#include <time.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

/*
 * Children are not searched for leaks: theirs are their parent's memory, and what
 * threads that are not there pointed to.
 */
static pid_t leaks_of;

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return getpid() != leaks_of;
}

static void leaks_are_not_a_childs(void)
{
#ifdef VALGRIND_CLO_CHANGE
	VALGRIND_CLO_CHANGE("--leak-check=no");
#endif
}

__attribute__((constructor)) static void leaks_are_the_first_process(void)
{
	leaks_of = getpid();
	pthread_atfork(NULL, NULL, leaks_are_not_a_childs);
}

void check_failed(const char *file, int line, const char *what, long value)
{
	dprintf(2, "%s:%d: in process %d: %s does not hold (%ld)\n", file, line, (int)getpid(),
		what, value);
	_exit(1);
}

void skip_if_checker_hangs_children(void)
{
#if (TEST_ASAN || TEST_TSAN) && (!defined(__clang__) || __clang_major__ < 17)
	print_message("the sanitizer's allocator may stay locked in a child\n");
	skip();
#endif
}

void skip_if_checker_has_descriptors(void)
{
#ifdef RUNNING_ON_VALGRIND
	if (RUNNING_ON_VALGRIND) {
		print_message("valgrind has descriptors of its own\n");
		skip();
	}
#endif
}

void skip_if_cpus_are_pretended(void)
{
	if (getenv("WQ_TOPOLOGY"))
		skip();
}

void skip_if_checker_is_slow(void)
{
	if (TEST_TSAN || scaled(100) < 100) {
		print_message("too many processes for this checker\n");
		skip();
	}
}

void watchdog(void)
{
	alarm(60);
}

int child_status(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int in_child(void (*fn)(void *ctx), void *ctx)
{
	pid_t pid = fork();

	if (!pid) {
		watchdog();
		fn(ctx);
		_exit(0);
	}
	return child_status(pid);
}

void probe_renew(struct probe *probe)
{
	latch_init(&probe->started);
	latch_init(&probe->open);
	latch_init(&probe->ended);
	latch_post(&probe->open);
	probe->runs = 0;
}

void probe_runs(struct wq *wq, struct probe *probe)
{
	probe_renew(probe);
	CHECK_EQUAL(wq_queue(wq, &probe->work), 1);
	CHECK(wq_work_flush(&probe->work) >= 0);
	CHECK_EQUAL(probe->runs, 1);
}

void new_queue_works(unsigned flags)
{
	struct wq *wq = wq_alloc("new", flags, 0);
	struct probe probe;

	CHECK(wq);
	probe_init(&probe);
	probe_runs(wq, &probe);
	CHECK_EQUAL(wq_destroy(wq), 0);
}

static unsigned count_entries(const char *path, const char *prefix)
{
	struct dirent *entry;
	char name[300], line[64];
	DIR *dir = opendir(path);
	unsigned nr = 0;

	while (dir && (entry = readdir(dir))) {
		FILE *file = NULL;

		if (entry->d_name[0] == '.')
			continue;
		if (prefix) {
			snprintf(name, sizeof(name), "%s/%s/comm", path, entry->d_name);
			file = fopen(name, "re");
			if (!file)
				continue;
			if (!fgets(line, sizeof(line), file))
				line[0] = '\0';
			fclose(file);
			if (strncmp(line, prefix, strlen(prefix)))
				continue;
		}
		nr++;
	}
	if (dir)
		closedir(dir);
	return nr;
}

/* Without the one that reads the directory. */
unsigned nr_descriptors(void)
{
	return count_entries("/proc/self/fd", NULL) - 1;
}

unsigned nr_threads(const char *prefix)
{
	return count_entries("/proc/self/task", prefix);
}

unsigned nr_threads_falls_to(const char *prefix, unsigned most)
{
	struct timespec ms = {.tv_nsec = 1000000};
	unsigned nr = nr_threads(prefix), i;

	for (i = 0; i < 20000 && nr > most; i++) {
		nanosleep(&ms, NULL);
		nr = nr_threads(prefix);
	}
	return nr;
}
