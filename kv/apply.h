/* The apply side of one group on this node: its transaction state machine on its part of the engine.
 * Belongs to one thread (the apply thread; in the simulator the caller's). Reads no clock.
 *
 * Everything is asked for by jobs, executed in order; what comes of one is inside it. */
#ifndef PAXFS_KV_APPLY_H
#define PAXFS_KV_APPLY_H

#include "base/list.h"
#include "consensus/paxos.h"
#include "kv/engine.h"
#include "kv/layout.h"
#include "kv/node_worker.h"
#include "txn/tsm.h"

enum kv_job_kind {
	KV_JOB_ENTRY,	 /* entry: a chosen one, the next in order */
	KV_JOB_READ,	 /* token, bytes: a part of reads */
	KV_JOB_MESSAGE,	 /* bytes: of another group's state machine */
	KV_JOB_PROPOSED, /* bytes: a command of several groups was proposed */
	KV_JOB_TICK,
	KV_JOB_WATCH,	/* bytes: a key whose writes are results from now on (flag), or no more */
	KV_JOB_LEADING, /* flag */
	KV_JOB_INSTALL_BEGIN,
	KV_JOB_INSTALL_CHUNK,  /* bytes */
	KV_JOB_INSTALL_FINISH, /* slot */
	KV_JOB_CHECKSUM,       /* -> out: applied slot u64 | crc u64 */
	KV_JOB_DESCRIBE,       /* -> out: lines */
	KV_JOB_STATS,	       /* -> stats; flag: estimate keys and bytes too */
};

enum kv_result_kind {
	KV_RESULT_PROPOSE,
	KV_RESULT_SEND,
	KV_RESULT_REPLY,
	KV_RESULT_READ,
	KV_RESULT_WRITTEN, /* data: a watched key that the job wrote */
};

struct kv_result { /* one output of the state machine; a write that somebody watches for */
	STAILQ_ENTRY(kv_result) link;
	enum kv_result_kind kind;
	uint32_t group; /* SEND */
	uint64_t client, sequence, token;
	size_t len;
	uint8_t data[];
};

struct kv_apply_stats {
	struct tsm_stats tsm;
	uint64_t keys, bytes; /* rough; of the last estimate */
};

struct kv_apply;

struct kv_job {
	struct kv_work work; /* the driver's */
	enum kv_job_kind kind;
	struct kv_apply *apply; /* borrowed */
	void *owner;		/* the replica, for the driver */
	void (*done)(struct kv_job *job); /* may be NULL; called by kv_replica_done, on the loop */
	void *ctx;			  /* of done */

	struct paxos_entry *entry; /* a reference */
	struct buf bytes;
	uint64_t slot, token;
	bool flag;

	int err;
	bool fatal; /* the state is damaged (ERR_CORRUPT, ERR_IO): the replica must stop */
	STAILQ_HEAD(, kv_result) results;
	uint64_t applied;     /* the slot applied when the job was done */
	uint64_t deadline_ns; /* next tick of the state machine */
	struct buf out;
	struct kv_apply_stats stats;
};

struct kv_job *kv_job_new(enum kv_job_kind kind, struct kv_apply *a);
void kv_job_free(struct kv_job *job); /* takes NULL */

struct kv_apply_config {
	uint32_t group;
	struct engine *engine;		/* borrowed */
	const struct kv_layout *layout; /* for the initial state; borrowed during the call */
	struct tsm_config tsm;		/* group and store are filled in */
};

/* Opens the group's part of the engine, writes its initial state if it has none, opens the state
 * machine. ERR_CORRUPT, ERR_NOMEM, ERR_IO with a message. */
int kv_apply_open(const struct kv_apply_config *cfg, struct kv_apply **out, struct msg *m);
void kv_apply_close(struct kv_apply *a); /* takes NULL */

/* Executes one job. */
void kv_apply_run(struct kv_job *job, uint64_t now_ns);

uint64_t kv_apply_applied(const struct kv_apply *a); /* the apply thread only, or when it is idle */
struct engine_group *kv_apply_engine(struct kv_apply *a); /* for what engine.h allows elsewhere */

/* The state of a group before slot 1: the same bytes on every member (kv/apply_format.c). Inside one
 * batch, commits slot 0. */
void kv_apply_format(struct engine_group *g, const struct kv_layout *l, uint32_t group);

#endif
