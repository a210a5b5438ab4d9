/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wheel_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void model_must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "the wheel and the list differ: %s\n", what);
	abort();
}

/* The tick that a time belongs to, computed in another way than the wheel does. */
static uint64_t tick_up(uint64_t ns)
{
	unsigned __int128 tick = ((unsigned __int128)ns + WQI_TICK_NS - 1) / WQI_TICK_NS;
	uint64_t last = UINT64_MAX / WQI_TICK_NS;

	return tick > last ? last : (uint64_t)tick;
}

void wheel_model_init(struct wheel_model *model, uint64_t now_ns)
{
	memset(model, 0, sizeof(*model));
	wqi_wheel_init(&model->wheel);
	model->now_ns = now_ns;
}

static void list_insert(struct wheel_model *model, struct model_node *node)
{
	struct model_node **at = &model->first;

	while (*at && (*at)->node.expires_ns <= node->node.expires_ns)
		at = &(*at)->next;
	node->next = *at;
	*at = node;
	node->armed = true;
}

static void list_remove(struct wheel_model *model, struct model_node *node)
{
	struct model_node **at = &model->first;

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	node->armed = false;
}

void wheel_model_toggle(struct wheel_model *model, unsigned index, uint64_t expires_ns)
{
	struct model_node *node = &model->nodes[index % WHEEL_MODEL_NODES];

	model_must(wqi_wheel_node_is_linked(&node->node) == node->armed, "who is armed");
	if (node->armed) {
		wqi_wheel_remove(&node->node);
		list_remove(model, node);
		return;
	}
	node->node.expires_ns = expires_ns;
	wqi_wheel_add(&model->wheel, &node->node, model->now_ns);
	list_insert(model, node);
}

static void model_pop(struct wheel_model *model)
{
	struct wqi_wheel_node *node;
	struct model_node *mine;
	uint64_t tick, last = 0;

	while ((node = wqi_wheel_pop(&model->wheel))) {
		mine = (struct model_node *)(void *)node;
		tick = tick_up(node->expires_ns);
		model_must(mine->armed, "one that is not armed comes");
		model_must(tick <= model->now_ns / WQI_TICK_NS, "one comes early");
		model_must(node->expires_ns <= model->now_ns || tick == UINT64_MAX / WQI_TICK_NS,
			   "one comes before its time");
		/* Those that were armed when they were due already come whenever. */
		model_must(tick >= last || node->expires_ns < last * WQI_TICK_NS, "order");
		if (tick > last)
			last = tick;
		list_remove(model, mine);
		model->nr_popped++;
	}
}

void wheel_model_pass(struct wheel_model *model, uint64_t ns, unsigned budget)
{
	unsigned turns = 0;
	uint64_t next, due;

	model->now_ns = ns > UINT64_MAX - model->now_ns ? UINT64_MAX : model->now_ns + ns;
	while (!wqi_wheel_advance(&model->wheel, model->now_ns, budget)) {
		model_must(wqi_wheel_next_ns(&model->wheel) == 0, "more to do, but not at once");
		model_must(++turns < 100000, "no end of moving");
		if (turns % 2)
			model_pop(model);
	}
	model_pop(model);
	if (model->first)
		model_must(tick_up(model->first->node.expires_ns) > model->now_ns / WQI_TICK_NS,
			   "one that is due stays");
	next = wqi_wheel_next_ns(&model->wheel);
	if (!model->first) {
		model_must(next == WQI_NEVER, "something is next, though nothing is armed");
		return;
	}
	due = tick_up(model->first->node.expires_ns) * WQI_TICK_NS;
	model_must(next <= due, "the next comes too late");
	model_must(next > model->now_ns, "the next lies in the past");
}

void wheel_model_sleep(struct wheel_model *model, unsigned budget)
{
	uint64_t next = wqi_wheel_next_ns(&model->wheel);

	if (next != WQI_NEVER)
		wheel_model_pass(model, next > model->now_ns ? next - model->now_ns : 0, budget);
}

void wheel_model_step(struct wheel_model *model, uint64_t random)
{
	unsigned what = random & 15, index = random >> 4 & 0xff, bits = random >> 12 & 63;
	uint64_t value = random >> 18 | random << 46, ns;
	int64_t beside = (int64_t)(random >> 18 & 3) - 1;

	ns = value & ((UINT64_C(2) << bits) - 1);
	if (what < 4)
		ns = (UINT64_C(1) << bits) + (uint64_t)beside; /* a border, or 1 ns beside */
	else if (what < 6)
		ns = (UINT64_C(1) << bits) + (uint64_t)beside * WQI_TICK_NS;
	if (what < 11)
		wheel_model_toggle(model, index,
				   what & 1 && ns < UINT64_MAX - model->now_ns ? model->now_ns + ns
									       : ns);
	else if (what < 14)
		wheel_model_pass(model, ns >> (bits > 40 ? 24 : 0), 1 + index);
	else
		wheel_model_sleep(model, 1 + index);
}
