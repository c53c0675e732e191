/* A node without a layout that was told of others (--join) asks them for theirs: so an init that did
 * not reach it is completed. Before it takes part it waits for the greeting of one of them, which says
 * whether this directory is the one they know (README.md, identity rules). */
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"

#define CALL_NS	       (1 * NS_PER_S)
#define BACKOFF_NS_MIN (100 * NS_PER_MS)
#define BACKOFF_NS_MAX (2 * NS_PER_S)

static void ignore_frame(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	(void)c;
	(void)f;
}

static const struct net_handler handler = {.on_frame = ignore_frame};

static void add_peer(struct kv_node *n, const char *address)
{
	struct net_peer *p;
	int err = net_peer_new(n->loop, address, &handler, &p);

	if (err) {
		log_warn("--join: %s: %s", address, err_text(err));
		return;
	}
	n->join_peers = mem_must_realloc(n->join_peers, sizeof(p) * (n->join_count + 1));
	n->join_peers[n->join_count++] = p;
}

static void make_peers(struct kv_node *n)
{
	char *copy = mem_must_strdup(n->cfg.join), *save = NULL;

	for (char *a = strtok_r(copy, ",", &save); a; a = strtok_r(NULL, ",", &save))
		if (strcmp(a, n->address) != 0)
			add_peer(n, a);
	mem_free(copy);
}

static void join_by(struct kv_node *n, const char *address, struct slice bytes, bool *warned)
{
	struct kv_layout l;
	struct msg m = {""};
	bool greeted = false;
	int err = kv_layout_decode(bytes, &l);

	if (err)
		return;
	err = kv__hello_check(n, l.cluster, &greeted, &m);
	kv_layout_release(&l);
	if (!err && greeted)
		err = kv__init_cluster(n, bytes, &m);
	if (err && !*warned)
		log_error("cannot join the cluster of %s: %s", address, m.text);
	*warned |= err != 0;
}

static void ask(struct kv_node *n, struct net_peer *p, bool *warned)
{
	struct buf reply = BUF_INIT;
	struct kv_envelope e;
	int err = net_call(p, KV_MAP, NULL, 0, env_mono_ns(n->env) + CALL_NS, &reply);

	if (!err)
		err = kv_envelope_decode(buf_slice(&reply), &e);
	if (!err && e.err == 0 && !n->has_layout && !n->stopping)
		join_by(n, net_peer_address(p), e.body, warned);
	buf_release(&reply);
}

static void join_main(void *arg)
{
	struct kv_node *n = arg;
	uint64_t backoff = BACKOFF_NS_MIN;
	bool warned = false;

	n->join_fiber = fiber_self();
	make_peers(n);
	while (!n->has_layout && !n->stopping && n->join_count > 0) {
		for (uint32_t i = 0; i < n->join_count && !n->has_layout && !n->stopping; i++)
			ask(n, n->join_peers[i], &warned);
		if (n->has_layout || n->stopping || fiber_sleep(backoff) != 0)
			break;
		backoff = backoff * 2 < BACKOFF_NS_MAX ? backoff * 2 : BACKOFF_NS_MAX;
	}
	for (uint32_t i = 0; i < n->join_count; i++)
		net_peer_free(n->join_peers[i]);
	mem_free(n->join_peers);
	n->join_peers = NULL;
	n->join_count = 0;
	n->join_fiber = NULL;
	n->joining = false;
	kv__stop_check(n);
}

void kv__join_start(struct kv_node *n)
{
	if (n->has_layout || !n->cfg.join || !n->cfg.join[0])
		return;
	n->joining = fiber_start(loop_fibers(n->loop), join_main, n) == 0;
}

void kv__join_cancel(struct kv_node *n)
{
	if (n->join_fiber)
		fiber_interrupt(n->join_fiber);
}
