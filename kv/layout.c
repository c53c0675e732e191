#include "kv/layout.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"

#define PLACES	   0x8000u /* places of data: 15 bits; 0x8000 and up is meta's */
#define META_INO   0x8000000000000000ull
#define META_KIND  'M'

_Static_assert(KV_SHARDS_PER_GROUP *(GROUPS_MAX - 1) + 1 <= SHARDS_MAX, "every map fits");
_Static_assert(KV_SHARDS_PER_GROUP *(GROUPS_MAX - 1) <= PLACES, "no shard is empty");

void kv_layout_release(struct kv_layout *l)
{
	mem_free(l->nodes);
	mem_free(l->groups);
	mem_free(l->shards);
	*l = (struct kv_layout){0};
}

static int copy_array(void **to, const void *from, size_t bytes)
{
	*to = mem_try_alloc(bytes ? bytes : 1);
	if (!*to)
		return ERR_NOMEM;
	if (bytes)
		memcpy(*to, from, bytes);
	return 0;
}

int kv_layout_copy(struct kv_layout *to, const struct kv_layout *from)
{
	struct kv_layout l = *from;
	void *nodes = NULL, *groups = NULL, *shards = NULL;

	if (copy_array(&nodes, from->nodes, sizeof(*from->nodes) * from->node_count) != 0 ||
	    copy_array(&groups, from->groups, sizeof(*from->groups) * from->group_count) != 0 ||
	    copy_array(&shards, from->shards, sizeof(*from->shards) * from->shard_count) != 0) {
		mem_free(nodes);
		mem_free(groups);
		mem_free(shards);
		return ERR_NOMEM;
	}
	l.nodes = nodes;
	l.groups = groups;
	l.shards = shards;
	*to = l;
	return 0;
}

/* ---- making one ---- */

struct candidate { /* a node, while members are dealt out */
	uint32_t id;
	uint32_t load;	       /* groups it has so far */
	uint32_t firsts;       /* successions in which it comes first */
	uint64_t score;	       /* for the group at hand */
	bool member;	       /* of the group at hand */
};

/* Spreads (group, node) over 64 bits. */
static uint64_t mix(uint64_t x)
{
	return splitmix64(&x);
}

/* Rendezvous hashing with a bound: among the least loaded, the highest score. Taking the least loaded
 * each time keeps all loads within one of each other. */
static bool member_before(const struct candidate *a, const struct candidate *b)
{
	if (a->load != b->load)
		return a->load < b->load;
	return a->score > b->score;
}

static bool first_before(const struct candidate *a, const struct candidate *b)
{
	if (a->firsts != b->firsts)
		return a->firsts < b->firsts;
	return a->score > b->score;
}

static void deal_members(struct kv_layout_group *g, struct candidate *c, uint32_t n,
			 uint32_t replicas)
{
	struct candidate *first = NULL;

	for (uint32_t i = 0; i < n; i++) {
		c[i].score = mix(mix(g->id) ^ c[i].id);
		c[i].member = false;
	}
	for (uint32_t k = 0; k < replicas; k++) {
		struct candidate *best = NULL;

		for (uint32_t i = 0; i < n; i++)
			if (!c[i].member && (!best || member_before(&c[i], best)))
				best = &c[i];
		CHECK(best != NULL); /* replicas <= n */
		best->member = true;
		best->load++;
		g->members[k] = best->id;
		if (!first || first_before(best, first))
			first = best;
	}
	CHECK(first != NULL);
	g->member_count = replicas;
	first->firsts++;
	while (g->members[0] != first->id) { /* rotate, so that the order stays a ring */
		uint32_t id = g->members[0];

		memmove(g->members, g->members + 1, sizeof(id) * (replicas - 1));
		g->members[replicas - 1] = id;
	}
}

static int check_arguments(const struct kv_layout_node *nodes, uint32_t node_count,
			   uint32_t data_groups, uint32_t replicas, struct msg *m)
{
	if (replicas != 1 && replicas != 3 && replicas != 5)
		return msg_set(m, ERR_INVAL, "replicas must be 1, 3 or 5, not %u", replicas);
	if (node_count < replicas)
		return msg_set(m, ERR_INVAL, "%u replicas need as many nodes; there are %u",
			       replicas, node_count);
	if (node_count >= NODES_MAX)
		return msg_set(m, ERR_INVAL, "more than %u nodes", NODES_MAX - 1);
	if (data_groups < 1 || data_groups >= GROUPS_MAX)
		return msg_set(m, ERR_INVAL, "groups must be 1 to %u, not %u", GROUPS_MAX - 1,
			       data_groups);
	for (uint32_t i = 0; i < node_count; i++) {
		if (nodes[i].id == 0 || nodes[i].id >= NODES_MAX)
			return msg_set(m, ERR_INVAL, "node id %u is not in 1..%u", nodes[i].id,
				       NODES_MAX - 1);
		if (nodes[i].address[0] == '\0')
			return msg_set(m, ERR_INVAL, "node %u has no address", nodes[i].id);
		for (uint32_t j = 0; j < i; j++) {
			if (nodes[i].id == nodes[j].id)
				return msg_set(m, ERR_INVAL, "two nodes have id %u (%s and %s)",
					       nodes[i].id, nodes[j].address, nodes[i].address);
			if (strcmp(nodes[i].address, nodes[j].address) == 0)
				return msg_set(m, ERR_INVAL, "nodes %u and %u have the address %s",
					       nodes[j].id, nodes[i].id, nodes[i].address);
		}
	}
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct kv_layout_node *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static void deal_shards(struct kv_layout *l, uint32_t data_groups)
{
	uint32_t n = l->shard_count - 1;

	for (uint32_t i = 0; i < n; i++) {
		struct kv_layout_shard *s = &l->shards[i];

		s->from_len = i == 0 ? 0 : 2;
		if (i > 0)
			be16_put(s->from, (uint16_t)((uint64_t)i * PLACES / n));
		s->group = 1 + i % data_groups;
	}
	be16_put(l->shards[n].from, PLACES);
	l->shards[n].from_len = 2;
	l->shards[n].group = 0;
}

static void deal_groups(struct kv_layout *l, uint32_t replicas)
{
	struct candidate *c = mem_must_alloc(sizeof(*c) * l->node_count);

	for (uint32_t i = 0; i < l->node_count; i++)
		c[i].id = l->nodes[i].id;
	for (uint32_t g = 0; g < l->group_count; g++) {
		l->groups[g].id = g;
		deal_members(&l->groups[g], c, l->node_count, replicas);
	}
	mem_free(c);
}

int kv_layout_make(struct kv_layout *out, const uint8_t cluster[KV_CLUSTER_ID_SIZE],
		   const struct kv_layout_node *nodes, uint32_t node_count, uint32_t data_groups,
		   uint32_t replicas, struct msg *m)
{
	struct kv_layout l = {.version = 1};
	int err = check_arguments(nodes, node_count, data_groups, replicas, m);

	if (err)
		return err;
	memcpy(l.cluster, cluster, KV_CLUSTER_ID_SIZE);
	l.node_count = node_count;
	l.group_count = data_groups + 1;
	l.shard_count = KV_SHARDS_PER_GROUP * data_groups + 1;
	l.nodes = mem_must_dup(nodes, sizeof(*nodes) * node_count);
	l.groups = mem_must_alloc(sizeof(*l.groups) * l.group_count);
	l.shards = mem_must_alloc(sizeof(*l.shards) * l.shard_count);
	for (uint32_t i = 0; i < node_count; i++) { /* bytes behind the NUL: equal input, equal bytes */
		size_t len = strnlen(l.nodes[i].address, ADDRESS_SIZE_MAX - 1);

		memset(l.nodes[i].address + len, 0, ADDRESS_SIZE_MAX - len);
	}
	qsort(l.nodes, node_count, sizeof(*l.nodes), by_id);
	deal_groups(&l, replicas);
	deal_shards(&l, data_groups);
	*out = l;
	return 0;
}

/* ---- looking up ---- */

static struct slice shard_from(const struct kv_layout *l, uint32_t i)
{
	return slice_of(l->shards[i].from, l->shards[i].from_len);
}

uint32_t kv_layout_shard_of(const struct kv_layout *l, struct slice key)
{
	uint32_t lo = 0, hi = l->shard_count; /* from[lo] <= key < from[hi] */

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(shard_from(l, mid), key) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

uint32_t kv_layout_group_of(const struct kv_layout *l, struct slice key)
{
	return l->shards[kv_layout_shard_of(l, key)].group;
}

int kv_layout_range_group(const struct kv_layout *l, struct slice from, struct slice to,
			  uint32_t *group, struct slice *end)
{
	uint32_t i = kv_layout_shard_of(l, from);

	*group = l->shards[i].group;
	while (++i < l->shard_count && l->shards[i].group == *group)
		;
	if (i == l->shard_count) {
		*end = (struct slice){0};
		return 0;
	}
	*end = shard_from(l, i);
	return to.len > 0 && slice_cmp(to, *end) <= 0 ? 0 : ERR_ELSEWHERE;
}

const struct kv_layout_group *kv_layout_group(const struct kv_layout *l, uint32_t id)
{
	uint32_t lo = 0, hi = l->group_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (l->groups[mid].id == id)
			return &l->groups[mid];
		if (l->groups[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct kv_layout_node *kv_layout_node(const struct kv_layout *l, uint32_t id)
{
	for (uint32_t i = 0; i < l->node_count; i++)
		if (l->nodes[i].id == id)
			return &l->nodes[i];
	return NULL;
}

void kv_meta_key(struct buf *out, const char *name)
{
	buf_add_be16(out, PLACES);
	buf_add_be64(out, META_INO);
	buf_add_u8(out, META_KIND);
	buf_add(out, name, strlen(name));
}
