/* What clients did and saw: the record that the checkers judge. See README.md for the text form.
 *
 *     struct history h;
 *     history_init(&h);
 *     size_t id = history_invoke(&h, now, &(struct history_op){
 *             .client = 3, .kind = HISTORY_CAS, .key = 7, .arg = 1, .arg2 = 2});
 *     ...
 *     history_return(&h, id, now, HISTORY_OK, &(struct history_result){.value = swapped});
 *
 * Order in real time: operation a came before b if a.return_ns < b.invoke_ns. Equal times are
 * concurrent. No clock is read here: times are the caller's, of one clock for all clients.
 */
#ifndef PAXFS_TESTS_CHECK_HISTORY_H
#define PAXFS_TESTS_CHECK_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/msg.h"

#define HISTORY_NEVER  UINT64_MAX /* return_ns of what never returned */
#define HISTORY_ABSENT UINT64_MAX /* register value: no such key */
#define HISTORY_UNTOLD UINT64_MAX /* result of a delete that does not say whether there was a key */

enum history_kind {	/* who judges it    arguments		      result when OK */
	HISTORY_READ,	/* linear	    key			      value or HISTORY_ABSENT */
	HISTORY_WRITE,	/* linear	    key, arg = value	      - */
	HISTORY_CAS,	/* linear	    key, arg -> arg2	      1 swapped, 0 not (another value) */
	HISTORY_DELETE, /* linear	    key			      1 was there, 0 not, _UNTOLD */
	HISTORY_TXN,	/* serial	    mops		      mops with the lists read */
	HISTORY_ADD,	/* counter	    key, arg = how much	      - */
	HISTORY_GET,	/* counter	    key			      the sum */
	HISTORY_INSERT, /* setcheck	    key = set, arg = element  - */
	HISTORY_MEMBERS,  /* setcheck	    key = set		      list: elements in any order */
	HISTORY_BALANCES, /* bank	    -			      list: [account] = int64_t */
	HISTORY_KINDS
};

enum history_outcome {
	HISTORY_OK,
	HISTORY_FAILED,	 /* surely had no effect, and will have none */
	HISTORY_UNKNOWN, /* may have happened, may happen later, or never */
};

/* One step of a transaction: append @value to the list @key, or read the list. In one history, each
 * value is appended to a key at most once. */
struct history_mop {
	bool append;
	uint64_t key;
	uint64_t value;	      /* appended */
	const uint64_t *list; /* read; borrowed by the calls below, owned by the history inside */
	size_t count;
};

struct history_op {
	uint64_t invoke_ns;
	uint64_t return_ns; /* HISTORY_NEVER: not yet */
	uint32_t client;
	enum history_kind kind;
	enum history_outcome outcome; /* HISTORY_UNKNOWN until it returned */
	uint64_t key, arg, arg2;
	uint64_t result;
	const struct history_mop *mops;
	size_t mop_count;
	const uint64_t *list;
	size_t list_count;
};

struct history_result {
	uint64_t value;	      /* of READ, CAS, DELETE, GET */
	const uint64_t *list; /* of MEMBERS, BALANCES; copied */
	size_t list_count;
	const struct history_mop *mops; /* of TXN: all its steps, with what was read; copied. NULL: */
	size_t mop_count;		/* those of the invocation stay (not if OK and one reads) */
};

struct history {
	struct history_op *ops;
	size_t count, cap;
	bool has_bank; /* history_bank() was called */
	bool bank_negative_ok;
	uint64_t bank_accounts;
	int64_t bank_total;
};

void history_init(struct history *h);
void history_release(struct history *h);

/* Notes that @op begins at @now; its times, outcome and result are ignored, all it points to is
 * copied. Until it returns it counts as UNKNOWN. Returns its id, an index into h->ops. */
size_t history_invoke(struct history *h, uint64_t now, const struct history_op *op);

/* Notes that operation @id ended at @now, not before it began. @res may be NULL when there is no
 * result. */
void history_return(struct history *h, size_t id, uint64_t now, enum history_outcome outcome,
		    const struct history_result *res);

/* The rules of the bank: accounts 0..@accounts-1 hold @total together at any time. */
void history_bank(struct history *h, uint64_t accounts, int64_t total, bool negative_ok);

/* When @op had surely taken effect, if it did: HISTORY_NEVER unless it is OK. */
static inline uint64_t history_done_ns(const struct history_op *op)
{
	return op->outcome == HISTORY_OK ? op->return_ns : HISTORY_NEVER;
}

/* ---- text ---- */

/* Reads a file and adds its operations to @h; several files (one per process) make one history.
 * 0, or ERR_PROTO with "line N: what" in @m (@h has what stood before), or ERR_IO. */
int history_read(struct history *h, FILE *f, struct msg *m);

/* Writes all of @h. 0 or ERR_IO. */
int history_write(const struct history *h, FILE *f);

/* Streaming: a line per event, flushed before the call returns, so that a process that is killed
 * leaves all that it had begun. One writer per file; write the invocation before the request leaves.
 * Zero or ERR_IO; history_stream_open writes the first line. @f is borrowed. */
struct history_stream {
	FILE *f;
	uint64_t next_id;
};

int history_stream_open(struct history_stream *s, FILE *f);
int history_stream_bank(struct history_stream *s, uint64_t accounts, int64_t total,
			bool negative_ok);
int history_stream_invoke(struct history_stream *s, uint64_t now, const struct history_op *op,
			  uint64_t *id);
/* @kind: that of operation @id. */
int history_stream_return(struct history_stream *s, uint64_t id, uint64_t now,
			  enum history_kind kind, enum history_outcome outcome,
			  const struct history_result *res);

/* One operation for people: "client 3 [100, 250] cas 7 1 2 -> ok 1", long lists abridged, cut to @size.
 * Returns @text. */
const char *history_op_text(const struct history_op *op, char *text, size_t size);

#endif
