/* Shared inside kv/replica*.c only. */
#ifndef PAXFS_KV_REPLICA_INTERNAL_H
#define PAXFS_KV_REPLICA_INTERNAL_H

#include <bsd/sys/tree.h>
#include <uthash.h>

#include "kv/replica.h"

enum command_from { COMMAND_CLIENT, COMMAND_OWN, COMMAND_ADMIN };

struct command { /* waits to be proposed */
	STAILQ_ENTRY(command) link;
	enum command_from from;
	bool parts; /* of several groups */
	struct kv_caller caller; /* ADMIN */
	size_t len;
	uint8_t data[];
};
STAILQ_HEAD(command_list, command);

struct wait_key {
	uint64_t client, sequence;
};

struct wait { /* calls that wait for the reply of one request */
	struct wait_key key;
	struct kv_caller callers[KV_CALLERS_MAX];
	uint32_t caller_count;
	uint32_t crc;	    /* of the command queued last: a retry has the same, a CANCEL another */
	uint64_t queued_ns; /* when it was */
	UT_hash_handle hh;
};

struct watch_key;

struct read {
	uint64_t token;
	struct watch_key *watch; /* on whose behalf it is; NULL: a caller's */
	struct kv_caller caller;
	uint64_t slot; /* serve once applied */
	bool ready;    /* the core said so */
	bool under_lease;
	bool scheduled;
	TAILQ_ENTRY(read) blocked; /* ready, but its slot is not scheduled yet */
	UT_hash_handle hh;
	size_t len;
	uint8_t part[];
};

struct admin_wait { /* proposed: answered when its slot is applied */
	STAILQ_ENTRY(admin_wait) link;
	uint64_t slot;
	struct kv_caller caller;
};

RB_HEAD(watch_tree, watch);

struct persist_mark { /* records up to `seq` are in the log's batch */
	uint64_t batch, seq;
};

struct kv_replica {
	uint32_t group;
	struct paxos *paxos;
	struct kv_apply *apply;
	const struct kv_replica_io *io;
	void *io_ctx;
	void *user;

	bool started, leading, serving; /* leading: role; serving: as told to the apply side */
	int refused;
	char why[96];

	/* log */
	struct persist_mark *marks; /* a ring would do; a queue from `mark_first` is simpler */
	size_t mark_first, mark_count, mark_cap;
	struct buf scratch;

	/* commands */
	struct command_list queue;
	size_t queue_count, queue_bytes;
	struct wait *waits;
	STAILQ_HEAD(, admin_wait) admins;
	uint64_t proposed; /* highest slot proposed by this reign */

	/* reads */
	struct read *reads;
	uint64_t read_token;
	TAILQ_HEAD(, read) blocked;

	/* watches: replica_watch.c */
	struct watch_key *watched;
	TAILQ_HEAD(, watch_key) watch_due; /* to be looked at, at the end of the turn */
	struct watch_tree watches;	   /* by time */
	uint64_t watch_order;
	uint32_t watch_count;
	bool ending;

	/* apply */
	uint64_t scheduled, applied; /* slots */
	uint64_t apply_deadline_ns;
	bool tick_scheduled;
	size_t message_count, message_bytes; /* jobs under way */

	/* what the log held */
	bool restored_any;
	paxos_ballot restored_promise;
	uint64_t restored_slot;
};

/* Steps the core and carries out what it says. 0, or the core's error. */
int kv__step(struct kv_replica *r, struct paxos_event *ev, const struct kv_time *t,
	     struct paxos_update *up);

void kv__reply(struct kv_replica *r, const struct kv_caller *c, int err, struct slice body);
void kv__schedule(struct kv_replica *r, struct kv_job *job);

/* ---- replica_exec.c ---- */
void kv__enqueue_own(struct kv_replica *r, struct slice command);
void kv__exec_reply(struct kv_replica *r, const struct wait_key *key, struct slice body);
void kv__exec_applied(struct kv_replica *r);	      /* r->applied has grown */
void kv__exec_fail(struct kv_replica *r, int err); /* all waiting calls and the queue */

/* ---- replica_read.c ---- */
void kv__read_ready(struct kv_replica *r, const struct paxos_read_ready *ready);
void kv__read_scheduled(struct kv_replica *r); /* r->scheduled has grown */
void kv__read_done(struct kv_replica *r, uint64_t token, struct slice body,
		   const struct kv_time *t);
void kv__read_fail(struct kv_replica *r, int err);
/* A read on behalf of @k: its end is told by kv__watch_looked or kv__watch_failed, maybe before this
 * returns. */
void kv__read_watch(struct kv_replica *r, struct watch_key *k, struct slice part,
		    const struct kv_time *t);

/* ---- replica_watch.c ---- */
void kv__watch_looked(struct kv_replica *r, struct watch_key *k, struct slice body,
		      const struct kv_time *t);
void kv__watch_failed(struct kv_replica *r, struct watch_key *k, int err);
void kv__watch_written(struct kv_replica *r, struct slice key);
void kv__watch_turn(struct kv_replica *r, const struct kv_time *t);
void kv__watch_tick(struct kv_replica *r, const struct kv_time *t);
uint64_t kv__watch_deadline(const struct kv_replica *r);
void kv__watch_fail(struct kv_replica *r, int err); /* after kv__read_fail */

#endif
