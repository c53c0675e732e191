/* KV_SNAPSHOT: one chunk of a transfer. Pure. */
#ifndef PAXFS_KV_SNAPSHOT_WIRE_H
#define PAXFS_KV_SNAPSHOT_WIRE_H

#include "base/buf.h"

struct kv_snapshot_request {
	uint32_t group;
	uint64_t transfer; /* 0: open one (chunk must be 0) */
	uint64_t chunk;	   /* 0, 1, ...: the next one, or the last one again */
};
void kv_snapshot_request_encode(struct buf *out, const struct kv_snapshot_request *q);
int kv_snapshot_request_decode(struct slice in, struct kv_snapshot_request *out); /* ERR_PROTO */

struct kv_snapshot_reply {
	uint64_t transfer;
	uint64_t chunk;
	uint64_t applied;     /* the slot whose state this is */
	uint64_t bytes_total; /* rough, for progress; 0 unknown */
	struct slice data;    /* an engine chunk; empty: that was all */
};
void kv_snapshot_reply_encode(struct buf *out, const struct kv_snapshot_reply *r);
int kv_snapshot_reply_decode(struct slice in, struct kv_snapshot_reply *out); /* ERR_PROTO */

#endif
