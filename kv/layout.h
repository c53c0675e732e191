/* The layout of a cluster: nodes, groups and their members, and the shard map. Made by `init`,
 * stored by every node in its data directory (file `cluster`, with a CRC32C), and the shard map
 * also in group 0 under KV_KEY_MAP. Pure code. */
#ifndef PAXFS_KV_LAYOUT_H
#define PAXFS_KV_LAYOUT_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/msg.h"

#define KV_CLUSTER_ID_SIZE 16u

struct kv_layout_node {
	uint32_t id; /* 1 .. NODES_MAX-1 */
	char address[ADDRESS_SIZE_MAX];
};

struct kv_layout_group {
	uint32_t id; /* 0 = meta, 1 .. GROUPS_MAX-1 = data */
	uint32_t members[GROUP_REPLICAS_MAX]; /* node ids in succession order */
	uint32_t member_count;
};

struct kv_layout_shard { /* [from, next shard's from); the last one is open-ended */
	uint8_t from[KEY_SIZE_MAX];
	uint32_t from_len;
	uint32_t group;
};

struct kv_layout {
	uint8_t cluster[KV_CLUSTER_ID_SIZE];
	uint64_t version; /* of the shard map, grows with each change; 1 at init */
	struct kv_layout_node *nodes;
	uint32_t node_count;
	struct kv_layout_group *groups; /* sorted by id; groups[0].id == 0 */
	uint32_t group_count;
	struct kv_layout_shard *shards; /* sorted by from; shards[0].from_len == 0 */
	uint32_t shard_count;
};

#define KV_SHARDS_PER_GROUP 4u

/* @nodes in any order. Groups 1..@data_groups get the places 0..0x7fff in KV_SHARDS_PER_GROUP *
 * data_groups equal ranges, dealt round; group 0 gets 0x8000 and up. Members are chosen by rendezvous
 * hashing, balanced within one; successions are rotated so that first leaders spread. Deterministic
 * in its arguments. ERR_INVAL with a message (replicas not 1, 3 or 5; fewer nodes than replicas;
 * duplicate ids or addresses; too many groups). */
int kv_layout_make(struct kv_layout *out, const uint8_t cluster[KV_CLUSTER_ID_SIZE],
		   const struct kv_layout_node *nodes, uint32_t node_count, uint32_t data_groups,
		   uint32_t replicas, struct msg *m);
void kv_layout_release(struct kv_layout *l);
int kv_layout_copy(struct kv_layout *to, const struct kv_layout *from); /* ERR_NOMEM */
void kv_layout_encode(struct buf *out, const struct kv_layout *l);
int kv_layout_decode(struct slice in, struct kv_layout *out); /* validates everything; ERR_PROTO */

/* Index of the shard that holds @key (always exists). */
uint32_t kv_layout_shard_of(const struct kv_layout *l, struct slice key);
uint32_t kv_layout_group_of(const struct kv_layout *l, struct slice key);
/* One group for all of [from, to)? ERR_ELSEWHERE if not; @end gets the end of the part that the
 * group of @from owns contiguously (empty: to the end of the key space). */
int kv_layout_range_group(const struct kv_layout *l, struct slice from, struct slice to,
			  uint32_t *group, struct slice *end);
const struct kv_layout_group *kv_layout_group(const struct kv_layout *l, uint32_t id); /* or NULL */
const struct kv_layout_node *kv_layout_node(const struct kv_layout *l, uint32_t id);   /* or NULL */

/* Keys of the cluster's own state, all in group 0:
 * be16 0x8000 | be64 0x8000000000000000 | 'M' | name. */
void kv_meta_key(struct buf *out, const char *name);
#define KV_KEY_MAP	   "map"	    /* kv_layout */
#define KV_KEY_CLIENTS	   "clients"	    /* u64 little-endian: last client id issued */
#define KV_KEY_INODES	   "inodes"	    /* u64 little-endian: last inode number reserved */
#define KV_KEY_RENAME	   "rename-order"   /* bumped by every move of a directory */
#define KV_KEY_SESSION	   "session/"	    /* + be64 client id: see kv/session */

#endif
