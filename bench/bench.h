/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the benchmark's parts share: a peer is a pool with a way to queue and a
 * way to wait, a workload is run on any peer.  All times are nanoseconds.
 */
#ifndef BENCH_H
#define BENCH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <wq/wq.h>

#include "naive.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An item that any peer can take; 64 bytes, a cache line each. */
struct bench_item {
	union {
		struct wq_work work;
		struct naive_item naive;
		struct {
			bool notify, done;
		} glib;
		void *uv;   /* the request, made by init */
		void *asio; /* memory for the handler, made by init */
	};
	void (*fn)(struct bench_item *item);
	uint64_t number;
} __attribute__((aligned(64)));

/*
 * Timers that fire once, each in memory that the caller has; bench_timer_fired() is to
 * be called when one does.
 */
struct bench_timer_ops {
	size_t bytes;	  /* of one */
	bool heavy;	  /* ten million of them take more memory than a machine may have */
	bool never_early; /* is a promise */
	void (*init)(void *timer);
	void (*arm)(void *timer, uint64_t delay_ns);
	/* False: it has fired. */
	bool (*cancel)(void *timer);
	/* Delays count from a time that the peer has kept; read it anew.  NULL: from now. */
	void (*refresh)(void);
	/* One thread only may do all this: call @fn there.  NULL: any. */
	void (*call)(void (*fn)(void *arg), void *arg);
	/* NULL: nothing to do. */
	void (*fini)(void *timer);
};

/* What a peer does not have is NULL, and the workloads that need it do not apply. */
struct bench_peer {
	const char *name;
	void (*start)(void);
	void (*stop)(void);
	void (*init)(struct bench_item *item, void (*fn)(struct bench_item *item));
	void (*queue)(struct bench_item *item);
	/* Through a queue that runs one at a time, in order. */
	void (*queue_serial)(struct bench_item *item);
	/*
	 * To what serves the process's last CPU.  Of a pool of threads that are bound to
	 * no CPU, a pool of one thread stands for it.
	 */
	void (*queue_one_cpu)(struct bench_item *item);
	/* Queue the item, and wait until it has run. */
	void (*queue_and_wait)(struct bench_item *item);
	/* Items can be queued by one thread only: call @fn there.  NULL: by any. */
	void (*call)(void (*fn)(void *arg), void *arg);
	/* Who waits for items is to call this, and runs some meanwhile.  NULL: it only waits. */
	void (*help)(void);
	/* Wait until the peer has let go of items that have run.  NULL: it has. */
	void (*settle)(void);
	/* Free what init made.  NULL: nothing. */
	void (*fini)(struct bench_item *item);
	const struct bench_timer_ops *timers;
	/*
	 * A program beside this one, which does as bench_print_alone(), in place of all of
	 * the above.  NULL: none.
	 */
	const char *program;
	/* The workloads that it knows, up to NULL. */
	const char *const *workloads;
};

extern const struct bench_peer bench_peer_glib, bench_peer_uv, bench_peer_ev, bench_peer_event,
	bench_peer_tbb, bench_peer_tbb_enqueue, bench_peer_asio, bench_peer_go;
extern const struct bench_peer *const bench_peers[];
extern const unsigned bench_nr_peers;
#define BENCH_MAX_PEERS 10

/* What a workload measures; some of the same name share a cell. */
struct bench_figure {
	const char *name, *unit;
};
#define BENCH_MAX_FIGURES 12

enum bench_table {
	BENCH_PLAIN,
	BENCH_PAIRS,   /* p50 / p99 */
	BENCH_TRIPLES, /* p50 / p99 / p99.9 */
	BENCH_FORKS,   /* each peer is compared with itself, without and with items */
	BENCH_LIMITS,  /* of the machine, which no peer takes part in */
};

struct bench_workload {
	const char *name;
	/* Sets a value for each figure, which is NAN before; leaves it where that does not apply.
	 */
	void (*run)(const struct bench_peer *peer, bool quick, double *values);
	enum bench_table table;
	bool alone;   /* in a process of its own: see alone.c */
	bool timers;  /* of the peer's timers, not of its items */
	bool own;     /* of libwq, which no peer has */
	bool fresh;   /* with `alone`: it starts the peer itself */
	bool lengthy; /* --quick leaves it out */
	struct bench_figure figures[BENCH_MAX_FIGURES];
};

extern const struct bench_workload bench_workloads[];
extern const unsigned bench_nr_workloads;
#define BENCH_MAX_WORKLOADS 48

/* Does the peer have what it is about? */
bool bench_applies(const struct bench_workload *workload, const struct bench_peer *peer);

/* Run it, if so. */
void bench_run(const struct bench_workload *workload, const struct bench_peer *peer, bool quick,
	       double *values);

/* throughput.c: what the library itself costs, with items that do nothing. */
void bench_empty_1p(const struct bench_peer *peer, bool quick, double *values);
void bench_empty_2p(const struct bench_peer *peer, bool quick, double *values);
void bench_empty_4p(const struct bench_peer *peer, bool quick, double *values);
void bench_serial_2p(const struct bench_peer *peer, bool quick, double *values);
void bench_spawn_tree(const struct bench_peer *peer, bool quick, double *values);
void bench_resubmit_chain(const struct bench_peer *peer, bool quick, double *values);
void bench_pingpong_hot(const struct bench_peer *peer, bool quick, double *values);
void bench_pingpong_cold(const struct bench_peer *peer, bool quick, double *values);

/* ... and from 1 to 16 threads. */
void bench_producers(const struct bench_peer *peer, bool quick, double *values);

/* latency.c: from queueing to start, under load. */
void bench_latency(const struct bench_peer *peer, bool quick, double *values);

/* calls.c: per-CPU queues, cancel and flush, closures: what only libwq has. */
void bench_percpu(const struct bench_peer *peer, bool quick, double *values);
void bench_cancel_flush(const struct bench_peer *peer, bool quick, double *values);
void bench_closure(const struct bench_peer *peer, bool quick, double *values);

/* limits.c: what the machine itself takes. */
void bench_limits(const struct bench_peer *peer, bool quick, double *values);

/* scopes.c: the same on queues of each affinity scope. */
void bench_scopes_1p(const struct bench_peer *peer, bool quick, double *values);
void bench_scopes(const struct bench_peer *peer, bool quick, double *values);

/* blocking.c: many items that sleep; and items that compute behind some that sleep. */
void bench_blocking(const struct bench_peer *peer, bool quick, double *values);
void bench_starvation(const struct bench_peer *peer, bool quick, double *values);

/* behind.c: one item behind one that is blocked, on the same CPU. */
void bench_behind_pipe(const struct bench_peer *peer, bool quick, double *values);
void bench_behind_mutex(const struct bench_peer *peer, bool quick, double *values);
void bench_behind_file(const struct bench_peer *peer, bool quick, double *values);
void bench_behind_sleep(const struct bench_peer *peer, bool quick, double *values);

/* idle.c: what it costs to have nothing to do. */
void bench_idle(const struct bench_peer *peer, bool quick, double *values);
void bench_timer_idle(const struct bench_peer *peer, bool quick, double *values);

/* arming.c: timers that are cancelled before they are due. */
void bench_timer_arm_cancel(const struct bench_peer *peer, bool quick, double *values);
void bench_timer_arm_2p(const struct bench_peer *peer, bool quick, double *values);
void bench_timer_10m(const struct bench_peer *peer, bool quick, double *values);

/* firing.c: timers that fire. */
void bench_timer_late(const struct bench_peer *peer, bool quick, double *values);
void bench_timer_fire(const struct bench_peer *peer, bool quick, double *values);

/* fork.c: fork, exec and wait, beside no pending item and beside bench_fork_items(). */
void bench_fork_exec(const struct bench_peer *peer, bool quick, double *values);
unsigned bench_fork_items(bool quick);

/* table.c: what more CPUs cost: who queues, and who makes a queue. */
void bench_table(const struct bench_peer *peer, bool quick, double *values);
void bench_table_percpu(const struct bench_peer *peer, bool quick, double *values);
void bench_topology(const struct bench_peer *peer, bool quick, double *values);

/* memory.c: what a queue takes on so many CPUs. */
void bench_queue_memory_2(const struct bench_peer *peer, bool quick, double *values);
void bench_queue_memory_64(const struct bench_peer *peer, bool quick, double *values);
void bench_queue_memory_1024(const struct bench_peer *peer, bool quick, double *values);

/* As @workload's run, in a new process that uses no other peer. */
void bench_run_alone(const struct bench_workload *workload, const struct bench_peer *peer,
		     bool quick, double *values);
/* What the new process does. */
void bench_print_alone(const struct bench_workload *workload, const struct bench_peer *peer,
		       bool quick);

static inline uint64_t bench_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t bench_now(void)
{
	return bench_clock(CLOCK_MONOTONIC);
}

void bench_sleep_ns(uint64_t ns);

/* To be called for each timer that fires: see timers.h. */
void bench_timer_fired(void *timer);

static inline void bench_call(const struct bench_peer *peer, void (*fn)(void *arg), void *arg)
{
	if (peer->call)
		peer->call(fn, arg);
	else
		fn(arg);
}

/* Print what failed and exit with status 1, if it did. */
void bench_must(bool ok, const char *what);

/* The time in µs below which so many of 100 stay; sorts them. */
double bench_percentile_us(uint64_t *took, uint64_t nr, unsigned percent);

/* Of at most 100 values. */
double bench_median(const double *values, unsigned nr);

/* That the process may use. */
unsigned bench_nr_cpus(void);

/* Move the caller to one of the process's CPUs, by their order.  False: there are fewer. */
bool bench_pin(unsigned index);

/* Round trip of a cache line between the first two CPUs, in ns; 0 with one CPU. */
double bench_probe_line(void);

#ifdef __cplusplus
}
#endif

#endif /* BENCH_H */
