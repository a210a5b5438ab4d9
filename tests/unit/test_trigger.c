/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trigger items: events, time-outs, several of each. */
#include "events.h"

#include <sched.h>

static int setup(void **state)
{
	*state = wq_alloc("trigger", 0, 0);
	return !*state;
}

static int teardown(void **state)
{
	return wq_destroy(*state);
}

/* --- one event --- */

static void trigger_event_that_is_there_already_counts(void **state)
{
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open(&ends);
	byte_write(ends.out);
	assert_int_equal(waiter_arm(*state, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EPOLLIN);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	ends_close(&ends);
}

static void trigger_event_that_comes_later_queues_the_item_once(void **state)
{
	struct waiter waiter, other;
	struct ends ends, others;

	waiter_init(&waiter);
	waiter_init(&other);
	ends_open(&ends);
	ends_open(&others);
	assert_int_equal(waiter_arm(*state, &waiter, ends.in, EPOLLIN, WQ_FOREVER), 1);
	/* While another comes and goes, it waits. */
	assert_int_equal(waiter_arm(*state, &other, others.in, EPOLLIN, WQ_FOREVER), 1);
	byte_write(others.out);
	waiter_wait(&other, 1);
	assert_int_equal(count_get(&waiter.runs), 0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), WQ_BUSY_DELAYED);
	byte_write(ends.out);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EPOLLIN);
	/* What is still to be read, and what comes, does not queue it again. */
	byte_write(ends.out);
	byte_read(others.in);
	byte_write(others.out);
	assert_int_equal(waiter_arm(*state, &other, others.in, EPOLLIN, WQ_FOREVER), 1);
	waiter_wait(&other, 2);
	assert_int_equal(wq_trigger_work_flush(&waiter.tw), 0);
	assert_int_equal(count_get(&waiter.runs), 1);
	ends_close(&ends);
	ends_close(&others);
}

static void trigger_several_events_show_which_is_ready(void **state)
{
	struct ends ends[MAX_WAITED];
	struct waiter waiter;
	unsigned i, j;

	waiter_init(&waiter);
	for (i = 0; i < MAX_WAITED; i++) {
		ends_open(&ends[i]);
		waiter.ev[i].fd = ends[i].in;
		waiter.ev[i].events = EPOLLIN;
	}
	for (i = 0; i < MAX_WAITED; i++) {
		for (j = 0; j < MAX_WAITED; j++)
			waiter.ev[j].revents = ~0u;
		assert_int_equal(wq_queue_trigger(*state, &waiter.tw, waiter.ev, MAX_WAITED,
						  WQ_FOREVER),
				 1);
		byte_write(ends[i].out);
		waiter_wait(&waiter, i + 1);
		for (j = 0; j < MAX_WAITED; j++)
			assert_int_equal(waiter.ev[j].revents, i == j ? EPOLLIN : 0);
		assert_int_equal(waiter.tw.result, 0);
		byte_read(ends[i].in);
	}
	for (i = 0; i < MAX_WAITED; i++)
		ends_close(&ends[i]);
}

/* --- time-outs --- */

static void trigger_time_out_is_answered_and_not_early(void **state)
{
	static const uint64_t timeouts[] = {1, 1000, 20000, 1 * MS, 3 * MS};
	struct waiter waiter;
	struct ends ends;
	uint64_t before;
	unsigned i;

	waiter_init(&waiter);
	ends_open(&ends);
	for (i = 0; i < ARRAY_SIZE(timeouts); i++) {
		before = monotonic_ns();
		assert_int_equal(waiter_arm(*state, &waiter, ends.in, EPOLLIN, timeouts[i]), 1);
		waiter_wait(&waiter, i + 1);
		assert_true(waiter.ran_ns >= before + timeouts[i]);
		assert_int_equal(waiter.tw.result, -ETIMEDOUT);
		assert_int_equal(waiter.ev[0].revents, 0);
	}
	/* It is forgotten where it waited: an event does not queue it. */
	byte_write(ends.out);
	assert_true(trigger_works(*state));
	assert_int_equal(wq_trigger_work_flush(&waiter.tw), 0);
	assert_int_equal(count_get(&waiter.runs), ARRAY_SIZE(timeouts));
	ends_close(&ends);
}

static void trigger_event_before_the_time_out_ends_that(void **state)
{
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open(&ends);
	assert_int_equal(waiter_arm(*state, &waiter, ends.in, EPOLLIN, 3600 * 1000 * MS), 1);
	byte_write(ends.out);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(wq_trigger_work_busy(&waiter.tw), 0);
	assert_int_equal(wq_trigger_work_flush(&waiter.tw), 0);
	assert_int_equal(count_get(&waiter.runs), 1);
	ends_close(&ends);
}

static void trigger_time_out_of_0_says_whether_one_is_ready(void **state)
{
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open(&ends);
	assert_int_equal(waiter_arm(*state, &waiter, ends.in, EPOLLIN, 0), 1);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, -ETIMEDOUT);
	assert_int_equal(waiter.ev[0].revents, 0);
	byte_write(ends.out);
	assert_int_equal(waiter_arm(*state, &waiter, ends.in, EPOLLIN, 0), 1);
	waiter_wait(&waiter, 2);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents, EPOLLIN);
	ends_close(&ends);
}

static void trigger_waits_for_ever_where_others_time_out(void **state)
{
	struct waiter forever, brief;
	struct ends ends;

	waiter_init(&forever);
	waiter_init(&brief);
	ends_open(&ends);
	assert_int_equal(waiter_arm(*state, &forever, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(waiter_arm(*state, &brief, ends.in, EPOLLIN, 2 * MS), 1);
	waiter_wait(&brief, 1);
	assert_int_equal(brief.tw.result, -ETIMEDOUT);
	assert_int_equal(wq_trigger_work_busy(&forever.tw), WQ_BUSY_DELAYED);
	byte_write(ends.out);
	waiter_wait(&forever, 1);
	assert_int_equal(forever.tw.result, 0);
	assert_int_equal(count_get(&brief.runs), 1);
	/* One nanosecond less is a time that never comes, too. */
	byte_read(ends.in);
	assert_int_equal(waiter_arm(*state, &forever, ends.in, EPOLLIN, WQ_FOREVER - 1), 1);
	assert_true(trigger_works(*state));
	assert_int_equal(wq_trigger_work_cancel_sync(&forever.tw), 1);
	ends_close(&ends);
}

/* --- armed again from the function --- */

struct player {
	struct wq_trigger_work tw;
	struct wq_event ev;
	struct wq *wq;
	struct latch done;
	unsigned long hits, most, errors;
};

/* A byte comes, and one goes back. */
static void player_fn(struct wq_work *work, void *ctx)
{
	struct player *player = ctx;

	if (player->tw.result || player->ev.revents != EPOLLIN)
		count_up(&player->errors);
	byte_read(player->ev.fd);
	if (++player->hits <= player->most)
		byte_write(player->ev.fd);
	if (player->hits >= player->most)
		latch_post(&player->done);
	else if (wq_queue_trigger(player->wq, &player->tw, &player->ev, 1, WQ_FOREVER) != 1)
		count_up(&player->errors);
}

static void player_init(struct player *player, struct wq *wq, int fd, unsigned long most)
{
	memset(player, 0, sizeof(*player));
	wq_trigger_work_init(&player->tw, player_fn, player);
	player->ev.fd = fd;
	player->ev.events = EPOLLIN;
	player->wq = wq;
	player->most = most;
	latch_init(&player->done);
}

static void trigger_item_armed_again_by_itself_plays_ping_pong(void **state)
{
	unsigned long rounds = scaled(5000);
	struct player players[2];
	struct ends ends;

	ends_open_sockets(&ends);
	player_init(&players[0], *state, ends.in, rounds);
	player_init(&players[1], *state, ends.out, rounds);
	assert_int_equal(wq_queue_trigger(*state, &players[0].tw, &players[0].ev, 1, WQ_FOREVER),
			 1);
	assert_int_equal(wq_queue_trigger(*state, &players[1].tw, &players[1].ev, 1, WQ_FOREVER),
			 1);
	byte_write(ends.in);
	latch_wait(&players[0].done, 1);
	latch_wait(&players[1].done, 1);
	assert_int_equal(players[0].hits, rounds);
	assert_int_equal(players[1].hits, rounds);
	assert_int_equal(count_get(&players[0].errors) + count_get(&players[1].errors), 0);
	assert_int_equal(wq_drain(*state), 0);
	ends_close(&ends);
}

/* --- several items, one descriptor; one item, several descriptors --- */

#define NR_SHARING 20

static void trigger_items_on_one_descriptor_all_get_its_event(void **state)
{
	struct waiter waiters[NR_SHARING];
	struct ends ends;
	unsigned i;

	ends_open(&ends);
	for (i = 0; i < NR_SHARING; i++) {
		waiter_init(&waiters[i]);
		assert_int_equal(waiter_arm(*state, &waiters[i], ends.in, EPOLLIN, WQ_FOREVER), 1);
	}
	/* Those that go do not take others with them. */
	assert_int_equal(wq_trigger_work_cancel(&waiters[3].tw), 1);
	assert_int_equal(wq_trigger_work_cancel(&waiters[NR_SHARING - 1].tw), 1);
	byte_write(ends.out);
	for (i = 0; i < NR_SHARING; i++) {
		if (i == 3 || i == NR_SHARING - 1)
			continue;
		waiter_wait(&waiters[i], 1);
		assert_int_equal(waiters[i].tw.result, 0);
		assert_int_equal(waiters[i].ev[0].revents, EPOLLIN);
	}
	assert_int_equal(wq_flush(*state), 0);
	assert_int_equal(count_get(&waiters[3].runs), 0);
	assert_int_equal(count_get(&waiters[NR_SHARING - 1].runs), 0);
	ends_close(&ends);
}

static void trigger_items_get_what_each_waits_for(void **state)
{
	struct waiter in, out, both;
	struct ends ends;

	waiter_init(&in);
	waiter_init(&out);
	waiter_init(&both);
	ends_open_sockets(&ends);
	assert_int_equal(waiter_arm(*state, &in, ends.in, EPOLLIN, WQ_FOREVER), 1);
	assert_int_equal(waiter_arm(*state, &out, ends.in, EPOLLOUT, WQ_FOREVER), 1);
	waiter_wait(&out, 1);
	assert_int_equal(out.ev[0].revents, EPOLLOUT);
	assert_int_equal(wq_trigger_work_busy(&in.tw), WQ_BUSY_DELAYED);
	/* The first still waits, though the descriptor was registered for both. */
	byte_write(ends.out);
	waiter_wait(&in, 1);
	assert_int_equal(in.ev[0].revents, EPOLLIN);
	assert_int_equal(waiter_arm(*state, &both, ends.in, EPOLLIN | EPOLLOUT, WQ_FOREVER), 1);
	waiter_wait(&both, 1);
	assert_int_equal(both.ev[0].revents, EPOLLIN | EPOLLOUT);
	ends_close(&ends);
}

static void trigger_descriptor_twice_in_one_item_runs_it_once(void **state)
{
	struct waiter waiter;
	struct ends ends;

	waiter_init(&waiter);
	ends_open_sockets(&ends);
	waiter.ev[0] = (struct wq_event){.fd = ends.in, .events = EPOLLIN};
	waiter.ev[1] = (struct wq_event){.fd = ends.in, .events = EPOLLIN};
	waiter.ev[2] = (struct wq_event){.fd = ends.in, .events = EPOLLPRI};
	assert_int_equal(wq_queue_trigger(*state, &waiter.tw, waiter.ev, 3, WQ_FOREVER), 1);
	byte_write(ends.out);
	waiter_wait(&waiter, 1);
	assert_int_equal(waiter.tw.result, 0);
	assert_int_equal(waiter.ev[0].revents | waiter.ev[1].revents, EPOLLIN);
	assert_int_equal(waiter.ev[2].revents, 0);
	assert_true(trigger_works(*state));
	assert_int_equal(wq_flush(*state), 0);
	assert_int_equal(count_get(&waiter.runs), 1);
	/* And cancelled, it is off both. */
	byte_read(ends.in);
	assert_int_equal(wq_queue_trigger(*state, &waiter.tw, waiter.ev, 3, WQ_FOREVER), 1);
	assert_int_equal(wq_trigger_work_cancel_sync(&waiter.tw), 1);
	byte_write(ends.out);
	assert_true(trigger_works(*state));
	assert_int_equal(count_get(&waiter.runs), 1);
	ends_close(&ends);
}

#define NR_PIPES 100

static void trigger_many_descriptors_ready_at_once_all_run(void **state)
{
	static struct waiter waiters[NR_PIPES];
	static struct ends ends[NR_PIPES];
	unsigned i;

	for (i = 0; i < NR_PIPES; i++) {
		waiter_init(&waiters[i]);
		ends_open(&ends[i]);
		assert_int_equal(waiter_arm(*state, &waiters[i], ends[i].in, EPOLLIN, WQ_FOREVER),
				 1);
	}
	for (i = NR_PIPES; i--;)
		byte_write(ends[i].out);
	for (i = 0; i < NR_PIPES; i++) {
		waiter_wait(&waiters[i], 1);
		assert_int_equal(waiters[i].ev[0].revents, EPOLLIN);
	}
	/* All are ready before they are armed. */
	for (i = 0; i < NR_PIPES; i++)
		assert_int_equal(waiter_arm(*state, &waiters[i], ends[i].in, EPOLLIN, WQ_FOREVER),
				 1);
	for (i = 0; i < NR_PIPES; i++)
		waiter_wait(&waiters[i], 2);
	for (i = 0; i < NR_PIPES; i++)
		ends_close(&ends[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trigger_event_that_is_there_already_counts),
		cmocka_unit_test(trigger_event_that_comes_later_queues_the_item_once),
		cmocka_unit_test(trigger_several_events_show_which_is_ready),
		cmocka_unit_test(trigger_time_out_is_answered_and_not_early),
		cmocka_unit_test(trigger_event_before_the_time_out_ends_that),
		cmocka_unit_test(trigger_time_out_of_0_says_whether_one_is_ready),
		cmocka_unit_test(trigger_waits_for_ever_where_others_time_out),
		cmocka_unit_test(trigger_item_armed_again_by_itself_plays_ping_pong),
		cmocka_unit_test(trigger_items_on_one_descriptor_all_get_its_event),
		cmocka_unit_test(trigger_items_get_what_each_waits_for),
		cmocka_unit_test(trigger_descriptor_twice_in_one_item_runs_it_once),
		cmocka_unit_test(trigger_many_descriptors_ready_at_once_all_run),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
