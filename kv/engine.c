/* What all engines share: groups, batches, dispatch. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/engine_internal.h"

/* ---- the engine and its groups ---- */

void engine__init(struct engine *e, const struct engine_ops *ops)
{
	e->ops = ops;
	CHECK(pthread_mutex_init(&e->groups_lock, NULL) == 0);
	SLIST_INIT(&e->groups);
	atomic_init(&e->unflushed_bytes, 0);
	atomic_init(&e->wants_flush, false);
	atomic_init(&e->reserve_missing, 0);
}

void engine__release(struct engine *e)
{
	pthread_mutex_destroy(&e->groups_lock);
}

void engine_close(struct engine *e)
{
	if (e)
		e->ops->close(e);
}

void engine__group_init(struct engine *e, struct engine_group *g, uint32_t id)
{
	g->engine = e;
	g->id = id;
	atomic_init(&g->applied, 0);
	atomic_init(&g->durable, 0);
	g->batch = engine_layer_new();
}

void engine__group_release(struct engine_group *g)
{
	engine__install_free(g->install);
	engine_layer_unref(g->batch);
}

struct engine_group *engine__group_find(struct engine *e, uint32_t id)
{
	struct engine_group *g;

	pthread_mutex_lock(&e->groups_lock);
	SLIST_FOREACH(g, &e->groups, link)
		if (g->id == id)
			break;
	pthread_mutex_unlock(&e->groups_lock);
	return g;
}

void engine__group_add(struct engine *e, struct engine_group *g)
{
	pthread_mutex_lock(&e->groups_lock);
	SLIST_INSERT_HEAD(&e->groups, g, link);
	pthread_mutex_unlock(&e->groups_lock);
}

struct engine_group *engine__group_first(struct engine *e)
{
	struct engine_group *g;

	pthread_mutex_lock(&e->groups_lock);
	g = SLIST_FIRST(&e->groups);
	pthread_mutex_unlock(&e->groups_lock);
	return g;
}

struct engine_group *engine__group_next(struct engine_group *g)
{
	return SLIST_NEXT(g, link); /* set before the group could be found, never changed */
}

struct engine_group *engine_group_open(struct engine *e, uint32_t group)
{
	struct engine_group *g = engine__group_find(e, group);

	if (!g) {
		g = e->ops->group_new(e, group);
		engine__group_add(e, g);
	}
	CHECK(!g->opened);
	g->opened = true;
	return g;
}

void engine_group_close(struct engine_group *g)
{
	CHECK(g->opened && !g->in_batch);
	g->opened = false;
}

uint64_t engine_applied(struct engine_group *g)
{
	return atomic_load_explicit(&g->applied, memory_order_acquire);
}

uint64_t engine_durable(struct engine_group *g)
{
	return atomic_load_explicit(&g->durable, memory_order_acquire);
}

void engine__durable_raise(struct engine_group *g, uint64_t slot)
{
	uint64_t now = atomic_load(&g->durable);

	while (now < slot && !atomic_compare_exchange_weak(&g->durable, &now, slot))
		continue;
}

/* ---- batches ---- */

void engine_begin(struct engine_group *g)
{
	CHECK(g->opened && !g->in_batch);
	g->in_batch = true;
}

void engine_put(struct engine_group *g, enum engine_table t, struct slice key, struct slice value)
{
	CHECK(g->in_batch && t < TABLE_COUNT && key.len <= ENGINE_KEY_SIZE_MAX);
	engine_layer_write(g->batch, (struct engine_pos){.table = t, .key = key}, value, false);
}

void engine_del(struct engine_group *g, enum engine_table t, struct slice key)
{
	CHECK(g->in_batch && t < TABLE_COUNT && key.len <= ENGINE_KEY_SIZE_MAX);
	engine_layer_write(g->batch, (struct engine_pos){.table = t, .key = key}, (struct slice){0},
			   true);
}

void engine_commit(struct engine_group *g, uint64_t applied_slot)
{
	uint64_t bytes = g->batch->bytes;

	CHECK(g->in_batch && applied_slot >= engine_applied(g));
	g->engine->ops->commit(g, applied_slot);
	CHECK(g->batch->count == 0 && engine_applied(g) == applied_slot);
	/* Behind the commit: a flush in between counts too much as unflushed, never too little. */
	atomic_fetch_add(&g->engine->unflushed_bytes, bytes);
	g->in_batch = false;
}

void engine_abandon(struct engine_group *g)
{
	CHECK(g->in_batch);
	engine_layer_clear(g->batch);
	g->in_batch = false;
}

/* ---- reads ---- */

int engine_get(struct engine_group *g, enum engine_table t, struct slice key, struct buf *out)
{
	struct engine_pos pos = {.table = t, .key = key};
	const struct engine_node *n;

	CHECK(g->opened && t < TABLE_COUNT);
	n = g->batch->count ? engine_layer_find(g->batch, pos) : NULL;
	if (!n)
		return g->engine->ops->get(g, pos, out);
	return n->deleted ? ERR_NOT_FOUND : buf_set(out, engine_node_value(n));
}

/* ---- flushing, figures ---- */

int engine_flush(struct engine *e)
{
	return e->ops->flush(e);
}

uint64_t engine_reserve_missing(struct engine *e)
{
	return atomic_load(&e->reserve_missing);
}

bool engine_wants_flush(struct engine *e)
{
	return atomic_load(&e->wants_flush);
}

uint64_t engine_unflushed_bytes(struct engine *e)
{
	return atomic_load(&e->unflushed_bytes);
}

void engine_stats_get(struct engine *e, struct engine_stats *out)
{
	struct engine_stats s = {.unflushed_bytes = engine_unflushed_bytes(e)};

	e->ops->stats(e, &s);
	*out = s;
}

/* A range that ends within so many records or bytes is counted; a longer one is extrapolated. */
#define SAMPLE_RECORDS 1024u
#define SAMPLE_BYTES   (2u * 1024u * 1024u)

/* Nothing to extrapolate from: the range is in memory. Counted, with a bound all the same. */
#define COUNT_RECORDS_MAX 200000u

struct estimate {
	uint64_t keys, bytes;
};

/* Bytes stored of the whole range, over those of the counted part, at least 1; 0: not known. */
static double share_counted(struct engine_group *g, struct engine_pos from, struct engine_pos at,
			    struct engine_pos to)
{
	uint64_t counted = g->engine->ops->stored_bytes(g, from, at);
	uint64_t all = g->engine->ops->stored_bytes(g, from, to);

	if (counted == 0 || all == 0)
		return 0;
	return all > counted ? (double)all / (double)counted : 1;
}

static struct estimate estimate_table(struct engine_group *g, struct engine_pos from,
				      struct engine_pos to)
{
	struct engine_iter *it = engine__iter_new(g, from, to, false);
	struct estimate e = {0};
	double factor = 1;
	bool sampled = false;

	for (; engine_iter_valid(it); engine_iter_next(it)) {
		if (e.keys == COUNT_RECORDS_MAX)
			break;
		if (e.keys == SAMPLE_RECORDS || (e.bytes >= SAMPLE_BYTES && !sampled)) {
			sampled = true;
			factor = share_counted(g, from, engine__iter_pos(it), to);
			if (factor > 0)
				break;
		}
		e.keys++;
		e.bytes += engine_iter_key(it).len + engine_iter_value(it).len;
	}
	engine_iter_free(it);
	if (factor > 1) {
		e.keys = (uint64_t)((double)e.keys * factor);
		e.bytes = (uint64_t)((double)e.bytes * factor);
	}
	return e;
}

void engine_estimate(struct engine_group *g, struct slice from, struct slice to, uint64_t *keys,
		     uint64_t *bytes)
{
	static const enum engine_table tables[] = {TABLE_DATA, TABLE_BLOCK};
	struct estimate sum = {0};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		struct engine_pos lo = {.table = tables[i], .key = from};
		struct engine_pos hi = {.table = tables[i], .key = to};
		struct estimate e;

		if (to.len == 0)
			hi.table++;
		e = estimate_table(g, lo, hi);
		sum.keys += e.keys;
		sum.bytes += e.bytes;
	}
	*keys = sum.keys;
	*bytes = sum.bytes;
}
