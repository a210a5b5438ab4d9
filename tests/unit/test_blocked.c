/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * G11: items that block in every way in which a program can, without a word to the
 * library, and are let go only after another item has run.
 */
#include "observe.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

struct way;

/* An item that blocks, until the main thread lets it go. */
struct blocked {
	struct wq_work work;
	const struct way *way;
	struct latch started;
	unsigned done;
	pid_t tid;
	bool failed;
	pthread_mutex_t mutex;
	sem_t sem;
	unsigned word;
	int fds[2];
	uint64_t value;
	char path[PATH_MAX];
	void *page;
};

/* All but block() are called on the main thread; prepare() is false where that way is not
 * permitted. */
struct way {
	bool (*prepare)(struct blocked *b);
	void (*block)(struct blocked *b);
	void (*release)(struct blocked *b);
	void (*end)(struct blocked *b);
	bool forks;
};

static char directory[PATH_MAX - 32];

static void expect(struct blocked *b, bool right)
{
	b->failed = b->failed || !right;
}

static void end_fds(struct blocked *b)
{
	close(b->fds[0]);
	if (b->fds[1] != b->fds[0])
		close(b->fds[1]);
}

static bool make_file(struct blocked *b, const char *kind)
{
	static unsigned nr;

	return snprintf(b->path, sizeof(b->path), "%s/%s%u", directory, kind, nr++) > 0;
}

/* --- a lock, a futex, a semaphore --- */

static bool mutex_prepare(struct blocked *b)
{
	pthread_mutex_init(&b->mutex, NULL);
	return pthread_mutex_lock(&b->mutex) == 0;
}

static void mutex_block(struct blocked *b)
{
	pthread_mutex_lock(&b->mutex);
	pthread_mutex_unlock(&b->mutex);
}

static void mutex_release(struct blocked *b)
{
	pthread_mutex_unlock(&b->mutex);
}

static void mutex_end(struct blocked *b)
{
	pthread_mutex_destroy(&b->mutex);
}

static bool futex_prepare(struct blocked *b)
{
	b->word = 0;
	return true;
}

static void futex_block(struct blocked *b)
{
	while (!count_get(&b->word))
		syscall(SYS_futex, &b->word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void futex_release(struct blocked *b)
{
	count_set(&b->word, 1);
	syscall(SYS_futex, &b->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static bool sem_prepare(struct blocked *b)
{
	return sem_init(&b->sem, 0, 0) == 0;
}

static void sem_block(struct blocked *b)
{
	int ret;

	do
		ret = sem_wait(&b->sem);
	while (ret && errno == EINTR);
	expect(b, ret == 0);
}

static void sem_release(struct blocked *b)
{
	sem_post(&b->sem);
}

static void sem_end(struct blocked *b)
{
	sem_destroy(&b->sem);
}

/* --- time --- */

static void nanosleep_block(struct blocked *b)
{
	while (!count_get(&b->word))
		sleep_ns(20000000);
}

/* --- descriptors --- */

static bool pipe_prepare(struct blocked *b)
{
	return pipe2(b->fds, O_CLOEXEC) == 0;
}

static void read_block(struct blocked *b)
{
	uint64_t value;

	expect(b, read(b->fds[0], &value, sizeof(value)) == (ssize_t)sizeof(value));
}

static void poll_block(struct blocked *b)
{
	struct pollfd poll_fd = {.fd = b->fds[0], .events = POLLIN};

	expect(b, poll(&poll_fd, 1, -1) == 1);
}

static void write_release(struct blocked *b)
{
	uint64_t one = 1;

	assert_int_equal(write(b->fds[1], &one, sizeof(one)), sizeof(one));
}

static bool eventfd_prepare(struct blocked *b)
{
	b->fds[0] = b->fds[1] = eventfd(0, EFD_CLOEXEC);
	return b->fds[0] >= 0;
}

/* --- files --- */

static bool fifo_prepare(struct blocked *b)
{
	return make_file(b, "fifo") && mkfifo(b->path, 0600) == 0;
}

static void fifo_block(struct blocked *b)
{
	int fd = open(b->path, O_RDONLY | O_CLOEXEC);

	expect(b, fd >= 0);
	close(fd);
}

static void fifo_release(struct blocked *b)
{
	int fd = open(b->path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	close(fd);
}

static void fifo_end(struct blocked *b)
{
	unlink(b->path);
}

static bool flock_prepare(struct blocked *b)
{
	if (!make_file(b, "file"))
		return false;
	b->fds[0] = open(b->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	b->fds[1] = open(b->path, O_RDWR | O_CLOEXEC);
	return b->fds[1] >= 0 && flock(b->fds[1], LOCK_EX) == 0;
}

static void flock_block(struct blocked *b)
{
	expect(b, write(b->fds[0], "x", 1) == 1);
	expect(b, fsync(b->fds[0]) == 0);
	expect(b, flock(b->fds[0], LOCK_EX) == 0);
	expect(b, flock(b->fds[0], LOCK_UN) == 0);
}

static void flock_release(struct blocked *b)
{
	flock(b->fds[1], LOCK_UN);
}

static void flock_end(struct blocked *b)
{
	end_fds(b);
	unlink(b->path);
}

/* --- children --- */

static void wait_for_child(struct blocked *b, pid_t pid)
{
	int status = -1;

	expect(b, pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void fork_block(struct blocked *b)
{
	uint64_t value;
	pid_t pid = fork();

	if (!pid)
		_exit(read(b->fds[0], &value, sizeof(value)) != (ssize_t)sizeof(value));
	wait_for_child(b, pid);
}

/* Blocked in vfork() itself, uninterruptibly, until the child ends. */
static void vfork_block(struct blocked *b)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(read(b->fds[0], &b->value, 8) != 8);
	wait_for_child(b, pid);
}

/* --- memory --- */

static void fault_end(struct blocked *b)
{
	munmap(b->page, (size_t)sysconf(_SC_PAGESIZE));
	close(b->fds[0]);
}

static bool fault_prepare(struct blocked *b)
{
	size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	struct uffdio_api api = {.api = UFFD_API};

	b->fds[0] = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (b->fds[0] < 0)
		return false;
	b->page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	range.range.start = (uintptr_t)b->page;
	range.range.len = bytes;
	if (b->page != MAP_FAILED && !ioctl(b->fds[0], UFFDIO_API, &api) &&
	    !ioctl(b->fds[0], UFFDIO_REGISTER, &range))
		return true;
	fault_end(b);
	return false;
}

static void fault_block(struct blocked *b)
{
	expect(b, *(volatile unsigned char *)b->page == 0);
}

/* Also where the fault is still to come. */
static void fault_release(struct blocked *b)
{
	struct uffdio_zeropage zero = {
		.range = {.start = (uintptr_t)b->page, .len = (size_t)sysconf(_SC_PAGESIZE)}};

	assert_int_equal(ioctl(b->fds[0], UFFDIO_ZEROPAGE, &zero), 0);
}

/* --- one that blocks, and one behind it --- */

static void blocked_fn(struct wq_work *work, void *ctx)
{
	struct blocked *b = ctx;

	b->tid = gettid();
	latch_post(&b->started);
	b->way->block(b);
	count_set(&b->done, 1);
}

static bool blocked_init(struct blocked *b, const struct way *way)
{
	memset(b, 0, sizeof(*b));
	b->way = way;
	b->fds[0] = b->fds[1] = -1;
	latch_init(&b->started);
	wq_work_init(&b->work, blocked_fn, b);
	return way->prepare(b);
}

static void blocked_end(struct blocked *b)
{
	if (b->way->end)
		b->way->end(b);
}

enum { BEHIND_WAITS, BEHIND_COMES_AT_ONCE, BEHIND_COMES_LATER, NR_BEHINDS };

static bool one_behind(struct wq *wq, const struct way *way, unsigned when)
{
	int cpu = usable_cpu(0);
	static struct blocked b;
	struct probe second;

	if (!blocked_init(&b, way))
		return false;
	probe_init(&second);
	assert_int_equal(wq_queue_on(wq, &b.work, cpu), 1);
	if (when != BEHIND_WAITS)
		latch_wait(&b.started, 1);
	if (when == BEHIND_COMES_LATER)
		task_wait_asleep(b.tid);
	assert_int_equal(wq_queue_on(wq, &second.work, cpu), 1);
	latch_wait(&second.ended, 1);
	assert_int_equal(count_get(&b.done), 0);
	way->release(&b);
	assert_int_equal(wq_flush(wq), 0);
	assert_false(b.failed);
	blocked_end(&b);
	return true;
}

/* More of them than CPUs, with one behind them all. */
static void many_before_one(const struct way *way)
{
	struct wq *wq = wq_alloc("blocked", 0, 0);
	unsigned i, nr = nr_usable_cpus() + (unsigned)scaled(30);
	struct blocked *many = calloc(nr, sizeof(*many));
	struct probe last;

	assert_non_null(many);
	probe_init(&last);
	for (i = 0; i < nr; i++) {
		assert_true(blocked_init(&many[i], way));
		assert_int_equal(wq_queue(wq, &many[i].work), 1);
	}
	assert_int_equal(wq_queue(wq, &last.work), 1);
	latch_wait(&last.ended, 1);
	for (i = 0; i < nr; i++) {
		latch_wait(&many[i].started, 1);
		assert_int_equal(count_get(&many[i].done), 0);
	}
	for (i = 0; i < nr; i++)
		way->release(&many[i]);
	assert_int_equal(wq_destroy(wq), 0);
	for (i = 0; i < nr; i++) {
		assert_false(many[i].failed);
		blocked_end(&many[i]);
	}
	free(many);
}

static void way_lets_others_start(const struct way *way, const char *not_permitted)
{
	struct wq *wq;
	unsigned when;

	if (way->forks)
		skip_if_checker_hangs_children();
	wq = wq_alloc("blocked", WQ_PERCPU, 0);
	for (when = 0; when < 2 * NR_BEHINDS; when++) {
		if (one_behind(wq, way, when % NR_BEHINDS))
			continue;
		assert_int_equal(wq_destroy(wq), 0);
		print_message("%s\n", not_permitted);
		skip();
	}
	assert_int_equal(pool_stats_of(wq, usable_cpu(0)).started_above_level, 0);
	assert_int_equal(wq_destroy(wq), 0);
	many_before_one(way);
}

#define BLOCKED_IN(name, not_permitted, ...)                                                       \
	static void blocked_in_##name##_lets_others_start(void **state)                            \
	{                                                                                          \
		static const struct way way = {__VA_ARGS__};                                       \
                                                                                                   \
		way_lets_others_start(&way, not_permitted);                                        \
	}

BLOCKED_IN(a_mutex, "no mutex", mutex_prepare, mutex_block, mutex_release, mutex_end, false)
BLOCKED_IN(a_futex, "no futex", futex_prepare, futex_block, futex_release, NULL, false)
BLOCKED_IN(sem_wait, "no semaphore", sem_prepare, sem_block, sem_release, sem_end, false)
BLOCKED_IN(nanosleep, "no sleep", futex_prepare, nanosleep_block, futex_release, NULL, false)
BLOCKED_IN(a_pipe_read, "no pipe", pipe_prepare, read_block, write_release, end_fds, false)
BLOCKED_IN(poll, "no pipe", pipe_prepare, poll_block, write_release, end_fds, false)
BLOCKED_IN(an_eventfd_read, "no eventfd", eventfd_prepare, read_block, write_release, end_fds,
	   false)
BLOCKED_IN(a_fifo_open, "no fifo can be made", fifo_prepare, fifo_block, fifo_release, fifo_end,
	   false)
BLOCKED_IN(fsync_and_flock, "files can't be locked", flock_prepare, flock_block, flock_release,
	   flock_end, false)
BLOCKED_IN(waitpid, "no pipe", pipe_prepare, fork_block, write_release, end_fds, true)
BLOCKED_IN(vfork, "no pipe", pipe_prepare, vfork_block, write_release, end_fds, true)
BLOCKED_IN(a_page_fault, "userfaultfd is not permitted", fault_prepare, fault_block, fault_release,
	   fault_end, false)

static int start(void **state)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/wq-blocked-%d", tmp ? tmp : "/tmp",
		 (int)getpid());
	return wq_system() && mkdir(directory, 0700) == 0 ? 0 : -1;
}

static int finish(void **state)
{
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocked_in_a_mutex_lets_others_start),
		cmocka_unit_test(blocked_in_a_futex_lets_others_start),
		cmocka_unit_test(blocked_in_sem_wait_lets_others_start),
		cmocka_unit_test(blocked_in_nanosleep_lets_others_start),
		cmocka_unit_test(blocked_in_a_pipe_read_lets_others_start),
		cmocka_unit_test(blocked_in_poll_lets_others_start),
		cmocka_unit_test(blocked_in_an_eventfd_read_lets_others_start),
		cmocka_unit_test(blocked_in_a_fifo_open_lets_others_start),
		cmocka_unit_test(blocked_in_fsync_and_flock_lets_others_start),
		cmocka_unit_test(blocked_in_waitpid_lets_others_start),
		cmocka_unit_test(blocked_in_vfork_lets_others_start),
		cmocka_unit_test(blocked_in_a_page_fault_lets_others_start),
	};

	return cmocka_run_group_tests(tests, start, finish);
}
