/* A simulated cluster: machines 1..n run the product's node process; clients run on machines of their
 * own. One cluster per world. */
#ifndef PAXFS_TESTS_SIM_SIM_CLUSTER_H
#define PAXFS_TESTS_SIM_SIM_CLUSTER_H

#include "kv/layout.h"
#include "tests/sim/sim.h"

#define SIM_NODES_MAX	   5u
#define SIM_CLIENT_MACHINE 8u /* the first of them */
#define SIM_PORT	   7000u

struct kv_node;
struct kv_transport;
struct loop;

struct sim_cluster_config {
	uint32_t nodes, groups, replicas; /* groups: of data, beside meta */
	bool leases;
	uint32_t segment_bytes;
	uint64_t log_bytes, flush_bytes, retain_bytes; /* small: then logs are cut, snapshots sent */
};

struct sim_node {
	struct sim_machine machine;
	uint32_t id;
	struct sim_proc *proc; /* NULL while down */
	struct kv_node *kv;    /* of that process, once it is up */
	struct loop *loop;
	bool damaged; /* its disk was tampered with: it may refuse to start or to take part */
	bool refused; /* it did not start */
	bool stopping;
	uint64_t up_since_ns, down_since_ns;
};

struct sim_cluster {
	struct sim_cluster_config cfg;
	struct sim_node nodes[SIM_NODES_MAX + 1]; /* by id */
	struct kv_layout layout;
	char endpoints[128];
	bool ready; /* initialised, formatted */
};

extern struct sim_cluster sim_cluster;

/* Machines, disks, all nodes started, and a process that initialises them. */
void sim_cluster_start(const struct sim_cluster_config *cfg);

void sim_node_start(struct sim_node *n);
void sim_node_kill(struct sim_node *n);	 /* SIGKILL, or power */
void sim_node_stop(struct sim_node *n);	 /* cleanly; it is down some time later */
bool sim_node_up(const struct sim_node *n);
bool sim_node_well(const struct sim_node *n); /* up, and no replica of it refuses */

/* All up nodes have applied the same slots, and then their states are equal: 1; not yet: 0. Unequal
 * states are a violation. Nodes that refused are left out. */
int sim_cluster_converged(void);

/* For processes of clients: a loop, a transport, and @fn on a fiber; ends when it returns. */
struct sim_client_env {
	struct loop *loop;
	struct kv_transport *transport;
	void (*fn)(struct sim_client_env *e);
	void *arg;
};
void sim_client_main(void *sim_client_env); /* for sim_proc_start; the env outlives the process */

#endif
