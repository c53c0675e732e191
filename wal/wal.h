/* The write-ahead log of a node: one append-only log shared by all groups of a worker, so that one
 * fdatasync serves all of them.
 *
 * Segments are fixed-size files, written with zeros before first use and recycled, so that an
 * append changes no file size and needs no journal commit. Record, little-endian:
 *   crc32c u32 | length u32 | segment generation u64 | batch u64 | type u8, flags u8, pad[2] |
 *   group u32 | ballot u64 | slot u64 | payload
 * The CRC covers everything behind it, so a stale record of a recycled segment never passes.
 * A batch is written only after the sync of the batch before it returned: a bad record with a
 * valid record of a later batch behind it is damage (ERR_CORRUPT); otherwise its batch is a torn
 * tail and is cut. A failed write or sync ends the process (logger_die): never retried.
 *
 * Thread model: one owner thread (the loop) calls everything; one writer thread inside does the
 * I/O. wal_append() only fills the open batch; wal_submit() hands it to the writer.
 */
#ifndef PAXFS_WAL_WAL_H
#define PAXFS_WAL_WAL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/msg.h"

enum wal_type {
	WAL_PROMISE = 1, /* ballot; slot = 0; payload: opaque to the wal */
	WAL_ENTRY = 2,   /* an accepted entry: ballot, slot, payload */
	WAL_MARK = 3,    /* the group's log start: entries with slot < slot are not needed */
};

struct wal_record {
	enum wal_type type;
	uint32_t group;
	uint64_t ballot;
	uint64_t slot;
	struct slice payload;
};

struct wal;
struct wal_device; /* wal/wal_device.h: open, create, pread, pwrite, sync, remove, list */

struct wal_config {
	struct wal_device *device; /* borrowed; wal_device_dir() for a real directory */
	uint32_t segment_size;     /* bytes, a multiple of 4096; 0 for the default (16 MiB) */
	uint64_t size_max;         /* bytes of all segments; beyond it wal_has_room() says no */
	bool inline_io;            /* no writer thread: wal_submit() writes and syncs (simulator) */

	/* Called on the WRITER thread after batch @batch is on disk: only wake the owner there
	 * (loop_async_send), which then calls wal_synced(). With inline_io: on the caller. */
	void (*on_synced)(void *ctx);
	/* Bytes of the device's free space that the log leaves to others, beside what it leaves anyway.
	 * Any thread; NULL: none. */
	uint64_t (*spared)(void *ctx);
	void *ctx;
};

/* One call per record that is still needed, in file order, before wal_open returns; the slice dies
 * after the call. Of several records for a slot the highest ballot counts, the receiver decides.
 * Return non-zero to give up. */
typedef int wal_replay_fn(void *ctx, const struct wal_record *r);

/* Opens or creates. ERR_CORRUPT (the message names file, offset and what to do), ERR_UNSUPPORTED
 * (format version), ERR_INVAL (sizes), ERR_IO, ERR_NOMEM, ERR_NOSPACE. A torn tail is cut and logged. */
int wal_open(const struct wal_config *cfg, wal_replay_fn *replay, void *replay_ctx,
	     struct wal **out, struct msg *m);
void wal_close(struct wal *w); /* waits for the writer; takes NULL */

/* Adds a record to the open batch; the payload is copied. Returns the number of the batch that it
 * will be in (1, 2, ... strictly growing). Never fails (reserve space with wal_has_room). A record
 * lies within one segment: a payload may have segment_size less 32 KiB, checked. */
uint64_t wal_append(struct wal *w, const struct wal_record *r);

/* Hands the open batch to the writer if the writer is idle or not; empty batches are nothing. When
 * several batches wait, the writer joins them into one write and one sync. */
void wal_submit(struct wal *w);

/* Number of this start of the log: higher than those of all starts before, and on disk. (A log that was
 * put back to an old copy counts from there.) */
uint64_t wal_run(const struct wal *w);

uint64_t wal_synced(const struct wal *w); /* the highest batch on disk */
bool wal_busy(const struct wal *w);       /* a batch is being written */

/* An accepted entry by group and slot, from memory or file (synced or not): the record with the
 * highest ballot for the slot. ERR_NOT_FOUND when truncated or never there; ERR_CORRUPT. Blocks
 * for a pread at most: for followers that lag. */
int wal_read(struct wal *w, uint32_t group, uint64_t slot, uint64_t *ballot, struct buf *payload);

/* Entries of @group with slot < @slot are not needed any more (an appended WAL_MARK makes it
 * durable, lazily). Frees and recycles segments that nobody needs; a lagging group's few live
 * records are rewritten, and synced before their segment is recycled. */
void wal_truncate(struct wal *w, uint32_t group, uint64_t slot);

/* Room for @bytes of payload beside what is reserved for decisions and truncation; the answer for
 * commands that add data is ERR_NOSPACE when false. Looks at the device's free space too. */
bool wal_has_room(struct wal *w, uint64_t bytes);

/* Could @bytes of payload be appended, reserve included? For what this node has no say in: entries
 * that a leader sends. False: they must be refused; appending them could end the process. */
bool wal_can_take(struct wal *w, uint64_t bytes);

struct wal_stats {
	uint64_t batches, records, bytes, syncs;
	uint64_t sync_ns_last, sync_ns_max; /* of the write + sync */
	uint64_t segments, bytes_live;
	uint64_t oldest_write_ns; /* age of the write in progress, 0 if none: gray-disk detection */
};
void wal_stats_get(struct wal *w, struct wal_stats *out);

#endif
