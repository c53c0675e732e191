/* Stored and sent form of a layout. The decoder proves everything that the rest relies upon. */
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/layout.h"

void kv_layout_encode(struct buf *out, const struct kv_layout *l)
{
	enc_bytes(out, slice_of(l->cluster, KV_CLUSTER_ID_SIZE));
	enc_u64(out, l->version);
	enc_u64(out, l->node_count);
	for (uint32_t i = 0; i < l->node_count; i++) {
		enc_u64(out, l->nodes[i].id);
		enc_str(out, l->nodes[i].address);
	}
	enc_u64(out, l->group_count);
	for (uint32_t i = 0; i < l->group_count; i++) {
		const struct kv_layout_group *g = &l->groups[i];

		enc_u64(out, g->id);
		enc_u64(out, g->member_count);
		for (uint32_t k = 0; k < g->member_count; k++)
			enc_u64(out, g->members[k]);
	}
	enc_u64(out, l->shard_count);
	for (uint32_t i = 0; i < l->shard_count; i++) {
		enc_bytes(out, slice_of(l->shards[i].from, l->shards[i].from_len));
		enc_u64(out, l->shards[i].group);
	}
}

/* @count items of @size bytes, zeroed; a count of 0 is an error (nothing here may be empty). */
static void *alloc_items(struct dec *d, uint32_t count, size_t size, int *err)
{
	void *p;

	if (d->err || *err || count == 0) {
		dec_fail(d);
		return NULL;
	}
	p = mem_try_alloc(size * count);
	if (!p)
		*err = ERR_NOMEM;
	else
		memset(p, 0, size * count);
	return p;
}

static void decode_nodes(struct dec *d, struct kv_layout *l, int *err)
{
	uint32_t n = dec_count(d, NODES_MAX - 1);

	l->nodes = alloc_items(d, n, sizeof(*l->nodes), err);
	if (!l->nodes)
		return;
	l->node_count = n;
	for (uint32_t i = 0; i < n && !d->err; i++) {
		struct kv_layout_node *node = &l->nodes[i];
		struct slice a;

		node->id = (uint32_t)dec_u64_max(d, NODES_MAX - 1);
		a = dec_bytes(d, ADDRESS_SIZE_MAX - 1);
		if (a.len == 0 || memchr(a.p, 0, a.len)) {
			dec_fail(d);
			return;
		}
		memcpy(node->address, a.p, a.len);
		if (node->id == 0 || (i > 0 && node->id <= l->nodes[i - 1].id))
			dec_fail(d);
	}
}

static void decode_group(struct dec *d, const struct kv_layout *l, struct kv_layout_group *g)
{
	g->id = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
	g->member_count = dec_count(d, GROUP_REPLICAS_MAX);
	if (g->member_count != 1 && g->member_count != 3 && g->member_count != 5)
		dec_fail(d);
	for (uint32_t k = 0; k < g->member_count; k++) {
		g->members[k] = (uint32_t)dec_u64_max(d, NODES_MAX - 1);
		if (!kv_layout_node(l, g->members[k]))
			dec_fail(d);
		for (uint32_t j = 0; j < k; j++)
			if (g->members[j] == g->members[k])
				dec_fail(d);
	}
}

static void decode_groups(struct dec *d, struct kv_layout *l, int *err)
{
	uint32_t n = dec_count(d, GROUPS_MAX);

	l->groups = alloc_items(d, n, sizeof(*l->groups), err);
	if (!l->groups)
		return;
	l->group_count = n;
	for (uint32_t i = 0; i < n && !d->err; i++) {
		decode_group(d, l, &l->groups[i]);
		if (i == 0 ? l->groups[0].id != 0 : l->groups[i].id <= l->groups[i - 1].id)
			dec_fail(d);
	}
}

static void decode_shards(struct dec *d, struct kv_layout *l, int *err)
{
	uint32_t n = dec_count(d, SHARDS_MAX);
	struct slice last = {0};

	l->shards = alloc_items(d, n, sizeof(*l->shards), err);
	if (!l->shards)
		return;
	l->shard_count = n;
	for (uint32_t i = 0; i < n && !d->err; i++) {
		struct kv_layout_shard *s = &l->shards[i];
		struct slice from = dec_bytes(d, KEY_SIZE_MAX);

		if (from.len)
			memcpy(s->from, from.p, from.len);
		s->from_len = (uint32_t)from.len;
		s->group = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
		if (i == 0 ? from.len != 0 : slice_cmp(from, last) <= 0)
			dec_fail(d);
		if (!kv_layout_group(l, s->group))
			dec_fail(d);
		last = from;
	}
}

int kv_layout_decode(struct slice in, struct kv_layout *out)
{
	struct kv_layout l = {0};
	struct slice cluster;
	struct dec d;
	int err = 0;

	dec_init(&d, in);
	cluster = dec_bytes(&d, KV_CLUSTER_ID_SIZE);
	if (cluster.len != KV_CLUSTER_ID_SIZE)
		return ERR_PROTO;
	memcpy(l.cluster, cluster.p, KV_CLUSTER_ID_SIZE);
	l.version = dec_u64(&d);
	decode_nodes(&d, &l, &err);
	decode_groups(&d, &l, &err);
	decode_shards(&d, &l, &err);
	if (!err)
		err = dec_end(&d);
	if (err) {
		kv_layout_release(&l);
		return err;
	}
	*out = l;
	return 0;
}
