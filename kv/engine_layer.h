/* An ordered set of changes in memory: puts and deletes of one group, by table and key. The open
 * batch is one; so is the whole state of a group of the engine in memory. Not synchronised: the
 * owner of a layer that others see has a lock. */
#ifndef PAXFS_KV_ENGINE_LAYER_H
#define PAXFS_KV_ENGINE_LAYER_H

#include <stdatomic.h>
#include <bsd/sys/tree.h>

#include "base/slice.h"

/* A place in the records of a group: tables in their order, keys in byte order within. */
struct engine_pos {
	unsigned table;
	struct slice key;
};

static inline int engine_pos_cmp(struct engine_pos a, struct engine_pos b)
{
	if (a.table != b.table)
		return a.table < b.table ? -1 : 1;
	return slice_cmp(a.key, b.key);
}

struct engine_node {
	RB_ENTRY(engine_node) link;
	const uint8_t *key; /* data, but for a probe */
	uint32_t key_len, value_len;
	uint32_t order; /* in engine_layer.order */
	uint8_t table;
	bool deleted;
	uint8_t data[]; /* key, value */
};

RB_HEAD(engine_tree, engine_node);

struct engine_layer {
	struct engine_tree tree;
	atomic_uint refs;
	uint64_t bytes; /* of memory, about */
	size_t count;
	/* The nodes in the order of their first write, for moving them out without emptying the
	 * tree one by one. Kept by engine_layer_write only. */
	struct engine_node **order;
	size_t order_cap;
};

struct engine_layer *engine_layer_new(void); /* one reference */
struct engine_layer *engine_layer_ref(struct engine_layer *l);
void engine_layer_unref(struct engine_layer *l); /* takes NULL */

/* Writes a record, or that it is gone; the last write of a position counts. */
void engine_layer_write(struct engine_layer *l, struct engine_pos pos, struct slice value,
			bool deleted);
void engine_layer_clear(struct engine_layer *l);

/* Empties @from, which only engine_layer_write has filled: each node goes to @take, in an order
 * that is not the keys' one. */
void engine_layer_drain(struct engine_layer *from,
			void (*take)(void *ctx, struct engine_node *node), void *ctx);

/* Adds the node; returns the one that it replaces, or NULL. Owned by the layer from then on. */
struct engine_node *engine_layer_add(struct engine_layer *l, struct engine_node *node);
/* Removes the node at the position of @probe and returns it, or NULL. */
struct engine_node *engine_layer_remove(struct engine_layer *l, const struct engine_node *probe);

struct engine_node *engine_node_new(struct engine_pos pos, struct slice value, bool deleted);
void engine_node_free(struct engine_node *node); /* takes NULL */
size_t engine_node_bytes(const struct engine_node *node);

/* NULL when the layer says nothing about the position. */
const struct engine_node *engine_layer_find(struct engine_layer *l, struct engine_pos pos);
/* The first node at or after the position, and the one after a node; NULL at the end. */
const struct engine_node *engine_layer_seek(struct engine_layer *l, struct engine_pos pos);
const struct engine_node *engine_layer_next(const struct engine_node *node);

static inline struct engine_pos engine_node_pos(const struct engine_node *n)
{
	return (struct engine_pos){.table = n->table, .key = slice_of(n->key, n->key_len)};
}

static inline struct slice engine_node_value(const struct engine_node *n)
{
	return slice_of(n->data + n->key_len, n->value_len);
}

#endif
