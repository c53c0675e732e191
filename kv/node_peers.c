/* The other nodes: connections to them, greetings, and what they acknowledged (README.md, identity
 * rules). */
#include <stdio.h>

#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"

#define FENCED "fenced" /* file of the data directory: why this node votes no more */
#define REFUSAL_LOG_NS (60 * NS_PER_S)

struct node_peer *kv__peer(struct kv_node *n, uint32_t id)
{
	for (uint32_t i = 0; i < n->peer_count; i++)
		if (n->peers[i].id == id)
			return &n->peers[i];
	return NULL;
}

/* ---- what they acknowledged ---- */

static void raise(uint64_t *to, uint64_t v)
{
	if (v > *to)
		*to = v;
}

static struct kv_acks *acks_of(struct kv_node *n, struct node_peer *p, uint32_t group)
{
	for (uint32_t i = 0; i < n->group_count; i++)
		if (p->acks[i].group == group)
			return &p->acks[i];
	return NULL;
}

/* Who stands for election, or leads, has promised that ballot to itself, on disk, before it says so.
 * What a leader has accepted itself may not be on disk yet when others hear of it: it tells apart what
 * is. */
void kv__note_ack(struct kv_node *n, struct node_peer *p, uint64_t boot,
		  const struct paxos_message *m)
{
	bool now = boot == p->boot;
	struct kv_acks *a;

	if (m->type != PAXOS_PROMISE && m->type != PAXOS_ACCEPTED && m->type != PAXOS_PREPARE &&
	    m->type != PAXOS_ACCEPT)
		return;
	a = acks_of(n, p, m->group);
	if (!a)
		return;
	raise(now ? &a->ballot : &a->old_ballot, m->ballot);
	if (m->type == PAXOS_ACCEPTED)
		raise(now ? &a->slot : &a->old_slot, m->last);
	else if (m->type == PAXOS_ACCEPT)
		raise(now ? &a->slot : &a->old_slot, m->synced);
}

/* What was of its present boot is now of an earlier one. */
static void new_boot(struct kv_node *n, struct node_peer *p, uint64_t boot)
{
	for (uint32_t i = 0; i < n->group_count; i++) {
		struct kv_acks *a = &p->acks[i];

		raise(&a->old_ballot, a->ballot);
		raise(&a->old_slot, a->slot);
		a->ballot = a->slot = 0;
	}
	p->boot = boot;
}

/* ---- the file `peers` ---- */

void kv__peers_encode(struct kv_node *n, struct buf *out)
{
	struct kv_hello h = {0};

	enc_u64(out, n->peer_count);
	for (uint32_t i = 0; i < n->peer_count; i++) {
		struct node_peer *p = &n->peers[i];
		struct buf b = BUF_INIT;

		memcpy(h.cluster, n->layout.cluster, sizeof(h.cluster));
		h.from = n->cfg.id;
		h.to = p->id;
		h.to_boot = p->boot;
		h.to_birth = p->birth;
		h.count = n->group_count;
		h.acks = p->acks;
		kv_hello_encode(&b, &h);
		enc_bytes(out, buf_slice(&b));
		if (!buf_ok(&b))
			out->failed = true;
		buf_release(&b);
	}
}

static int load_peer(struct kv_node *n, struct slice bytes)
{
	struct kv_hello h;
	struct node_peer *p;
	int err = kv_hello_decode(bytes, &h);

	if (err)
		return err;
	p = kv__peer(n, h.to);
	if (p) {
		p->birth = h.to_birth;
		p->boot = h.to_boot;
	}
	for (uint32_t i = 0; p && i < h.count; i++) {
		struct kv_acks *a = acks_of(n, p, h.acks[i].group);

		if (a)
			*a = h.acks[i];
	}
	kv_hello_release(&h);
	return 0;
}

int kv__peers_load(struct kv_node *n, struct msg *m)
{
	struct buf b = BUF_INIT;
	struct dec d;
	int err = datadir_read(&n->dir, "peers", &b, m);

	if (err == ERR_NOT_FOUND) {
		buf_release(&b);
		return 0;
	}
	if (!err) {
		dec_init(&d, buf_slice(&b));
		for (uint32_t left = dec_count(&d, NODES_MAX); !err && left > 0; left--)
			err = load_peer(n, dec_bytes(&d, DATADIR_FILE_SIZE_MAX));
		if (!err)
			err = dec_end(&d);
		if (err == ERR_NOMEM)
			(void)msg_set(m, err, "%s/peers: out of memory", n->dir.path);
		else if (err)
			err = msg_set(m, ERR_CORRUPT, "%s/peers: malformed", n->dir.path);
	}
	buf_release(&b);
	return err;
}

/* ---- outgoing ---- */

static void send_hello(struct node_peer *p, struct net_conn *c)
{
	struct kv_node *n = p->node;
	struct kv_hello h = {.from = n->cfg.id,
			     .to = p->id,
			     .boot = n->boot,
			     .birth = n->dir.birth,
			     .to_boot = p->boot,
			     .to_birth = p->birth,
			     .count = n->group_count,
			     .acks = p->acks};
	struct buf b = BUF_INIT;
	struct slice part;

	memcpy(h.cluster, n->layout.cluster, sizeof(h.cluster));
	kv_hello_encode(&b, &h);
	FAILPOINT(hello_send);
	part = buf_slice(&b);
	if (!buf_ok(&b) || net_send(c, KV_NODE_HELLO, 0, 0, &part, 1) != 0)
		net_close(c);
	buf_release(&b);
}

static void tell_replicas(struct node_peer *p, bool up)
{
	struct kv_time t = kv__now(p->node);

	for (uint32_t i = 0; i < p->node->group_count; i++) {
		struct node_group *g = p->node->list[i];

		for (uint32_t k = 0; k < g->layout->member_count; k++)
			if (g->layout->members[k] == p->id)
				kv_replica_peer(g->replica, p->id, up, &t);
		kv__touch(g);
	}
}

static void peer_open(void *ctx, struct net_conn *c)
{
	static struct logger_limit limit;
	struct node_peer *p = ctx;

	send_hello(p, c);
	p->up = true;
	logger_write_limited(&limit, 10, LOG_INFO_, "node %u is up at %s", p->id,
			     net_peer_address(p->net));
	tell_replicas(p, true);
}

static void peer_close(void *ctx, struct net_conn *c, int err)
{
	static struct logger_limit limit;
	struct node_peer *p = ctx;

	(void)c;
	if (!p->up)
		return;
	p->up = false;
	if (p->node->closed)
		return;
	logger_write_limited(&limit, 10, LOG_WARN_, "node %u is down: %s", p->id, err_text(err));
	tell_replicas(p, false);
}

static void peer_frame(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	(void)c;
	(void)f; /* nodes answer calls on these connections, nothing else */
}

void kv__peers_make(struct kv_node *n)
{
	n->peers = mem_must_alloc(sizeof(*n->peers) * (n->layout.node_count + 1));
	for (uint32_t i = 0; i < n->layout.node_count; i++) {
		struct node_peer *p = &n->peers[n->peer_count];

		if (n->layout.nodes[i].id == n->cfg.id)
			continue;
		p->node = n;
		p->id = n->layout.nodes[i].id;
		p->acks = mem_must_alloc(sizeof(*p->acks) * (n->group_count + 1));
		for (uint32_t k = 0; k < n->group_count; k++)
			p->acks[k].group = n->list[k]->id;
		n->peer_count++;
	}
}

int kv__peers_connect(struct kv_node *n)
{
	for (uint32_t i = 0; i < n->peer_count; i++) {
		struct node_peer *p = &n->peers[i];
		const struct net_handler h = {.ctx = p,
					      .on_open = peer_open,
					      .on_close = peer_close,
					      .on_frame = peer_frame};
		const char *address = kv_layout_node(&n->layout, p->id)->address;
		int err = net_peer_new(n->loop, address, &h, &p->net);

		if (err) {
			log_error("node %u at %s: %s", p->id, address, err_text(err));
			return err;
		}
	}
	return 0;
}

void kv__peers_free(struct kv_node *n)
{
	for (uint32_t i = 0; i < n->peer_count; i++) {
		net_peer_free(n->peers[i].net);
		mem_free(n->peers[i].acks);
	}
	mem_free(n->peers);
	n->peers = NULL;
	n->peer_count = 0;
}

/* ---- incoming ---- */

/* For good: after a restart the node that knows better may be away. */
static void remember(struct kv_node *n)
{
	struct msg m;

	if (!datadir_has(&n->dir, FENCED) &&
	    datadir_write(&n->dir, FENCED, slice_str(n->fence), &m) != 0)
		log_warn("%s", m.text);
}

int kv__fence_load(struct kv_node *n, struct msg *m)
{
	struct buf why = BUF_INIT;
	char text[sizeof(n->fence)];
	int err = datadir_read(&n->dir, FENCED, &why, m);

	if (!err) {
		snprintf(text, sizeof(text), "%.*s", (int)why.len, (const char *)why.data);
		kv__fence(n, text);
	}
	buf_release(&why);
	return err == ERR_NOT_FOUND ? 0 : err;
}

void kv__fence(struct kv_node *n, const char *why)
{
	if (n->fenced)
		return;
	n->fenced = true;
	snprintf(n->fence, sizeof(n->fence), "%s", why);
	log_error("AMNESIA: %s; this node votes no more", why);
	remember(n);
	for (uint32_t i = 0; i < n->group_count; i++)
		kv_replica_refuse(n->list[i]->replica, ERR_AMNESIA, why);
}

static void refuse(struct kv_node *n, struct node_conn *c, const struct kv_hello *h,
		   const char *why)
{
	uint64_t now = env_mono_ns(n->env);

	if (h->from != n->refused_node || now - n->refused_ns > REFUSAL_LOG_NS) {
		n->refused_node = h->from;
		n->refused_ns = now;
		log_error("node %u at %s refused: %s", h->from, net_conn_remote(c->net), why);
	}
	net_close(c->net);
}

/* Did this node acknowledge, in an earlier boot, what its log did not hold at the start? */
static bool has_forgotten(struct kv_node *n, const struct kv_hello *h, uint32_t *group)
{
	for (uint32_t i = 0; i < h->count; i++) {
		const struct kv_acks *a = &h->acks[i];
		struct node_group *g = n->groups[a->group];
		uint64_t ballot = a->old_ballot, slot = a->old_slot, promised, last;

		if (!g)
			continue;
		if (h->to_boot != n->boot) {
			raise(&ballot, a->ballot);
			raise(&slot, a->slot);
		}
		kv_replica_restored(g->replica, &promised, &last);
		if (ballot > promised || slot > last) {
			*group = a->group;
			return true;
		}
	}
	return false;
}

static void look_at_self(struct kv_node *n, const struct kv_hello *h)
{
	uint32_t group = 0;
	char why[96];

	if (h->to_birth && h->to_birth != n->dir.birth) {
		snprintf(why, sizeof(why), "not the data directory that node %u knows node %u by; "
			 "restore or rebuild it", h->from, n->cfg.id);
		kv__fence(n, why);
	} else if (has_forgotten(n, h, &group)) {
		snprintf(why, sizeof(why), "an old copy: node %u saw more of group %u from node %u; "
			 "rebuild it", h->from, group, n->cfg.id);
		kv__fence(n, why);
	}
}

/* NULL: welcome. */
static const char *objection(struct kv_node *n, const struct kv_hello *h)
{
	struct node_peer *p = kv__peer(n, h->from);

	if (memcmp(h->cluster, n->layout.cluster, KV_CLUSTER_ID_SIZE) != 0)
		return "it belongs to another cluster";
	if (h->from == n->cfg.id)
		return "it says it is this node";
	if (!p)
		return "the layout does not have it";
	if (h->to != n->cfg.id)
		return "it takes this node for another: an address in the layout is wrong";
	if (p->birth && p->birth != h->birth)
		return "its data directory is not the one it had before (it must be rebuilt)";
	return NULL;
}

/* To be looked at after init. */
static void keep_hello(struct kv_node *n, struct node_conn *c, struct slice body)
{
	n->hello_bytes -= c->hello.len;
	buf_reset(&c->hello);
	if (body.len > KV_HELLO_SIZE_MAX || n->hello_bytes + body.len > KV_HELLO_BYTES_MAX ||
	    buf_set(&c->hello, body) != 0)
		net_close(c->net);
	n->hello_bytes += c->hello.len;
}

void kv__hello(struct kv_node *n, struct node_conn *c, struct slice body)
{
	struct kv_hello h;
	struct node_peer *p;
	const char *why;

	if (!n->has_layout) {
		keep_hello(n, c, body);
		return;
	}
	if (kv_hello_decode(body, &h) != 0) {
		net_close(c->net);
		return;
	}
	why = objection(n, &h);
	p = kv__peer(n, h.from);
	if (why || !p) {
		refuse(n, c, &h, why);
	} else {
		if (p->birth != h.birth) {
			p->birth = h.birth;
			kv__flush_peers(n);
		}
		/* What a process sent before it died may arrive after the greeting of the next one. */
		if (p->boot != h.boot && kv__boot_later(h.boot, p->boot))
			new_boot(n, p, h.boot);
		look_at_self(n, &h);
		c->peer = h.from;
		c->boot = h.boot;
		FAILPOINT(hello_receive);
	}
	kv_hello_release(&h);
}

void kv__hello_pending(struct kv_node *n)
{
	struct node_conn *c, *next;

	HASH_ITER(hh, n->conns, c, next) {
		struct buf hello = BUF_INIT;

		if (c->hello.len == 0)
			continue;
		n->hello_bytes -= c->hello.len;
		buf_move(&hello, &c->hello);
		kv__hello(n, c, buf_slice(&hello));
		buf_release(&hello);
	}
}

int kv__hello_check(struct kv_node *n, const uint8_t cluster[KV_CLUSTER_ID_SIZE], bool *greeted,
		    struct msg *m)
{
	struct node_conn *c, *next;
	int err = 0;

	*greeted = false;
	HASH_ITER(hh, n->conns, c, next) {
		struct kv_hello h;

		if (c->hello.len == 0 || kv_hello_decode(buf_slice(&c->hello), &h) != 0)
			continue;
		if (memcmp(h.cluster, cluster, KV_CLUSTER_ID_SIZE) == 0 && h.to == n->cfg.id) {
			*greeted = true;
			if (h.to_birth && h.to_birth != n->dir.birth)
				err = msg_set(m, ERR_AMNESIA,
					      "%s is blank, but node %u knows node %u by another "
					      "data directory: restore that one, or rebuild the "
					      "node under a new id",
					      n->dir.path, h.from, n->cfg.id);
		}
		kv_hello_release(&h);
	}
	return err;
}
