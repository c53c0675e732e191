/* One group on this node, loop side: its Paxos core, the commands that wait to be proposed, and the
 * calls that wait for an answer. Sans-I/O: time is an argument; log, network, apply thread and callers
 * are reached through struct kv_replica_io. The node wires it to threads and sockets, the simulator to
 * a virtual network and disk with apply run at once.
 *
 *            kv_replica_exec / read / admin            kv_replica_message
 *                      │                                      │
 *                 queue, waits ──kv_replica_turn──► paxos_step ──► log, send
 *                      ▲                                      │ committed
 *                      └───────── kv_replica_done ◄── job ◄───┘
 */
#ifndef PAXFS_KV_REPLICA_H
#define PAXFS_KV_REPLICA_H

#include "consensus/paxos.h"
#include "kv/apply.h"
#include "wal/wal.h"

#define KV_QUEUE_COMMANDS_MAX 16384u		  /* of one group, waiting to be proposed */
#define KV_QUEUE_BYTES_MAX    (64u * 1024u * 1024u)
#define KV_WAITS_MAX	      65536u		  /* calls of one group that wait for a reply */
#define KV_READS_MAX	      65536u
#define KV_WATCHES_MAX	      16384u /* calls of one group that wait for a key to change */
#define KV_WATCH_NS_MAX	      (30ull * 1000 * 1000 * 1000) /* then they ask again */
#define KV_APPLY_LAG_MAX      4096u		  /* entries scheduled and not applied */
#define KV_REPROPOSE_NS	      (1000ull * 1000 * 1000) /* a retry proposes again after so long */
#define KV_CALLERS_MAX	      4u		  /* that wait for the same request */
#define KV_MESSAGES_MAX	      16384u		  /* of other groups, given to the apply side */
#define KV_MESSAGE_BYTES_MAX  (32u * 1024u * 1024u)

_Static_assert(KV_QUEUE_BYTES_MAX >= 2 * ENTRY_SIZE_MAX, "a full entry can gather behind another");

struct kv_time {
	uint64_t mono_ns, wall_ns;
};

struct kv_caller { /* whom an answer goes to; the driver's meaning */
	uint64_t conn, call;
	uint8_t type; /* enum kv_frame */
};

struct kv_replica;

/* None of these may call back into the replica before it has returned to its caller; a driver that
 * runs a job at once gives it to kv_replica_done later. Slices are borrowed for the call. */
struct kv_replica_io {
	uint64_t (*log_append)(void *ctx, const struct wal_record *r); /* -> batch number */
	bool (*log_busy)(void *ctx);
	bool (*log_has_room)(void *ctx, uint64_t bytes); /* beside the reserve */
	bool (*log_can_take)(void *ctx, uint64_t bytes); /* reserve and all */
	int (*log_read)(void *ctx, uint32_t group, uint64_t slot, uint64_t *ballot,
			struct buf *payload);
	void (*log_truncate)(void *ctx, uint32_t group, uint64_t slot);
	void (*send)(void *ctx, const struct paxos_message *m);
	void (*send_txn)(void *ctx, uint32_t from_group, uint32_t to_group, struct slice bytes);
	void (*schedule)(void *ctx, struct kv_job *job); /* takes the job */
	void (*reply)(void *ctx, struct kv_replica *r, const struct kv_caller *c, int err,
		      struct slice body);
	void (*changed)(void *ctx, struct kv_replica *r); /* role, leader, serving, refusal */
	void (*snapshot)(void *ctx, struct kv_replica *r, uint32_t from_node);
};

struct kv_replica_config {
	struct paxos_config paxos; /* read_entry is filled in */
	struct kv_apply *apply;	   /* borrowed */
	const struct kv_replica_io *io;
	void *io_ctx;
	void *user; /* kv_replica_user() */
};

int kv_replica_new(const struct kv_replica_config *cfg, struct kv_replica **out);
void kv_replica_free(struct kv_replica *r); /* callers must have been answered; takes NULL */

/* Start: each record of the log, then start. ERR_PROTO for an entry that is none, ERR_CORRUPT. */
int kv_replica_restore(struct kv_replica *r, const struct wal_record *rec);
int kv_replica_start(struct kv_replica *r, const struct kv_time *t);

/* ---- what happens to it ---- */

void kv_replica_message(struct kv_replica *r, const struct paxos_message *m,
			const struct kv_time *t);
bool kv_replica_synced(struct kv_replica *r, uint64_t batch,
		       const struct kv_time *t); /* true: it had waited for that */
void kv_replica_tick(struct kv_replica *r, const struct kv_time *t); /* paxos and tsm deadlines */
void kv_replica_peer(struct kv_replica *r, uint32_t node, bool up, const struct kv_time *t);
void kv_replica_durable(struct kv_replica *r, uint64_t slot, const struct kv_time *t);
void kv_replica_installed(struct kv_replica *r, uint64_t slot, const struct kv_time *t);
void kv_replica_hand_over(struct kv_replica *r, const struct kv_time *t);

/* A job has run. Frees it. */
void kv_replica_done(struct kv_replica *r, struct kv_job *job, const struct kv_time *t);

/* End of the loop's turn: proposes what has gathered. */
void kv_replica_turn(struct kv_replica *r, const struct kv_time *t);

/* ---- calls; each is answered by io->reply, at once or later ---- */

void kv_replica_exec(struct kv_replica *r, const struct kv_caller *c, struct slice command,
		     const struct kv_time *t);
void kv_replica_read(struct kv_replica *r, const struct kv_caller *c, struct slice part,
		     const struct kv_time *t);
/* @body: kv_watch_request. Answered with the key's version (kv_watch_reply) when it is another one, by a
 * read, with ERR_TIMEOUT when the wait is over, ERR_BUSY when too many wait. */
void kv_replica_watch(struct kv_replica *r, const struct kv_caller *c, struct slice body,
		      const struct kv_time *t);
void kv_replica_forget(struct kv_replica *r, uint64_t conn); /* closed: its watches end, unanswered */
/* CLOSE, FLOOR: answered when applied, without a reply of its own. */
void kv_replica_admin(struct kv_replica *r, const struct kv_caller *c, struct slice command,
		      const struct kv_time *t);
/* A message of another group's state machine; dropped unless this replica leads, or when too many wait:
 * it is sent again. */
void kv_replica_txn(struct kv_replica *r, struct slice bytes);

/* Answers all waiting calls with @err and drops the queue. */
void kv_replica_fail_calls(struct kv_replica *r, int err);

/* From now on it takes part in nothing: @why is the status note. @code: ERR_AMNESIA, ERR_CORRUPT. */
void kv_replica_refuse(struct kv_replica *r, int code, const char *why);

/* ---- looking in ---- */

uint64_t kv_replica_deadline(const struct kv_replica *r); /* mono; when to call kv_replica_tick */
uint32_t kv_replica_group(const struct kv_replica *r);
void *kv_replica_user(const struct kv_replica *r);
struct kv_apply *kv_replica_apply(const struct kv_replica *r);
bool kv_replica_serving(const struct kv_replica *r);
uint32_t kv_replica_leader(const struct kv_replica *r, uint64_t now_ns); /* 0: unknown */
void kv_replica_status(const struct kv_replica *r, uint64_t now_ns, struct paxos_status *out);
int kv_replica_refused(const struct kv_replica *r, const char **why); /* 0: it takes part */
bool kv_replica_wants_turn(const struct kv_replica *r);

/* What the log held at the start: what an old copy of the directory would lack. */
void kv_replica_restored(const struct kv_replica *r, paxos_ballot *promise, uint64_t *slot);

#endif
