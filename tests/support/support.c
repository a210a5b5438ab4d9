/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the test programs share. */
#include "support.h"

#include <sched.h>
#include <time.h>

void latch_init(struct latch *latch)
{
	pthread_mutex_init(&latch->lock, NULL);
	pthread_cond_init(&latch->changed, NULL);
	latch->count = 0;
}

void latch_post(struct latch *latch)
{
	pthread_mutex_lock(&latch->lock);
	latch->count++;
	pthread_cond_broadcast(&latch->changed);
	pthread_mutex_unlock(&latch->lock);
}

void latch_wait(struct latch *latch, unsigned long count)
{
	pthread_mutex_lock(&latch->lock);
	while (latch->count < count)
		pthread_cond_wait(&latch->changed, &latch->lock);
	pthread_mutex_unlock(&latch->lock);
}

void latch_reset(struct latch *latch)
{
	pthread_mutex_lock(&latch->lock);
	latch->count = 0;
	pthread_mutex_unlock(&latch->lock);
}

unsigned long latch_count(struct latch *latch)
{
	unsigned long count;

	pthread_mutex_lock(&latch->lock);
	count = latch->count;
	pthread_mutex_unlock(&latch->lock);
	return count;
}

unsigned long scaled(unsigned long n)
{
	const char *text = getenv("WQ_TEST_SCALE");
	unsigned long percent = text ? strtoul(text, NULL, 10) : 100;

	n = n * percent / 100;
	return n ? n : 1;
}

static uint64_t seed;

static void choose_seed(void)
{
	const char *env = getenv("WQ_TEST_SEED");
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	seed = env ? strtoull(env, NULL, 0) : (uint64_t)ts.tv_sec * 1000003u + (uint64_t)ts.tv_nsec;
	seed |= 1;
	printf("WQ_TEST_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
}

uint64_t test_seed(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, choose_seed);
	return seed;
}

uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

struct thread_arg {
	pthread_t thread;
	void (*fn)(void *ctx, unsigned index);
	void *ctx;
	unsigned index;
};

static void *thread_main(void *p)
{
	struct thread_arg *arg = p;

	arg->fn(arg->ctx, arg->index);
	return NULL;
}

void run_threads(unsigned nr, void (*fn)(void *ctx, unsigned index), void *ctx)
{
	struct thread_arg args[16];
	unsigned i;

	assert_true(nr <= ARRAY_SIZE(args));
	for (i = 0; i < nr; i++) {
		args[i].fn = fn;
		args[i].ctx = ctx;
		args[i].index = i;
		assert_int_equal(pthread_create(&args[i].thread, NULL, thread_main, &args[i]), 0);
	}
	for (i = 0; i < nr; i++)
		pthread_join(args[i].thread, NULL);
}

static void probe_fn(struct wq_work *work, void *ctx)
{
	struct probe *probe = container_of(work, struct probe, work);

	count_up(&probe->runs);
	latch_post(&probe->started);
	if (ctx)
		latch_wait(&probe->open, 1);
	latch_post(&probe->ended);
}

static void probe_init_ctx(struct probe *probe, void *ctx)
{
	wq_work_init(&probe->work, probe_fn, ctx);
	latch_init(&probe->started);
	latch_init(&probe->open);
	latch_init(&probe->ended);
	probe->runs = 0;
}

void probe_init(struct probe *probe)
{
	probe_init_ctx(probe, NULL);
}

void probe_init_gate(struct probe *probe)
{
	probe_init_ctx(probe, probe);
}

int usable_cpu(unsigned index)
{
	cpu_set_t set;
	int cpu;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && !index--)
			return cpu;
	return -1;
}

/* ThreadSanitizer ends a child that makes threads, unless told that this is meant. */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}
