/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A storm of Zephyr's calls: threads, handlers of items and a signal handler submit, schedule,
 * reschedule, cancel, flush, drain, plug and unplug against each other, with yields at random in
 * the library's protocols.  What is accepted is counted, and runs are.  WQ_TEST_SEED repeats a
 * run's choices (not its interleaving); WQ_STRESS_MS sets its length (default 1000).
 *
 * Zephyr's cancel does not say what it took back, and a timer that fires on a queued item is one
 * run with it.  So items are of kinds, of which some are exact:
 *   SUBMITTED   k_work_submit_to_queue() alone: a run for each answer 1 or 2
 *   SCHEDULED   k_work_schedule() alone, which acts on idle items only: a run for each 1 or 2
 *   OWNED       submitted by its owner, who cancels it and then looks: it does not run any more
 *   ANYTHING    all calls: no more runs than were accepted; afterwards it is as good as new
 * and triggered items, which wait for signals and are taken back: as ANYTHING.
 */
#include "zitem.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "testing.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define NR_QUEUES  3
#define NR_THREADS 4
#define NR_ITEMS   2 /* of each kind, but OWNED: one a thread */

#define HANDLER_NS 200000

enum kind { SUBMITTED, SCHEDULED, ANYTHING, NR_KINDS };

struct storm_item {
	struct k_work_delayable dw;
	unsigned long accepted, runs, inside, overlaps;
	uint64_t rng; /* of its handler, which never overlaps */
	enum kind kind;
};

struct storm_poll {
	struct k_work_poll poll;
	struct k_poll_event events[2];
	unsigned long accepted, runs, inside, overlaps;
};

static struct k_work_q queues[NR_QUEUES];
static struct storm_poll polls[NR_ITEMS];
static struct k_poll_signal raised[2];
static struct storm_item items[NR_KINDS][NR_ITEMS], owned[NR_THREADS];
static unsigned long wrong, stop, handled;
static uint64_t handler_rng;

static struct k_work_q *queue_of(uint64_t r)
{
	return &queues[(r >> 20) % NR_QUEUES];
}

static struct storm_item *item_of(enum kind kind, uint64_t r)
{
	return &items[kind][(r >> 30) % NR_ITEMS];
}

/* Nothing in some cases, seldom an hour, else a fraction of a millisecond. */
static uint64_t delay_ns(uint64_t r)
{
	r >>= 40;
	return r % 4 == 0 ? 0 : r % 32 == 1 ? UINT64_C(3600000000000) : r % 300000 + 1;
}

static void note(struct storm_item *item, int ret)
{
	if (ret == 1 || ret == 2)
		count_up(&item->accepted);
	else if (ret && ret != -EBUSY)
		count_up(&wrong);
}

static struct storm_poll *poll_of(uint64_t r)
{
	return &polls[(r >> 30) % NR_ITEMS];
}

static void storm_poll_submit(uint64_t r)
{
	struct storm_poll *p = poll_of(r);
	uint64_t timeout_ns = r >> 50 & 1 ? UINT64_MAX : delay_ns(r);
	int ret = wq_zephyr_poll_submit(queue_of(r), &p->poll, p->events, 2, timeout_ns);

	if (!ret)
		count_up(&p->accepted);
	else if (ret != -EINVAL && ret != -EADDRINUSE && ret != -EBUSY)
		count_up(&wrong);
}

static void storm_poll_step(uint64_t r)
{
	struct k_poll_signal *signal = &raised[r >> 40 & 1];

	switch (r & 7) {
	case 0:
	case 1:
		k_poll_signal_raise(signal, 0);
		break;
	case 2:
		k_poll_signal_reset(signal);
		break;
	case 3:
		k_work_poll_cancel(&poll_of(r)->poll);
		break;
	case 4:
		k_work_cancel(&poll_of(r)->poll.work);
		break;
	default:
		storm_poll_submit(r);
		break;
	}
}

/* What is in a handler's power, too. */
static void storm_step(uint64_t r)
{
	struct storm_item *item = item_of((r >> 8) % NR_KINDS, r);
	int ret;

	if (r >> 10 & 1) {
		storm_poll_step(r);
		return;
	}
	if (item->kind == SUBMITTED) {
		note(item, k_work_submit_to_queue(queue_of(r), &item->dw.work));
		return;
	}
	if (item->kind == SCHEDULED) {
		note(item, wq_zephyr_schedule(queue_of(r), &item->dw, delay_ns(r)));
		return;
	}
	switch (r & 7) {
	case 0:
	case 1:
		note(item, k_work_submit_to_queue(queue_of(r), &item->dw.work));
		break;
	case 2:
		note(item, wq_zephyr_schedule(queue_of(r), &item->dw, delay_ns(r)));
		break;
	case 3:
	case 4:
		note(item, wq_zephyr_reschedule(queue_of(r), &item->dw, delay_ns(r)));
		break;
	case 5:
		ret = k_work_cancel_delayable(&item->dw);
		if (ret & ~K_WORK_MASK)
			count_up(&wrong);
		break;
	case 6:
		k_work_delayable_busy_get(&item->dw);
		k_work_delayable_remaining_get(&item->dw);
		break;
	default:
		k_work_queue_unplug(queue_of(r));
		break;
	}
}

static void storm_handler(struct k_work *work)
{
	struct storm_item *item =
		CONTAINER_OF(k_work_delayable_from_work(work), struct storm_item, dw);
	uint64_t r = random_next(&item->rng);

	if (count_up(&item->inside) != 1)
		count_up(&item->overlaps);
	if (r % 4 == 0)
		sched_yield();
	if (!count_get(&stop) && r % 8 == 1) {
		if (item->kind == SUBMITTED)
			note(item, k_work_submit_to_queue(NULL, work));
		else if (item->kind == SCHEDULED)
			note(item, wq_zephyr_schedule(work->queue, &item->dw, delay_ns(r)));
	}
	count_up(&item->runs);
	count_add(&item->inside, -1ul);
}

/* Others have it wait anew while it runs: so its result is nobody's to read. */
static void poll_handler(struct k_work *work)
{
	struct storm_poll *p =
		CONTAINER_OF(CONTAINER_OF(work, struct k_work_poll, work), struct storm_poll, poll);

	if (count_up(&p->inside) != 1)
		count_up(&p->overlaps);
	count_up(&p->runs);
	count_add(&p->inside, -1ul);
}

/* Others cancel and flush it; nobody else submits it. */
static void storm_own(struct storm_item *item, uint64_t r)
{
	unsigned long runs;

	if (r & 1)
		k_work_submit_to_queue(queue_of(r), &item->dw.work);
	else
		wq_zephyr_schedule(queue_of(r), &item->dw, delay_ns(r));
	if (r >> 1 & 1)
		k_work_cancel_delayable(&item->dw);
	k_work_cancel_delayable_sync(&item->dw, NULL);
	runs = count_get(&item->runs);
	if (count_get(&item->inside) || k_work_delayable_busy_get(&item->dw) & (R | Q | D))
		count_up(&wrong);
	sched_yield();
	if (count_get(&item->runs) != runs)
		count_up(&wrong);
}

static void storm_wait(uint64_t r)
{
	struct storm_item *item = item_of(ANYTHING, r);
	struct k_work_q *queue = queue_of(r);

	switch (r & 7) {
	case 0:
		k_work_cancel_delayable_sync(&item->dw, NULL);
		break;
	case 1:
		k_work_flush_delayable(&item->dw, NULL);
		break;
	case 2:
		k_work_flush(&item_of(SUBMITTED, r)->dw.work, NULL);
		break;
	case 3:
		k_work_flush_delayable(&item_of(SCHEDULED, r)->dw, NULL);
		break;
	case 4:
		k_work_flush(&owned[(r >> 30) % NR_THREADS].dw.work, NULL);
		break;
	case 5:
		k_work_cancel_delayable_sync(&owned[(r >> 30) % NR_THREADS].dw, NULL);
		break;
	case 6:
		if (r >> 8 & 1)
			k_work_cancel_sync(&poll_of(r)->poll.work, NULL);
		else if (k_work_queue_drain(queue, false) < 0)
			count_up(&wrong);
		break;
	default:
		if (k_work_queue_drain(queue, true) != 1)
			count_up(&wrong);
		k_work_queue_unplug(queue);
		break;
	}
}

/* --- the signal handler --- */

static timer_t timer;

static void timer_set(void)
{
	struct itimerspec in = {.it_value.tv_nsec = HANDLER_NS};

	timer_settime(timer, 0, &in, NULL);
}

static void signal_handler(int signo)
{
	int saved = errno;
	unsigned i;

	for (i = 0; i < 3; i++)
		storm_step(random_next(&handler_rng));
	count_up(&handled);
	if (!count_get(&stop))
		timer_set();
	errno = saved;
}

static void handler_begin(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
	struct sigaction action = {.sa_handler = signal_handler, .sa_flags = SA_RESTART};

	handler_rng = test_seed() + 77;
	sigaction(SIGALRM, &action, NULL);
	event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		abort();
	timer_set();
}

static void storm_thread(void *ctx, unsigned index)
{
	uint64_t rng = *(uint64_t *)ctx + index;

	if (!index)
		handler_begin();
	while (!count_get(&stop)) {
		uint64_t r = random_next(&rng);

		if (r >> 60 < 11)
			storm_step(r);
		else if (r >> 60 < 13)
			storm_own(&owned[index], r);
		else
			storm_wait(r);
	}
}

/* --- */

static void items_init(struct storm_item *of, unsigned nr, enum kind kind)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		of[i] = (struct storm_item){.kind = kind, .rng = test_seed() + i};
		k_work_init_delayable(&of[i].dw, storm_handler);
	}
}

static void item_settles(struct storm_item *item)
{
	if (item->kind == ANYTHING) {
		/* An hour is not waited for. */
		k_work_cancel_delayable_sync(&item->dw, NULL);
	} else {
		while (k_work_flush_delayable(&item->dw, NULL))
			;
	}
	assert_int_equal(k_work_delayable_busy_get(&item->dw), 0);
	assert_int_equal(item->overlaps, 0);
	assert_true(item->runs <= item->accepted);
	if (item->kind != ANYTHING)
		assert_int_equal(item->accepted, item->runs);
	assert_true(item->accepted > 0);
	/* Nothing is left of a cancellation. */
	assert_int_equal(k_work_submit_to_queue(&queues[0], &item->dw.work), 1);
	k_work_flush(&item->dw.work, NULL);
}

static void polls_init(void)
{
	unsigned i, k;

	for (k = 0; k < 2; k++)
		k_poll_signal_init(&raised[k]);
	for (i = 0; i < NR_ITEMS; i++) {
		polls[i] = (struct storm_poll){.accepted = 0};
		k_work_poll_init(&polls[i].poll, poll_handler);
		for (k = 0; k < 2; k++)
			k_poll_event_init(&polls[i].events[k], K_POLL_TYPE_SIGNAL,
					  K_POLL_MODE_NOTIFY_ONLY, &raised[k]);
	}
}

static void polls_settle(void)
{
	unsigned i;

	for (i = 0; i < NR_ITEMS; i++)
		k_work_cancel_sync(&polls[i].poll.work, NULL);
	/* None waits. */
	assert_null(raised[0].wq_waiting);
	assert_null(raised[1].wq_waiting);
	for (i = 0; i < NR_ITEMS; i++) {
		struct storm_poll *p = &polls[i];
		unsigned long runs = p->runs;

		assert_int_equal(k_work_busy_get(&p->poll.work), 0);
		assert_int_equal(p->overlaps, 0);
		assert_true(p->runs > 0 && p->runs <= p->accepted);
		k_poll_signal_reset(&raised[0]);
		k_poll_signal_reset(&raised[1]);
		assert_int_equal(wq_zephyr_poll_submit(&queues[0], &p->poll, p->events, 2,
						       UINT64_MAX),
				 0);
		k_poll_signal_raise(&raised[1], 0);
		k_work_flush(&p->poll.work, NULL);
		assert_int_equal(p->runs, runs + 1);
	}
}

static void *stop_later(void *arg)
{
	const char *text = getenv("WQ_STRESS_MS");
	unsigned ms = text ? (unsigned)atoi(text) : 1000;
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&ts, &ts))
		;
	count_set(&stop, 1);
	return NULL;
}

static void storm_of_all_calls_accounts_for_every_run(void **state)
{
	uint64_t seed = test_seed();
	pthread_t stopper;
	unsigned i, kind;

	for (i = 0; i < NR_QUEUES; i++)
		zqueue_start(&queues[i]);
	for (kind = 0; kind < NR_KINDS; kind++)
		items_init(items[kind], NR_ITEMS, kind);
	items_init(owned, NR_THREADS, ANYTHING);
	polls_init();
	wqi_test_yields(seed, 40);
	assert_int_equal(pthread_create(&stopper, NULL, stop_later, NULL), 0);
	run_threads(NR_THREADS, storm_thread, &seed);
	pthread_join(stopper, NULL);
	timer_delete(timer);
	wqi_test_yields(0, 0);
	for (i = 0; i < NR_QUEUES; i++)
		k_work_queue_unplug(&queues[i]);
	for (kind = 0; kind < NR_KINDS; kind++)
		for (i = 0; i < NR_ITEMS; i++)
			item_settles(&items[kind][i]);
	for (i = 0; i < NR_THREADS; i++) {
		k_work_cancel_delayable_sync(&owned[i].dw, NULL);
		assert_int_equal(owned[i].overlaps, 0);
	}
	polls_settle();
	assert_int_equal(wrong, 0);
	assert_true(handled > 0);
	for (i = 0; i < NR_QUEUES; i++)
		assert_int_equal(zqueue_end(&queues[i]), 0);
	assert_int_equal(wq_shutdown(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(storm_of_all_calls_accounts_for_every_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
