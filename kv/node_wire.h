/* Bodies of the one-way frames between nodes. Pure. */
#ifndef PAXFS_KV_NODE_WIRE_H
#define PAXFS_KV_NODE_WIRE_H

#include "kv/layout.h"

/* What the receiver of a HELLO acknowledged to its sender, of one group: in earlier boots, and in the
 * boot that the sender knew last. */
struct kv_acks {
	uint32_t group;
	uint64_t old_ballot, old_slot;
	uint64_t ballot, slot;
};

struct kv_hello {
	uint8_t cluster[KV_CLUSTER_ID_SIZE];
	uint32_t from, to;
	uint64_t boot, birth;	 /* of the sender; see kv__boot_make() */
	uint64_t to_boot;	 /* the receiver's boot that `ballot` and `slot` are of; 0: none */
	uint64_t to_birth;	 /* of the receiver, as the sender knows it; 0: it does not */
	uint32_t count;
	struct kv_acks *acks; /* owned after decode */
};
void kv_hello_encode(struct buf *out, const struct kv_hello *h);
int kv_hello_decode(struct slice in, struct kv_hello *out); /* ERR_PROTO, ERR_NOMEM */
void kv_hello_release(struct kv_hello *h);

/* KV_TXN: for the leader of @to_group. */
#define KV_TXN_HOPS_MAX 3u
struct kv_txn_frame {
	uint32_t to_group, from_group;
	uint32_t hops; /* times it was passed on */
	struct slice bytes;
};
void kv_txn_frame_head(struct buf *out, const struct kv_txn_frame *f); /* all but the bytes */
int kv_txn_frame_decode(struct slice in, struct kv_txn_frame *out);    /* ERR_PROTO */

/* Names one run of a process: number of the start of its log, which makes boots comparable, and a few
 * random bits, which tell those apart that count from the same old copy. Never 0. */
uint64_t kv__boot_make(uint64_t log_run, uint64_t random);
bool kv__boot_later(uint64_t a, uint64_t b); /* is @a a later one than @b? Of none and unordered: yes */

#endif
