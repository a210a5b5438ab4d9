/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the settings: what wq_configure() and the environment say. */
#ifndef WQI_CONFIG_H
#define WQI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wqi_config {
	unsigned max_threads;	   /* G, before the threads start: 0 no limit */
	uint64_t idle_timeout_ns;  /* A, relaxed */
	uint32_t spin_max_ns;	   /* A, relaxed */
	uint64_t cpu_intensive_ns; /* I once started: 0 never */
	size_t stack_bytes;	   /* G, before the threads start: 0 the C library's */
	bool power_efficient;	   /* G */
	bool block_sigprof;	   /* G */
};

extern struct wqi_config wqi_config;

/* The description of the machine that is pretended; NULL: none.  Under G. */
const char *wqi_config_topology(void);

/* Settle what holds from now on, the CPUs included.  At each start.  Under G. */
void wqi_config_load(void);

#endif /* WQI_CONFIG_H */
