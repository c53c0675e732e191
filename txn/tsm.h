/* The transaction state machine of one group: executes the log's commands deterministically, keeps
 * locks, prepared transactions, waiting commands and replies (all in the store: memory is a cache),
 * and, while this replica leads, drives two-phase commit. Sans-I/O, single-threaded.
 *
 * A log entry's data is a batch: a sequence of enc_bytes(command). The driver executes an entry by
 * tsm_begin_entry, tsm_apply for each command, tsm_end_entry, all inside one engine batch, then
 * commits the batch, then carries out the outputs. Everything that happens on every replica is a
 * function of entries and store alone; outputs are acted upon by the leader only (the driver drops
 * them elsewhere), and may be lost: ticks make them again.
 */
#ifndef PAXFS_TXN_TSM_H
#define PAXFS_TXN_TSM_H

#include "txn/store.h"
#include "txn/txn.h"

struct tsm;

struct tsm_config {
	uint32_t group;
	struct txn_store *store;     /* borrowed */
	uint64_t read_wait_ns_max;   /* a local read waits this long for locks in leader memory; then
				      * it is proposed, and queues for S like any command */
	uint64_t lock_wait_ns_max;   /* backstop: a waiting command is CANCELled */
	uint64_t probe_after_ns;     /* first deadlock probe of a waiting command */
	uint64_t resend_ns;	     /* of PREPARE, vote, decision, until answered */
};
void tsm_config_default(struct tsm_config *c);

enum tsm_output_kind {
	TSM_PROPOSE, /* bytes: a command for this group's own log */
	TSM_SEND,    /* bytes: a message for the leader of `group` (give to its tsm_message) */
	TSM_REPLY,   /* client, sequence: bytes are the encoded reply of that request */
	TSM_READ_DONE, /* token: bytes are the encoded reply of that tsm_read */
};

struct tsm_output {
	enum tsm_output_kind kind;
	uint32_t group;
	uint64_t client, sequence, token;
	struct slice bytes; /* borrowed until the next call that may produce outputs */
};

int tsm_open(const struct tsm_config *cfg, struct tsm **out); /* ERR_CORRUPT, ERR_NOMEM, ERR_IO */
void tsm_close(struct tsm *t);				      /* takes NULL */

/* ---- requests from clients, in their wire form ---- */

/* A request of one mini-transaction: made by the client with tsm_request_encode, proposed by the
 * leader as it is (it is the command), with 1 part: executed in this group; with several: this
 * group, owner of the home key, coordinates. */
struct tsm_request {
	uint64_t client, sequence; /* the transaction id. client 0: anonymous, one part, executed
				    * without a reply record: reads, and what may run twice (the
				    * node's own ADD that issues client ids); the reply goes out
				    * with client 0 and `sequence`, which the driver makes unique */
	uint64_t mark;		   /* replies of sequences <= mark may be forgotten */
	uint64_t age;		   /* stamp of the first attempt: older wins in a deadlock */
	struct slice home;	   /* home key, fixed at first send */
	const struct txn_part *parts;
	uint32_t part_count;	   /* parts[0] is the coordinator's own */
	bool lock_only; /* LOCK: check and change nothing, hold the locks that the parts would need
			 * until this client's request with lock = this sequence is decided, or
			 * CANCEL of this id, or CLOSE */
	uint64_t lock;	/* sequence of this client's lock transaction, of the same coordinator group:
			 * its locks do not bar this request, and end with it. 0: none. When it is
			 * gone: ERR_CONDITION with failed = UINT32_MAX */
};
void tsm_request_encode(const struct tsm_request *q, struct buf *out);

/* Cheap checks before a command from a client is proposed (shape, sizes, kind: clients may send
 * only requests, and CANCELs and locks of their own id). ERR_PROTO, ERR_TOO_BIG. Fills the id, and
 * whether it adds data (to be refused with ERR_NOSPACE when the log is short of room). */
int tsm_request_check(struct slice command, uint64_t *client, uint64_t *sequence, bool *adds_data);

/* Is it a request of several parts (to be shown to tsm_request_proposed)? */
bool tsm_request_several(struct slice command);

/* A reply that the driver itself makes for a request (ERR_NOT_LEADER, ERR_NOSPACE, ...). */
void tsm_reply_encode_error(struct buf *out, int err);

/* ---- execution ---- */

void tsm_begin_entry(struct tsm *t, uint64_t slot, uint64_t clock_ns);
/* 0, or ERR_CORRUPT / ERR_IO from the store: the replica must stop. A malformed command is executed
 * as nothing, identically on every replica. */
int tsm_apply(struct tsm *t, struct slice command);
int tsm_end_entry(struct tsm *t); /* writes the clock and what else is dirty */

/* ---- leadership and time (leader's memory, not replicated) ---- */

/* The leader's time, for what the calls without one arm; optional, before any call. */
void tsm_set_time(struct tsm *t, uint64_t now_ns);
void tsm_set_leading(struct tsm *t, bool leading, uint64_t now_ns); /* rebuilds from the store */
void tsm_tick(struct tsm *t, uint64_t now_ns);
uint64_t tsm_next_deadline(const struct tsm *t); /* mono ns; UINT64_MAX: none */
int tsm_message(struct tsm *t, struct slice bytes, uint64_t now_ns); /* ERR_PROTO */

/* The leader has proposed @command. If it is a request of several parts, the PREPAREs leave now, while
 * the coordinator's own log write is under way: two rounds to the answer instead of three. Others are
 * ignored. */
void tsm_request_proposed(struct tsm *t, struct slice command, uint64_t now_ns);

/* A local, linearizable read (the driver has established lease or read index and applied slot): one
 * part with conditions and reads only. Answers by TSM_READ_DONE with @token: at once, or when
 * conflicting locks (X, I) are gone, or ERR_NOT_LEADER when leadership ends; after read_wait_ns_max
 * the read goes on as a command of the log, which may also end in ERR_BUSY or ERR_ABORTED. */
void tsm_read(struct tsm *t, uint64_t token, struct slice part, uint64_t now_ns);

/* Not 0: what is stored could not be read. The machine must stop, and what it put out since the last
 * look is not to be believed. tsm_end_entry() says it too; reads and ticks have only this. */
int tsm_failed(const struct tsm *t);

/* Takes the next output; false when there is none. */
bool tsm_output_next(struct tsm *t, struct tsm_output *out);

/* ---- commands that are not client requests ---- */

/* CLOSE(client): in meta and every group that it used; refuses it for good. CANCEL(id). FLOOR: ids
 * below are closed and their state may go. */
void tsm_command_close(struct buf *out, uint64_t client);
void tsm_command_cancel(struct buf *out, uint64_t client, uint64_t sequence, int why);
void tsm_command_floor(struct buf *out, uint64_t lowest_live);

struct tsm_stats {
	uint64_t commands, commits, aborts, conflicts, deadlocks, waits;
	uint64_t prepared, waiting, locks, replies, reads_waiting;
};
void tsm_stats_get(const struct tsm *t, struct tsm_stats *out);

/* Lists locks and in-doubt transactions for operators and fsck: fn per line. */
void tsm_describe(const struct tsm *t, void (*fn)(void *ctx, const char *line), void *ctx);

/* Aborts when an invariant is broken (tests, simulator). */
void tsm_audit(const struct tsm *t);

#endif
