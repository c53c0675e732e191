/* Scans: sources merged in order, the newest one's word counting. */
#include "base/check.h"
#include "base/mem.h"
#include "kv/engine_internal.h"

/* ---- a layer as a source ---- */

struct layer_source {
	struct engine_source base;
	struct engine_layer *layer; /* a reference */
	const struct engine_node *node;
	struct engine_pos to;
};

static void layer_source_show(struct layer_source *s)
{
	s->base.valid = s->node && engine_pos_cmp(engine_node_pos(s->node), s->to) < 0;
	if (!s->base.valid)
		return;
	s->base.pos = engine_node_pos(s->node);
	s->base.value = engine_node_value(s->node);
	s->base.deleted = s->node->deleted;
}

static void layer_source_next(struct engine_source *base)
{
	struct layer_source *s = container_of(base, struct layer_source, base);

	s->node = engine_layer_next(s->node);
	layer_source_show(s);
}

static void layer_source_free(struct engine_source *base)
{
	struct layer_source *s = container_of(base, struct layer_source, base);

	engine_layer_unref(s->layer);
	mem_free(s);
}

struct engine_source *engine__layer_source(struct engine_layer *layer, struct engine_pos from,
					   struct engine_pos to)
{
	static const struct engine_source_ops ops = {layer_source_next, layer_source_free};
	struct layer_source *s = mem_must_alloc(sizeof(*s));

	s->base.ops = &ops;
	s->layer = engine_layer_ref(layer);
	s->to = to;
	s->node = engine_layer_seek(layer, from);
	layer_source_show(s);
	return &s->base;
}

/* ---- the merge ---- */

struct engine_iter {
	struct engine_source *sources[ENGINE_SOURCES_MAX]; /* newest first */
	unsigned count;
	struct engine_source *at; /* NULL: at the end */
	int err;
	uint8_t to[ENGINE_KEY_SIZE_MAX]; /* the sources' upper bound points here */
};

/* The source with the first position; of equal ones the newest. Every other source that stands
 * there too is moved on: its word is old. */
static struct engine_source *pick(struct engine_iter *it)
{
	struct engine_source *best = NULL;

	for (unsigned i = 0; i < it->count; i++) {
		struct engine_source *s = it->sources[i];
		int c;

		if (!s->valid)
			continue;
		c = best ? engine_pos_cmp(s->pos, best->pos) : -1;
		if (c < 0)
			best = s;
		else if (c == 0)
			s->ops->next(s);
	}
	return best;
}

/* A source that broke off may have held anything: there is nothing to say behind that. */
static bool broke_off(struct engine_iter *it)
{
	for (unsigned i = 0; i < it->count && !it->err; i++)
		it->err = it->sources[i]->err;
	return it->err != 0;
}

static void settle(struct engine_iter *it)
{
	for (;;) {
		it->at = pick(it);
		if (broke_off(it))
			it->at = NULL;
		if (!it->at || !it->at->deleted)
			return;
		it->at->ops->next(it->at);
	}
}

struct engine_iter *engine__iter_new(struct engine_group *g, struct engine_pos from,
				     struct engine_pos to, bool batch)
{
	struct engine_iter *it = mem_must_realloc(NULL, sizeof(*it));

	CHECK(to.key.len <= sizeof(it->to));
	it->count = 0;
	it->at = NULL;
	it->err = 0;
	if (to.key.len)
		memcpy(it->to, to.key.p, to.key.len);
	to.key.p = it->to;
	if (batch && g->batch->count)
		it->sources[it->count++] = engine__layer_source(g->batch, from, to);
	it->count += g->engine->ops->sources(g, from, to, it->sources + it->count);
	CHECK(it->count <= ENGINE_SOURCES_MAX);
	settle(it);
	return it;
}

struct engine_iter *engine_iter_new(struct engine_group *g, enum engine_table t, struct slice from,
				    struct slice to)
{
	struct engine_pos lo = {.table = t, .key = from}, hi = {.table = t, .key = to};

	CHECK(g->opened && t < TABLE_COUNT);
	if (to.len == 0)
		hi.table++;
	return engine__iter_new(g, lo, hi, true);
}

bool engine_iter_valid(const struct engine_iter *it)
{
	return it->at != NULL;
}

struct engine_pos engine__iter_pos(const struct engine_iter *it)
{
	CHECK(it->at);
	return it->at->pos;
}

struct slice engine_iter_key(const struct engine_iter *it)
{
	CHECK(it->at);
	return it->at->pos.key;
}

struct slice engine_iter_value(const struct engine_iter *it)
{
	CHECK(it->at);
	return it->at->value;
}

void engine_iter_next(struct engine_iter *it)
{
	CHECK(it->at);
	it->at->ops->next(it->at);
	settle(it);
}

int engine_iter_err(const struct engine_iter *it)
{
	return it->err;
}

void engine_iter_free(struct engine_iter *it)
{
	if (!it)
		return;
	for (unsigned i = 0; i < it->count; i++)
		it->sources[i]->ops->free(it->sources[i]);
	mem_free(it);
}
