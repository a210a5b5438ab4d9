/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of RCU items share. */
#include "flavors.h"

const struct rcu_flavor_struct *const flavors[NR_FLAVORS] = {
	&urcu_memb_flavor,
	&urcu_mb_flavor,
	&urcu_qsbr_flavor,
	&urcu_bp_flavor,
};

void flavor_enlist(const struct rcu_flavor_struct *rcu)
{
	rcu->register_thread();
	rcu->thread_offline();
}

void flavor_read_lock(const struct rcu_flavor_struct *rcu)
{
	rcu->thread_online();
	rcu->read_lock();
}

void flavor_read_unlock(const struct rcu_flavor_struct *rcu)
{
	rcu->read_unlock();
	rcu->thread_offline();
}

static void *reader_main(void *ctx)
{
	struct reader *reader = ctx;

	flavor_enlist(reader->rcu);
	flavor_read_lock(reader->rcu);
	latch_post(&reader->inside);
	latch_wait(&reader->leave, 1);
	count_set(&reader->left, 1);
	flavor_read_unlock(reader->rcu);
	reader->rcu->unregister_thread();
	return NULL;
}

void reader_start(struct reader *reader, const struct rcu_flavor_struct *rcu)
{
	memset(reader, 0, sizeof(*reader));
	reader->rcu = rcu;
	latch_init(&reader->inside);
	latch_init(&reader->leave);
	assert_int_equal(pthread_create(&reader->thread, NULL, reader_main, reader), 0);
	latch_wait(&reader->inside, 1);
}

void reader_end(struct reader *reader)
{
	latch_post(&reader->leave);
	pthread_join(reader->thread, NULL);
}

static void guarded_fn(struct wq_work *work, void *ctx)
{
	struct guarded *guarded = ctx;

	if (guarded->reader && !count_get(&guarded->reader->left))
		count_up(&guarded->early);
	count_up(&guarded->runs);
	latch_post(&guarded->ended);
}

void guarded_init(struct guarded *guarded, struct reader *reader)
{
	memset(guarded, 0, sizeof(*guarded));
	wq_rcu_work_init(&guarded->rw, guarded_fn, guarded);
	latch_init(&guarded->ended);
	guarded->reader = reader;
}

bool guarded_runs(struct guarded *guarded, struct wq *wq, const struct rcu_flavor_struct *rcu)
{
	guarded->reader = NULL;
	guarded->runs = 0;
	latch_init(&guarded->ended);
	if (wq_queue_rcu(wq, &guarded->rw, rcu) != 1)
		return false;
	latch_wait(&guarded->ended, 1);
	wq_work_flush(&guarded->rw.work);
	return count_get(&guarded->runs) == 1;
}
