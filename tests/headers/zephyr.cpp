// SPDX-License-Identifier: LGPL-2.1-or-later
// Zephyr's header serves C++ too, beside the native one: definitions, calls and linkage.
#include <wq/compat/zephyr.h>
#include <wq/wq.h>

static int runs;

static void count(struct k_work *work)
{
	(void)work;
	++runs;
}

static K_WORK_DEFINE(work, count);
static K_WORK_DELAYABLE_DEFINE(delayable, count);
K_WORK_QUEUE_DEFINE(queue, 1024, K_PRIO_PREEMPT(1), true);
K_WORK_QUEUE_DEFINE(watched, 1024, K_PRIO_COOP(1), false, 1000);
static struct k_poll_signal raised = K_POLL_SIGNAL_INITIALIZER(raised);
static struct k_poll_event event =
	K_POLL_EVENT_INITIALIZER(K_POLL_TYPE_SIGNAL, K_POLL_MODE_NOTIFY_ONLY, &raised);

int main()
{
	struct k_work_poll poll;
	struct k_work_sync sync;

	k_work_poll_init(&poll, count);
	if (k_work_poll_submit_to_queue(&queue, &poll, &event, 1, K_FOREVER) ||
	    k_work_submit_to_queue(&queue, &work) != 1 ||
	    k_work_schedule_for_queue(&queue, &delayable, K_MINUTES(1)) != 1 ||
	    !k_work_flush_delayable(&delayable, &sync) || k_poll_signal_raise(&raised, 0))
		return 1;
	if (k_work_queue_drain(&queue, true) != 1 || runs != 3)
		return 1;
	return k_work_queue_stop(&queue, K_SECONDS(60));
}
