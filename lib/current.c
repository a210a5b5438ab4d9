/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns what an item can ask of the worker that runs it, and tell it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pwq.h"
#include "worker.h"

struct wq_work *wq_current_work(void)
{
	struct wqi_worker *self = wqi_worker_self;

	return self ? self->current_work : NULL;
}

struct wq *wq_current_wq(void)
{
	struct wqi_worker *self = wqi_worker_self;

	return self && self->current_work ? wqi_pwq_wq(self->current_pwq) : NULL;
}

int wq_set_worker_desc(const char *fmt, ...)
{
	struct wqi_worker *self = wqi_worker_self;
	char desc[WQ_DESC_BYTES];
	int len, saved = errno;
	va_list args;

	if (!self || !self->current_work)
		return -EPERM;
	if (!fmt)
		return -EINVAL;
	va_start(args, fmt);
	len = vsnprintf(desc, sizeof(desc), fmt, args);
	va_end(args);
	errno = saved;
	if (len < 0)
		return -EINVAL;
	wqi_pool_lock(self->pool);
	memcpy(self->desc, desc, sizeof(desc));
	self->described = self->marked = true;
	wqi_pool_unlock(self->pool);
	return 0;
}
