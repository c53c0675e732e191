/* Messages of the key-value service: frame types and bodies (base/codec.h). Pure.
 *
 * Calls are answered with a frame of the same type, NET_FLAG_REPLY, whose body is an envelope:
 *   err i64 | leader u64 (node id, 0 unknown; meaningful with ERR_NOT_LEADER) | map_version u64 |
 *   body bytes
 * One-way messages are not answered and may be lost.
 */
#ifndef PAXFS_KV_WIRE_H
#define PAXFS_KV_WIRE_H

#include "base/buf.h"
#include "base/codec.h"

enum kv_frame {
	/* one-way, node to node */
	KV_NODE_HELLO = 1, /* first frame of a connection between nodes: who I am */
	KV_PAXOS = 2,	   /* a paxos message (paxos_message_encode) */
	KV_TXN = 3,	   /* kv/node_wire.h: bytes for tsm_message of a group's leader */

	/* calls from clients, and between nodes */
	KV_MAP = 16,	   /* no body -> kv_layout (kv/layout.h); ERR_NOT_READY before init */
	KV_EXEC = 17,	   /* group u64 | request bytes -> reply bytes of the state machine */
	KV_READ = 18,	   /* group u64 | part bytes -> reply bytes; linearizable, logs nothing */
	KV_OPEN = 19,	   /* no body, to the leader of group 0 -> client id u64 */
	KV_STATUS = 20,	   /* no body -> kv_node_status */
	KV_INIT = 21,	   /* kv_layout -> no body; idempotent for the same layout */
	KV_IDENTITY = 22,  /* no body -> node id u64 | address | cluster id or empty */
	KV_SNAPSHOT = 23,  /* group u64 | transfer u64 | chunk number u64 -> see kv/snapshot_wire */
	KV_HAND_OVER = 24, /* group u64: leader gives up leadership */
	KV_FLUSH = 25,	   /* flush the engine and cut the log (operator, tests) */
	KV_DESCRIBE = 26,  /* group u64 -> lines: locks, in-doubt transactions */
	KV_CHECKSUM = 27,  /* group u64 -> applied slot u64 | crc u64 */
	KV_ADMIN = 28,	   /* group u64 | tsm command (CLOSE, FLOOR): proposed as it is */
	KV_WATCH = 29,	   /* group u64 | kv_watch_request -> version u64, once it is another one;
			    * ERR_TIMEOUT after the wait. Nodes that do not know it: ERR_UNSUPPORTED */
};

struct kv_envelope {
	int err;
	uint32_t leader;
	uint64_t map_version;
	struct slice body;
};
void kv_envelope_encode(struct buf *out, int err, uint32_t leader, uint64_t map_version,
			struct slice body);
/* Only what stands before the body's bytes, for senders that have them elsewhere. */
void kv_envelope_head(struct buf *out, int err, uint32_t leader, uint64_t map_version,
		      size_t body_len);
int kv_envelope_decode(struct slice in, struct kv_envelope *out); /* ERR_PROTO */

struct kv_group_request { /* KV_EXEC, KV_READ, KV_ADMIN, ... */
	uint32_t group;
	struct slice body;
};
void kv_group_request_encode(struct buf *out, uint32_t group, struct slice body);
/* Only what stands before the body's bytes, for senders that have them elsewhere. */
void kv_group_request_head(struct buf *out, uint32_t group, size_t body_len);
int kv_group_request_decode(struct slice in, struct kv_group_request *out); /* ERR_PROTO */

struct kv_watch_request {
	uint64_t version; /* as the caller knows it; 0: absent */
	uint64_t wait_ns; /* the node bounds it: kv/replica.h */
	struct slice key; /* not empty */
};
void kv_watch_request_encode(struct buf *out, const struct kv_watch_request *q);
int kv_watch_request_decode(struct slice in, struct kv_watch_request *out); /* ERR_PROTO */
void kv_watch_reply_encode(struct buf *out, uint64_t version);
int kv_watch_reply_decode(struct slice in, uint64_t *version); /* ERR_PROTO */

/* ---- status of a node ---- */

#define KV_STATUS_MEMBERS_MAX 5u
struct kv_group_status {
	uint32_t group, leader;
	uint8_t role; /* enum paxos_role */
	bool serving;
	uint64_t ballot, commit, applied, last, log_start, epoch;
	uint64_t keys, bytes; /* rough */
	uint64_t prepared, waiting, locks;
	uint64_t commands, conflicts, deadlocks;
	uint32_t member_count;
	uint32_t members[KV_STATUS_MEMBERS_MAX];
	uint64_t member_accepted[KV_STATUS_MEMBERS_MAX]; /* the leader's view */
	uint64_t member_silent_ns[KV_STATUS_MEMBERS_MAX];
	char note[96]; /* why it lags or does not serve; "" if fine */
};

struct kv_node_status {
	uint32_t node;
	char address[256];
	char version[32];
	uint64_t pid, uptime_ns, rss_bytes;
	uint64_t wal_bytes, engine_disk_bytes, engine_memory_bytes;
	uint64_t sync_ns_last, sync_ns_max;
	uint64_t frames_in, frames_out, bytes_in, bytes_out, bad_frames;
	uint64_t disk_id, disk_total, disk_free; /* under the data directory; bytes; 0: not known */
	uint32_t group_count;
	struct kv_group_status *groups; /* owned after decode */
};
void kv_node_status_encode(struct buf *out, const struct kv_node_status *s);
int kv_node_status_decode(struct slice in, struct kv_node_status *out); /* ERR_PROTO, ERR_NOMEM */
void kv_node_status_release(struct kv_node_status *s);

#endif
