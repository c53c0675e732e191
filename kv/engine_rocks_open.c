/* Opening and closing; groups. */
#include <rocksdb/c.h>

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/engine_rocks.h"

#define FORMAT_VERSION 2u
#define FORMAT_OLDEST  1u /* opened too, and then raised to this one */
#define KEY_FORMAT     "format"

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

static int read_format(struct rocks *r, uint32_t *version, struct msg *m)
{
	struct buf value = BUF_INIT;
	int err = rocks__read(r, r->read, ROCKS_META, slice_str(KEY_FORMAT), &value);

	*version = !err && value.len == 4 ? le32_get(value.data) : 0;
	buf_release(&value);
	if (!err && (*version < FORMAT_OLDEST || *version > FORMAT_VERSION))
		return msg_set(m, ERR_UNSUPPORTED,
			       "engine %s: written by another version (format %u, this one has %u)",
			       r->dir, *version, FORMAT_VERSION);
	if (err == ERR_NOT_FOUND && engine__group_first(&r->base))
		return msg_set(m, ERR_CORRUPT, "engine %s: the record of its format is missing",
			       r->dir);
	if (err && err != ERR_NOT_FOUND)
		return msg_set(m, err, "engine %s: its format: %s", r->dir, err_text(err));
	return 0;
}

static void write_format(struct rocks *r)
{
	rocksdb_writebatch_t *w = rocksdb_writebatch_create();
	uint8_t version[4];

	le32_put(version, FORMAT_VERSION);
	rocksdb_writebatch_put_cf(w, r->families[ROCKS_META], KEY_FORMAT, strlen(KEY_FORMAT),
				  (const char *)version, sizeof(version));
	rocks__write(r, w);
	rocksdb_writebatch_destroy(w);
}

/* A new engine, or one that crashed before its first flush, has no version, and nothing else. It gets
 * one, an older one is raised: on disk before anything is logged that the older program, which takes an
 * engine without a version for a new one, would not understand. */
static int settle_format(struct rocks *r, uint32_t version, struct msg *m)
{
	int err;

	if (version == FORMAT_VERSION)
		return 0;
	write_format(r);
	err = rocks__flush(&r->base);
	return err ? msg_set(m, err, "engine %s: its format, from %u to %u: %s", r->dir,
			     version, FORMAT_VERSION, err_text(err))
		   : 0;
}

static int load(struct rocks *r, struct msg *m)
{
	uint32_t version = 0;
	int err = load_groups(r, m);

	if (!err)
		err = read_format(r, &version, m);
	if (!err) {
		err = rocks__flushes_read(r, r->read, &r->flushes);
		if (err)
			msg_set(m, err, "engine %s: its counter of flushes: %s", r->dir,
				err_text(err));
	}
	if (!err)
		err = settle_format(r, version, m);
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
	pthread_rwlock_destroy(&r->begin_lock);
	pthread_mutex_destroy(&r->reserve.lock);
	mem_free(r->reserve.path);
	engine__release(e);
	mem_free(r->dir);
	mem_free(r);
}

static const struct engine_ops rocks_ops = {
	.close = rocks_close,
	.group_new = rocks_group_new,
	.get = rocks__get,
	.sources = rocks__sources,
	.commit = rocks__commit,
	.flush = rocks__flush,
	.view_new = rocks__view_new,
	.view_free = rocks__view_free,
	.install_begin = rocks__install_begin,
	.install_put = rocks__install_put,
	.install_write = rocks__install_write,
	.install_finish = rocks__install_finish,
	.stored_bytes = rocks__stored_bytes,
	.stats = rocks__stats,
};

/* Writes come all the time; a flush that begins must come through. */
static void begin_lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	CHECK(pthread_rwlockattr_init(&attr) == 0);
	CHECK(pthread_rwlockattr_setkind_np(&attr,
					    PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
	CHECK(pthread_rwlock_init(lock, &attr) == 0);
	pthread_rwlockattr_destroy(&attr);
}

int engine_rocks_open(const struct engine_config *cfg, struct engine **out, struct msg *m)
{
	struct rocks *r = mem_must_alloc(sizeof(*r));
	int err;

	engine__init(&r->base, &rocks_ops);
	CHECK(pthread_mutex_init(&r->flush_lock, NULL) == 0);
	begin_lock_init(&r->begin_lock);
	atomic_init(&r->memtable_bytes, 0);
	atomic_init(&r->dirty, false);
	atomic_init(&r->full_tries, 0);
	CHECK(pthread_mutex_init(&r->reserve.lock, NULL) == 0);
	r->dir = mem_must_strdup(cfg->dir);
	err = rocks__open_db(r, cfg, m);
	if (!err)
		err = load(r, m);
	if (err) {
		rocks_close(&r->base);
		return err;
	}
	*out = &r->base;
	return 0;
}
