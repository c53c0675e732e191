/* What must hold all the time, looked at from outside of the code: after every step of every consensus
 * core, every entry of every state machine, every batch of every engine. Linked in with --wrap. */
#ifndef PAXFS_TESTS_SIM_SIM_WATCH_H
#define PAXFS_TESTS_SIM_SIM_WATCH_H

#include <stdbool.h>
#include <stdint.h>

void sim_watch_init(void);

/* Did the node start with less in its log than it had acknowledged or promised before? Then it must not
 * take part. */
bool sim_watch_forgot(uint32_t node);
uint64_t sim_watch_answered_ns(uint32_t node); /* when it last acknowledged or promised anything new */

struct sim_watch_stats {
	uint64_t steps, entries, batches, elections, snapshots, commands;
};
extern struct sim_watch_stats sim_watch_stats;

#endif
