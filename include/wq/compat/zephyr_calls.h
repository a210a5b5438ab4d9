/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file wq/compat/zephyr_calls.h
 * Zephyr's calls, by the functions of wq/compat/zephyr.h, which includes this and says what
 * each does: a line here is a call there.  So the library exports no name of Zephyr's.
 */
#ifndef WQ_COMPAT_ZEPHYR_CALLS_H
#define WQ_COMPAT_ZEPHYR_CALLS_H

#include <string.h>

#include <wq/compat/zephyr.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- items --- */

static inline void k_work_init(struct k_work *work, k_work_handler_t handler)
{
	wq_zephyr_work_init(work, handler);
}

static inline int k_work_submit_to_queue(struct k_work_q *queue, struct k_work *work)
{
	return wq_zephyr_submit(queue, work);
}

static inline int k_work_submit(struct k_work *work)
{
	return wq_zephyr_submit(&k_sys_work_q, work);
}

static inline int k_work_busy_get(const struct k_work *work)
{
	return wq_zephyr_busy(work);
}

static inline bool k_work_is_pending(const struct k_work *work)
{
	return wq_zephyr_busy(work) != 0;
}

static inline bool k_work_flush(struct k_work *work, struct k_work_sync *sync)
{
	(void)sync;
	return wq_zephyr_flush(work, false);
}

static inline int k_work_cancel(struct k_work *work)
{
	return wq_zephyr_cancel(work);
}

static inline bool k_work_cancel_sync(struct k_work *work, struct k_work_sync *sync)
{
	(void)sync;
	return wq_zephyr_cancel_sync(work);
}

/* --- delayable items --- */

static inline void k_work_init_delayable(struct k_work_delayable *dwork, k_work_handler_t handler)
{
	wq_zephyr_delayable_init(dwork, handler);
}

static inline struct k_work_delayable *k_work_delayable_from_work(struct k_work *work)
{
	return CONTAINER_OF(work, struct k_work_delayable, work);
}

static inline int k_work_schedule_for_queue(struct k_work_q *queue, struct k_work_delayable *dwork,
					    k_timeout_t delay)
{
	return wq_zephyr_schedule(queue, dwork, wq_zephyr_delay_ns(delay));
}

static inline int k_work_schedule(struct k_work_delayable *dwork, k_timeout_t delay)
{
	return wq_zephyr_schedule(&k_sys_work_q, dwork, wq_zephyr_delay_ns(delay));
}

static inline int k_work_reschedule_for_queue(struct k_work_q *queue,
					      struct k_work_delayable *dwork, k_timeout_t delay)
{
	return wq_zephyr_reschedule(queue, dwork, wq_zephyr_delay_ns(delay));
}

static inline int k_work_reschedule(struct k_work_delayable *dwork, k_timeout_t delay)
{
	return wq_zephyr_reschedule(&k_sys_work_q, dwork, wq_zephyr_delay_ns(delay));
}

static inline int k_work_delayable_busy_get(const struct k_work_delayable *dwork)
{
	return wq_zephyr_busy(&dwork->work);
}

static inline bool k_work_delayable_is_pending(const struct k_work_delayable *dwork)
{
	return wq_zephyr_busy(&dwork->work) != 0;
}

static inline k_ticks_t k_work_delayable_expires_get(const struct k_work_delayable *dwork)
{
	uint64_t at_ns = wq_zephyr_expires_ns(dwork);

	return at_ns ? wq_zephyr_ns_to_ticks(at_ns, true) : k_uptime_ticks();
}

static inline k_ticks_t k_work_delayable_remaining_get(const struct k_work_delayable *dwork)
{
	uint64_t at_ns = wq_zephyr_expires_ns(dwork), now_ns = wq_zephyr_now_ns();

	return at_ns > now_ns ? wq_zephyr_ns_to_ticks(at_ns - now_ns, true) : 0;
}

static inline bool k_work_flush_delayable(struct k_work_delayable *dwork, struct k_work_sync *sync)
{
	(void)sync;
	return wq_zephyr_flush(&dwork->work, true);
}

static inline int k_work_cancel_delayable(struct k_work_delayable *dwork)
{
	return wq_zephyr_cancel(&dwork->work);
}

static inline bool k_work_cancel_delayable_sync(struct k_work_delayable *dwork,
						struct k_work_sync *sync)
{
	(void)sync;
	return wq_zephyr_cancel_sync(&dwork->work);
}

/* --- queues --- */

static inline void k_work_queue_init(struct k_work_q *queue)
{
	memset(queue, 0, sizeof(*queue));
}

/** Where no thread can be had the queue stays stopped: wq_zephyr_queue_start() says so. */
static inline void k_work_queue_start(struct k_work_q *queue, k_thread_stack_t *stack,
				      size_t stack_size, int prio,
				      const struct k_work_queue_config *cfg)
{
	(void)stack;
	(void)wq_zephyr_queue_start(queue, stack_size, prio, cfg);
}

static inline void k_work_queue_run(struct k_work_q *queue, const struct k_work_queue_config *cfg)
{
	(void)wq_zephyr_queue_run(queue, cfg);
}

static inline int k_work_queue_drain(struct k_work_q *queue, bool plug)
{
	return wq_zephyr_queue_drain(queue, plug);
}

static inline int k_work_queue_unplug(struct k_work_q *queue)
{
	return wq_zephyr_queue_unplug(queue);
}

static inline int k_work_queue_stop(struct k_work_q *queue, k_timeout_t timeout)
{
	return wq_zephyr_queue_stop(queue, wq_zephyr_delay_ns(timeout));
}

static inline k_tid_t k_work_queue_thread_get(struct k_work_q *queue)
{
	return wq_zephyr_queue_thread(queue);
}

#ifdef __cplusplus
}
#endif

#endif /* WQ_COMPAT_ZEPHYR_CALLS_H */
