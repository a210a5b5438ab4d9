// SPDX-License-Identifier: LGPL-2.1-or-later
// What <wq/wq.hpp> adds to the calls of C, for test_cost.sh to count: pairs of functions of
// which one does by C what the other does by C++.
#include <wq/wq.hpp>

#include <chrono>

#define NR_CALLS 100

static long sum;

static void add(long *count)
{
	++*count;
}

/* It might throw, for all that its callers know. */
static void (*volatile cost_body)(long *) = add;

extern "C" {

static void cost_run_c(struct wq_work *, void *ctx)
{
	cost_body(static_cast<long *>(ctx));
}

static void cost_call_c(void *ctx)
{
	cost_body(static_cast<long *>(ctx));
}

[[gnu::noinline]] int cost_queue_c(struct wq *wq, struct wq_work *work)
{
	return wq_queue(wq, work);
}

[[gnu::noinline]] bool cost_queue_cpp(wq::queue &queue, wq::work &work)
{
	return work.queue(queue);
}

[[gnu::noinline]] int cost_delay_c(struct wq *wq, struct wq_delayed_work *dw, uint64_t ms)
{
	return wq_queue_delayed(wq, dw, ms * 1000000);
}

[[gnu::noinline]] bool cost_delay_cpp(wq::queue &queue, wq::delayed_work &work, std::int64_t ms)
{
	return work.queue(queue, std::chrono::milliseconds(ms));
}

[[gnu::noinline]] int cost_post_c(struct wq *wq, long *count)
{
	return wq_call(wq, cost_call_c, count);
}

[[gnu::noinline]] void cost_post_cpp(wq::queue &queue, long &count)
{
	wq::post(queue, [&count] { cost_body(&count); });
}

} // extern "C"

int main()
{
	wq::queue queue("cost", WQ_ORDERED);
	struct wq_work work_c = WQ_WORK_INIT(cost_run_c, &sum);
	struct wq_delayed_work delayed_c = WQ_DELAYED_WORK_INIT(cost_run_c, &sum);
	long *count = &sum;
	wq::work work("cost", [count] { cost_body(count); });
	wq::delayed_work delayed([count] { cost_body(count); });
	int i, right = 0;

	for (i = 0; i < NR_CALLS; i++) {
		right += cost_queue_c(queue.native(), &work_c);
		right += cost_queue_cpp(queue, work);
		right += cost_post_c(queue.native(), &sum);
		cost_post_cpp(queue, sum);
		queue.flush();
		right += cost_delay_c(queue.native(), &delayed_c, 1000000);
		right += cost_delay_cpp(queue, delayed, 1000000);
		right += wq_delayed_work_cancel(&delayed_c) + delayed.cancel();
	}
	return right == 7 * NR_CALLS && sum == 4 * NR_CALLS ? 0 : 1;
}
