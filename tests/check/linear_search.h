/* The search for an order of one key's operations. Shared by linear.c and its search only. */
#ifndef PAXFS_TESTS_CHECK_LINEAR_SEARCH_H
#define PAXFS_TESTS_CHECK_LINEAR_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/check/history.h"
#include "tests/check/linear.h"

#define LINEAR_NONE	UINT32_MAX
#define LINEAR_SHOWN	12 /* operations of the order found, and pending ones, in a report */

struct linear_hash {
	uint64_t a, b;
};

struct linear_op {
	const struct history_op *op;
	uint64_t invoke_ns;
	uint64_t done_ns;	 /* HISTORY_NEVER: it may never have happened */
	struct linear_hash hash; /* its share in the hash of a set */
	uint32_t prev, next;	 /* in the list of those not taken, by invoke_ns */
	uint32_t done_prev, done_next; /* the same by done_ns; definite ones only */
	uint32_t done_rank;
	uint32_t same; /* of a maybe: an equal one called before, or LINEAR_NONE */
	bool maybe;    /* outcome unknown */
	bool unseen;   /* overwrites, and nobody can have seen what with */
	bool taken;
};

/* Where the search came furthest. */
struct linear_stuck {
	uint32_t blocked; /* the operation whose return could not be passed; LINEAR_NONE: nowhere */
	uint64_t value;
	uint32_t last[LINEAR_SHOWN]; /* taken last, in order */
	size_t last_count, taken;
	uint32_t pending[LINEAR_SHOWN];
	size_t pending_count;
};

/* The operations of one key. The last two of the array are the heads of the rings: definite ones,
 * maybes. */
struct linear_key {
	uint64_t key;
	struct linear_op *ops; /* by invoke_ns */
	uint32_t count;
	uint64_t unseen_value; /* stands for all that unseen ones leave; nobody compares with it */
	struct linear_stuck stuck;
};

enum linear_answer { LINEAR_YES, LINEAR_NO, LINEAR_GAVE_UP };

/* @k: ops[0..count-1] with op, invoke_ns, done_ns, maybe, unseen and same filled in; room for two
 * more behind them. On LINEAR_NO, k->stuck says where. */
enum linear_answer linear_search(struct linear_key *k, const struct linear_limits *limits);

/* Whether @op reads the value that it finds. */
bool linear_observes(const struct history_op *op);

/* Whether @op can happen when the value is *@value; then *@value is that afterwards. */
bool linear_apply(const struct history_op *op, uint64_t *value);

#endif
