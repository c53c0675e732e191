/* Bells: keys that clients of sim_load.c write (ring), and watch. A watcher must be told of every ring in
 * the end, of nothing that did not happen, and of nothing older than what was acknowledged before it
 * asked; and at once, while there were no faults. */
#ifndef PAXFS_TESTS_SIM_SIM_BELLS_H
#define PAXFS_TESTS_SIM_SIM_BELLS_H

#include <stdbool.h>
#include <stdint.h>

struct kv_client;

#define SIM_BELLS_MAX 8u

struct sim_bell_stats {
	uint64_t rings, heard, timeouts;
};
extern struct sim_bell_stats sim_bell_stats;

/* On a fiber: one write. 0 when it was acknowledged, else the client's error. */
int sim_bell_ring(struct kv_client *kv, uint32_t bell);

/* On a fiber: watches bells until *stop, and from then on the one at hand until it has heard all rings of
 * it that are acknowledged when @last_done says that there will be no more. Ends early when *lost. */
struct sim_bell_watch {
	struct kv_client *kv;
	uint32_t bells;
	const bool *stop, *last_done, *lost;
};
void sim_bell_watch(const struct sim_bell_watch *w);

#endif
