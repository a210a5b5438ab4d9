/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns what the library says by itself, of things that nobody is told by an answer. */
#ifndef WQI_REPORT_H
#define WQI_REPORT_H

/* One sentence, without a line's end.  No lock held. */
void wqi_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same for a sentence that is made already.  AS-safe, as far as the program's function is. */
void wqi_report_plain(const char *report);

#endif /* WQI_REPORT_H */
