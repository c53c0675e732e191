/* What deterministic code may ask of the world: time, randomness, timers.
 *
 * net/loop.h provides the real one, the simulator a virtual one. All of it is single-threaded: an
 * env belongs to one thread, and timer callbacks run on that thread.
 */
#ifndef PAXFS_BASE_ENV_H
#define PAXFS_BASE_ENV_H

#include <stdbool.h>
#include <stdint.h>

struct env_timer {
	void (*fire)(struct env_timer *t); /* set by the owner before env_timer_set */
	void *impl;                        /* the provider's; NULL while never used */
	uint64_t at_ns;
	bool armed;
	struct env_timer *prev, *next; /* the provider's */
	uint64_t order;                /* the provider's: ties fire in the order they were set */
};

struct env {
	uint64_t (*mono_ns)(struct env *e); /* CLOCK_BOOTTIME: counts while suspended */
	uint64_t (*wall_ns)(struct env *e); /* CLOCK_REALTIME: may jump */
	uint64_t (*random)(struct env *e);  /* 64 uniform bits */
	void (*timer_set)(struct env *e, struct env_timer *t, uint64_t at_ns); /* mono; re-arms */
	void (*timer_cancel)(struct env *e, struct env_timer *t); /* no-op if not armed */
};

static inline uint64_t env_mono_ns(struct env *e)
{
	return e->mono_ns(e);
}

static inline uint64_t env_wall_ns(struct env *e)
{
	return e->wall_ns(e);
}

static inline uint64_t env_random(struct env *e)
{
	return e->random(e);
}

static inline void env_timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
	e->timer_set(e, t, at_ns);
}

static inline void env_timer_cancel(struct env *e, struct env_timer *t)
{
	e->timer_cancel(e, t);
}

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

#endif
