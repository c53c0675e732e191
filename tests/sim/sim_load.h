/* What clients do to a simulated cluster, and the record of it: registers, lists in transactions, a
 * bank, counters, sets; each over keys of several groups. The history goes to the checkers. */
#ifndef PAXFS_TESTS_SIM_SIM_LOAD_H
#define PAXFS_TESTS_SIM_SIM_LOAD_H

#include "tests/check/history.h"

struct sim_load_config {
	uint32_t clients;	   /* processes, each on a machine of its own */
	uint32_t fibers;	   /* at the same time, in each */
	uint64_t think_min_ns, think_max_ns;
	uint64_t timeout_ns;	   /* of one call; 0: none */
	uint32_t registers, lists, accounts, counters, sets; /* how many keys; 0: not this kind */
	uint32_t bells; /* keys that are watched (sim_bells.h) */
	uint32_t list_len_max;
};

struct sim_load_stats {
	uint64_t calls, ok, failed, unknown;
};

extern struct sim_load_stats sim_load_stats;
extern struct history sim_history;

void sim_load_start(const struct sim_load_config *cfg); /* once the cluster is ready */
void sim_load_kill_one(void); /* a client process; another one takes its place later */
void sim_load_pause_one(uint64_t ns);
void sim_load_evict_one(void); /* another one closes its session: from then on it must not write */
/* No more calls but the last ones: all keys are read. */
void sim_load_finish(void);
bool sim_load_finished(void); /* every client process that lives has ended */
uint64_t sim_load_oldest_ns(void); /* since when the oldest call is under way; 0: none is */

/* Runs all checkers; a violation if they find something wrong. Operations judged. */
uint64_t sim_load_judge(void);

#endif
