/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the table of descriptors that are waited for. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "mem.h"
#include "timer.h"

struct watch_table {
	unsigned nr;
	struct wqi_watch *of[];
};

struct wqi_lock wqi_watch_lock;
static struct watch_table *watch_table; /* Q: by number; see fork.h */

void wqi_trigger_lock(void)
{
	wqi_timer_locks_held++;
	wqi_lock(&wqi_watch_lock);
}

void wqi_trigger_unlock(void)
{
	wqi_unlock(&wqi_watch_lock);
	wqi_timer_locks_held--;
}

static size_t table_bytes(unsigned nr)
{
	return sizeof(struct watch_table) + nr * sizeof(struct wqi_watch *);
}

struct wqi_watch *wqi_watch_find_locked(int fd)
{
	wqi_assert_held(&wqi_watch_lock);

	return fd < wqi_watch_end_locked() ? watch_table->of[fd] : NULL;
}

bool wqi_watch_has_locked(const struct wq_event *ev, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		if (!wqi_watch_find_locked(ev[i].fd))
			return false;
	return true;
}

int wqi_watch_end_locked(void)
{
	wqi_assert_held(&wqi_watch_lock);

	return watch_table ? (int)watch_table->nr : 0;
}

/* Where another thread is quicker, ours goes. */
static bool table_grow(unsigned fd)
{
	struct watch_table *old, *new;
	unsigned nr = 64;

	while (nr <= fd)
		nr *= 2;
	new = wqi_zalloc(table_bytes(nr));
	if (!new)
		return false;
	new->nr = nr;
	wqi_trigger_lock();
	old = watch_table;
	if (old && old->nr >= nr) {
		old = new;
	} else {
		if (old)
			memcpy(new->of, old->of, old->nr * sizeof(old->of[0]));
		wqi_store_release(&watch_table, new);
	}
	wqi_trigger_unlock();
	if (old)
		wqi_free(old, table_bytes(old->nr));
	return true;
}

static int table_add(int fd)
{
	struct wqi_watch *watch;

	if (!table_grow((unsigned)fd))
		return -ENOMEM;
	watch = wqi_zalloc(sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	CDS_INIT_LIST_HEAD(&watch->events);
	wqi_trigger_lock();
	if (!watch_table->of[fd]) {
		wqi_store_release(&watch_table->of[fd], watch);
		watch = NULL;
	}
	wqi_trigger_unlock();
	if (watch)
		wqi_free(watch, sizeof(*watch));
	return 0;
}

/* A number that is no descriptor's may be any, and gets no memory. */
int wqi_watch_add(const struct wq_event *ev, unsigned nr)
{
	int err = 0, saved = errno;
	unsigned i;
	bool has;

	for (i = 0; i < nr && !err; i++) {
		wqi_trigger_lock();
		has = wqi_watch_has_locked(&ev[i], 1);
		wqi_trigger_unlock();
		if (!has)
			err = fcntl(ev[i].fd, F_GETFD) < 0 ? -EBADF : table_add(ev[i].fd);
	}
	errno = saved;
	return err;
}

void wqi_watches_free(void)
{
	struct watch_table *table = watch_table;
	unsigned fd;

	wqi_store_release(&watch_table, (struct watch_table *)NULL);
	if (!table)
		return;
	for (fd = 0; fd < table->nr; fd++)
		if (table->of[fd])
			wqi_free(table->of[fd], sizeof(struct wqi_watch));
	wqi_free(table, table_bytes(table->nr));
}

void wqi_watches_reset(void)
{
	unsigned fd;

	wqi_lock_reset(&wqi_watch_lock);
	for (fd = 0; watch_table && fd < watch_table->nr; fd++)
		if (watch_table->of[fd])
			CDS_INIT_LIST_HEAD(&watch_table->of[fd]->events);
}
