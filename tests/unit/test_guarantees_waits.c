/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* G9: a wait that can't end answers instead of hanging, and only such a wait. */
#include "support.h"

#define NR_WAITS 7

struct waits {
	struct wq_work work;
	struct wq *wq;
	int answers[NR_WAITS];
};

static void waits_fn(struct wq_work *work, void *ctx)
{
	struct waits *waits = container_of(work, struct waits, work);

	waits->answers[0] = wq_work_flush(work);
	waits->answers[1] = wq_work_cancel_sync(work);
	waits->answers[2] = wq_work_disable_sync(work);
	wq_work_enable(work);
	waits->answers[3] = wq_flush(waits->wq);
	waits->answers[4] = wq_drain(waits->wq);
	waits->answers[5] = wq_destroy(waits->wq);
	waits->answers[6] = wq_shutdown();
}

static const unsigned kinds[] = {0, WQ_PERCPU, WQ_ORDERED, WQ_DEDICATED, WQ_HIGHPRI};

static void g9_waiting_for_oneself_answers_edeadlk(void **state)
{
	struct waits waits;
	unsigned i, k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		memset(&waits, 0, sizeof(waits));
		wq_work_init(&waits.work, waits_fn, NULL);
		waits.wq = wq_alloc("waits", kinds[k], 0);
		assert_int_equal(wq_queue(waits.wq, &waits.work), 1);
		assert_int_equal(wq_flush(waits.wq), 0);
		for (i = 0; i < NR_WAITS; i++)
			assert_int_equal(waits.answers[i], -EDEADLK);
		/* Nothing of it has changed the queue. */
		assert_int_equal(wq_queue(waits.wq, &waits.work), 1);
		assert_int_equal(wq_destroy(waits.wq), 0);
	}
}

struct behind {
	struct wq_work work;
	struct wq *wq;
	struct probe probe;
	int answer;
};

static void behind_fn(struct wq_work *work, void *ctx)
{
	struct behind *behind = container_of(work, struct behind, work);

	wq_queue(behind->wq, &behind->probe.work);
	behind->answer = wq_work_flush(&behind->probe.work);
}

static int flush_from_an_item(struct wq *of_item, struct wq *of_other)
{
	struct behind behind = {.wq = of_other};

	wq_work_init(&behind.work, behind_fn, NULL);
	probe_init(&behind.probe);
	assert_int_equal(wq_queue(of_item, &behind.work), 1);
	wq_work_flush(&behind.work);
	wq_work_flush(&behind.probe.work);
	assert_int_equal(behind.probe.runs, 1);
	return behind.answer;
}

static void g9_flush_of_an_item_behind_oneself_answers_edeadlk(void **state)
{
	static const struct {
		unsigned flags;
		int max_active;
	} ones[] = {{WQ_ORDERED, 0}, {WQ_DEDICATED, 0}, {0, 1}};
	struct wq *other = wq_alloc("other", 0, 0), *wq;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(ones); i++) {
		wq = wq_alloc("one", ones[i].flags, ones[i].max_active);
		assert_int_equal(flush_from_an_item(wq, wq), -EDEADLK);
		/* These waits end. */
		assert_true(flush_from_an_item(wq, other) >= 0);
		assert_true(flush_from_an_item(other, wq) >= 0);
		assert_int_equal(wq_destroy(wq), 0);
	}
	assert_true(flush_from_an_item(other, other) >= 0);
	assert_int_equal(wq_destroy(other), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(g9_waiting_for_oneself_answers_edeadlk),
		cmocka_unit_test(g9_flush_of_an_item_behind_oneself_answers_edeadlk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
