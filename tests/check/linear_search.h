/* The search for an order of one key's operations. Shared by linear.c and its search only. */
#ifndef PAXFS_TESTS_CHECK_LINEAR_SEARCH_H
#define PAXFS_TESTS_CHECK_LINEAR_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/check/history.h"
#include "tests/check/linear.h"

#define LINEAR_NONE	UINT32_MAX
#define LINEAR_SHOWN	12 /* operations of an order, and pending ones, in a report */

struct linear_op {
	const struct history_op *op;
	uint64_t invoke_ns;
	uint64_t done_ns;	 /* HISTORY_NEVER: it may never have happened */
	uint32_t prev, next;	       /* in the list of those not taken, by invoke_ns */
	uint32_t done_prev, done_next; /* the same by done_ns; definite ones only */
	uint32_t finds;	      /* name of the value that it must find, being definite; or LINEAR_NONE */
	uint32_t leaves;      /* name of the value that it leaves when it changes it; or LINEAR_NONE */
	uint32_t same;	      /* of a maybe: an equal one called before, or LINEAR_NONE */
	uint32_t maybe_index; /* 0, 1, ... among the maybes */
	bool maybe;    /* outcome unknown */
	bool unnamed;  /* leaves a value without a name: nobody read it or compared with it */
	bool unseen;   /* overwrites, unnamed, and nobody can have found just any other value */
	bool taken;
};

/* The order that was found. */
struct linear_order {
	uint32_t last[LINEAR_SHOWN]; /* its last operations */
	size_t last_count, count;
};

/* The operations of one key. The last two of the array are the heads of the rings: definite ones,
 * maybes. */
struct linear_key {
	struct linear_op *ops; /* by invoke_ns */
	uint32_t count;
	uint32_t names;		/* values that some operation read or compared with */
	uint32_t absent_name;	/* of HISTORY_ABSENT, or LINEAR_NONE */
	uint64_t unnamed_value; /* stands for all that unnamed ones leave */
	struct linear_order order;
};

enum linear_answer { LINEAR_YES, LINEAR_NO, LINEAR_GAVE_UP };

/* @k: ops[0..count-1] with all fields but the rings, maybe_index and taken filled in; room for two more
 * behind them. On LINEAR_YES, k->order and ops[].taken tell an order. */
enum linear_answer linear_search(struct linear_key *k, const struct linear_limits *limits);

/* Whether @op reads the value that it finds. */
bool linear_observes(const struct history_op *op);

/* Whether @op can happen when the value is *@value; then *@value is that afterwards. */
bool linear_apply(const struct history_op *op, uint64_t *value);

#endif
