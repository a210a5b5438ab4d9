/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns tables: making them, publishing them, and freeing those that are empty. */
#include "table.h"

#include "ids.h"
#include "manager.h"
#include "mem.h"
#include "queue.h"
#include "rcu.h"
#include "rescuer.h"
#include "runtime.h"

/* Where a lock can't be had the manager looks again after this. */
#define TABLES_RETRY_NS 1000000u

static uint32_t tables_asked; /* A, seq_cst: some pwq that is retired has become empty */

/* --- making --- */

static size_t table_bytes(const struct wqi_table *table)
{
	return sizeof(*table) + table->nr_slots * sizeof(table->slot[0]);
}

static void table_free_memory(struct wqi_table *table)
{
	wqi_free(table->pwqs, table->nr * sizeof(*table->pwqs));
	wqi_free(table, table_bytes(table));
}

static unsigned table_pwq_of_cpu(const struct wqi_table *table, unsigned cpu)
{
	if (table->nr == 1)
		return 0;
	return table->pods ? table->pods->of_cpu[cpu] : cpu;
}

bool wqi_table_is_shared(const struct wqi_table *table)
{
	return table->pods && !(table->wq->flags & WQ_ORDERED);
}

/* Of its first @nr pwqs. */
static void table_put_shares(struct wqi_table *table, unsigned nr)
{
	while (wqi_table_is_shared(table) && nr--)
		wqi_share_put_locked(table->pwqs[nr].share);
}

static bool table_get_shares(struct wqi_table *table)
{
	unsigned i;

	if (!wqi_table_is_shared(table))
		return true;
	for (i = 0; i < table->nr; i++) {
		struct wqi_pwq *pwq = &table->pwqs[i];

		pwq->share = wqi_share_get_locked(&table->wq->shares, table->pods->pod[i].node);
		if (!pwq->share) {
			table_put_shares(table, i);
			return false;
		}
	}
	for (i = 0; i < table->nr; i++)
		table->pwqs[i].shared = table->pwqs[i].share->nr_pwqs > 1;
	return true;
}

struct wqi_table *wqi_table_new(struct wq *wq, struct wqi_pods *pods)
{
	unsigned nr_slots = wqi_cpus.nr, cpu, i;
	struct wqi_table *table = wqi_zalloc(sizeof(*table) + nr_slots * sizeof(table->slot[0]));

	wqi_assert_held(&wqi_runtime.lock);

	if (!table)
		return NULL;
	table->wq = wq;
	table->pods = pods;
	table->nr_slots = nr_slots;
	table->nr = pods ? pods->nr : wq->flags & WQ_PERCPU ? nr_slots : 1;
	table->pwqs = wqi_zalloc(table->nr * sizeof(*table->pwqs));
	if (table->pwqs && table_get_shares(table)) {
		table->first_id = wqi_ids_alloc(table->nr);
		if (!table->first_id)
			table_put_shares(table, table->nr);
	}
	if (!table->first_id) {
		table_free_memory(table);
		return NULL;
	}
	for (cpu = 0; cpu < nr_slots; cpu++)
		table->slot[cpu] = &table->pwqs[table_pwq_of_cpu(table, cpu)];
	for (i = 0; i < table->nr; i++)
		wqi_ids_set(table->first_id + i, &table->pwqs[i]);
	return table;
}

void wqi_table_hide(struct wqi_table *table)
{
	unsigned i;

	for (i = 0; i < table->nr; i++)
		wqi_ids_set(table->first_id + i, NULL);
}

void wqi_table_free(struct wqi_table *table)
{
	wqi_assert_held(&wqi_runtime.lock);

	wqi_ids_free(table->first_id, table->nr);
	table_put_shares(table, table->nr);
	if (table->pods)
		wqi_pods_put_locked(table->pods);
	table_free_memory(table);
}

void wqi_table_prepare(struct wqi_table *table, struct wqi_pwq *pwq)
{
	unsigned i = (unsigned)(pwq - table->pwqs);
	struct wq *wq = table->wq;
	struct wqi_pool *pool = wq->own;

	if (table->pods)
		pool = table->pods->pod[i].pool;
	else if (wq->flags & WQ_PERCPU)
		pool = wqi_pool_percpu(i, wqi_queue_percpu_kind(wq));
	if (!wqi_table_is_shared(table))
		wqi_store_relaxed(&pwq->share, &wq->shares.whole);
	wqi_store_relaxed(&pwq->table, table);
	wqi_pwq_prepare(pwq, wq, table->first_id + i, pool);
}

/* --- one after the other --- */

/* After the grace period whoever is to use its pwqs has prepared them. */
static void table_retire(struct wqi_table *table)
{
	struct wqi_pwq *pwq;

	for (pwq = table->pwqs; pwq < table->pwqs + table->nr; pwq++) {
		struct wqi_pool *pool = wqi_load_acquire(&pwq->pool);

		if (!pool)
			continue;
		wqi_pool_lock(pool);
		wqi_pwq_retire_locked(pwq);
		wqi_pool_unlock(pool);
	}
}

/* A pwq counts for itself where it is the only one of its share. */
static void table_share_or_not_locked(struct wq *wq)
{
	struct wqi_table *table;
	struct wqi_pwq *pwq;

	wqi_assert_held(&wqi_runtime.lock);
	wqi_assert_held(&wq->mutex);

	wqi_for_each_pwq(wq, table, pwq)
	{
		struct wqi_pool *pool;

		if (!wqi_table_is_shared(table) || pwq->shared == (pwq->share->nr_pwqs > 1))
			continue;
		wqi_table_prepare(table, pwq);
		pool = wqi_pwq_pool(pwq);
		wqi_pool_lock(pool);
		if (pwq->shared)
			wqi_pwq_part_locked(pwq);
		else
			wqi_pwq_join_locked(pwq);
		wqi_pool_hand_over_locked(pool);
		wqi_pool_unlock(pool);
	}
}

/*
 * Before the new table is seen, a pwq that has been the only one of its share begins to
 * count there, so that old and new are counted together.
 */
static void table_take_shares_locked(struct wq *wq, struct wqi_table *table)
{
	if (!wqi_table_is_shared(table))
		return;
	wqi_shares_resize(wq, table->pods);
	table_share_or_not_locked(wq);
	wqi_shares_serve(&wq->shares);
}

void wqi_table_install_locked(struct wq *wq, struct wqi_table *table)
{
	struct wqi_table *old = wqi_load_relaxed(&wq->table);

	wqi_assert_held(&wq->mutex);

	wqi_store_relaxed(&table->older, old);
	table_take_shares_locked(wq, table);
	if (wq->flags & WQ_ORDERED) {
		wqi_table_prepare(table, table->pwqs);
		wqi_store_relaxed(&table->pwqs->held, true);
	}
	wqi_store_release(&wq->table, table);
	wqi_pause_point("table published");
	wqi_rcu_synchronize(); /* ORD-TABLE (b) */
	table_retire(old);
}

static bool table_is_idle(struct wqi_table *table, uint64_t *accepted)
{
	struct wqi_pwq *pwq;
	bool idle = !wqi_load_seq_cst(&table->users);

	*accepted = 0;
	for (pwq = table->pwqs; pwq < table->pwqs + table->nr; pwq++) {
		struct wqi_pool *pool = wqi_load_acquire(&pwq->pool);

		if (!pool)
			continue;
		wqi_pool_lock(pool);
		wqi_pool_splice_locked(pool);
		idle = idle && wqi_pwq_is_idle_locked(pwq);
		*accepted += pwq->nr_accepted;
		wqi_pool_unlock(pool);
	}
	return idle;
}

/*
 * Two looks with a grace period between, as for a drain: who pushed because it saw an
 * item run there is through by then.
 */
static bool table_is_over(struct wqi_table *table)
{
	uint64_t before, after;

	if (!table_is_idle(table, &before))
		return false;
	wqi_rcu_synchronize();
	return table_is_idle(table, &after) && before == after;
}

/*
 * ORD-USERS (b): the table is unlinked, then a grace period, then `users` is read.
 * Partner (a): in a section, a rescuer finds the table linked, then counts itself in.
 */
static bool table_unlink_locked(struct wqi_table **at, struct wqi_table *table)
{
	wqi_pause_point("table over");
	wqi_store_release(at, table->older);
	wqi_rcu_synchronize();
	if (wqi_load_seq_cst(&table->users)) {
		wqi_pause_point("table in use");
		wqi_store_release(at, table);
		return false;
	}
	wqi_table_hide(table);
	wqi_rcu_synchronize();
	return true;
}

/* Nothing is older: the ordered queue's items go on. */
static void table_release_held_locked(struct wqi_table *table)
{
	struct wqi_pwq *pwq = table->pwqs;
	struct wqi_pool *pool = wqi_pwq_pool(pwq);

	wqi_pool_lock(pool);
	if (pwq->held) {
		wqi_pwq_ready_locked(pwq);
		wqi_store_relaxed(&pwq->held, false);
		wqi_pool_splice_locked(pool);
		wqi_pwq_activate_locked(pwq);
		wqi_pool_hand_over_locked(pool);
	}
	wqi_pool_unlock(pool);
}

/* The oldest table that is not over, or the present one: its items go on. */
static void tables_go_on_locked(struct wq *wq)
{
	struct wqi_table *first = wqi_load_relaxed(&wq->table), *table = first;

	if (!(wq->flags & WQ_ORDERED) || wq->own)
		return;
	while ((table = wqi_load_relaxed(&table->older)))
		if (!table_is_over(table))
			first = table;
	table_release_held_locked(first);
}

void wqi_tables_reap_locked(struct wq *wq)
{
	struct wqi_table **at = &wqi_load_relaxed(&wq->table)->older, *table;

	wqi_assert_held(&wqi_runtime.lock);
	wqi_assert_held(&wq->mutex);

	while ((table = wqi_load_relaxed(at))) {
		if (!table_is_over(table) || !table_unlink_locked(at, table)) {
			at = &table->older;
			continue;
		}
		wqi_stats_keep_locked(wq, table);
		wqi_table_free(table);
	}
	if (wq->flags & WQ_ORDERED)
		tables_go_on_locked(wq);
	else
		table_share_or_not_locked(wq);
}

void wqi_tables_go_on(struct wq *wq)
{
	if (!(wq->flags & WQ_ORDERED))
		return;
	wqi_lock(&wq->mutex);
	if (wqi_load_relaxed(&wqi_load_relaxed(&wq->table)->older))
		tables_go_on_locked(wq);
	wqi_unlock(&wq->mutex);
}

struct wqi_pwq *wqi_table_runs_before(struct wqi_pwq *pwq, const struct wq_work *work)
{
	struct wqi_pwq *running = NULL;
	struct wqi_table *table;
	unsigned token;

	if (wqi_likely(!wqi_load_relaxed(&pwq->held)))
		return NULL;
	token = wqi_rcu_read_lock();
	table = wqi_load_acquire(&wqi_pwq_wq(pwq)->table);
	for (; table && !running; table = wqi_load_acquire(&table->older))
		running = wqi_pool_running_pwq_rcu(wqi_pwq_pool(table->pwqs), work);
	wqi_rcu_read_unlock(token);
	return running;
}

/* --- the manager's part --- */

void wqi_tables_ask(void)
{
	if (!wqi_xchg(&tables_asked, 1))
		wqi_manager_poke();
}

void wqi_tables_emptied(struct wq *wq)
{
	wqi_tables_ask();
	/* The manager may be stuck in making a thread. */
	if (wq->rescuer && wq->flags & WQ_ORDERED)
		wqi_rescuer_call(wq->rescuer);
}

/* False: somebody has the lock, and may be waiting for the manager. */
static bool tables_reap_all_locked(void)
{
	struct cds_list_head *link;
	bool done = true;

	for (link = wqi_queues.next; link != &wqi_queues; link = link->next) {
		struct wq *wq = wqi_queue_of_link(link);

		if (wqi_load_relaxed(&wq->dying) ||
		    !wqi_load_acquire(&wqi_load_acquire(&wq->table)->older))
			continue;
		if (!wqi_try_lock(&wq->mutex)) {
			done = false;
			continue;
		}
		wqi_tables_reap_locked(wq);
		wqi_unlock(&wq->mutex);
	}
	return done;
}

bool wqi_tables_are_asked(void)
{
	return wqi_load_relaxed(&tables_asked);
}

uint64_t wqi_tables_serve(void)
{
	bool done = false;

	if (!wqi_tables_are_asked())
		return UINT64_MAX;
	wqi_xchg(&tables_asked, 0);
	if (wqi_try_lock(&wqi_runtime.lock)) {
		done = tables_reap_all_locked();
		wqi_unlock(&wqi_runtime.lock);
	}
	if (done)
		return UINT64_MAX;
	wqi_store_relaxed(&tables_asked, 1u);
	return wqi_now_ns() + TABLES_RETRY_NS;
}

void wqi_tables_reset(void)
{
	wqi_store_relaxed(&tables_asked, 0u);
}
