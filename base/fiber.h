/* Fibers: straight-line code that waits, on one thread (ucontext, pooled stacks with guard pages).
 *
 * A scheduler belongs to one thread. A fiber runs until it parks or returns; nothing preempts it.
 * fiber_wake() marks a parked fiber ready; it runs at the next fiber_sched_run(), never inside the
 * waker. A wake that comes before the park is not lost: the park returns at once.
 */
#ifndef PAXFS_BASE_FIBER_H
#define PAXFS_BASE_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

struct fiber;
struct fiber_sched;

typedef void fiber_fn(void *arg);

/* @on_ready, if given, is called when the ready queue turns non-empty, so that an event loop can
 * arrange to call fiber_sched_run() soon. @env is borrowed, for fiber_sleep. */
struct fiber_sched *fiber_sched_new(struct env *env, void (*on_ready)(void *ctx), void *ctx);
void fiber_sched_free(struct fiber_sched *s); /* all fibers must have ended; takes NULL */

/* Runs ready fibers until none is ready. Must not be called from a fiber. */
void fiber_sched_run(struct fiber_sched *s);

/* Live fibers (running, ready or parked). */
size_t fiber_count(const struct fiber_sched *s);

/* Starts a fiber; it is ready, and runs at the next fiber_sched_run(). 0 or ERR_NOMEM. */
int fiber_start(struct fiber_sched *s, fiber_fn *fn, void *arg);

struct fiber *fiber_self(void);                   /* NULL outside of fibers */
struct fiber_sched *fiber_sched_self(void);       /* of the running fiber; NULL outside */
void fiber_park(void);                            /* only from a fiber */
void fiber_wake(struct fiber *f);                 /* same thread only */
void fiber_yield(void);                           /* let the other ready fibers run once */

/* The running fiber's stack is about to be left for good, by a jump to another one: its scheduler and
 * all of its fibers are given up (a simulated process dies). No-op outside of fibers. */
void fiber_abandon(void);

/* Interruption: fiber_interrupt() marks the fiber and wakes it; whoever parks in a loop checks
 * fiber_interrupted() after each park, and gives up with ERR_INTERRUPTED where giving up is safe.
 * fiber_interrupt_clear() takes the mark off again. */
void fiber_interrupt(struct fiber *f);
bool fiber_interrupted(void);
void fiber_interrupt_clear(void);

/* 0, or ERR_INTERRUPTED when interrupted before @ns have passed. */
int fiber_sleep(uint64_t ns);

/* A FIFO mutex between fibers (held across parks). Zero-initialise. */
struct fiber_mutex {
	struct fiber *holder;
	struct fiber *first, *last; /* waiters, linked through the fiber */
};

void fiber_mutex_lock(struct fiber_mutex *m);
void fiber_mutex_unlock(struct fiber_mutex *m);

#endif
