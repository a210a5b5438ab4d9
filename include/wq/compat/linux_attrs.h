/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/compat/linux_attrs.h
 * Part of wq/compat/linux.h: attributes of unbound queues, and the masks in them.
 *
 * The scopes WQ_AFFN_CPU to WQ_AFFN_SYSTEM are libwq's own.
 */
#ifndef WQ_COMPAT_LINUX_ATTRS_H
#define WQ_COMPAT_LINUX_ATTRS_H

#include <wq/compat/linux.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WQ_LINUX_LONG_BITS (8 * sizeof(unsigned long))

struct cpumask {
	unsigned long bits[WQ_MAX_CPUS / (8 * sizeof(unsigned long))];
};

typedef struct cpumask cpumask_t;
typedef struct cpumask cpumask_var_t[1];

static inline void cpumask_clear(struct cpumask *mask)
{
	memset(mask, 0, sizeof(*mask));
}

static inline void cpumask_setall(struct cpumask *mask)
{
	memset(mask, 0xff, sizeof(*mask));
}

static inline void cpumask_copy(struct cpumask *to, const struct cpumask *from)
{
	*to = *from;
}

static inline bool cpumask_test_cpu(int cpu, const struct cpumask *mask)
{
	size_t bit = (size_t)(unsigned)cpu;

	return bit < WQ_MAX_CPUS &&
	       mask->bits[bit / WQ_LINUX_LONG_BITS] >> bit % WQ_LINUX_LONG_BITS & 1;
}

/* One that is out of range is no CPU: nothing changes. */
static inline void cpumask_set_cpu(unsigned cpu, struct cpumask *mask)
{
	if (cpu < WQ_MAX_CPUS)
		mask->bits[cpu / WQ_LINUX_LONG_BITS] |= 1ul << cpu % WQ_LINUX_LONG_BITS;
}

static inline void cpumask_clear_cpu(int cpu, struct cpumask *mask)
{
	size_t bit = (size_t)(unsigned)cpu;

	if (bit < WQ_MAX_CPUS)
		mask->bits[bit / WQ_LINUX_LONG_BITS] &= ~(1ul << bit % WQ_LINUX_LONG_BITS);
}

/** The scope that queues have by default; beyond those of enum wq_affn_scope. */
#define WQ_AFFN_DFL ((enum wq_affn_scope)7)

/** struct workqueue_attrs - attributes, from alloc_workqueue_attrs() */
struct workqueue_attrs {
	/** Of the workers, -20 to 19; what can't be had is approached. */
	int nice;
	/** CPUs; all: those that are for unbound items. */
	cpumask_var_t cpumask;
	/** Workers do not leave their pod. */
	bool affn_strict;
	enum wq_affn_scope affn_scope;
};

/** alloc_workqueue_attrs - nice 0, all CPUs, the default scope; NULL: no memory */
static inline struct workqueue_attrs *alloc_workqueue_attrs(void)
{
	struct workqueue_attrs *attrs = (struct workqueue_attrs *)calloc(1, sizeof(*attrs));

	if (!attrs)
		return NULL;
	cpumask_setall(attrs->cpumask);
	attrs->affn_scope = WQ_AFFN_DFL;
	return attrs;
}

static inline void free_workqueue_attrs(struct workqueue_attrs *attrs)
{
	free(attrs);
}

static inline int wq_linux_attrs_set(struct wq_attrs *to, const struct workqueue_attrs *from)
{
	int err = wq_attrs_set_nice(to, from->nice);

	if (!err)
		err = wq_attrs_set_strict(to, from->affn_strict);
	if (!err && from->affn_scope != WQ_AFFN_DFL)
		err = wq_attrs_set_affinity(to, from->affn_scope);
	if (!err)
		err = wq_attrs_set_cpumask(to, (const cpu_set_t *)(const void *)from->cpumask->bits,
					   sizeof(from->cpumask));
	return err;
}

/**
 * apply_workqueue_attrs - change a queue's attributes
 *
 * An ordered queue keeps its order.
 *
 * Return: as wq_apply_attrs(); -EINVAL also for values that are out of range.
 */
static inline int apply_workqueue_attrs(struct workqueue_struct *wq,
					const struct workqueue_attrs *attrs)
{
	struct wq_attrs native;
	int err;

	wq_attrs_init(&native);
	err = wq_linux_attrs_set(&native, attrs);
	if (!err)
		err = wq_apply_attrs(wq_from_linux(wq), &native);
	wq_attrs_fini(&native);
	return err;
}

#ifdef __cplusplus
}
#endif

#endif /* WQ_COMPAT_LINUX_ATTRS_H */
