/* txn/store.h on one group of the engine, with the group's owned ranges. Belongs to the apply
 * thread. */
#ifndef PAXFS_KV_STORE_ENGINE_H
#define PAXFS_KV_STORE_ENGINE_H

#include "kv/engine.h"
#include "kv/layout.h"
#include "txn/store.h"

/* In TABLE_STATE: count u64 | {from bytes | to bytes}*, ascending; an empty `to` is "to the end". */
#define STORE_KEY_RANGES "kv/ranges"

struct store_range {
	struct slice from, to; /* of store_engine.encoded */
};

struct store_engine {
	struct txn_store base;
	struct engine_group *group; /* borrowed */
	struct buf encoded;	    /* the ranges, as stored */
	struct store_range *ranges; /* cache of TABLE_STATE, owned */
	uint32_t range_count;
	void (*wrote)(void *ctx, struct slice key); /* NULL: nobody wants to know */
	void *wrote_ctx;
};

void store_engine_init(struct store_engine *s, struct engine_group *g);
void store_engine_release(struct store_engine *s);

/* Calls @wrote for each user key that is put or deleted from now on; NULL: for none. */
void store_engine_on_write(struct store_engine *s, void (*wrote)(void *ctx, struct slice key),
			   void *ctx);

/* Reads the owned ranges; again after a snapshot was installed. ERR_NOT_FOUND: the group has no
 * initial state; ERR_CORRUPT, ERR_IO. */
int store_engine_load(struct store_engine *s);

/* The value of STORE_KEY_RANGES of @group by the layout. */
void store_ranges_encode(struct buf *out, const struct kv_layout *l, uint32_t group);

#endif
