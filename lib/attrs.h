/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns what the library keeps of a queue's attributes, and changing them.  What comes of
 * them is in pods.h and table.h.
 */
#ifndef WQI_ATTRS_H
#define WQI_ATTRS_H

#include "pods.h"

struct wqi_attrs {
	int nice;
	enum wq_affn_scope scope;
	bool strict;
	wqi_cpu_mask *cpus; /* NULL: all */
};

/* The attributes of an unbound queue with these flags that nobody has given any. */
struct wqi_attrs wqi_attrs_default(unsigned flags);

/*
 * A copy of @from for an unbound queue with these flags.  0; -EINVAL the queue can't have
 * them; -ENOMEM.
 */
int wqi_attrs_copy(struct wqi_attrs *to, const struct wq_attrs *from, unsigned flags);
void wqi_attrs_free(struct wqi_attrs *attrs);

/* The pods for them, with a reference: as wqi_pods_get_locked(). */
int wqi_attrs_pods_locked(const struct wqi_attrs *attrs, struct wqi_pods **to);

/*
 * Divide the CPUs anew for every unbound queue, for they have changed.  What could not
 * be changed for want of memory stays as it is: -ENOMEM.  Under G.
 */
int wqi_attrs_renew_all_locked(void);

#endif /* WQI_ATTRS_H */
