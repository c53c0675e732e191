/* Walks the records of a segment and decides where they end: at a SEAL, at a torn tail, or at
 * damage. Pure. */
#ifndef PAXFS_WAL_WAL_SCAN_H
#define PAXFS_WAL_WAL_SCAN_H

#include "wal/wal_format.h"

enum wal_scan_result {
	WAL_SCAN_RECORD,
	WAL_SCAN_SEALED,  /* ends with a SEAL: see `seal` */
	WAL_SCAN_CUT,	  /* records end at `pos`, and nothing of a later batch is behind */
	WAL_SCAN_DAMAGED, /* bad at `pos`, and a record of a later batch is at `later` */
};

struct wal_scan {
	struct wal_image image;
	uint32_t pos;	 /* of the next record */
	uint64_t batch;	 /* of the last record; 0: none yet */
	uint64_t expect; /* the next batch; 0: unknown, but it is known to have been synced */
	bool inside;	 /* more records of `batch` must follow */
	struct wal_seal seal;
	uint64_t seal_batch;
	uint32_t later;
	bool torn; /* CUT: something of the batch that was cut is there */
};

/* @image is copied, its bytes are borrowed. @expect: the number of the first batch, or 0. */
void wal__scan_init(struct wal_scan *s, const struct wal_image *image, uint64_t expect);

/* RECORD: @out and @at are set, @out->payload points into the image. Others: the end. */
enum wal_scan_result wal__scan_next(struct wal_scan *s, struct wal_frame *out, uint32_t *at);

#endif
