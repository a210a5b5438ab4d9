/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns reading the CPU quota of cgroups.  Does not follow later changes. */
#include "quota.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUOTA_PATH_BYTES 4096
#define QUOTA_LINE_BYTES (2 * QUOTA_PATH_BYTES)

/* No stdio: a process that ends while the monitor reads would leave its buffers unfreed. */
struct quota_file {
	int fd;
	size_t at, end; /* what is read and not yet taken */
	char bytes[QUOTA_LINE_BYTES + 1];
};

struct quota_group {
	struct quota_file file; /* the one being read */
	bool v2;
	char path[QUOTA_PATH_BYTES];  /* the process's group, from the hierarchy's root */
	char above[QUOTA_PATH_BYTES]; /* what is mounted, from the hierarchy's root */
	char mount[QUOTA_PATH_BYTES]; /* where */
};

/* Is @word one of the words of a list with commas? */
static bool quota_list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (; list; list = strchr(list, ',')) {
		list += *list == ',';
		if (!strncmp(list, word, len) && (!list[len] || list[len] == ','))
			return true;
	}
	return false;
}

static bool quota_open(struct quota_file *file, const char *root, const char *path)
{
	char whole[2 * QUOTA_PATH_BYTES + 64];

	if (snprintf(whole, sizeof(whole), "%s%s", root, path) >= (int)sizeof(whole))
		return false;
	file->at = file->end = 0;
	file->fd = open(whole, O_RDONLY | O_CLOEXEC);
	return file->fd >= 0;
}

/* Reads behind what is left, which moves to the front.  False: there is no more, or no room. */
static bool quota_fill(struct quota_file *file)
{
	ssize_t got;

	memmove(file->bytes, file->bytes + file->at, file->end - file->at);
	file->end -= file->at;
	file->at = 0;
	if (file->end == QUOTA_LINE_BYTES)
		return false;
	do {
		got = read(file->fd, file->bytes + file->end, QUOTA_LINE_BYTES - file->end);
	} while (got < 0 && errno == EINTR);
	if (got > 0)
		file->end += (size_t)got;
	return got > 0;
}

/* The next line without its end, valid until the next call; too long a one comes in pieces. */
static char *quota_line(struct quota_file *file)
{
	char *line, *end;

	do {
		line = file->bytes + file->at;
		end = memchr(line, '\n', file->end - file->at);
	} while (!end && quota_fill(file));
	line = file->bytes + file->at;
	if (!end && file->at == file->end)
		return NULL;
	if (!end)
		end = file->bytes + file->end;
	file->at = (size_t)(end - file->bytes) + (end < file->bytes + file->end);
	*end = '\0';
	return line;
}

/* Lines are "ID:CONTROLLERS:PATH"; v2's has no controllers. */
static bool quota_read_group(const char *root, struct quota_group *group)
{
	char *line, *controllers, *path;
	bool found = false;

	if (!quota_open(&group->file, root, "/proc/self/cgroup"))
		return false;
	while (!found && (line = quota_line(&group->file))) {
		controllers = strchr(line, ':');
		path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = '\0';
		controllers++;
		found = group->v2 ? !*controllers : quota_list_has(controllers, "cpu");
		if (found)
			snprintf(group->path, sizeof(group->path), "%s", path);
	}
	close(group->file.fd);
	return found;
}

/* "ID PARENT DEVICE ROOT MOUNT OPTIONS ... - TYPE SOURCE OPTIONS" */
static bool quota_read_mount(const char *root, struct quota_group *group)
{
	char *line, type[32], options[256], *rest;
	bool found = false;

	if (!quota_open(&group->file, root, "/proc/self/mountinfo"))
		return false;
	while (!found && (line = quota_line(&group->file))) {
		rest = strstr(line, " - ");
		if (!rest || sscanf(rest, " - %31s %*s %255s", type, options) != 2 ||
		    sscanf(line, "%*s %*s %*s %4095s %4095s", group->above, group->mount) != 2)
			continue;
		found = group->v2 ? !strcmp(type, "cgroup2")
				  : !strcmp(type, "cgroup") && quota_list_has(options, "cpu");
	}
	close(group->file.fd);
	return found;
}

static bool quota_number(struct quota_file *file, const char *root, const char *dir,
			 const char *name, long long *first, long long *second)
{
	char path[QUOTA_PATH_BYTES + 64], *line, *rest;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
	    !quota_open(file, root, path))
		return false;
	line = quota_line(file);
	close(file->fd);
	if (!line)
		return false;
	*first = strtoll(line, &rest, 10); /* v2 says "max" where there is none: 0 */
	if (rest == line)
		return false;
	if (second)
		*second = strtoll(rest, NULL, 10);
	return true;
}

/* CPUs that one group allows, rounded up; 0 any. */
static unsigned quota_of_dir(const char *root, struct quota_group *group)
{
	struct quota_file *file = &group->file;
	const char *dir = group->mount;
	long long quota = 0, period = 0, cpus;

	if (group->v2 ? !quota_number(file, root, dir, "cpu.max", &quota, &period)
		      : !quota_number(file, root, dir, "cpu.cfs_quota_us", &quota, NULL) ||
				!quota_number(file, root, dir, "cpu.cfs_period_us", &period, NULL))
		return 0;
	if (quota <= 0 || period <= 0)
		return 0;
	cpus = quota / period + (quota % period != 0);
	return cpus > INT_MAX ? 0 : (unsigned)cpus;
}

/* The smallest of the group's and those above it, as far up as they are mounted. */
static unsigned quota_walk(const char *root, struct quota_group *group)
{
	unsigned cpus = 0, of_dir;
	size_t above, mounted;
	char *slash;

	if (!quota_read_group(root, group) || !quota_read_mount(root, group))
		return 0;
	/* In a container's view the mount's root may be the group itself. */
	above = strcmp(group->above, "/") ? strlen(group->above) : 0;
	if (strncmp(group->path, group->above, above) || !strcmp(group->path, "/"))
		above = strlen(group->path);
	mounted = strlen(group->mount);
	if (mounted + strlen(group->path + above) >= sizeof(group->mount))
		return 0;
	strcpy(group->mount + mounted, group->path + above);
	for (;;) {
		of_dir = quota_of_dir(root, group);
		if (of_dir && (!cpus || of_dir < cpus))
			cpus = of_dir;
		slash = strrchr(group->mount + mounted, '/');
		if (!slash)
			return cpus;
		*slash = '\0';
	}
}

/* The record is too large for a stack.  Without memory for it the quota is not known. */
static unsigned quota_of_hierarchy(const char *root, bool v2)
{
	struct quota_group *group = calloc(1, sizeof(*group));
	unsigned cpus = 0;

	if (group) {
		group->v2 = v2;
		cpus = quota_walk(root, group);
	}
	free(group);
	return cpus;
}

unsigned wqi_quota_cpus(const char *root)
{
	int saved = errno;
	unsigned v1 = quota_of_hierarchy(root, false), v2 = quota_of_hierarchy(root, true);

	errno = saved;
	return v1 && (!v2 || v1 < v2) ? v1 : v2;
}
