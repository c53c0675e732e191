/* Scans of RocksDB, over tables; views of one moment. */
#include <rocksdb/c.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/engine_rocks.h"

struct rocks_source {
	struct engine_source base;
	struct rocks *rocks;
	uint32_t group, generation;
	unsigned table; /* that `it` is of */
	struct engine_pos to;
	rocksdb_readoptions_t *how; /* points to `upper` */
	rocksdb_iterator_t *it;	    /* NULL: at the end */
	uint8_t upper[ROCKS_KEY_MAX];
	size_t upper_len;
};

/* The end of the range in the table, or of all keys of the group. */
static void set_upper(struct rocks_source *s)
{
	struct slice key = s->table == s->to.table ? s->to.key : (struct slice){0};
	struct slice upper = rocks__key(s->upper, s->group, s->generation, key);

	if (key.len == 0)
		CHECK(rocks__prefix_end(s->upper));
	s->upper_len = upper.len;
	rocksdb_readoptions_set_iterate_upper_bound(s->how, (const char *)upper.p, upper.len);
}

static void open_table(struct rocks_source *s, struct slice from)
{
	uint8_t key[ROCKS_KEY_MAX];
	struct slice start = rocks__key(key, s->group, s->generation, from);

	set_upper(s);
	s->it = rocksdb_create_iterator_cf(s->rocks->db, s->how,
					   s->rocks->families[ROCKS_TABLE(s->table)]);
	rocksdb_iter_seek(s->it, (const char *)start.p, start.len);
}

static bool has_table(const struct rocks_source *s)
{
	return s->table < s->to.table || (s->table == s->to.table && s->to.key.len > 0);
}

/* True: the iterator is at its end, and there is no error. */
static bool table_done(struct rocks_source *s)
{
	char *text = NULL;

	if (rocksdb_iter_valid(s->it))
		return false;
	rocksdb_iter_get_error(s->it, &text);
	if (text)
		s->base.err = rocks__error(s->rocks, text, "scan", ROCKS_TABLE(s->table),
					   slice_of(s->upper, s->upper_len));
	return !text;
}

static void show(struct rocks_source *s)
{
	const char *p;
	size_t len;

	s->base.valid = !s->base.err && s->it;
	if (!s->base.valid)
		return;
	p = rocksdb_iter_key(s->it, &len);
	CHECK(len >= ROCKS_PREFIX);
	s->base.pos.table = s->table;
	s->base.pos.key = slice_of(p + ROCKS_PREFIX, len - ROCKS_PREFIX);
	p = rocksdb_iter_value(s->it, &len);
	s->base.value = slice_of(p, len);
}

/* To the first record at or behind where the iterator is, in this table or a later one. */
static void settle(struct rocks_source *s)
{
	while (s->it && table_done(s)) {
		rocksdb_iter_destroy(s->it);
		s->it = NULL;
		s->table++;
		if (has_table(s))
			open_table(s, (struct slice){0});
	}
	show(s);
}

static void source_next(struct engine_source *base)
{
	struct rocks_source *s = container_of(base, struct rocks_source, base);

	rocksdb_iter_next(s->it);
	settle(s);
}

static void source_free(struct engine_source *base)
{
	struct rocks_source *s = container_of(base, struct rocks_source, base);

	if (s->it)
		rocksdb_iter_destroy(s->it);
	rocksdb_readoptions_destroy(s->how);
	mem_free(s);
}

/* @snapshot: NULL for what is there now. A scan of everything leaves the cache alone. */
static struct engine_source *source_new(struct engine_group *g, uint32_t generation,
					struct engine_pos from, struct engine_pos to,
					const rocksdb_snapshot_t *snapshot)
{
	static const struct engine_source_ops ops = {source_next, source_free};
	struct rocks_source *s = mem_must_alloc(sizeof(*s));

	s->base.ops = &ops;
	s->rocks = rocks_of(g->engine);
	s->group = g->id;
	s->generation = generation;
	s->table = from.table;
	s->to = to;
	s->how = rocksdb_readoptions_create();
	rocksdb_readoptions_set_background_purge_on_iterator_cleanup(s->how, 1);
	if (snapshot)
		rocksdb_readoptions_set_snapshot(s->how, snapshot);
	if (to.table >= from.table + 2)
		rocksdb_readoptions_set_fill_cache(s->how, 0);
	if (has_table(s))
		open_table(s, from.key);
	settle(s);
	return &s->base;
}

unsigned rocks__sources(struct engine_group *g, struct engine_pos from, struct engine_pos to,
			struct engine_source **out)
{
	out[0] = source_new(g, rocks_group(g)->generation, from, to, NULL);
	return 1;
}

/* ---- views ---- */

struct rocks_view {
	struct engine_view base;
	struct rocks *rocks;
	const rocksdb_snapshot_t *snapshot;
};

/* Everything is taken from the snapshot, the living generation too: commits and installs go on. */
int rocks__view_new(struct engine_group *g, struct engine_view **out)
{
	struct rocks *r = rocks_of(g->engine);
	struct rocks_record rec = {0}; /* a group without state: no generation is 0 */
	rocksdb_readoptions_t *how = rocksdb_readoptions_create();
	const rocksdb_snapshot_t *snapshot = rocksdb_create_snapshot(r->db);
	struct rocks_view *v;
	int err;

	rocksdb_readoptions_set_snapshot(how, snapshot);
	err = rocks__record_get(r, how, g->id, &rec);
	rocksdb_readoptions_destroy(how);
	if (err && err != ERR_NOT_FOUND) {
		rocksdb_release_snapshot(r->db, snapshot);
		return err;
	}
	v = mem_must_alloc(sizeof(*v));
	v->rocks = r;
	v->snapshot = snapshot;
	v->base.applied = rec.applied;
	v->base.source = source_new(g, rec.generation, (struct engine_pos){0},
				    (struct engine_pos){.table = TABLE_COUNT}, snapshot);
	*out = &v->base;
	return 0;
}

void rocks__view_free(struct engine_view *base)
{
	struct rocks_view *v = container_of(base, struct rocks_view, base);

	base->source->ops->free(base->source);
	rocksdb_release_snapshot(v->rocks->db, v->snapshot);
	mem_free(v);
}
