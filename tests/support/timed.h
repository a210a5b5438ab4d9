/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the white-box tests of timers share: delayed items that note their runs, threads
 * that stop at named points of the library, the clock's among them, and calls from
 * there as if a signal handler had interrupted the library.
 */
#ifndef TEST_TIMED_H
#define TEST_TIMED_H

#include "support.h"

#include "shard.h"

#define HOUR_NS (UINT64_C(3600) * 1000000000)

/* A delayed item; as a gate it waits for `open` in its function. */
struct timed {
	struct wq_delayed_work dw;
	struct latch started, open, ended;
	unsigned long runs;
	struct wq *wq; /* where it ran last */
};

void timed_init(struct timed *timed);
void timed_init_gate(struct timed *timed);

/* A point at which a thread stops, until it is let go; then, if there is one, the next. */
struct stop {
	const char *where;
	struct stop *next;
	struct latch reached, go;
	unsigned long left; /* the thread does not touch it any more */
};

void stop_init(struct stop *stop, const char *where);
void stop_wait(struct stop *stop);
/* Returns when @stop may be used again. */
void stop_let_go(struct stop *stop);

/* The clock's thread stops when it next comes there. */
void stop_clock(struct stop *stop, const char *where);
/* It is stopped when it has published until when it sleeps. */
void stop_clock_asleep(struct stop *stop);

/* The calling thread calls @fn when it next comes to @where. */
void interrupt_at(const char *where, void (*fn)(void *ctx), void *ctx);

/* How often the clock was about to sleep. */
unsigned long clock_sleeps(void);

/* Hooks are set up, and the calling thread stays on one CPU, with all it makes. */
void timed_begin(void);
void timed_end(void);
void pin_to(int cpu);
int other_cpu(void); /* one that has another shard, or -1 */
struct wqi_shard *shard_here(void);

/* A thread of its own that makes a call, and stops on the way unless @where is NULL. */
struct caller {
	pthread_t thread;
	int (*call)(struct caller *self);
	struct wq *wq;
	struct timed *timed;
	uint64_t delay_ns;
	struct stop stop;
	int ret;
};

/* Returns when it has stopped. */
void caller_start(struct caller *caller, int (*call)(struct caller *), const char *where);
/* Let it go, and wait for its answer. */
int caller_finish(struct caller *caller);

int call_arm(struct caller *self);
int call_mod(struct caller *self);
int call_flush(struct caller *self);
int call_cancel(struct caller *self);
int call_cancel_sync(struct caller *self);
int call_destroy(struct caller *self);
int call_drain(struct caller *self);
int call_unplug(struct caller *self);
int call_thaw(struct caller *self);

#endif /* TEST_TIMED_H */
