/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns closures: items whose memory is the library's, and the caches that this
 * memory comes from.
 *
 * Runs are made on one thread and end on another.  Each thread keeps up to two
 * chains of CHAIN_RUNS free runs; full ones travel through a depot, one lock for a
 * whole chain.
 */
#include "closure.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "item.h"
#include "lock.h"
#include "mem.h"
#include "worker.h"

#include <wq/wq.h>

#define CHAIN_RUNS	 32u
#define DEPOT_MAX_CHAINS 2048u /* 4 MB; what is more goes back to malloc */

struct wq_closure {
	uint64_t refs;	    /* A, seq_cst */
	wq_call_fn fn;	    /* I */
	void *ctx;	    /* I */
	wq_call_fn destroy; /* I */
};

/* One call: in use, or free and part of a chain. */
struct closure_run {
	union {
		struct wq_work work;
		struct {
			struct closure_run *next;  /* in the chain */
			struct closure_run *below; /* the depot's next chain */
			unsigned depth;		   /* chains in the depot up to this one */
		} idle;
	};
	union {
		wq_call_fn fn;
		struct wq_closure *closure;
	};
	void *ctx;
};

/* A run after a delay: rare enough to be had from malloc. */
struct closure_later {
	struct wq_delayed_work dw;
	union {
		wq_call_fn fn;
		struct wq_closure *closure;
	};
};

struct closure_cache {
	struct closure_run *filling; /* fewer than CHAIN_RUNS */
	struct closure_run *full;    /* NULL, or CHAIN_RUNS */
	unsigned nr_filling;
	bool registered; /* closure_thread_ends() will be called */
};

static __thread struct closure_cache closure_cache;

static struct wqi_lock depot_lock;
static struct closure_run *depot; /* under depot_lock; linked by release stores: see fork.h */

static pthread_once_t closure_once = PTHREAD_ONCE_INIT;
static pthread_key_t closure_key;
static bool closure_has_key; /* I, by closure_once */

/* --- the memory of runs --- */

static void chain_free(struct closure_run *run)
{
	struct closure_run *next;

	for (; run; run = next) {
		next = run->idle.next;
		wqi_free(run, sizeof(*run));
	}
}

static void cache_empty(struct closure_cache *cache)
{
	chain_free(cache->filling);
	chain_free(cache->full);
	cache->filling = cache->full = NULL;
	cache->nr_filling = 0;
}

static void closure_thread_ends(void *arg)
{
	struct closure_cache *cache = arg;

	cache_empty(cache);
	cache->registered = false;
}

static void closure_make_key(void)
{
	closure_has_key = !pthread_key_create(&closure_key, closure_thread_ends);
}

/* Without its destructor a thread keeps nothing. */
static bool cache_is_usable(struct closure_cache *cache)
{
	if (wqi_likely(cache->registered))
		return true;
	pthread_once(&closure_once, closure_make_key);
	cache->registered = closure_has_key && !pthread_setspecific(closure_key, cache);
	return cache->registered;
}

static struct closure_run *depot_take(void)
{
	struct closure_run *chain;

	wqi_lock(&depot_lock);
	chain = depot;
	if (chain)
		wqi_store_release(&depot, chain->idle.below);
	wqi_unlock(&depot_lock);
	return chain;
}

/* False: it has enough. */
static bool depot_give(struct closure_run *chain)
{
	bool room;

	wqi_lock(&depot_lock);
	room = !depot || depot->idle.depth < DEPOT_MAX_CHAINS;
	if (room) {
		chain->idle.below = depot;
		chain->idle.depth = depot ? depot->idle.depth + 1 : 1;
		wqi_store_release(&depot, chain);
	}
	wqi_unlock(&depot_lock);
	return room;
}

static struct closure_run *run_alloc(void)
{
	struct closure_cache *cache = &closure_cache;
	struct closure_run *run = cache->filling;

	if (wqi_likely(run)) {
		cache->filling = run->idle.next;
		cache->nr_filling--;
		return run;
	}
	run = cache->full ? cache->full : depot_take();
	cache->full = NULL;
	if (!run || !cache_is_usable(cache)) {
		if (run && !depot_give(run))
			chain_free(run);
		return wqi_zalloc(sizeof(*run));
	}
	cache->filling = run->idle.next;
	cache->nr_filling = CHAIN_RUNS - 1;
	return run;
}

static void run_free(struct closure_run *run)
{
	struct closure_cache *cache = &closure_cache;

	if (wqi_unlikely(!cache_is_usable(cache))) {
		wqi_free(run, sizeof(*run));
		return;
	}
	run->idle.next = cache->filling;
	cache->filling = run;
	if (wqi_likely(++cache->nr_filling < CHAIN_RUNS))
		return;
	if (cache->full && !depot_give(cache->full))
		chain_free(cache->full);
	cache->full = cache->filling;
	cache->filling = NULL;
	cache->nr_filling = 0;
}

void wqi_closures_free(void)
{
	struct closure_run *chain;

	cache_empty(&closure_cache);
	while ((chain = depot_take()))
		chain_free(chain);
}

void wqi_closures_reset(void)
{
	wqi_lock_reset(&depot_lock);
}

/* --- runs --- */

static struct closure_run *run_of(struct wq_work *work)
{
	return caa_container_of(work, struct closure_run, work);
}

/*
 * The run is freed after its function: earlier, a call from inside could get the
 * same memory, and would be taken for this very item, which can't run twice at
 * once.
 */
static void run_call(struct wq_work *work, void *ctx)
{
	struct closure_run *run = run_of(work);

	wqi_worker_calls((const void *)(uintptr_t)run->fn);
	run->fn(ctx);
	run_free(run);
}

static struct closure_later *later_of(struct wq_work *work)
{
	return caa_container_of(work, struct closure_later, dw.work);
}

static void later_free(struct closure_later *later)
{
	wqi_free(later, sizeof(*later));
}

static void run_later(struct wq_work *work, void *ctx)
{
	struct closure_later *later = later_of(work);

	wqi_worker_calls((const void *)(uintptr_t)later->fn);
	later->fn(ctx);
	later_free(later);
}

static void run_closure(struct wq_work *work, void *ctx)
{
	struct closure_run *run = run_of(work);
	struct wq_closure *closure = run->closure;

	wqi_worker_calls((const void *)(uintptr_t)closure->fn);
	closure->fn(ctx);
	/* `destroy` may end the thread: then this reference has been given back. */
	run->closure = NULL;
	wq_closure_put(closure);
	run_free(run);
}

static void run_closure_later(struct wq_work *work, void *ctx)
{
	struct closure_later *later = later_of(work);
	struct wq_closure *closure = later->closure;

	wqi_worker_calls((const void *)(uintptr_t)closure->fn);
	closure->fn(ctx);
	/* As in run_closure(). */
	later->closure = NULL;
	wq_closure_put(closure);
	later_free(later);
}

void wqi_closure_torn_down(struct wq_work *work, wq_work_fn fn)
{
	struct closure_later *later = later_of(work);
	struct closure_run *run = run_of(work);
	struct wq_closure *closure = NULL;

	/* `destroy` may end the thread too: then we come here again. */
	if (fn == run_closure) {
		closure = run->closure;
		run->closure = NULL;
	} else if (fn == run_closure_later) {
		closure = later->closure;
		later->closure = NULL;
	}
	wq_closure_put(closure);
	if (fn == run_call || fn == run_closure)
		run_free(run);
	else if (fn == run_later || fn == run_closure_later)
		later_free(later);
}

bool wqi_closure_is_run(wq_work_fn fn)
{
	return fn == run_call || fn == run_later || fn == run_closure || fn == run_closure_later;
}

int wq_call(struct wq *wq, wq_call_fn fn, void *ctx)
{
	struct closure_run *run;
	int ret;

	if (!wq || !fn)
		return -EINVAL;
	run = run_alloc();
	if (!run)
		return -ENOMEM;
	run->fn = fn;
	wq_work_init(&run->work, run_call, ctx);
	ret = wq_queue(wq, &run->work);
	if (ret < 0)
		run_free(run);
	return ret;
}

int wq_call_after(struct wq *wq, uint64_t delay_ns, wq_call_fn fn, void *ctx)
{
	struct closure_later *later;
	int ret;

	if (!delay_ns)
		return wq_call(wq, fn, ctx);
	if (!wq || !fn)
		return -EINVAL;
	later = wqi_zalloc(sizeof(*later));
	if (!later)
		return -ENOMEM;
	later->fn = fn;
	wq_delayed_work_init(&later->dw, run_later, ctx);
	ret = wq_queue_delayed(wq, &later->dw, delay_ns);
	if (ret < 0)
		later_free(later);
	return ret;
}

/* --- reference-counted closures --- */

struct wq_closure *wq_closure_new(wq_call_fn fn, void *ctx, wq_call_fn destroy)
{
	struct wq_closure *closure;

	if (!fn) {
		errno = EINVAL;
		return NULL;
	}
	closure = wqi_zalloc(sizeof(*closure));
	if (!closure) {
		errno = ENOMEM;
		return NULL;
	}
	closure->refs = 1;
	closure->fn = fn;
	closure->ctx = ctx;
	closure->destroy = destroy;
	return closure;
}

struct wq_closure *wq_closure_get(struct wq_closure *closure)
{
	if (closure)
		wqi_add(&closure->refs, 1);
	return closure;
}

void wq_closure_put(struct wq_closure *closure)
{
	wq_call_fn destroy;
	void *ctx;

	if (!closure || wqi_sub(&closure->refs, 1) > 1)
		return;
	destroy = closure->destroy;
	ctx = closure->ctx;
	wqi_free(closure, sizeof(*closure));
	if (destroy)
		destroy(ctx);
}

int wq_enqueue(struct wq *wq, struct wq_closure *closure)
{
	struct closure_run *run;
	int ret;

	if (!wq || !closure)
		return -EINVAL;
	run = run_alloc();
	if (!run)
		return -ENOMEM;
	run->closure = wq_closure_get(closure);
	wq_work_init(&run->work, run_closure, closure->ctx);
	ret = wq_queue(wq, &run->work);
	if (ret < 0) {
		run_free(run);
		wq_closure_put(closure);
	}
	return ret;
}

int wq_enqueue_after(struct wq *wq, uint64_t delay_ns, struct wq_closure *closure)
{
	struct closure_later *later;
	int ret;

	if (!delay_ns)
		return wq_enqueue(wq, closure);
	if (!wq || !closure)
		return -EINVAL;
	later = wqi_zalloc(sizeof(*later));
	if (!later)
		return -ENOMEM;
	later->closure = wq_closure_get(closure);
	wq_delayed_work_init(&later->dw, run_closure_later, closure->ctx);
	ret = wq_queue_delayed(wq, &later->dw, delay_ns);
	if (ret < 0) {
		later_free(later);
		wq_closure_put(closure);
	}
	return ret;
}
