/* A pairing heap of env_timers, by (at_ns, order). Intrusive: `impl` is the first child, `next` the
 * next sibling, `prev` the previous one or, of a first child, the parent. Allocates nothing. */
#ifndef PAXFS_NET_TIMER_HEAP_H
#define PAXFS_NET_TIMER_HEAP_H

#include "base/env.h"

struct timer_heap {
	struct env_timer *root; /* the earliest; NULL while empty */
};

void timer_heap_insert(struct timer_heap *h, struct env_timer *t); /* at_ns and order are set */
void timer_heap_remove(struct timer_heap *h, struct env_timer *t); /* must be in @h */

#endif
