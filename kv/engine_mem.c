/* The engine in memory: a group's whole state is one layer, and commits go straight into it. Views
 * and scans hold a reference to the layer; a commit that meets one works on a copy, so a reader on
 * another thread keeps the state it began with. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/engine_internal.h"

struct mem_group {
	struct engine_group base;
	pthread_mutex_t lock; /* of `state` and its slot, against view_new and stats */
	struct engine_layer *state;
	struct engine_layer *staged; /* NULL: nothing is being installed */
};

static struct mem_group *mem_group(struct engine_group *g)
{
	return container_of(g, struct mem_group, base);
}

/* ---- groups ---- */

static struct engine_group *mem_group_new(struct engine *e, uint32_t id)
{
	struct mem_group *g = mem_must_alloc(sizeof(*g));

	engine__group_init(e, &g->base, id);
	CHECK(pthread_mutex_init(&g->lock, NULL) == 0);
	g->state = engine_layer_new();
	return &g->base;
}

static void mem_close(struct engine *e)
{
	struct engine_group *g, *next;

	SLIST_FOREACH_SAFE(g, &e->groups, link, next) {
		struct mem_group *mg = mem_group(g);

		engine_layer_unref(mg->state);
		engine_layer_unref(mg->staged);
		pthread_mutex_destroy(&mg->lock);
		engine__group_release(g);
		mem_free(mg);
	}
	engine__release(e);
	mem_free(e);
}

/* ---- commits ---- */

static struct engine_layer *copy_layer(struct engine_layer *from)
{
	struct engine_layer *l = engine_layer_new();
	const struct engine_node *n;

	for (n = engine_layer_seek(from, (struct engine_pos){0}); n; n = engine_layer_next(n))
		engine_layer_add(l, engine_node_new(engine_node_pos(n), engine_node_value(n),
						    n->deleted));
	return l;
}

static void take_node(void *ctx, struct engine_node *node)
{
	struct mem_group *g = ctx;

	if (!node->deleted) {
		engine_node_free(engine_layer_add(g->state, node));
		return;
	}
	engine_node_free(engine_layer_remove(g->state, node));
	engine_node_free(node);
}

static void mem_commit(struct engine_group *base, uint64_t applied)
{
	struct mem_group *g = mem_group(base);

	pthread_mutex_lock(&g->lock);
	if (atomic_load(&g->state->refs) > 1) {
		struct engine_layer *copy = copy_layer(g->state);

		engine_layer_unref(g->state);
		g->state = copy;
	}
	engine_layer_drain(base->batch, take_node, g);
	atomic_store(&base->applied, applied);
	pthread_mutex_unlock(&g->lock);
}

/* Memory is as durable as it gets: what counts is that `durable` moves as it does on disk. */
static int mem_flush(struct engine *e)
{
	uint64_t bytes = atomic_load(&e->unflushed_bytes);

	for (struct engine_group *g = engine__group_first(e); g; g = engine__group_next(g))
		engine__durable_raise(g, engine_applied(g));
	atomic_fetch_sub(&e->unflushed_bytes, bytes);
	return 0;
}

/* ---- reads ---- */

static int mem_get(struct engine_group *g, struct engine_pos pos, struct buf *out)
{
	const struct engine_node *n = engine_layer_find(mem_group(g)->state, pos);

	return n ? buf_set(out, engine_node_value(n)) : ERR_NOT_FOUND;
}

static unsigned mem_sources(struct engine_group *g, struct engine_pos from, struct engine_pos to,
			    struct engine_source **out)
{
	out[0] = engine__layer_source(mem_group(g)->state, from, to);
	return 1;
}

static int mem_view_new(struct engine_group *base, struct engine_view **out)
{
	struct mem_group *g = mem_group(base);
	struct engine_view *v = mem_must_alloc(sizeof(*v));

	pthread_mutex_lock(&g->lock);
	v->applied = engine_applied(base);
	v->source = engine__layer_source(g->state, (struct engine_pos){0},
					 (struct engine_pos){.table = TABLE_COUNT});
	pthread_mutex_unlock(&g->lock);
	*out = v;
	return 0;
}

static void mem_view_free(struct engine_view *v)
{
	v->source->ops->free(v->source);
	mem_free(v);
}

/* ---- installing ---- */

static int mem_install_begin(struct engine_group *base)
{
	struct mem_group *g = mem_group(base);

	engine_layer_unref(g->staged);
	g->staged = engine_layer_new();
	return 0;
}

static void mem_install_put(struct engine_group *base, struct engine_pos pos, struct slice value)
{
	struct mem_group *g = mem_group(base);

	engine_node_free(engine_layer_add(g->staged, engine_node_new(pos, value, false)));
}

static void mem_install_write(struct engine_group *g)
{
	(void)g; /* it is where it stays */
}

static int mem_install_finish(struct engine_group *base, uint64_t applied)
{
	struct mem_group *g = mem_group(base);
	struct engine_layer *old = g->state;

	pthread_mutex_lock(&g->lock);
	g->state = g->staged;
	g->staged = NULL;
	atomic_store(&base->applied, applied);
	pthread_mutex_unlock(&g->lock);
	engine__durable_raise(base, applied);
	engine_layer_unref(old);
	return 0;
}

/* ---- figures ---- */

static uint64_t mem_stored_bytes(struct engine_group *g, struct engine_pos from,
				 struct engine_pos to)
{
	(void)g;
	(void)from;
	(void)to;
	return 0; /* nothing to extrapolate from: counting is cheap */
}

static void mem_stats(struct engine *e, struct engine_stats *out)
{
	for (struct engine_group *g = engine__group_first(e); g; g = engine__group_next(g)) {
		struct mem_group *mg = mem_group(g);

		pthread_mutex_lock(&mg->lock);
		out->memory_bytes += mg->state->bytes;
		pthread_mutex_unlock(&mg->lock);
	}
}

int engine_mem_open(struct engine **out)
{
	static const struct engine_ops ops = {
		.close = mem_close,
		.group_new = mem_group_new,
		.get = mem_get,
		.sources = mem_sources,
		.commit = mem_commit,
		.flush = mem_flush,
		.view_new = mem_view_new,
		.view_free = mem_view_free,
		.install_begin = mem_install_begin,
		.install_put = mem_install_put,
		.install_write = mem_install_write,
		.install_finish = mem_install_finish,
		.stored_bytes = mem_stored_bytes,
		.stats = mem_stats,
	};
	struct engine *e = mem_must_alloc(sizeof(*e));

	engine__init(e, &ops);
	*out = e;
	return 0;
}
