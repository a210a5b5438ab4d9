/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CPU quota of the process's group, changed while queues exist. */
#include "guest.h"

#define QUOTA 2

static unsigned level_of(struct wq *wq, int cpu)
{
	struct wq_pool_stats stats;

	assert_int_equal(wq_pool_stats_read(wq, cpu, &stats, sizeof(stats)), 0);
	return stats.level;
}

static struct wq *alloc_with_scope(enum wq_affn_scope scope)
{
	struct wq_attrs attrs;
	struct wq *wq;

	assert_int_equal(wq_attrs_init(&attrs), 0);
	assert_int_equal(wq_attrs_set_affinity(&attrs, scope), 0);
	wq = wq_alloc_attrs("quota", 0, 0, &attrs);
	assert_non_null(wq);
	wq_attrs_fini(&attrs);
	return wq;
}

/* Each node has its share; one queue is older than the quota, one is not. */
static void quota_changes_levels(void **state)
{
	struct wq *whole = alloc_with_scope(WQ_AFFN_SYSTEM), *nodes;

	assert_int_equal(level_of(whole, 0), NR_CPUS);
	guest_set_quota(QUOTA);
	assert_int_equal(wq_topology_refresh(), 0);
	nodes = alloc_with_scope(WQ_AFFN_NUMA);
	assert_int_equal(level_of(whole, 0), QUOTA);
	assert_int_equal(level_of(nodes, 0), QUOTA / NR_NODES);
	guest_set_quota(0);
	assert_int_equal(wq_topology_refresh(), 0);
	assert_int_equal(level_of(whole, 0), NR_CPUS);
	assert_int_equal(level_of(nodes, 0), NR_CPUS / NR_NODES);
	assert_int_equal(wq_destroy(whole), 0);
	assert_int_equal(wq_destroy(nodes), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quota_changes_levels),
	};

	if (!guest_is_own()) {
		puts("only in a machine of its own");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
