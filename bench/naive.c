/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The naive pool. */
#include "naive.h"

#include "bench.h"

#include <pthread.h>
#include <stdlib.h>

struct naive_pool {
	pthread_mutex_t lock;
	pthread_cond_t items;
	pthread_cond_t done;
	struct naive_item *head, **tail;
	unsigned nr_threads;
	bool stop;
	pthread_t threads[];
};

static void *naive_main(void *arg)
{
	struct naive_pool *pool = arg;
	struct naive_item *item;
	bool notify;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while (!pool->head && !pool->stop)
			pthread_cond_wait(&pool->items, &pool->lock);
		item = pool->head;
		if (!item)
			break;
		pool->head = item->next;
		if (!pool->head)
			pool->tail = &pool->head;
		notify = item->notify;
		pthread_mutex_unlock(&pool->lock);
		item->fn(item);
		pthread_mutex_lock(&pool->lock);
		if (notify) {
			item->done = true;
			pthread_cond_signal(&pool->done);
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

struct naive_pool *naive_start(unsigned nr_threads)
{
	struct naive_pool *pool = calloc(1, sizeof(*pool) + nr_threads * sizeof(pthread_t));
	unsigned i;

	bench_must(pool, "allocating the naive pool");
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->items, NULL);
	pthread_cond_init(&pool->done, NULL);
	pool->tail = &pool->head;
	pool->nr_threads = nr_threads;
	for (i = 0; i < nr_threads; i++)
		bench_must(!pthread_create(&pool->threads[i], NULL, naive_main, pool),
			   "making a thread of the naive pool");
	return pool;
}

void naive_stop(struct naive_pool *pool)
{
	unsigned i;

	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->items);
	pthread_mutex_unlock(&pool->lock);
	for (i = 0; i < pool->nr_threads; i++)
		pthread_join(pool->threads[i], NULL);
	free(pool);
}

void naive_queue(struct naive_pool *pool, struct naive_item *item)
{
	item->next = NULL;
	pthread_mutex_lock(&pool->lock);
	*pool->tail = item;
	pool->tail = &item->next;
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_signal(&pool->items);
}

void naive_wait(struct naive_pool *pool, struct naive_item *item)
{
	pthread_mutex_lock(&pool->lock);
	while (!item->done)
		pthread_cond_wait(&pool->done, &pool->lock);
	item->done = false;
	pthread_mutex_unlock(&pool->lock);
}
