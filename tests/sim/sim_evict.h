/* A process that closes somebody's session, as one does that takes it for dead. */
#ifndef PAXFS_TESTS_SIM_SIM_EVICT_H
#define PAXFS_TESTS_SIM_SIM_EVICT_H

#include <stdbool.h>
#include <stdint.h>

/* One at a time. @done hears whether it is closed in every group: not if that took too long. */
bool sim_evict_busy(void); /* one at a time */
void sim_evict(uint64_t session, void (*done)(uint64_t session, bool closed));

#endif
