/* A cluster of real nodes for scenario tests: each a child process with its own loop, on a port of
 * 127.0.0.1 and a directory under /tmp; and raw calls to them from a fiber of the test.
 *
 *     kvf_open(&f, 3, NULL);            three nodes run
 *     kvf_run(&f, story);               story(&f) runs on a fiber
 *     kvf_close(&f);                    kills what runs, removes the directory
 */
#ifndef PAXFS_TESTS_LIB_KV_FIXTURE_H
#define PAXFS_TESTS_LIB_KV_FIXTURE_H

#include <sys/types.h>

#include "kv/kv.h"
#include "kv/node.h"
#include "kv/wire.h"
#include "net/net.h"
#include "txn/tsm.h"

#define KVF_NODES_MAX	7u
#define KVF_DEADLINE_NS (20 * NS_PER_S) /* nothing here takes longer, unless it hangs */

struct kvf_node {
	uint32_t id;	  /* 1, 2, ... */
	pid_t pid;	  /* 0: not running */
	char address[64]; /* kept over restarts */
	char dir[128];
};

struct kvf {
	char root[64];
	struct kvf_node nodes[KVF_NODES_MAX + 1]; /* by id */
	unsigned count;
	struct kv_node_config cfg;
	struct loop *loop;
	struct kv_transport *transport;
	struct kv_layout layout; /* after kvf_init */
	bool has_layout;
	uint64_t client, sequence;
	uint32_t leader[GROUPS_MAX];	  /* believed */
	struct msg error;		  /* of the last kvf_start that failed */
	void (*story)(struct kvf *f);	  /* while kvf_run */
};

void kvf_open(struct kvf *f, unsigned nodes, const struct kv_node_config *cfg); /* cfg may be NULL */
void kvf_close(struct kvf *f);
void kvf_run(struct kvf *f, void (*story)(struct kvf *f));

/* 0, or the error of kv_node_start with its message in f->error. */
int kvf_start(struct kvf *f, uint32_t id);
void kvf_kill(struct kvf *f, uint32_t id);     /* SIGKILL */
int kvf_stop(struct kvf *f, uint32_t id);      /* SIGTERM; the exit status */
void kvf_signal(struct kvf *f, uint32_t id, int signum);
void kvf_kill_all(struct kvf *f);
void kvf_start_all(struct kvf *f);
void kvf_remove(const char *path); /* rm -r */
void kvf_copy(const char *from, const char *to); /* cp -r */

/* ---- on a fiber ---- */

/* One call; the envelope is taken off. */
int kvf_call(struct kvf *f, uint32_t id, uint8_t type, struct slice body, uint64_t timeout_ns,
	     struct buf *reply, uint32_t *leader);

int kvf_init(struct kvf *f, uint32_t groups, uint32_t replicas); /* KV_INIT to all; the first error */
int kvf_open_client(struct kvf *f);				  /* KV_OPEN; sets f->client */

/* Executes at whoever leads, retrying with the same id until KVF_DEADLINE_NS. */
int kvf_exec(struct kvf *f, const struct txn_mini *m, struct txn_result *r);
int kvf_read(struct kvf *f, const struct txn_mini *m, struct txn_result *r); /* one group */
void kvf_part(struct kvf *f, const struct txn_mini *m, struct buf *out); /* of its only group */
int kvf_put(struct kvf *f, struct slice key, struct slice value);
int kvf_get(struct kvf *f, struct slice key, struct buf *value); /* ERR_NOT_FOUND */

/* place(2) | number(8) | 'T' | name; place i of group g's first shard when @group > 0. */
struct slice kvf_key(const struct kvf *f, uint32_t group, const char *name, uint8_t out[64]);

int kvf_status(struct kvf *f, uint32_t id, struct kv_node_status *out);
const struct kv_group_status *kvf_group(const struct kv_node_status *s, uint32_t group);
uint32_t kvf_leader(struct kvf *f, uint32_t group); /* waits until one serves; 0: deadline */

/* Asks again and again; false at the deadline. */
bool kvf_wait(struct kvf *f, bool (*cond)(struct kvf *f, void *ctx), void *ctx);
/* All running nodes have applied group @group up to the same slot, and agree on its checksum. */
bool kvf_wait_equal(struct kvf *f, uint32_t group);

#endif
