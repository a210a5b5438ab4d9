/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns calling a function on given CPUs and waiting for it. */
#include <errno.h>

#include "cpu.h"
#include "item.h"
#include "mem.h"
#include "queue.h"

#include <wq/wq.h>

struct run_on {
	struct wq_work work;
	void (*fn)(void *ctx);
};

static void run_on_fn(struct wq_work *work, void *ctx)
{
	caa_container_of(work, struct run_on, work)->fn(ctx);
}

/* The system queue, whose being asked for also reads the CPUs.  errno is kept. */
static int run_on_queue(struct wq **wq)
{
	int saved = errno, err;

	*wq = wq_system_percpu();
	err = *wq ? 0 : -errno;
	errno = saved;
	return err;
}

static int run_on_start(struct wq *wq, struct run_on *run, unsigned cpu, void (*fn)(void *ctx),
			void *ctx)
{
	int ret;

	wq_work_init(&run->work, run_on_fn, ctx);
	run->fn = fn;
	ret = wqi_queue_work(wq, &run->work, (int)cpu);
	return ret < 0 ? ret : 0;
}

/*
 * The wait is refused where the caller's own item is in the way: max_active of the
 * system queue was set to 1.
 */
static int run_on_wait(struct run_on *run)
{
	int ret = wq_work_flush(&run->work);

	/* It may have gone through since. */
	return ret < 0 && wq_work_cancel_sync(&run->work) == 1 ? ret : 0;
}

int wq_run_on(int cpu, void (*fn)(void *ctx), void *ctx)
{
	struct run_on run;
	struct wq *wq;
	int err;

	if (!fn || cpu < 0 || cpu >= WQ_MAX_CPUS)
		return -EINVAL;
	err = run_on_queue(&wq);
	if (!err && !wqi_cpu_is_usable((unsigned)cpu))
		err = -ENODEV;
	if (!err)
		err = run_on_start(wq, &run, (unsigned)cpu, fn, ctx);
	return err ? err : run_on_wait(&run);
}

/* Nothing is refused half-way but by wq_shutdown(), which must not be called then. */
int wq_run_on_each_cpu(void (*fn)(void *ctx), void *ctx)
{
	unsigned cpu, nr = 0, i;
	struct run_on *runs;
	wqi_cpu_mask cpus;
	struct wq *wq;
	size_t bytes;
	int err, ret;

	if (!fn)
		return -EINVAL;
	err = run_on_queue(&wq);
	if (err)
		return err;
	wqi_mask_copy(&cpus, &wqi_cpus.mask);
	bytes = (size_t)CPU_COUNT_S(sizeof(cpus), cpus.set) * sizeof(*runs);
	runs = wqi_zalloc(bytes);
	if (!runs)
		return -ENOMEM;
	for (cpu = 0; !err && cpu < wqi_cpus.nr; cpu++)
		if (CPU_ISSET_S(cpu, sizeof(cpus), cpus.set))
			err = run_on_start(wq, &runs[nr++], cpu, fn, ctx);
	for (i = 0; i < nr; i++) {
		ret = run_on_wait(&runs[i]);
		err = err ? err : ret;
	}
	wqi_free(runs, bytes);
	return err;
}
