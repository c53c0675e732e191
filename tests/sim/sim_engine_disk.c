/* The engine's part of a disk: per group what is flushed; and the batches that are committed and not
 * flushed, in the order of commits over all groups. RocksDB flushes all column families at once, so
 * what a crash leaves is the flushed state and some first of these batches, never a later one
 * without an earlier. */
#include <inttypes.h>

#include "base/check.h"
#include "base/mem.h"
#include "kv/engine_internal.h"
#include "tests/sim/sim_disk_internal.h"

/* ---- layers ---- */

static struct engine_layer *layer_copy(struct engine_layer *from)
{
	struct engine_layer *l = engine_layer_new();
	const struct engine_node *n;

	for (n = engine_layer_seek(from, (struct engine_pos){0}); n; n = engine_layer_next(n))
		engine_layer_add(l, engine_node_new(engine_node_pos(n), engine_node_value(n),
						    n->deleted));
	return l;
}

void sim_layer_own(struct engine_layer **l)
{
	struct engine_layer *copy;

	if (atomic_load(&(*l)->refs) == 1)
		return;
	copy = layer_copy(*l);
	engine_layer_unref(*l);
	*l = copy;
}

/* ---- groups ---- */

struct sim_group *sim_engine__group(struct sim_disk *d, uint32_t id)
{
	struct sim_group *g, *at;

	TAILQ_FOREACH(at, &d->groups, link)
		if (at->id >= id)
			break;
	if (at != NULL && at->id == id)
		return at;
	g = mem_must_alloc(sizeof(*g));
	g->id = id;
	g->state = engine_layer_new();
	if (at != NULL)
		TAILQ_INSERT_BEFORE(at, g, link);
	else
		TAILQ_INSERT_TAIL(&d->groups, g, link);
	return g;
}

static void group_free(struct sim_disk *d, struct sim_group *g)
{
	TAILQ_REMOVE(&d->groups, g, link);
	engine_layer_unref(g->state);
	engine_layer_unref(g->rot);
	mem_free(g);
}

/* ---- batches ---- */

static void batch_drop(struct sim_disk *d, struct sim_batch *b)
{
	TAILQ_REMOVE(&d->batches, b, link);
	for (size_t i = 0; i < b->count; i++)
		engine_node_free(b->nodes[i]);
	mem_free(b);
}

void sim_engine__add(struct sim_disk *d, struct sim_batch *b)
{
	b->number = ++d->batch_number;
	TAILQ_INSERT_TAIL(&d->batches, b, link);
}

static void fold_node(struct sim_group *g, struct engine_node *n)
{
	if (g->rot != NULL) {
		sim_layer_own(&g->rot);
		engine_node_free(engine_layer_remove(g->rot, n));
	}
	if (!n->deleted) {
		engine_node_free(engine_layer_add(g->state, n));
		return;
	}
	engine_node_free(engine_layer_remove(g->state, n));
	engine_node_free(n);
}

static void fold_batch(struct sim_disk *d, struct sim_batch *b)
{
	struct sim_group *g = b->group;

	CHECK(b->slot >= g->slot);
	sim_layer_own(&g->state);
	for (size_t i = 0; i < b->count; i++)
		fold_node(g, b->nodes[i]);
	g->slot = b->slot;
	b->count = 0;
	batch_drop(d, b);
}

void sim_engine__fold(struct sim_disk *d, uint64_t number)
{
	struct sim_batch *b;

	while ((b = TAILQ_FIRST(&d->batches)) != NULL && b->number <= number)
		fold_batch(d, b);
}

void sim_engine__replace(struct sim_group *g, struct engine_layer *state, uint64_t slot)
{
	CHECK(slot >= g->slot);
	engine_layer_unref(g->state);
	engine_layer_unref(g->rot);
	g->state = engine_layer_ref(state);
	g->rot = NULL;
	g->slot = slot;
}

/* ---- crashes ---- */

/* How many of @count survive: none, as a rule, for RocksDB flushes by itself only when its memory is
 * used up. */
static uint64_t survivors(uint64_t count)
{
	return sim_below(2) == 0 ? 0 : sim_below(count + 1);
}

void sim_engine__settle(struct sim_disk *d)
{
	struct sim_batch *b;
	struct sim_group *g;
	uint64_t count = 0, keep, lost;

	CHECK(d->engine == NULL);
	TAILQ_FOREACH(b, &d->batches, link)
		count++;
	keep = count > 0 ? survivors(count) : 0;
	lost = count - keep;
	while (keep-- > 0)
		fold_batch(d, TAILQ_FIRST(&d->batches));
	while ((b = TAILQ_FIRST(&d->batches)) != NULL) {
		batch_drop(d, b);
		sim_fault_note(SIM_FAULT_UNFLUSHED_LOST);
	}
	if (lost > 0)
		sim_trace("disk %s: engine lost %" PRIu64 " of %" PRIu64 " batches",
			  sim_disk_name(d), lost, count);
	if (sim_engine_watch == NULL || sim_engine_watch->reverted == NULL)
		return;
	TAILQ_FOREACH(g, &d->groups, link)
		sim_engine_watch->reverted(d, g->id, g->slot);
}

void sim_engine__clear(struct sim_disk *d)
{
	CHECK(d->engine == NULL);
	while (!TAILQ_EMPTY(&d->batches))
		batch_drop(d, TAILQ_FIRST(&d->batches));
	while (!TAILQ_EMPTY(&d->groups))
		group_free(d, TAILQ_FIRST(&d->groups));
}

/* ---- copies, figures ---- */

void sim_engine__copy(struct sim_disk *to, const struct sim_disk *from)
{
	const struct sim_group *g;

	TAILQ_FOREACH(g, &from->groups, link) {
		struct sim_group *copy = sim_engine__group(to, g->id);

		engine_layer_unref(copy->state);
		copy->state = engine_layer_ref(g->state);
		copy->rot = g->rot != NULL ? engine_layer_ref(g->rot) : NULL;
		copy->slot = g->slot;
	}
}

uint64_t sim_engine__bytes(const struct sim_disk *d)
{
	const struct sim_group *g;
	uint64_t sum = 0;

	TAILQ_FOREACH(g, &d->groups, link)
		sum += g->state->bytes;
	return sum;
}

/* A process that stopped without a flush leaves batches behind too. */
static void settle_leftovers(struct sim_disk *d)
{
	CHECK(d->engine == NULL);
	if (!TAILQ_EMPTY(&d->batches))
		sim_engine__settle(d);
}

bool sim_disk_engine_state(struct sim_disk *d, uint32_t group, uint64_t *slot, uint32_t *crc)
{
	struct engine_digest digest = {0};
	const struct engine_node *n;
	const struct sim_group *g;

	settle_leftovers(d);
	TAILQ_FOREACH(g, &d->groups, link)
		if (g->id == group)
			break;
	if (g == NULL || (g->slot == 0 && g->state->count == 0) ||
	    (g->rot != NULL && g->rot->count > 0))
		return false;
	for (n = engine_layer_seek(g->state, (struct engine_pos){0}); n; n = engine_layer_next(n))
		engine__digest_add(&digest, engine_node_pos(n), engine_node_value(n));
	*slot = g->slot;
	*crc = digest.crc;
	return true;
}

/* ---- damage ---- */

bool sim_disk_rot_engine(struct sim_disk *d)
{
	const struct engine_node *n;
	struct sim_group *g;
	uint64_t count = 0, at;

	settle_leftovers(d);
	TAILQ_FOREACH(g, &d->groups, link)
		count += g->state->count;
	if (count == 0)
		return false;
	at = sim_below(count);
	TAILQ_FOREACH(g, &d->groups, link) {
		if (at < g->state->count)
			break;
		at -= g->state->count;
	}
	CHECK(g != NULL);
	n = engine_layer_seek(g->state, (struct engine_pos){0});
	while (at-- > 0)
		n = engine_layer_next(n);
	if (g->rot == NULL)
		g->rot = engine_layer_new();
	sim_layer_own(&g->rot);
	engine_node_free(engine_layer_add(
		g->rot, engine_node_new(engine_node_pos(n), (struct slice){0}, false)));
	sim_fault_note(SIM_FAULT_ENGINE_ROT);
	sim_trace("disk %s: group %" PRIu32 ": a record of table %u cannot be read",
		  sim_disk_name(d), g->id, n->table);
	return true;
}
