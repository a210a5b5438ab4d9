/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns handing reports over.  Does not decide what is reported, or how often. */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "atomic.h"

#include <wq/stats.h>

#define REPORT_BYTES 512

static wq_report_fn report_fn; /* A, release/acquire */

void wq_set_report(wq_report_fn fn)
{
	wqi_store_release(&report_fn, fn);
}

/* One line, in one write, so that others' output does not come between.  AS-safe. */
static void report_to_stderr(const char *report)
{
	static const char prefix[] = "libwq: ";
	size_t begin = sizeof(prefix) - 1, len = strnlen(report, REPORT_BYTES);
	char line[REPORT_BYTES + sizeof(prefix)];

	memcpy(line, prefix, begin);
	memcpy(line + begin, report, len);
	line[begin + len] = '\n';
	if (write(STDERR_FILENO, line, begin + len + 1) < 0)
		return; /* nobody to tell */
}

void wqi_report_plain(const char *report)
{
	wq_report_fn fn = wqi_load_acquire(&report_fn);
	int saved = errno;

	if (fn)
		fn(report);
	else
		report_to_stderr(report);
	errno = saved;
}

void wqi_report(const char *fmt, ...)
{
	char report[REPORT_BYTES];
	int saved = errno;
	va_list args;

	va_start(args, fmt);
	vsnprintf(report, sizeof(report), fmt, args);
	va_end(args);
	wqi_report_plain(report);
	errno = saved;
}
