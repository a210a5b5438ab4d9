/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G13 for real: the system refuses threads, by the user's limit, for want of address
 * space, and in a cgroup.  Queues with a rescuer go on, and nothing of others is lost.
 */
#include "host.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define NR_GATES   24
#define NR_RESCUED 12

struct scarcity;

/* An item of the queue with a rescuer, which notes the order of its runs. */
struct rescued {
	struct wq_work work;
	struct scarcity *scarcity;
	unsigned long runs, place;
};

struct scarcity {
	unsigned flags, reclaim_flags;
	/* Threads become scarce, and are to be had again. */
	void (*begin)(struct scarcity *scarcity);
	void (*end)(struct scarcity *scarcity);
	char dir[400];
	struct rlimit limit;
	int resource;
	unsigned long place;
	struct wq_work gates[NR_GATES];
	struct latch started, open, ended, rescued_ended;
	struct rescued rescued[NR_RESCUED];
};

static void gate_fn(struct wq_work *work, void *ctx)
{
	struct scarcity *scarcity = ctx;

	latch_post(&scarcity->started);
	latch_wait(&scarcity->open, 1);
	latch_post(&scarcity->ended);
}

static void rescued_fn(struct wq_work *work, void *ctx)
{
	struct rescued *rescued = ctx;

	rescued->place = count_up(&rescued->scarcity->place);
	count_up(&rescued->runs);
	latch_post(&rescued->scarcity->rescued_ended);
}

static uint64_t create_failed(struct wq *wq)
{
	struct wq_pool_stats stats;

	CHECK_EQUAL(wq_pool_stats_read(wq, usable_cpu(0), &stats, sizeof(stats)), 0);
	return stats.create_failed;
}

static void scarcity_init(struct scarcity *scarcity)
{
	unsigned i;

	latch_init(&scarcity->started);
	latch_init(&scarcity->open);
	latch_init(&scarcity->ended);
	latch_init(&scarcity->rescued_ended);
	for (i = 0; i < NR_GATES; i++)
		wq_work_init(&scarcity->gates[i], gate_fn, scarcity);
	for (i = 0; i < NR_RESCUED; i++) {
		wq_work_init(&scarcity->rescued[i].work, rescued_fn, &scarcity->rescued[i]);
		scarcity->rescued[i].scarcity = scarcity;
	}
}

static void rescued_queue(struct scarcity *scarcity, struct wq *reclaim)
{
	unsigned i;

	for (i = 0; i < NR_RESCUED; i++)
		CHECK_EQUAL(wq_queue_on(reclaim, &scarcity->rescued[i].work, usable_cpu(0)), 1);
}

static void rescued_check(struct scarcity *scarcity, struct wq *reclaim)
{
	struct wq_stats stats;
	unsigned i;

	for (i = 0; i < NR_RESCUED; i++) {
		CHECK_EQUAL(scarcity->rescued[i].runs, 1);
		if (scarcity->reclaim_flags & (WQ_ORDERED | WQ_PERCPU))
			CHECK_EQUAL(scarcity->rescued[i].place, i + 1);
	}
	CHECK_EQUAL(wq_stats_read(reclaim, &stats, sizeof(stats)), 0);
	CHECK_EQUAL(stats.started, NR_RESCUED);
	CHECK(stats.rescued <= stats.started);
	CHECK(stats.mayday || !stats.rescued);
	/* An ordered queue may have a pool, and with it a worker, of its own. */
	if (!(scarcity->reclaim_flags & WQ_ORDERED))
		CHECK_EQUAL(stats.rescued, NR_RESCUED);
}

/*
 * Gates hold all workers that there are and can be made, more of them wait; the
 * queue with a rescuer gets its items run all the same.  When threads can be made
 * again, all gates start, before any has ended.
 */
static void scarce(void *ctx)
{
	struct scarcity *scarcity = ctx;
	struct wq *others, *reclaim;
	struct probe warm;
	struct wq_stats stats;
	unsigned long held;
	unsigned i;

	scarcity_init(scarcity);
	others = wq_alloc("others", scarcity->flags, 0);
	reclaim = wq_alloc("reclaim", scarcity->reclaim_flags | WQ_MEM_RECLAIM, 0);
	CHECK(others);
	CHECK(reclaim);
	probe_init(&warm);
	CHECK_EQUAL(wq_queue_on(others, &warm.work, usable_cpu(0)), 1);
	CHECK_EQUAL(wq_flush(others), 0);

	scarcity->begin(scarcity);
	for (i = 0; i < NR_GATES; i++)
		CHECK_EQUAL(wq_queue_on(others, &scarcity->gates[i], usable_cpu(0)), 1);
	while (!create_failed(others))
		pass_ms(1);
	rescued_queue(scarcity, reclaim);
	latch_wait(&scarcity->rescued_ended, NR_RESCUED);
	held = count_get(&scarcity->started.count);
	CHECK(held >= 1);
	CHECK(held < NR_GATES);

	scarcity->end(scarcity);
	latch_wait(&scarcity->started, NR_GATES);
	latch_post(&scarcity->open);
	CHECK_EQUAL(wq_flush(others), 0);
	CHECK_EQUAL(wq_flush(reclaim), 0);
	CHECK_EQUAL(scarcity->started.count, NR_GATES);
	CHECK_EQUAL(scarcity->ended.count, NR_GATES);
	rescued_check(scarcity, reclaim);
	CHECK_EQUAL(wq_stats_read(others, &stats, sizeof(stats)), 0);
	CHECK_EQUAL(stats.started, NR_GATES + 1);
	CHECK_EQUAL(stats.completed, NR_GATES + 1);
	CHECK_EQUAL(stats.rescued, 0);
	CHECK_EQUAL(wq_destroy(others), 0);
	CHECK_EQUAL(wq_destroy(reclaim), 0);
	CHECK_EQUAL(wq_shutdown(), 0);
}

/* --- By a limit --- */

static void limit_begin(struct scarcity *scarcity, int resource, rlim_t soft)
{
	struct rlimit limit;

	scarcity->resource = resource;
	CHECK_EQUAL(getrlimit(resource, &scarcity->limit), 0);
	limit = scarcity->limit;
	limit.rlim_cur = soft;
	CHECK_EQUAL(setrlimit(resource, &limit), 0);
}

static void limit_end(struct scarcity *scarcity)
{
	CHECK_EQUAL(setrlimit(scarcity->resource, &scarcity->limit), 0);
}

/* The user has one thread at least: this.  However many there are, none can be added. */
static void threads_begin(struct scarcity *scarcity)
{
	limit_begin(scarcity, RLIMIT_NPROC, 1);
}

static void scarce_by_user(void *ctx)
{
	struct scarcity *scarcity = ctx;

	become_nobody();
	scarcity->begin = threads_begin;
	scarcity->end = limit_end;
	scarce(scarcity);
}

static size_t address_space_bytes(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[200];
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (got <= 0)
		skip_child("/proc does not say how much address space there is");
	close(fd);
	text[got] = '\0';
	return strtoul(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* No room for a stack. */
static void space_begin(struct scarcity *scarcity)
{
	limit_begin(scarcity, RLIMIT_AS, address_space_bytes() + 256 * 1024);
}

static void scarce_by_space(void *ctx)
{
	struct wq_config config = WQ_CONFIG_INIT;
	struct scarcity *scarcity = ctx;

	unsetenv("WQ_STACK_BYTES");
	config.stack_bytes = 8u << 20;
	CHECK_EQUAL(wq_configure(&config), 0);
	scarcity->begin = space_begin;
	scarcity->end = limit_end;
	scarce(scarcity);
}

/* --- By a cgroup --- */

static bool write_file(const char *dir, const char *name, const char *text)
{
	char path[500];
	bool written;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

/*
 * A new group below the one that this process is in, where the controller of pids is:
 * a line of /proc/self/cgroup is "8:pids:/path", or "0::/path" for all of version 2.
 */
static bool group_make(char *dir, size_t size)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[300], limit[420];
	bool made = false;

	while (file && !made && fgets(line, sizeof(line), file)) {
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
		const char *mount;

		if (!path)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		mount = strcmp(names + 1, "pids") == 0 ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup";
		if (names[1] && strcmp(names + 1, "pids"))
			continue;
		snprintf(dir, size, "%s%s/wq-test-%d", mount, path, (int)getpid());
		if (mkdir(dir, 0755))
			continue;
		snprintf(limit, sizeof(limit), "%s/pids.max", dir);
		made = !access(limit, W_OK);
		if (!made)
			rmdir(dir);
	}
	if (file)
		fclose(file);
	return made;
}

static void group_begin(struct scarcity *scarcity)
{
	CHECK(write_file(scarcity->dir, "pids.max", "1"));
}

static void group_end(struct scarcity *scarcity)
{
	CHECK(write_file(scarcity->dir, "pids.max", "max"));
}

static void scarce_by_group(void *ctx)
{
	struct scarcity *scarcity = ctx;
	char pid[20];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (!write_file(scarcity->dir, "cgroup.procs", pid))
		skip_child("a cgroup can be made, but not entered");
	scarcity->begin = group_begin;
	scarcity->end = group_end;
	scarce(scarcity);
}

/* --- Each, for the kinds of queues --- */

static void each_kind(void (*fn)(void *ctx), const char *dir)
{
	static const unsigned kinds[][2] = {{0, 0},
					    {WQ_PERCPU, WQ_PERCPU},
					    {0, WQ_ORDERED},
					    {WQ_HIGHPRI, WQ_HIGHPRI}};
	static struct scarcity scarcity;
	int status = 0;
	unsigned i;

	fflush(NULL);
	for (i = 0; i < ARRAY_SIZE(kinds) && !status; i++) {
		memset(&scarcity, 0, sizeof(scarcity));
		scarcity.flags = kinds[i][0];
		scarcity.reclaim_flags = kinds[i][1];
		snprintf(scarcity.dir, sizeof(scarcity.dir), "%s", dir);
		status = in_child(fn, &scarcity);
		if (status)
			print_message("flags 0x%x and 0x%x\n", kinds[i][0], kinds[i][1]);
	}
	/* Those who left it may be on their way out of the group. */
	for (i = 0; *dir && rmdir(dir) && i < 100; i++)
		pass_ms(10);
	holds_by_status(status);
}

static void reclaim_items_where_the_user_may_have_no_more_threads_run(void **state)
{
	skip_under_checkers();
	each_kind(scarce_by_user, "");
}

static void reclaim_items_where_no_stack_finds_room_run(void **state)
{
	skip_under_checkers();
	each_kind(scarce_by_space, "");
}

static void reclaim_items_where_a_cgroup_is_full_run(void **state)
{
	char dir[400];

	skip_under_checkers();
	if (!group_make(dir, sizeof(dir))) {
		print_message("no cgroup with a limit of pids can be made\n");
		skip();
	}
	each_kind(scarce_by_group, dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reclaim_items_where_the_user_may_have_no_more_threads_run),
		cmocka_unit_test(reclaim_items_where_no_stack_finds_room_run),
		cmocka_unit_test(reclaim_items_where_a_cgroup_is_full_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
