/* The routing client on virtual time, before a make-believe cluster: three nodes, meta and two data
 * groups, a table of keys and a table of replies, and a script that makes calls go wrong.
 *
 *     kcf_open(&k);
 *     k.script = lose_the_first;
 *     kcf_run(&k, story);           story(&k) runs on a fiber
 *     kcf_close(&k);
 */
#ifndef PAXFS_TESTS_LIB_KV_CLIENT_FIXTURE_H
#define PAXFS_TESTS_LIB_KV_CLIENT_FIXTURE_H

#include "base/list.h"
#include "kv/kv.h"
#include "kv/wire.h"

#define KCF_CALLS_MAX	4096u
#define KCF_KEYS_MAX	64u
#define KCF_REPLIES_MAX 1024u
#define KCF_LATENCY_NS	NS_PER_MS /* each way */

enum kcf_command { KCF_NONE, KCF_REQUEST, KCF_CANCEL, KCF_CLOSE, KCF_FLOOR };

struct kcf_call {
	uint32_t node; /* that was called */
	uint8_t type;  /* enum kv_frame */
	uint32_t group;
	uint64_t at_ns;
	struct buf body; /* behind the group */
	uint32_t nth;	 /* of its type: 1, 2, ... */

	enum kcf_command command; /* of KV_EXEC and KV_ADMIN */
	uint64_t client, sequence, mark, age, lock;
	bool lock_only;
	uint32_t part_count;
	int why; /* CANCEL */
};

struct kcf_fate { /* all zero: the call goes well */
	int before;	 /* a transport error; nothing was executed */
	int after;	 /* a transport error; it was executed */
	int envelope;	 /* the answer's err; nothing was executed */
	uint32_t hint;	 /* with ERR_NOT_LEADER; default: nobody known */
	int status;	 /* executed, with this result */
	bool hold;	 /* the answer waits for kcf.release, or an interrupt */
};

struct kcf_key {
	uint8_t key[KEY_SIZE_MAX];
	uint32_t key_len;
	uint8_t value[64];
	uint32_t value_len;
	uint64_t version;
};

struct kcf_reply {
	uint64_t client, sequence;
	int status;
};

struct kcf {
	struct env env;
	uint64_t now_ns, seed, order;
	struct env_timer *timers; /* sorted by time */
	struct fiber_sched *fibers;
	struct kv_transport transport;
	struct kv_layout layout; /* as the nodes have it */
	uint32_t leader[GROUPS_MAX];
	uint64_t last_id;

	struct kcf_call calls[KCF_CALLS_MAX];
	uint32_t call_count;
	struct kcf_key keys[KCF_KEYS_MAX];
	uint32_t key_count;
	struct kcf_reply replies[KCF_REPLIES_MAX]; /* one for each request executed */
	uint32_t reply_count;

	void (*script)(struct kcf *k, const struct kcf_call *c, struct kcf_fate *f); /* or NULL */
	bool release;
	unsigned counter; /* the test's */
	struct kv_client_config cfg;
	struct kv_client *client; /* by kcf_client */
	void (*story)(struct kcf *k);
	bool done;
};

void kcf_open(struct kcf *k);
void kcf_close(struct kcf *k);
void kcf_run(struct kcf *k, void (*story)(struct kcf *k)); /* until all fibers have ended */

/* On a fiber: opens k->client by k->cfg. */
void kcf_client(struct kcf *k, bool session);

/* A key of a shard of @group, and what the cluster holds under one. */
struct slice kcf_key(const struct kcf *k, uint32_t group, const char *name, uint8_t out[64]);
void kcf_put(struct kcf *k, struct slice key, struct slice value, uint64_t version);

/* Calls of a type so far; the nth of them, from 1 (NULL: there is none). */
uint32_t kcf_count(const struct kcf *k, uint8_t type);
const struct kcf_call *kcf_nth(const struct kcf *k, uint8_t type, uint32_t nth);
void kcf_forget(struct kcf *k); /* the calls so far */

/* One write in group @a, and one in @b if that is not 0, in one transaction; the same of reads. */
int kcf_write(struct kcf *k, uint32_t a, uint32_t b);
int kcf_read(struct kcf *k, uint32_t a, uint32_t b, uint64_t versions[2]);

/* A fiber that writes in one group. */
struct kcf_writer {
	struct kcf *k;
	uint32_t group;
	bool done;
	int err;
	struct fiber *fiber;
};
void kcf_start_writer(struct kcf *k, struct kcf_writer *w, uint32_t group);
void kcf_await_writer(struct kcf_writer *w);
const struct kcf_call *kcf_last_cancel(const struct kcf *k); /* NULL: there is none */
void kcf_all_down(struct kcf *k, const struct kcf_call *c, struct kcf_fate *f); /* a script */

#endif
