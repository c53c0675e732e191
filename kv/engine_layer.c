#include "kv/engine_layer.h"

#include "base/check.h"
#include "base/mem.h"

#define MALLOC_OVERHEAD 16u /* bytes that an allocation costs beside itself, about */

static int node_cmp(const struct engine_node *a, const struct engine_node *b)
{
	return engine_pos_cmp(engine_node_pos(a), engine_node_pos(b));
}

RB_GENERATE_INTERNAL(engine_tree, engine_node, link, node_cmp, __attribute__((unused)) static)

static struct engine_node probe_at(struct engine_pos pos)
{
	return (struct engine_node){
		.key = pos.key.p, .key_len = (uint32_t)pos.key.len, .table = (uint8_t)pos.table};
}

/* ---- nodes ---- */

struct engine_node *engine_node_new(struct engine_pos pos, struct slice value, bool deleted)
{
	struct engine_node *n;

	CHECK(pos.key.len <= UINT32_MAX && value.len <= UINT32_MAX);
	n = mem_must_realloc(NULL, sizeof(*n) + pos.key.len + value.len);
	n->key = n->data;
	n->key_len = (uint32_t)pos.key.len;
	n->value_len = (uint32_t)value.len;
	n->table = (uint8_t)pos.table;
	n->deleted = deleted;
	if (pos.key.len)
		memcpy(n->data, pos.key.p, pos.key.len);
	if (value.len)
		memcpy(n->data + pos.key.len, value.p, value.len);
	return n;
}

void engine_node_free(struct engine_node *node)
{
	mem_free(node);
}

size_t engine_node_bytes(const struct engine_node *node)
{
	return sizeof(*node) + node->key_len + node->value_len + MALLOC_OVERHEAD;
}

/* ---- layers ---- */

struct engine_layer *engine_layer_new(void)
{
	struct engine_layer *l = mem_must_alloc(sizeof(*l));

	RB_INIT(&l->tree);
	atomic_init(&l->refs, 1);
	return l;
}

struct engine_layer *engine_layer_ref(struct engine_layer *l)
{
	atomic_fetch_add(&l->refs, 1);
	return l;
}

/* Post-order, without recursion, and without the rebalancing of a removal. */
static void free_nodes(struct engine_layer *l)
{
	struct engine_node *n = RB_ROOT(&l->tree);

	while (n) {
		struct engine_node *parent = RB_PARENT(n, link);

		if (RB_LEFT(n, link)) {
			n = RB_LEFT(n, link);
			continue;
		}
		if (RB_RIGHT(n, link)) {
			n = RB_RIGHT(n, link);
			continue;
		}
		if (parent && RB_LEFT(parent, link) == n)
			RB_LEFT(parent, link) = NULL;
		else if (parent)
			RB_RIGHT(parent, link) = NULL;
		engine_node_free(n);
		n = parent;
	}
	RB_INIT(&l->tree);
}

void engine_layer_clear(struct engine_layer *l)
{
	free_nodes(l);
	l->bytes = 0;
	l->count = 0;
}

void engine_layer_unref(struct engine_layer *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	free_nodes(l);
	mem_free(l->order);
	mem_free(l);
}

/* Puts @node in the place of @old: they have the same position. */
static void replace(struct engine_layer *l, struct engine_node *old, struct engine_node *node)
{
	struct engine_node *parent = RB_PARENT(old, link);

	node->link = old->link;
	if (!parent)
		RB_ROOT(&l->tree) = node;
	else if (RB_LEFT(parent, link) == old)
		RB_LEFT(parent, link) = node;
	else
		RB_RIGHT(parent, link) = node;
	if (RB_LEFT(node, link))
		RB_PARENT(RB_LEFT(node, link), link) = node;
	if (RB_RIGHT(node, link))
		RB_PARENT(RB_RIGHT(node, link), link) = node;
}

struct engine_node *engine_layer_add(struct engine_layer *l, struct engine_node *node)
{
	struct engine_node *old = RB_INSERT(engine_tree, &l->tree, node);

	l->bytes += engine_node_bytes(node);
	if (!old) {
		l->count++;
		return NULL;
	}
	l->bytes -= engine_node_bytes(old);
	replace(l, old, node);
	return old;
}

struct engine_node *engine_layer_remove(struct engine_layer *l, const struct engine_node *probe)
{
	struct engine_node at = probe_at(engine_node_pos(probe));
	struct engine_node *n = RB_FIND(engine_tree, &l->tree, &at);

	if (!n)
		return NULL;
	RB_REMOVE(engine_tree, &l->tree, n);
	l->bytes -= engine_node_bytes(n);
	l->count--;
	return n;
}

void engine_layer_write(struct engine_layer *l, struct engine_pos pos, struct slice value,
			bool deleted)
{
	struct engine_node *n = engine_node_new(pos, value, deleted);
	struct engine_node *old = engine_layer_add(l, n);

	if (old) {
		n->order = old->order;
		engine_node_free(old);
	} else {
		n->order = (uint32_t)(l->count - 1);
	}
	if (n->order >= l->order_cap) {
		l->order_cap = l->order_cap ? 2 * l->order_cap : 64;
		l->order = mem_must_realloc(l->order, l->order_cap * sizeof(*l->order));
	}
	l->order[n->order] = n;
}

void engine_layer_drain(struct engine_layer *from,
			void (*take)(void *ctx, struct engine_node *node), void *ctx)
{
	size_t count = from->count;

	RB_INIT(&from->tree);
	from->bytes = 0;
	from->count = 0;
	for (size_t i = 0; i < count; i++)
		take(ctx, from->order[i]);
}

/* ---- looking in ---- */

const struct engine_node *engine_layer_find(struct engine_layer *l, struct engine_pos pos)
{
	struct engine_node at = probe_at(pos);

	return RB_FIND(engine_tree, &l->tree, &at);
}

const struct engine_node *engine_layer_seek(struct engine_layer *l, struct engine_pos pos)
{
	struct engine_node at = probe_at(pos);

	return RB_NFIND(engine_tree, &l->tree, &at);
}

const struct engine_node *engine_layer_next(const struct engine_node *node)
{
	return engine_tree_RB_NEXT((struct engine_node *)node); /* changes nothing */
}
