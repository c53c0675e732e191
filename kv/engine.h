/* The storage engine of a node, as its groups see it: ordered keys in a few tables, atomic batches.
 * Implementations: engine_rocks.c (RocksDB, WAL off: the Paxos log is the WAL) and engine_mem.c
 * (ordered tree; simulator and tests). Keys given here are without the group prefix; the engine
 * adds it, so groups never see each other.
 *
 * Threads: each group's batches and reads come from one thread (its apply thread). engine_flush()
 * and the snapshot reader may run on another thread beside it.
 */
#ifndef PAXFS_KV_ENGINE_H
#define PAXFS_KV_ENGINE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/msg.h"

enum engine_table {
	TABLE_DATA,    /* the shards' keys except blocks: version(8) ts(8) value */
	TABLE_BLOCK,   /* kind 'B' keys: large values, blob files */
	TABLE_TXN,     /* T: prepared transactions and outcomes */
	TABLE_QUEUE,   /* Q: waiting commands */
	TABLE_REPLY,   /* R: replies, client marks */
	TABLE_STATE,   /* the group's clock, epoch, owned ranges, applied slot */
	TABLE_HISTORY, /* old versions while a snapshot is pinned */
	TABLE_COUNT
};

struct engine;       /* one per node */
struct engine_group; /* the view of one group */

struct engine_config {
	const char *dir;              /* created if missing */
	uint64_t memory_bytes;        /* block cache + write buffers; 0 = default 96 MiB */
	uint64_t reserve_bytes;	      /* of the disk, set aside for when it is full; 0: none */
};

int engine_rocks_open(const struct engine_config *cfg, struct engine **out, struct msg *m);
/* A reserve that is enough for so much memory (0: the default) to reach a full disk; bytes. */
uint64_t engine_rocks_reserve(uint64_t memory_bytes);
int engine_mem_open(struct engine **out);
void engine_close(struct engine *e); /* takes NULL */

struct engine_group *engine_group_open(struct engine *e, uint32_t group);
void engine_group_close(struct engine_group *g);

/* A batch: begin, any mix of writes and reads (reads see the batch's own writes), then commit,
 * which makes it all visible atomically together with the group's applied slot, or abandon.
 * Writes outside a batch are forbidden. A failed write is fatal to the process (logger_die). */
void engine_begin(struct engine_group *g);
void engine_put(struct engine_group *g, enum engine_table t, struct slice key, struct slice value);
void engine_del(struct engine_group *g, enum engine_table t, struct slice key);
void engine_commit(struct engine_group *g, uint64_t applied_slot);
void engine_abandon(struct engine_group *g);

/* 0 with the value in @out, ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. */
int engine_get(struct engine_group *g, enum engine_table t, struct slice key, struct buf *out);

/* Ordered scan over [from, to), an empty @to is "to the end"; sees the open batch's own writes.
 * The iterator dies with the next write to the group. */
struct engine_iter;
struct engine_iter *engine_iter_new(struct engine_group *g, enum engine_table t, struct slice from,
				    struct slice to);
bool engine_iter_valid(const struct engine_iter *it);
struct slice engine_iter_key(const struct engine_iter *it); /* group prefix stripped */
struct slice engine_iter_value(const struct engine_iter *it);
void engine_iter_next(struct engine_iter *it);
int engine_iter_err(const struct engine_iter *it); /* 0, ERR_CORRUPT, ERR_IO: check at the end */
void engine_iter_free(struct engine_iter *it); /* takes NULL */

/* The applied slot as of the last commit; and as of what is surely on disk (advances with
 * engine_flush). After a restart both are what survived. */
uint64_t engine_applied(struct engine_group *g);
uint64_t engine_durable(struct engine_group *g);

/* Blocks until everything committed before the call is on disk, all groups (atomic flush over
 * tables). Any thread. ERR_NOSPACE: all is as before, to be tried again later; ERR_IO is fatal by the
 * caller's choice. Tends the reserve, too, even if there is nothing to flush. */
int engine_flush(struct engine *e);

/* Bytes of the reserve that were given up on a full disk and that the engine wants back: nobody else
 * should take them. Any thread. */
uint64_t engine_reserve_missing(struct engine *e);

/* Bytes committed since the last flush, all groups: the driver flushes on a threshold. */
uint64_t engine_unflushed_bytes(struct engine *e);

/* Memory for what is not flushed is half full: the driver flushes. When it is full, the next
 * commit does. Any thread. */
bool engine_wants_flush(struct engine *e);

/* Snapshot of one group, streamed: chunks of records in table and key order. The reader sees one
 * consistent state (as of the call); any thread, beside the writer. Each chunk is a self-contained
 * byte string with its own CRC32C. next: 0 with @chunk filled (empty at the end). `cursor` allows
 * to resume after the last chunk acknowledged, within the same reader. */
struct engine_snapshot;
int engine_snapshot_new(struct engine_group *g, struct engine_snapshot **out);
uint64_t engine_snapshot_applied(const struct engine_snapshot *s);
int engine_snapshot_next(struct engine_snapshot *s, size_t chunk_max, struct buf *chunk);
void engine_snapshot_free(struct engine_snapshot *s); /* takes NULL */

/* Installing: begin wipes nothing visible; chunks go to a staging prefix; finish replaces the
 * group's whole state atomically and durably (flushed) and sets the applied slot. A
 * half-received one is never visible and is removed at the next begin or open. ERR_CORRUPT for a
 * bad chunk: nothing of it was taken, the right one may follow. Finishing an incomplete stream
 * is ERR_CORRUPT; another slot than the stream's, or one behind the applied one, ERR_INVAL. */
int engine_install_begin(struct engine_group *g);
int engine_install_chunk(struct engine_group *g, struct slice chunk);
int engine_install_finish(struct engine_group *g, uint64_t applied_slot);
/* Why the last call refused, for people: "chunk 3, byte 5120: ...". Lives until the next one. */
const char *engine_install_why(const struct engine_group *g);

/* CRC32C over all tables of the group in key order, for comparing replicas. Slow. */
int engine_checksum(struct engine_group *g, uint32_t *out);

/* Rough keys and bytes of [from, to) in TABLE_DATA and TABLE_BLOCK, for status. */
void engine_estimate(struct engine_group *g, struct slice from, struct slice to, uint64_t *keys,
		     uint64_t *bytes);

struct engine_stats {
	uint64_t memory_bytes;  /* memtables + cache in use */
	uint64_t disk_bytes;
	uint64_t unflushed_bytes;
};
void engine_stats_get(struct engine *e, struct engine_stats *out);

#endif
