/* An executor over a store in memory, for the client half of transactions: it knows the conditions,
 * reads and mutations that interactive transactions use, and counts what it is asked for. */
#ifndef PAXFS_TESTS_LIB_TXN_EXECUTOR_MEM_H
#define PAXFS_TESTS_LIB_TXN_EXECUTOR_MEM_H

#include "tests/lib/txn_store_mem.h"
#include "txn/txn.h"

struct txn_mem_executor {
	struct txn_executor x; /* with locks; a test may take them away */
	struct txn_mem *mem;
	uint64_t stamp; /* the last one given */
	unsigned execs, commits, locks, locked_execs, unlocks;
	int fail;		     /* what the next exec or lock returns, once */
	uint32_t page;		     /* items of a scan at most */
	void (*before_commit)(void); /* called once */
	struct buf lock_body;	     /* the part that the last lock was asked for */
};

void txn_mem_executor_init(struct txn_mem_executor *e);
void txn_mem_executor_release(struct txn_mem_executor *e);

/* As somebody else does. */
void txn_mem_executor_put(struct txn_mem_executor *e, struct slice key, struct slice value);
void txn_mem_executor_delete(struct txn_mem_executor *e, struct slice key);

/* 0: absent */
uint64_t txn_mem_executor_version(struct txn_mem_executor *e, struct slice key);

#endif
