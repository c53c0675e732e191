/* A second state of a group beside the live one: keys of another generation. The group's record in
 * ROCKS_META says which one lives; one write swaps them. */
#include <rocksdb/c.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/engine_rocks.h"

/* All keys with this prefix, in one family. */
static void remove_prefix(struct rocks *r, rocksdb_writebatch_t *writes, unsigned family,
			  const uint8_t prefix[ROCKS_PREFIX])
{
	uint8_t end[ROCKS_PREFIX];

	memcpy(end, prefix, sizeof(end));
	CHECK(rocks__prefix_end(end));
	rocksdb_writebatch_delete_range_cf(writes, r->families[family], (const char *)prefix,
					   ROCKS_PREFIX, (const char *)end, sizeof(end));
}

static void remove_generation(struct rocks *r, rocksdb_writebatch_t *writes, uint32_t group,
			      uint32_t generation)
{
	uint8_t prefix[ROCKS_KEY_MAX];

	rocks__key(prefix, group, generation, (struct slice){0});
	for (unsigned t = 0; t < TABLE_COUNT; t++)
		remove_prefix(r, writes, ROCKS_TABLE(t), prefix);
}

/* Asks for the room of a generation that was removed: without it, that would wait until other
 * changes make RocksDB compact there. Only a suggestion; an error means nothing. */
static void reclaim(struct rocks *r, uint32_t group, uint32_t generation)
{
	uint8_t from[ROCKS_KEY_MAX], to[ROCKS_PREFIX];

	rocks__key(from, group, generation, (struct slice){0});
	memcpy(to, from, sizeof(to));
	CHECK(rocks__prefix_end(to));
	for (unsigned t = 0; t < TABLE_COUNT; t++) {
		char *text = NULL;

		rocksdb_suggest_compact_range_cf(r->db, r->families[ROCKS_TABLE(t)],
						 (const char *)from, ROCKS_PREFIX,
						 (const char *)to, sizeof(to), &text);
		rocksdb_free(text);
	}
}

/* ---- installing ---- */

int rocks__install_begin(struct engine_group *base)
{
	struct rocks_group *g = rocks_group(base);
	struct rocks *r = rocks_of(base->engine);

	if (g->staged != g->generation) { /* one that was not finished */
		remove_generation(r, g->writes, base->id, g->staged);
		rocks__write(r, g->writes);
	}
	if (g->staged == UINT32_MAX)
		return ERR_UNSUPPORTED;
	g->staged++;
	return 0;
}

void rocks__install_put(struct engine_group *base, struct engine_pos pos, struct slice value)
{
	struct rocks_group *g = rocks_group(base);
	struct rocks *r = rocks_of(base->engine);
	uint8_t key[ROCKS_KEY_MAX];
	struct slice k = rocks__key(key, base->id, g->staged, pos.key);

	rocksdb_writebatch_put_cf(g->writes, r->families[ROCKS_TABLE(pos.table)],
				  (const char *)k.p, k.len, (const char *)value.p, value.len);
}

void rocks__install_write(struct engine_group *base)
{
	struct rocks_group *g = rocks_group(base);
	size_t size;

	rocksdb_writebatch_data(g->writes, &size);
	rocks__write(rocks_of(base->engine), g->writes);
	atomic_fetch_add(&base->engine->unflushed_bytes, size);
}

/* The new state is on disk before it is swapped in: what can fail for want of space fails before
 * anything is replaced. Behind the swap there is no way back but the log. */
int rocks__install_finish(struct engine_group *base, uint64_t applied)
{
	struct rocks_group *g = rocks_group(base);
	struct rocks *r = rocks_of(base->engine);
	uint32_t old = g->generation;
	uint64_t since = 0;
	int err = rocks__flush(base->engine);

	if (err)
		return err;
	remove_generation(r, g->writes, base->id, old);
	rocks__record_put(r, g->writes, base->id, (struct rocks_record){g->staged, applied});
	rocks__write(r, g->writes);
	g->generation = g->staged;
	atomic_store_explicit(&base->applied, applied, memory_order_release);
	while ((err = rocks__flush(base->engine)) == ERR_NOSPACE)
		rocks__wait_for_room(r, &since);
	if (err)
		logger_die("engine %s: group %u: flush of an installed snapshot: %s", r->dir,
			   base->id, err_text(err));
	reclaim(r, base->id, old);
	return 0;
}

/* ---- what crashes leave ---- */

static bool lives(struct rocks *r, struct slice key)
{
	struct engine_group *g = engine__group_find(&r->base, be32_get(key.p));

	return g && rocks_group(g)->generation == be32_get(key.p + 4);
}

/* One seek per prefix. */
static int remove_dead(struct rocks *r, unsigned family, rocksdb_writebatch_t *writes,
		       struct msg *m)
{
	rocksdb_iterator_t *it =
		rocksdb_create_iterator_cf(r->db, r->read, r->families[family]);
	char *text = NULL;
	int err = 0;

	rocksdb_iter_seek_to_first(it);
	while (rocksdb_iter_valid(it)) {
		uint8_t prefix[ROCKS_PREFIX];
		struct slice key;

		key.p = (const uint8_t *)rocksdb_iter_key(it, &key.len);
		if (key.len < ROCKS_PREFIX || be32_get(key.p) == UINT32_MAX) {
			err = msg_set(m, ERR_CORRUPT, "engine %s: a key of no group", r->dir);
			break;
		}
		memcpy(prefix, key.p, sizeof(prefix));
		if (!lives(r, key))
			remove_prefix(r, writes, family, prefix);
		CHECK(rocks__prefix_end(prefix));
		rocksdb_iter_seek(it, (const char *)prefix, sizeof(prefix));
	}
	rocksdb_iter_get_error(it, &text);
	rocksdb_iter_destroy(it);
	if (text && !err)
		err = msg_set(m, rocks__error_code(text), "engine %s: %s", r->dir, text);
	rocksdb_free(text);
	return err;
}

int rocks__remove_leftovers(struct rocks *r, struct msg *m)
{
	rocksdb_writebatch_t *w = rocksdb_writebatch_create();
	int err = 0;

	for (unsigned t = 0; t < TABLE_COUNT && !err; t++)
		err = remove_dead(r, ROCKS_TABLE(t), w, m);
	if (!err && rocksdb_writebatch_count(w) > 0)
		rocks__write(r, w);
	rocksdb_writebatch_destroy(w);
	return err;
}
