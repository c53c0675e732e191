/* The engine on RocksDB. Its WAL is off: the Paxos log is the WAL. A commit is one write batch, with
 * the group's applied slot; a flush takes all column families at once; so what a crash leaves is, of
 * every group, the state of some slot at or behind the last flush. */
#include <rocksdb/c.h>

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/engine_rocks.h"

#define FORMAT_VERSION 1u
#define KEY_FORMAT     "format"
#define KEY_FLUSHES    "flushes"
#define KEY_GROUP      "group/" /* and the id, u32 big-endian */
#define KEY_TICK       "tick"
#define RECORD_SIZE    12u /* generation u32, applied u64; little-endian */

/* A batch larger than that is not kept for the next commit. */
#define WRITES_KEPT_MAX (1024u * 1024u)

/* ---- keys ---- */

struct slice rocks__key(uint8_t out[ROCKS_KEY_MAX], uint32_t group, uint32_t generation,
			struct slice key)
{
	CHECK(key.len <= ENGINE_KEY_SIZE_MAX);
	be32_put(out, group);
	be32_put(out + 4, generation);
	if (key.len)
		memcpy(out + ROCKS_PREFIX, key.p, key.len);
	return slice_of(out, ROCKS_PREFIX + key.len);
}

bool rocks__prefix_end(uint8_t prefix[ROCKS_PREFIX])
{
	uint64_t n = be64_get(prefix);

	be64_put(prefix, n + 1);
	return n != UINT64_MAX;
}

/* ---- errors ---- */

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* The text is all that the C API gives: "Kind: what: where". */
int rocks__error_code(const char *text)
{
	if (begins(text, "Corruption:"))
		return ERR_CORRUPT;
	if (strstr(text, "/LOCK: Resource temporarily unavailable") ||
	    strstr(text, "/LOCK: No locks available"))
		return ERR_LOCKED;
	if (begins(text, "IO error: No space left") || strstr(text, "No space left on device"))
		return ERR_NOSPACE;
	/* A file that the manifest names and that is gone. */
	if (strstr(text, "No such file or directory") && !strstr(text, "/LOCK:"))
		return ERR_CORRUPT;
	/* Column families of another program, or a later version of this one. */
	if (begins(text, "Invalid argument:") || begins(text, "Not implemented:"))
		return ERR_UNSUPPORTED;
	return ERR_IO;
}

int rocks__error(struct rocks *r, char *text, const char *doing)
{
	static struct logger_limit limit;
	int err = rocks__error_code(text);

	logger_write_limited(&limit, 5, LOG_ERROR_, "engine %s: %s: %s", r->dir, doing, text);
	rocksdb_free(text);
	return err;
}

/* ---- reads ---- */

static int get(struct rocks *r, const rocksdb_readoptions_t *how, unsigned family, struct slice key,
	       struct buf *out)
{
	char *text = NULL;
	const char *p;
	size_t len;
	rocksdb_pinnableslice_t *value =
		rocksdb_get_pinned_cf(r->db, how, r->families[family], (const char *)key.p,
				      key.len, &text);
	int err;

	if (text)
		return rocks__error(r, text, "read");
	if (!value)
		return ERR_NOT_FOUND;
	p = rocksdb_pinnableslice_value(value, &len);
	err = buf_set(out, slice_of(p, len));
	rocksdb_pinnableslice_destroy(value);
	return err;
}

static int rocks_get(struct engine_group *base, struct engine_pos pos, struct buf *out)
{
	struct rocks *r = rocks_of(base->engine);
	uint8_t key[ROCKS_KEY_MAX];
	struct slice k = rocks__key(key, base->id, rocks_group(base)->generation, pos.key);

	return get(r, r->read, ROCKS_TABLE(pos.table), k, out);
}

/* ---- records of groups ---- */

static struct slice record_key(uint8_t out[sizeof(KEY_GROUP) + 4], uint32_t group)
{
	const size_t n = sizeof(KEY_GROUP) - 1;

	memcpy(out, KEY_GROUP, n);
	be32_put(out + n, group);
	return slice_of(out, n + 4);
}

bool rocks__record_key(struct slice key, uint32_t *group)
{
	struct slice prefix = slice_str(KEY_GROUP);

	if (key.len != prefix.len + 4 || !slice_has_prefix(key, prefix))
		return false;
	*group = be32_get(key.p + prefix.len);
	return true;
}

int rocks__record_decode(struct slice value, struct rocks_record *out)
{
	if (value.len != RECORD_SIZE || le32_get(value.p) < ROCKS_FIRST_GENERATION)
		return ERR_CORRUPT;
	out->generation = le32_get(value.p);
	out->applied = le64_get(value.p + 4);
	return 0;
}

void rocks__record_put(struct rocks *r, rocksdb_writebatch_t *writes, uint32_t group,
		       struct rocks_record rec)
{
	uint8_t key[sizeof(KEY_GROUP) + 4], value[RECORD_SIZE];
	struct slice k = record_key(key, group);

	CHECK(rec.generation >= ROCKS_FIRST_GENERATION);
	le32_put(value, rec.generation);
	le64_put(value + 4, rec.applied);
	rocksdb_writebatch_put_cf(writes, r->families[ROCKS_META], (const char *)k.p, k.len,
				  (const char *)value, sizeof(value));
}

int rocks__record_get(struct rocks *r, const rocksdb_readoptions_t *how, uint32_t group,
		      struct rocks_record *out)
{
	uint8_t key[sizeof(KEY_GROUP) + 4];
	struct buf value = BUF_INIT;
	int err = get(r, how, ROCKS_META, record_key(key, group), &value);

	if (!err)
		err = rocks__record_decode(buf_slice(&value), out);
	buf_release(&value);
	return err;
}

/* ---- commits ---- */

static void write_or_die(struct rocks *r, rocksdb_writebatch_t *writes)
{
	char *text = NULL;

	rocksdb_write(r->db, r->write, writes, &text);
	if (text)
		logger_die("engine %s: write: %s", r->dir, text);
	rocksdb_writebatch_clear(writes);
}

void rocks__write(struct rocks *r, rocksdb_writebatch_t *writes)
{
	write_or_die(r, writes);
	atomic_store(&r->dirty, true);
}

static void add_write(void *ctx, struct engine_node *node)
{
	struct rocks_group *g = ctx;
	struct rocks *r = rocks_of(g->base.engine);
	rocksdb_column_family_handle_t *family = r->families[ROCKS_TABLE(node->table)];
	uint8_t key[ROCKS_KEY_MAX];
	struct slice k = rocks__key(key, g->base.id, g->generation, engine_node_pos(node).key);
	struct slice v = engine_node_value(node);

	if (node->deleted)
		rocksdb_writebatch_delete_cf(g->writes, family, (const char *)k.p, k.len);
	else
		rocksdb_writebatch_put_cf(g->writes, family, (const char *)k.p, k.len,
					  (const char *)v.p, v.len);
	engine_node_free(node);
}

static void rocks_commit(struct engine_group *base, uint64_t applied)
{
	struct rocks_group *g = rocks_group(base);
	struct rocks *r = rocks_of(base->engine);
	size_t size;

	engine_layer_drain(base->batch, add_write, g);
	rocks__record_put(r, g->writes, base->id, (struct rocks_record){g->generation, applied});
	rocksdb_writebatch_data(g->writes, &size);
	rocks__write(r, g->writes);
	if (size > WRITES_KEPT_MAX) {
		rocksdb_writebatch_destroy(g->writes);
		g->writes = rocksdb_writebatch_create();
	}
	atomic_store_explicit(&base->applied, applied, memory_order_release);
}

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
	write_or_die(r, w); /* no reason for another flush */
	rocksdb_writebatch_destroy(w);
	rocksdb_compact_range_cf_opt(r->db, tick, r->compact, KEY_TICK, strlen(KEY_TICK), KEY_TICK,
				     strlen(KEY_TICK));
}

static int read_flushes(struct rocks *r, const rocksdb_readoptions_t *how, uint64_t *out)
{
	struct buf value = BUF_INIT;
	int err = get(r, how, ROCKS_META, slice_str(KEY_FLUSHES), &value);

	if (err == ERR_NOT_FOUND)
		*out = 0;
	else if (!err && value.len == 8)
		*out = le64_get(value.data);
	else if (!err)
		err = ERR_CORRUPT;
	buf_release(&value);
	return err == ERR_NOT_FOUND ? 0 : err;
}

/* RocksDB stays read-only after a flush that failed, and then says why. */
static int flush_failed(struct rocks *r)
{
	rocksdb_flushoptions_t *how = rocksdb_flushoptions_create();
	char *text = NULL;
	int err = ERR_IO;

	rocksdb_flush_cf(r->db, how, r->families[ROCKS_TICK], &text);
	rocksdb_flushoptions_destroy(how);
	if (text)
		err = rocks__error(r, text, "flush");
	return err == ERR_NOSPACE ? err : ERR_IO;
}

static int flush_locked(struct rocks *r)
{
	struct engine *e = &r->base;
	uint64_t bytes = atomic_load(&e->unflushed_bytes), on_disk;
	int err;

	if (!atomic_exchange(&r->dirty, false))
		return 0;
	begin_flush(r);
	err = read_flushes(r, r->read_disk, &on_disk);
	if (!err && on_disk != r->flushes)
		err = flush_failed(r);
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
	err = flush_locked(r);
	pthread_mutex_unlock(&r->flush_lock);
	return err;
}

/* ---- figures ---- */

static uint64_t rocks_stored_bytes(struct engine_group *base, struct engine_pos from,
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

static void rocks_stats(struct engine *e, struct engine_stats *out)
{
	struct rocks *r = rocks_of(e);

	out->memory_bytes = rocksdb_cache_get_usage(r->cache);
	for (unsigned i = 0; i < ROCKS_FAMILIES; i++) {
		out->memory_bytes += property(r, i, "rocksdb.cur-size-all-mem-tables");
		out->disk_bytes += property(r, i, "rocksdb.total-sst-files-size");
		out->disk_bytes += property(r, i, "rocksdb.total-blob-file-size");
	}
}

/* ---- groups ---- */

static struct rocks_group *group_new(struct rocks *r, uint32_t id, struct rocks_record rec)
{
	struct rocks_group *g = mem_must_alloc(sizeof(*g));

	CHECK(id != UINT32_MAX); /* there is a key behind every prefix */
	engine__group_init(&r->base, &g->base, id);
	g->generation = rec.generation;
	g->staged = rec.generation;
	g->writes = rocksdb_writebatch_create();
	atomic_store(&g->base.applied, rec.applied);
	atomic_store(&g->base.durable, rec.applied);
	return g;
}

static struct engine_group *rocks_group_new(struct engine *e, uint32_t id)
{
	struct rocks_record none = {.generation = ROCKS_FIRST_GENERATION};

	return &group_new(rocks_of(e), id, none)->base;
}

static void free_groups(struct rocks *r)
{
	struct engine_group *g, *next;

	SLIST_FOREACH_SAFE(g, &r->base.groups, link, next) {
		struct rocks_group *rg = rocks_group(g);

		rocksdb_writebatch_destroy(rg->writes);
		engine__group_release(g);
		mem_free(rg);
	}
}

/* ---- opening ---- */

static int load_entry(struct rocks *r, struct slice key, struct slice value, struct msg *m)
{
	struct rocks_record rec;
	uint32_t id;

	if (!rocks__record_key(key, &id))
		return 0;
	if (id == UINT32_MAX || rocks__record_decode(value, &rec) != 0)
		return msg_set(m, ERR_CORRUPT, "engine %s: the record of group %u is damaged",
			       r->dir, id);
	engine__group_add(&r->base, &group_new(r, id, rec)->base);
	return 0;
}

static int load_groups(struct rocks *r, struct msg *m)
{
	rocksdb_iterator_t *it =
		rocksdb_create_iterator_cf(r->db, r->read, r->families[ROCKS_META]);
	char *text = NULL;
	int err = 0;

	for (rocksdb_iter_seek_to_first(it); !err && rocksdb_iter_valid(it);
	     rocksdb_iter_next(it)) {
		struct slice key, value;

		key.p = (const uint8_t *)rocksdb_iter_key(it, &key.len);
		value.p = (const uint8_t *)rocksdb_iter_value(it, &value.len);
		err = load_entry(r, key, value, m);
	}
	rocksdb_iter_get_error(it, &text);
	rocksdb_iter_destroy(it);
	if (text && !err)
		err = msg_set(m, rocks__error_code(text), "engine %s: %s", r->dir, text);
	rocksdb_free(text);
	return err;
}

/* Written once. A new engine that crashed before its first flush has none, and nothing else. */
static int check_format(struct rocks *r, struct msg *m)
{
	rocksdb_writebatch_t *w;
	struct buf value = BUF_INIT;
	uint8_t version[4];
	int err = get(r, r->read, ROCKS_META, slice_str(KEY_FORMAT), &value);

	if (!err && (value.len != 4 || le32_get(value.data) != FORMAT_VERSION))
		err = msg_set(m, ERR_UNSUPPORTED,
			      "engine %s: written by another version (format %u, this one has %u)",
			      r->dir, value.len == 4 ? le32_get(value.data) : 0, FORMAT_VERSION);
	else if (err && err != ERR_NOT_FOUND)
		msg_set(m, err, "engine %s: its format: %s", r->dir, err_text(err));
	buf_release(&value);
	if (err != ERR_NOT_FOUND)
		return err;
	if (engine__group_first(&r->base))
		return msg_set(m, ERR_CORRUPT, "engine %s: the record of its format is missing",
			       r->dir);
	w = rocksdb_writebatch_create();
	le32_put(version, FORMAT_VERSION);
	rocksdb_writebatch_put_cf(w, r->families[ROCKS_META], KEY_FORMAT, strlen(KEY_FORMAT),
				  (const char *)version, sizeof(version));
	rocks__write(r, w);
	rocksdb_writebatch_destroy(w);
	return 0;
}

static int load(struct rocks *r, struct msg *m)
{
	int err = load_groups(r, m);

	if (!err)
		err = check_format(r, m);
	if (!err) {
		err = read_flushes(r, r->read, &r->flushes);
		if (err)
			msg_set(m, err, "engine %s: its counter of flushes: %s", r->dir,
				err_text(err));
	}
	return err ? err : rocks__remove_leftovers(r, m);
}

static void rocks_close(struct engine *e)
{
	struct rocks *r = rocks_of(e);

	free_groups(r);
	if (r->db) {
		for (unsigned i = 0; i < ROCKS_FAMILIES; i++)
			rocksdb_column_family_handle_destroy(r->families[i]);
		rocksdb_close(r->db);
	}
	if (r->cache) {
		rocksdb_compactoptions_destroy(r->compact);
		rocksdb_readoptions_destroy(r->read_disk);
		rocksdb_readoptions_destroy(r->read);
		rocksdb_writeoptions_destroy(r->write);
		rocksdb_cache_destroy(r->cache);
	}
	pthread_mutex_destroy(&r->flush_lock);
	engine__release(e);
	mem_free(r->dir);
	mem_free(r);
}

static const struct engine_ops rocks_ops = {
	.close = rocks_close,
	.group_new = rocks_group_new,
	.get = rocks_get,
	.sources = rocks__sources,
	.commit = rocks_commit,
	.flush = rocks__flush,
	.view_new = rocks__view_new,
	.view_free = rocks__view_free,
	.install_begin = rocks__install_begin,
	.install_put = rocks__install_put,
	.install_write = rocks__install_write,
	.install_finish = rocks__install_finish,
	.stored_bytes = rocks_stored_bytes,
	.stats = rocks_stats,
};

int engine_rocks_open(const struct engine_config *cfg, struct engine **out, struct msg *m)
{
	struct rocks *r = mem_must_alloc(sizeof(*r));
	int err;

	engine__init(&r->base, &rocks_ops);
	CHECK(pthread_mutex_init(&r->flush_lock, NULL) == 0);
	atomic_init(&r->dirty, false);
	r->dir = mem_must_strdup(cfg->dir);
	err = rocks__open_db(r, cfg->memory_bytes, m);
	if (!err)
		err = load(r, m);
	if (err) {
		rocks_close(&r->base);
		return err;
	}
	*out = &r->base;
	return 0;
}
