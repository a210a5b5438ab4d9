/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The small parts: numbers, lock, memory, state word. */
#include "support.h"

#include "ids.h"
#include "item.h"
#include "lock.h"
#include "mem.h"

static void ids_are_found_emptied_and_used_again(void **state)
{
	struct wqi_pwq *pwq = (struct wqi_pwq *)(uintptr_t)0x1000;
	uint32_t first = wqi_ids_alloc(3), second, one;
	unsigned i;

	assert_int_not_equal(first, 0);
	for (i = 0; i < 3; i++) {
		assert_null(wqi_ids_get(first + i));
		wqi_ids_set(first + i, pwq);
		assert_ptr_equal(wqi_ids_get(first + i), pwq);
	}
	second = wqi_ids_alloc(3);
	assert_int_not_equal(first, second);
	one = wqi_ids_alloc(1);
	for (i = 0; i < 3; i++)
		wqi_ids_set(first + i, NULL);
	wqi_ids_free(first, 3);
	wqi_ids_free(second, 3);
	for (i = 0; i < 3; i++) {
		assert_null(wqi_ids_get(first + i));
		assert_null(wqi_ids_get(second + i));
	}
	assert_null(wqi_ids_get(0));
	assert_int_equal(wqi_ids_alloc(3), second);
	assert_int_equal(wqi_ids_alloc(3), first);
	assert_null(wqi_ids_get(first));
	wqi_ids_free(one, 1);
	assert_int_equal(wqi_ids_alloc(1), one);
}

static void ids_run_out_with_an_answer(void **state)
{
	uint32_t id;

	/* A chunk's memory is missing: no number, and nothing is lost. */
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 1);
	assert_int_equal(wqi_ids_alloc(WQI_IDS_CHUNK), 0);
	wqi_test_fault(WQI_FAULT_ALLOC, 0, 0);
	id = wqi_ids_alloc(WQI_IDS_CHUNK);
	assert_int_not_equal(id, 0);
	assert_null(wqi_ids_get(id + WQI_IDS_CHUNK - 1));
	assert_int_equal(wqi_ids_alloc(WQI_IDS_CHUNK * WQI_IDS_CHUNKS), 0);
}

struct lock_storm {
	struct wqi_lock lock;
	unsigned long plain, rounds;
};

static void lock_storm_thread(void *ctx, unsigned index)
{
	struct lock_storm *storm = ctx;
	unsigned long i;

	for (i = 0; i < storm->rounds; i++) {
		wqi_lock(&storm->lock);
		storm->plain++;
		wqi_yield_point();
		wqi_unlock(&storm->lock);
	}
}

static void lock_excludes_and_wakes_all(void **state)
{
	struct lock_storm storm = {.rounds = scaled(100000)};

	run_threads(6, lock_storm_thread, &storm);
	assert_int_equal(storm.plain, 6 * storm.rounds);
	assert_int_equal(storm.lock.word, 0);
}

static void memory_is_aligned_zeroed_and_can_fail(void **state)
{
	unsigned long i;
	char *p;

	for (i = 1; i < 400000; i = i * 3 / 2 + 1) {
		p = wqi_zalloc(i);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % WQI_CACHE_LINE, 0);
		assert_int_equal(p[0] | p[i - 1], 0);
		memset(p, 1, i);
		wqi_free(p, i);
	}
	wqi_free(NULL, 5);
	wqi_free(NULL, 500000);
	assert_null(wqi_zalloc(SIZE_MAX));
}

static void state_word_parts_do_not_overlap(void **state)
{
	static const uint64_t parts[] = {WQI_INIT,	     WQI_PENDING,    WQI_TRANSIT,
					 WQI_CANCEL,	     WQI_LINKED,     WQI_COUNTED,
					 WQI_COLOR_MASK,     WQI_DEPTH_MASK, WQI_GENERATION_MASK,
					 WQI_CANCELLER_MASK, WQI_ARMED,	     WQI_MOVING,
					 WQI_SHARD_MASK,     WQI_ID_MASK};
	uint64_t all = 0;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		assert_int_equal(all & parts[i], 0);
		all |= parts[i];
	}
	assert_int_equal(~all, 0);
	assert_true(WQI_NR_SHARDS - 1 <= WQI_SHARD_MASK >> WQI_SHARD_SHIFT);
	assert_int_equal(WQI_DEPTH_MASK >> WQI_DEPTH_SHIFT, WQ_MAX_DISABLE_DEPTH);
	assert_true(WQI_IDS_CHUNK * (uint64_t)WQI_IDS_CHUNKS - 1 <= WQI_ID_MASK >> WQI_ID_SHIFT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_found_emptied_and_used_again),
		cmocka_unit_test(ids_run_out_with_an_answer),
		cmocka_unit_test(lock_excludes_and_wakes_all),
		cmocka_unit_test(memory_is_aligned_zeroed_and_can_fail),
		cmocka_unit_test(state_word_parts_do_not_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
