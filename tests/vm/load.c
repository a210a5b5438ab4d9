/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thread for each kind of queue, which it feeds from a ring of items. */
#include "load.h"
#include "guest.h"
#include "host.h"

#define RING 64

enum { PERCPU, UNBOUND, ORDERED, NR_KINDS };

struct slot {
	struct wq_work work;
	struct feeder *feeder;
	unsigned long number;
};

struct feeder {
	struct load *load;
	struct wq *wq;
	pthread_t thread;
	unsigned long accepted, refused; /* by the thread alone, until it is joined */
	unsigned long runs, disorders;
	uint64_t random;
	struct slot ring[RING];
};

struct load {
	struct feeder feeders[NR_KINDS];
	unsigned long stop;
};

static void slot_fn(struct wq_work *work, void *ctx)
{
	struct slot *slot = ctx;

	count_up(&slot->feeder->runs);
}

static void slot_ordered_fn(struct wq_work *work, void *ctx)
{
	struct slot *slot = ctx;

	if (count_up(&slot->feeder->runs) != slot->number)
		count_up(&slot->feeder->disorders);
}

static int slot_queue(struct feeder *feeder, struct slot *slot, unsigned kind)
{
	switch (kind) {
	case PERCPU:
		return wq_queue_on(feeder->wq, &slot->work,
				   (int)(random_next(&feeder->random) % NR_CPUS));
	case ORDERED:
		wq_work_flush(&slot->work);
		slot->number = feeder->accepted + 1;
		break;
	}
	return wq_queue(feeder->wq, &slot->work);
}

static void *feeder_main(void *arg)
{
	struct feeder *feeder = arg;
	struct load *load = feeder->load;
	unsigned kind = (unsigned)(feeder - load->feeders), i;

	for (i = 0; !count_get(&load->stop); i++) {
		struct slot *slot = &feeder->ring[i % RING];
		int ret = slot_queue(feeder, slot, kind);

		if (ret == 1)
			feeder->accepted++;
		else if (ret || kind == ORDERED)
			feeder->refused++;
		else
			wq_work_flush(&slot->work);
	}
	return NULL;
}

struct load *load_start(void)
{
	static const unsigned flags[NR_KINDS] = {WQ_PERCPU, 0, WQ_ORDERED};
	struct load *load = calloc(1, sizeof(*load));
	unsigned kind, i;

	assert_non_null(load);
	for (kind = 0; kind < NR_KINDS; kind++) {
		struct feeder *feeder = &load->feeders[kind];

		feeder->load = load;
		feeder->random = test_seed() + kind;
		feeder->wq = wq_alloc("load", flags[kind], 0);
		assert_non_null(feeder->wq);
		for (i = 0; i < RING; i++) {
			feeder->ring[i].feeder = feeder;
			wq_work_init(&feeder->ring[i].work,
				     kind == ORDERED ? slot_ordered_fn : slot_fn, &feeder->ring[i]);
		}
		assert_int_equal(pthread_create(&feeder->thread, NULL, feeder_main, feeder), 0);
	}
	return load;
}

void load_progress(struct load *load, unsigned long nr)
{
	unsigned long aims[NR_KINDS];
	unsigned kind;

	for (kind = 0; kind < NR_KINDS; kind++)
		aims[kind] = count_get(&load->feeders[kind].runs) + nr;
	for (kind = 0; kind < NR_KINDS; kind++)
		while (count_get(&load->feeders[kind].runs) < aims[kind])
			pass_ms(1);
}

void load_stop_and_check(struct load *load)
{
	unsigned kind;

	count_set(&load->stop, 1);
	for (kind = 0; kind < NR_KINDS; kind++) {
		struct feeder *feeder = &load->feeders[kind];

		assert_int_equal(pthread_join(feeder->thread, NULL), 0);
		assert_int_equal(wq_flush(feeder->wq), 0);
		assert_int_equal(feeder->refused, 0);
		assert_int_equal(feeder->runs, feeder->accepted);
		assert_int_equal(feeder->disorders, 0);
		print_message("%lu ", feeder->runs);
		assert_int_equal(wq_destroy(feeder->wq), 0);
	}
	print_message("items\n");
	free(load);
}
