/* A struct txn_store in memory: one ordered tree for all tables, with a batch that can be undone.
 *
 * Every write wants an open batch. A hash of the contents, kept up with each write, makes comparing
 * replicas cheap. */
#ifndef PAXFS_TESTS_LIB_TXN_STORE_MEM_H
#define PAXFS_TESTS_LIB_TXN_STORE_MEM_H

#include <stdio.h>

#include "txn/store.h"

struct txn_mem;

typedef bool txn_mem_owns_fn(void *ctx, struct slice key, struct slice to);

struct txn_mem *txn_mem_new(void);
void txn_mem_free(struct txn_mem *m); /* takes NULL */
struct txn_store *txn_mem_store(struct txn_mem *m); /* lives as long as @m */
void txn_mem_set_owner(struct txn_mem *m, txn_mem_owns_fn *owns, void *ctx); /* default: all */

void txn_mem_begin(struct txn_mem *m);
void txn_mem_commit(struct txn_mem *m);
void txn_mem_discard(struct txn_mem *m); /* as if the batch had never begun */

/* The n-th get or scan from now fails with @err (1: the next); 0 turns it off. */
void txn_mem_fail_nth(struct txn_mem *m, unsigned long n, int err);

uint64_t txn_mem_hash(const struct txn_mem *m);
bool txn_mem_equal(const struct txn_mem *a, const struct txn_mem *b); /* byte by byte */
size_t txn_mem_count(const struct txn_mem *m, enum txn_table t);
void txn_mem_copy(struct txn_mem *to, const struct txn_mem *from); /* replaces all of @to */
void txn_mem_dump(const struct txn_mem *m, FILE *out);

/* A user record as the state machine stores it. ERR_NOT_FOUND; the others may be NULL. */
int txn_mem_record(struct txn_mem *m, struct slice key, struct buf *value, uint64_t *version,
		   uint64_t *stamp);

#endif
