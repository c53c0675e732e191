/* A server: the replicas of all its groups, its log and engine, its sockets. Wiring only: the
 * protocols are in consensus/ and txn/, joined per group by kv/replica.
 *
 * Threads: the loop's (network, consensus), the log writer (in wal/), one apply thread (txn/ and
 * the engine), one flush thread. */
#ifndef PAXFS_KV_NODE_H
#define PAXFS_KV_NODE_H

#include "base/msg.h"
#include "net/loop.h"

struct kv_node;

struct kv_node_config {
	uint32_t id;		/* 1 .. NODES_MAX-1; 0: take it from the data directory */
	const char *listen;	/* "host:port" or "unix:/path"; port 0 is allowed */
	const char *advertise;	/* how others reach it; NULL: the listening address */
	const char *dir;	/* data directory, created if missing */
	const char *join;	/* addresses of other nodes, comma-separated; may be NULL */
	uint64_t memory_bytes;	/* engine budget; 0 = default */
	uint64_t log_bytes;	/* log budget; 0 = default */
	bool leases;		/* default true in kv_node_config_default */

	/* For tests of what takes long otherwise; 0 = default. */
	uint64_t flush_bytes;	/* unflushed in the engine: flush */
	uint64_t retain_bytes;	/* log kept for a lagging replica, per group */
	uint32_t segment_bytes; /* of the log's files */
};
void kv_node_config_default(struct kv_node_config *c);

/* Opens or creates the data directory (exclusive lock; identity file `node`: node id and, after
 * init, cluster id), replays, starts listening. Returns when the node is up; groups elect in their
 * own time. Errors with a message that names what and where: ERR_IDENTITY, ERR_LOCKED, ERR_CORRUPT,
 * ERR_ADDR_IN_USE, ERR_AMNESIA, ERR_IO. */
int kv_node_start(const struct kv_node_config *cfg, struct loop *l, struct kv_node **out,
		  struct msg *m);
const char *kv_node_address(const struct kv_node *n);

/* Clean stop: hands leaderships over (at most @hand_over_ns), flushes, closes. @done is called on
 * the loop when all is closed; then kv_node_free. */
void kv_node_stop(struct kv_node *n, uint64_t hand_over_ns, void (*done)(void *ctx), void *ctx);
void kv_node_free(struct kv_node *n); /* after done; takes NULL */

#endif
