/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the lists of what is asked of the library's own threads: anyone pushes, the
 * thread takes all.  Lock-free and AS-safe.  Does not know what is asked.
 */
#ifndef WQI_REQUEST_H
#define WQI_REQUEST_H

#include <stdbool.h>

#include "atomic.h"
#include "futex.h"

/* Embedded in whom it is about. */
struct wqi_request {
	struct wqi_request *next; /* A */
	uint32_t made;		  /* A, seq_cst: on the list */
};

struct wqi_requests {
	struct wqi_request *top; /* A, seq_cst */
	uint32_t event;		 /* A, seq_cst: futex word, changed by every request */
};

/* Have the thread look up, whether or not it sleeps. */
static inline void wqi_requests_poke(struct wqi_requests *requests)
{
	wqi_add(&requests->event, 1);
	wqi_futex_wake(&requests->event, 1);
}

/* ORD-REQUEST (a): `made` is set before the request is pushed. */
static inline void wqi_request_make(struct wqi_requests *requests, struct wqi_request *request)
{
	struct wqi_request *top;

	if (wqi_xchg(&request->made, 1))
		return;
	top = wqi_load_relaxed(&requests->top);
	do
		wqi_store_relaxed(&request->next, top);
	while (!wqi_cas(&requests->top, &top, request));
	wqi_requests_poke(requests);
}

/* The thread's: all that was asked; walk it by wqi_request_take(). */
static inline struct wqi_request *wqi_requests_take(struct wqi_requests *requests)
{
	return wqi_xchg(&requests->top, (struct wqi_request *)NULL);
}

/*
 * ORD-REQUEST (b): `made` is cleared before it is looked at what was asked, so that
 * a request that comes during the look is pushed again.  Returns the next one.
 */
static inline struct wqi_request *wqi_request_take(struct wqi_request *request)
{
	struct wqi_request *next = wqi_load_relaxed(&request->next);

	wqi_xchg(&request->made, 0);
	return next;
}

static inline void wqi_requests_reset(struct wqi_requests *requests)
{
	wqi_store_relaxed(&requests->top, (struct wqi_request *)NULL);
	wqi_store_relaxed(&requests->event, 0u);
}

#endif /* WQI_REQUEST_H */
