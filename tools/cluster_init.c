/* See cluster_init.h. */
#include <stdio.h>
#include <sys/random.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/wire.h"
#include "tools/cluster_init.h"

struct identity {
	char endpoint[ADDRESS_SIZE_MAX]; /* as given */
	struct kv_layout_node node;
	bool initialised;
	uint8_t cluster[KV_CLUSTER_ID_SIZE];
};

struct init_run {
	struct kv_transport *transport;
	struct env *env;
	const struct cluster_init_options *options;
	uint64_t deadline_ns;
	struct identity *nodes;
	uint32_t count;
	struct kv_layout layout;
	struct msg *msg;
};

void cluster_id_text(const uint8_t id[KV_CLUSTER_ID_SIZE], char out[33])
{
	for (unsigned i = 0; i < KV_CLUSTER_ID_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", id[i]);
}

/* Calls until the node answers, or the deadline. */
static int call_patiently(struct init_run *r, const char *address, uint8_t type,
			  struct slice body, struct buf *reply)
{
	int err;

	for (;;) {
		err = kv_client_admin(r->transport, r->env, address, type, body, 2 * NS_PER_S,
				      reply);
		if (err != ERR_UNREACHABLE && err != ERR_TIMEOUT && err != ERR_CLOSED)
			return err;
		if (env_mono_ns(r->env) >= r->deadline_ns)
			return ERR_UNREACHABLE;
		if (fiber_sleep(20 * NS_PER_MS) != 0)
			return ERR_INTERRUPTED;
	}
}

static int decode_identity(struct identity *n, struct slice in)
{
	struct dec d;
	struct slice address, cluster;
	uint64_t id;

	dec_init(&d, in);
	id = dec_u64_max(&d, NODES_MAX - 1);
	address = dec_bytes(&d, ADDRESS_SIZE_MAX - 1);
	cluster = dec_bytes(&d, KV_CLUSTER_ID_SIZE);
	if (dec_end(&d) != 0 || (cluster.len != 0 && cluster.len != KV_CLUSTER_ID_SIZE))
		return ERR_PROTO;
	n->node.id = (uint32_t)id;
	memcpy(n->node.address, address.p, address.len);
	n->node.address[address.len] = '\0';
	n->initialised = cluster.len != 0;
	if (n->initialised)
		memcpy(n->cluster, cluster.p, cluster.len);
	return 0;
}

static int identify(struct init_run *r, const char *endpoint)
{
	struct identity *n;
	struct buf reply = BUF_INIT;
	int err;

	r->nodes = mem_must_realloc(r->nodes, (r->count + 1) * sizeof(*r->nodes));
	n = &r->nodes[r->count];
	memset(n, 0, sizeof(*n));
	snprintf(n->endpoint, sizeof(n->endpoint), "%s", endpoint);
	err = call_patiently(r, endpoint, KV_IDENTITY, (struct slice){0}, &reply);
	if (!err)
		err = decode_identity(n, buf_slice(&reply));
	buf_release(&reply);
	if (err)
		return msg_set(r->msg, err, "node at %s: %s", endpoint, err_text(err));
	r->count++;
	return 0;
}

static int identify_all(struct init_run *r, const char *endpoints)
{
	char *copy = mem_must_strdup(endpoints), *rest = copy, *item;
	int err = 0;

	while (!err && (item = strsep(&rest, ",")) != NULL)
		if (*item)
			err = identify(r, item);
	mem_free(copy);
	return err;
}

/* The node that has a layout already, if any; all that have one must agree. */
static int find_initialised(struct init_run *r, const struct identity **out)
{
	*out = NULL;
	for (uint32_t i = 0; i < r->count; i++) {
		const struct identity *n = &r->nodes[i];

		if (!n->initialised)
			continue;
		if (*out && memcmp((*out)->cluster, n->cluster, KV_CLUSTER_ID_SIZE) != 0)
			return msg_set(r->msg, ERR_EXISTS_CLUSTER,
				       "nodes %s and %s belong to different clusters",
				       (*out)->endpoint, n->endpoint);
		*out = n;
	}
	return 0;
}

static int fetch_layout(struct init_run *r, const struct identity *from)
{
	struct buf reply = BUF_INIT;
	int err = call_patiently(r, from->endpoint, KV_MAP, (struct slice){0}, &reply);

	if (!err)
		err = kv_layout_decode(buf_slice(&reply), &r->layout);
	buf_release(&reply);
	if (err)
		return msg_set(r->msg, err, "layout from %s: %s", from->endpoint, err_text(err));
	for (uint32_t i = 0; i < r->count; i++)
		if (!kv_layout_node(&r->layout, r->nodes[i].node.id))
			return msg_set(r->msg, ERR_EXISTS_CLUSTER,
				       "the cluster exists already, and node %u (%s) is not in it",
				       r->nodes[i].node.id, r->nodes[i].endpoint);
	return 0;
}

static int make_layout(struct init_run *r)
{
	struct kv_layout_node *nodes = mem_must_alloc(sizeof(*nodes) * (r->count + 1));
	uint8_t cluster[KV_CLUSTER_ID_SIZE];
	int err;

	if (getrandom(cluster, sizeof(cluster), 0) != (ssize_t)sizeof(cluster)) {
		mem_free(nodes);
		return msg_set(r->msg, ERR_IO, "no randomness for a cluster id");
	}
	for (uint32_t i = 0; i < r->count; i++)
		nodes[i] = r->nodes[i].node;
	err = kv_layout_make(&r->layout, cluster, nodes, r->count, r->options->groups,
			     r->options->replicas, r->msg);
	mem_free(nodes);
	return err;
}

static int tell_all(struct init_run *r)
{
	struct buf body = BUF_INIT, reply = BUF_INIT;
	int err = 0;

	kv_layout_encode(&body, &r->layout);
	for (uint32_t i = 0; i < r->layout.node_count && !err; i++) {
		const struct kv_layout_node *n = &r->layout.nodes[i];

		err = call_patiently(r, n->address, KV_INIT, buf_slice(&body), &reply);
		if (err)
			msg_set(r->msg, err, "initialise node %u at %s: %s", n->id, n->address,
				err_text(err));
	}
	buf_release(&body);
	buf_release(&reply);
	return err;
}

/* A read in each group tells that it serves; then the root directory. */
static int wait_and_format(struct init_run *r, struct loop *l, const char *endpoints)
{
	struct kv_client_config cfg = {.endpoints = endpoints,
				       .transport = r->transport,
				       .env = r->env,
				       .fibers = loop_fibers(l),
				       .timeout_ns = r->options->timeout_ns,
				       .connect_timeout_ns = r->options->timeout_ns,
				       .name = "paxfs init"};
	struct kv_client *c;
	struct fs_backend b;
	int err = kv_client_open(&cfg, &c, r->msg);

	if (err)
		return err;
	for (uint32_t i = 0; i < r->layout.shard_count && !err; i++) {
		const struct kv_layout_shard *s = &r->layout.shards[i];
		struct txn_mini m;
		struct txn_result res;

		txn_mini_init(&m);
		txn_result_init(&res);
		txn_get(&m, s->from_len ? slice_of(s->from, s->from_len) : slice_of("", 1));
		err = txn_exec(kv_client_executor(c), &m, &res);
		if (err)
			msg_set(r->msg, err, "group %u: %s", s->group, err_text(err));
		txn_result_release(&res);
		txn_mini_release(&m);
	}
	if (!err) {
		fs_backend_kv(&b, c, r->env, loop_fibers(l));
		err = fs_format(&b);
		if (err == ERR_EXISTS)
			err = 0;
		if (err)
			msg_set(r->msg, err, "make the root directory: %s", err_text(err));
	}
	kv_client_close(c);
	return err;
}

int cluster_init(struct loop *l, struct kv_transport *t, const char *endpoints,
		 const struct cluster_init_options *o, struct cluster_init_result *out,
		 struct msg *m)
{
	struct init_run r = {.transport = t,
			     .env = loop_env(l),
			     .options = o,
			     .deadline_ns = env_mono_ns(loop_env(l)) + o->timeout_ns,
			     .msg = m};
	const struct identity *first;
	int err = identify_all(&r, endpoints);

	if (!err)
		err = find_initialised(&r, &first);
	if (!err)
		err = first ? fetch_layout(&r, first) : make_layout(&r);
	if (err)
		goto out_nodes;
	err = tell_all(&r);
	if (!err)
		err = wait_and_format(&r, l, endpoints);
	if (!err) {
		memcpy(out->cluster, r.layout.cluster, KV_CLUSTER_ID_SIZE);
		out->nodes = r.layout.node_count;
		out->groups = r.layout.group_count;
		out->shards = r.layout.shard_count;
		out->existed = first != NULL;
	}
	kv_layout_release(&r.layout);
out_nodes:
	mem_free(r.nodes);
	return err;
}
