/* Shared inside txn/ only: the transaction state machine's memory. All of it is a cache of the store,
 * rebuilt by tsm_open, except what is marked "leader". README.md has the protocol.
 *
 *   tsm.c              life, entries, outputs, time
 *   tsm_command.c      codecs of commands and messages
 *   tsm_execute.c      conditions, reads and mutations of one part
 *   tsm_locks.c        what a part locks, who holds it, who waits
 *   tsm_queue.c        waiting commands
 *   tsm_clients.c      marks, closed clients, replies
 *   tsm_request.c      requests, CANCEL, CLOSE, FLOOR
 *   tsm_participant.c  two-phase commit: PREPARE, OUTCOME, FORGET
 *   tsm_coordinator.c  two-phase commit: votes, DECIDE, END
 *   tsm_deadlock.c     probes
 *   tsm_reads.c        local reads
 *   tsm_load.c         rebuilding from the store
 *   tsm_audit.c        invariants, and lines for people
 */
#ifndef PAXFS_TXN_TSM_INTERNAL_H
#define PAXFS_TXN_TSM_INTERNAL_H

#include <uthash.h>
#include <bsd/sys/tree.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "txn/arena.h"
#include "txn/mini_codec.h"
#include "txn/reply_codec.h"
#include "txn/tsm.h"

#define TSM_LAZY_MAX	 64u /* ENDs and FORGETs that share a command */
#define TSM_PROBES_SEEN	 1024u /* probes that were passed on already and are remembered */
#define TSM_PROBE_HOPS	 32u
#define TSM_VOTE_SIZE_MAX (COMMAND_SIZE_MAX - 4096u) /* DECIDE carries the reply */
#define TSM_WAITING_BYTES_MAX (64ull * 1024 * 1024) /* parts in line; beyond it BUSY */
#define TSM_DELETED	 256u
#define TSM_LAZY_NS	 (20ull * 1000 * 1000)
#define TSM_READ_SEQ_BIT (1ull << 63) /* sequences of reads that this machine proposed itself */

struct txn_id {
	uint64_t client, sequence;
};

static inline struct txn_id txn_id_of(uint64_t client, uint64_t sequence)
{
	return (struct txn_id){.client = client, .sequence = sequence};
}

static inline bool txn_id_eq(struct txn_id a, struct txn_id b)
{
	return a.client == b.client && a.sequence == b.sequence;
}

/* ---- locks ---- */

enum lock_mode { LOCK_E, LOCK_S, LOCK_I, LOCK_X };

static inline bool lock_modes_compatible(enum lock_mode a, enum lock_mode b)
{
	if (a == LOCK_X || b == LOCK_X)
		return false;
	return a == b || a == LOCK_E || b == LOCK_E;
}

struct want { /* one lock that a part needs */
	struct slice key, to; /* to.len: a range */
	enum lock_mode mode;
	bool derived; /* by a reference, from a value: not waited in line for */
};

struct want_set {
	struct want *items;
	uint32_t count, cap;
	struct txn_arena_chunk *keys; /* of derived ones */
};

struct lock { /* of one transaction: held, or asked for by a waiting one */
	TAILQ_ENTRY(lock) link; /* of its point, or of the ranges */
	struct lock_point *point; /* NULL: a range */
	struct slice key, to;
	enum lock_mode mode;
	bool counted; /* among those who wait there: each transaction once */
	struct tx *owner;
};

TAILQ_HEAD(lock_list, lock);

struct lock_point {
	RB_ENTRY(lock_point) node;
	struct lock_list locks;
	uint32_t waiting;
	uint32_t key_len;
	uint8_t key[];
};

RB_HEAD(lock_points, lock_point);

/* ---- transactions in this group ---- */

enum tx_role {
	TX_SINGLE,	/* a request of one part */
	TX_COORDINATOR, /* own part of a transaction that this group coordinates */
	TX_PARTICIPANT, /* a part of another group's */
};

TAILQ_HEAD(tx_list, tx);
TAILQ_HEAD(readings, reading);

struct tx { /* a part that waits for its locks, or holds them (is prepared) */
	UT_hash_handle hh; /* by id, not for anonymous ones */
	TAILQ_ENTRY(tx) link; /* waiting ones, in the order of their places */
	struct txn_id id;
	uint64_t slot;
	uint32_t index; /* with slot: its place */
	enum tx_role role;
	bool waiting; /* else prepared */
	bool lock_only, writes;
	uint32_t coordinator;
	uint64_t age, stamp;
	uint64_t lock; /* sequence of the lock transaction whose locks do not bar it; 0: none */
	struct buf command; /* SINGLE: the request, PARTICIPANT: the PREPARE, COORDINATOR: empty */
	struct slice body;  /* points into the command of the tx or of its coord */
	struct buf vote;    /* prepared: the reply of its part */
	struct lock *locks;
	uint32_t lock_count;
	struct txn_arena_chunk *lock_keys;
	struct tx *blocker; /* waiting: one that bars it. A note, see README */
	bool candidate;	    /* waiting: to be examined */
	TAILQ_ENTRY(tx) note; /* of blocker->barred or of the candidates, in their order */
	struct tx_list barred; /* those with this one as their blocker */
	struct readings barred_reads; /* leader: likewise */
	bool by_reference;  /* and that only by where a reference leads: data may change that */

	/* leader */
	uint64_t due_ns;   /* waiting: next probe; prepared participant: next ASK. 0: not armed */
	uint64_t since_ns; /* waiting: since when */
	uint32_t tries;
};

/* ---- two-phase commit ---- */

enum coord_state {
	COORD_PROPOSED, /* leader only: PREPAREs have left, the request is not executed yet */
	COORD_PREPARING,
	COORD_LOCKED,	 /* a lock transaction, granted */
	COORD_COMMITTED, /* decided; writers have not all acknowledged */
};

struct part_ref {
	uint32_t group;
	bool writes;
	struct slice body; /* in the command */
	/* leader */
	bool voted, acked;
	struct buf reply;
};

struct coord {
	UT_hash_handle hh;
	struct txn_id id;
	enum coord_state state;
	struct buf command; /* the request */
	uint64_t age, lock;
	bool lock_only;
	struct slice home;
	struct part_ref *parts; /* [0] is this group's own */
	uint32_t part_count;
	struct tx *own;	 /* NULL once decided */
	uint64_t stamp; /* of the commit */

	/* leader */
	bool deciding; /* DECIDE is on its way through the log */
	bool ending;
	uint64_t due_ns;
	uint32_t tries;
};

struct outcome { /* of a participant that wrote: committed; kept until the coordinator says END */
	UT_hash_handle hh;
	struct txn_id id;
	uint32_t coordinator;
	bool ending;	 /* leader: its FORGET is on its way */
	uint64_t due_ns; /* leader: next ACK; 0: not armed */
	uint32_t tries;
};

/* ---- clients ---- */

struct kept_reply {
	RB_ENTRY(kept_reply) node;
	uint64_t sequence;
};

RB_HEAD(kept_replies, kept_reply);

struct client {
	UT_hash_handle hh;
	uint64_t id, mark;
	bool closed;
	struct kept_replies replies;
	uint32_t reply_count;
};

/* ---- local reads ---- */

struct reading {
	UT_hash_handle hh; /* by sequence, once proposed */
	TAILQ_ENTRY(reading) link;
	TAILQ_ENTRY(reading) note; /* of blocker->barred_reads, or of those to be tried */
	uint64_t token;
	struct buf part;
	struct tx *blocker; /* one that bars it; NULL: try it */
	uint64_t due_ns;    /* when to propose it, again */
	uint64_t sequence; /* as proposed; 0: not yet */
};

/* ---- the machine ---- */

struct out_item {
	STAILQ_ENTRY(out_item) link;
	struct tsm_output out;
	struct buf bytes;
};

struct lazy { /* ids that wait to be put into one command */
	struct txn_id ids[TSM_LAZY_MAX];
	uint32_t count;
	uint64_t due_ns;
};

struct overlay_node;
RB_HEAD(overlay, overlay_node);

struct tsm {
	struct tsm_config cfg;

	/* the entry that is being executed */
	uint64_t slot, entry_clock;
	uint32_t index;
	bool in_entry;
	int err; /* of the store: sticky, the replica must stop */

	/* replicated, and in the store */
	uint64_t last; /* the group's clock: largest stamp given */
	bool last_dirty;
	uint64_t floor; /* client ids below are closed */
	struct tx *txs;
	struct tx_list waiting, candidates;
	struct coord *coords;
	struct outcome *outcomes;
	struct client *clients;
	struct lock_points points;
	struct lock_list ranges;
	uint32_t ranges_waiting;
	uint32_t waiting_count, prepared_count, lock_count, reply_count;
	uint64_t waiting_bytes; /* of the parts in line */
	bool any_by_reference; /* some who wait may be barred only by_reference */

	/* Stamps of the last deletions, or later ones (each replica's own bounds): of all, and by what
	 * the keys begin with. */
	uint64_t deleted, deleted_near[TSM_DELETED];

	/* leader */
	bool leading;
	uint64_t now_ns, deadline_ns;
	struct readings readings, readings_free; /* all; those to be tried */
	struct reading *readings_proposed;
	uint32_t reading_count;
	uint64_t read_sequence, probe_serial;
	uint64_t probes_seen[TSM_PROBES_SEEN]; /* hashes of probe and transaction */
	struct lazy ends, forgets;

	/* scratch */
	struct part part;
	struct want_set wants;
	bool by_reference; /* of the last txn__blocker */
	struct buf value, reply, enc, store_key;
	struct overlay overlay;
	uint64_t seen; /* of the last evaluation, see txn__evaluate_read */

	STAILQ_HEAD(, out_item) outs;
	struct out_item *taken; /* the one that the driver looks at */
	struct tsm_stats stats;
};

/* ---- tsm_command.c ---- */

enum command_kind {
	CMD_REQUEST = 1,
	CMD_CANCEL,
	CMD_CLOSE,
	CMD_FLOOR,
	CMD_PREPARE,
	CMD_OUTCOME,
	CMD_FORGET,
	CMD_DECIDE,
	CMD_END,
	CMD_DROP, /* a waiting anonymous request, by its place */
	CMD_OWN,  /* only in the queue: the own part of a transaction that is coordinated here */
	CMD_LAST = CMD_OWN,
};

struct request_part {
	uint32_t group;
	bool writes;
	struct slice body;
};

struct command { /* decoded; which fields count depends on the kind */
	enum command_kind kind;
	struct txn_id id;
	bool lock_only, commit;
	uint64_t mark, age, lock, stamp, number;
	uint32_t coordinator, index, notify; /* notify: group + 1; 0: nobody */
	int why;
	struct slice home, body; /* body: PREPARE's part, DECIDE's reply */
	struct request_part parts[TXN_GROUPS_MAX];
	uint32_t part_count;
	struct txn_id ids[TSM_LAZY_MAX];
	uint32_t id_count;
};

int txn__command_decode(struct slice bytes, struct command *c); /* ERR_PROTO */
int txn__command_kind(struct slice bytes);			/* 0 when malformed */
void txn__enc_prepare(struct buf *b, const struct command *c);
void txn__enc_outcome(struct buf *b, struct txn_id id, bool commit, uint64_t stamp,
		      uint32_t coordinator);
void txn__enc_ids(struct buf *b, enum command_kind kind, const struct lazy *l);
void txn__enc_decide(struct buf *b, struct txn_id id, bool commit, uint64_t stamp,
		     struct slice reply);
void txn__enc_cancel(struct buf *b, struct txn_id id, int why, uint32_t notify);
void txn__enc_drop(struct buf *b, uint64_t slot, uint32_t index);
void txn__enc_own(struct buf *b, struct txn_id id);

enum message_kind {
	MSG_PREPARE = 1,
	MSG_VOTE,
	MSG_DECISION,
	MSG_ACK,
	MSG_END,
	MSG_ASK,
	MSG_PROBE,     /* to the coordinator of `id` */
	MSG_PROBE_ON,  /* to a participant of `id` that has not voted */
	MSG_CANCEL,    /* to the coordinator of `id`: it is the victim */
	MSG_LAST = MSG_CANCEL,
};

struct probe {
	struct txn_id initiator;
	uint32_t initiator_group; /* its coordinator */
	uint64_t initiator_lock, serial;
	uint32_t hops;
	struct txn_id victim; /* the youngest so far */
	uint64_t victim_age;
	uint32_t victim_group;
};

struct message {
	enum message_kind kind;
	uint32_t from;
	struct txn_id id;
	bool commit, lock_only;
	uint64_t stamp, age, lock;
	int why;
	struct slice body; /* PREPARE: the part, VOTE: the reply */
	struct probe probe;
};

void txn__enc_message(struct buf *b, const struct message *m);
int txn__message_decode(struct slice bytes, struct message *m); /* ERR_PROTO */

/* ---- tsm.c ---- */
uint64_t txn__stamp_next(struct tsm *t);
void txn__stamp_raise(struct tsm *t, uint64_t stamp);
void txn__fail(struct tsm *t, int err); /* the store failed */
/* Outputs; @b is emptied. Those of a leader are dropped when this replica does not lead. */
void txn__propose(struct tsm *t, struct buf *b);
void txn__send(struct tsm *t, uint32_t group, const struct message *m);
void txn__reply(struct tsm *t, struct txn_id id, struct slice reply);
void txn__read_done(struct tsm *t, uint64_t token, struct slice reply);
void txn__arm(struct tsm *t, uint64_t *due_ns, uint64_t after_ns);
void txn__look_soon(struct tsm *t);
static inline bool txn__due(struct tsm *t, uint64_t due_ns)
{
	return due_ns <= t->now_ns;
}

/* Keys of the machine's own tables, in t->store_key. */
struct slice txn__key_id(struct tsm *t, char kind, struct txn_id id);
struct slice txn__key_u64(struct tsm *t, char kind, uint64_t v);
struct slice txn__key_place(struct tsm *t, uint64_t slot, uint32_t index);
void txn__store_put(struct tsm *t, enum txn_table table, struct slice key, struct slice value);
void txn__store_del(struct tsm *t, enum txn_table table, struct slice key);

/* ---- tsm_execute.c ---- */
/* Does this group own every key of t->part? */
bool txn__part_owned(struct tsm *t);
/* Checks the conditions of t->part, does its reads, tries its mutations. Leaves the part's reply in
 * t->reply (with @stamp if it writes), and the changes in t->overlay. Returns its status. */
int txn__evaluate(struct tsm *t, uint64_t stamp);
/* The same for a part of several: what no DECIDE could hold is ERR_TOO_BIG. */
int txn__evaluate_vote(struct tsm *t, uint64_t stamp);
void txn__deleted_load(struct tsm *t); /* after t->last */
/* As txn__evaluate, of a part that only reads; the reply ends with what was SEEN. Never to be stored. */
int txn__evaluate_read(struct tsm *t);
/* The same for a part whose conditions held when it got its locks. They are not looked at: a client may
 * have said of a field that nobody adds to it, and somebody has. */
int txn__evaluate_again(struct tsm *t, uint64_t stamp);
/* Writes the changes of the last evaluation, or forgets them. */
void txn__changes_write(struct tsm *t, uint64_t stamp);
void txn__changes_drop(struct tsm *t);
/* A part that only takes locks: an empty reply. */
int txn__evaluate_nothing(struct tsm *t, uint64_t stamp);
/* Carries out the mutations of t->part, whose locks guarantee that they can be. */
void txn__carry_out(struct tsm *t, uint64_t stamp);
/* The value under @key without its header; 0, ERR_NOT_FOUND. */
int txn__get(struct tsm *t, struct slice key, uint64_t *version, struct slice *value);
/* The key that a reference in @value names, appended to @key (emptied first); false: no number there. */
bool txn__ref_key(struct tsm *t, const struct txn_read *r, struct slice value, struct buf *key);
uint32_t txn__scan_limit(const struct txn_read *r); /* items that it returns at most */
struct slice txn__header_skip(struct slice stored, uint64_t *version); /* p NULL: damaged */

/* ---- tsm_locks.c ---- */
/* What t->part needs, into t->wants. Lock transactions take no derived locks: the request that uses them
 * may change where a reference leads, and then a restart would find other locks than before. */
void txn__wants(struct tsm *t, bool lock_only);
/* Somebody who bars t->wants for a transaction at the place: a holder, or one that waits before it.
 * NULL: nobody. @self may be NULL. Sets t->by_reference: only a derived want is barred. */
struct tx *txn__blocker(struct tsm *t, const struct tx *self, struct txn_id id, uint64_t lock,
			bool holders_only);
/* Calls fn for each holder that bars, perhaps several times. */
typedef void txn_holder_fn(void *ctx, const struct tx *holder);
void txn__holders(struct tsm *t, const struct tx *self, struct txn_id id, uint64_t lock,
		  txn_holder_fn *fn, void *ctx);
/* Is there no room in line for t->wants and a part of this size? */
bool txn__line_full(struct tsm *t, size_t part_len);
void txn__lock(struct tsm *t, struct tx *tx); /* registers t->wants for tx */
void txn__unlock(struct tsm *t, struct tx *tx);
void txn__changed(struct tsm *t); /* data has changed: references may lead elsewhere */
struct lock_point *txn__point_next(struct lock_point *p);

/* ---- tsm_queue.c ---- */
struct tx *txn__tx_find(struct tsm *t, struct txn_id id);
struct tx *txn__tx_new(struct tsm *t, struct txn_id id, enum tx_role role);
void txn__tx_free(struct tsm *t, struct tx *tx); /* with its locks */
bool txn__decode_part(struct tsm *t, struct slice body); /* into t->part */
/* Puts it in line at the present place, with its locks (t->wants). */
void txn__enqueue(struct tsm *t, struct tx *tx);
void txn__barred(struct tsm *t, struct tx *tx, struct tx *blocker); /* notes it */
void txn__unnote(struct tsm *t, struct tx *tx);
void txn__freed(struct tsm *t, struct tx *blocker); /* it bars nobody any longer */
void txn__candidate(struct tsm *t, struct tx *tx);
void txn__dequeue(struct tsm *t, struct tx *tx); /* it no longer waits; its locks are given back */
void txn__examine(struct tsm *t);		 /* runs those that nobody bars any longer */
void txn__requeue(struct tsm *t, struct tx *tx); /* after a restart, at t->slot, t->index */

/* ---- tsm_clients.c ---- */
struct client *txn__client(struct tsm *t, uint64_t id); /* made when missing */
struct client *txn__client_find(struct tsm *t, uint64_t id);
bool txn__client_closed(struct tsm *t, uint64_t id);
void txn__client_mark(struct tsm *t, struct client *c, uint64_t mark);
void txn__client_close(struct tsm *t, struct client *c);
void txn__client_drop(struct tsm *t, struct client *c);
bool txn__reply_kept(struct tsm *t, struct txn_id id);
/* Fetches a kept reply; the slice is valid until the store is read again. */
int txn__reply_get(struct tsm *t, struct txn_id id, struct slice *reply);
/* Keeps the reply and sends it. Anonymous: sends only. */
void txn__finish(struct tsm *t, struct txn_id id, struct slice home, struct slice reply);
void txn__finish_status(struct tsm *t, struct txn_id id, struct slice home, int status);
void txn__status_reply(struct buf *b, int status);
void txn__clients_load_reply(struct tsm *t, struct txn_id id);

/* ---- tsm_request.c ---- */
void txn__on_request(struct tsm *t, struct slice bytes, const struct command *c);
void txn__on_cancel(struct tsm *t, const struct command *c);
void txn__on_close(struct tsm *t, const struct command *c);
void txn__on_floor(struct tsm *t, const struct command *c);
void txn__on_drop(struct tsm *t, const struct command *c);
void txn__single_run(struct tsm *t, struct tx *tx); /* nobody bars it */
void txn__single_waits(struct tsm *t, struct slice command); /* from the queue */

/* ---- tsm_participant.c ---- */
void txn__on_prepare(struct tsm *t, struct slice bytes, const struct command *c);
void txn__on_outcome(struct tsm *t, const struct command *c);
void txn__on_forget(struct tsm *t, const struct command *c);
void txn__participant_run(struct tsm *t, struct tx *tx);
void txn__vote_send(struct tsm *t, uint32_t to, struct txn_id id, struct slice reply);
void txn__participant_load(struct tsm *t, struct slice record, struct txn_id id);
void txn__participant_again(struct tsm *t, struct slice command, uint64_t stamp);
void txn__participant_waits(struct tsm *t, struct slice command);
void txn__participant_message(struct tsm *t, const struct message *m);
void txn__participant_lead(struct tsm *t);
void txn__participant_tick(struct tsm *t);
/* Grants t->wants: the transaction is prepared, its reply t->reply. */
void txn__prepared(struct tsm *t, struct tx *tx, uint64_t stamp);
void txn__prepared_again(struct tsm *t, struct tx *tx, uint64_t stamp);

/* ---- tsm_coordinator.c ---- */
struct coord *txn__coord_find(struct tsm *t, struct txn_id id); /* not PROPOSED ones */
void txn__coord_begin(struct tsm *t, struct slice bytes, const struct command *c);
void txn__coord_own_run(struct tsm *t, struct tx *tx);
void txn__coord_abort(struct tsm *t, struct coord *c, struct slice reply);
void txn__coord_abort_status(struct tsm *t, struct coord *c, int status);
void txn__coord_unlock(struct tsm *t, struct txn_id lock); /* a lock transaction ends, if there */
void txn__coord_refused(struct tsm *t, struct txn_id id); /* a request that had been proposed */
void txn__coord_load(struct tsm *t, struct slice record, struct txn_id id);
void txn__coord_free(struct tsm *t, struct coord *c);
void txn__on_decide(struct tsm *t, const struct command *c);
void txn__on_end(struct tsm *t, const struct command *c);
void txn__coord_message(struct tsm *t, const struct message *m);
void txn__coord_proposed(struct tsm *t, struct slice bytes, const struct command *c);
void txn__coord_lead(struct tsm *t, bool leading);
void txn__coord_tick(struct tsm *t);
void txn__lazy_add(struct tsm *t, struct lazy *l, enum command_kind kind, struct txn_id id);
void txn__lazy_flush(struct tsm *t, struct lazy *l, enum command_kind kind);

/* ---- tsm_deadlock.c ---- */
void txn__probe_start(struct tsm *t, struct tx *waiting);
void txn__probe_message(struct tsm *t, const struct message *m);

/* ---- tsm_reads.c ---- */
void txn__reads_examine(struct tsm *t);
void txn__reads_freed(struct tsm *t, struct tx *blocker);
void txn__reads_lead(struct tsm *t);
void txn__reads_tick(struct tsm *t);
void txn__reads_fail(struct tsm *t, int err);
bool txn__reads_answer(struct tsm *t, uint64_t sequence, struct slice reply);

/* ---- tsm_load.c ---- */
int txn__load(struct tsm *t);

#endif
