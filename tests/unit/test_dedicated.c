/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queues with a thread of their own, and power efficient ones, which are per CPU. */
#include "support.h"
#include "process.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void nop(struct wq_work *work, void *ctx)
{
}

static bool task_lives(pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d", (int)tid);
	return access(path, F_OK) == 0;
}

/* How many threads of the process have this name; any for NULL. */
static unsigned count_tasks(const char *name)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned nr = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[300], comm[32] = "";
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fgets(comm, sizeof(comm), file))
			comm[strcspn(comm, "\n")] = '\0';
		fclose(file);
		nr += !name || strcmp(comm, name) == 0;
	}
	closedir(dir);
	return nr;
}

/* Notes on which thread it runs. */
struct where {
	struct wq_work work;
	pid_t tid;
	int cpu, nice, nr_cpus;
	char name[16];
	sigset_t blocked;
	struct wq *wq;
	struct wq_work *current;
};

static void where_fn(struct wq_work *work, void *ctx)
{
	struct where *where = ctx;
	cpu_set_t cpus;

	where->tid = gettid();
	where->cpu = sched_getcpu();
	where->nice = getpriority(PRIO_PROCESS, 0);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	where->nr_cpus = CPU_COUNT(&cpus);
	pthread_getname_np(pthread_self(), where->name, sizeof(where->name));
	pthread_sigmask(SIG_BLOCK, NULL, &where->blocked);
	where->wq = wq_current_wq();
	where->current = wq_current_work();
}

static pid_t thread_of(struct wq *wq)
{
	struct where where;

	wq_work_init(&where.work, where_fn, &where);
	assert_int_equal(wq_queue(wq, &where.work), 1);
	wq_work_flush(&where.work);
	assert_ptr_equal(where.wq, wq);
	assert_ptr_equal(where.current, &where.work);
	return where.tid;
}

/* --- what it is --- */

static void alloc_checks_what_goes_with_dedicated(void **state)
{
	static const struct {
		unsigned flags;
		int max_active, err;
	} cases[] = {
		{WQ_DEDICATED | WQ_PERCPU, 0, EINVAL},
		{WQ_DEDICATED | WQ_POWER_EFFICIENT, 0, EINVAL},
		{WQ_ORDERED | WQ_POWER_EFFICIENT, 0, EINVAL},
		{WQ_DEDICATED, 2, EINVAL},
		{WQ_DEDICATED, WQ_MAX_ACTIVE, EINVAL},
		{WQ_DEDICATED, -1, EINVAL},
		{WQ_DEDICATED | WQ_PERCPU | WQ_BH, 0, EINVAL},
		{WQ_DEDICATED | WQ_MEM_RECLAIM, 0, 0},
		{WQ_DEDICATED | WQ_OBSERVE, 0, EOPNOTSUPP},
		{WQ_DEDICATED, 0, 0},
		{WQ_DEDICATED, 1, 0},
		{WQ_DEDICATED | WQ_ORDERED, 1, 0},
		{WQ_DEDICATED | WQ_HIGHPRI | WQ_CPU_INTENSIVE | WQ_FREEZABLE, 0, 0},
		{WQ_POWER_EFFICIENT, 5, 0},
		{WQ_POWER_EFFICIENT | WQ_PERCPU, 0, 0},
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wq *wq;

		errno = 0;
		wq = wq_alloc("case", cases[i].flags, cases[i].max_active);
		if (cases[i].err) {
			assert_null(wq);
			assert_int_equal(errno, cases[i].err);
			assert_int_equal(count_tasks("wq/case"), 0);
			continue;
		}
		assert_non_null(wq);
		if (cases[i].flags & WQ_DEDICATED)
			assert_int_equal(wq_set_max_active(wq, 1), -EINVAL);
		thread_of(wq);
		assert_int_equal(wq_destroy(wq), 0);
		while (count_tasks("wq/case"))
			sched_yield();
	}
}

static void thread_carries_the_name_from_the_start(void **state)
{
	static const char *const names[][2] = {
		{"d", "wq/d"},
		{"abcdefghijkl", "wq/abcdefghijkl"},
		{"abcdefghijklm", "wq/abcdefghijkl"},
		{"wq/percent%s and blank", "wq/wq/percent%s"},
	};
	struct where where;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		struct wq *wq = wq_alloc(names[i][0], WQ_DEDICATED, 0);

		assert_non_null(wq);
		while (count_tasks(names[i][1]) != 1)
			sched_yield();
		wq_work_init(&where.work, where_fn, &where);
		assert_int_equal(wq_queue(wq, &where.work), 1);
		assert_int_equal(wq_flush(wq), 0);
		assert_string_equal(where.name, names[i][1]);
		assert_int_equal(wq_destroy(wq), 0);
		while (task_lives(where.tid) || count_tasks(names[i][1]))
			sched_yield();
	}
}

static void thread_is_like_other_workers(void **state)
{
	struct wq *wq = wq_alloc("plain", WQ_DEDICATED, 0);
	struct wq *high = wq_alloc("high", WQ_DEDICATED | WQ_HIGHPRI, 0);
	struct where where, prior;

	wq_work_init(&where.work, where_fn, &where);
	wq_queue(wq, &where.work);
	wq_work_flush(&where.work);
	assert_int_equal(sigismember(&where.blocked, SIGTERM), 1);
	assert_int_equal(sigismember(&where.blocked, SIGSEGV), 0);
	assert_int_equal(where.nice, getpriority(PRIO_PROCESS, 0));
	wq_work_init(&prior.work, where_fn, &prior);
	wq_queue(high, &prior.work);
	wq_work_flush(&prior.work);
	if (geteuid() == 0)
		assert_int_equal(prior.nice, -20);
	assert_true(prior.nice <= where.nice);
	assert_int_not_equal(prior.tid, where.tid);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(high), 0);
}

/* --- one thread, in order --- */

struct batch {
	struct wq *wq;
	pid_t tid;
	unsigned long wrong, next, inside, last[3];
	struct batch_item {
		struct wq_work work;
		struct batch *batch;
		unsigned thread;
		unsigned long nr;
	} items[3][2000];
};

static void batch_fn(struct wq_work *work, void *ctx)
{
	struct batch_item *item = ctx;
	struct batch *batch = item->batch;

	if (count_up(&batch->inside) != 1 || batch->tid != gettid() ||
	    item->nr != batch->last[item->thread]++)
		count_up(&batch->wrong);
	batch->next++;
	count_add(&batch->inside, -1);
}

static void batch_thread(void *ctx, unsigned index)
{
	unsigned long i, nr = scaled(ARRAY_SIZE(((struct batch *)0)->items[0]));
	struct batch *batch = ctx;

	for (i = 0; i < nr; i++)
		if (wq_queue(batch->wq, &batch->items[index][i].work) != 1)
			count_up(&batch->wrong);
}

static void items_run_in_order_on_one_and_the_same_thread(void **state)
{
	unsigned long round, i, rounds = scaled(20);
	static struct batch batch;
	unsigned t;

	memset(&batch, 0, sizeof(batch));
	batch.wq = wq_alloc("batch", WQ_DEDICATED, 0);
	batch.tid = thread_of(batch.wq);
	assert_int_not_equal(batch.tid, gettid());
	for (t = 0; t < 3; t++) {
		for (i = 0; i < ARRAY_SIZE(batch.items[t]); i++) {
			batch.items[t][i].batch = &batch;
			batch.items[t][i].thread = t;
			batch.items[t][i].nr = i;
			wq_work_init(&batch.items[t][i].work, batch_fn, &batch.items[t][i]);
		}
	}
	for (round = 0; round < rounds; round++) {
		memset(batch.last, 0, sizeof(batch.last));
		run_threads(3, batch_thread, &batch);
		assert_int_equal(round & 1 ? wq_flush(batch.wq) : wq_drain(batch.wq), 0);
		assert_int_equal(batch.wrong, 0);
		assert_int_equal(batch.next, (round + 1) * 3 * scaled(2000));
	}
	assert_int_equal(thread_of(batch.wq), batch.tid);
	assert_int_equal(wq_destroy(batch.wq), 0);
	while (task_lives(batch.tid))
		sched_yield();
}

/* Main sets WQ_IDLE_TIMEOUT_MS to 1: pool workers end, this thread stays. */
static void idle_thread_stays(void **state)
{
	struct wq *wq = wq_alloc("idle", WQ_DEDICATED, 0), *pool = wq_alloc("pool", 0, 0);
	pid_t tid = thread_of(wq);
	struct probe gates[8];
	unsigned i, most;

	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		probe_init_gate(&gates[i]);
		assert_int_equal(wq_queue(pool, &gates[i].work), 1);
	}
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_wait(&gates[i].started, 1);
	most = count_tasks(NULL);
	for (i = 0; i < ARRAY_SIZE(gates); i++)
		latch_post(&gates[i].open);
	while (count_tasks(NULL) > most - ARRAY_SIZE(gates) / 2)
		sched_yield();
	assert_int_equal(thread_of(wq), tid);
	assert_int_equal(wq_destroy(wq), 0);
	assert_int_equal(wq_destroy(pool), 0);
}

static void queues_run_beside_each_other(void **state)
{
	struct wq *wq[6];
	struct probe gates[6];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(wq); i++) {
		wq[i] = wq_alloc("beside", WQ_DEDICATED, 0);
		probe_init_gate(&gates[i]);
		assert_int_equal(wq_queue(wq[i], &gates[i].work), 1);
	}
	for (i = 0; i < ARRAY_SIZE(wq); i++)
		latch_wait(&gates[i].started, 1);
	thread_of(wq_system());
	for (i = 0; i < ARRAY_SIZE(wq); i++) {
		latch_post(&gates[i].open);
		assert_int_equal(wq_destroy(wq[i]), 0);
	}
}

static void many_queues_come_and_go_and_leave_no_thread(void **state)
{
	unsigned long round, rounds = scaled(20);
	struct wq *wq[32];
	unsigned i;

	for (round = 0; round < rounds; round++) {
		struct wq_work works[ARRAY_SIZE(wq)];

		for (i = 0; i < ARRAY_SIZE(wq); i++) {
			wq[i] = wq_alloc("many", WQ_DEDICATED, 0);
			assert_non_null(wq[i]);
			wq_work_init(&works[i], nop, NULL);
			/* Some end without ever having run an item. */
			if (i % 3)
				assert_int_equal(wq_queue(wq[i], &works[i]), 1);
		}
		for (i = 0; i < ARRAY_SIZE(wq); i++)
			assert_int_equal(wq_destroy(wq[i]), 0);
	}
	while (count_tasks("wq/many"))
		sched_yield();
}

/* --- the end of its thread in an item --- */

struct quitter {
	struct where where; /* first: its item is where's */
	bool quit;
	int requeued;
	struct latch started, open;
};

static void quitter_fn(struct wq_work *work, void *ctx)
{
	struct quitter *q = ctx;

	where_fn(work, &q->where);
	latch_post(&q->started);
	latch_wait(&q->open, 1);
	if (!q->quit)
		return;
	q->quit = false;
	q->requeued = wq_queue(wq_current_wq(), work);
	pthread_exit(NULL);
}

static void pthread_exit_in_an_item_replaces_the_thread(void **state)
{
	unsigned long round, rounds = scaled(100);
	struct wq *wq = wq_alloc("quitter", WQ_DEDICATED, 0);
	struct where behind;
	struct quitter q;
	pid_t tid;

	for (round = 0; round < rounds; round++) {
		memset(&q, 0, sizeof(q));
		latch_init(&q.started);
		latch_init(&q.open);
		q.quit = true;
		wq_work_init(&q.where.work, quitter_fn, &q);
		assert_int_equal(wq_queue(wq, &q.where.work), 1);
		latch_wait(&q.started, 1);
		tid = q.where.tid;
		wq_work_init(&behind.work, where_fn, &behind);
		assert_int_equal(wq_queue(wq, &behind.work), 1);
		latch_post(&q.open);
		/* The run that ended so counts as finished, for whomever waits. */
		if (round % 3 == 0)
			assert_int_equal(wq_flush(wq), 0);
		else if (round % 3 == 1)
			assert_int_equal(wq_drain(wq), 0);
		else
			wq_work_cancel_sync(&q.where.work);
		wq_work_flush(&behind.work);
		wq_work_flush(&q.where.work);
		if (round % 3 != 2) /* else the canceller may have been first */
			assert_int_equal(q.requeued, 1);
		assert_int_equal(wq_work_busy(&q.where.work), 0);
		assert_int_not_equal(behind.tid, tid);
		assert_string_equal(behind.name, "wq/quitter");
		if (round % 3 != 2)
			assert_int_equal(q.where.tid, behind.tid);
		assert_int_equal(thread_of(wq), behind.tid);
		while (task_lives(tid))
			sched_yield();
	}
	assert_int_equal(wq_destroy(wq), 0);
	while (count_tasks("wq/quitter"))
		sched_yield();
}

/* --- waits that can't end --- */

struct own {
	struct wq_work work, behind, beside;
	struct wq *wq, *other;
	int flush, drain, destroy, item, self, cancel, other_flush;
};

static void own_fn(struct wq_work *work, void *ctx)
{
	struct own *own = ctx;

	wq_queue(own->wq, &own->behind);
	own->flush = wq_flush(own->wq);
	own->drain = wq_drain(own->wq);
	own->destroy = wq_destroy(own->wq);
	own->item = wq_work_flush(&own->behind);
	own->self = wq_work_flush(work);
	own->cancel = wq_work_cancel_sync(work);
	own->other_flush = wq_flush(own->other);
}

static void waits_for_itself_answer_edeadlk(void **state)
{
	struct own own = {.wq = wq_alloc("own", WQ_DEDICATED, 0),
			  .other = wq_alloc("other", WQ_DEDICATED, 0)};

	wq_work_init(&own.behind, nop, NULL);
	wq_work_init(&own.beside, nop, NULL);
	wq_work_init(&own.work, own_fn, &own);
	assert_int_equal(wq_queue(own.other, &own.beside), 1);
	assert_int_equal(wq_queue(own.wq, &own.work), 1);
	assert_int_equal(wq_flush(own.wq), 0);
	assert_int_equal(own.flush, -EDEADLK);
	assert_int_equal(own.drain, -EDEADLK);
	assert_int_equal(own.destroy, -EDEADLK);
	assert_int_equal(own.item, -EDEADLK);
	assert_int_equal(own.self, -EDEADLK);
	assert_int_equal(own.cancel, -EDEADLK);
	assert_int_equal(own.other_flush, 0);
	assert_int_equal(wq_destroy(own.wq), 0);
	assert_int_equal(wq_destroy(own.other), 0);
}

/* --- power efficient: per CPU as long as power is not to be saved --- */

static void power_efficient_queue_pins_to_the_cpu_named(void **state)
{
	struct wq *wq = wq_alloc("efficient", WQ_POWER_EFFICIENT, 0);
	struct where where;
	cpu_set_t before, one;
	char prefix[16];
	unsigned i, j;
	int cpu;

	skip_if_cpus_are_pretended();
	sched_getaffinity(0, sizeof(before), &before);
	for (i = 0; (cpu = usable_cpu(i)) >= 0; i++) {
		snprintf(prefix, sizeof(prefix), "wq/%d:", cpu);
		for (j = 0; j < 4; j++) {
			struct wq *to = j & 1 ? wq : wq_system_power_efficient();

			wq_work_init(&where.work, where_fn, &where);
			if (j & 2) {
				assert_int_equal(wq_queue_on(to, &where.work, cpu), 1);
			} else {
				CPU_ZERO(&one);
				CPU_SET(cpu, &one);
				sched_setaffinity(0, sizeof(one), &one);
				assert_int_equal(wq_queue(to, &where.work), 1);
				sched_setaffinity(0, sizeof(before), &before);
			}
			wq_work_flush(&where.work);
			assert_int_equal(where.cpu, cpu);
			assert_int_equal(where.nr_cpus, 1);
			assert_memory_equal(where.name, prefix, strlen(prefix));
		}
	}
	assert_int_equal(wq_destroy(wq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alloc_checks_what_goes_with_dedicated),
		cmocka_unit_test(thread_carries_the_name_from_the_start),
		cmocka_unit_test(thread_is_like_other_workers),
		cmocka_unit_test(items_run_in_order_on_one_and_the_same_thread),
		cmocka_unit_test(idle_thread_stays),
		cmocka_unit_test(queues_run_beside_each_other),
		cmocka_unit_test(many_queues_come_and_go_and_leave_no_thread),
		cmocka_unit_test(pthread_exit_in_an_item_replaces_the_thread),
		cmocka_unit_test(waits_for_itself_answer_edeadlk),
		cmocka_unit_test(power_efficient_queue_pins_to_the_cpu_named),
	};

	setenv("WQ_IDLE_TIMEOUT_MS", "1", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
