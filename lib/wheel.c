/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the wheel's arithmetic.  Knows neither items nor threads. */
#include "wheel.h"

#define TICK_MAX (UINT64_MAX >> WQI_TICK_SHIFT)

/* So many nodes of a slot are looked at to find the first. */
#define NEXT_LOOKS 8

/*
 * The first tick at which the node is due: rounded up, so that none is early.  The
 * last tick of all is not rounded; 584 years after the machine's start it would be
 * early.
 */
static uint64_t tick_of(uint64_t expires_ns)
{
	uint64_t tick = (expires_ns >> WQI_TICK_SHIFT) + !!(expires_ns & (WQI_TICK_NS - 1));

	return tick < TICK_MAX ? tick : TICK_MAX;
}

void wqi_wheel_init(struct wqi_wheel *wheel)
{
	unsigned level, slot;

	wheel->now = 0;
	wheel->boundary = WQI_NEVER;
	CDS_INIT_LIST_HEAD(&wheel->due);
	CDS_INIT_LIST_HEAD(&wheel->moving);
	for (level = 0; level < WQI_WHEEL_LEVELS; level++) {
		wheel->marked[level] = 0;
		for (slot = 0; slot < WQI_WHEEL_SLOTS; slot++)
			CDS_INIT_LIST_HEAD(&wheel->slot[level][slot]);
	}
}

static inline void wheel_place(struct wqi_wheel *wheel, struct wqi_wheel_node *node)
{
	uint64_t tick = tick_of(node->expires_ns), begin;
	unsigned level, slot;

	if (tick <= wheel->now) {
		cds_list_add_tail(&node->link, &wheel->due);
		return;
	}
	level = (63 - (unsigned)__builtin_clzll(tick ^ wheel->now)) / WQI_WHEEL_BITS;
	begin = tick >> level * WQI_WHEEL_BITS;
	slot = begin & (WQI_WHEEL_SLOTS - 1);
	cds_list_add_tail(&node->link, &wheel->slot[level][slot]);
	wheel->marked[level] |= UINT64_C(1) << slot;
	begin <<= level * WQI_WHEEL_BITS;
	if (begin < wheel->boundary)
		wheel->boundary = begin;
}

/* Short of any slot that is marked the present may move on without further ado. */
void wqi_wheel_add(struct wqi_wheel *wheel, struct wqi_wheel_node *node, uint64_t now_ns)
{
	uint64_t now = now_ns >> WQI_TICK_SHIFT;

	if (now < wheel->boundary && now > wheel->now)
		wheel->now = now;
	wheel_place(wheel, node);
}

/*
 * The slot that is entered next, if there is one; marks of slots that have been
 * emptied are taken off.
 */
static struct cds_list_head *wheel_first(struct wqi_wheel *wheel, unsigned *level, uint64_t *begin)
{
	unsigned slot, shift;

	for (*level = 0; *level < WQI_WHEEL_LEVELS; ++*level) {
		while (wheel->marked[*level]) {
			slot = (unsigned)__builtin_ctzll(wheel->marked[*level]);
			if (cds_list_empty(&wheel->slot[*level][slot])) {
				wheel->marked[*level] &= wheel->marked[*level] - 1;
				continue;
			}
			shift = *level * WQI_WHEEL_BITS;
			*begin = ((wheel->now >> shift & ~(uint64_t)(WQI_WHEEL_SLOTS - 1)) | slot)
				 << shift;
			return &wheel->slot[*level][slot];
		}
	}
	*begin = WQI_NEVER;
	return NULL;
}

static struct wqi_wheel_node *wheel_node(struct cds_list_head *link)
{
	return cds_list_entry(link, struct wqi_wheel_node, link);
}

static void wheel_take(struct cds_list_head *from, struct cds_list_head *to)
{
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	CDS_INIT_LIST_HEAD(from);
}

bool wqi_wheel_advance(struct wqi_wheel *wheel, uint64_t now_ns, unsigned budget)
{
	uint64_t target = now_ns >> WQI_TICK_SHIFT, begin;
	struct cds_list_head *list, *link;
	unsigned level;

	/* While nodes are on their way down, wqi_wheel_add() may not move the present. */
	wheel->boundary = 0;
	for (;;) {
		for (; !cds_list_empty(&wheel->moving); budget--) {
			if (!budget)
				return false;
			link = wheel->moving.next;
			cds_list_del(link);
			wheel_place(wheel, wheel_node(link));
		}
		list = wheel_first(wheel, &level, &begin);
		if (!list || begin > target)
			break;
		wheel->now = begin;
		wheel->marked[level] &= wheel->marked[level] - 1;
		wheel_take(list, level ? &wheel->moving : &wheel->due);
	}
	if (target > wheel->now)
		wheel->now = target;
	wheel->boundary = begin;
	return true;
}

struct wqi_wheel_node *wqi_wheel_pop(struct wqi_wheel *wheel)
{
	struct wqi_wheel_node *node;

	if (cds_list_empty(&wheel->due))
		return NULL;
	node = wheel_node(wheel->due.next);
	wqi_wheel_remove(node);
	return node;
}

uint64_t wqi_wheel_next_ns(struct wqi_wheel *wheel)
{
	struct cds_list_head *list, *link;
	uint64_t begin, first = WQI_NEVER;
	unsigned level, looks = 0;

	if (!cds_list_empty(&wheel->due) || !cds_list_empty(&wheel->moving))
		return 0;
	list = wheel_first(wheel, &level, &begin);
	if (!list)
		return WQI_NEVER;
	if (!level)
		return begin << WQI_TICK_SHIFT;
	for (link = list->next; link != list; link = link->next) {
		uint64_t tick = tick_of(wheel_node(link)->expires_ns);

		if (++looks > NEXT_LOOKS)
			return begin << WQI_TICK_SHIFT;
		if (tick < first)
			first = tick;
	}
	return first << WQI_TICK_SHIFT;
}
