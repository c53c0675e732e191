/* A log on a fault device, looked at from below: which records lie where, and what a start makes of
 * the files after something was done to them. Entries are of group 1, slot n is the n-th. */
#ifndef PAXFS_TESTS_LIB_WAL_DISK_H
#define PAXFS_TESTS_LIB_WAL_DISK_H

#include <stdbool.h>

#include "tests/lib/wal_fault.h"
#include "wal/wal_format.h"

#define WAL_DISK_SLOTS	 1024u
#define WAL_DISK_SEGMENT (32u * 1024u)

struct wal_disk {
	struct wal_fault *fault;
	struct wal_config cfg;
	struct wal *wal;	      /* NULL while closed */
	uint64_t slots;		      /* appended so far */
	bool seen[WAL_DISK_SLOTS + 1]; /* at the last start */
	unsigned seen_count;
	struct msg msg; /* of the last start */
};

void wal_disk_init(struct wal_disk *d, uint64_t seed);
void wal_disk_release(struct wal_disk *d);
int wal_disk_open(struct wal_disk *d); /* the result of wal_open */
void wal_disk_close(struct wal_disk *d);
void wal_disk_crash(struct wal_disk *d); /* closes without a trace */

/* Appends @count entries of @len bytes as one batch and syncs them. */
void wal_disk_batch(struct wal_disk *d, unsigned count, size_t len);

/* A mark: entries below @slot are not needed. Synced. */
void wal_disk_truncate(struct wal_disk *d, uint64_t slot);

/* Replaces the files by those of @from. */
void wal_disk_restore(struct wal_disk *d, const struct wal_fault *from);
bool wal_disk_same(struct wal_fault *a, struct wal_fault *b); /* the same files, byte by byte */

/* A record where it lies. */
struct wal_disk_record {
	uint32_t file; /* index on the device */
	uint32_t at, size;
	uint32_t len; /* of the payload */
	uint64_t batch;
	uint8_t type;
	uint64_t slot;
};

/* All records of all segments in log order, SEALs too; mallocs *@out. */
size_t wal_disk_records(struct wal_fault *f, struct wal_disk_record **out);

/* The newest header of a file, and in which of its two slots it is (-1: it has none). */
int wal_disk_header(struct wal_fault *f, uint32_t file, struct wal_header *out);

#endif
