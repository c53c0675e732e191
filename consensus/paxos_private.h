/* What the files of consensus/ share. See README.md for states, messages and invariants; functions
 * named paxos__x are for this folder only. */
#ifndef PAXFS_CONSENSUS_PAXOS_PRIVATE_H
#define PAXFS_CONSENSUS_PAXOS_PRIVATE_H

#include "base/check.h"
#include "base/codec.h"
#include "base/env.h"
#include "base/err.h"
#include "base/mem.h"
#include "consensus/paxos.h"

/* ---- limits ---- */

#define PAXOS_SLOT_MAX (1ull << 56)	 /* a larger slot in a message is nonsense */
#define PAXOS_ROUND_MAX (1ull << 40)	 /* a larger ballot round in a message is nonsense */
#define PAXOS_PAGE_ENTRIES_MAX 1024u	 /* entries in one message */
#define PAXOS_CACHE_SLOTS_MAX 16384u	 /* applied entries kept in memory, however small */
#define PAXOS_BACKLOG_BYTES_MAX (2ull * PAXOS_WINDOW_BYTES_MAX) /* entries held, not applied */
#define PAXOS_BACKLOG_SLOTS_MAX 65536u	 /* the same in slots */
#define PAXOS_READS_MAX 65536u		 /* reads that wait for a round */
#define PAXOS_MARKS_MAX 256u		 /* sizes remembered along the log, for truncation */
#define PAXOS_SPAN_NS_MAX (60 * NS_PER_S) /* a longer span in a message is cut to this */
#define PAXOS_LEASE_BAR 10u		 /* leases for which a peer does not count after a jump */
#define PAXOS_HAND_OVER_TRIES 3u
/* A follower that is sent nothing else hears of a chosen slot after so long: short enough to apply
 * soon, long enough that the next ACCEPT carries it for free under load. */
#define PAXOS_COMMIT_DELAY_NS (5 * NS_PER_MS)

_Static_assert(PAXOS_PAGE_ENTRIES_MAX >= PAXOS_WINDOW_SLOTS_MAX, "a window fits a page's count");
_Static_assert(PAXOS_PAGE_BYTES + ENTRY_SIZE_MAX + 65536u <= FRAME_SIZE_MAX,
	       "a page that ends in a large entry fits a frame");
_Static_assert(PAXOS_BACKLOG_SLOTS_MAX > PAXOS_WINDOW_SLOTS_MAX, "a window fits the backlog");

/* ---- state ---- */

enum paxos_state {
	PAXOS_ST_FOLLOWER,
	PAXOS_ST_PREVOTING,
	PAXOS_ST_PROMISING,   /* own promise of `ballot` on its way to disk */
	PAXOS_ST_COLLECTING,  /* PREPARE sent */
	PAXOS_ST_CATCHING_UP, /* a majority promised; fetching what is chosen */
	PAXOS_ST_LEADING,
};

/* The log in memory: a ring of slots [first, last]; empty when first == last + 1. */
struct paxos_slot {
	struct paxos_entry *entry; /* owns a reference */
	uint64_t seq;		   /* of its persist record; 0: on disk since before the start */
	uint64_t time_ns;	   /* since when it has been proposed, later: chosen */
};

struct paxos_window {
	struct paxos_slot *slots;
	uint64_t cap; /* a power of two */
	uint64_t first, last;
	uint64_t bytes;		/* of all entries in the ring */
	uint64_t open_bytes;	/* of those above commit */
	uint64_t backlog_bytes; /* of those above applied */
};

struct paxos_mark { /* `bytes` were appended before `slot` */
	uint64_t slot, bytes;
};

struct paxos_peer {
	uint32_t node;
	bool connected;
	uint64_t heard_ns; /* 0: never */
	uint64_t sent_ns;  /* the last ACCEPT of a leader */

	/* election, for `ballot` */
	bool voted;
	bool promised;	       /* its whole promise is here */
	uint64_t ask_ns;       /* when to ask again for its vote or promise */
	uint64_t promise_next; /* the slot from which the next page is asked for */
	uint64_t chosen, log_start;

	/* replication, while leading */
	uint64_t next;	      /* next slot to send */
	uint64_t want;	      /* next slot that it lacks, as it said */
	uint64_t acked;	      /* it has accepted up to here, on disk */
	uint64_t applied;
	uint64_t entries_ns;  /* when entries were last sent; 0: none yet, `next` is a guess */
	uint64_t progress_ns; /* when it last got further, or had nothing outstanding */
	uint64_t ack_ns;      /* its last ACCEPTED of this reign; 0 before */
	uint64_t pause_ns;    /* it is sent no entries until then */
	uint64_t told;	      /* the chosen index that it was last sent */
	uint64_t probe_ns;    /* when to probe next for lost entries */
	uint32_t probes;      /* without progress */
	uint64_t page_end[2]; /* last slots of the two catch-up pages in flight, older first */
	uint64_t ahead_ns;    /* since when it has known more chosen than we; 0: it does not */

	/* leases and reads, while leading */
	uint64_t lease_until_ns;
	uint64_t lease_barred_ns; /* its promises do not count until then */
	uint64_t round;
	bool offset_known; /* its clock minus ours lies in [lo, hi] */
	int64_t offset_lo, offset_hi;
	uint64_t offset_ns;
};

struct paxos_read {
	uint64_t id;
	uint64_t slot;
	uint64_t round; /* 0: not assigned, waits until serving */
};

struct paxos_reads { /* a queue */
	struct paxos_read *items;
	size_t cap, head, count;
};

/* What phase 1 found for slots [base, base + count): the highest ballot's value, or NULL. */
struct paxos_adopted {
	struct paxos_entry **entries; /* own references */
	size_t count, cap;
	uint64_t base;
};

struct paxos_held { /* an answer that waits for the disk */
	bool due;
	uint32_t to;
	uint64_t first;
};

struct paxos_out { /* builds the update; all arrays grow and are reused */
	struct paxos_persist *persist;
	size_t persist_count, persist_cap;
	struct paxos_message *messages;
	size_t *entries_at; /* of each message, its place in `entries` */
	size_t message_count, message_cap;
	struct paxos_entry **entries;
	size_t entry_count, entry_cap;
	struct paxos_entry **committed;
	size_t committed_count, committed_cap;
	struct paxos_read_ready *reads;
	size_t read_count, read_cap;
	struct paxos_entry **dropped; /* released at the next step */
	size_t dropped_count, dropped_cap;
	uint64_t proposed_slot, truncate_below;
	uint32_t snapshot_from;
};

struct paxos {
	struct paxos_config cfg;
	uint32_t me, quorum; /* index of self in members; members that make a majority */
	bool started;
	uint64_t now_ns, wall_ns, rng;
	enum paxos_state state;
	uint64_t dropped;

	/* acceptor */
	paxos_ballot promised;
	uint64_t promised_seq; /* of its record */
	uint64_t seq, persisted;
	struct paxos_window window;
	uint64_t log_start, applied, emitted, commit, synced, match, durable;
	uint64_t unvouched; /* slots up to here came without ballots: a snapshot (invariant 5) */
	struct paxos_held promise_held;

	/* follower */
	uint32_t leader;	/* of `promised`, once heard of; 0 */
	uint64_t leader_commit; /* its chosen index */
	uint64_t leader_heard_ns;
	uint64_t gap_mean_ns, gap_dev_ns;
	bool ack_due;
	uint64_t ack_echo_ns, ack_round, acked; /* acked: the last that was reported at `promised` */
	uint64_t acked_ns;			/* when it was */
	uint64_t lease_promise_ns;		/* promised to nobody but lease_ballot until then */
	paxos_ballot lease_ballot;
	uint64_t silent_ns; /* after a restart: promise nothing until then */

	/* asking for chosen entries */
	bool learn_wanted;     /* a gap was seen */
	uint64_t learn_first;  /* the slot last asked for; 0: nothing outstanding */
	uint64_t learn_ns;     /* when to ask again */
	uint32_t learn_tries;
	uint32_t learn_source; /* index of the member asked */
	uint64_t snapshot_ns;  /* when to say snapshot_from again */

	/* candidate */
	paxos_ballot ballot; /* own, alive; 0: none. While leading it equals promised */
	paxos_ballot token;  /* of a hand-over */
	uint64_t max_round;  /* seen anywhere */
	uint64_t election_ns, attempt_ns, stand_back_ns;
	uint64_t catch_up_to;	/* chosen according to the quorum of promises */
	uint64_t catch_up_ns;	/* until when `commit` must have got beyond catch_up_from */
	uint64_t catch_up_from;
	struct paxos_adopted adopted;

	/* leader */
	uint64_t reign_slot; /* of the no-op that opens the reign */
	uint64_t reign_ns;
	bool serving;
	uint64_t round;
	struct paxos_reads reads;

	/* after a hand-over */
	paxos_ballot handed;
	uint64_t handed_ns;
	uint32_t handed_tries;

	/* truncation */
	struct paxos_mark marks[PAXOS_MARKS_MAX];
	uint32_t mark_head, mark_count;
	uint64_t log_bytes;

	/* before the start */
	struct paxos_entry **restored;
	size_t restored_count, restored_cap;

	struct paxos_peer peers[GROUP_REPLICAS_MAX]; /* by member index; own place unused */
	struct paxos_out out;
};

#define PAXOS_FOR_EACH_PEER(p, q)                                                                  \
	for (struct paxos_peer *q = (p)->peers; q < (p)->peers + (p)->cfg.member_count; q++)       \
		if (q != &(p)->peers[(p)->me])
#define PAXOS_FOR_EACH_PEER_CONST(p, q)                                                            \
	for (const struct paxos_peer *q = (p)->peers; q < (p)->peers + (p)->cfg.member_count; q++) \
		if (q != &(p)->peers[(p)->me])

static inline uint64_t u64_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t u64_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* a + b, stopping at the end of time. */
static inline uint64_t u64_add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* Room for one more item of @size in an array of the core's own. */
void *paxos__grow(void *items, size_t count, size_t *cap, size_t size);

/* ---- paxos.c ---- */
struct paxos_peer *paxos__peer(struct paxos *p, uint32_t node); /* NULL: no member, or self */
uint64_t paxos__random(struct paxos *p, uint64_t below);	/* 0 when below is 0 */
enum paxos_role paxos__role(const struct paxos *p);

/* The value that at least @rank of the @n values reach (1 = the largest). Sorts @v. */
uint64_t paxos__nth_largest(uint64_t *v, uint32_t n, uint32_t rank);

/* ---- paxos_entry.c ---- */
int paxos__entry_decode_next(struct dec *d, paxos_ballot ballot, uint64_t slot,
			     struct paxos_entry **out);

/* ---- paxos_window.c: entries in memory ---- */
struct paxos_slot *paxos__slot(struct paxos *p, uint64_t slot); /* must be in the ring */
bool paxos__in_window(const struct paxos *p, uint64_t slot);
/* Takes a reference; the slot is in the ring or the one behind its end. */
void paxos__window_put(struct paxos *p, struct paxos_entry *e, uint64_t seq);
void paxos__window_trim(struct paxos *p);		   /* to the cache's bounds */
void paxos__window_cut(struct paxos *p, uint64_t below);   /* forgets smaller slots */
void paxos__window_recount(struct paxos *p);
void paxos__set_commit(struct paxos *p, uint64_t commit);
void paxos__set_applied(struct paxos *p, uint64_t applied);
bool paxos__backlog_full(const struct paxos *p);
uint64_t paxos__entry_size(const struct paxos_entry *e);

/* ---- paxos_out.c: the update ---- */
void paxos__out_reset(struct paxos *p); /* at the start of a step */
void paxos__out_finish(struct paxos *p, struct paxos_update *up);
void paxos__out_release(struct paxos *p);
uint64_t paxos__persist_promise(struct paxos *p, paxos_ballot b); /* the record's seq */
uint64_t paxos__persist_entry(struct paxos *p, struct paxos_entry *e);
/* A message to @to with the fields that all have; valid until the next one is added. */
struct paxos_message *paxos__send(struct paxos *p, enum paxos_message_type type, uint32_t to);
void paxos__send_entry(struct paxos *p, struct paxos_entry *e); /* adds to the last message */
void paxos__drop_entry(struct paxos *p, struct paxos_entry *e); /* gives the reference away */
void paxos__emit_committed(struct paxos *p);
void paxos__emit_read(struct paxos *p, const struct paxos_read_ready *r);

/* ---- paxos_acceptor.c ---- */
/* Why a promise of ballot @b of @from is refused at the moment: 0 (it is not), or for how long. */
uint64_t paxos__lease_bar(struct paxos *p, uint32_t from, paxos_ballot token);
void paxos__raise_promise(struct paxos *p, paxos_ballot b); /* with its record */
void paxos__accept_entries(struct paxos *p, const struct paxos_message *m);
void paxos__advance_match(struct paxos *p);
void paxos__advance_commit(struct paxos *p); /* of a follower */
void paxos__hold_promise(struct paxos *p, const struct paxos_message *prepare);
void paxos__reject(struct paxos *p, const struct paxos_message *m, uint64_t span_ns);
void paxos__acceptor_settle(struct paxos *p);

/* ---- paxos_election.c ---- */
void paxos__note_round(struct paxos *p, paxos_ballot b);
void paxos__leader_heard(struct paxos *p);     /* suspicion starts over */
void paxos__rearm_election(struct paxos *p);   /* without a leader */
void paxos__suspect_leader(struct paxos *p);   /* its connection broke */
void paxos__retry_election(struct paxos *p, uint64_t wait_ns);
void paxos__follow(struct paxos *p);	       /* any state -> FOLLOWER */
void paxos__prevote_begin(struct paxos *p);
void paxos__prevote_ask(struct paxos *p, struct paxos_peer *q);
void paxos__candidate_begin(struct paxos *p, paxos_ballot token);
void paxos__prepare_ask(struct paxos *p, struct paxos_peer *q);
void paxos__election_settle(struct paxos *p);
void paxos__election_tick(struct paxos *p);
uint64_t paxos__election_deadline(const struct paxos *p);
uint64_t paxos__suspect_after(const struct paxos *p);
bool paxos__leader_alive(const struct paxos *p, uint64_t *wait_ns);

/* ---- paxos_adopt.c: what phase 1 found ---- */
void paxos__adopt_reset(struct paxos *p, uint64_t base);
/* @e was found above @chosen, the chosen index of who had it. False: the slot is nonsense. */
bool paxos__adopt(struct paxos *p, struct paxos_entry *e, uint64_t chosen);
void paxos__adopt_release(struct paxos *p);
/* Re-proposes what was found above commit, at `ballot`, and the no-op behind. ERR_NOMEM: nothing
 * happened. */
int paxos__adopt_propose(struct paxos *p);

/* ---- paxos_leader.c ---- */
/* CATCHING_UP -> LEADING, with paxos__adopt_propose. When memory runs out the state stays, and the
 * next step tries again. */
void paxos__reign_begin(struct paxos *p);
void paxos__step_down(struct paxos *p); /* -> FOLLOWER; and stand back in the next election */
int paxos__propose(struct paxos *p, enum paxos_kind kind, struct slice data);
void paxos__append_own(struct paxos *p, struct paxos_entry *e); /* takes the reference */
int paxos__leader_settle(struct paxos *p);
void paxos__leader_tick(struct paxos *p);
uint64_t paxos__leader_deadline(const struct paxos *p);
void paxos__heartbeat(struct paxos *p, struct paxos_peer *q);
void paxos__heartbeat_all(struct paxos *p);
void paxos__rewind(struct paxos *p, struct paxos_peer *q, uint64_t next);

/* ---- paxos_lease.c ---- */
void paxos__lease_ack(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m);
uint64_t paxos__lease_until(const struct paxos *p); /* the leader's; 0: none */

/* ---- paxos_reads.c ---- */
int paxos__read(struct paxos *p, uint64_t id);
void paxos__reads_settle(struct paxos *p);
void paxos__reads_fail(struct paxos *p); /* all, with ERR_NOT_LEADER */

/* ---- paxos_learn.c ---- */
/* One page of chosen entries from @first on for @q; *sent: its last slot, or first - 1. */
int paxos__learn_page(struct paxos *p, struct paxos_peer *q, uint64_t first, uint64_t *sent);
int paxos__load_entry(struct paxos *p, uint64_t slot, struct paxos_entry **out);
void paxos__learn_settle(struct paxos *p);
void paxos__learn_reset(struct paxos *p);
uint64_t paxos__learn_deadline(const struct paxos *p);

/* ---- paxos_hand_over.c ---- */
void paxos__hand_over(struct paxos *p);
void paxos__hand_over_tick(struct paxos *p);

/* ---- paxos_truncate.c ---- */
void paxos__log_grew(struct paxos *p, uint64_t slot, uint64_t bytes);
void paxos__on_durable(struct paxos *p, uint64_t slot);
void paxos__on_snapshot_installed(struct paxos *p, uint64_t slot);

/* ---- recv_*.c: one per message; q is the sender ---- */
typedef int paxos_recv_fn(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m);
paxos_recv_fn paxos__recv_prevote, paxos__recv_prevote_reply, paxos__recv_prepare;
paxos_recv_fn paxos__recv_promise, paxos__recv_accept, paxos__recv_accepted, paxos__recv_reject;
paxos_recv_fn paxos__recv_learn_request, paxos__recv_learn, paxos__recv_timeout_now;
int paxos__recv(struct paxos *p, const struct paxos_message *m); /* checks, then one of these */

#endif
