/* Shared inside kv/engine*.c only: what the engine is made of. docs/engine.md has the picture.
 *
 *   engine.c           groups, batches, gets, dispatch
 *   engine_layer.c     an ordered set of changes in memory
 *   engine_iter.c      scans: several sources merged into one
 *   engine_snapshot.c  the snapshot stream, written; the digest of a state
 *   engine_install.c   the snapshot stream, checked and installed
 *   engine_mem.c       implementation: one layer per group is all there is
 *   engine_rocks*.c    implementation: RocksDB
 */
#ifndef PAXFS_KV_ENGINE_INTERNAL_H
#define PAXFS_KV_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "kv/engine.h"
#include "kv/engine_layer.h"

#define ENGINE_KEY_SIZE_MAX 1024u /* bytes, without the group's prefix */
#define ENGINE_SOURCES_MAX  2u	  /* of a scan: the batch and the committed state */

/* ---- scans ---- */

/* One sorted stream of records. The current one is in the fields; ops->next replaces them. */
struct engine_source {
	const struct engine_source_ops *ops;
	bool valid;   /* there is a current record */
	bool deleted; /* it says that the key is gone; value is empty */
	int err;      /* why it ended early: ERR_CORRUPT, ERR_IO; then not valid */
	struct engine_pos pos;
	struct slice value;
};

struct engine_source_ops {
	void (*next)(struct engine_source *s);
	void (*free)(struct engine_source *s);
};

/* A layer's records in [from, to). Takes a reference to @layer; the slices of @to are borrowed as
 * long as the source lives. */
struct engine_source *engine__layer_source(struct engine_layer *layer, struct engine_pos from,
					   struct engine_pos to);

/* All of [from, to) of the group, over tables. @batch: with the open batch's own writes. */
struct engine_iter *engine__iter_new(struct engine_group *g, struct engine_pos from,
				     struct engine_pos to, bool batch);
struct engine_pos engine__iter_pos(const struct engine_iter *it);

/* ---- implementations ---- */

struct engine_group {
	struct engine *engine;
	SLIST_ENTRY(engine_group) link; /* lives until the engine is closed */
	uint32_t id;
	bool opened, in_batch;
	_Atomic uint64_t applied, durable;
	struct engine_layer *batch;
	struct engine_install *install; /* NULL: none is going on */
};

struct engine {
	const struct engine_ops *ops;
	pthread_mutex_t groups_lock; /* of the list; its elements never leave */
	SLIST_HEAD(engine_groups, engine_group) groups;
	_Atomic uint64_t unflushed_bytes;
	_Atomic uint64_t reserve_missing;
	atomic_bool wants_flush;
};

/* One consistent state of a group, of all tables. Freed by ops->view_free. */
struct engine_view {
	uint64_t applied;
	struct engine_source *source;
};

struct engine_ops {
	void (*close)(struct engine *e);			      /* frees @e and its groups */
	/* Of a group without state. */
	struct engine_group *(*group_new)(struct engine *e, uint32_t id);
	/* The committed state, beneath the batch. */
	int (*get)(struct engine_group *g, struct engine_pos pos, struct buf *out);
	unsigned (*sources)(struct engine_group *g, struct engine_pos from, struct engine_pos to,
			    struct engine_source **out); /* newest first */
	/* Takes all nodes of g->batch and sets g->applied. */
	void (*commit)(struct engine_group *g, uint64_t applied);
	int (*flush)(struct engine *e);
	int (*view_new)(struct engine_group *g, struct engine_view **out);
	void (*view_free)(struct engine_view *v);
	/* A second state of the group, beside the live one: begin empties it, put adds in order,
	 * write may be used to bound memory, finish swaps it in, durably, and sets applied and
	 * durable. */
	int (*install_begin)(struct engine_group *g);
	void (*install_put)(struct engine_group *g, struct engine_pos pos, struct slice value);
	void (*install_write)(struct engine_group *g);
	int (*install_finish)(struct engine_group *g, uint64_t applied);
	/* Stored bytes of [from, to), for extrapolation; 0 when unknown. */
	uint64_t (*stored_bytes)(struct engine_group *g, struct engine_pos from,
				 struct engine_pos to);
	void (*stats)(struct engine *e, struct engine_stats *out);
};

void engine__init(struct engine *e, const struct engine_ops *ops);
void engine__release(struct engine *e);
void engine__group_init(struct engine *e, struct engine_group *g, uint32_t id);
void engine__group_release(struct engine_group *g);
struct engine_group *engine__group_find(struct engine *e, uint32_t id); /* NULL: not there */
void engine__group_add(struct engine *e, struct engine_group *g);
/* For a walk over all groups without holding the lock. */
struct engine_group *engine__group_first(struct engine *e);
struct engine_group *engine__group_next(struct engine_group *g);
void engine__durable_raise(struct engine_group *g, uint64_t slot); /* never lowers it */

void engine__install_free(struct engine_install *in); /* takes NULL */

/* ---- the digest of a state: CRC32C over its records in order ---- */

struct engine_digest {
	uint32_t crc;
	uint64_t records;
	uint64_t bytes; /* of keys and values */
};
void engine__digest_add(struct engine_digest *d, struct engine_pos pos, struct slice value);

/* The header of a record, in chunks and in the digest. */
void engine__record_header(uint8_t out[8], struct engine_pos pos, size_t value_len);

/* ---- the snapshot stream (docs/engine.md, "Snapshot chunks"): all numbers little-endian ---- */

#define CHUNK_MAGIC	    0x31435850u /* "PXC1" */
#define CHUNK_HEADER_SIZE   24u		/* magic, crc, index, kind: u32; applied u64 */
#define CHUNK_CRC_AT	    4u		/* the CRC is that of all behind it */
#define CHUNK_RECORD_HEADER 8u		/* table u8, 0 u8, key length u16, value length u32 */
#define CHUNK_TOTALS_SIZE   20u		/* records u64, bytes u64, digest u32 */

enum chunk_kind { CHUNK_RECORDS = 1, CHUNK_END = 2 };

#endif
