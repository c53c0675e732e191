/* What must hold all the time, looked at from outside of the code: after every step of every consensus
 * core, every entry of every state machine, every batch of every engine. Linked in with --wrap. */
#ifndef PAXFS_TESTS_SIM_SIM_WATCH_H
#define PAXFS_TESTS_SIM_SIM_WATCH_H

#include <stdint.h>

void sim_watch_init(void);

struct sim_watch_stats {
	uint64_t steps, entries, batches, elections, snapshots, commands;
};
extern struct sim_watch_stats sim_watch_stats;

#endif
