/* One run: a cluster, a load and faults, all drawn from the seed ("swarm": each run has some kinds of
 * faults and lacks others, at rates of its own). Two phases: safety, in which anything may fail that
 * the fault atlas allows; liveness, in which a quorum is healed and all that is owed must happen in
 * bounded time. */
#ifndef PAXFS_TESTS_SIM_SIM_SWARM_H
#define PAXFS_TESTS_SIM_SIM_SWARM_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/sim.h"
#include "tests/sim/sim_attack.h"

enum sim_profile {
	SIM_SWARM, /* faults of all kinds */
	SIM_QUIET, /* none: for measuring */
};

enum sim_load { SIM_LOAD_DRAWN, SIM_LOAD_KV, SIM_LOAD_FS, SIM_LOAD_BOTH };

struct sim_swarm_options {
	enum sim_profile profile;
	uint64_t safety_ns; /* 0: drawn */
	bool no_clients;    /* QUIET: an idle cluster */
	enum sim_load load;
	enum sim_attack attack; /* instead of random faults */
};

struct sim_result {
	uint64_t simulated_ns, calls, ok, failed, unknown, judged;
	uint64_t fs_calls, fs_ok, fs_failed, fs_unknown, fs_judged;
	uint64_t steps, entries, batches, elections, snapshots;
	uint64_t hash;
	uint64_t faults[SIM_FAULT_COUNT];
};

void sim_swarm_run(uint64_t seed, const struct sim_swarm_options *o, struct sim_result *out);

#endif
