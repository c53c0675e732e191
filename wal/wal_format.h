/* Bytes of the log: segment headers and records. Pure functions; README.md has the tables. */
#ifndef PAXFS_WAL_WAL_FORMAT_H
#define PAXFS_WAL_WAL_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "wal/wal.h"

#define WAL_VERSION	  1u
#define WAL_HEADER_SLOT	  4096u /* bytes apart; a segment has two header slots */
#define WAL_HEADER_SIZE	  72u	/* bytes in use of a slot: within one sector */
#define WAL_DATA_START	  (2 * WAL_HEADER_SLOT)
#define WAL_SEAL_ROOM	  4096u /* kept free at a segment's end for the SEAL */
#define WAL_RECORD_HEADER 48u
#define WAL_RECORD_ALIGN  8u
#define WAL_NUMBER_MAX	  (UINT64_MAX / 2) /* of batches and generations: they only grow */

/* Record types of the log's own, beside enum wal_type. */
#define WAL_START   16u /* first record of a segment: generations that the files have */
#define WAL_SEAL    17u /* last record of a segment: where its records end, which one follows */
#define WAL_CONFIRM 18u /* empty: proves that the batch before it was synced */

#define WAL_FLAG_LAST 1u /* last record of its batch */

#define WAL_START_ITEM	 12u /* u32 file number, u64 generation */
#define WAL_SEAL_PAYLOAD 16u

struct wal_frame {
	uint64_t generation, batch;
	uint8_t type, flags;
	uint32_t group;
	uint64_t ballot, slot;
	struct slice payload;
};

static inline uint32_t wal__align(uint32_t v, uint32_t to)
{
	return (v + to - 1) & ~(to - 1);
}

/* Bytes that a record with @len payload bytes takes, with its padding. */
static inline uint32_t wal__record_size(uint32_t len)
{
	return wal__align(WAL_RECORD_HEADER + len, WAL_RECORD_ALIGN);
}

/* Writes wal__record_size() bytes: all but the CRC, which wal__record_finish() adds. */
void wal__record_put(uint8_t *at, const struct wal_frame *f);
void wal__record_finish(uint8_t *at, uint32_t salt, bool last);
uint32_t wal__record_length(const uint8_t *at); /* payload length of a record put before */

/* The bytes of a segment as they were read. */
struct wal_image {
	const uint8_t *data;
	uint32_t size;
	uint64_t generation;
	uint32_t salt;
	uint32_t block;
};

/* True with the record at @pos when there is a whole and right one of this generation; its payload
 * points into the image. */
bool wal__record_get(const struct wal_image *image, uint32_t pos, struct wal_frame *out);

struct wal_seal {
	uint32_t next_number;
	uint64_t next_generation;
	uint32_t end; /* records of the segment end here */
};

void wal__seal_put(uint8_t out[WAL_SEAL_PAYLOAD], const struct wal_seal *s);
bool wal__seal_get(const struct wal_frame *f, struct wal_seal *out);

struct wal_header {
	uint64_t generation;
	uint32_t salt;	 /* starts every CRC of this generation */
	uint32_t number; /* of the file */
	uint32_t size;
	uint32_t block; /* batches start at multiples */

	/* Facts at the time of writing, which must still hold at any later open. */
	uint64_t synced;	    /* the batch of this number was on disk */
	uint64_t used;		    /* batch numbers up to here had been given out */
	uint32_t active_number;	    /* 0, or a file ... */
	uint64_t active_generation; /* ... that had at least this generation */
};

enum wal_header_state {
	WAL_HEADER_OK,
	WAL_HEADER_NONE,    /* zeros, torn or damaged */
	WAL_HEADER_VERSION, /* right, but of another format version */
};

void wal__header_put(uint8_t out[WAL_HEADER_SLOT], const struct wal_header *h);
enum wal_header_state wal__header_get(const uint8_t in[WAL_HEADER_SIZE], struct wal_header *out);

#endif
