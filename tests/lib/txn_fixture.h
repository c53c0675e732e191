/* A cluster of transaction state machines under virtual time: groups x replicas over perfect logs,
 * a network that delays, loses, repeats and reorders, leaders that come and go, replicas that
 * restart. Everything follows from the seed.
 *
 * A group's log is an array of entries. All replicas apply all of it, some later; their stores must
 * be equal after each entry. What the leader's machine puts out is carried out, what others put out
 * is dropped. Two replies to one request must be the same.
 *
 * Clients are fibers (txf_spawn), or the test itself: a call from outside of a fiber runs the
 * cluster until the answer is there.
 */
#ifndef PAXFS_TESTS_LIB_TXN_FIXTURE_H
#define PAXFS_TESTS_LIB_TXN_FIXTURE_H

#include <uthash.h>

#include "base/env.h"
#include "base/fiber.h"
#include "base/list.h"
#include "tests/lib/check.h"
#include "tests/lib/txn_store_mem.h"
#include "txn/tsm.h"
#include "txn/txn.h"

#define TXF_GROUPS_MAX	 8u
#define TXF_REPLICAS_MAX 5u
#define TXF_PLACE_STEP	 1000u /* group g owns the keys from place g * step on */

struct txf_config {
	unsigned groups, replicas;
	uint64_t seed;
	uint64_t delay_ns_min, delay_ns_max; /* of a message */
	uint64_t log_ns_min, log_ns_max;     /* from a proposal to its entry */
	unsigned loss, repeat;		     /* of 1000 messages */
	unsigned late; /* of 1000 messages: comes once more, when all may be over and forgotten */
	unsigned lag;			     /* of 1000 entries, for each follower: applied later */
	unsigned crash;	      /* of 1000 entries, for each replica: torn, and applied anew */
	unsigned leader_loss; /* of 1000 steps */
	unsigned restart;     /* of 1000 steps */
	unsigned snapshot;    /* of 1000 steps: a follower gets another's store */
	uint64_t limit_ns;    /* no test takes longer than this (virtual) */
};

/* 4 groups of 3, no faults: a message takes 100 us, the log 200 us. */
void txf_config_default(struct txf_config *c);
/* The same with all faults, how many of each drawn from @seed. */
void txf_config_faulty(struct txf_config *c, uint64_t seed);

struct txf_entry {
	uint64_t clock_ns;
	struct buf *commands;
	unsigned count;
	uint64_t hash; /* of a store that has applied it */
	bool hashed;
};

struct txf_replica {
	struct txn_mem *mem;
	struct tsm *tsm;
	size_t applied; /* entries */
};

struct txf_group {
	struct txf *f;
	uint32_t id;
	struct txf_entry *log;
	size_t log_len, log_cap;
	struct buf *pending; /* proposed, not in the log yet */
	unsigned pending_count, pending_cap;
	bool choosing; /* an event for them is on its way */
	int leader;    /* -1: none */
	int64_t skew_ns;
	struct txf_replica replicas[TXF_REPLICAS_MAX];
};

struct txf_event;
struct txf_call;
struct txf_answer;

struct txf {
	struct txf_config cfg;
	uint64_t random, now_ns, order, steps;
	bool quiet;  /* no more faults */
	/* Garbage is about: messages to unknown groups are dropped, answers are not compared. */
	bool strays;
	struct env env;
	struct fiber_sched *fibers;
	struct txf_group groups[TXF_GROUPS_MAX];
	struct txf_event **heap;
	size_t heap_len, heap_cap;
	struct txf_call *calls;	    /* by id */
	struct txf_answer *answers; /* by request */
	uint64_t call_ids, client_ids, anonymous;
	unsigned failures_at_open;
	uint64_t idle_ticks;
	/* Called after each step, when set. */
	void (*on_step)(struct txf *f, void *ctx);
	void *ctx;
	/* May drop a message between groups (true), when set. */
	bool (*drop)(struct txf *f, uint32_t from, uint32_t to, struct slice bytes);
	void *drop_ctx;
	uint64_t messages; /* sent between groups so far */
};

void txf_open(struct txf *f, const struct txf_config *cfg);
void txf_close(struct txf *f); /* drops what is on its way; fibers must have ended */

uint64_t txf_random(struct txf *f);
uint64_t txf_below(struct txf *f, uint64_t n);
bool txf_chance(struct txf *f, unsigned of_1000);

/* ---- running ---- */

bool txf_step(struct txf *f); /* the next event; false: nothing is left to happen */
void txf_spawn(struct txf *f, fiber_fn *fn, void *arg);
bool txf_run(struct txf *f); /* until all fibers have ended; false (and failed): they hang */
void txf_sleep(struct txf *f, uint64_t ns);
/* Ends the faults, elects leaders, runs until nothing happens any more, compares and audits all
 * replicas; no lock, waiting or prepared transaction may be left. */
void txf_settle(struct txf *f);
/* The checks at the end of txf_settle, without the rest. */
void txf_check_replicas(struct txf *f);

/* ---- faults, by hand ---- */

/* The leader is gone; of what it had proposed the first @kept commands stay. A new one comes by
 * itself after a while (elect_after_ns), or never (UINT64_MAX). */
void txf_leader_loss(struct txf *f, uint32_t group, unsigned kept, uint64_t elect_after_ns);
void txf_elect(struct txf *f, uint32_t group, unsigned replica);
void txf_restart(struct txf *f, uint32_t group, unsigned replica);
/* @replica goes on from a copy of the store of @from; not the leader. */
void txf_snapshot(struct txf *f, uint32_t group, unsigned replica, unsigned from);

struct tsm *txf_leader(struct txf *f, uint32_t group); /* elects one if there is none */
void txf_stats(struct txf *f, uint32_t group, struct tsm_stats *out); /* of the leader */
struct txn_mem *txf_mem(struct txf *f, uint32_t group); /* of the leader */
/* Puts a command into the group's log and runs until it is applied. */
void txf_apply(struct txf *f, uint32_t group, struct slice command);

/* ---- keys ---- */

struct txf_key {
	uint8_t bytes[KEY_SIZE_MAX];
	size_t len;
};

/* place | number | kind | name, of the group. */
struct txf_key txf_key(uint32_t group, uint64_t number, char kind, const char *name);
static inline struct slice txf_slice(const struct txf_key *k)
{
	return slice_of(k->bytes, k->len);
}
int txf_route(void *ctx, struct slice key, struct slice to, uint32_t *group); /* ctx: struct txf */

/* ---- clients ---- */

struct txf_inflight {
	uint64_t sequence;
	TAILQ_ENTRY(txf_inflight) link;
};
TAILQ_HEAD(txf_inflight_list, txf_inflight);

struct txf_client {
	struct txn_executor executor;
	struct txf *f;
	uint64_t id, sequence;
	struct txf_inflight_list inflight;
	bool reads_by_log; /* also what only reads is a request */
	uint64_t retries;  /* after ABORTED, DEADLOCK, BUSY */
};

void txf_client_init(struct txf_client *c, struct txf *f);
void txf_client_release(struct txf_client *c);

/* A request on its way. */
struct txf_call {
	UT_hash_handle hh;
	struct txf *f;
	uint64_t id, client, sequence;
	uint32_t group;
	bool read, done, detached;
	unsigned attempts;
	struct buf command, reply;
	struct fiber *waiter;
	struct txf_client *owner; /* NULL: not in its list */
	struct txf_inflight inflight;
};

struct txf_options {
	bool lock_only;
	uint64_t lock;	   /* sequence; 0: none */
	struct slice home; /* empty: that of the first mutation, else of the first read, condition */
	uint64_t age;	   /* 0: now */
};

/* Sends @m as a request of its own; txf_await waits for the reply, merges it into @r and ends it.
 * ERR_* of what cannot be sent, else *out. */
int txf_send(struct txf_client *c, const struct txn_mini *m, const struct txf_options *o,
	     struct txf_call **out);
/* Sends @command under a sequence of the client; its reply is awaited as that of any other. */
struct txf_call *txf_send_raw(struct txf_client *c, uint32_t group, uint64_t sequence,
			      struct slice command);
/* r->status; both NULL: the status alone. */
int txf_await(struct txf_call *call, const struct txn_mini *m, struct txn_result *r);
void txf_drop_call(struct txf_call *call); /* forgets it; takes NULL */
int txf_close_session(struct txf_client *c); /* CLOSE in every group; waits for all */

/* As struct txn_executor's exec, which c->executor has too (with locks). */
int txf_exec(struct txf_client *c, const struct txn_mini *m, struct txn_result *r);

/* One key at a time. */
int txf_put(struct txf_client *c, struct slice key, struct slice value);
int txf_get(struct txf_client *c, struct slice key, struct buf *value, uint64_t *version);

/* ---- inside of the fixture ---- */

void txf__call_answered(struct txf *f, uint64_t id, struct slice reply);
void txf__call_retry(struct txf *f, uint64_t id);
struct txf_call *txf__call_next(struct txf *f, const struct txf_call *last, uint32_t group,
				uint64_t client, uint64_t sequence);
/* Sends the call's command to its group's leader, and arms the next attempt. */
void txf__call_send(struct txf_call *call);

#endif
