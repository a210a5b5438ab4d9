/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU quotas of cgroups, read from trees as the kernel shows them. */
#include "support.h"

#include <sys/stat.h>
#include <unistd.h>

#include "cpu.h"
#include "quota.h"

static char root[64];

static int make_root(void **state)
{
	strcpy(root, "/tmp/wq-quota-XX"
		     "XX"
		     "XX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static void write_file(const char *path, const char *text)
{
	char whole[512], *at;
	FILE *file;

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	for (at = whole + strlen(root) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		mkdir(whole, 0700);
		*at = '/';
	}
	file = fopen(whole, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

#define MOUNT_V2 "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
#define MOUNT_V1 "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

static void v2(const char *group)
{
	char line[128];

	snprintf(line, sizeof(line), "0::%s\n", group);
	write_file("/proc/self/cgroup", line);
	write_file("/proc/self/mountinfo", "21 1 0:20 / / rw - ext4 /dev/sda rw\n" MOUNT_V2);
}

static void quota_of_v2_is_rounded_up(void **state)
{
	v2("/app");
	write_file("/sys/fs/cgroup/app/cpu.max", "150000 100000\n");
	assert_int_equal(wqi_quota_cpus(root), 2);
	write_file("/sys/fs/cgroup/app/cpu.max", "200000 100000\n");
	assert_int_equal(wqi_quota_cpus(root), 2);
	write_file("/sys/fs/cgroup/app/cpu.max", "1000 100000\n");
	assert_int_equal(wqi_quota_cpus(root), 1);
	write_file("/sys/fs/cgroup/app/cpu.max", "max 100000\n");
	assert_int_equal(wqi_quota_cpus(root), 0);
}

static void quota_of_a_group_above_counts_too(void **state)
{
	v2("/a/b/c");
	write_file("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
	write_file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	write_file("/sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n");
	assert_int_equal(wqi_quota_cpus(root), 3);
	write_file("/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n");
	assert_int_equal(wqi_quota_cpus(root), 1);
}

static void quota_of_a_container_is_at_the_mount(void **state)
{
	v2("/");
	write_file("/sys/fs/cgroup/cpu.max", "400000 100000\n");
	assert_int_equal(wqi_quota_cpus(root), 4);
	/* The host's view of the group, while only the group is mounted. */
	write_file("/proc/self/cgroup", "0::/docker/0123\n");
	write_file("/proc/self/mountinfo",
		   "31 23 0:28 /docker/0123 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
	assert_int_equal(wqi_quota_cpus(root), 4);
}

static void quota_of_v1_is_read_with_the_right_controller(void **state)
{
	write_file("/proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/app\n3:cpuset:/s\n0::/\n");
	write_file("/proc/self/mountinfo",
		   "30 31 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n" MOUNT_V1);
	write_file("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "250000\n");
	write_file("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
	assert_int_equal(wqi_quota_cpus(root), 3);
	write_file("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "-1\n");
	assert_int_equal(wqi_quota_cpus(root), 0);
	write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
	write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
	assert_int_equal(wqi_quota_cpus(root), 1);
}

static void quota_that_makes_no_sense_is_none(void **state)
{
	static const char *const texts[] = {"",		 "\n",	       "what 100000\n",
					    "100000\n",	 "100000 0\n", "-5 100000\n",
					    "0 100000\n"};
	unsigned i;

	assert_int_equal(wqi_quota_cpus(root), 0); /* no files at all */
	v2("/app");
	assert_int_equal(wqi_quota_cpus(root), 0);
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		write_file("/sys/fs/cgroup/app/cpu.max", texts[i]);
		assert_int_equal(wqi_quota_cpus(root), 0);
	}
	write_file("/proc/self/cgroup", "rubbish\n::\n0:\n");
	assert_int_equal(wqi_quota_cpus(root), 0);
	write_file("/proc/self/cgroup", "0::/app\n");
	write_file("/proc/self/mountinfo", " - cgroup2\n1 2 - cgroup2 x y\n");
	assert_int_equal(wqi_quota_cpus(root), 0);
}

/* Many mounts, and one whose options alone are longer than any buffer. */
static void mount_is_found_behind_long_and_many_lines(void **state)
{
	size_t bytes = 1 << 16, used = 0;
	char *text = malloc(bytes);

	assert_non_null(text);
	while (used < bytes / 4)
		used += (size_t)sprintf(text + used, "%zu 1 0:20 / /m/%zu rw - tmpfs tmpfs rw\n",
					used, used);
	used += (size_t)sprintf(text + used, "40 1 0:21 / /o rw - overlay overlay rw,lowerdir=");
	memset(text + used, 'a', bytes / 2);
	used += bytes / 2;
	strcpy(text + used, "\n" MOUNT_V2);
	write_file("/proc/self/mountinfo", text);
	write_file("/proc/self/cgroup", "0::/app"); /* no end of line */
	write_file("/sys/fs/cgroup/app/cpu.max", "300000 100000");
	assert_int_equal(wqi_quota_cpus(root), 3);
	free(text);
}

static void level_is_cut_to_the_quota(void **state)
{
	unsigned nr;

	assert_non_null(wq_system());
	nr = wqi_cpus.nr_unbound;
	wqi_cpus_set_level(1);
	assert_int_equal(wqi_cpus.level, 1);
	wqi_cpus_set_level(nr + 1);
	assert_int_equal(wqi_cpus.level, nr);
	wqi_cpus_set_level(0);
	assert_int_equal(wqi_cpus.level, nr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(quota_of_v2_is_rounded_up, make_root, remove_root),
		cmocka_unit_test_setup_teardown(quota_of_a_group_above_counts_too, make_root,
						remove_root),
		cmocka_unit_test_setup_teardown(quota_of_a_container_is_at_the_mount, make_root,
						remove_root),
		cmocka_unit_test_setup_teardown(quota_of_v1_is_read_with_the_right_controller,
						make_root, remove_root),
		cmocka_unit_test_setup_teardown(quota_that_makes_no_sense_is_none, make_root,
						remove_root),
		cmocka_unit_test_setup_teardown(mount_is_found_behind_long_and_many_lines,
						make_root, remove_root),
		cmocka_unit_test(level_is_cut_to_the_quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
