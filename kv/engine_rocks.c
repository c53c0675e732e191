/* The engine on RocksDB. Its WAL is off: the Paxos log is the WAL. A commit is one write batch,
 * with the group's applied slot; a flush takes all column families at once; so what a crash
 * leaves is, of every group, the state of some slot at or behind the last flush. */
#include <rocksdb/c.h>

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/engine_rocks.h"

#define KEY_GROUP   "group/" /* and the id, u32 big-endian */
#define RECORD_SIZE 12u	     /* generation u32, applied u64; little-endian */

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

static void hex(char *out, size_t size, struct slice bytes)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < bytes.len && n + 3 < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%02x", bytes.p[i]);
}

int rocks__error(struct rocks *r, char *text, const char *doing, unsigned family, struct slice key)
{
	static struct logger_limit limit;
	int err = rocks__error_code(text);
	char where[2 * 64 + 1];

	hex(where, sizeof(where), key);
	logger_write_limited(&limit, 5, LOG_ERROR_, "engine %s: %s of %s, key %s: %s", r->dir,
			     doing, rocks__family_name(family), key.len ? where : "-", text);
	rocksdb_free(text);
	return err;
}

/* ---- reads ---- */

int rocks__read(struct rocks *r, const rocksdb_readoptions_t *how, unsigned family,
		struct slice key, struct buf *out)
{
	char *text = NULL;
	const char *p;
	size_t len;
	rocksdb_pinnableslice_t *value =
		rocksdb_get_pinned_cf(r->db, how, r->families[family], (const char *)key.p,
				      key.len, &text);
	int err;

	if (text)
		return rocks__error(r, text, "read", family, key);
	if (!value)
		return ERR_NOT_FOUND;
	p = rocksdb_pinnableslice_value(value, &len);
	err = buf_set(out, slice_of(p, len));
	rocksdb_pinnableslice_destroy(value);
	return err;
}

int rocks__get(struct engine_group *base, struct engine_pos pos, struct buf *out)
{
	struct rocks *r = rocks_of(base->engine);
	uint8_t key[ROCKS_KEY_MAX];
	struct slice k = rocks__key(key, base->id, rocks_group(base)->generation, pos.key);

	return rocks__read(r, r->read, ROCKS_TABLE(pos.table), k, out);
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
	int err = rocks__read(r, how, ROCKS_META, record_key(key, group), &value);

	if (!err)
		err = rocks__record_decode(buf_slice(&value), out);
	buf_release(&value);
	return err;
}

/* ---- commits ---- */

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

void rocks__commit(struct engine_group *base, uint64_t applied)
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
