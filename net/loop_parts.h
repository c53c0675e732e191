/* What a loop does whoever polls for it, libuv or the simulator: timers and turn callbacks. Pure. */
#ifndef PAXFS_NET_LOOP_PARTS_H
#define PAXFS_NET_LOOP_PARTS_H

#include "net/loop.h"
#include "net/timer_heap.h"

struct loop_timers {
	struct timer_heap heap;
	uint64_t order;	    /* of the timer set last */
	uint64_t firing_ns; /* while timers fire: the time they are fired for; else 0 */
};

void loop_timers_set(struct loop_timers *q, struct env_timer *t, uint64_t at_ns);
void loop_timers_cancel(struct loop_timers *q, struct env_timer *t);

/* Fires what is due at @now_ns; what that sets anew waits for the next call. */
void loop_timers_fire(struct loop_timers *q, uint64_t now_ns);

struct loop_turns {
	struct loop_turn *first, **end;
	struct loop_turn *next; /* while they run */
};

void loop_turns_init(struct loop_turns *q);
void loop_turns_add(struct loop_turns *q, struct loop_turn *t);
void loop_turns_remove(struct loop_turns *q, struct loop_turn *t); /* also from a callback */
void loop_turns_run(struct loop_turns *q);

#endif
