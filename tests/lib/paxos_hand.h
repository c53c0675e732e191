/* One consensus core, driven by hand: events in, the update kept for the test to look at. The disk
 * is a list of records, of which those up to the last hand_persist() survive hand_restart(). Every
 * step is audited. Several of them make a cluster whose every message the test carries, or
 * loses.
 *     hand_init(&h, 1, 3);        // node 1 of 1, 2, 3; started for the first time
 *     hand_lead(&h);              // serving leader; nodes 2 and 3 are played by the fixture
 *     CHECK_OK(hand_propose(&h, "x"));
 *     hand_take(&h, PAXOS_ACCEPT, 2, &m); */
#ifndef PAXFS_TESTS_LIB_PAXOS_HAND_H
#define PAXFS_TESTS_LIB_PAXOS_HAND_H

#include "consensus/paxos.h"

#define HAND_MS 1000000ull
#define HAND_BALLOT(round, node) PAXOS_BALLOT(round, node)

enum {
	HAND_MESSAGES_MAX = 4096,
	HAND_RECORDS_MAX = 8192,
	HAND_SLOTS_MAX = 4096,
	HAND_READS_MAX = 256,
};

struct hand_record {
	bool promise;
	paxos_ballot ballot;
	struct paxos_entry *entry; /* own reference, or NULL */
};

struct hand {
	struct paxos_config cfg;
	struct paxos *p;
	struct paxos_audit audit;
	uint64_t now_ns, wall_ns;

	struct paxos_message out[HAND_MESSAGES_MAX]; /* entries: own references */
	size_t out_count;

	struct hand_record disk[HAND_RECORDS_MAX];
	size_t disk_count, disk_synced;
	uint64_t seq, read_fault_slot; /* reading that slot gives ERR_CORRUPT; 0: none */

	struct paxos_entry *chosen[HAND_SLOTS_MAX]; /* by slot: what was given to apply */
	uint64_t chosen_last, applied;

	struct paxos_read_ready reads[HAND_READS_MAX];
	size_t read_count;

	/* of the last step */
	uint64_t proposed_slot, truncate_below;
	uint32_t snapshot_from;
	bool role_changed;
};

/* Nodes 1..@members with ids as their place in succession. */
void hand_config(struct hand *h, uint32_t self, uint32_t members); /* cfg may then be changed */
void hand_start(struct hand *h, uint64_t applied, bool fresh);
void hand_init(struct hand *h, uint32_t self, uint32_t members); /* both */
void hand_release(struct hand *h);
/* The process dies: what was not synced is lost; the state machine has @applied. */
void hand_restart(struct hand *h, uint64_t applied);
int hand_try_start(struct hand *h, uint64_t applied, bool fresh); /* as paxos_start */

int hand_step(struct hand *h, struct paxos_event *ev); /* sets the times */
void hand_tick(struct hand *h, uint64_t after_ns);     /* time passes, then one tick */
void hand_run(struct hand *h, uint64_t span_ns);       /* time passes, a tick at every deadline */
void hand_persist(struct hand *h);		       /* all records are on disk */
void hand_apply(struct hand *h);		       /* all that was given is applied */
int hand_propose(struct hand *h, const char *text);
int hand_read(struct hand *h, uint64_t id);
void hand_event(struct hand *h, enum paxos_event_kind kind, uint64_t arg);

/* Messages. */
struct paxos_message hand_message(const struct hand *h, enum paxos_message_type type,
				  uint32_t from);
void hand_recv(struct hand *h, const struct paxos_message *m);
/* @m with @count entries of @ballot from m->first on, with these texts ("" is a no-op). */
void hand_recv_entries(struct hand *h, struct paxos_message *m, paxos_ballot ballot, uint32_t count,
		       const char *const *texts);
size_t hand_count(const struct hand *h, enum paxos_message_type type, uint32_t to);
/* Takes the first such message out (the test fails when there is none); hand_drop(m) ends it. */
void hand_take(struct hand *h, enum paxos_message_type type, uint32_t to, struct paxos_message *m);
void hand_drop(struct paxos_message *m);
void hand_clear(struct hand *h);
/* @from's messages to @to's node, in order, each in a step of its own. Returns how many. */
size_t hand_carry(struct hand *from, struct hand *to);

/* The played peers. */
void hand_lead(struct hand *h); /* stands, is promised, opens its reign, serves */
void hand_ack(struct hand *h, uint32_t from, uint64_t last); /* ACCEPTED up to last, echoing now */
void hand_ack_full(struct hand *h, uint32_t from, uint64_t last, uint64_t first, uint64_t echo_ns,
		   uint64_t round);

/* What it says of itself. */
struct paxos_status hand_status(const struct hand *h);
bool hand_is(const struct hand *h, enum paxos_role role);
struct paxos_entry *hand_entry(paxos_ballot ballot, uint64_t slot, const char *text);
/* Text of the value given to apply for @slot; NULL when none was, "" for a no-op. Dies at the next
 * call. */
const char *hand_chosen(const struct hand *h, uint64_t slot);

#endif
