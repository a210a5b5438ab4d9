/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A wheel beside a sorted list of the same nodes: each operation is done on both, and
 * what the wheel says is held against the list.  Aborts with a line where they differ.
 */
#ifndef TEST_WHEEL_MODEL_H
#define TEST_WHEEL_MODEL_H

#include "wheel.h"

#define WHEEL_MODEL_NODES 256

struct model_node {
	struct wqi_wheel_node node;
	struct model_node *next; /* in the list, by time */
	bool armed;
};

struct wheel_model {
	struct wqi_wheel wheel;
	uint64_t now_ns;
	struct model_node nodes[WHEEL_MODEL_NODES], *first;
	uint64_t nr_popped;
};

void wheel_model_init(struct wheel_model *model, uint64_t now_ns);

/* Arm a node for @expires_ns, or take it off if it is armed. */
void wheel_model_toggle(struct wheel_model *model, unsigned index, uint64_t expires_ns);

/* Let @ns pass, with at most @budget moves a call, and pop what is due. */
void wheel_model_pass(struct wheel_model *model, uint64_t ns, unsigned budget);

/* Go to the time that the wheel names as its next, or not if that is never. */
void wheel_model_sleep(struct wheel_model *model, unsigned budget);

/*
 * One operation drawn from @random: delays of all magnitudes, on and beside the borders
 * of ticks and levels.
 */
void wheel_model_step(struct wheel_model *model, uint64_t random);

#endif /* TEST_WHEEL_MODEL_H */
