// SPDX-License-Identifier: LGPL-2.1-or-later
// The headers serve C++ too: initialisers, calls and linkage.
#include <wq/wq.h>

#include <cstdio>

static int runs;

static void fn(struct wq_work *work, void *ctx)
{
	(void)work;
	++*static_cast<int *>(ctx);
}

int main()
{
	static struct wq_work work = WQ_WORK_INIT(fn, &runs);
	struct wq *wq = wq_alloc("c++", WQ_ORDERED, 0);

	if (!wq || wq_queue(wq, &work) != 1 || wq_flush(wq) || runs != 1)
		return 1;
	return wq_destroy(wq) ? 1 : 0;
}
