/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns help for a worker that is about to be away in an item. */
#include "help.h"

#include "manager.h"
#include "place.h"

void wqi_help_fetch_locked(struct wqi_pool *pool)
{
	if (!wqi_pool_has_room_locked(pool) || !wqi_pool_is_dear_locked(pool, WQI_HELP_WORTH_NS))
		return;
	if (cds_list_empty(&pool->idle)) {
		if (!pool->nr_creating && wqi_pool_can_grow(pool))
			wqi_manager_request(pool);
	} else if (!wqi_pool_on_its_way_locked(pool)) {
		wqi_pool_wake_afar_locked(pool);
	}
}

bool wqi_help_provide_locked(struct wqi_worker *self)
{
	struct wqi_pool *pool = self->pool;
	bool wait = wqi_pool_has_work_locked(pool);

	wqi_pool_withdraw_locked(pool);
	wqi_place_say(self);
	if (!wait && wqi_pool_offer_locked(pool, true))
		wait = wqi_pool_splice_locked(pool) || wqi_pool_has_work_locked(pool);
	wqi_help_say_waiting(self, wait);
	if (wait)
		wqi_help_fetch_locked(pool);
	return wait;
}
