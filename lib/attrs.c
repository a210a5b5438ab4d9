/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the attributes of queues: setting them, and changing them under load. */
#include "attrs.h"

#include <errno.h>
#include <string.h>

#include "fork.h"
#include "mem.h"
#include "queue.h"
#include "runtime.h"

#include <wq/wq.h>

/* --- the caller's --- */

int wq_attrs_init(struct wq_attrs *attrs)
{
	if (!attrs)
		return -EINVAL;
	memset(attrs, 0, sizeof(*attrs));
	attrs->wq_scope = WQ_AFFN_CACHE_SHARD;
	return 0;
}

void wq_attrs_fini(struct wq_attrs *attrs)
{
	if (!attrs)
		return;
	wqi_free(attrs->wq_cpumask, sizeof(wqi_cpu_mask));
	wq_attrs_init(attrs);
}

int wq_attrs_set_nice(struct wq_attrs *attrs, int nice)
{
	if (!attrs || nice < -20 || nice > 19)
		return -EINVAL;
	attrs->wq_nice = nice;
	attrs->wq_has_nice = true;
	return 0;
}

int wq_attrs_set_cpumask(struct wq_attrs *attrs, const cpu_set_t *mask, size_t bytes)
{
	wqi_cpu_mask *copy = NULL;

	if (!attrs)
		return -EINVAL;
	if (mask) {
		copy = wqi_zalloc(sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, mask, bytes < sizeof(*copy) ? bytes : sizeof(*copy));
		if (!CPU_COUNT_S(sizeof(*copy), copy->set)) {
			wqi_free(copy, sizeof(*copy));
			return -EINVAL;
		}
	}
	wqi_free(attrs->wq_cpumask, sizeof(*copy));
	attrs->wq_cpumask = copy ? copy->set : NULL;
	return 0;
}

int wq_attrs_set_affinity(struct wq_attrs *attrs, enum wq_affn_scope scope)
{
	if (!attrs || (int)scope < (int)WQ_AFFN_CPU || scope > WQ_AFFN_SYSTEM)
		return -EINVAL;
	attrs->wq_scope = (int)scope;
	attrs->wq_has_scope = true;
	return 0;
}

int wq_attrs_set_strict(struct wq_attrs *attrs, bool strict)
{
	if (!attrs)
		return -EINVAL;
	attrs->wq_strict = strict;
	return 0;
}

/* --- a queue's --- */

/* An ordered queue has one pod, or its items could not be in one order. */
struct wqi_attrs wqi_attrs_default(unsigned flags)
{
	struct wqi_attrs attrs = {
		.nice = flags & WQ_HIGHPRI ? -20 : 0,
		.scope = flags & WQ_ORDERED ? WQ_AFFN_SYSTEM : WQ_AFFN_CACHE_SHARD,
	};

	return attrs;
}

int wqi_attrs_copy(struct wqi_attrs *to, const struct wq_attrs *from, unsigned flags)
{
	*to = wqi_attrs_default(flags);
	if (flags & (WQ_PERCPU | WQ_DEDICATED))
		return -EINVAL;
	if (flags & WQ_ORDERED && from->wq_has_scope && from->wq_scope != WQ_AFFN_SYSTEM)
		return -EINVAL;
	if (from->wq_has_nice)
		to->nice = from->wq_nice;
	if (from->wq_has_scope)
		to->scope = (enum wq_affn_scope)from->wq_scope;
	to->strict = from->wq_strict;
	if (!from->wq_cpumask)
		return 0;
	to->cpus = wqi_zalloc(sizeof(*to->cpus));
	if (!to->cpus)
		return -ENOMEM;
	memcpy(to->cpus, from->wq_cpumask, sizeof(*to->cpus));
	return 0;
}

void wqi_attrs_free(struct wqi_attrs *attrs)
{
	wqi_free(attrs->cpus, sizeof(*attrs->cpus));
	attrs->cpus = NULL;
}

int wqi_attrs_pods_locked(const struct wqi_attrs *attrs, struct wqi_pods **to)
{
	struct wqi_pods_key key = {
		.nice = attrs->nice,
		.scope = attrs->scope,
		.strict = attrs->strict,
		.cpus = attrs->cpus,
	};

	return wqi_pods_get_locked(&key, to);
}

/* Let @pods, whose reference it takes over, serve the queue. */
static int attrs_install_locked(struct wq *wq, struct wqi_pods *pods)
{
	struct wqi_table *table;

	wqi_assert_held(&wqi_runtime.lock);

	if (pods == wq->table->pods) {
		wqi_pods_put_locked(pods);
		return 0;
	}
	table = wqi_table_new(wq, pods);
	if (!table) {
		wqi_pods_put_locked(pods);
		return -ENOMEM;
	}
	wqi_lock(&wq->mutex);
	wqi_table_install_locked(wq, table);
	wqi_tables_reap_locked(wq);
	wqi_unlock(&wq->mutex);
	return 0;
}

/* Takes over what @attrs holds if all is well. */
static int attrs_apply_locked(struct wq *wq, struct wqi_attrs *attrs)
{
	struct wqi_pods *pods;
	struct wqi_attrs old;
	int err;

	if (wqi_load_relaxed(&wq->ending))
		return -ESHUTDOWN;
	err = wqi_attrs_pods_locked(attrs, &pods);
	if (!err)
		err = attrs_install_locked(wq, pods);
	if (err)
		return err;
	old = wq->attrs;
	wq->attrs = *attrs;
	*attrs = old;
	return 0;
}

int wq_apply_attrs(struct wq *wq, const struct wq_attrs *attrs)
{
	struct wqi_attrs copy = {0};
	int err;

	if (!wq || !attrs)
		return -EINVAL;
	if (wq->system)
		return -EPERM;
	err = wqi_fork_enter(true);
	if (!err)
		err = wqi_attrs_copy(&copy, attrs, wq->flags);
	if (!err) {
		wqi_lock(&wqi_runtime.lock);
		err = attrs_apply_locked(wq, &copy);
		wqi_unlock(&wqi_runtime.lock);
	}
	wqi_attrs_free(&copy);
	return err;
}

/* The queue's CPUs, or all where none of them is left. */
static int attrs_renew_locked(struct wq *wq)
{
	struct wqi_attrs attrs = wq->attrs;
	struct wqi_pods *pods;
	int err = wqi_attrs_pods_locked(&attrs, &pods);

	if (err == -EINVAL) {
		attrs.cpus = NULL;
		err = wqi_attrs_pods_locked(&attrs, &pods);
	}
	return err ? err : attrs_install_locked(wq, pods);
}

int wqi_attrs_renew_all_locked(void)
{
	struct cds_list_head *link;
	int err = 0, one;

	wqi_assert_held(&wqi_runtime.lock);

	for (link = wqi_queues.next; link != &wqi_queues; link = link->next) {
		struct wq *wq = wqi_queue_of_link(link);

		if (wq->flags & (WQ_PERCPU | WQ_DEDICATED) || wqi_load_relaxed(&wq->dying))
			continue;
		one = attrs_renew_locked(wq);
		err = one ? one : err;
	}
	wqi_pods_forget_locked();
	return err;
}
