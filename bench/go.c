/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The peer Go: a program of its own, peer-go.go. */
#include "bench.h"

static const char *const known[] = {
	"empty_1p",	  "empty_2p",	      "empty_4p",     "spawn_tree",
	"resubmit_chain", "serial_2p",	      "producers",    "latency",
	"pingpong_hot",	  "pingpong_cold",    "blocking_256", "starvation",
	"idle",		  "timer_arm_cancel", "timer_late",   NULL,
};

const struct bench_peer bench_peer_go = {
	.name = "go",
	.program = "peer-go",
	.workloads = known,
};
