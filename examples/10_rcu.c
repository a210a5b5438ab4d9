/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A table that is read without locks while it is replaced: readers are in RCU sections
 * of liburcu, and each old version is freed by an item that runs after a grace period.
 * The writer waits for nobody.
 */
#include <wq/wq.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu/urcu-memb.h>

#define NR_READERS  3
#define NR_SETTINGS 16
#define NR_UPDATES  50

/* In each version, all settings have the version's number. */
struct config {
	struct wq_rcu_work rw; /* frees it, once no reader can have it */
	unsigned long version;
	unsigned long settings[NR_SETTINGS];
};

static struct config *current_config;	 /* RCU */
static unsigned long stop, mixed, freed; /* atomic */
static sem_t readers_read, config_freed;

static void config_free(struct wq_work *work, void *ctx)
{
	struct wq_rcu_work *rw = caa_container_of(work, struct wq_rcu_work, work);
	struct config *config = caa_container_of(rw, struct config, rw);
	unsigned i;

	(void)ctx;
	/* A reader that still had it would see this. */
	for (i = 0; i < NR_SETTINGS; i++)
		config->settings[i] = ~0ul;
	free(config);
	__atomic_fetch_add(&freed, 1, __ATOMIC_RELAXED);
	sem_post(&config_freed);
}

static struct config *config_new(unsigned long version)
{
	struct config *config = malloc(sizeof(*config));
	unsigned i;

	if (!config)
		return NULL;
	wq_rcu_work_init(&config->rw, config_free, NULL);
	config->version = version;
	for (i = 0; i < NR_SETTINGS; i++)
		config->settings[i] = version;
	return config;
}

static bool config_is_whole(const struct config *config)
{
	unsigned i;

	for (i = 0; i < NR_SETTINGS; i++)
		if (config->settings[i] != config->version)
			return false;
	return true;
}

static void *reader_main(void *arg)
{
	unsigned long reads = 0;

	urcu_memb_register_thread();
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		urcu_memb_read_lock();
		if (!config_is_whole(rcu_dereference(current_config)))
			__atomic_fetch_add(&mixed, 1, __ATOMIC_RELAXED);
		urcu_memb_read_unlock();
		if (!reads++)
			sem_post(&readers_read);
	}
	urcu_memb_unregister_thread();
	return arg;
}

/* False: no memory; nothing has changed. */
static bool config_replace(struct wq *wq, unsigned long version)
{
	struct config *config = config_new(version), *old;

	if (!config)
		return false;
	old = rcu_xchg_pointer(&current_config, config);
	if (wq_queue_rcu(wq, &old->rw, &urcu_memb_flavor) == 1)
		return true;
	/* No thread could be made for that: then we have to wait ourselves. */
	urcu_memb_synchronize_rcu();
	config_free(&old->rw.work, NULL);
	return true;
}

static bool update_under_readers(struct wq *wq)
{
	pthread_t readers[NR_READERS];
	unsigned long version, nr = 0, i;

	for (i = 0; i < NR_READERS; i++)
		if (pthread_create(&readers[i], NULL, reader_main, NULL))
			return false;
	for (i = 0; i < NR_READERS; i++)
		while (sem_wait(&readers_read))
			;
	for (version = 1; version <= NR_UPDATES; version++)
		nr += config_replace(wq, version);
	/* The items can't be waited for by name, for they free themselves. */
	for (i = 0; i < nr; i++)
		while (sem_wait(&config_freed))
			;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < NR_READERS; i++)
		pthread_join(readers[i], NULL);
	return nr == NR_UPDATES;
}

int main(void)
{
	struct wq *wq = wq_alloc("config", WQ_ORDERED, 0);
	bool ok;

	sem_init(&readers_read, 0, 0);
	sem_init(&config_freed, 0, 0);
	current_config = config_new(0);
	if (!wq || !current_config) {
		perror("10_rcu");
		return 1;
	}
	ok = update_under_readers(wq) && !wq_destroy(wq);
	printf("the table was replaced %d times, %lu old versions were freed\n", NR_UPDATES, freed);
	printf("readers saw a mixed one: %s\n", mixed ? "yes" : "never");
	printf("the last version is %lu\n", current_config->version);
	free(current_config);
	return ok ? 0 : 1;
}
