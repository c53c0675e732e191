/* The event loop: libuv behind a small interface, one per thread. Provides the `env` (clock,
 * timers, randomness) and the fiber scheduler of its thread. */
#ifndef PAXFS_NET_LOOP_H
#define PAXFS_NET_LOOP_H

#include <stdbool.h>

#include "base/env.h"
#include "base/fiber.h"
#include "base/msg.h"

struct loop;

/* Where SIGPIPE still has its default action, it gets a handler that does nothing. */
int loop_new(struct loop **out, struct msg *m);
void loop_free(struct loop *l); /* everything on it must be closed; takes NULL */

/* Runs until loop_stop(). A turn: events, due timers, ready fibers, loop_on_turn callbacks, then the
 * sockets' writes. Must not be called from a fiber. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l); /* same thread; the turn is finished first */

struct env *loop_env(struct loop *l);
struct fiber_sched *loop_fibers(struct loop *l);

/* Called once per turn of the loop, after all events and fibers of the turn: the place to batch. */
struct loop_turn {
	void (*run)(struct loop_turn *t);
	struct loop_turn *next; /* the loop's */
};
void loop_on_turn(struct loop *l, struct loop_turn *t); /* stays registered till the loop ends */
void loop_off_turn(struct loop *l, struct loop_turn *t); /* or till this; also from a callback */

/* Wakes the loop from any thread; several sends may give one call. */
struct loop_async;
int loop_async_new(struct loop *l, void (*fn)(void *ctx), void *ctx, struct loop_async **out);
void loop_async_send(struct loop_async *a); /* any thread */
void loop_async_free(struct loop_async *a); /* loop thread; takes NULL */

/* Calls fn while @fd is readable. The descriptor stays the caller's, and becomes non-blocking. When
 * it reports an error (POLLERR), fn is called a last time: its read will fail. */
struct loop_poll;
int loop_poll_new(struct loop *l, int fd, void (*fn)(void *ctx), void *ctx, struct loop_poll **out);
void loop_poll_free(struct loop_poll *p); /* takes NULL */

struct loop_signal;
int loop_signal_new(struct loop *l, int signum, void (*fn)(void *ctx, int signum), void *ctx,
		    struct loop_signal **out);
void loop_signal_free(struct loop_signal *s); /* takes NULL */

#endif
