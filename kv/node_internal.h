/* Shared inside kv/node*.c and kv/snapshot_*.c only. All of it belongs to the loop thread, except what
 * the jobs of the two workers hold. */
#ifndef PAXFS_KV_NODE_INTERNAL_H
#define PAXFS_KV_NODE_INTERNAL_H

#include <uthash.h>

#include "kv/datadir.h"
#include "kv/node.h"
#include "kv/node_wire.h"
#include "kv/replica.h"
#include "kv/wire.h"
#include "net/net.h"

#define KV_FLUSH_BYTES		(32u * 1024u * 1024u) /* unflushed in the engine */
#define KV_FLUSH_QUIET_NS	(5 * NS_PER_S)
#define KV_LOG_BYTES		(512ull * 1024 * 1024)
#define KV_HINT_NS		(1 * NS_PER_S) /* then others are tried, too */
#define KV_SNAPSHOT_SOURCES_MAX 4u
#define KV_SNAPSHOT_IDLE_NS	(30 * NS_PER_S)
#define KV_SNAPSHOT_ALONE_NS	(5 * NS_PER_S) /* not asked for so long: gives way to another */
#define KV_SNAPSHOT_FETCHES_MAX 2u
#define KV_STATUS_WAIT_NS	(250 * NS_PER_MS) /* for figures of the apply thread */
#define KV_STATUS_WAITS_MAX	64u
#define KV_JOB_CALLS_MAX	64u		      /* KV_DESCRIBE, KV_CHECKSUM under way */
#define KV_HELLO_SIZE_MAX	(64u * 1024u)	      /* GROUPS_MAX groups' acknowledgements */
#define KV_HELLO_BYTES_MAX	(8u * 1024u * 1024u) /* of greetings kept before init */
#define KV_ESTIMATE_NS		(5 * NS_PER_S)	  /* keys and bytes are at most this old */
#define KV_SLOW_SYNC_NS		(200 * NS_PER_MS) /* worth a log line */
#define KV_STALL_NS		(500 * NS_PER_MS) /* worth a status note */

struct snapshot_fetch;
struct snapshot_source;

struct node_conn { /* an incoming connection */
	uint64_t id;
	struct net_conn *net;
	uint32_t peer;	  /* the node that said HELLO on it; 0: none did */
	uint64_t boot;	  /* of that node, then */
	struct buf hello; /* said before this node was initialised */
	bool watches;	  /* it has asked for one: groups may have to forget it */
	UT_hash_handle hh;
};

struct node_group {
	struct kv_node *node;
	uint32_t id;
	const struct kv_layout_group *layout;
	struct kv_replica *replica;
	struct kv_apply *apply;
	struct env_timer timer;
	TAILQ_ENTRY(node_group) touched;
	bool is_touched;

	uint32_t seen_leader; /* as logged last */
	bool seen_serving;
	paxos_ballot seen_ballot;

	struct kv_apply_stats stats; /* of the last STATS job */
	uint64_t estimated_ns;
	struct snapshot_fetch *fetch; /* NULL: none */
	uint64_t fetch_after_ns;      /* not before: a fetch has failed */
	uint32_t snapshots_open;      /* sources: the apply side must outlive them */
};

struct node_peer { /* another node of the layout */
	struct kv_node *node;
	uint32_t id;
	struct net_peer *net;
	bool up;
	uint64_t birth;	      /* of its data directory; 0: never heard of it */
	uint64_t boot;	      /* the latest of which a HELLO has come */
	struct kv_acks *acks; /* by index in kv_node.list: what it acknowledged here */
};

struct kv_node {
	struct kv_node_config cfg; /* strings owned */
	struct loop *loop;
	struct env *env;
	struct datadir dir;
	struct engine *engine;
	struct wal_device *device;
	struct wal *wal;
	struct loop_async *wal_async;
	struct kv_worker *apply, *back;
	struct kv_work_list here; /* jobs that the loop runs itself at the end of its turn */
	unsigned here_count;
	uint64_t here_barred_ns; /* not before: one took too long */
	struct net_listener *listener;
	char address[ADDRESS_SIZE_MAX];
	struct node_conn *conns;
	struct loop_turn turn;
	bool appended; /* to the log, in this turn */
	uint64_t boot, started_ns;
	uint64_t anonymous; /* the last sequence given to a request of its own */

	bool has_layout;
	struct kv_layout layout;
	struct buf layout_bytes;
	struct node_group *groups[GROUPS_MAX]; /* by id; NULL: not here */
	struct node_group **list;	       /* the same, dense */
	uint32_t group_count;
	TAILQ_HEAD(, node_group) touched;
	struct node_peer *peers;
	uint32_t peer_count;
	uint32_t hint[GROUPS_MAX];  /* leaders of groups, from where their messages came, */
	uint64_t hint_ns[GROUPS_MAX]; /* and when */
	uint32_t round[GROUPS_MAX]; /* else: the member to try next */
	struct buf scratch;
	uint32_t job_calls;
	size_t hello_bytes; /* of greetings kept before init */
	bool fenced; /* amnesia: every replica refuses */
	char fence[96];
	uint32_t refused_node; /* whose greeting was refused last, and logged then */
	uint64_t refused_ns;

	/* node_flush.c */
	struct env_timer flush_timer;
	bool flushing, flush_again;
	uint64_t flush_not_before_ns; /* the disk was full */
	bool trim_due; /* memory may be given back when it is quiet */
	uint64_t last_entry_ns;
	uint64_t room_ns;	 /* when a flush was last begun to make room */
	uint64_t appended_bytes; /* to the log since the last flush of the engine began */
	STAILQ_HEAD(, flush_wait) flush_waits, flush_next;
	bool peers_dirty;

	/* node_status.c */
	TAILQ_HEAD(, status_wait) status_waits;
	uint32_t status_count;

	/* snapshot_source.c, snapshot_fetch.c */
	TAILQ_HEAD(, snapshot_source) sources;
	uint32_t source_count, fetch_count;
	uint64_t last_transfer;
	struct env_timer source_timer;

	/* node_join.c */
	bool joining;
	struct net_peer **join_peers; /* while the fiber runs */
	uint32_t join_count;
	struct fiber *join_fiber;

	/* node_stop.c */
	bool online; /* the start has succeeded */
	bool stopping, closed;
	struct env_timer stop_timer;
	uint64_t stop_deadline_ns;
	void (*stop_done)(void *ctx);
	void *stop_ctx;
};

/* ---- node.c ---- */
struct kv_time kv__now(struct kv_node *n);
void kv__touch(struct node_group *g); /* it may want to propose, or has another deadline */

/* ---- node_io.c: what replicas ask for ---- */
extern const struct kv_replica_io kv__node_io;
void kv__node_schedule(struct kv_node *n, struct kv_job *job);
void kv__apply_hand_on(struct kv_node *n); /* jobs that the loop kept for itself: to the thread */
bool kv__apply_turn(struct kv_node *n);	     /* runs them; false when there were none */
void kv__send_txn(struct kv_node *n, struct kv_txn_frame *f);
uint32_t kv__leader_of(struct kv_node *n, uint32_t group); /* 0: unknown */

/* ---- node_groups.c ---- */
int kv__groups_make(struct kv_node *n, struct msg *m); /* for n->layout */
int kv__groups_start(struct kv_node *n, struct msg *m);
void kv__groups_free(struct kv_node *n);
int kv__layout_adopt(struct kv_node *n, struct slice bytes); /* into n->layout; ERR_PROTO */
/* KV_INIT. 0, ERR_PROTO, ERR_EXISTS_CLUSTER, ERR_IDENTITY, ...; @m may be given to the caller. */
int kv__init_cluster(struct kv_node *n, struct slice bytes, struct msg *m);

/* ---- node_frames.c ---- */
extern const struct net_handler kv__server_handler; /* without its ctx */
void kv__answer(struct kv_node *n, const struct kv_caller *c, int err, uint32_t leader,
		struct slice body);
void kv__answer_text(struct kv_node *n, const struct kv_caller *c, int err, const struct msg *m);

/* ---- node_open.c ---- */
void kv__open_client(struct kv_node *n, const struct kv_caller *c);
int kv__opened_id(struct slice reply, uint64_t *id); /* from the state machine's reply */

/* ---- node_peers.c ---- */
void kv__peers_make(struct kv_node *n); /* their memory; then peers_load; then connect */
int kv__peers_connect(struct kv_node *n);
void kv__peers_free(struct kv_node *n);
struct node_peer *kv__peer(struct kv_node *n, uint32_t id); /* NULL: not another node */
void kv__hello(struct kv_node *n, struct node_conn *c, struct slice body);
void kv__hello_pending(struct kv_node *n); /* after init */
/* Before init: what the nodes of @cluster that said HELLO think of this one. ERR_AMNESIA: they know it
 * by another data directory. *greeted: one of them did say HELLO. */
int kv__hello_check(struct kv_node *n, const uint8_t cluster[KV_CLUSTER_ID_SIZE], bool *greeted,
		    struct msg *m);
void kv__note_ack(struct kv_node *n, struct node_peer *p, uint64_t boot,
		  const struct paxos_message *m);
void kv__peers_encode(struct kv_node *n, struct buf *out); /* the file `peers` */
int kv__peers_load(struct kv_node *n, struct msg *m);
void kv__fence(struct kv_node *n, const char *why);
int kv__fence_load(struct kv_node *n, struct msg *m); /* as an earlier start was told */

/* ---- node_flush.c ---- */
void kv__flush_init(struct kv_node *n);
void kv__flush_begin(struct kv_node *n); /* the node is up */
void kv__flush_note_entry(struct kv_node *n); /* an entry was applied */
void kv__flush_note_append(struct kv_node *n, size_t bytes);
void kv__flush_request(struct kv_node *n, const struct kv_caller *c); /* c may be NULL */
/* The log lacks room: a flush lets it be cut. False: not yet. */
bool kv__flush_make_room(struct kv_node *n);
void kv__flush_peers(struct kv_node *n); /* writes the file `peers` soon */
void kv__flush_free(struct kv_node *n);

/* ---- node_status.c ---- */
void kv__status_request(struct kv_node *n, const struct kv_caller *c);
void kv__node_disk(const char *dir, struct kv_node_status *out); /* node_disk.c */
void kv__status_free(struct kv_node *n);

/* ---- snapshots ---- */
void kv__source_init(struct kv_node *n);
void kv__source_request(struct kv_node *n, const struct kv_caller *c, struct slice body);
void kv__source_free(struct kv_node *n); /* the background thread has ended */
void kv__fetch_start(struct kv_node *n, struct node_group *g, uint32_t from);
void kv__fetch_cancel_all(struct kv_node *n);
/* "" or what the fetch is at. */
void kv__fetch_note(const struct node_group *g, uint64_t behind, char *out, size_t size);

/* ---- node_join.c ---- */
void kv__join_start(struct kv_node *n);
void kv__join_cancel(struct kv_node *n);

/* ---- node_stop.c ---- */
void kv__stop_check(struct kv_node *n); /* something that a stop waits for has changed */

#endif
