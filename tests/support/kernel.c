/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the kernel's names share. */
#define HZ 300 /* not what the tests have: each file has its own */
#include "kernel.h"

unsigned long msecs_to_jiffies_of_300(unsigned m)
{
	return msecs_to_jiffies(m);
}

uint64_t delay_ns_of_300(unsigned long delay)
{
	return wq_linux_delay_ns(delay);
}

static void job_run(struct job *job)
{
	unsigned long runs = count_up(&job->runs);

	where_note(&job->where);
	job->current = current_work();
	latch_post(&job->started);
	if (job->gated)
		latch_wait(&job->open, runs);
	latch_post(&job->ended);
}

static void job_fn(struct work_struct *work)
{
	struct job *job = from_work(job, work, work);

	job_run(job);
}

static void job_later_fn(struct work_struct *work)
{
	job_run(container_of(to_delayed_work(work), struct job, dwork));
}

void job_init(struct job *job)
{
	memset(job, 0, sizeof(*job));
	INIT_WORK(&job->work, job_fn);
	INIT_DELAYED_WORK(&job->dwork, job_later_fn);
	latch_init(&job->started);
	latch_init(&job->open);
	latch_init(&job->ended);
}

void job_init_gate(struct job *job)
{
	job_init(job);
	job->gated = true;
}

void job_wait(struct job *job, unsigned long runs)
{
	latch_wait(&job->ended, runs);
	flush_work(&job->work);
	flush_delayed_work(&job->dwork);
	assert_int_equal(job->runs, runs);
}

struct kind kind_of(struct workqueue_struct *wq)
{
	struct wq_pool_stats stats;
	struct kind kind;
	struct job job;

	assert_non_null(wq);
	job_init(&job);
	assert_true(queue_work_on(usable_cpu(0), wq, &job.work));
	job_wait(&job, 1);
	assert_ptr_equal(job.where.wq, wq_from_linux(wq));
	stats = pool_stats_of(wq_from_linux(wq), usable_cpu(0));
	kind.percpu = stats.cpu >= 0;
	kind.highpri = stats.nice_wanted == -20;
	kind.bh = strchr(job.where.name, 'B') != NULL;
	return kind;
}

static unsigned nr_reports;
char report_last[256];

static void report_note(const char *report)
{
	strncpy(report_last, report, sizeof(report_last) - 1);
	count_up(&nr_reports);
}

void reports_begin(void)
{
	wq_set_report(report_note);
}

unsigned reports_taken(void)
{
	return __atomic_exchange_n(&nr_reports, 0, __ATOMIC_SEQ_CST);
}

int no_report_is_left(void **state)
{
	unsigned nr = reports_taken();

	if (nr)
		print_message("%u reports that were not expected, the last: %s\n", nr, report_last);
	return nr ? -1 : 0;
}
