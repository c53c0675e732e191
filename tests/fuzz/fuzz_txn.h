/* Commands, messages and parts made of fuzz bytes: of the right shape, with few keys, clients and
 * groups, so that they meet. For the tsm targets. */
#ifndef PAXFS_TESTS_FUZZ_FUZZ_TXN_H
#define PAXFS_TESTS_FUZZ_FUZZ_TXN_H

#include "tests/fuzz/fuzz.h"
#include "txn/tsm_internal.h"

#define FUZZ_TXN_FOREIGN 1000u /* keys with this place or above belong to other groups */

/* A txn_mem_owns_fn: what group 0 owns. */
bool fuzz_txn_owns(void *ctx, struct slice key, struct slice to);

void fuzz_txn_part(struct fuzz_in *in, struct buf *out, bool writes);
void fuzz_txn_command(struct fuzz_in *in, struct buf *out); /* any kind */
void fuzz_txn_message(struct fuzz_in *in, struct buf *out);

#endif
