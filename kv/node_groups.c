/* The groups of this node: made from the layout, at start or at init. */
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"

#define CACHE_BYTES_ALL (16u * 1024u * 1024u) /* entries kept in memory, over all groups */
#define CACHE_BYTES_MIN (1u * 1024u * 1024u)
/* Of the log, all groups together, for members that lag. As much again is appended between two flushes;
 * the rest lets the log be written to in order. */
#define RETAINED_SHARE 4u

static void on_group_timer(struct env_timer *t)
{
	struct node_group *g = container_of(t, struct node_group, timer);
	struct kv_time now = kv__now(g->node);

	kv_replica_tick(g->replica, &now);
	kv__touch(g);
}

static bool is_member(const struct kv_layout_group *g, uint32_t node)
{
	for (uint32_t i = 0; i < g->member_count; i++)
		if (g->members[i] == node)
			return true;
	return false;
}

static uint64_t retain_bytes(const struct kv_node *n)
{
	uint64_t share = n->cfg.log_bytes / RETAINED_SHARE / (n->group_count ? n->group_count : 1);

	return n->cfg.retain_bytes ? n->cfg.retain_bytes : share;
}

static void paxos_config_of(struct kv_node *n, const struct node_group *g,
			    struct paxos_config *out)
{
	uint64_t cache = CACHE_BYTES_ALL / (n->group_count ? n->group_count : 1);

	*out = (struct paxos_config){.group = g->id,
				     .self = n->cfg.id,
				     .member_count = g->layout->member_count,
				     .epoch = 1,
				     .seed = env_random(n->env),
				     .retain_bytes = retain_bytes(n),
				     .cache_bytes = cache > CACHE_BYTES_MIN ? cache
									    : CACHE_BYTES_MIN};
	memcpy(out->members, g->layout->members, sizeof(out->members));
	paxos_timing_default(&out->timing);
	if (!n->cfg.leases)
		out->timing.lease = 0;
}

static int make_group(struct kv_node *n, struct node_group *g, struct msg *m)
{
	struct kv_apply_config ac = {.group = g->id, .engine = n->engine, .layout = &n->layout};
	struct kv_replica_config rc = {.io = &kv__node_io, .io_ctx = n, .user = g};
	int err;

	tsm_config_default(&ac.tsm);
	ac.tsm.lock_wait_ns_max = FAILPOINT_TUNE("PAXFS_LOCK_WAIT_NS", ac.tsm.lock_wait_ns_max);
	err = kv_apply_open(&ac, &g->apply, m);
	if (err)
		return err;
	paxos_config_of(n, g, &rc.paxos);
	rc.apply = g->apply;
	err = kv_replica_new(&rc, &g->replica);
	return err ? msg_set(m, err, "group %u: %s", g->id, err_text(err)) : 0;
}

int kv__groups_make(struct kv_node *n, struct msg *m)
{
	uint32_t count = 0;
	int err = 0;

	for (uint32_t i = 0; i < n->layout.group_count; i++)
		count += is_member(&n->layout.groups[i], n->cfg.id);
	n->list = mem_must_alloc(sizeof(struct node_group *) * (count + 1));
	for (uint32_t i = 0; i < n->layout.group_count; i++) {
		struct node_group *g;

		if (!is_member(&n->layout.groups[i], n->cfg.id))
			continue;
		g = mem_must_alloc(sizeof(*g));
		g->node = n;
		g->layout = &n->layout.groups[i];
		g->id = g->layout->id;
		g->timer.fire = on_group_timer;
		n->list[n->group_count++] = g;
	}
	for (uint32_t i = 0; !err && i < n->group_count; i++) {
		err = make_group(n, n->list[i], m);
		if (!err)
			n->groups[n->list[i]->id] = n->list[i];
	}
	return err;
}

int kv__groups_start(struct kv_node *n, struct msg *m)
{
	struct kv_time t = kv__now(n);

	for (uint32_t i = 0; i < n->group_count; i++) {
		int err = kv_replica_start(n->list[i]->replica, &t);

		if (err)
			return msg_set(m, err,
				       "group %u: the log does not reach back to what the engine "
				       "has applied: files are missing; rebuild this node",
				       n->list[i]->id);
		kv__touch(n->list[i]);
	}
	return 0;
}

/* The threads have ended, all callers were answered. */
void kv__groups_free(struct kv_node *n)
{
	for (uint32_t i = 0; i < n->group_count; i++) {
		struct node_group *g = n->list[i];

		env_timer_cancel(n->env, &g->timer);
		n->groups[g->id] = NULL;
		kv_replica_free(g->replica);
		kv_apply_close(g->apply);
		mem_free(g);
	}
	mem_free(n->list);
	n->list = NULL;
	n->group_count = 0;
	TAILQ_INIT(&n->touched);
}

/* ---- init ---- */

int kv__layout_adopt(struct kv_node *n, struct slice bytes)
{
	int err = kv_layout_decode(bytes, &n->layout);

	if (err)
		return err;
	buf_reset(&n->layout_bytes);
	kv_layout_encode(&n->layout_bytes, &n->layout);
	buf_must(&n->layout_bytes);
	n->has_layout = true;
	return 0;
}

static void cluster_text(const uint8_t id[KV_CLUSTER_ID_SIZE], char out[2 * KV_CLUSTER_ID_SIZE + 1])
{
	for (unsigned i = 0; i < KV_CLUSTER_ID_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", id[i]);
}

/* Initialised already: fine for the same layout. */
static int compare_layout(struct kv_node *n, const struct kv_layout *l, struct msg *m)
{
	char mine[2 * KV_CLUSTER_ID_SIZE + 1], theirs[2 * KV_CLUSTER_ID_SIZE + 1];
	struct buf b = BUF_INIT;
	bool same;

	kv_layout_encode(&b, l);
	same = slice_eq(buf_slice(&b), buf_slice(&n->layout_bytes));
	buf_release(&b);
	if (same)
		return 0;
	cluster_text(n->layout.cluster, mine);
	cluster_text(l->cluster, theirs);
	return msg_set(m, ERR_EXISTS_CLUSTER, "node %u belongs to cluster %s already, asked for %s",
		       n->cfg.id, mine, theirs);
}

static int check_layout(struct kv_node *n, const struct kv_layout *l, struct msg *m)
{
	const struct kv_layout_node *self = kv_layout_node(l, n->cfg.id);
	bool greeted;
	int err = kv__hello_check(n, l->cluster, &greeted, m);

	if (err)
		return err;
	if (!self)
		return msg_set(m, ERR_IDENTITY, "this is node %u, which the layout does not have",
			       n->cfg.id);
	if (strcmp(self->address, n->address) != 0)
		log_warn("the layout has this node at %s; it listens on %s", self->address,
			 n->address);
	return 0;
}

int kv__init_cluster(struct kv_node *n, struct slice bytes, struct msg *m)
{
	struct kv_layout l;
	char text[2 * KV_CLUSTER_ID_SIZE + 1];
	int err = kv_layout_decode(bytes, &l);

	if (err)
		return msg_set(m, err, "layout: %s", err_text(err));
	err = n->has_layout ? compare_layout(n, &l, m) : check_layout(n, &l, m);
	kv_layout_release(&l);
	if (err || n->has_layout)
		return err;
	err = datadir_write(&n->dir, "cluster", bytes, m);
	if (!err)
		err = kv__layout_adopt(n, bytes);
	if (!err)
		err = kv__groups_make(n, m);
	if (!err)
		err = kv__groups_start(n, m);
	if (err) /* `cluster` is written: half a node must not go on */
		logger_die("initialise: %s", m->text);
	cluster_text(n->layout.cluster, text);
	log_info("initialised: cluster %s, %u nodes, %u groups, %u of them here", text,
		 n->layout.node_count, n->layout.group_count, n->group_count);
	kv__peers_make(n);
	err = kv__peers_connect(n);
	if (err)
		logger_die("initialise: an address in the layout: %s", err_text(err));
	kv__hello_pending(n);
	return 0;
}
