/* Shared inside kv/client*.c only. */
#ifndef PAXFS_KV_CLIENT_INTERNAL_H
#define PAXFS_KV_CLIENT_INTERNAL_H

#include "base/list.h"
#include "kv/kv.h"
#include "kv/wire.h"

/* One attempt waits this long for an answer before another replica is asked; a frozen leader is
 * noticed by its followers in about the same time. Doubles up to the maximum: a request that waits
 * for a lock is resent (idempotently), not failed. */
#define ATTEMPT_NS_MIN	 (300 * NS_PER_MS)
#define ATTEMPT_NS_MAX	 (2 * NS_PER_S)
#define LATE_NS		 (1 * NS_PER_S) /* an answer that may be late is lost when it is so late */
#define WATCH_ROUND_NS	 (5 * NS_PER_S) /* a watch is asked anew: the leader may be frozen */
#define BACKOFF_NS_MIN	 (2 * NS_PER_MS)
#define BACKOFF_NS_MAX	 (100 * NS_PER_MS)
#define NOMEM_TRIES	 4u /* of a call that has no memory for the request or its answer */
#define MERGE_TRIES	 4u
#define CANCEL_NS	 (2 * NS_PER_S) /* how long an interrupted write waits for its fate */
#define SPACE_NS	 (1 * NS_PER_S) /* how long a node may take to say what room it has */
#define UNLOCK_NS	 (5 * NS_PER_S) /* how long locks are asked to be given up */
#define SUSPECT_NS	 (250 * NS_PER_MS) /* a node that broke off is not asked again so soon */
#define SILENT_NS	 (100 * NS_PER_MS) /* nor one that was silent while an attempt ran out */
#define SESSION_RENEW_NS (10 * NS_PER_S) /* at least every so often, */
#define SESSION_RENEWALS 6u /* and so many times within its time */
#define SESSION_HEAD	 24u /* bytes of a session's record before the name */
#define SESSION_HEAD_OLD 16u /* of one that does not say its time */
#define SESSION_RENEWED	 ((struct txn_field){.offset = 0, .width = 8})

struct kv_inflight { /* a write whose reply has not been seen */
	uint64_t sequence;
	TAILQ_ENTRY(kv_inflight) link;
};
TAILQ_HEAD(kv_inflight_list, kv_inflight);

struct kv_client {
	struct txn_executor executor;
	struct kv_client_config cfg; /* endpoints and name owned */
	char **endpoints;
	unsigned endpoint_count, endpoint_next;
	struct kv_layout layout;
	bool has_layout;
	uint32_t leader[GROUPS_MAX]; /* believed leader, 0 unknown */
	uint32_t round[GROUPS_MAX];  /* next member to try when it is not known */
	bool used[GROUPS_MAX];	     /* groups that may hold replies of this session */
	uint64_t suspect_ns[NODES_MAX]; /* until then others are asked first */
	uint64_t heard_ns[NODES_MAX];	/* when the node answered last, whatever it was */

	uint64_t id; /* session; 0: none yet */
	bool session_lost; /* others closed it; the next one will take its place */
	uint64_t session_ns; /* seen unchanged for so long it is closed */
	uint64_t shortest_ns; /* the least such time of all sessions, as seen last */
	uint64_t confirmed_ns; /* when the last renewal that was done was sent: mono */
	bool renewing; /* a fiber does it */
	uint64_t floor_told; /* the last floor that this client told all groups */
	struct kv_watched *watched; /* sessions of all clients, by id: client_bury.c */
	uint64_t looks, looked_ns;  /* at them, so far; when the last one began */
	bool opening; /* a fiber is opening it */
	uint64_t sequence;
	struct kv_inflight_list inflight; /* ascending */
	bool closing;
	bool keeping;	      /* the keep-alive fiber has been started and has not ended */
	struct fiber *keeper; /* NULL before it runs */
	bool keeper_sleeps;
	kv_session_fn *session_fn;
	void *session_ctx;
	uint32_t background;  /* fibers of this client that nobody waits for, but close */
	struct fiber *closer; /* waits for them to end */
	struct kv_client_stats stats;
};

/* The end of everything this call may wait for; UINT64_MAX: no end. */
uint64_t kv__deadline(const struct kv_client *c);

/* One call to the leader of @group, retried over its replicas until a replica accepts it, with the
 * envelope taken off into @body (a slice of @reply). *unknown is set when an earlier attempt may
 * have been executed although no answer came. Returns the envelope's err for those that retrying
 * cannot mend, else ERR_TIMEOUT, ERR_INTERRUPTED. */
int kv__call_group(struct kv_client *c, uint32_t group, uint8_t type, struct slice request,
		   uint64_t deadline_ns, bool *unknown, struct buf *reply, struct slice *body);

/* The same for a call that the node answers late, after @answer_ns at most. Its ERR_TIMEOUT is final,
 * and comes from the leader. */
int kv__call_group_late(struct kv_client *c, uint32_t group, uint8_t type, struct slice request,
			uint64_t answer_ns, uint64_t deadline_ns, struct buf *reply,
			struct slice *body);

int kv__layout_refresh(struct kv_client *c, uint64_t newer_than, uint64_t deadline_ns,
		       struct msg *m);

/* Waits a little, doubling *backoff; ERR_TIMEOUT past the deadline, ERR_INTERRUPTED. */
int kv__pause(struct kv_client *c, uint64_t *backoff_ns, uint64_t deadline_ns);

int kv__exec(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r);

/* As client @client: the session that is being opened, or 0, anonymously: a mini-transaction of one
 * group that may run twice. */
int kv__exec_as(struct kv_client *c, const struct txn_mini *m, uint64_t client, uint64_t deadline_ns,
		struct txn_result *r);

/* Cuts @m by the present layout; the part of the group of @home, if given, goes first. Does not
 * block. ERR_INVAL when there is no such part. */
int kv__split(struct kv_client *c, const struct txn_mini *m, struct slice home,
	      struct txn_part *parts, uint32_t *n);

struct kv_write { /* a request that is logged */
	struct kv_client *c;
	const struct txn_mini *m;
	struct txn_part *parts; /* parts[0]: the home key's group */
	uint32_t part_count;
	uint64_t client; /* 0: anonymous */
	struct slice home;
	uint64_t age, deadline_ns;
	bool lock_only;
	uint64_t lock;

	uint64_t sequence; /* out: of the last try */
	bool unknown;	   /* out: an earlier attempt at it may have been executed */
	bool undecided;	   /* out: it failed, and may be executed yet */
};
/* One try under a sequence of its own, with retries at every replica. Its result is merged into @r. */
int kv__write_once(struct kv_write *w, struct txn_result *r);

bool kv__worth_another_try(int status);
/* After ERR_WRONG_SHARD under the layout @version. */
int kv__map_was_stale(struct kv_client *c, uint64_t version, uint64_t *backoff_ns,
		      uint64_t deadline_ns);

/* ---- client_read.c ---- */
/* @starved: set when too many rounds did not agree, and then @r is no answer. */
int kv__read(struct kv_client *c, const struct txn_mini *m, struct txn_part *parts, uint32_t n,
	     uint64_t deadline_ns, bool *starved, struct txn_result *r);

/* ---- client_lock.c: see struct txn_executor ---- */
int kv__lock(struct txn_executor *x, const struct txn_mini *m, struct txn_lock *lock);
int kv__exec_locked(struct txn_executor *x, const struct txn_mini *m, const struct txn_lock *lock,
		    struct txn_result *r);
void kv__unlock(struct txn_executor *x, const struct txn_lock *lock);

/* ---- fibers: client_fan.c, client.c ---- */

/* A fiber that nobody waits for but kv_client_close; it calls kv__background_end last. ERR_NOMEM. */
int kv__background_start(struct kv_client *c, fiber_fn *fn, void *arg);
void kv__background_end(struct kv_client *c);

/* Runs fn(ctx, i) for i in 0..n-1 at the same time and waits for all; the first error wins. */
typedef int kv_fan_fn(void *ctx, uint32_t i);
int kv__fan_out(struct kv_client *c, uint32_t n, kv_fan_fn *fn, void *ctx);

/* ---- sessions: client_session.c ---- */
/* Opens the session if there is none, or if it was lost. */
int kv__session_open(struct kv_client *c, uint64_t deadline_ns);
/* Before a call that writes: ERR_SESSION when another session than the present one, which was lost, has
 * taken its place. */
int kv__session_for_call(struct kv_client *c, uint64_t deadline_ns);
/* 0: at this moment nobody has closed the session for its silence, or it is another one by now. */
int kv__session_confirm(struct kv_client *c, uint64_t deadline_ns);
void kv__session_refused(struct kv_client *c, uint64_t client); /* by a group: it is closed */
void kv__session_close(struct kv_client *c);
void kv__session_key(struct buf *out, uint64_t id);
/* CLOSE of @id: in meta first, then in @groups. */
int kv__session_end(struct kv_client *c, uint64_t id, const uint32_t *groups, uint32_t n,
		    uint64_t deadline_ns);
int kv__session_delete(struct kv_client *c, uint64_t id, uint64_t renewed);
/* A command to meta, then to @groups. */
int kv__tell_all(struct kv_client *c, struct slice command, const uint32_t *groups, uint32_t n,
		 uint64_t deadline_ns);
/* Groups other than meta: all of them, or only those in @used. */
uint32_t kv__list_groups(const struct kv_client *c, const bool *used, uint32_t *out);

/* ---- client_bury.c ---- */
void kv__bury_dead(struct kv_client *c);
void kv__bury_release(struct kv_client *c);

#endif
