/* Multi-Paxos for one replica of one group: a pure, single-threaded state machine (README.md has
 * the protocol). It receives events and returns what to persist, what to send and what may be
 * applied. It never reads a clock, does I/O or draws randomness on its own (a seed comes in the config).
 *
 * Sources: Lamport, "Paxos Made Simple" (2001), section 3; van Renesse and Altinbuken, "Paxos Made
 * Moderately Complex" (2015); Ongaro, "Consensus: Bridging Theory and Practice" (2014), 3.10, 6.4,
 * 9.6 for hand-over, read index and pre-vote; Gray and Cheriton (1989) for leases.
 *
 * Use: paxos_new, paxos_restore_* with what the log held, paxos_start; then for each event
 * paxos_step and carry out the update IN THIS ORDER: append all persist records to the log (and
 * sync them, any time later: EV_PERSISTED tells), send all messages (any time: the core emits a
 * message only once what it depends on is on disk), apply committed entries in slot order (any time
 * after). paxos_next_deadline says when the next EV_TICK is due.
 */
#ifndef PAXFS_CONSENSUS_PAXOS_H
#define PAXFS_CONSENSUS_PAXOS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"

/* round << 16 | node id: totally ordered, a node's own are distinct. 0 is "none". */
typedef uint64_t paxos_ballot;
#define PAXOS_BALLOT(round, node) ((paxos_ballot)(round) << 16 | (node))
#define PAXOS_BALLOT_NODE(b)	  ((uint32_t)((b) & 0xffff))
#define PAXOS_BALLOT_ROUND(b)	  ((uint64_t)(b) >> 16)

enum paxos_kind {
	PAXOS_NOOP = 0,      /* fills a gap, or opens a new leader's reign */
	PAXOS_COMMANDS = 1,  /* a batch of commands, opaque to consensus */
	PAXOS_STOP_SIGN = 2, /* ends the configuration epoch */
};

/* One log entry. Shared by reference between the core, the log and the apply thread: the count is
 * atomic, everything else immutable after creation except that re-proposing makes a new entry. */
struct paxos_entry {
	uint32_t refs; /* use paxos_entry_ref/unref */
	uint8_t kind;
	paxos_ballot ballot; /* at which it was accepted */
	uint64_t slot;	     /* 1, 2, ... */
	uint64_t clock_ns;   /* the proposing leader's wall clock; apply uses no other clock */
	uint64_t chosen;     /* its chosen index then: a hint for restarts */
	size_t len;
	uint8_t data[];
};

/* len <= ENTRY_SIZE_MAX. NULL when memory runs out. refs = 1. */
struct paxos_entry *paxos_entry_new(enum paxos_kind kind, paxos_ballot ballot, uint64_t slot,
				    uint64_t clock_ns, struct slice data);
struct paxos_entry *paxos_entry_ref(struct paxos_entry *e);
void paxos_entry_unref(struct paxos_entry *e); /* takes NULL */

/* Stored form of an entry (the payload of a WAL_ENTRY record, whose header has ballot and slot). */
void paxos_entry_encode(const struct paxos_entry *e, struct buf *out);
int paxos_entry_decode(paxos_ballot ballot, uint64_t slot, struct slice in,
		       struct paxos_entry **out); /* ERR_PROTO, ERR_NOMEM */

/* ---- configuration ---- */

struct paxos_timing { /* ns; defaults by paxos_timing_default() */
	uint64_t heartbeat;	   /* leader sends at least this often */
	uint64_t suspect_min;	   /* silence before a pre-vote, lower bound of the adaptive value */
	uint64_t suspect_max;	   /* upper bound */
	uint64_t succession_step;  /* each later successor waits this much longer */
	uint64_t lease;		   /* L: how long an acknowledgement promises; 0 = leases off */
	uint64_t drift_margin;	   /* subtracted from L by the leader */
	uint64_t stall;		   /* own proposal not chosen or applied for so long: step down */
	uint64_t retransmit;
};
void paxos_timing_default(struct paxos_timing *t);

struct paxos_config {
	uint32_t group;
	uint32_t self; /* node id, 1..NODES_MAX-1 */
	uint32_t members[GROUP_REPLICAS_MAX]; /* node ids in succession order */
	uint32_t member_count;		      /* 1, 3 or 5 */
	uint64_t epoch;			      /* configuration epoch; messages of others are dropped */
	uint64_t seed;
	struct paxos_timing timing;
	uint64_t retain_bytes; /* log kept for a lagging follower before it needs a snapshot */

	/* Reads an accepted entry that the core no longer holds in memory. 0 with a reference in
	 * @out, ERR_NOT_FOUND (truncated), ERR_CORRUPT. */
	int (*read_entry)(void *ctx, uint64_t slot, struct paxos_entry **out);
	void *read_ctx;
	uint64_t cache_bytes; /* entries kept in memory */
};

/* ---- messages ---- */

enum paxos_message_type {
	PAXOS_PREVOTE = 1, /* would you promise ballot b? changes nothing */
	PAXOS_PREVOTE_REPLY,
	PAXOS_PREPARE,	/* b, from slot; token: hand-over ballot that waives the lease promise */
	PAXOS_PROMISE,	/* a page of accepted entries from `first` on; log start; chosen index */
	PAXOS_ACCEPT,	/* b, entries (consecutive from `first`), commit index; none = heartbeat */
	PAXOS_ACCEPTED, /* b, `last`: all slots <= last accepted at b AND on disk, or known chosen;
			   `first`: the next slot that it lacks in memory */
	PAXOS_REJECT,	/* promised a higher ballot */
	PAXOS_LEARN_REQUEST, /* send me chosen entries from `first` on */
	PAXOS_LEARN,	     /* chosen entries, or log start when they are truncated */
	PAXOS_TIMEOUT_NOW,   /* hand-over: stand for election at once, with the token */
};

struct paxos_message {
	uint8_t type;
	uint32_t group;
	uint32_t from, to;
	uint64_t epoch;
	paxos_ballot ballot;
	paxos_ballot promised; /* REJECT, PREVOTE_REPLY: the receiver's highest promise */
	paxos_ballot token;
	uint64_t first, last;  /* slots, see the type */
	uint64_t commit;       /* sender's chosen index */
	uint64_t applied;      /* ACCEPTED: sender's applied index */
	uint64_t log_start;    /* sender's first slot still in its log */
	uint64_t send_ns;      /* sender's mono clock; echoed in the acknowledgement as echo_ns */
	uint64_t echo_ns;
	uint64_t round;        /* heartbeat round, echoed; for read index */
	uint64_t span_ns;      /* ACCEPTED: lease promised; REJECT, PREVOTE_REPLY: ask again after */
	union {
		uint64_t page;   /* PROMISE: the `first` of the PREPARE that it answers */
		uint64_t synced; /* ACCEPT: the leader's own disk has all slots up to here */
	};
	bool more;	       /* PROMISE, LEARN: pages follow */
	bool ok;	       /* PREVOTE_REPLY */
	uint32_t count;
	struct paxos_entry **entries; /* borrowed from the core until the next step; when decoded:
					 owned by the message, paxos_message_release() */
};

void paxos_message_encode(const struct paxos_message *m, struct buf *out);
int paxos_message_decode(struct slice in, struct paxos_message *out); /* ERR_PROTO, ERR_NOMEM */
void paxos_message_release(struct paxos_message *m);

/* ---- events and updates ---- */

enum paxos_event_kind {
	PAXOS_EV_TICK,	    /* time passed */
	PAXOS_EV_MESSAGE,   /* message (borrowed; the core takes references of entries it keeps) */
	PAXOS_EV_PERSISTED, /* all persist records up to seq are on disk */
	PAXOS_EV_PROPOSE,   /* entry kind, data: becomes one log entry (leader only) */
	PAXOS_EV_READ,	    /* read_id: a linearizable read arrived */
	PAXOS_EV_APPLIED,   /* slot: the state machine has applied up to here */
	PAXOS_EV_DURABLE,   /* slot: the engine has this much on disk; the log may be cut behind */
	PAXOS_EV_SNAPSHOT_INSTALLED, /* slot: state of `slot` was installed, durable; go on behind */
	PAXOS_EV_PEER_DOWN, /* node: connection broke */
	PAXOS_EV_PEER_UP,
	PAXOS_EV_HAND_OVER, /* give leadership to the best follower (clean shutdown, operator) */
};

struct paxos_event {
	enum paxos_event_kind kind;
	uint64_t now_ns;  /* mono; must not go backwards */
	uint64_t wall_ns; /* for entry clocks */
	union {
		const struct paxos_message *message;
		uint64_t seq;	  /* PERSISTED */
		uint64_t slot;	  /* APPLIED, DURABLE, SNAPSHOT_INSTALLED */
		uint32_t node;	  /* PEER_DOWN, PEER_UP */
		uint64_t read_id; /* READ */
		struct {
			enum paxos_kind kind;
			struct slice data; /* copied */
		} propose;
	};
};

struct paxos_persist {
	bool promise;		   /* true: a promise of `ballot`; false: `entry` */
	paxos_ballot ballot;
	struct paxos_entry *entry; /* borrowed until the next step: encode or take a reference */
};

struct paxos_read_ready {
	uint64_t read_id;
	int err;	   /* 0, or ERR_NOT_LEADER: the client asks elsewhere */
	uint64_t slot;	   /* serve once this slot is applied; then check paxos_lease_valid() if */
	bool under_lease;  /* true, before the answer leaves */
};

enum paxos_role { PAXOS_FOLLOWER, PAXOS_CANDIDATE, PAXOS_LEADER };

struct paxos_update {
	const struct paxos_persist *persist;
	size_t persist_count;
	uint64_t persist_seq; /* of the last record; give it to EV_PERSISTED when synced */

	const struct paxos_message *messages;
	size_t message_count;

	struct paxos_entry *const *committed; /* consecutive, each slot exactly once, in order */
	size_t committed_count;

	const struct paxos_read_ready *reads;
	size_t read_count;

	uint64_t proposed_slot;	 /* PROPOSE: the slot that the entry got */
	bool role_changed;	 /* see paxos_status; `serving` changes are told too */
	uint64_t truncate_below; /* non-zero: log entries with smaller slots are not needed */
	uint32_t snapshot_from;	 /* non-zero: behind that node's log; fetch a snapshot from it */
};

struct paxos;

int paxos_new(const struct paxos_config *cfg, struct paxos **out); /* ERR_INVAL, ERR_NOMEM */
void paxos_free(struct paxos *p);				   /* takes NULL */

/* Replay, in any order, before paxos_start. Entries are referenced. */
void paxos_restore_promise(struct paxos *p, paxos_ballot ballot);
void paxos_restore_entry(struct paxos *p, struct paxos_entry *e);
void paxos_restore_mark(struct paxos *p, uint64_t log_start);

/* @applied: what the engine has (everything <= applied is chosen). After a restart the node
 * promises nothing for a full lease from @now_ns. @fresh: first start ever of this group: no such
 * wait. ERR_CORRUPT when the log cannot continue behind @applied (a gap). */
int paxos_start(struct paxos *p, uint64_t applied, bool fresh, uint64_t now_ns);

/* Advance by one event. @up is filled on success, its arrays point into @p and die at the next
 * step. Errors leave the state as it was:
 *   ERR_BUSY        PROPOSE: window full (PAXOS_WINDOW_*); retry after an update with commits
 *   ERR_NOT_LEADER  PROPOSE: see paxos_status().leader
 *   ERR_NOMEM, ERR_TOO_BIG
 *   ERR_CORRUPT     a stored entry failed its check; the replica must stop */
int paxos_step(struct paxos *p, const struct paxos_event *ev, struct paxos_update *up);

uint64_t paxos_next_deadline(const struct paxos *p); /* mono ns; UINT64_MAX: none */

/* Is the lease held at @now_ns? To be asked after a read under lease, before its answer. */
bool paxos_lease_valid(const struct paxos *p, uint64_t now_ns);

struct paxos_member_status {
	uint32_t node;
	uint64_t accepted; /* the leader's view: contiguous accepted slot */
	uint64_t silent_ns; /* since last heard of */
	bool connected;
};

struct paxos_status {
	enum paxos_role role;
	bool serving;	     /* leader whose own-ballot entry is chosen and applied */
	uint32_t leader;     /* 0: unknown */
	paxos_ballot ballot; /* highest seen or promised */
	uint64_t commit, applied, last, log_start, epoch;
	uint64_t lease_until_ns;
	uint64_t window_slots, window_bytes; /* proposed, not chosen */
	uint64_t dropped;	     /* messages that made no sense, or of another epoch */
	uint32_t member_count;
	struct paxos_member_status members[GROUP_REPLICAS_MAX];
};
void paxos_status(const struct paxos *p, uint64_t now_ns, struct paxos_status *out);

/* Aborts when an invariant of the replica is broken; @prev: the state after the last step, or NULL.
 * For tests and the simulator (consensus/invariants.c). */
struct paxos_audit {
	uint64_t commit, applied, log_start;
	paxos_ballot promised;
	uint64_t steps; /* so far; what is applied already is looked at in every PAXOS_AUDIT_ALL-th */
};
#define PAXOS_AUDIT_ALL 128u
void paxos_audit(const struct paxos *p, struct paxos_audit *prev);

#endif
