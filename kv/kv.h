/* The key-value store as its users see it: a routing client, and an embedded node.
 *
 * The client finds leaders, follows redirects, caches the shard map, and retries idempotently; its
 * calls block the calling fiber, never the loop. All functions run on the loop's thread.
 */
#ifndef PAXFS_KV_KV_H
#define PAXFS_KV_KV_H

#include "base/msg.h"
#include "kv/layout.h"
#include "kv/transport.h"
#include "txn/txn.h"

struct kv_client;

/* The session was closed by others, and a new one has taken its place (README.md, "Sessions"). */
struct kv_session_change {
	uint64_t was, now; /* ids */
	uint32_t calls;	   /* under way under the old one: some may end with ERR_OUTCOME */
};
/* On the loop's thread, in the fiber that found out: must not block. */
typedef void kv_session_fn(void *ctx, const struct kv_session_change *x);

#define KV_SESSION_NS_MIN     (5 * NS_PER_S)
#define KV_SESSION_NS_MAX     (3600 * NS_PER_S)
#define KV_SESSION_NS_DEFAULT (60 * NS_PER_S)

struct kv_client_config {
	const char *endpoints;		 /* "host:port,host:port" numeric: any subset of the nodes */
	struct kv_transport *transport;	 /* borrowed; kv_transport_net_new() for real sockets */
	struct env *env;		 /* borrowed */
	struct fiber_sched *fibers;	 /* borrowed: for keep-alives */
	uint64_t timeout_ns;		 /* of one exec; 0 = wait as long as it takes */
	uint64_t connect_timeout_ns;	 /* of kv_client_open; 0 = as long as it takes */
	const char *name;		 /* shown in `paxfs clients`: host, mount point; may be NULL */
	bool session;			 /* register with meta and keep alive (mounts; writers) */
	uint64_t session_ns; /* others close it after so long a silence; 0: the default */
};

/* Must be called from a fiber. Fetches the layout, and with `session` opens a client id.
 * ERR_UNREACHABLE, ERR_NOT_READY (not initialised), ERR_TIMEOUT, ERR_INVAL, with a message. */
int kv_client_open(const struct kv_client_config *cfg, struct kv_client **out, struct msg *m);
void kv_client_close(struct kv_client *c); /* from a fiber; ends the session; takes NULL */

/* Executes mini-transactions (txn/txn.h), of any number of groups. Read-only ones over several
 * groups read twice until versions agree, and log nothing. Scans over shards of several groups must
 * be cut by the caller with kv_client_range. */
struct txn_executor *kv_client_executor(struct kv_client *c);

/* Blocks the calling fiber until @key's version is not @version (0: absent), at most @wait_ns. 0 with
 * the version now in *now (0: absent): it differed at one moment between call and return (linearizable,
 * as a read is). ERR_TIMEOUT after @wait_ns; ERR_INTERRUPTED; else as a read. Costs the servers nothing
 * while nothing changes. */
int kv_client_watch(struct kv_client *c, struct slice key, uint64_t version, uint64_t wait_ns,
		    uint64_t *now);

/* The present layout; valid until the next call that may block. */
const struct kv_layout *kv_client_layout(struct kv_client *c);

/* How far from @from one group's ownership reaches: the scan [from, *end) is one request. @end is
 * a slice of the layout; empty: to the end of the key space. */
void kv_client_range(struct kv_client *c, struct slice from, struct slice *end);

/* What the disks under the nodes' data hold, a disk that several nodes use once, divided by the number
 * of replicas: what a user could store if the cluster were empty, and can store yet. Asks every node;
 * those that do not answer within a second are left out. ERR_UNREACHABLE when none does,
 * ERR_INTERRUPTED. */
struct kv_space {
	uint64_t total, free; /* bytes */
	uint32_t disks;
};
int kv_client_space(struct kv_client *c, struct kv_space *out);

uint64_t kv_client_id(const struct kv_client *c); /* 0 without a session */
/* Somebody has closed it, and this client has noticed: at its next write, or within some seconds. */
bool kv_client_session_lost(const struct kv_client *c);

/* @fn hears of every change from now on; NULL: nobody does. */
void kv_client_on_session(struct kv_client *c, kv_session_fn *fn, void *ctx);
/* Blocks until it is certain that the session was not closed for its silence before this call began
 * (mostly it is, without a request), or that it was, and @fn has heard so. 0 without a session. */
int kv_client_session_confirm(struct kv_client *c);

/* Ends the session of another client, wherever it is: from then on every group refuses what it sends.
 * ERR_NOT_FOUND: there is no such session. */
int kv_client_evict(struct kv_client *c, uint64_t id);

/* The node believed to lead a group, 0 if unknown. */
uint32_t kv_client_leader(struct kv_client *c, uint32_t group);

/* One call to one node, by address ("host:port"), with the envelope taken off: for administration
 * (status, init, identity). 0, the envelope's err, or a transport error. */
int kv_client_admin(struct kv_transport *t, struct env *env, const char *address, uint8_t type,
		    struct slice body, uint64_t timeout_ns, struct buf *reply);

struct kv_client_stats {
	uint64_t calls, retries, redirects, map_refreshes, reads, execs, cross_group, watches;
	uint64_t sessions_lost;
};
void kv_client_stats_get(const struct kv_client *c, struct kv_client_stats *out);

#endif
