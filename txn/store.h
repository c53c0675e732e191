/* What the transaction state machine needs from below: ordered tables with an open batch. kv/
 * implements it on its engine; tests on a tree. Reads see the writes of the open batch. */
#ifndef PAXFS_TXN_STORE_H
#define PAXFS_TXN_STORE_H

#include "base/buf.h"

enum txn_table {
	TXN_TABLE_DATA,	 /* user keys; value = version be64 | timestamp be64 | bytes */
	TXN_TABLE_TXN,	 /* T: prepared transactions, outcomes */
	TXN_TABLE_QUEUE, /* Q: waiting commands in order, with their bodies */
	TXN_TABLE_REPLY, /* R: replies by client and sequence; client marks */
	TXN_TABLE_STATE, /* the group's clock and the like; keys begin with 't' */
};

struct txn_store {
	/* 0, ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO */
	int (*get)(struct txn_store *s, enum txn_table t, struct slice key, struct buf *out);
	void (*put)(struct txn_store *s, enum txn_table t, struct slice key, struct slice value);
	void (*del)(struct txn_store *s, enum txn_table t, struct slice key);
	/* Calls fn for each key of [from, to) in order until it returns false; an empty @to is "to
	 * the end". fn must not write. */
	int (*scan)(struct txn_store *s, enum txn_table t, struct slice from, struct slice to,
		    bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx);
	/* Does this group own all of [key, to) (just @key when @to is empty), by its replicated
	 * state? */
	bool (*owns)(struct txn_store *s, struct slice key, struct slice to);
};

#endif
