/* Incoming frames: each connection, each call. */
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"

/* ---- answers ---- */

static void failpoints_of(uint8_t type)
{
	FAILPOINT_IF(type == KV_OPEN, answer_open);
	FAILPOINT_IF(type == KV_EXEC, answer_exec);
	FAILPOINT_IF(type == KV_READ, answer_read);
	FAILPOINT_IF(type == KV_ADMIN, answer_admin);
	FAILPOINT_IF(type == KV_MAP, answer_map);
	FAILPOINT_IF(type != KV_OPEN && type != KV_EXEC && type != KV_READ && type != KV_ADMIN &&
			     type != KV_MAP,
		     answer_other);
	(void)type;
}

void kv__answer(struct kv_node *n, const struct kv_caller *c, int err, uint32_t leader,
		struct slice body)
{
	struct node_conn *conn = NULL;
	struct buf head = BUF_INIT;
	struct slice parts[2];

	HASH_FIND(hh, n->conns, &c->conn, sizeof(c->conn), conn);
	if (!conn)
		return; /* the caller is gone */
	if (!err)
		failpoints_of(c->type);
	kv_envelope_head(&head, err, leader, n->has_layout ? n->layout.version : 0, body.len);
	parts[0] = buf_slice(&head);
	parts[1] = body;
	/* A caller that does not read gets nothing: its deadline passes. */
	if (buf_ok(&head) &&
	    net_send(conn->net, c->type, NET_FLAG_REPLY, c->call, parts, 2) == ERR_TOO_BIG && !err)
		kv__answer(n, c, ERR_TOO_BIG, leader, (struct slice){0});
	buf_release(&head);
}

void kv__answer_text(struct kv_node *n, const struct kv_caller *c, int err, const struct msg *m)
{
	kv__answer(n, c, err, 0, err ? slice_str(m->text) : (struct slice){0});
}

static void answer_err(struct kv_node *n, const struct kv_caller *c, int err)
{
	kv__answer(n, c, err, 0, (struct slice){0});
}

/* ---- calls on a group ---- */

/* A job whose answer is its `out`. */
struct job_call {
	struct kv_node *node;
	struct kv_caller caller;
};

static void job_call_done(struct kv_job *job)
{
	struct job_call *jc = job->ctx;

	jc->node->job_calls--;
	kv__answer(jc->node, &jc->caller, job->err, 0,
		   job->err ? (struct slice){0} : buf_slice(&job->out));
	mem_free(jc);
}

static void job_call(struct kv_node *n, struct node_group *g, const struct kv_caller *c,
		     enum kv_job_kind kind)
{
	struct job_call *jc;
	struct kv_job *job;

	if (n->job_calls >= KV_JOB_CALLS_MAX) {
		answer_err(n, c, ERR_BUSY);
		return;
	}
	n->job_calls++;
	jc = mem_must_alloc(sizeof(*jc));
	job = kv_job_new(kind, g->apply);
	jc->node = n;
	jc->caller = *c;
	job->owner = g->replica;
	job->done = job_call_done;
	job->ctx = jc;
	kv__node_schedule(n, job);
}

static void hand_over(struct kv_node *n, struct node_group *g, const struct kv_caller *c,
		      const struct kv_time *t)
{
	uint32_t leader = kv__leader_of(n, g->id);

	if (!kv_replica_serving(g->replica)) {
		kv__answer(n, c, ERR_NOT_LEADER, leader, (struct slice){0});
		return;
	}
	log_info("group=%u: asked to hand over", g->id);
	kv_replica_hand_over(g->replica, t);
	answer_err(n, c, 0);
}

static void on_group_call(struct kv_node *n, const struct kv_caller *c, struct slice body)
{
	struct kv_time t = kv__now(n);
	struct kv_group_request q;
	struct node_group *g;

	if (kv_group_request_decode(body, &q) != 0) {
		answer_err(n, c, ERR_PROTO);
		return;
	}
	g = n->groups[q.group];
	if (!n->has_layout || !g) {
		kv__answer(n, c, n->has_layout ? ERR_NO_GROUP : ERR_NOT_READY, n->hint[q.group],
			   (struct slice){0});
		return;
	}
	switch (c->type) {
	case KV_EXEC:
		kv_replica_exec(g->replica, c, q.body, &t);
		break;
	case KV_READ:
		kv_replica_read(g->replica, c, q.body, &t);
		break;
	case KV_WATCH:
		kv_replica_watch(g->replica, c, q.body, &t);
		break;
	case KV_ADMIN:
		kv_replica_admin(g->replica, c, q.body, &t);
		break;
	case KV_HAND_OVER:
		hand_over(n, g, c, &t);
		break;
	case KV_DESCRIBE:
		job_call(n, g, c, KV_JOB_DESCRIBE);
		break;
	case KV_CHECKSUM:
		job_call(n, g, c, KV_JOB_CHECKSUM);
		break;
	default:
		answer_err(n, c, ERR_UNSUPPORTED);
	}
	kv__touch(g);
}

/* ---- calls on the node ---- */

static void answer_identity(struct kv_node *n, const struct kv_caller *c)
{
	struct buf b = BUF_INIT;

	enc_u64(&b, n->cfg.id);
	enc_str(&b, n->address);
	enc_bytes(&b, n->has_layout ? slice_of(n->layout.cluster, KV_CLUSTER_ID_SIZE)
				    : (struct slice){0});
	kv__answer(n, c, buf_ok(&b) ? 0 : ERR_NOMEM, 0, buf_slice(&b));
	buf_release(&b);
}

static void on_init(struct kv_node *n, const struct kv_caller *c, struct slice body)
{
	struct msg m = {""};
	int err = kv__init_cluster(n, body, &m);

	if (err)
		log_warn("init refused: %s", m.text);
	kv__answer_text(n, c, err, &m);
}

static void on_call(struct kv_node *n, const struct kv_caller *c, struct slice body)
{
	switch (c->type) {
	case KV_MAP:
		kv__answer(n, c, n->has_layout ? 0 : ERR_NOT_READY, 0, buf_slice(&n->layout_bytes));
		break;
	case KV_EXEC:
	case KV_READ:
	case KV_WATCH:
	case KV_ADMIN:
	case KV_HAND_OVER:
	case KV_DESCRIBE:
	case KV_CHECKSUM:
		on_group_call(n, c, body);
		break;
	case KV_OPEN:
		kv__open_client(n, c);
		break;
	case KV_STATUS:
		kv__status_request(n, c);
		break;
	case KV_INIT:
		on_init(n, c, body);
		break;
	case KV_IDENTITY:
		answer_identity(n, c);
		break;
	case KV_SNAPSHOT:
		kv__source_request(n, c, body);
		break;
	case KV_FLUSH:
		kv__flush_request(n, c);
		break;
	default:
		answer_err(n, c, ERR_UNSUPPORTED);
	}
}

/* ---- one-way frames, between nodes ---- */

static void refuse_conn(struct node_conn *c, const char *why)
{
	static struct logger_limit limit;

	logger_write_limited(&limit, 5, LOG_WARN_, "%s: %s; connection closed",
			     net_conn_remote(c->net), why);
	net_close(c->net);
}

static void on_paxos(struct kv_node *n, struct node_conn *c, struct slice body)
{
	struct node_peer *p = kv__peer(n, c->peer);
	struct paxos_message m;
	int err = paxos_message_decode(body, &m);

	if (err == ERR_PROTO || (!err && m.from != c->peer))
		refuse_conn(c, "malformed paxos message");
	if (err)
		return;
	if (p && m.from == c->peer && m.to == n->cfg.id && m.group < GROUPS_MAX &&
	    n->groups[m.group]) {
		struct node_group *g = n->groups[m.group];
		struct kv_time t = kv__now(n);

		kv__note_ack(n, p, c->boot, &m);
		kv_replica_message(g->replica, &m, &t);
		kv__touch(g);
	}
	paxos_message_release(&m);
}

static void on_txn(struct kv_node *n, struct node_conn *c, struct slice body)
{
	struct kv_txn_frame f;
	struct node_group *g;

	if (kv_txn_frame_decode(body, &f) != 0) {
		refuse_conn(c, "malformed transaction message");
		return;
	}
	g = n->groups[f.to_group];
	if (f.hops == 0) { /* only leaders send */
		n->hint[f.from_group] = c->peer;
		n->hint_ns[f.from_group] = env_mono_ns(n->env);
	}
	if (g && kv_replica_serving(g->replica)) {
		kv_replica_txn(g->replica, f.bytes);
		return;
	}
	if (++f.hops <= KV_TXN_HOPS_MAX && kv__leader_of(n, f.to_group) != c->peer)
		kv__send_txn(n, &f);
}

static void on_one_way(struct kv_node *n, struct node_conn *c, const struct net_frame *f)
{
	if (f->type == KV_NODE_HELLO) {
		kv__hello(n, c, f->body);
		return;
	}
	if (!n->has_layout)
		return; /* may be lost */
	if (c->peer == 0) {
		refuse_conn(c, "a node's message without a greeting");
		return;
	}
	if (f->type == KV_PAXOS)
		on_paxos(n, c, f->body);
	else
		on_txn(n, c, f->body);
}

/* ---- connections ---- */

static void on_open(void *ctx, struct net_conn *net)
{
	struct kv_node *n = ctx;
	struct node_conn *c = mem_must_alloc(sizeof(*c));

	c->net = net;
	c->id = net_conn_id(net);
	net_conn_set_user(net, c);
	HASH_ADD(hh, n->conns, id, sizeof(c->id), c);
}

static void on_close(void *ctx, struct net_conn *net, int err)
{
	struct kv_node *n = ctx;
	struct node_conn *c = net_conn_user(net);

	(void)err;
	HASH_DEL(n->conns, c);
	for (uint32_t i = 0; c->watches && i < n->group_count; i++)
		kv_replica_forget(n->list[i]->replica, c->id);
	n->hello_bytes -= c->hello.len;
	buf_release(&c->hello);
	mem_free(c);
}

static void on_frame(void *ctx, struct net_conn *net, const struct net_frame *f)
{
	struct kv_node *n = ctx;
	struct node_conn *c = net_conn_user(net);
	struct kv_caller caller = {.conn = c->id, .call = f->id, .type = f->type};

	if (n->closed)
		return;
	c->watches |= f->type == KV_WATCH;
	if (f->flags & NET_FLAG_REPLY) {
		refuse_conn(c, "an answer that nobody asked for");
		return;
	}
	switch (f->type) {
	case KV_NODE_HELLO:
	case KV_PAXOS:
	case KV_TXN:
		on_one_way(n, c, f);
		break;
	default:
		on_call(n, &caller, f->body);
	}
}

const struct net_handler kv__server_handler = {
	.on_open = on_open,
	.on_frame = on_frame,
	.on_close = on_close,
};
