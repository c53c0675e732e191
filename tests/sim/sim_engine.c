/* The engine of a node, as its process sees it: a layer per group with all that is committed. Beside
 * it each batch goes to the disk, where it waits for a flush (sim_engine_disk.c). What a process has
 * open begins as the flushed state itself and becomes a copy at the first commit. */
#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/engine_internal.h"
#include "tests/sim/sim_disk_internal.h"

struct sim_engine {
	struct engine base;
	struct sim_disk *disk;
	pthread_mutex_t flush_lock;
	bool dirty; /* something was written since the last flush began */
};

struct live_group {
	struct engine_group base;
	struct sim_group *stored;
	struct engine_layer *state;
	struct engine_layer *rot;    /* NULL: all can be read */
	struct engine_layer *staged; /* NULL: nothing is being installed */
	uint64_t staged_bytes;	     /* counted as unflushed so far */
	struct sim_batch *batch;     /* while a commit fills it */
};

const struct sim_engine_watch *sim_engine_watch;

static struct sim_engine *engine_of(struct engine *e)
{
	return container_of(e, struct sim_engine, base);
}

static struct live_group *live_of(struct engine_group *g)
{
	return container_of(g, struct live_group, base);
}

/* ---- groups ---- */

static struct live_group *live_new(struct sim_engine *e, struct sim_group *stored)
{
	struct live_group *g = mem_must_alloc(sizeof(*g));

	engine__group_init(&e->base, &g->base, stored->id);
	g->stored = stored;
	g->state = engine_layer_ref(stored->state);
	if (stored->rot != NULL && stored->rot->count > 0)
		g->rot = engine_layer_ref(stored->rot);
	atomic_store(&g->base.applied, stored->slot);
	atomic_store(&g->base.durable, stored->slot);
	return g;
}

static struct engine_group *sim_group_new(struct engine *e, uint32_t id)
{
	struct sim_engine *se = engine_of(e);

	return &live_new(se, sim_engine__group(se->disk, id))->base;
}

static void live_release(struct live_group *g)
{
	engine_layer_unref(g->state);
	engine_layer_unref(g->rot);
	engine_layer_unref(g->staged);
	engine__group_release(&g->base);
}

static void sim_close(struct engine *e)
{
	struct sim_engine *se = engine_of(e);
	struct engine_group *g, *next;

	CHECK(se->disk->engine == se);
	se->disk->engine = NULL;
	SLIST_FOREACH_SAFE(g, &e->groups, link, next) {
		live_release(live_of(g));
		mem_free(live_of(g));
	}
	pthread_mutex_destroy(&se->flush_lock);
	engine__release(e);
	mem_free(se);
}

/* No code of the process runs any more. Its large structures go; the handle stays as it was. */
void sim_engine__abandon(struct sim_disk *d)
{
	struct sim_engine *se = d->engine;
	struct engine_group *g;

	d->engine = NULL;
	if (se == NULL)
		return;
	SLIST_FOREACH(g, &se->base.groups, link) {
		struct live_group *lg = live_of(g);

		engine_layer_unref(lg->state);
		engine_layer_unref(lg->rot);
		engine_layer_unref(lg->staged);
		lg->state = lg->rot = lg->staged = NULL;
	}
}

/* ---- commits ---- */

static void stall(struct sim_engine *se)
{
	const struct sim_disk_faults *f = &se->disk->faults;

	if (f->engine_stall_ppm == 0 || sim_thread_self() == NULL || sim_thread_is_main() ||
	    !sim_chance(f->engine_stall_ppm))
		return;
	sim_fault_note(SIM_FAULT_ENGINE_STALL);
	sim_sleep(f->engine_stall_ns);
}

static uint32_t batch_crc(struct engine_layer *batch)
{
	const struct engine_node *n;
	uint32_t crc = 0;

	for (n = engine_layer_seek(batch, (struct engine_pos){0}); n; n = engine_layer_next(n)) {
		uint8_t header[CHUNK_RECORD_HEADER];

		engine__record_header(header, engine_node_pos(n), n->value_len);
		header[1] = n->deleted;
		crc = crc32c(crc, header, sizeof(header));
		crc = crc32c(crc, n->data, (size_t)n->key_len + n->value_len);
	}
	return crc;
}

static void take_node(void *ctx, struct engine_node *node)
{
	struct live_group *g = ctx;

	g->batch->nodes[g->batch->count++] = engine_node_new(
		engine_node_pos(node), engine_node_value(node), node->deleted);
	if (g->rot != NULL)
		engine_node_free(engine_layer_remove(g->rot, node));
	if (!node->deleted) {
		engine_node_free(engine_layer_add(g->state, node));
		return;
	}
	engine_node_free(engine_layer_remove(g->state, node));
	engine_node_free(node);
}

/* RocksDB's own flush, when its memory is used up. The process learns of it at its next one. */
static void flush_by_itself(struct sim_disk *d)
{
	if (d->faults.auto_flush_ppm > 0 && sim_chance(d->faults.auto_flush_ppm))
		sim_engine__fold(d, d->batch_number);
}

static void sim_commit(struct engine_group *base, uint64_t applied)
{
	struct sim_engine *se = engine_of(base->engine);
	struct live_group *g = live_of(base);
	uint32_t crc = batch_crc(base->batch);

	stall(se);
	g->batch = mem_must_alloc(sizeof(*g->batch) +
				  base->batch->count * sizeof(g->batch->nodes[0]));
	g->batch->group = g->stored;
	g->batch->slot = applied;
	sim_layer_own(&g->state);
	if (g->rot != NULL)
		sim_layer_own(&g->rot);
	engine_layer_drain(base->batch, take_node, g);
	sim_engine__add(se->disk, g->batch);
	g->batch = NULL;
	se->dirty = true;
	atomic_store(&base->applied, applied);
	sim_hash(&crc, sizeof(crc));
	if (sim_engine_watch != NULL && sim_engine_watch->committed != NULL)
		sim_engine_watch->committed(se->disk, base->id, applied, crc);
	flush_by_itself(se->disk);
}

static int flush_locked(struct sim_engine *se)
{
	struct sim_disk *d = se->disk;
	uint64_t bytes = atomic_load(&se->base.unflushed_bytes), number = d->batch_number;
	struct engine_group *g;

	if (!se->dirty)
		return 0;
	se->dirty = false;
	sim_disk__wait(d, 10);
	if (sim_disk__fails(d, "a flush")) {
		se->dirty = true;
		return ERR_IO;
	}
	sim_engine__fold(d, number);
	for (g = engine__group_first(&se->base); g; g = engine__group_next(g))
		engine__durable_raise(g, live_of(g)->stored->slot);
	atomic_fetch_sub(&se->base.unflushed_bytes, bytes);
	return 0;
}

static int sim_flush(struct engine *e)
{
	struct sim_engine *se = engine_of(e);
	int err;

	pthread_mutex_lock(&se->flush_lock);
	err = flush_locked(se);
	pthread_mutex_unlock(&se->flush_lock);
	return err;
}

/* ---- reads ---- */

static int sim_get(struct engine_group *base, struct engine_pos pos, struct buf *out)
{
	const struct live_group *g = live_of(base);
	const struct engine_node *n;

	if (g->rot != NULL && engine_layer_find(g->rot, pos) != NULL)
		return ERR_CORRUPT;
	n = engine_layer_find(g->state, pos);
	return n != NULL ? buf_set(out, engine_node_value(n)) : ERR_NOT_FOUND;
}

/* A layer's records up to the first that cannot be read. */
struct rot_source {
	struct engine_source base;
	struct engine_source *inner;
	struct engine_layer *rot; /* a reference */
};

static void rot_show(struct rot_source *s)
{
	s->base.valid = s->inner->valid;
	if (!s->base.valid)
		return;
	if (engine_layer_find(s->rot, s->inner->pos) != NULL) {
		s->base.valid = false;
		s->base.err = ERR_CORRUPT;
		return;
	}
	s->base.pos = s->inner->pos;
	s->base.value = s->inner->value;
	s->base.deleted = s->inner->deleted;
}

static void rot_next(struct engine_source *base)
{
	struct rot_source *s = container_of(base, struct rot_source, base);

	s->inner->ops->next(s->inner);
	rot_show(s);
}

static void rot_free(struct engine_source *base)
{
	struct rot_source *s = container_of(base, struct rot_source, base);

	s->inner->ops->free(s->inner);
	engine_layer_unref(s->rot);
	mem_free(s);
}

static struct engine_source *source_new(struct live_group *g, struct engine_pos from,
					struct engine_pos to)
{
	static const struct engine_source_ops ops = {rot_next, rot_free};
	struct engine_source *inner = engine__layer_source(g->state, from, to);
	struct rot_source *s;

	if (g->rot == NULL)
		return inner;
	s = mem_must_alloc(sizeof(*s));
	s->base.ops = &ops;
	s->inner = inner;
	s->rot = engine_layer_ref(g->rot);
	rot_show(s);
	return &s->base;
}

static unsigned sim_sources(struct engine_group *g, struct engine_pos from, struct engine_pos to,
			    struct engine_source **out)
{
	out[0] = source_new(live_of(g), from, to);
	return 1;
}

static int sim_view_new(struct engine_group *g, struct engine_view **out)
{
	struct engine_view *v = mem_must_alloc(sizeof(*v));

	v->applied = engine_applied(g);
	v->source = source_new(live_of(g), (struct engine_pos){0},
			       (struct engine_pos){.table = TABLE_COUNT});
	*out = v;
	return 0;
}

static void sim_view_free(struct engine_view *v)
{
	v->source->ops->free(v->source);
	mem_free(v);
}

/* ---- installing ---- */

static int sim_install_begin(struct engine_group *base)
{
	struct live_group *g = live_of(base);

	engine_layer_unref(g->staged);
	g->staged = engine_layer_new();
	g->staged_bytes = 0;
	return 0;
}

static void sim_install_put(struct engine_group *g, struct engine_pos pos, struct slice value)
{
	engine_node_free(engine_layer_add(live_of(g)->staged, engine_node_new(pos, value, false)));
}

static void sim_install_write(struct engine_group *base)
{
	struct live_group *g = live_of(base);

	atomic_fetch_add(&base->engine->unflushed_bytes, g->staged->bytes - g->staged_bytes);
	g->staged_bytes = g->staged->bytes;
	engine_of(base->engine)->dirty = true;
}

/* As with RocksDB everything is on disk before the swap, and the swap before this returns. */
static int sim_install_finish(struct engine_group *base, uint64_t applied)
{
	struct live_group *g = live_of(base);
	struct sim_disk *d = engine_of(base->engine)->disk;
	int err = sim_flush(base->engine);

	if (err)
		return err;
	sim_engine__fold(d, d->batch_number);
	sim_engine__replace(g->stored, g->staged, applied);
	engine_layer_unref(g->state);
	engine_layer_unref(g->rot);
	g->state = g->staged;
	g->staged = g->rot = NULL;
	atomic_store(&base->applied, applied);
	engine__durable_raise(base, applied);
	if (sim_engine_watch != NULL && sim_engine_watch->installed != NULL)
		sim_engine_watch->installed(d, base->id, applied);
	return 0;
}

/* ---- figures, opening ---- */

static uint64_t sim_stored_bytes(struct engine_group *g, struct engine_pos from,
				 struct engine_pos to)
{
	(void)g;
	(void)from;
	(void)to;
	return 0; /* nothing to extrapolate from: counting is cheap */
}

static void sim_stats(struct engine *e, struct engine_stats *out)
{
	struct engine_group *g;

	for (g = engine__group_first(e); g; g = engine__group_next(g))
		out->memory_bytes += live_of(g)->state->bytes;
	out->disk_bytes = sim_engine__bytes(engine_of(e)->disk);
}

static const struct engine_ops sim_ops = {
	.close = sim_close,
	.group_new = sim_group_new,
	.get = sim_get,
	.sources = sim_sources,
	.commit = sim_commit,
	.flush = sim_flush,
	.view_new = sim_view_new,
	.view_free = sim_view_free,
	.install_begin = sim_install_begin,
	.install_put = sim_install_put,
	.install_write = sim_install_write,
	.install_finish = sim_install_finish,
	.stored_bytes = sim_stored_bytes,
	.stats = sim_stats,
};

/* The disk's own capacity refuses; nothing is set aside. */
uint64_t engine_rocks_reserve(uint64_t memory_bytes)
{
	(void)memory_bytes;
	return 0;
}

int engine_rocks_open(const struct engine_config *cfg, struct engine **out, struct msg *m)
{
	struct sim_disk *d = sim_disk_find(cfg->dir);
	struct sim_engine *se;
	struct sim_group *g;

	if (d == NULL || !d->made)
		return msg_set(m, ERR_IO, "engine %s: it is not there", cfg->dir);
	if (d->engine != NULL)
		return msg_set(m, ERR_LOCKED, "engine %s: another process has it open", cfg->dir);
	if (!TAILQ_EMPTY(&d->batches)) /* of a process that stopped without a flush */
		sim_engine__settle(d);
	d->made_engine = true;
	se = mem_must_alloc(sizeof(*se));
	engine__init(&se->base, &sim_ops);
	CHECK(pthread_mutex_init(&se->flush_lock, NULL) == 0);
	se->disk = d;
	TAILQ_FOREACH(g, &d->groups, link)
		engine__group_add(&se->base, &live_new(se, g)->base);
	d->engine = se;
	*out = &se->base;
	return 0;
}
