/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns calling rescuers and what they do out there.  Their threads: manager.c. */
#include "rescuer.h"

#include "block.h"
#include "charge.h"
#include "pwq.h"
#include "queue.h"
#include "rcu.h"

uint32_t wqi_rescuers_out;

/* ORD-SLEEP (a): `called` is set, then the home's kick is read. */
void wqi_rescuer_call(struct wqi_pool *home)
{
	wqi_xchg(&home->called, 1);
	wqi_pool_kick(home);
}

/* The queue can't go while an item of it is listed here, nor can its rescuer's home. */
static void mayday_for_locked(struct wq_work *work)
{
	struct wqi_pwq *pwq = wqi_ids_get(wqi_state_id(wqi_state(work)));
	struct wqi_pool *home = wqi_pwq_wq(pwq)->rescuer;

	if (!home || wqi_xchg(&pwq->mayday, 1))
		return;
	wqi_count(&pwq->nr_mayday, 1);
	wqi_rescuer_call(home);
}

void wqi_mayday_locked(struct wqi_pool *pool)
{
	struct cds_list_head *link;

	wqi_assert_held(&pool->lock);

	for (link = pool->ready_list.next; link != &pool->ready_list; link = link->next)
		mayday_for_locked(wqi_link_work(link));
	for (link = pool->worklist.next; link != &pool->worklist; link = link->next)
		mayday_for_locked(wqi_link_work(link));
}

/* First it is said where: who then pins all anew looks for it there. */
static void rescuer_go_to_cpus(struct wqi_worker *self, struct wqi_pool *home,
			       struct wqi_pool *pool)
{
	wqi_pool_lock(home);
	self->out_at = pool;
	wqi_pool_unlock(home);
	wqi_pool_go_to_cpus(pool ? pool : home);
}

static void rescuer_enter(struct wqi_worker *self, struct wqi_pool *pool)
{
	rescuer_go_to_cpus(self, self->pool, pool);
	wqi_add(&wqi_rescuers_out, 1);
	wqi_pool_lock(pool);
	self->rescuing = self->marked = true;
	self->home = self->pool;
	wqi_store_release(&self->pool, pool);
}

/* What waited for its item is the pool's: it may be of other queues. */
static void rescuer_give_back_locked(struct wqi_worker *self)
{
	cds_list_splice(&self->scheduled, &self->pool->ready_list);
	CDS_INIT_LIST_HEAD(&self->scheduled);
}

static void rescuer_leave_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;

	wqi_store_release(&self->pool, self->home);
	self->rescuing = false;
	wqi_pool_hand_over_locked(pool);
	wqi_pool_unlock(pool);
	wqi_sub(&wqi_rescuers_out, 1);
}

static bool rescuer_is_wanted_locked(const struct wqi_pool *pool)
{
	return !pool->nr_running && !pool->nr_idle;
}

/* Items that it runs in one pool before it looks whether others have called. */
#define RESCUER_TURN 16

/* The rescuer's own state is its home's; it only lends itself. */
static void rescuer_serve(struct wqi_worker *self, struct wqi_pwq *pwq, struct wqi_pool *pool)
{
	struct wq_work *work;
	unsigned left;

	rescuer_enter(self, pool);
	for (left = RESCUER_TURN; rescuer_is_wanted_locked(pool); left--) {
		if (!left) {
			/* As if it had called again. */
			wqi_xchg(&pwq->mayday, 1);
			wqi_xchg(&self->home->called, 1);
			break;
		}
		work = wqi_worker_next_of_locked(pool, pwq);
		if (!work)
			break;
		wqi_worker_run_locked(self, work, pwq);
		rescuer_give_back_locked(self);
	}
	rescuer_leave_locked(self);
}

/* ORD-USERS (a): found linked in a section, it is not freed while it has users. */
static struct wqi_table *rescuer_hold(struct wqi_table **from)
{
	unsigned token = wqi_rcu_read_lock();
	struct wqi_table *table = wqi_load_acquire(from);

	if (table)
		wqi_add(&table->users, 1);
	wqi_rcu_read_unlock(token);
	return table;
}

static void rescuer_let_go(struct wqi_table *table)
{
	struct wq *wq = table->wq;

	wqi_pause_point("rescuer leaves");
	wqi_sub(&table->users, 1);
	/*
	 * It may be an older one that is empty, or unlinked while others look whether it is
	 * in use.  Who replaces it later reads `users` after that.
	 */
	if (wqi_load_seq_cst(&wq->table) != table)
		wqi_tables_ask();
}

static void rescuer_serve_table(struct wqi_worker *self, struct wqi_table *table)
{
	struct wqi_pwq *pwq;
	struct wqi_pool *pool;

	self->rescues = table;
	for (pwq = table->pwqs; pwq < table->pwqs + table->nr; pwq++) {
		pool = wqi_load_acquire(&pwq->pool);
		if (pool && wqi_load_seq_cst(&pwq->mayday) && wqi_xchg(&pwq->mayday, 0))
			rescuer_serve(self, pwq, pool);
	}
	self->rescues = NULL;
}

static void rescuer_serve_all(struct wqi_worker *self, struct wq *wq)
{
	struct wqi_table *table = rescuer_hold(&wq->table), *older;

	for (; table; table = older) {
		rescuer_serve_table(self, table);
		older = rescuer_hold(&table->older);
		rescuer_let_go(table);
	}
}

void wqi_rescuer_go_locked(struct wqi_worker *self)
{
	struct wqi_pool *home = self->pool;
	struct wq *wq = wqi_load_acquire(&home->rescues);

	/* At home it still counts as running: nobody is to be kicked, it looks when it is back. */
	wqi_store_relaxed(&self->counted, false);
	wqi_xchg(&home->called, 0);
	wqi_pool_unlock(home);
	if (wq) {
		rescuer_serve_all(self, wq);
		wqi_tables_go_on(wq);
	}
	rescuer_go_to_cpus(self, home, NULL);
	wqi_pool_lock(home);
	wqi_store_relaxed(&self->counted, true);
}

void wqi_rescuer_torn_down(struct wqi_worker *self)
{
	struct wqi_pool *home = self->home;

	wqi_pool_lock(self->pool);
	/* Others may have called, and it comes to none of them: its successor does. */
	wqi_xchg(&home->called, 1);
	wqi_charge_end_locked(self, self->current_pwq, self->current_fn);
	self->current_pwq->nr_completed++;
	wqi_worker_finish_locked(self, self->current_pwq);
	rescuer_give_back_locked(self);
	rescuer_leave_locked(self);
	rescuer_let_go(self->rescues);
	self->rescues = NULL;
	wqi_pool_lock(home);
	self->out_at = NULL;
	wqi_store_relaxed(&self->counted, true);
	wqi_pool_unlock(home);
}
