/* Bells: keys that clients of sim_load.c write (ring), and watch. A watcher must be told of every ring
 * in the end, of nothing that did not happen, and of nothing older than what was acknowledged before
 * it asked; and at once, while there were no faults. */
#ifndef PAXFS_TESTS_SIM_SIM_BELLS_H
#define PAXFS_TESTS_SIM_SIM_BELLS_H

#include <stdbool.h>
#include <stdint.h>

struct fiber_sched;
struct kv_client;

#define SIM_BELLS_MAX 8u

struct sim_bell_stats {
	uint64_t rings, heard, timeouts;
};
extern struct sim_bell_stats sim_bell_stats;

struct sim_bell_client {
	struct kv_client *kv;
	uint32_t bells; /* 0: none */
	const bool *stop;
	void (*ended)(void *ctx);
	void *ctx;
	bool rung; /* for the last time */
};

/* Starts fibers that watch, and call @ended each; so many. After *stop each goes on until it has heard
 * the last rings of the bell at hand. */
uint32_t sim_bell_listen(struct sim_bell_client *c, struct fiber_sched *fibers);

/* On a fiber: rings one of them; all of them, for the last time, until that is acknowledged. */
void sim_bell_ring(struct sim_bell_client *c);
void sim_bell_ring_last(struct sim_bell_client *c);

#endif
