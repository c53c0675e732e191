/* A cluster of consensus cores in one process, for tests: virtual time, a network that loses,
 * doubles, delays, reorders and cuts, disks with late syncs that lose what was not synced, clocks
 * that drift. Everything follows from the seed.
 *
 * Checked all the time, apart from what the core checks of itself (paxos_audit after each step):
 *  - all replicas are given the same value for a slot, each slot once and in order;
 *  - when a slot is given to the first of them, a majority has that value on disk;
 *  - nothing is sent before what it rests on is on the sender's disk;
 *  - a read that is served sees all that was chosen before it was asked.
 * A violation fails the test and names the seed. */
#ifndef PAXFS_TESTS_LIB_PAXOS_CLUSTER_H
#define PAXFS_TESTS_LIB_PAXOS_CLUSTER_H

#include "base/env.h"
#include "consensus/paxos.h"

#define CLUSTER_NONE UINT32_MAX

struct cluster_config {
	uint64_t seed;
	uint32_t nodes; /* 1, 3, 5 */
	struct paxos_timing timing;
	uint64_t retain_bytes, cache_bytes;
	uint32_t drift_ppm; /* clocks run at most so much too fast or too slow */
};
void cluster_config_default(struct cluster_config *cfg, uint64_t seed);

struct cluster_range { /* uniform in [min, max] */
	uint64_t min, max;
};

struct cluster_faults { /* may be changed at any time */
	uint32_t loss_ppm, double_ppm;
	uint32_t nomem_ppm; /* of steps: memory runs out in the middle */
	struct cluster_range delay;
	bool fifo;     /* messages of one link stay in order */
	bool no_break; /* a crash is noticed by silence only */
};

struct paxos_cluster;

/* Nodes are named by index: 0 is member 1. All are up and connected. */
struct paxos_cluster *cluster_new(const struct cluster_config *cfg);
void cluster_free(struct paxos_cluster *c);
struct cluster_faults *cluster_faults(struct paxos_cluster *c);
uint64_t cluster_now(const struct paxos_cluster *c);
uint64_t cluster_random(struct paxos_cluster *c, uint64_t below);

void cluster_run(struct paxos_cluster *c, uint64_t ns);

/* What cluster_await_* return: whether it came true within @ns. */
bool cluster_await_leader(struct paxos_cluster *c, uint64_t ns); /* one that serves */
bool cluster_await_slot(struct paxos_cluster *c, uint32_t node, uint64_t slot, uint64_t ns);
bool cluster_await_reads(struct paxos_cluster *c, uint64_t served, uint64_t ns);

/* The node that leads and serves, with the highest ballot; CLUSTER_NONE. */
uint32_t cluster_leader(struct paxos_cluster *c);
bool cluster_up(const struct paxos_cluster *c, uint32_t node);
void cluster_status(struct paxos_cluster *c, uint32_t node, struct paxos_status *out);
struct paxos *cluster_core(struct paxos_cluster *c, uint32_t node);

/* A new value of @len bytes; the codes of PAXOS_EV_PROPOSE. @slot may be NULL. */
int cluster_propose(struct paxos_cluster *c, uint32_t node, size_t len, uint64_t *slot);
int cluster_read(struct paxos_cluster *c, uint32_t node);
uint64_t cluster_reads_served(const struct paxos_cluster *c);
uint64_t cluster_chosen(const struct paxos_cluster *c); /* highest slot given to any replica */
uint64_t cluster_given(const struct paxos_cluster *c, uint32_t node);
uint64_t cluster_sent(const struct paxos_cluster *c, enum paxos_message_type type);
uint64_t cluster_snapshots(const struct paxos_cluster *c);

void cluster_dump(struct paxos_cluster *c); /* to stderr, for people */

/* Faults. A crash loses what was not synced, up to a random point of it. */
void cluster_crash(struct paxos_cluster *c, uint32_t node);
void cluster_restart(struct paxos_cluster *c, uint32_t node);
void cluster_pause(struct paxos_cluster *c, uint32_t node, uint64_t ns); /* its clock runs on */
void cluster_cut(struct paxos_cluster *c, uint32_t from, uint32_t to, bool cut);
void cluster_split(struct paxos_cluster *c, uint32_t mask); /* those in @mask from the others */
void cluster_heal(struct paxos_cluster *c);		    /* all links */
void cluster_disk(struct paxos_cluster *c, uint32_t node, struct cluster_range sync);
void cluster_apply(struct paxos_cluster *c, uint32_t node, struct cluster_range apply);
void cluster_flush(struct paxos_cluster *c, uint32_t node); /* the engine, to disk */
void cluster_hand_over(struct paxos_cluster *c, uint32_t node);
void cluster_link(struct paxos_cluster *c, uint32_t node, uint32_t peer, bool up); /* is told */

/* Gives @m to the node as if it came from the network. */
void cluster_inject(struct paxos_cluster *c, const struct paxos_message *m);

#endif
