/* Writes; flushes of all families at once; figures. */
#include <rocksdb/c.h>

#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "kv/engine_rocks.h"

#define KEY_FLUSHES "flushes"
#define KEY_TICK    "tick"

#define FLUSH_LOOK_NS 5000000u	    /* between two looks whether a flush has ended */
#define FLUSH_WAIT_NS 120000000000u /* then it was lost */

#define RECORD_OVERHEAD 32u /* of a record in a memtable, beside its place in a batch: more than it is */

/* ---- flush ---- */

static void write_or_die(struct rocks *r, rocksdb_writebatch_t *writes)
{
	char *text = NULL;
	uint64_t since = 0;

	/* What is refused for want of space was not begun. */
	for (;;) {
		rocksdb_write(r->db, r->write, writes, &text);
		if (!text)
			break;
		if (rocks__error_code(text) != ERR_NOSPACE)
			logger_die("engine %s: write: %s", r->dir, text);
		rocksdb_free(text);
		text = NULL;
		rocks__wait_for_room(r, &since);
	}
	rocksdb_writebatch_clear(writes);
}

/* The C API flushes one family at a time, which would tear batches apart. A manual compaction of a
 * range that is in a memtable, however, begins with an atomic flush of all families; and the key of
 * ROCKS_TICK is put and removed at once, so that the flush leaves nothing to compact there. It
 * reports no error, so the counter, written before, is read back from disk.
 *
 * RocksDB chooses the families that have something to flush before it stops the writers. One that is
 * empty then, and written to by a commit in between, would be left out, and the commit torn. So none
 * is empty: each gets such a key; and RocksDB must not empty them by a flush of its own in between. It
 * would begin one in a write that fills a memtable: those have the lock of flushes. */
static void flush_families(struct rocks *r)
{
	rocksdb_writebatch_t *w = rocksdb_writebatch_create();
	uint8_t count[8];

	le64_put(count, ++r->flushes);
	rocksdb_writebatch_put_cf(w, r->families[ROCKS_META], KEY_FLUSHES, strlen(KEY_FLUSHES),
				  (const char *)count, sizeof(count));
	for (unsigned i = 0; i < ROCKS_FAMILIES; i++) {
		rocksdb_writebatch_put_cf(w, r->families[i], KEY_TICK, strlen(KEY_TICK), "", 0);
		rocksdb_writebatch_singledelete_cf(w, r->families[i], KEY_TICK, strlen(KEY_TICK));
	}
	CHECK(pthread_rwlock_wrlock(&r->begin_lock) == 0);
	write_or_die(r, w); /* no reason for another flush */
	r->begun = atomic_load(&r->memtable_bytes);
	pthread_rwlock_unlock(&r->begin_lock);
	rocksdb_writebatch_destroy(w);
	rocksdb_compact_range_cf_opt(r->db, r->families[ROCKS_TICK], r->compact, KEY_TICK,
				     strlen(KEY_TICK), KEY_TICK, strlen(KEY_TICK));
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

static void account(struct rocks *r, uint64_t unflushed)
{
	atomic_store(&r->base.wants_flush, unflushed > r->memtable_max / 2);
}

/* Why RocksDB takes no writes, to be freed; NULL: it does. */
static char *refusal(struct rocks *r)
{
	rocksdb_writebatch_t *nothing = rocksdb_writebatch_create();
	char *text = NULL;

	rocksdb_write(r->db, r->write, nothing, &text);
	rocksdb_writebatch_destroy(nothing);
	return text;
}

/* Is the last flush on disk? */
static int look(struct rocks *r, bool *landed)
{
	uint64_t on_disk;
	int err = rocks__flushes_read(r, r->read_disk, &on_disk);

	*landed = !err && on_disk == r->flushes;
	if (!*landed)
		return err;
	account(r, atomic_fetch_sub(&r->memtable_bytes, r->begun) - r->begun);
	r->begun = 0;
	return 0;
}

/* RocksDB (7.8) waits for no flush any more once it has gone on after a full disk: it does not take
 * back that it had stopped. As long as it takes writes the flush is on its way. After one that failed it
 * takes none, and *why says so. */
static int await_flush(struct rocks *r, bool *landed, char **why)
{
	const struct timespec pause = {.tv_nsec = FLUSH_LOOK_NS};
	int err;

	*why = NULL;
	for (uint64_t waited = 0;; waited += FLUSH_LOOK_NS) {
		err = look(r, landed);
		if (err || *landed || waited >= FLUSH_WAIT_NS)
			return err;
		*why = refusal(r);
		if (*why)
			return 0;
		(void)nanosleep(&pause, NULL);
	}
}

/* @why: frees it. NULL: the flush was lost; another one may know more, but would disturb RocksDB while
 * it gets over a full disk. */
static int flush_failed(struct rocks *r, char *why)
{
	rocksdb_flushoptions_t *how = rocksdb_flushoptions_create();
	int err = ERR_IO;

	if (!why && atomic_load(&r->full_tries) == 0)
		rocksdb_flush_cf(r->db, how, r->families[ROCKS_TICK], &why);
	rocksdb_flushoptions_destroy(how);
	if (why)
		err = rocks__error(r, why, "flush", ROCKS_META, (struct slice){0});
	if (err == ERR_NOSPACE || atomic_load(&r->full_tries) > 0)
		return ERR_NOSPACE;
	return ERR_IO;
}

static int flush_all(struct rocks *r)
{
	bool landed;
	char *why;
	int err;

	flush_families(r);
	err = await_flush(r, &landed, &why);
	return err || landed ? err : flush_failed(r, why);
}

static int raise_durable(struct rocks *r)
{
	struct engine *e = &r->base;

	for (struct engine_group *g = engine__group_first(e); g; g = engine__group_next(g)) {
		struct rocks_record rec = {0};
		int err = rocks__record_get(r, r->read_disk, g->id, &rec);

		if (err && err != ERR_NOT_FOUND)
			return err;
		engine__durable_raise(g, rec.applied);
	}
	return 0;
}

/* A flush that failed may have been carried out by RocksDB since then. */
static void settle(struct rocks *r)
{
	bool landed = false;

	if (r->begun > 0)
		(void)look(r, &landed);
	if (landed)
		(void)raise_durable(r);
}

static int flush_locked(struct rocks *r)
{
	struct engine *e = &r->base;
	uint64_t bytes = atomic_load(&e->unflushed_bytes);
	int err;

	if (!atomic_exchange(&r->dirty, false))
		return 0;
	settle(r);
	if (!rocks__reserve_covers_flush(r)) {
		atomic_store(&r->dirty, true);
		return ERR_NOSPACE;
	}
	err = flush_all(r);
	if (!err)
		atomic_store(&r->full_tries, 0);
	else if (atomic_load(&r->full_tries) > 0)
		atomic_fetch_sub(&r->full_tries, 1);
	if (!err)
		err = raise_durable(r);
	if (err)
		atomic_store(&r->dirty, true);
	else
		atomic_fetch_sub(&e->unflushed_bytes, bytes);
	return err;
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

/* ---- writes ---- */

/* What the writes take in memtables at most, beside the ends of blocks of memory. */
static uint64_t weight(rocksdb_writebatch_t *writes)
{
	size_t size;

	rocksdb_writebatch_data(writes, &size);
	return size + (uint64_t)rocksdb_writebatch_count(writes) * RECORD_OVERHEAD;
}

static bool write_if_it_fits(struct rocks *r, rocksdb_writebatch_t *writes, uint64_t bytes)
{
	uint64_t unflushed;
	bool fits;

	CHECK(pthread_rwlock_rdlock(&r->begin_lock) == 0);
	unflushed = atomic_fetch_add(&r->memtable_bytes, bytes) + bytes;
	fits = unflushed <= r->memtable_max;
	if (fits)
		write_or_die(r, writes);
	else
		atomic_fetch_sub(&r->memtable_bytes, bytes);
	pthread_rwlock_unlock(&r->begin_lock);
	account(r, unflushed);
	return fits;
}

/* Under the lock of flushes: see flush_families. An error is for the next one who asks for a flush; if
 * it is one to stay, no write succeeds any more. (While RocksDB gets over a full disk, nothing is
 * flushed here.) */
static void write_behind_a_flush(struct rocks *r, rocksdb_writebatch_t *writes, uint64_t bytes)
{
	pthread_mutex_lock(&r->flush_lock);
	if (atomic_load(&r->memtable_bytes) + bytes > r->memtable_max &&
	    atomic_load(&r->full_tries) == 0)
		(void)flush_locked(r);
	atomic_fetch_add(&r->memtable_bytes, bytes);
	write_or_die(r, writes);
	pthread_mutex_unlock(&r->flush_lock);
}

void rocks__write(struct rocks *r, rocksdb_writebatch_t *writes)
{
	uint64_t bytes = weight(writes);

	if (!write_if_it_fits(r, writes, bytes))
		write_behind_a_flush(r, writes, bytes);
	atomic_store(&r->dirty, true);
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
