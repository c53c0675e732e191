/* Making servers into a cluster: used by `init`, `local up` and an embedded node. From a fiber. */
#ifndef PAXFS_TOOLS_CLUSTER_INIT_H
#define PAXFS_TOOLS_CLUSTER_INIT_H

#include "tools/cli.h"

struct cluster_init_options {
	uint32_t groups;   /* data groups */
	uint32_t replicas; /* 1, 3 or 5 */
	uint64_t timeout_ns;
};

struct cluster_init_result {
	uint8_t cluster[KV_CLUSTER_ID_SIZE];
	uint32_t nodes, groups, shards;
	bool existed; /* it was initialised before: finished where needed, nothing changed */
};

/* Asks every endpoint who it is, cuts the key space, tells every node, waits until every group
 * serves, makes the root directory. Runs again harmlessly: an interrupted init is finished with the
 * layout that the first one made. ERR_INVAL, ERR_EXISTS_CLUSTER (nodes of different clusters),
 * ERR_UNREACHABLE, ERR_TIMEOUT with messages. */
int cluster_init(struct loop *l, struct kv_transport *t, const char *endpoints,
		 const struct cluster_init_options *o, struct cluster_init_result *out,
		 struct msg *m);

/* "6f1c...": 32 hex digits. */
void cluster_id_text(const uint8_t id[KV_CLUSTER_ID_SIZE], char out[33]);

#endif
