/* What replicas ask for: log, sockets, apply thread, callers. */
#include "base/check.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"

/* ---- log ---- */

static uint64_t io_log_append(void *ctx, const struct wal_record *r)
{
	struct kv_node *n = ctx;

	n->appended = true;
	kv__flush_note_append(n, r->payload.len);
	return wal_append(n->wal, r);
}

static bool io_log_busy(void *ctx)
{
	struct kv_node *n = ctx;

	return wal_busy(n->wal);
}

static bool io_log_has_room(void *ctx, uint64_t bytes)
{
	struct kv_node *n = ctx;

	return wal_has_room(n->wal, bytes) || kv__flush_make_room(n);
}

static bool io_log_can_take(void *ctx, uint64_t bytes)
{
	struct kv_node *n = ctx;

	return wal_can_take(n->wal, bytes) || kv__flush_make_room(n);
}

static int io_log_read(void *ctx, uint32_t group, uint64_t slot, uint64_t *ballot,
		       struct buf *payload)
{
	struct kv_node *n = ctx;

	return wal_read(n->wal, group, slot, ballot, payload);
}

static void io_log_truncate(void *ctx, uint32_t group, uint64_t slot)
{
	struct kv_node *n = ctx;

	wal_truncate(n->wal, group, slot);
	n->appended = true; /* its mark waits for a submit */
}

/* ---- other nodes ---- */

static void failpoints_of(const struct paxos_message *m)
{
	FAILPOINT_IF(m->type == PAXOS_PREVOTE, send_prevote);
	FAILPOINT_IF(m->type == PAXOS_PREVOTE_REPLY, send_prevote_reply);
	FAILPOINT_IF(m->type == PAXOS_PREPARE, send_prepare);
	FAILPOINT_IF(m->type == PAXOS_PROMISE, send_promise);
	FAILPOINT_IF(m->type == PAXOS_ACCEPT, send_accept);
	FAILPOINT_IF(m->type == PAXOS_ACCEPTED, send_accepted);
	FAILPOINT_IF(m->type == PAXOS_REJECT, send_reject);
	FAILPOINT_IF(m->type == PAXOS_LEARN_REQUEST, send_learn_request);
	FAILPOINT_IF(m->type == PAXOS_LEARN, send_learn);
	FAILPOINT_IF(m->type == PAXOS_TIMEOUT_NOW, send_timeout_now);
	(void)m;
}

static void io_send(void *ctx, const struct paxos_message *m)
{
	struct kv_node *n = ctx;
	struct node_peer *p = kv__peer(n, m->to);
	struct slice part;

	if (!p || !net_peer_conn(p->net))
		return;
	buf_reset(&n->scratch);
	paxos_message_encode(m, &n->scratch);
	if (!buf_ok(&n->scratch))
		return; /* as if lost */
	failpoints_of(m);
	part = buf_slice(&n->scratch);
	(void)net_peer_send(p->net, KV_PAXOS, &part, 1);
}

uint32_t kv__leader_of(struct kv_node *n, uint32_t group)
{
	struct node_group *g = n->groups[group];
	uint32_t leader = g ? kv_replica_leader(g->replica, env_mono_ns(n->env)) : 0;

	return leader ? leader : n->hint[group];
}

/* A leader that only its own messages told of: it may be frozen since, and its connection stays. */
static bool may_be_gone(const struct kv_node *n, uint32_t group)
{
	return !n->groups[group] && env_mono_ns(n->env) - n->hint_ns[group] >= KV_HINT_NS;
}

/* Where to send what is for the leader of @group: the leader, else the members in turn, who pass it on.
 * One that has not been heard of for a while gets every other message. */
static uint32_t txn_target(struct kv_node *n, uint32_t group)
{
	const struct kv_layout_group *g = kv_layout_group(&n->layout, group);
	uint32_t leader = kv__leader_of(n, group);

	if (!g || (leader && !may_be_gone(n, group)))
		return leader;
	if (leader && n->round[group] % 2 == 0) {
		n->round[group]++;
		return leader;
	}
	for (uint32_t i = 0; i < g->member_count; i++) {
		uint32_t id = g->members[n->round[group]++ % g->member_count];

		if (id != n->cfg.id)
			return id;
	}
	return 0;
}

void kv__send_txn(struct kv_node *n, struct kv_txn_frame *f)
{
	struct node_group *g = n->groups[f->to_group];
	struct node_peer *p;
	struct buf head = BUF_INIT;
	struct slice parts[2];
	uint32_t to;

	if (g && kv_replica_serving(g->replica)) {
		kv_replica_txn(g->replica, f->bytes);
		return;
	}
	to = txn_target(n, f->to_group);
	p = kv__peer(n, to);
	if (!p) {
		n->hint[f->to_group] = 0;
		return;
	}
	kv_txn_frame_head(&head, f);
	parts[0] = buf_slice(&head);
	parts[1] = f->bytes;
	if (buf_ok(&head) && net_peer_send(p->net, KV_TXN, parts, 2) != 0)
		n->hint[f->to_group] = 0;
	buf_release(&head);
}

static void io_send_txn(void *ctx, uint32_t from_group, uint32_t to_group, struct slice bytes)
{
	struct kv_txn_frame f = {to_group, from_group, 0, bytes};

	if (to_group < GROUPS_MAX)
		kv__send_txn(ctx, &f);
}

/* ---- jobs ---- */

static void io_schedule(void *ctx, struct kv_job *job)
{
	kv__node_schedule(ctx, job);
}

/* ---- callers ---- */

static void io_reply(void *ctx, struct kv_replica *r, const struct kv_caller *c, int err,
		     struct slice body)
{
	struct kv_node *n = ctx;
	struct buf out = BUF_INIT;
	uint64_t id = 0;

	if (c->type == KV_OPEN && !err) {
		err = kv__opened_id(body, &id);
		if (!err)
			enc_u64(&out, id);
		body = buf_slice(&out);
	}
	kv__answer(n, c, err, kv__leader_of(n, kv_replica_group(r)), body);
	buf_release(&out);
}

/* ---- changes of role ---- */

static void log_role(struct node_group *g, const struct paxos_status *s)
{
	static struct logger_limit limit;

	if (s->leader == g->seen_leader && s->serving == g->seen_serving &&
	    s->ballot == g->seen_ballot)
		return;
	if (s->serving && !g->seen_serving)
		logger_write_limited(&limit, 20, LOG_INFO_,
				     "group=%u: leads and serves, ballot %llu.%u, from slot %llu",
				     g->id, (unsigned long long)PAXOS_BALLOT_ROUND(s->ballot),
				     PAXOS_BALLOT_NODE(s->ballot), (unsigned long long)s->commit);
	else if (!s->serving && g->seen_serving)
		logger_write_limited(&limit, 20, LOG_WARN_,
				     "group=%u: leads no more; leader now %u, ballot %llu.%u",
				     g->id, s->leader,
				     (unsigned long long)PAXOS_BALLOT_ROUND(s->ballot),
				     PAXOS_BALLOT_NODE(s->ballot));
	else if (s->leader != g->seen_leader && s->leader && s->leader != g->node->cfg.id)
		logger_write_limited(&limit, 20, LOG_INFO_,
				     "group=%u: follows node %u, ballot %llu.%u", g->id, s->leader,
				     (unsigned long long)PAXOS_BALLOT_ROUND(s->ballot),
				     PAXOS_BALLOT_NODE(s->ballot));
	g->seen_leader = s->leader;
	g->seen_serving = s->serving;
	g->seen_ballot = s->ballot;
}

static void io_changed(void *ctx, struct kv_replica *r)
{
	struct kv_node *n = ctx;
	struct node_group *g = kv_replica_user(r);
	struct paxos_status s;
	const char *why;

	if (kv_replica_refused(r, &why)) {
		log_error("group=%u: this replica takes part no more: %s", g->id, why);
	} else {
		kv_replica_status(r, env_mono_ns(n->env), &s);
		if (s.leader)
			n->hint[g->id] = s.leader;
		log_role(g, &s);
	}
	kv__touch(g);
	kv__stop_check(n);
}

static void io_snapshot(void *ctx, struct kv_replica *r, uint32_t from)
{
	kv__fetch_start(ctx, kv_replica_user(r), from);
}

const struct kv_replica_io kv__node_io = {
	.log_append = io_log_append,
	.log_busy = io_log_busy,
	.log_has_room = io_log_has_room,
	.log_can_take = io_log_can_take,
	.log_read = io_log_read,
	.log_truncate = io_log_truncate,
	.send = io_send,
	.send_txn = io_send_txn,
	.schedule = io_schedule,
	.reply = io_reply,
	.changed = io_changed,
	.snapshot = io_snapshot,
};
