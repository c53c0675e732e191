/* The wire form of one group's part of a mini-transaction (a txn_part's body).
 *
 *     flags conds reads muts | cond... | read... | mut...
 *     cond: kind index key ...   read: kind index ...   mut: kind index key ...
 *
 * where `index` is the item's place in the whole mini-transaction, and what follows depends on the kind
 * (mini_codec.c). Only decoded parts that obey every limit reach the rest of txn/.
 */
#ifndef PAXFS_TXN_MINI_CODEC_H
#define PAXFS_TXN_MINI_CODEC_H

#include "txn/txn.h"

#define PART_WRITES    1u /* has mutations */
#define PART_ADDS_DATA 2u /* has mutations that may make data grow */
#define PART_FREES     4u /* has mutations that delete or shorten */

/* A decoded part. The arrays are kept from one decoding to the next; slices point into the body. */
struct part {
	uint32_t flags;
	struct txn_cond *conds;
	struct txn_read *reads;
	struct txn_mut *muts;
	uint32_t *cond_index, *read_index, *mut_index; /* places in the whole */
	uint32_t cond_count, read_count, mut_count;
	uint32_t cond_cap, read_cap, mut_cap;
};

void txn__part_release(struct part *p);
int txn__part_decode(struct part *p, struct slice body); /* ERR_PROTO */

/* Encoding, item by item, after the head. */
void txn__part_head(struct buf *b, uint32_t flags, uint32_t conds, uint32_t reads, uint32_t muts);
void txn__part_cond(struct buf *b, const struct txn_cond *c, uint32_t index);
void txn__part_read(struct buf *b, const struct txn_read *r, uint32_t index);
void txn__part_mut(struct buf *b, const struct txn_mut *u, uint32_t index);
uint32_t txn__mut_flags(const struct txn_mut *u);

#endif
