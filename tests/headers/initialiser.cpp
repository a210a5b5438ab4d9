// SPDX-License-Identifier: LGPL-2.1-or-later
// The headers serve C++ too: initialisers, calls and linkage.
#include <wq/wq.h>
#include <wq/compat/linux.h>

#include <cstdio>

static int runs;

static void fn(struct wq_work *work, void *ctx)
{
	(void)work;
	++*static_cast<int *>(ctx);
}

static int kernel_runs;

static void kernel_fn(struct work_struct *work)
{
	(void)work;
	++kernel_runs;
}

static DECLARE_WORK(kernel_work, kernel_fn);
static DECLARE_DELAYED_WORK(kernel_dwork, kernel_fn);

static bool kernel_names_work()
{
	struct workqueue_struct *wq = alloc_workqueue("c++ %d", WQ_UNBOUND | WQ_HIGHPRI, 0, 1);

	if (!wq || !queue_work(wq, &kernel_work) || !queue_delayed_work(wq, &kernel_dwork, HZ))
		return false;
	flush_work(&kernel_work);
	flush_delayed_work(&kernel_dwork);
	destroy_workqueue(wq);
	return kernel_runs == 2;
}

int main()
{
	static struct wq_work work = WQ_WORK_INIT(fn, &runs);
	struct wq *wq = wq_alloc("c++", WQ_ORDERED, 0);

	if (!wq || wq_queue(wq, &work) != 1 || wq_flush(wq) || runs != 1)
		return 1;
	return wq_destroy(wq) || !kernel_names_work() ? 1 : 0;
}
