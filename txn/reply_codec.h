/* The wire form of a result, as executed parts make it and clients merge it.
 *
 *     reply: status, then
 *       0              stamp item...
 *       ERR_CONDITION,
 *       a mutation's   failed current-status current-version current-value
 *       others         nothing
 *     item:  GET index status version value
 *            SCAN index (ITEM key version value ref-status ref-version ref-value)... MORE | DONE
 *            NUMBER index number
 *            SEEN stamp: of a read; changes when something changed that no version above shows
 *
 * Items of several parts stand one behind the other, in any order; so merging replies is appending.
 */
#ifndef PAXFS_TXN_REPLY_CODEC_H
#define PAXFS_TXN_REPLY_CODEC_H

#include "txn/txn.h"

enum reply_tag {
	REPLY_GET = 1,
	REPLY_SCAN,
	REPLY_NUMBER,
	REPLY_ITEM, /* inside of a scan; the next two end one */
	REPLY_ITEM_REF,
	REPLY_MORE,
	REPLY_DONE,
	REPLY_SEEN,
};

struct reply_value {
	int status;
	uint64_t version;
	struct slice value;
};

/* What stands before the items. */
struct reply_head {
	int status;
	uint64_t stamp;
	uint32_t failed;
	struct reply_value current;
};

bool txn__reply_names_item(int status); /* do `failed` and `current` follow? */
void txn__reply_head(struct buf *b, const struct reply_head *h);
void txn__reply_value(struct buf *b, const struct reply_value *v);
int txn__reply_decode_head(struct slice reply, struct reply_head *h, struct slice *items);

#endif
