/* One group's state machine, by hand: entries are made of commands that a test writes, messages
 * are put in, outputs are kept to be looked at. A second machine executes the same entries and
 * is opened anew from its store before each: the two stores must be equal after every entry.
 *
 * Group 0 owns the keys of txf_key(0, ...); the machine is group 0. Its leader is the first
 * machine.
 */
#ifndef PAXFS_TESTS_LIB_TXN_HAND_H
#define PAXFS_TESTS_LIB_TXN_HAND_H

#include "tests/lib/check.h"
#include "tests/lib/txn_fixture.h"
#include "txn/tsm_internal.h"

#define TXH_OUTS_MAX 512u

struct txh_out {
	struct tsm_output out; /* out.bytes points into bytes */
	struct buf bytes;
};

struct txh {
	struct txn_mem *mem[2];
	struct tsm *tsm[2]; /* [0] leads; [1] is opened before each entry */
	struct tsm_config cfg;
	uint64_t slot, clock_ns, now_ns;
	struct txh_out outs[TXH_OUTS_MAX]; /* of [0], since txh_forget_outs */
	unsigned out_count;
	struct buf entry[64]; /* commands of the next entry */
	unsigned command_count;
	bool owns_nothing; /* the group has lost its keys */
	bool differs;
	bool unaudited; /* auditing reads the store */
};

void txh_open(struct txh *h);
void txh_close(struct txh *h);

/* A command for the next entry; emptied. */
void txh_add(struct txh *h, struct buf *command);
void txh_entry(struct txh *h);			   /* executes what was added */
void txh_apply(struct txh *h, struct buf *command); /* an entry of one */
void txh_restart(struct txh *h);		   /* the leader's machine, too: anew from its store */
void txh_message(struct txh *h, const struct message *m);
void txh_tick(struct txh *h, uint64_t after_ns);

void txh_forget_outs(struct txh *h);
/* The last output of the kind; messages: of that kind. NULL: none. */
const struct txh_out *txh_last(const struct txh *h, enum tsm_output_kind kind);
const struct txh_out *txh_last_message(const struct txh *h, enum message_kind kind,
				       struct message *m);
/* Status of the last reply to the request; 1: none. */
int txh_reply(const struct txh *h, uint64_t client, uint64_t sequence);

/* Commands. A mini-transaction's parts go to the groups of its keys (txf_key); group 0's first. */
struct txh_request {
	uint64_t client, sequence, mark, age, lock;
	bool lock_only;
};
struct buf txh_request(const struct txh_request *q, const struct txn_mini *m);
struct buf txh_prepare(struct txn_id id, uint32_t coordinator, uint64_t lock, bool lock_only,
		       const struct txn_mini *m);
struct buf txh_part(const struct txn_mini *m); /* the part of group 0 */
struct buf txh_decide(struct txn_id id, bool commit, uint64_t stamp);
struct buf txh_outcome(struct txn_id id, uint32_t coordinator, bool commit, uint64_t stamp);

#endif
