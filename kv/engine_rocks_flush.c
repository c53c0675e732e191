/* Flushes of all families at once; figures. */
#include <rocksdb/c.h>

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "kv/engine_rocks.h"

#define KEY_FLUSHES "flushes"
#define KEY_TICK    "tick"

/* ---- flush ---- */

/* The C API flushes one family at a time, which would tear batches apart. A manual compaction of a
 * range that is in a memtable, however, begins with an atomic flush of all families; and the key of
 * ROCKS_TICK is put and removed at once, so that the flush leaves nothing to compact there. It
 * reports no error, so the counter, written before, is read back from disk. */
static void begin_flush(struct rocks *r)
{
	rocksdb_writebatch_t *w = rocksdb_writebatch_create();
	rocksdb_column_family_handle_t *tick = r->families[ROCKS_TICK];
	uint8_t count[8];

	le64_put(count, ++r->flushes);
	rocksdb_writebatch_put_cf(w, r->families[ROCKS_META], KEY_FLUSHES, strlen(KEY_FLUSHES),
				  (const char *)count, sizeof(count));
	rocksdb_writebatch_put_cf(w, tick, KEY_TICK, strlen(KEY_TICK), "", 0);
	rocksdb_writebatch_singledelete_cf(w, tick, KEY_TICK, strlen(KEY_TICK));
	rocks__write_or_die(r, w); /* no reason for another flush */
	rocksdb_writebatch_destroy(w);
	rocksdb_compact_range_cf_opt(r->db, tick, r->compact, KEY_TICK, strlen(KEY_TICK), KEY_TICK,
				     strlen(KEY_TICK));
}

int rocks__flushes_read(struct rocks *r, const rocksdb_readoptions_t *how, uint64_t *out)
{
	struct buf value = BUF_INIT;
	int err = rocks__read(r, how, ROCKS_META, slice_str(KEY_FLUSHES), &value);

	if (err == ERR_NOT_FOUND)
		*out = 0;
	else if (!err && value.len == 8)
		*out = le64_get(value.data);
	else if (!err)
		err = ERR_CORRUPT;
	buf_release(&value);
	return err == ERR_NOT_FOUND ? 0 : err;
}

/* RocksDB stays read-only after a flush that failed, and then says why; or not, if it found
 * no space and has just tried again by itself. (Another flush meanwhile would disturb that.) */
static int flush_failed(struct rocks *r)
{
	rocksdb_writebatch_t *nothing = rocksdb_writebatch_create();
	rocksdb_flushoptions_t *how = rocksdb_flushoptions_create();
	char *text = NULL;
	int err = ERR_IO;

	rocksdb_write(r->db, r->write, nothing, &text);
	if (!text && atomic_load(&r->full_tries) == 0)
		rocksdb_flush_cf(r->db, how, r->families[ROCKS_TICK], &text);
	rocksdb_flushoptions_destroy(how);
	rocksdb_writebatch_destroy(nothing);
	if (text)
		err = rocks__error(r, text, "flush", ROCKS_META, (struct slice){0});
	if (err == ERR_NOSPACE || atomic_load(&r->full_tries) > 0)
		return ERR_NOSPACE;
	return ERR_IO;
}

static int flush_all(struct rocks *r)
{
	uint64_t on_disk;
	int err;

	if (!rocks__reserve_covers_flush(r))
		return ERR_NOSPACE;
	begin_flush(r);
	err = rocks__flushes_read(r, r->read_disk, &on_disk);
	if (!err && on_disk != r->flushes)
		err = flush_failed(r);
	return err;
}

static int flush_locked(struct rocks *r)
{
	struct engine *e = &r->base;
	uint64_t bytes = atomic_load(&e->unflushed_bytes);
	int err;

	if (!atomic_exchange(&r->dirty, false))
		return 0;
	err = flush_all(r);
	if (!err)
		atomic_store(&r->full_tries, 0);
	else if (atomic_load(&r->full_tries) > 0)
		atomic_fetch_sub(&r->full_tries, 1);
	if (err) {
		atomic_store(&r->dirty, true);
		return err;
	}
	for (struct engine_group *g = engine__group_first(e); g; g = engine__group_next(g)) {
		struct rocks_record rec = {0};

		err = rocks__record_get(r, r->read_disk, g->id, &rec);
		if (err && err != ERR_NOT_FOUND)
			return err;
		engine__durable_raise(g, rec.applied);
	}
	atomic_fetch_sub(&e->unflushed_bytes, bytes);
	return 0;
}

int rocks__flush(struct engine *e)
{
	struct rocks *r = rocks_of(e);
	int err;

	pthread_mutex_lock(&r->flush_lock);
	rocks__reserve_tend(r);
	err = flush_locked(r);
	pthread_mutex_unlock(&r->flush_lock);
	return err;
}

/* ---- figures ---- */

uint64_t rocks__stored_bytes(struct engine_group *base, struct engine_pos from,
			     struct engine_pos to)
{
	struct rocks *r = rocks_of(base->engine);
	uint32_t generation = rocks_group(base)->generation;
	uint8_t lo[ROCKS_KEY_MAX], hi[ROCKS_KEY_MAX];
	struct slice a = rocks__key(lo, base->id, generation, from.key);
	struct slice b = rocks__key(hi, base->id, generation, to.key);
	const char *start = (const char *)a.p, *end = (const char *)b.p;
	uint64_t size = 0;
	char *text = NULL;

	CHECK(to.table == from.table || (to.table == from.table + 1 && to.key.len == 0));
	if (to.table != from.table)
		CHECK(rocks__prefix_end(hi));
	rocksdb_approximate_sizes_cf(r->db, r->families[ROCKS_TABLE(from.table)], 1, &start, &a.len,
				     &end, &b.len, &size, &text);
	rocksdb_free(text); /* takes NULL; without figures it is counted */
	return size;
}

static uint64_t property(struct rocks *r, unsigned family, const char *name)
{
	uint64_t n = 0;

	if (rocksdb_property_int_cf(r->db, r->families[family], name, &n) != 0)
		return 0;
	return n;
}

void rocks__stats(struct engine *e, struct engine_stats *out)
{
	struct rocks *r = rocks_of(e);

	out->memory_bytes = rocksdb_cache_get_usage(r->cache);
	for (unsigned i = 0; i < ROCKS_FAMILIES; i++) {
		out->memory_bytes += property(r, i, "rocksdb.cur-size-all-mem-tables");
		out->disk_bytes += property(r, i, "rocksdb.total-sst-files-size");
		out->disk_bytes += property(r, i, "rocksdb.total-blob-file-size");
	}
}
