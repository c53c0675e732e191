/* What of the log is live, and where: per group its latest promise and mark, and by slot the entry
 * with the highest ballot. Owner thread only; does no I/O. 24 bytes an entry, in pages. */
#ifndef PAXFS_WAL_WAL_INDEX_H
#define PAXFS_WAL_WAL_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "wal/wal.h"

struct wal_place {
	uint32_t segment; /* file number; 0: nowhere */
	uint32_t offset;
	uint32_t length; /* of the payload */
};

struct wal_index {
	struct wal_index_group *groups; /* uthash */

	/* A record turns live (@live) or dead. */
	void (*count)(void *ctx, const struct wal_place *at, bool live);
	void *ctx;
};

void wal_index_init(struct wal_index *x, void (*count)(void *, const struct wal_place *, bool),
		    void *ctx);
void wal_index_release(struct wal_index *x);

/* Notes a record that was written (or will be) at @at. What it supersedes dies; a record that is
 * itself superseded never lives. A mark kills the entries below it. */
void wal_index_add(struct wal_index *x, const struct wal_record *r, const struct wal_place *at);

/* Whether the record at @at is the live one of its group, type and slot. */
bool wal_index_is_live(const struct wal_index *x, const struct wal_record *r,
		       const struct wal_place *at);

/* The entry of @slot. False when there is none at or above the group's mark. */
bool wal_index_find(const struct wal_index *x, uint32_t group, uint64_t slot, uint64_t *ballot,
		    struct wal_place *at);

/* The group's mark: entries below are not needed. 0 when none was set. */
uint64_t wal_index_mark(const struct wal_index *x, uint32_t group);

#endif
