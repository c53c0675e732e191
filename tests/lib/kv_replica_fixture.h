/* Up to three replicas of one group in one process, on virtual time: real consensus, state machine and
 * in-memory engine; a log that is a list, a network that is a queue, an apply thread that is another.
 * Anything of it can be held back.
 *
 *     krf_open(&f, 3);
 *     leader = krf_elect(&f);
 *     krf_put(&f, leader, "key", "value");   a call
 *     krf_settle(&f);                        until nothing more happens at this moment
 *     krf_pass(&f, NS_PER_S);                time passes, timers fire
 *     krf_close(&f);
 */
#ifndef PAXFS_TESTS_LIB_KV_REPLICA_FIXTURE_H
#define PAXFS_TESTS_LIB_KV_REPLICA_FIXTURE_H

#include "base/env.h"
#include "base/list.h"
#include "kv/replica.h"
#include "kv/wire.h"

#define KRF_MEMBERS_MAX 3u
#define KRF_GROUP	1u
#define KRF_HOP_NS	(100 * NS_PER_US) /* a message's way */

struct krf_record {
	STAILQ_ENTRY(krf_record) link;
	struct wal_record rec;
	struct buf payload;
	uint64_t batch;
};

struct krf_packet {
	STAILQ_ENTRY(krf_packet) link;
	uint32_t from, to;
	uint64_t at_ns;
	struct buf bytes;
};

struct krf_answer {
	STAILQ_ENTRY(krf_answer) link;
	struct kv_caller caller;
	int err;
	struct buf body;
};

struct krf;

struct krf_member {
	struct krf *f;
	uint32_t id; /* 1, 2, 3 */
	bool running;
	struct engine *engine; /* survives a restart, as if flushed */
	struct kv_apply *apply;
	struct kv_replica *replica;

	STAILQ_HEAD(, krf_record) log;
	uint64_t batch, synced;
	bool hold_log, busy, full, damaged; /* of the log */
	bool brimful; /* takes no entries of others either */

	STAILQ_HEAD(krf_jobs, kv_work) jobs;
	bool hold_jobs;
	bool cut; /* off the network */
	uint32_t snapshot_from;
	uint64_t truncated_below, changes, entries; /* entries: appended that hold commands */
	STAILQ_HEAD(, krf_answer) answers;
};

struct krf {
	struct krf_member members[KRF_MEMBERS_MAX + 1]; /* by id */
	uint32_t count;
	uint64_t now_ns, last_call, sequence, retain_bytes;
	bool others; /* there are other groups, which hear nothing: the test speaks for them */
	struct kv_layout layout;
	STAILQ_HEAD(, krf_packet) net;
};

void krf_open(struct krf *f, uint32_t members);
void krf_close(struct krf *f);
void krf_settle(struct krf *f);
void krf_pass(struct krf *f, uint64_t ns);
uint32_t krf_elect(struct krf *f); /* lets time pass until one serves; its id */
uint32_t krf_serving(const struct krf *f); /* of those that are not cut off; 0: none */
void krf_stop(struct krf *f, uint32_t id);
void krf_start(struct krf *f, uint32_t id); /* with what its log and engine have */
void krf_fetch(struct krf *f, uint32_t id); /* the snapshot that it asked for */
uint64_t krf_fetch_begin(struct krf *f, uint32_t id, uint32_t from); /* only its jobs; its slot */
void krf_fetch_end(struct krf *f, uint32_t id, uint64_t slot);
bool krf_run_job(struct krf *f, uint32_t id); /* the next one, held back or not; false: none */

/* Calls, in client 7's name: each returns its number, for krf_answer. */
struct slice krf_key(const char *name, uint8_t out[64]);
uint64_t krf_put(struct krf *f, uint32_t id, const char *key, const char *value);
uint64_t krf_put_as(struct krf *f, uint32_t id, uint64_t sequence, const char *key,
		    const char *value);
uint64_t krf_del(struct krf *f, uint32_t id, const char *key);
uint64_t krf_get(struct krf *f, uint32_t id, const char *key);
uint64_t krf_exec_bytes(struct krf *f, uint32_t id, struct slice command);
uint64_t krf_close_client(struct krf *f, uint32_t id, uint64_t client);

/* 1 while there is no answer; else the envelope's err, else the status of the reply. The value read is
 * in @value, if given. */
int krf_answer(struct krf *f, uint64_t call, struct buf *value);

/* Settles and compares. */
bool krf_equal(struct krf *f);

#endif
