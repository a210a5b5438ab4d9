/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The matrix: every pair of calls against each other on one item and one queue, from
 * many states, judged by the model (model.h).  WQ_TEST_SEED repeats a run's choices
 * (not its interleaving); WQ_STRESS_MS sets its length (default 1500), but every
 * pair is tried at least once.
 */
#include "round.h"

#include <sched.h>
#include <time.h>

#include "testing.h"

/* --- the twelve --- */

enum op {
	OP_QUEUE,
	OP_QUEUE_ELSEWHERE,
	OP_CANCEL,
	OP_CANCEL_SYNC,
	OP_DISABLE,
	OP_ENABLE,
	OP_FLUSH_ITEM,
	OP_FLUSH_QUEUE,
	OP_DRAIN,
	OP_PLUG,
	OP_FREEZE,
	OP_DESTROY,
	NR_OPS,
};

/* Each stands for one or two calls, and acts on one of the queues or on none. */
static const struct {
	uint8_t kinds[2], queue;
} ops[NR_OPS] = {
	[OP_QUEUE] = {{MODEL_QUEUE, MODEL_QUEUE}, MODEL_HERE},
	[OP_QUEUE_ELSEWHERE] = {{MODEL_QUEUE, MODEL_QUEUE}, MODEL_ELSEWHERE},
	[OP_CANCEL] = {{MODEL_CANCEL, MODEL_CANCEL}, 0},
	[OP_CANCEL_SYNC] = {{MODEL_CANCEL_SYNC, MODEL_CANCEL_SYNC}, 0},
	[OP_DISABLE] = {{MODEL_DISABLE, MODEL_DISABLE_SYNC}, 0},
	[OP_ENABLE] = {{MODEL_ENABLE, MODEL_ENABLE_QUEUE}, 0},
	[OP_FLUSH_ITEM] = {{MODEL_FLUSH, MODEL_FLUSH}, 0},
	[OP_FLUSH_QUEUE] = {{MODEL_FLUSH_QUEUE, MODEL_FLUSH_QUEUE}, MODEL_HERE},
	[OP_DRAIN] = {{MODEL_DRAIN, MODEL_DRAIN}, MODEL_HERE},
	[OP_PLUG] = {{MODEL_PLUG, MODEL_UNPLUG}, MODEL_HERE},
	[OP_FREEZE] = {{MODEL_FREEZE, MODEL_THAW}, 0},
	[OP_DESTROY] = {{MODEL_DESTROY, MODEL_DESTROY}, MODEL_HERE},
};

/* --- the states from which a round begins --- */

enum { NEEDS_GATE = 1, NEEDS_ORDER = 2, NEEDS_HOLD = 4, NEEDS_FREEZABLE = 8 };

static const struct {
	unsigned needs, nr;
	struct {
		uint8_t kind, queue;
	} calls[3];
} setups[] = {
	{0, 0, {{0, 0}}},
	{0, 1, {{MODEL_QUEUE, MODEL_HERE}}},
	/* Idle, and was last in another pool. */
	{0, 2, {{MODEL_QUEUE, MODEL_ELSEWHERE}, {MODEL_FLUSH, 0}}},
	{NEEDS_GATE | NEEDS_ORDER, 1, {{MODEL_QUEUE, MODEL_HERE}}},
	{NEEDS_HOLD, 1, {{MODEL_QUEUE, MODEL_HERE}}},
	{NEEDS_HOLD, 1, {{MODEL_QUEUE, MODEL_ELSEWHERE}}},
	{NEEDS_HOLD, 2, {{MODEL_QUEUE, MODEL_HERE}, {MODEL_QUEUE, MODEL_HERE}}},
	{NEEDS_HOLD, 2, {{MODEL_QUEUE, MODEL_HERE}, {MODEL_QUEUE, MODEL_ELSEWHERE}}},
	{0, 1, {{MODEL_DISABLE, 0}}},
	{NEEDS_HOLD, 2, {{MODEL_QUEUE, MODEL_HERE}, {MODEL_DISABLE, 0}}},
	{NEEDS_FREEZABLE, 1, {{MODEL_FREEZE, 0}}},
	{NEEDS_FREEZABLE, 2, {{MODEL_FREEZE, 0}, {MODEL_QUEUE, MODEL_HERE}}},
	{NEEDS_FREEZABLE | NEEDS_HOLD, 2, {{MODEL_QUEUE, MODEL_HERE}, {MODEL_FREEZE, 0}}},
	{NEEDS_FREEZABLE | NEEDS_HOLD,
	 3,
	 {{MODEL_QUEUE, MODEL_HERE}, {MODEL_QUEUE, MODEL_HERE}, {MODEL_FREEZE, 0}}},
	{NEEDS_FREEZABLE | NEEDS_GATE | NEEDS_ORDER,
	 2,
	 {{MODEL_QUEUE, MODEL_HERE}, {MODEL_FREEZE, 0}}},
	{0, 1, {{MODEL_PLUG, MODEL_HERE}}},
	{NEEDS_GATE | NEEDS_ORDER, 2, {{MODEL_QUEUE, MODEL_HERE}, {MODEL_PLUG, MODEL_HERE}}},
};

/* --- queues: made when first used, and again after they were destroyed --- */

static struct queue_kind {
	unsigned flags;
	int max_active;
	struct wq *wq;
} kinds[][16] = {
	[MODEL_HERE] =
		{
			{0, 0, NULL},
			{0, 1, NULL},
			{WQ_PERCPU, 0, NULL},
			{WQ_PERCPU, 1, NULL},
			{WQ_ORDERED, 0, NULL},
			{WQ_DEDICATED, 0, NULL},
			{WQ_HIGHPRI, 1, NULL},
			{WQ_CPU_INTENSIVE, 0, NULL},
			{WQ_FREEZABLE, 0, NULL},
			{WQ_FREEZABLE, 1, NULL},
			{WQ_FREEZABLE | WQ_PERCPU, 0, NULL},
			{WQ_FREEZABLE | WQ_ORDERED, 0, NULL},
			{WQ_FREEZABLE | WQ_DEDICATED, 0, NULL},
		},
	[MODEL_ELSEWHERE] =
		{
			{0, 0, NULL},
			{WQ_PERCPU, 0, NULL},
			{WQ_HIGHPRI, 0, NULL},
			{WQ_ORDERED, 0, NULL},
			{WQ_PERCPU | WQ_HIGHPRI, 1, NULL},
			{WQ_DEDICATED, 0, NULL},
		},
};

static const unsigned nr_kinds[MODEL_QUEUES] = {0, 13, 6};

static bool kind_is_exclusive(const struct queue_kind *kind)
{
	return kind->flags & (WQ_ORDERED | WQ_DEDICATED) ||
	       (kind->max_active == 1 && !(kind->flags & WQ_PERCPU));
}

static bool kinds_are_apart(const struct queue_kind *a, const struct queue_kind *b)
{
	return (a->flags | b->flags) & WQ_DEDICATED ||
	       (a->flags ^ b->flags) & (WQ_PERCPU | WQ_HIGHPRI);
}

static struct queue_kind *kind_choose(unsigned q, unsigned needs, uint64_t *rng)
{
	struct queue_kind *kind;

	do {
		kind = &kinds[q][random_next(rng) % nr_kinds[q]];
	} while ((needs & NEEDS_FREEZABLE && !(kind->flags & WQ_FREEZABLE)) ||
		 (needs & NEEDS_ORDER && !kind_is_exclusive(kind)));
	if (!kind->wq)
		kind->wq = wq_alloc("matrix", kind->flags, kind->max_active);
	assert_non_null(kind->wq);
	return kind;
}

/* --- plans --- */

static bool call_queues(const struct round_call *call)
{
	return call->kind == MODEL_QUEUE || call->kind == MODEL_ENABLE_QUEUE;
}

static bool op_shuts(enum op op)
{
	return op == OP_DRAIN || op == OP_DESTROY || op == OP_PLUG;
}

static struct round_call call_of_op(enum op op, uint64_t r)
{
	struct round_call call = {
		.kind = ops[op].kinds[r & 1],
		.queue = ops[op].queue,
		.on_cpu = (uint8_t)(r >> 1 & 3),
		.spins = (uint8_t)(r >> 8 & (r & 64 ? 15 : 255)),
	};

	if (call.kind == MODEL_ENABLE_QUEUE)
		call.queue = r >> 4 & 1 ? MODEL_HERE : MODEL_ELSEWHERE;
	return call;
}

static struct round_call call_any(uint64_t r)
{
	enum op op = (enum op)(r % (NR_OPS + 2));
	struct round_call call = call_of_op(op < OP_DESTROY ? op : OP_CANCEL, r >> 8);

	if (op >= OP_DESTROY)
		call.kind = op == OP_DESTROY ? MODEL_FREEZE_BUSY : MODEL_BUSY;
	else if (call.queue && r >> 40 & 1)
		call.queue = MODEL_ELSEWHERE;
	return call;
}

static void calls_add(struct round_calls *calls, struct round_call call)
{
	calls->calls[calls->nr++] = call;
}

/*
 * Its own call, and up to two others before and after it.  Where the other thread
 * shuts the queue, it may look first whether that has begun; who does that looks
 * what is left.
 */
static void plan_thread(struct round_calls *calls, enum op op, enum op against, uint64_t *rng)
{
	uint64_t r = random_next(rng);
	unsigned before = r % 8 == 0, after = r >> 3 & 1 ? r >> 4 & 1 : 1 + (r >> 4 & 1);

	while (before--)
		calls_add(calls, call_any(random_next(rng)));
	if (op_shuts(against) && r >> 5 & 1)
		calls_add(calls, (struct round_call){.kind = MODEL_SHUT, .queue = MODEL_HERE});
	calls_add(calls, call_of_op(op, random_next(rng)));
	if (op_shuts(op) && r >> 6 & 1)
		calls_add(calls, (struct round_call){.kind = MODEL_BUSY});
	while (after--)
		calls_add(calls, call_any(random_next(rng)));
}

/* What the item itself does: it queues itself, or takes back that somebody has. */
static void plan_inside(struct round_calls *calls, uint64_t *rng, bool only_current, unsigned first)
{
	static const uint8_t choice[] = {MODEL_QUEUE,  MODEL_QUEUE, MODEL_QUEUE,  MODEL_CANCEL,
					 MODEL_ENABLE, MODEL_BUSY,  MODEL_DISABLE};
	uint64_t r = random_next(rng);
	unsigned run = first + (r >> 16 & 1), nr = r >> 8 & 1 ? 0 : 1 + (r >> 9) % 3;

	while (nr--) {
		struct round_call call = {.run = (uint8_t)run};

		r = random_next(rng);
		call.kind = choice[r % ARRAY_SIZE(choice)];
		call.spins = (uint8_t)(r >> 8);
		if (call_queues(&call))
			call.queue = only_current ? ROUND_CURRENT : 1 + (r >> 16) % 3;
		calls_add(calls, call);
		run += r >> 24 & 1;
	}
}

/*
 * While a queue is destroyed others may only queue on it.  They do that first, and
 * the gate, which holds up the destroyer, waits for it; all else goes to the other
 * queue.  Who destroyed a queue does not name it any more.
 */
static void plan_make_legal(struct round_plan *plan, unsigned t, const unsigned *destroyer)
{
	struct round_calls *calls = &plan->threads[t], first = {0}, rest = {0};
	bool gone[MODEL_QUEUES] = {false};
	unsigned i;

	for (i = 0; i < calls->nr; i++) {
		struct round_call call = calls->calls[i];
		unsigned q = call.queue, other = MODEL_QUEUES - q;
		bool anothers = destroyer[q] && destroyer[q] != t;
		bool kept = anothers && q == MODEL_HERE &&
			    (call_queues(&call) || call.kind == MODEL_SHUT);

		if (gone[q] || (anothers && !kept)) {
			call.queue = (uint8_t)other;
			if (destroyer[other])
				call = (struct round_call){.kind = MODEL_BUSY};
		}
		if (call.kind == MODEL_DESTROY)
			gone[q] = true;
		calls_add(kept ? &first : &rest, call);
	}
	plan->gate_needs[t] = first.nr;
	for (i = 0; i < rest.nr; i++)
		calls_add(&first, rest.calls[i]);
	*calls = first;
}

static void plan_setup(struct round_plan *plan, uint64_t *rng, struct queue_kind **used,
		       bool freezes)
{
	unsigned s = random_next(rng) % ARRAY_SIZE(setups), needs = setups[s].needs, i;
	bool hold_here = needs & NEEDS_HOLD && setups[s].calls[0].queue == MODEL_HERE;
	uint64_t r = random_next(rng);

	if (freezes && r >> 4 & 3)
		needs |= NEEDS_FREEZABLE;
	for (i = 1; i < MODEL_QUEUES; i++) {
		used[i] = kind_choose(i, i == MODEL_HERE ? needs : 0, rng);
		plan->queues[i] = used[i]->wq;
		plan->spread[i] = used[i]->flags & WQ_PERCPU;
	}
	plan->freezable = used[MODEL_HERE]->flags & WQ_FREEZABLE;
	plan->exclusive = kind_is_exclusive(used[MODEL_HERE]);
	plan->apart = kinds_are_apart(used[MODEL_HERE], used[MODEL_ELSEWHERE]);
	plan->hold = plan->waits_for_run = needs & NEEDS_HOLD;
	plan->gate = needs & NEEDS_GATE || (plan->destroys[MODEL_HERE] && !hold_here) ||
		     (!plan->hold && r % 8 == 0);
	plan->fresh = r >> 3 & 1;
	plan->seed = r;
	for (i = 0; i < setups[s].nr; i++)
		calls_add(&plan->threads[MODEL_MAIN],
			  (struct round_call){.kind = setups[s].calls[i].kind,
					      .queue = setups[s].calls[i].queue,
					      .on_cpu = (uint8_t)(r >> 8 & 3)});
}

/* What would only undo what nobody has done does it instead. */
static void plan_make_matter(struct round_plan *plan)
{
	const struct round_calls *setup = &plan->threads[MODEL_MAIN];
	bool plugged = false, frozen = false;
	unsigned t, i;

	for (i = 0; i < setup->nr; i++) {
		plugged |= setup->calls[i].kind == MODEL_PLUG;
		frozen |= setup->calls[i].kind == MODEL_FREEZE;
	}
	for (t = 1; t <= 2; t++)
		for (i = 0; i < plan->threads[t].nr; i++) {
			struct round_call *call = &plan->threads[t].calls[i];

			if (call->kind == MODEL_UNPLUG && !plugged && !i)
				call->kind = MODEL_PLUG;
			if (call->kind == MODEL_THAW && !frozen && !i)
				call->kind = MODEL_FREEZE;
		}
}

static void plan_make(struct round_plan *plan, enum op one, enum op two, uint64_t *rng,
		      struct queue_kind **used)
{
	unsigned destroyer[MODEL_QUEUES] = {0}, t, i;

	memset(plan, 0, sizeof(*plan));
	plan_thread(&plan->threads[1], one, two, rng);
	plan_thread(&plan->threads[2], two, one, rng);
	if (random_next(rng) % 4 == 0)
		for (i = 1 + random_next(rng) % 2; i; i--)
			calls_add(&plan->threads[3], call_any(random_next(rng)));
	for (t = 1; t <= 2; t++)
		for (i = 0; i < plan->threads[t].nr; i++) {
			struct round_call *call = &plan->threads[t].calls[i];

			if (call->kind != MODEL_DESTROY)
				continue;
			if (destroyer[call->queue])
				call->queue = MODEL_ELSEWHERE;
			destroyer[call->queue] = t;
			plan->destroys[call->queue] = true;
		}
	for (t = 1; t < MODEL_INSIDE; t++)
		plan_make_legal(plan, t, destroyer);
	plan_setup(plan, rng, used, one == OP_FREEZE || two == OP_FREEZE);
	plan_make_matter(plan);
	/* A run that is flushed before the gate opens must not queue the item behind it. */
	plan_inside(&plan->threads[MODEL_INSIDE], rng, destroyer[MODEL_HERE],
		    plan->gate && plan->threads[MODEL_MAIN].calls[1].kind == MODEL_FLUSH ? 2 : 1);
}

/* --- the matrix --- */

static struct matrix {
	unsigned long rounds[NR_OPS * NR_OPS], total, too_long, states;
	uint64_t rng, end_ns;
} matrix;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A law that holds without a model: what is accepted runs or is taken back. */
static bool counts_balance(const struct model_history *h)
{
	unsigned long accepted = 0, cancelled = 0, maybe = 0;
	const struct model_call *c;
	unsigned t, i;

	for (t = 0; t < MODEL_THREADS; t++)
		for (i = 0; i < h->threads[t].nr; i++) {
			c = &h->threads[t].calls[i];
			accepted += c->kind == MODEL_QUEUE && c->ret == 1;
			maybe += c->kind == MODEL_ENABLE_QUEUE && c->ret == 1;
			cancelled += c->kind >= MODEL_CANCEL && c->kind <= MODEL_DISABLE_SYNC &&
				     c->ret == 1;
		}
	return accepted <= h->nr_runs + cancelled && h->nr_runs + cancelled <= accepted + maybe;
}

/* At the library's named points some wait longer, so that others get far meanwhile. */
static void matrix_hook(const char *where)
{
	static __thread uint64_t rng;
	volatile unsigned spins;
	uint64_t r;

	if (!rng)
		rng = (uintptr_t)&rng;
	r = random_next(&rng);
	if (r % 4)
		return;
	for (spins = r >> 8 & 8191; spins; spins--)
		;
	if (r >> 32 & 1)
		sched_yield();
}

static void matrix_fail(const char *why, const struct model_history *h)
{
	printf("round %lu, WQ_TEST_SEED=%llu: %s\n", matrix.total, (unsigned long long)test_seed(),
	       why);
	model_print(stdout, h);
	fflush(stdout);
	fail_msg("%s", why);
}

static void matrix_round(unsigned pair)
{
	struct queue_kind *used[MODEL_QUEUES];
	const struct model_history *h;
	struct round_plan plan;
	unsigned q;

	if (matrix.total % 64 == 0) {
		wqi_test_yields(test_seed(), matrix.total % 256 ? 16 : 0);
		__atomic_store_n(&wqi_test_hook, matrix.total % 128 ? matrix_hook : NULL,
				 __ATOMIC_RELEASE);
	}
	plan_make(&plan, (enum op)(pair / NR_OPS), (enum op)(pair % NR_OPS), &matrix.rng, used);
	h = round_run(&plan);
	for (q = 1; q < MODEL_QUEUES; q++)
		if (plan.destroys[q])
			used[q]->wq = NULL;
	matrix.total++;
	matrix.rounds[pair]++;
	if (round_nr_wrong())
		matrix_fail("runs overlap or are not ordered, or something is left behind", h);
	if (!counts_balance(h))
		matrix_fail("accepted is not ran + cancelled", h);
	switch (model_check(h)) {
	case MODEL_NO:
		matrix_fail("no order of the model's steps explains it", h);
		break;
	case MODEL_TOO_LONG:
		matrix.too_long++;
		break;
	case MODEL_YES:
		break;
	}
	matrix.states += model_nr_states();
}

/* All pairs in an order of its own; false when the time is up. */
static bool matrix_pass(bool to_the_end)
{
	unsigned pairs[NR_OPS * NR_OPS], i, other;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		other = (unsigned)(random_next(&matrix.rng) % (i + 1));
		pairs[i] = pairs[other];
		pairs[other] = i;
	}
	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (!to_the_end && now_ns() >= matrix.end_ns)
			return false;
		matrix_round(pairs[i]);
	}
	return now_ns() < matrix.end_ns;
}

static void every_pair_of_calls_is_explained_by_the_model(void **state)
{
	const char *text = getenv("WQ_STRESS_MS");
	unsigned long least = ~0ul, most = 0;
	unsigned q, i;

	matrix.rng = test_seed();
	matrix.end_ns = now_ns() + (text ? strtoull(text, NULL, 10) : 1500) * 1000000u;
	round_threads_start();
	for (i = 0; matrix_pass(i == 0); i++)
		;
	round_threads_join();
	wqi_test_yields(0, 0);
	__atomic_store_n(&wqi_test_hook, NULL, __ATOMIC_RELEASE);
	for (q = 1; q < MODEL_QUEUES; q++)
		for (i = 0; i < nr_kinds[q]; i++) {
			assert_int_equal(wq_destroy(kinds[q][i].wq), 0);
			kinds[q][i].wq = NULL;
		}
	for (i = 0; i < ARRAY_SIZE(matrix.rounds); i++) {
		least = matrix.rounds[i] < least ? matrix.rounds[i] : least;
		most = matrix.rounds[i] > most ? matrix.rounds[i] : most;
	}
	printf("%lu rounds; of each of %zu pairs %lu to %lu; %lu states a round; undecided %lu\n",
	       matrix.total, ARRAY_SIZE(matrix.rounds), least, most, matrix.states / matrix.total,
	       matrix.too_long);
	assert_true(least > 0);
	assert_true(matrix.too_long <= matrix.total / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair_of_calls_is_explained_by_the_model),
	};

	test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
