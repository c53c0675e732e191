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
#define BACKOFF_NS_MIN	 (2 * NS_PER_MS)
#define BACKOFF_NS_MAX	 (100 * NS_PER_MS)
#define CANCEL_NS	 (2 * NS_PER_S) /* how long an interrupted write waits for its fate */
#define SESSION_RENEW_NS (10 * NS_PER_S)
#define SESSION_DEAD_NS	 (60 * NS_PER_S) /* not renewed for so long: others may close it */

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

	uint64_t id; /* session; 0: none yet */
	struct fiber_mutex opening;
	uint64_t sequence;
	struct kv_inflight_list inflight; /* ascending */
	bool closing, session_lost;
	struct fiber *keeper; /* the keep-alive fiber */
	struct fiber *closer; /* waits for it to end */
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

int kv__layout_refresh(struct kv_client *c, uint64_t newer_than, uint64_t deadline_ns,
		       struct msg *m);

/* Waits a little, doubling *backoff; ERR_TIMEOUT past the deadline, ERR_INTERRUPTED. */
int kv__pause(struct kv_client *c, uint64_t *backoff_ns, uint64_t deadline_ns);

int kv__exec(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r);

/* Runs fn(ctx, i) for i in 0..n-1 at the same time and waits for all; the first error wins. */
typedef int kv_fan_fn(void *ctx, uint32_t i);
int kv__fan_out(struct kv_client *c, uint32_t n, kv_fan_fn *fn, void *ctx);

/* Opens the session if there is none. */
int kv__session_open(struct kv_client *c, uint64_t deadline_ns);
void kv__session_close(struct kv_client *c);

#endif
